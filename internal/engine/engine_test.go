package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/internal/pixel"
	"stegomq/schemas"
)

const (
	embed   = schemas.Operation_OPERATION_EMBED
	recov   = schemas.Operation_OPERATION_RECOVER
	purify  = schemas.Operation_OPERATION_PURIFY
	unknown = schemas.Operation_OPERATION_UNSPECIFIED
)

// models are one of each keying.
func models(t *testing.T) (network, variant, cipher *model.Model) {
	t.Helper()
	load := func(path ...string) *model.Model {
		m, err := model.Load(filepath.Join(append([]string{"..", ".."}, path...)...))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	return load("internal", "ort", "testdata", "tiny"), load("internal", "ort", "testdata", "variant"), load("models", "lsb-chacha20")
}

// ring is the demo keyring of a model.
func ring(t *testing.T, m *model.Model) *keyring.Keyring {
	t.Helper()
	keys, err := keyring.Open(m.Keyring(), keyring.Protection{})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// start makes an engine on the real runtime, with all models and the demo keys.
func start(t *testing.T) (e *Engine, network, variant, cipher *model.Model) {
	t.Helper()
	network, variant, cipher = models(t)
	runtime, err := ort.New(ort.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("start the runtime (`make ort` gets the library): %v", err)
	}
	t.Cleanup(func() {
		if err := runtime.Close(); err != nil {
			t.Error(err)
		}
	})
	e = New(runtime, ring(t, cipher))
	if err := e.Add(network, variant, cipher); err != nil {
		t.Fatal(err)
	}
	return e, network, variant, cipher
}

func (e *Engine) ref(t *testing.T, id string) *schemas.KeyRef {
	t.Helper()
	pair, err := e.keys.(*keyring.Keyring).Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return &schemas.KeyRef{Id: id, Fingerprint: pair.Fingerprint()}
}

// photograph is a batch of smooth 8-bit images, from a logged seed.
func photograph(t *testing.T, n, h, w int) pixel.Tensor {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	out := pixel.Tensor{N: n, C: 3, H: h, W: w}
	for range 3 * n {
		a, b, phase := 0.05+0.1*r.Float64(), 0.05+0.1*r.Float64(), 6*r.Float64()
		for i := range h * w {
			v := math.Round(127.5 + 120*math.Sin(a*float64(i%w)+b*float64(i/w)+phase))
			out.Data = append(out.Data, float32(v)/255)
		}
	}
	return out
}

func psnr(a, b pixel.Tensor) float64 {
	sum := 0.0
	for i := range a.Data {
		d := float64(a.Data[i]) - float64(b.Data[i])
		sum += d * d
	}
	return 10 * math.Log10(float64(len(a.Data))/sum)
}

// through runs an image through 8 bits, as a worker does with every output.
func through(t *testing.T, in pixel.Tensor) pixel.Tensor {
	t.Helper()
	out := in
	out.Data = nil
	for n := range in.N {
		img, err := pixel.ToImage(in, n)
		if err != nil {
			t.Fatal(err)
		}
		for c := range 3 {
			for i := c; i < len(img.Pix); i += 4 {
				out.Data = append(out.Data, float32(img.Pix[i])/255)
			}
		}
	}
	return out
}

func (e *Engine) must(t *testing.T, m *model.Model, op schemas.Operation, key string, in ...pixel.Tensor) pixel.Tensor {
	t.Helper()
	out, refused, err := e.Run(t.Context(), m.Digest, op, e.ref(t, key), in...)
	if err != nil || refused != nil {
		t.Fatal(err, refused)
	}
	return out
}

// The cipher needs no runtime, keeps batches apart and gives the high bits of the secret back; every wrong key gives noise.
func TestCipher(t *testing.T) {
	t.Parallel()
	_, _, cipher := models(t)
	if NeedsRuntime(cipher) {
		t.Fatal("a cipher needs the runtime")
	}
	e := New(nil, ring(t, cipher))
	if err := e.Add(cipher); err != nil {
		t.Fatal(err)
	}
	cover, secret := photograph(t, 2, 33, 47), photograph(t, 2, 33, 47)
	stego := through(t, e.must(t, cipher, embed, "demo-1", cover, secret))
	if stego.N != 2 || stego.C != 3 || stego.H != 33 || stego.W != 47 {
		t.Fatalf("stego is %dx%dx%dx%d", stego.N, stego.C, stego.H, stego.W)
	}
	if got := psnr(cover, stego); math.Abs(got-31.9) > 1 {
		t.Errorf("stego: %.2f dB against the cover, uniform low bits have about 31.8", got)
	}
	recovered := e.must(t, cipher, recov, "demo-1", stego)
	for i, v := range samples(recovered.Data) {
		if want := samples(secret.Data[i : i+1])[0]&0xf0 | 8; v != want {
			t.Fatalf("sample %d is %#x, want %#x", i, v, want)
		}
	}
	noise := secret
	noise.Data = make([]float32, len(secret.Data))
	for i := range noise.Data {
		noise.Data[i] = float32(rand.IntN(16)*16+8) / 255
	}
	floor := psnr(secret, noise)
	for _, key := range []string{"demo-2", "near-0-demo-1", "near-255-demo-1", "swapped-demo-1", "random-1-0"} {
		if got := psnr(secret, e.must(t, cipher, recov, key, stego)); math.Abs(got-floor) > 0.5 {
			t.Errorf("%s: %.2f dB against the secret, noise has %.2f", key, got, floor)
		}
	}
	alone := cover
	alone.N, alone.Data = 1, cover.Data[:len(cover.Data)/2]
	other := secret
	other.N, other.Data = 1, secret.Data[:len(secret.Data)/2]
	if single := e.must(t, cipher, embed, "demo-1", alone, other); !slices.Equal(samples(single.Data), samples(stego.Data[:len(single.Data)])) {
		t.Error("an image by itself gives another stego image than in a batch")
	}
}

// Modulo needs no runtime, keeps batches apart and takes any key; a wrong one gives noise, and what it cannot do is said.
func TestModulo(t *testing.T) {
	t.Parallel()
	for name, floor := range map[string]float64{"modulo": 26, "modulo-noise": 24, "modulo-jpeg": 17} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := model.Load(filepath.Join("..", "..", "models", name))
			if err != nil {
				t.Fatal(err)
			}
			if NeedsRuntime(m) {
				t.Fatal("it needs the runtime")
			}
			e := New(nil, ring(t, m))
			if err := e.Add(m); err != nil {
				t.Fatal(err)
			}
			cover, secret := photograph(t, 2, 73, 97), photograph(t, 2, 73, 97)
			// One embedding in a hundred loses 10 dB by a value that rounding moves over the end of its step: the median of five does not.
			var stego pixel.Tensor
			var recovered [5]float64
			for i := range recovered {
				stego = through(t, e.must(t, m, embed, "demo-1", cover, secret))
				recovered[i] = psnr(secret, e.must(t, m, recov, "demo-1", stego))
			}
			if slices.Sort(recovered[:]); recovered[2] < floor {
				t.Errorf("recovered %.2f dB", recovered)
			}
			for _, key := range []string{"demo-2", "near-0-demo-1", "near-255-demo-1", "swapped-demo-1", "random-1-0"} {
				if got := psnr(secret, e.must(t, m, recov, key, stego)); got > 12 {
					t.Errorf("%s: %.2f dB against the secret", key, got)
				}
			}
			small := photograph(t, 1, 15, 40)
			for _, c := range []struct {
				op     schemas.Operation
				key    string
				in     []pixel.Tensor
				reason schemas.Reason
			}{
				{recov, "partial-500-demo-1", []pixel.Tensor{stego}, schemas.ReasonBadKey},
				{embed, "demo-1", []pixel.Tensor{small, small}, schemas.ReasonBadImage},
				{recov, "demo-1", []pixel.Tensor{small}, schemas.ReasonBadImage},
				{purify, "demo-1", []pixel.Tensor{stego}, schemas.ReasonBadMessage},
			} {
				_, _, err := e.Run(t.Context(), m.Digest, c.op, e.ref(t, c.key), c.in...)
				if f, ok := errors.AsType[*schemas.Fault](err); !ok || f.Reason != c.reason {
					t.Errorf("%v with %s: %v, want the reason %s", c.op, c.key, err, c.reason)
				}
			}
		})
	}
}

// One engine serves all three keyings, and a key does something else in each.
func TestAllKeyings(t *testing.T) {
	t.Parallel()
	e, network, variant, cipher := start(t)
	if !NeedsRuntime(cipher, network) || !NeedsRuntime(variant) {
		t.Error("networks do not need the runtime")
	}
	for m, want := range map[*model.Model]string{network: e.runtime.Name(), variant: e.runtime.Name(), cipher: ""} {
		if got := e.Runtime(m.Digest); got != want {
			t.Errorf("%s is computed by %q, want %q", m.Name, got, want)
		}
	}
	cover, secret := photograph(t, 1, 32, 32), photograph(t, 1, 32, 32)
	for _, m := range []*model.Model{network, variant, cipher} {
		first, second := e.must(t, m, embed, "demo-1", cover, secret), e.must(t, m, embed, "demo-2", cover, secret)
		if slices.Equal(first.Data, second.Data) {
			t.Errorf("%s: two keys give one stego image", m.Name)
		}
		if again := e.must(t, m, embed, "demo-1", cover, secret); !slices.Equal(first.Data, again.Data) {
			t.Errorf("%s: the same again is another image", m.Name)
		}
		stego := through(t, first)
		if slices.Equal(e.must(t, m, recov, "demo-1", stego).Data, e.must(t, m, recov, "demo-2", stego).Data) {
			t.Errorf("%s: two keys recover one image", m.Name)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	e, network, variant, cipher := start(t)
	image, small := photograph(t, 1, 32, 32), photograph(t, 1, 16, 32)
	good, random := e.ref(t, "demo-1"), e.ref(t, "random-1-0")
	stranger := &schemas.KeyRef{Id: "alice", Fingerprint: good.Fingerprint}
	other := &schemas.KeyRef{Id: "demo-2", Fingerprint: good.Fingerprint}
	impostor := &schemas.KeyRef{Id: "partial-9-demo-1", Fingerprint: good.Fingerprint}
	one, two := []pixel.Tensor{image}, []pixel.Tensor{image, image}
	for _, c := range []struct {
		name   string
		model  string
		op     schemas.Operation
		key    *schemas.KeyRef
		in     []pixel.Tensor
		reason schemas.Reason
		want   string
	}{
		{"unknown key", cipher.Digest, recov, stranger, one, schemas.ReasonUnknownKey, "alice"},
		{"unknown key, variant", variant.Digest, recov, stranger, one, schemas.ReasonUnknownKey, "alice"},
		{"mismatch", cipher.Digest, embed, other, two, schemas.ReasonKeyMismatch, "demo-2"},
		{"mismatch, variant", variant.Digest, embed, other, two, schemas.ReasonKeyMismatch, "demo-2"},
		{"no variant", variant.Digest, recov, e.ref(t, "demo-3"), one, schemas.ReasonBadKey, "demo-1"},
		{"random, variant", variant.Digest, recov, random, one, schemas.ReasonBadKey, "no network"},
		{"near, variant", variant.Digest, recov, e.ref(t, "near-3-demo-1"), one, schemas.ReasonBadKey, "no network"},
		{"swapped, variant", variant.Digest, recov, e.ref(t, "swapped-demo-1"), one, schemas.ReasonBadKey, "no network"},
		{"partial, variant", variant.Digest, recov, e.ref(t, "partial-500-demo-1"), one, schemas.ReasonBadKey, "no network"},
		{"partial, cipher", cipher.Digest, recov, e.ref(t, "partial-500-demo-1"), one, schemas.ReasonBadKey, "partial-500-demo-1"},
		{"partial, cipher, embed", cipher.Digest, embed, e.ref(t, "partial-1000-demo-1"), two, schemas.ReasonBadKey, "embed nothing"},
		{"partial with the owner's fingerprint", network.Digest, recov, impostor, one, schemas.ReasonKeyMismatch, "partial-9-demo-1"},
		{"purify, variant", variant.Digest, purify, nil, one, schemas.ReasonBadMessage, "purify"},
		{"purify, cipher", cipher.Digest, purify, nil, one, schemas.ReasonBadMessage, "purify"},
		{"nothing, cipher", cipher.Digest, unknown, nil, one, schemas.ReasonBadMessage, ""},
		{"unknown model", strings.Repeat("0", 64), recov, good, one, schemas.ReasonUnknownModel, "000000000000"},
		{"one image, cipher", cipher.Digest, embed, good, one, schemas.ReasonBadImage, "cover"},
		{"two sizes, cipher", cipher.Digest, embed, good, []pixel.Tensor{image, small}, schemas.ReasonBadImage, "secret"},
		{"no pixels, cipher", cipher.Digest, recov, good, make([]pixel.Tensor, 1), schemas.ReasonBadImage, "stego"},
		{"no key, network", network.Digest, recov, nil, one, schemas.ReasonBadKey, "needs one"},
		{"no key, variant", variant.Digest, embed, nil, two, schemas.ReasonBadKey, "needs one"},
		{"no key, cipher", cipher.Digest, recov, nil, one, schemas.ReasonBadKey, "needs one"},
		{"a key to purify", network.Digest, purify, good, one, schemas.ReasonBadKey, "takes none"},
		{"two sizes, network", network.Digest, embed, good, []pixel.Tensor{image, small}, schemas.ReasonBadImage, "secret"},
	} {
		_, _, err := e.Run(t.Context(), c.model, c.op, c.key, c.in...)
		var fault *schemas.Fault
		if !errors.As(err, &fault) || fault.Reason != c.reason || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want a fault %s about %q", c.name, err, c.reason, c.want)
		}
	}
}

// A model that is damaged after it was loaded, or that was never whole, is a fault at once.
func TestDamagedModels(t *testing.T) {
	t.Parallel()
	e, network, variant, _ := start(t)
	image := photograph(t, 1, 32, 32)
	copied := func(m *model.Model, change func(dir string)) *model.Model {
		dir := filepath.Join(t.TempDir(), m.Name)
		if err := os.CopyFS(dir, os.DirFS(m.Dir)); err != nil {
			t.Fatal(err)
		}
		change(dir)
		damaged, err := model.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		return damaged
	}
	rewrite := func(path string, change func([]byte) []byte) {
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, change(data), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	digest := func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		return hex.EncodeToString(sum[:])
	}
	// The manifest names the file that is there: only the runtime finds that it is no graph.
	noGraph := func(file string) func(dir string) {
		return func(dir string) {
			before := digest(filepath.Join(dir, file))
			rewrite(filepath.Join(dir, file), func([]byte) []byte { return []byte("no graph at all") })
			rewrite(filepath.Join(dir, "manifest.json"), func(data []byte) []byte {
				return bytes.ReplaceAll(data, []byte(before), []byte(digest(filepath.Join(dir, file))))
			})
		}
	}
	changed := copied(variant, func(dir string) {
		rewrite(filepath.Join(dir, "manifest.json"), func(data []byte) []byte { return append(data, '\n') }) // another digest than variant's
	})
	rewrite(filepath.Join(changed.Dir, "recover.demo-1.onnx"), func(data []byte) []byte { return append(data, 0) })
	for _, m := range []*model.Model{changed, copied(variant, noGraph("recover.demo-1.onnx")), copied(network, noGraph("recover.onnx"))} {
		if err := e.Add(m); err != nil {
			t.Fatal(err)
		}
		_, _, err := e.Run(t.Context(), m.Digest, recov, e.ref(t, "demo-1"), image)
		if fault, ok := errors.AsType[*schemas.Fault](err); !ok || fault.Reason != schemas.ReasonBadModel {
			t.Errorf("%s: %v, want bad_model", m.Dir, err)
		}
	}
}

// What is derived from a pair does something else than the pair; the more of a fill is right, the nearer it comes, and all
// of it is the pair itself.
func TestDerivedKeys(t *testing.T) {
	t.Parallel()
	e, network, _, _ := start(t)
	stego := photograph(t, 1, 32, 32)
	want := e.must(t, network, recov, "demo-1", stego)
	if slices.Equal(e.must(t, network, recov, "swapped-demo-1", stego).Data, want.Data) {
		t.Error("the exchanged pair recovers what the pair does")
	}
	if !slices.Equal(e.must(t, network, recov, "partial-1000-demo-1", stego).Data, want.Data) {
		t.Error("all of the fill recovers something else than the pair")
	}
	last := 0.0
	for _, key := range []string{"partial-0-demo-1", "partial-900-demo-1", "partial-990-demo-1"} {
		near := psnr(e.must(t, network, recov, key, stego), want)
		if near <= last {
			t.Errorf("%s: %.1f dB from what the pair recovers, a smaller share has %.1f", key, near, last)
		}
		last = near
	}
}

// Features come with the image that Run gives, of models that have them; of others the job is at fault.
func TestFeatures(t *testing.T) {
	t.Parallel()
	e, network, variant, cipher := start(t)
	stego := photograph(t, 2, 32, 32)
	for m, keys := range map[*model.Model][]string{network: {"demo-1", "swapped-demo-1", "partial-500-demo-1"}, variant: {"demo-1"}} {
		for _, key := range keys {
			recovered, features, err := e.Features(t.Context(), m.Digest, e.ref(t, key), stego)
			if err != nil {
				t.Fatal(err)
			}
			if want := e.must(t, m, recov, key, stego); psnr(recovered, want) < 100 {
				t.Errorf("%s, %s: the image is another than that of Run", m.Name, key)
			}
			if len(features) != 2 || len(features[0]) != m.Manifest.Features || len(features[1]) != m.Manifest.Features {
				t.Errorf("%s, %s: %d rows of features", m.Name, key, len(features))
			}
		}
	}
	unknown := &schemas.KeyRef{Id: "alice", Fingerprint: e.ref(t, "demo-1").Fingerprint}
	for _, c := range []struct {
		name   string
		model  string
		key    *schemas.KeyRef
		reason schemas.Reason
	}{
		{"cipher", cipher.Digest, e.ref(t, "demo-1"), schemas.ReasonBadMessage},
		{"unknown key", network.Digest, unknown, schemas.ReasonUnknownKey},
		{"unknown model", strings.Repeat("0", 64), e.ref(t, "demo-1"), schemas.ReasonUnknownModel},
		{"no variant", variant.Digest, e.ref(t, "demo-3"), schemas.ReasonBadKey},
	} {
		_, _, err := e.Features(t.Context(), c.model, c.key, stego)
		var fault *schemas.Fault
		if !errors.As(err, &fault) || fault.Reason != c.reason {
			t.Errorf("%s: %v, want a fault %s", c.name, err, c.reason)
		}
	}
}

func TestWithoutRuntime(t *testing.T) {
	t.Parallel()
	network, variant, cipher := models(t)
	for _, m := range []*model.Model{network, variant} {
		e := New(nil, ring(t, cipher))
		if err := e.Add(cipher, m); !errors.Is(err, ort.ErrNoLibrary) || !strings.Contains(err.Error(), m.Name) {
			t.Errorf("%s: %v, want ErrNoLibrary", m.Name, err)
		}
		_, _, err := e.Run(t.Context(), m.Digest, recov, e.ref(t, "demo-1"), photograph(t, 1, 32, 32))
		var fault *schemas.Fault
		if !errors.As(err, &fault) || fault.Reason != schemas.ReasonUnknownModel {
			t.Errorf("%s: %v, want unknown_model", m.Name, err)
		}
		_, _, err = e.Features(t.Context(), m.Digest, e.ref(t, "demo-1"), photograph(t, 1, 32, 32))
		if fault = nil; !errors.As(err, &fault) || fault.Reason != schemas.ReasonUnknownModel {
			t.Errorf("%s: features: %v, want unknown_model", m.Name, err)
		}
	}
}
