package source_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"image"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"stegomq/internal/blob"
	"stegomq/internal/link"
	"stegomq/internal/natsserver"
	"stegomq/internal/pixel"
	"stegomq/internal/source"
	"stegomq/internal/streams"
	"stegomq/internal/testrig"
	"stegomq/schemas"
)

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// picture is a PNG file of noise.
func picture(t testing.TB, seed uint64, w, h int) ([]byte, *image.NRGBA) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = byte(rnd.Uint32())
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	data, err := pixel.EncodePNG(img)
	if err != nil {
		t.Fatal(err)
	}
	return data, img
}

// countingBlobs counts the reads of a blob store.
type countingBlobs struct {
	blob.Store
	gets atomic.Int64
}

func (b *countingBlobs) Get(ctx context.Context, digest string) ([]byte, error) {
	b.gets.Add(1)
	return b.Store.Get(ctx, digest)
}

func store(t testing.TB) *countingBlobs {
	t.Helper()
	d, err := blob.OpenDirectory(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return &countingBlobs{Store: d}
}

func put(t testing.TB, b blob.Store, data []byte) *schemas.ImageRef {
	t.Helper()
	digest, err := b.Put(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	return schemas.BlobRef(digest, "picture.png")
}

func open(t testing.TB, b source.Blobs, cfg source.Config) *source.Source {
	t.Helper()
	s, err := source.New(b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fileRef(path string, data []byte) *schemas.ImageRef {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path)}
	return &schemas.ImageRef{Digest: sha(data), Uri: u.String(), Name: "a file"}
}

// own is the geometry that keeps an image's size.
var own = &schemas.Geometry{Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH}

func expectPixels(t *testing.T, s *source.Source, ref *schemas.ImageRef, want *image.NRGBA) {
	t.Helper()
	got, err := s.Image(t.Context(), ref, own)
	if err != nil {
		t.Error(err)
		return
	}
	if got.Rect != want.Rect || !bytes.Equal(got.Pix, want.Pix) {
		t.Errorf("an image of %v came out with other pixels", got.Rect)
	}
}

// expectFault wants a fault with a reason, whose text holds all of says.
func expectFault(t *testing.T, s *source.Source, ref *schemas.ImageRef, reason schemas.Reason, says ...string) {
	t.Helper()
	img, err := s.Image(t.Context(), ref, own)
	var fault *schemas.Fault
	if !errors.As(err, &fault) || fault.Reason != reason || img != nil {
		t.Errorf("%v, want a fault with the reason %s", err, reason)
		return
	}
	for _, w := range says {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func TestKindsOfReference(t *testing.T) {
	t.Parallel()
	b := store(t)
	root := t.TempDir()
	data, want := picture(t, 1, 24, 17)
	path := testrig.WriteFile(t, data, root, "sub folder", "ä%41.png")
	s := open(t, b, source.Config{Roots: []string{root}})
	expectPixels(t, s, &schemas.ImageRef{Digest: sha(data), Inline: data}, want)
	for name, ref := range map[string]*schemas.ImageRef{"blob": put(t, b, data), "file": fileRef(path, data)} {
		// A fresh source: the first one has the image by now.
		s := open(t, b, source.Config{Roots: []string{filepath.Join(root, "other", ".."), root}})
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expectPixels(t, s, ref, want)
		})
	}
	expectFault(t, s, &schemas.ImageRef{Digest: sha([]byte("x")), Uri: "http://example.org/a.png"}, schemas.ReasonBadMessage, "http://example.org")
	expectFault(t, s, &schemas.ImageRef{Digest: sha([]byte("x"))}, schemas.ReasonBadMessage)
}

func TestDigestIsChecked(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	data, _ := picture(t, 1, 24, 24)
	other, _ := picture(t, 2, 24, 24)
	path := testrig.WriteFile(t, other, root, "a.png")
	s := open(t, store(t), source.Config{Roots: []string{root}})
	for name, ref := range map[string]*schemas.ImageRef{
		"inline": {Digest: sha(data), Inline: other},
		"file":   fileRef(path, data),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expectFault(t, s, ref, schemas.ReasonBadImage, "the file has changed")
		})
	}
}

// lyingBlobs returns other bytes than were asked for.
type lyingBlobs struct{ data []byte }

func (b lyingBlobs) Get(context.Context, string) ([]byte, error) { return b.data, nil }

func TestDigestOfABlobIsChecked(t *testing.T) {
	t.Parallel()
	data, _ := picture(t, 1, 24, 24)
	s := open(t, lyingBlobs{data}, source.Config{})
	expectFault(t, s, schemas.BlobRef(sha([]byte("x")), ""), schemas.ReasonBadImage, "the file has changed")
}

// TestMissingBlob holds every blob store to what package source goes by.
func TestMissingBlob(t *testing.T) {
	t.Parallel()
	server, err := natsserver.Start(natsserver.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	l, err := link.Dial(t.Context(), link.Config{Server: server})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	all, err := streams.Open(t.Context(), l, streams.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for name, blobs := range map[string]source.Blobs{"message queue": blob.OnStreams(l, all.BlobLifetime()), "folder": store(t)} {
		ref := schemas.BlobRef(sha([]byte("nothing")), "gone.png")
		expectFault(t, open(t, blobs, source.Config{}), ref, schemas.ReasonMissingBlob, "gone.png", "send the job again")
		if t.Failed() {
			t.Errorf("that was the %s", name)
		}
	}
}

func TestWhatMayPassIsNoFault(t *testing.T) {
	t.Parallel()
	b := store(t)
	data, want := picture(t, 1, 24, 24)
	ref := put(t, b, data)
	s := open(t, b, source.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Image(ctx, ref, own)
	var fault *schemas.Fault
	if !errors.Is(err, context.Canceled) || errors.As(err, &fault) {
		t.Errorf("%v, want the context's error and no fault", err)
	}
	expectPixels(t, s, ref, want) // and nothing is remembered of it
}

func TestFoldersThatAreNotAllowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := filepath.Join(dir, "allowed")
	data, want := picture(t, 1, 24, 24)
	inside := testrig.WriteFile(t, data, root, "in.png")
	for name, path := range map[string]string{
		"outside":        testrig.WriteFile(t, data, dir, "out.png"),
		"sibling":        testrig.WriteFile(t, data, dir, "allowed-not", "a.png"),
		"dots in a name": testrig.WriteFile(t, data, dir, "..allowed", "a.png"),
		"climbing":       root + "/../out.png",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, store(t), source.Config{Roots: []string{root}})
			expectFault(t, s, fileRef(path, data), schemas.ReasonForbidden, "--allow")
		})
	}
	t.Run("no folder at all", func(t *testing.T) {
		t.Parallel()
		expectFault(t, open(t, store(t), source.Config{}), fileRef(inside, data), schemas.ReasonForbidden, "in.png", "--allow")
	})
	t.Run("link inside", func(t *testing.T) {
		t.Parallel()
		link := filepath.Join(root, "inner.png")
		if err := os.Symlink("in.png", link); err != nil {
			t.Fatal(err)
		}
		expectPixels(t, open(t, store(t), source.Config{Roots: []string{root}}), fileRef(link, data), want)
	})
	for name, target := range map[string]string{"link out": filepath.Join(dir, "out.png"), "relative link out": "../out.png"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			link := filepath.Join(root, strings.ReplaceAll(name, " ", "-")+".png")
			if err := os.Symlink(target, link); err != nil {
				t.Fatal(err)
			}
			expectFault(t, open(t, store(t), source.Config{Roots: []string{root}}), fileRef(link, data), schemas.ReasonBadImage, "escapes")
		})
	}
	t.Run("link to a folder out", func(t *testing.T) {
		t.Parallel()
		link := filepath.Join(root, "folder")
		if err := os.Symlink(dir, link); err != nil {
			t.Fatal(err)
		}
		expectFault(t, open(t, store(t), source.Config{Roots: []string{root}}), fileRef(filepath.Join(link, "out.png"), data), schemas.ReasonBadImage, "escapes")
	})
}

func TestFilesThatAreNoFiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(root, "pipe.png"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "folder.png"), 0o750); err != nil {
		t.Fatal(err)
	}
	testrig.WriteFile(t, nil, root, "plain")
	if err := os.Symlink("loop.png", filepath.Join(root, "loop.png")); err != nil {
		t.Fatal(err)
	}
	s := open(t, store(t), source.Config{Roots: []string{root}})
	for name, says := range map[string]string{
		"pipe.png": "not a regular file", "folder.png": "not a regular file", "missing.png": "no such file",
		"plain/below.png": "not a directory", "loop.png": "too many levels of symbolic links", strings.Repeat("n", 300): "name too long",
	} {
		expectFault(t, s, fileRef(filepath.Join(root, name), nil), schemas.ReasonBadImage, says)
	}
}

// TestTooManyOpenFilesMayPass takes the last file descriptor of a process of its own.
func TestTooManyOpenFilesMayPass(t *testing.T) {
	t.Parallel()
	if os.Getenv("STEGOMQ_TEST_DESCRIPTORS") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTooManyOpenFilesMayPass$")
		cmd.Env = append(os.Environ(), "STEGOMQ_TEST_DESCRIPTORS=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	root := t.TempDir()
	data, want := picture(t, 1, 24, 17)
	ref := fileRef(testrig.WriteFile(t, data, root, "a.png"), data)
	s := open(t, store(t), source.Config{Roots: []string{root}})
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	_, err := s.Image(t.Context(), ref, own)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	var fault *schemas.Fault
	if !errors.Is(err, syscall.EMFILE) || errors.As(err, &fault) {
		t.Errorf("%v, want too many open files and no fault", err)
	}
	expectPixels(t, s, ref, want)
}

// TestFolderThatComesBack: a mount that is away for a moment is no fault of the image.
func TestFolderThatComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := filepath.Join(dir, "mount")
	data, want := picture(t, 1, 24, 17)
	ref := fileRef(testrig.WriteFile(t, data, root, "a.png"), data)
	s := open(t, store(t), source.Config{Roots: []string{root}})
	if err := os.Rename(root, root+"-away"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Image(t.Context(), ref, own)
	var fault *schemas.Fault
	if err == nil || errors.As(err, &fault) {
		t.Errorf("%v, want an error that is no fault", err)
	}
	if err := os.Rename(root+"-away", root); err != nil {
		t.Fatal(err)
	}
	expectPixels(t, s, ref, want)
}

func TestBadImages(t *testing.T) {
	t.Parallel()
	good, _ := picture(t, 1, 40, 40)
	small, _ := picture(t, 2, 8, 40)
	torn := bytes.Clone(good)
	torn[len(torn)/2] ^= 0xff
	limits := pixel.Limits{MaxBytes: int64(len(good)), MaxPixels: 40 * 40}
	long, _ := picture(t, 3, 41, 40)
	flat, err := pixel.EncodePNG(image.NewNRGBA(image.Rect(0, 0, 50, 50))) // compresses to few bytes
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data   []byte
		reason schemas.Reason
	}{
		"at both limits":  {good, ""},
		"too many bytes":  {append(bytes.Clone(good), 0), schemas.ReasonTooLarge},
		"bytes, by far":   {long, schemas.ReasonTooLarge},
		"too many pixels": {flat, schemas.ReasonTooLarge},
		"truncated":       {good[:len(good)-20], schemas.ReasonBadImage},
		"damaged":         {torn, schemas.ReasonBadImage},
		"text":            {[]byte("not an image, whatever it is called"), schemas.ReasonBadImage},
		"too small":       {small, schemas.ReasonBadImage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			b := store(t)
			for _, ref := range []*schemas.ImageRef{
				put(t, b, c.data), {Digest: sha(c.data), Inline: c.data, Name: "inline"},
				fileRef(testrig.WriteFile(t, c.data, root, "a.png"), c.data),
			} {
				s := open(t, b, source.Config{Limits: limits, Roots: []string{root}})
				if c.reason != "" {
					expectFault(t, s, ref, c.reason, ref.GetName())
				} else if _, err := s.Image(t.Context(), ref, own); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestGeometry(t *testing.T) {
	t.Parallel()
	data, _ := picture(t, 1, 60, 30)
	s := open(t, store(t), source.Config{})
	ref := &schemas.ImageRef{Digest: sha(data), Inline: data}
	var seen [][]byte
	for _, policy := range []schemas.ResizePolicy{schemas.ResizePolicy_RESIZE_POLICY_SQUASH, schemas.ResizePolicy_RESIZE_POLICY_CROP} {
		g := &schemas.Geometry{Width: 20, Height: 24, Resize: policy}
		img, err := s.Image(t.Context(), ref, g)
		if err != nil {
			t.Fatal(err)
		}
		if img.Rect != image.Rect(0, 0, 20, 24) {
			t.Errorf("%v: the image is %v", policy, img.Rect)
		}
		seen = append(seen, img.Pix)
		full, _, err := pixel.Decode(data, pixel.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		want, err := pixel.Fit(full, source.PixelGeometry(g))
		if err != nil || !bytes.Equal(img.Pix, want.Pix) {
			t.Errorf("%v: other pixels than those of package pixel (%v)", policy, err)
		}
	}
	if bytes.Equal(seen[0], seen[1]) {
		t.Error("squash and crop gave the same pixels")
	}
	for g, want := range map[*schemas.Geometry]pixel.Geometry{
		nil:                    {},
		own:                    {},
		{Width: 3, Height: 4}:  {Width: 3, Height: 4},
		{Width: 3, Resize: 2}:  {Width: 3, Policy: pixel.Crop},
		{Height: 3, Resize: 1}: {Height: 3, Policy: pixel.Squash},
	} {
		if got := source.PixelGeometry(g); got != want {
			t.Errorf("%v became %v, want %v", g, got, want)
		}
	}
}

func TestImagesAreShared(t *testing.T) {
	t.Parallel()
	b := store(t)
	data, _ := picture(t, 1, 64, 64)
	ref := put(t, b, data)
	s := open(t, b, source.Config{})
	images := make([]*image.NRGBA, 8)
	var wg sync.WaitGroup
	for i := range images {
		wg.Go(func() {
			img, err := s.Image(t.Context(), ref, own)
			if err != nil {
				t.Error(err)
			}
			images[i] = img
		})
	}
	wg.Wait()
	for _, img := range images {
		if img != images[0] {
			t.Error("two callers got images of their own")
		}
	}
	if n := b.gets.Load(); n != 1 {
		t.Errorf("the blob was read %d times, want once", n)
	}
	if _, err := s.Image(t.Context(), ref, &schemas.Geometry{Width: 32, Height: 32, Resize: 1}); err != nil {
		t.Error(err)
	}
	if n := b.gets.Load(); n != 2 {
		t.Errorf("with a second geometry the blob was read %d times, want twice", n)
	}
	// A cache with room for one image holds one.
	tight := open(t, b, source.Config{CacheBytes: 64 * 64 * 4})
	second, _ := picture(t, 2, 64, 64)
	before := b.gets.Load()
	for _, r := range []*schemas.ImageRef{ref, ref, put(t, b, second), ref} {
		if _, err := tight.Image(t.Context(), r, own); err != nil {
			t.Error(err)
		}
	}
	if n := b.gets.Load() - before; n != 3 {
		t.Errorf("%d reads, want 3: two images, one of them twice", n)
	}
}

// TestWhatIsKeptIsOfItsTenant: what one tenant's work left here another does not get by its digest.
func TestWhatIsKeptIsOfItsTenant(t *testing.T) {
	t.Parallel()
	b := store(t)
	data, want := picture(t, 1, 24, 24)
	s := open(t, b, source.Config{})
	alice, bob := schemas.WithTenant(t.Context(), "alice"), schemas.WithTenant(t.Context(), "bob")
	s.Keep(alice, sha(data), data, want)
	ref := schemas.BlobRef(sha(data), "of alice")
	for _, g := range []*schemas.Geometry{own, {Width: 24, Height: 24, Resize: schemas.ResizePolicy_RESIZE_POLICY_CROP}} {
		if got, err := s.Image(alice, ref, g); err != nil || got != want {
			t.Errorf("%v: alice does not get what is kept: %v", g, err)
		}
		for who, ctx := range map[string]context.Context{"bob": bob, "the operator": t.Context()} {
			var fault *schemas.Fault
			if img, err := s.Image(ctx, ref, g); !errors.As(err, &fault) || fault.Reason != schemas.ReasonMissingBlob || img != nil {
				t.Errorf("%v: %s gets %v, want a missing blob", g, who, err)
			}
		}
	}
	if n := b.gets.Load(); n != 4 {
		t.Errorf("the blob store was asked %d times, want once for each of the others' images", n)
	}
	// Of another size it is made from the file.
	if _, err := s.Image(alice, ref, &schemas.Geometry{Width: 16, Height: 16}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want that the file is not there", err)
	}
}

func TestRootsMustBeFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := testrig.WriteFile(t, nil, dir, "file")
	for _, root := range []string{file, filepath.Join(dir, "missing")} {
		if _, err := source.New(store(t), source.Config{Roots: []string{dir, root}}); err == nil || !strings.Contains(err.Error(), root) {
			t.Errorf("%s: %v, want an error that names it", root, err)
		}
	}
}

// TestDecoderVersion: what is remembered is of the pixels that are made now.
func TestDecoderVersion(t *testing.T) {
	t.Parallel()
	if schemas.DecoderVersion != pixel.DecoderVersion {
		t.Errorf("remembered work is of decoder %d, the decoder is %d: raise schemas.DecoderVersion", schemas.DecoderVersion, pixel.DecoderVersion)
	}
}
