package producer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"stegomq/internal/cache"
	"stegomq/internal/pixel"
	"stegomq/internal/testrig"
	"stegomq/producer"
	"stegomq/schemas"
)

// inspections counts what is asked of the memo and told to it.
type inspections struct {
	*cache.Cache
	asked, told int
	trusting    bool // every file was found good before
	err         error
}

func (i *inspections) Inspected(ctx context.Context, digests []string, limits string) ([]bool, error) {
	i.asked += len(digests)
	if i.err != nil {
		return nil, i.err
	}
	if i.trusting {
		return slices.Repeat([]bool{true}, len(digests)), nil
	}
	return i.Cache.Inspected(ctx, digests, limits)
}

func (i *inspections) RememberInspected(ctx context.Context, digests []string, limits string) error {
	i.told += len(digests)
	return i.Cache.RememberInspected(ctx, digests, limits)
}

func readDataset(t *testing.T, opts producer.DatasetOptions) *producer.Dataset {
	t.Helper()
	if err := opts.Check(); err != nil {
		t.Errorf("the check refuses it: %v", err)
	}
	d, err := producer.ReadDataset(testrig.Context(t), opts, testrig.Cache(t))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// names are the pairs as "cover+secret".
func names(d *producer.Dataset) []string {
	var all []string
	for _, p := range d.Pairs {
		all = append(all, p.GetCover().GetName()+"+"+p.GetSecret().GetName())
	}
	return all
}

func expectPairs(t *testing.T, d *producer.Dataset, images int, want ...string) {
	t.Helper()
	if got := names(d); !slices.Equal(got, want) {
		t.Errorf("pairs\n%q, want\n%q", got, want)
	}
	if d.Images != images {
		t.Errorf("%d images, want %d", d.Images, images)
	}
	for _, p := range d.Pairs {
		for _, ref := range []*schemas.ImageRef{p.GetCover(), p.GetSecret()} {
			f := d.Files[ref.GetDigest()]
			data, err := os.ReadFile(f.Path)
			if f.Offset > 0 && err == nil {
				data = data[f.Offset : f.Offset+f.Size]
			}
			if err != nil || sha(data) != ref.GetDigest() || ref.GetUri() != schemas.BlobURI(ref.GetDigest()) {
				t.Errorf("%v is not the file %+v (%v)", ref, f, err)
			}
		}
	}
}

// TestPairsOfOneImage: a pair of one image would have a baseline of 100 dB. It is left out and named, and the next takes its place.
func TestPairsOfOneImage(t *testing.T) {
	t.Parallel()
	dir := pictures(t, "a.png", "c.png", "d.png", "e.png", "f.png", "g.png")
	testrig.WriteFile(t, picture(t, 0, 20, 20), dir, "b.png") // as a.png
	list := func(lines string) string {
		testrig.WriteFile(t, []byte(lines), dir, "list.csv")
		return filepath.Join(dir, "list.csv")
	}
	others := pictures(t, "0.png", "1.png", "2.png") // 0.png as a.png
	for name, c := range map[string]struct {
		opts   producer.DatasetOptions
		images int
		pairs  []string
		bad    []string
	}{
		"a folder":         {producer.DatasetOptions{Data: dir}, 7, []string{"c.png+d.png", "e.png+f.png"}, []string{"a.png b.png"}},
		"a limit":          {producer.DatasetOptions{Data: dir, Limit: 1}, 4, []string{"c.png+d.png"}, []string{"a.png b.png"}},
		"a limit too high": {producer.DatasetOptions{Data: dir, Limit: 5}, 7, []string{"c.png+d.png", "e.png+f.png"}, []string{"a.png b.png"}},
		"covers":           {producer.DatasetOptions{Data: dir, Covers: others, Limit: 2}, 6, []string{"1.png+b.png", "2.png+c.png"}, []string{"0.png a.png"}},
		"covers of the same folder": {
			producer.DatasetOptions{Data: others, Covers: others}, 3, nil, []string{"0.png 0.png", "1.png 1.png", "2.png 2.png"},
		},
		"a list": {producer.DatasetOptions{Data: list("a.png,b.png\nc.png,a.png\nd.png,d.png\n")}, 4, []string{"c.png+a.png"}, []string{"a.png b.png", "d.png d.png"}},
		// All are drawn, in an order that seeds choose: it has to find the two that are left.
		"a sample": {producer.DatasetOptions{Data: dir, Sample: 2, Seed: 3}, 6, []string{"c.png+d.png", "e.png+f.png"}, nil},
	} {
		d := readDataset(t, c.opts)
		if c.bad == nil { // only where it was drawn before the others
			c.images = d.Images
		}
		t.Run(name, func(t *testing.T) { expectPairs(t, d, c.images, c.pairs...) })
		for i, want := range c.bad {
			cover, secret, _ := strings.Cut(want, " ")
			if len(d.Bad) != len(c.bad) || d.Bad[i].GetName() != cover || !strings.Contains(d.Bad[i].GetReason(), "its secret, "+secret+", are the same") {
				t.Errorf("%s: %v, want %q", name, d.Bad, c.bad)
				break
			}
		}
	}
}

func TestPairs(t *testing.T) {
	t.Parallel()
	t.Run("consecutive images", func(t *testing.T) {
		t.Parallel()
		dir := pictures(t, "b.png", "a.PNG", "d.png", "c.png")
		d := readDataset(t, producer.DatasetOptions{Data: dir})
		expectPairs(t, d, 4, "a.PNG+b.png", "c.png+d.png")
		if d.Pairs[0].GetItem() != "00001-a" || d.Pairs[1].GetItem() != "00002-c" {
			t.Errorf("items %q and %q", d.Pairs[0].GetItem(), d.Pairs[1].GetItem())
		}
	})
	t.Run("one left over", func(t *testing.T) {
		t.Parallel()
		d := readDataset(t, producer.DatasetOptions{Data: pictures(t, "a.png", "b.png", "c.png")})
		expectPairs(t, d, 3, "a.png+b.png")
	})
	t.Run("subfolders", func(t *testing.T) {
		t.Parallel()
		dir := pictures(t, "z.png", "b/2.png", "b/1.png", "b/deep/er/0.png", "a.png", "c/1.png")
		d := readDataset(t, producer.DatasetOptions{Data: dir})
		expectPairs(t, d, 6, "a.png+b/1.png", "b/2.png+b/deep/er/0.png", "c/1.png+z.png")
		if d.Pairs[1].GetItem() != "00002-2" {
			t.Errorf("item %q", d.Pairs[1].GetItem())
		}
	})
	t.Run("covers of their own", func(t *testing.T) {
		t.Parallel()
		covers, secrets := pictures(t, "c2.png", "c1.png", "c3.png"), t.TempDir()
		for i, name := range []string{"s1.png", "s2.png"} {
			testrig.WriteFile(t, picture(t, uint64(100+i), 20, 20), secrets, name)
		}
		d := readDataset(t, producer.DatasetOptions{Data: secrets, Covers: covers})
		expectPairs(t, d, 5, "c1.png+s1.png", "c2.png+s2.png")
	})
	t.Run("one cover and one secret", func(t *testing.T) {
		t.Parallel()
		d := readDataset(t, producer.DatasetOptions{Data: pictures(t, "s.png"), Covers: covers(t, "c.png")})
		expectPairs(t, d, 2, "c.png+s.png")
	})
	t.Run("two covers of one name", func(t *testing.T) {
		t.Parallel()
		d := readDataset(t, producer.DatasetOptions{Data: pictures(t, "x/a.png", "x/b.png", "y/a.png", "y/b.png")})
		expectPairs(t, d, 4, "x/a.png+x/b.png", "y/a.png+y/b.png")
		if d.Pairs[0].GetItem() == d.Pairs[1].GetItem() {
			t.Error("two pairs have one name")
		}
	})
	t.Run("folder that is a link", func(t *testing.T) {
		t.Parallel()
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(pictures(t, "a.png", "sub/b.png"), link); err != nil {
			t.Fatal(err)
		}
		expectPairs(t, readDataset(t, producer.DatasetOptions{Data: link}), 2, "a.png+sub/b.png")
	})
	t.Run("files that are links", func(t *testing.T) {
		t.Parallel()
		dir := pictures(t, "b.png", "c.png", "d.png")
		if err := os.Symlink(filepath.Join(pictures(t, "x", "y", "z", "u", "elsewhere.png"), "elsewhere.png"), filepath.Join(dir, "a.png")); err != nil {
			t.Fatal(err)
		}
		expectPairs(t, readDataset(t, producer.DatasetOptions{Data: dir}), 4, "a.png+b.png", "c.png+d.png")
	})
	t.Run("hidden files and other files", func(t *testing.T) {
		t.Parallel()
		dir := pictures(t, "a.png", ".hidden.png", ".git/x.png", "b.png", "notes.txt", "notes.json", "sub/.thumb/c.png", "sub/._d.png")
		d := readDataset(t, producer.DatasetOptions{Data: dir})
		expectPairs(t, d, 2, "a.png+b.png")
		if len(d.Bad) > 0 {
			t.Errorf("bad files %v, want none: they are no images by their names", d.Bad)
		}
	})
	t.Run("hidden folder that is named", func(t *testing.T) {
		t.Parallel()
		dir := pictures(t, ".photos/a.png", ".photos/b.png")
		expectPairs(t, readDataset(t, producer.DatasetOptions{Data: filepath.Join(dir, ".photos")}), 2, "a.png+b.png")
	})
}

func TestItemNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100)
	dir := t.TempDir()
	covers := []string{"0 a|b*c.d.png", "1ünï.png", "2" + long + ".png"}
	for i, name := range covers {
		testrig.WriteFile(t, picture(t, uint64(2*i), 20, 20), dir, name)
		testrig.WriteFile(t, picture(t, uint64(2*i+1), 20, 20), dir, fmt.Sprint(i)+"ÿ.png")
	}
	d := readDataset(t, producer.DatasetOptions{Data: dir})
	var got []string
	for _, p := range d.Pairs {
		got = append(got, p.GetItem())
	}
	if i := slices.IndexFunc(got, func(item string) bool { return !schemas.ValidItemID(item) }); i >= 0 {
		t.Errorf("%q cannot be an item", got[i])
	}
	if want := []string{"00001-0_a_b_c_d", "00002-1_n_", "00003-2" + long[:59]}; !slices.Equal(got, want) {
		t.Errorf("items %q, want %q", got, want)
	}
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := picture(t, 1, 20, 20)
	for name, data := range map[string][]byte{
		"a.png": good, "z.jpg": picture(t, 2, 20, 20), // named wrongly, but an image
		"empty.png": {}, "text.png": []byte("this is not an image"), "truncated.png": picture(t, 3, 20, 20)[:100],
		"anim.gif": []byte("GIF89a................"), "large.png": picture(t, 4, 60, 60), "pixel.png": picture(t, 5, 1, 1),
		"sub/torn.png": append(bytes.Clone(good[:len(good)-30]), good[len(good)-29:]...),
		"wide.png":     picture(t, 6, 41, 20),
	} {
		testrig.WriteFile(t, data, dir, name)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.png"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "dangling.png")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "folder.png")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "real-folder.png"), 0o750); err != nil {
		t.Fatal(err)
	}
	limits := pixel.Limits{MaxBytes: 4000, MaxPixels: 20 * 40}
	d := readDataset(t, producer.DatasetOptions{Data: dir, Limits: limits})
	expectPairs(t, d, 2, "a.png+z.jpg")
	want := [][2]string{
		{"anim.gif", "unsupported"}, {"dangling.png", "unreadable: no such file"}, {"empty.png", "empty file"},
		{"folder.png", "not a regular file"}, {"large.png", "too large"}, {"pipe.png", "not a regular file"}, {"pixel.png", "too small"},
		{"sub/torn.png", "image"}, {"text.png", "unsupported"}, {"truncated.png", "truncated"}, {"wide.png", "too large"},
	}
	for i, bad := range d.Bad {
		if i >= len(want) || bad.GetName() != want[i][0] || !strings.Contains(bad.GetReason(), want[i][1]) {
			t.Errorf("bad file %d is %s: %q", i, bad.GetName(), bad.GetReason())
		}
		if strings.Contains(bad.GetReason(), dir) {
			t.Errorf("the reason %q repeats the folder", bad.GetReason())
		}
	}
	if len(d.Bad) != len(want) {
		t.Errorf("%d bad files, want %d", len(d.Bad), len(want))
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	dir := pictures(t, "a.png", "b.png", "c.png", "d.png", "e.png", "f.png")
	testrig.WriteFile(t, []byte("bad"), dir, "0.png")
	testrig.WriteFile(t, []byte("bad"), dir, "bb.png")
	testrig.WriteFile(t, []byte("bad"), dir, "y.png")
	for limit, want := range map[int]struct {
		pairs []string
		bad   int
	}{
		1: {[]string{"a.png+b.png"}, 1}, 2: {[]string{"a.png+b.png", "c.png+d.png"}, 2},
		3: {[]string{"a.png+b.png", "c.png+d.png", "e.png+f.png"}, 2}, 4: {[]string{"a.png+b.png", "c.png+d.png", "e.png+f.png"}, 3},
		0: {[]string{"a.png+b.png", "c.png+d.png", "e.png+f.png"}, 3},
	} {
		memo := &inspections{Cache: testrig.Cache(t)}
		d, err := producer.ReadDataset(testrig.Context(t), producer.DatasetOptions{Data: dir, Limit: limit}, memo)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(d); !slices.Equal(got, want.pairs) || len(d.Bad) != want.bad {
			t.Errorf("limit %d: pairs %q and bad files %v", limit, got, d.Bad)
		}
		// Three bad files decode to nothing, but they can be read.
		if want := 2*len(d.Pairs) + len(d.Bad); memo.asked != want {
			t.Errorf("limit %d: %d files were read, want %d: none after the last that is needed", limit, memo.asked, want)
		}
	}
	d := readDataset(t, producer.DatasetOptions{Data: dir, Covers: covers(t, "1.png", "2.png", "3.png"), Limit: 2})
	if want := []string{"1.png+a.png", "2.png+b.png"}; !slices.Equal(names(d), want) || d.Images != 4 {
		t.Errorf("pairs %q of %d images, want %q of 4", names(d), d.Images, want)
	}
}

func TestInspectionsAreRemembered(t *testing.T) {
	t.Parallel()
	dir := pictures(t, "a.png", "b.png", "c.png")
	torn := testrig.WriteFile(t, picture(t, 9, 20, 20)[:200], dir, "torn.png")
	memo := &inspections{Cache: testrig.Cache(t)}
	read := func(limits pixel.Limits) *producer.Dataset {
		t.Helper()
		d, err := producer.ReadDataset(testrig.Context(t), producer.DatasetOptions{Data: dir, Limits: limits}, memo)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for i, want := range []int{3, 0} { // told to the memo
		memo.told = 0
		if d := read(pixel.Limits{}); len(d.Bad) != 1 || d.Images != 3 || memo.told != want {
			t.Errorf("reading %d: %d bad files, %d images, %d told; want 1, 3, %d", i, len(d.Bad), d.Images, memo.told, want)
		}
	}
	// Other limits are another judgement.
	if d := read(pixel.Limits{MinSide: 21}); len(d.Bad) != 4 {
		t.Errorf("bad files %v, want all: too small", d.Bad)
	}
	// What the memo knows is not decoded again.
	memo.trusting = true
	if d := read(pixel.Limits{}); len(d.Bad) != 0 {
		t.Errorf("%s was inspected again: %v", torn, d.Bad)
	}
	memo.err = errBroken
	if _, err := producer.ReadDataset(testrig.Context(t), producer.DatasetOptions{Data: dir}, memo); !errors.Is(err, errBroken) {
		t.Errorf("%v, want the memo's error", err)
	}
}

func TestFoldersThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	good := pictures(t, "a.png", "b.png")
	file := filepath.Join(good, "a.png")
	memo := testrig.Cache(t)
	for name, c := range map[string]struct {
		opts producer.DatasetOptions
		says string
	}{
		"missing":        {producer.DatasetOptions{Data: filepath.Join(good, "nothing")}, "nothing"},
		"a file":         {producer.DatasetOptions{Data: file}, "not a folder"},
		"empty":          {producer.DatasetOptions{Data: t.TempDir()}, "no image files"},
		"missing covers": {producer.DatasetOptions{Data: good, Covers: filepath.Join(good, "nothing")}, "nothing"},
		"empty covers":   {producer.DatasetOptions{Data: good, Covers: t.TempDir()}, "no image files"},
	} {
		for what, err := range map[string]error{"check": c.opts.Check(), "reading": func() error {
			_, err := producer.ReadDataset(testrig.Context(t), c.opts, memo)
			return err
		}()} {
			if !errors.Is(err, producer.ErrDataset) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s, %s: %v, want ErrDataset that says %q", name, what, err, c.says)
			}
		}
	}
	if err := (producer.DatasetOptions{Data: pictures(t, "a.png")}).Check(); !errors.Is(err, producer.ErrDataset) || !strings.Contains(err.Error(), "a pair needs two") {
		t.Errorf("a single image: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := producer.ReadDataset(ctx, producer.DatasetOptions{Data: good}, memo); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error", err)
	}
}
