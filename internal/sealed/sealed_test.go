package sealed

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/cryptotest"
	"time"

	"stegomq/internal/avif"
	"stegomq/internal/kem"
	"stegomq/internal/pixel"
)

// seeded logs the seed of a test's random numbers.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// photograph is the middle of a photograph, "boats" or "cat", both 512x512.
func photograph(t testing.TB, name string, width, height int) Image {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".jpg"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	out := image.NewNRGBA(image.Rect(0, 0, width, height))
	draw.Draw(out, out.Rect, img, image.Pt((img.Bounds().Dx()-width)/2, (img.Bounds().Dy()-height)/2), draw.Src)
	return fromNRGBA(out)
}

func newKey(t testing.TB, embed, recover []byte) kem.Keys {
	t.Helper()
	k, err := NewKeys(embed, recover)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// pair is a pair of the public-key mode, from random numbers.
func pair(t testing.TB, r *rand.Rand) (embed, recover []byte) {
	t.Helper()
	var seed [kem.Size]byte
	for i := range seed {
		seed[i] = byte(r.Uint32())
	}
	private := kem.Private(seed)
	public, err := kem.Public(private[:])
	if err != nil {
		t.Fatal(err)
	}
	return public[:], private[:]
}

func embed(t testing.TB, cover, secret Image, key kem.Keys, o Options) Image {
	t.Helper()
	stego, err := Embed(t.Context(), cover, secret, key, o)
	if err != nil {
		t.Fatal(err)
	}
	return stego
}

func recovered(t testing.TB, stego Image, key kem.Keys) Image {
	t.Helper()
	secret, err := Recover(t.Context(), stego, key)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// refuse expects the one error of everything that is wrong, and no image.
func refuse(t testing.TB, what string, stego Image, key kem.Keys) {
	t.Helper()
	secret, err := Recover(t.Context(), stego, key)
	if !errors.Is(err, ErrAuthentication) || err.Error() != ErrAuthentication.Error() || secret.Samples != nil {
		t.Errorf("%s: %v, %d samples", what, err, len(secret.Samples))
	}
}

// psnr is in dB, at most 100.
func psnr(a, b Image) float64 {
	sum := 0.0
	for i := range a.Samples {
		d := float64(a.Samples[i]) - float64(b.Samples[i])
		sum += d * d
	}
	return min(100, 10*math.Log10(255*255*float64(len(a.Samples))/sum))
}

func (m Image) clone() Image {
	m.Samples = bytes.Clone(m.Samples)
	return m
}

var half = Options{Rate: 0.5, Profile: Plain}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	public, private := pair(t, r)
	keys := map[string]kem.Keys{
		"public key": newKey(t, public, private),
		"symmetric":  newKey(t, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)),
	}
	for _, c := range []struct {
		o                Options
		width, height    int
		stego, recovered float64
	}{
		{Options{0.1, Plain}, 256, 256, 62, 26},
		{Options{0.25, Plain}, 256, 256, 58.5, 30},
		{Options{0.5, Plain}, 256, 256, 55.5, 34},
		{Options{0.75, Plain}, 256, 256, 52, 36},
		{Options{1, Plain}, 256, 256, 50.8, 38.5},
		{Options{1.5, Plain}, 192, 256, 47, 40},
		{Options{2, Plain}, 256, 256, 46, 42},
		{Options{0.1, Covert}, 256, 256, 58, 26},
		{Options{0.25, Covert}, 256, 256, 52.5, 30},
		{Options{0.5, Plain}, 64, 64, 54, 25},
		{Options{2, Plain}, 40, 17, 45, 20},
		{Options{0.5, Plain}, 301, 97, 55, 30},
	} {
		t.Run(fmt.Sprintf("%g %s %dx%d", c.o.Rate, c.o.Profile, c.width, c.height), func(t *testing.T) {
			t.Parallel()
			cover, secret := photograph(t, "boats", c.width, c.height), photograph(t, "cat", c.width, c.height)
			before := cover.clone()
			for mode, key := range keys {
				stego := embed(t, cover, secret, key, c.o)
				got := recovered(t, stego, key)
				if got.Width != c.width || got.Height != c.height {
					t.Fatalf("%s: the secret is %dx%d", mode, got.Width, got.Height)
				}
				s, q := psnr(cover, stego), psnr(secret, got)
				t.Logf("%s: stego %.2f dB, recovered %.2f dB", mode, s, q)
				if s < c.stego || q < c.recovered {
					t.Errorf("%s: stego %.2f dB, recovered %.2f dB, want %.1f and %.1f", mode, s, q, c.stego, c.recovered)
				}
			}
			if !bytes.Equal(before.Samples, cover.Samples) {
				t.Error("the cover has changed")
			}
		})
	}
}

// The secret may have another size than the cover; it may be flat, grey, narrow or a single pixel.
func TestSecrets(t *testing.T) {
	t.Parallel()
	key := newKey(t, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
	cover := photograph(t, "boats", 128, 128)
	grey := photograph(t, "cat", 128, 128)
	n := grey.pixels()
	copy(grey.Samples[n:], grey.Samples[:n])
	copy(grey.Samples[2*n:], grey.Samples[:n])
	flat := Image{Width: 100, Height: 90, Samples: bytes.Repeat([]byte{77}, 3*100*90)}
	for name, secret := range map[string]Image{
		"larger": photograph(t, "cat", 300, 200), "one pixel": photograph(t, "cat", 1, 1), "three wide": photograph(t, "cat", 3, 200),
		"flat": flat, "grey": grey, "black": {Width: 5, Height: 5, Samples: make([]byte, 75)},
	} {
		got := recovered(t, embed(t, cover, secret, key, half), key)
		if q := psnr(secret, got); got.Width != secret.Width || got.Height != secret.Height || q < 24 {
			t.Errorf("%s: %dx%d, %.1f dB", name, got.Width, got.Height, q)
		}
	}
	// Of black and white covers too, whose samples can move one way only.
	for _, v := range []byte{0, 255} {
		even := Image{Width: 96, Height: 96, Samples: bytes.Repeat([]byte{v}, 3*96*96)}
		for _, o := range []Options{half, {1, Plain}, {2, Plain}, {0.25, Covert}} {
			recovered(t, embed(t, even, photograph(t, "cat", 40, 40), key, o), key)
		}
	}
}

// Whoever has k_e embeds, and recovers nothing, not even what was embedded a moment ago.
func TestEmbedOnly(t *testing.T) {
	t.Parallel()
	public, private := pair(t, seeded(t))
	sender := newKey(t, public, nil)
	stego := embed(t, photograph(t, "boats", 96, 96), photograph(t, "cat", 96, 96), sender, half)
	if _, err := Recover(t.Context(), stego, sender); !errors.Is(err, kem.ErrEmbedOnly) || errors.Is(err, ErrAuthentication) {
		t.Errorf("with k_e alone: %v", err)
	}
	recovered(t, stego, newKey(t, public, private))
}

// Two embeddings of the same share nothing but the regions.
func TestFresh(t *testing.T) {
	t.Parallel()
	key := newKey(t, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
	cover, secret := photograph(t, "boats", 128, 128), photograph(t, "cat", 128, 128)
	one, two := embed(t, cover, secret, key, half), embed(t, cover, secret, key, half)
	first, second, both := 0, 0, 0
	for i, v := range cover.Samples {
		a, b := one.Samples[i] != v, two.Samples[i] != v
		if a {
			first++
		}
		if b {
			second++
		}
		if a && b {
			both++
		}
	}
	if bytes.Equal(one.Samples, two.Samples) || both > first*3/4 {
		t.Errorf("%d and %d samples changed, %d of them in both", first, second, both)
	}
}

func TestWrongKeys(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	cover, secret := photograph(t, "boats", 64, 64), photograph(t, "cat", 64, 64)
	public, private := pair(t, r)
	otherPublic, otherPrivate := pair(t, r)
	older, old := bytes.Repeat([]byte{3}, 32), bytes.Repeat([]byte{4}, 32)
	near := func(key []byte, bit int) []byte {
		key = bytes.Clone(key)
		key[bit/8] ^= 1 << (bit % 8)
		return key
	}
	for name, mine := range map[string][2][]byte{"public key": {public, private}, "symmetric": {older, old}} {
		stego := embed(t, cover, secret, newKey(t, mine[0], mine[1]), half)
		refuse(t, name+": another user", stego, newKey(t, otherPublic, otherPrivate))
		refuse(t, name+": another k_r", stego, newKey(t, mine[0], otherPrivate))
		refuse(t, name+": another k_e", stego, newKey(t, otherPublic, mine[1]))
		refuse(t, name+": swapped", stego, newKey(t, mine[1], mine[0]))
		refuse(t, name+": zeros", stego, newKey(t, make([]byte, 32), make([]byte, 32)))
		for bit := range 256 {
			refuse(t, fmt.Sprintf("%s: bit %d of both", name, bit), stego, newKey(t, near(mine[0], bit), near(mine[1], bit)))
			if bit%16 == 15 {
				refuse(t, fmt.Sprintf("%s: bit %d of k_e", name, bit), stego, newKey(t, near(mine[0], bit), mine[1]))
				refuse(t, fmt.Sprintf("%s: bit %d of k_r", name, bit), stego, newKey(t, mine[0], near(mine[1], bit)))
			}
		}
		refuse(t, name+": a photograph", cover, newKey(t, mine[0], mine[1]))
	}
}

// One sample that is changed, wherever and by however much, and nothing comes out; undone, all does.
func TestChangedSamples(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	key := newKey(t, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
	for _, o := range []Options{half, {1, Plain}, {2, Plain}, {0.25, Covert}} {
		stego := embed(t, photograph(t, "boats", 128, 96), photograph(t, "cat", 64, 64), key, o)
		parts := divide(stego, key)
		body := parts.samples(parts.rest)
		for name, part := range map[string][]int32{"head": parts.head, "tag": parts.tag, "body": body, "corner": {0}, "end": {int32(len(stego.Samples) - 1)}} {
			for range 4 {
				at := part[r.IntN(len(part))]
				for _, by := range []int{1, -1, 2, -2, 4, 128} {
					changed := stego.clone()
					changed.Samples[at] += byte(by)
					refuse(t, fmt.Sprintf("%v: sample %d of the %s by %d", o, at, name, by), changed, key)
				}
			}
		}
		recovered(t, stego, key)
	}
}

func TestCutImages(t *testing.T) {
	t.Parallel()
	key := newKey(t, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
	stego := embed(t, photograph(t, "boats", 128, 96), photograph(t, "cat", 64, 64), key, half)
	cut := func(width, height int) Image {
		return fromNRGBA(copyOf(stego.toNRGBA().SubImage(image.Rect(0, 0, width, height)).(*image.NRGBA)))
	}
	for _, size := range []image.Point{{127, 96}, {128, 95}, {64, 48}, {20, 10}, {1, 1}} {
		refuse(t, fmt.Sprint("cut to ", size), cut(size.X, size.Y), key)
	}
	turned := stego
	turned.Width, turned.Height = stego.Height, stego.Width
	refuse(t, "the same samples in another shape", turned, key)
	if got := cut(128, 96); !bytes.Equal(got.Samples, stego.Samples) {
		t.Error("an image that is not cut is another")
	}
}

func copyOf(img *image.NRGBA) *image.NRGBA {
	out := image.NewNRGBA(image.Rect(0, 0, img.Rect.Dx(), img.Rect.Dy()))
	draw.Draw(out, out.Rect, img, img.Rect.Min, draw.Src)
	return out
}

// What cannot be embedded is said in one line that says what to do.
func TestRefusedToEmbed(t *testing.T) {
	t.Parallel()
	key := newKey(t, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
	cover, secret := photograph(t, "boats", 64, 64), photograph(t, "cat", 64, 64)
	for name, c := range map[string]struct {
		cover, secret Image
		o             Options
		want          error
		text          string
	}{
		"a tiny cover":          {photograph(t, "boats", 16, 16), secret, half, ErrCapacity, "take a cover of"},
		"one pixel":             {photograph(t, "boats", 1, 1), photograph(t, "cat", 1, 1), half, ErrCapacity, "take a cover of"},
		"too much of a secret":  {cover, photograph(t, "cat", 250, 250), Options{0.1, Plain}, ErrCapacity, "take a cover of"},
		"too large a secret":    {photograph(t, "boats", 100, 1), secret, half, ErrCapacity, "16 times"},
		"no pixels":             {Image{}, secret, half, ErrImage, "0x0"},
		"too few samples":       {Image{Width: 64, Height: 64}, secret, half, ErrImage, "0 samples"},
		"no rate":               {cover, secret, Options{Profile: Plain}, ErrOptions, "0.1 to 2"},
		"too high a rate":       {cover, secret, Options{2.1, Plain}, ErrOptions, "0.1 to 2"},
		"not a number":          {cover, secret, Options{math.NaN(), Plain}, ErrOptions, "0.1 to 2"},
		"too high for covert":   {cover, secret, Options{0.3, Covert}, ErrOptions, "0.1 to 0.25"},
		"a profile there isn't": {cover, secret, Options{0.5, "loud"}, ErrOptions, "loud"},
	} {
		stego, err := Embed(t.Context(), c.cover, c.secret, key, c.o)
		if !errors.Is(err, c.want) || stego.Samples != nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Recover(t.Context(), Image{Width: 2, Height: 2}, key); !errors.Is(err, ErrImage) {
		t.Errorf("an image without samples: %v", err)
	}
	if _, err := NewKeys(make([]byte, 31), nil); !errors.Is(err, kem.ErrKey) {
		t.Errorf("a short key: %v", err)
	}
}

// The size that an error names is enough, and much less is not.
func TestLeastSize(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{0.1, Plain}, half, {2, Plain}, {0.25, Covert}} {
		key := newKey(t, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
		dot := Image{Width: 1, Height: 1, Samples: []byte{9, 9, 9}}
		_, err := Embed(t.Context(), photograph(t, "boats", 10, 10), dot, key, o)
		if err == nil {
			t.Fatalf("%v: a dot goes into 10x10", o)
		}
		var side int
		_, after, _ := strings.Cut(err.Error(), "take a cover of ")
		if _, scanErr := fmt.Sscanf(after, "%d", &side); scanErr != nil {
			t.Fatalf("%v: %v", o, err)
		}
		recovered(t, embed(t, photograph(t, "boats", side, side), dot, key, o), key)
		if _, err := Embed(t.Context(), photograph(t, "boats", side-2, side-2), dot, key, o); !errors.Is(err, ErrCapacity) {
			t.Errorf("%v: %dx%d is named, and %d is enough: %v", o, side, side, side-2, err)
		}
	}
}

var golden = []struct {
	name           string
	embed, recover string
	o              Options
}{
	{"public", "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a", "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e07b", half},
	{"symmetric", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "2122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40", Options{2, Plain}},
	{"covert", "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a", "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e07b", Options{0.25, Covert}},
}

// What was embedded once is recovered for ever, to the bit. UPDATE_GOLDEN=1 embeds anew, which only a new version of the format
// may ask for.
func TestGolden(t *testing.T) {
	for _, c := range golden {
		key := newKey(t, unhex(t, c.embed), unhex(t, c.recover))
		stegoFile, secretFile := filepath.Join("testdata", c.name+"-stego.png"), filepath.Join("testdata", c.name+"-secret.png")
		if os.Getenv("UPDATE_GOLDEN") != "" {
			cryptotest.SetGlobalRandom(t, 1)
			stego := embed(t, photograph(t, "boats", 80, 64), photograph(t, "cat", 80, 64), key, c.o)
			write(t, stegoFile, stego)
			write(t, secretFile, recovered(t, stego, key))
		}
		got, want := recovered(t, read(t, stegoFile), key), read(t, secretFile)
		if !slices.Equal(got.Samples, want.Samples) {
			t.Errorf("%s: another secret than before, %.1f dB away", c.name, psnr(got, want))
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, name string, m Image) {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m.toNRGBA()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, name string) Image {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	out := image.NewNRGBA(img.Bounds())
	draw.Draw(out, out.Rect, img, image.Point{}, draw.Src)
	return fromNRGBA(out)
}

// Whoever holds the key may seal what Embed would not: it ends in the one error, or in an image no larger than it may be.
func TestHostileBodies(t *testing.T) {
	t.Parallel()
	key := newKey(t, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
	cover := photograph(t, "boats", 96, 96)
	body, err := message(t.Context(), cover, photograph(t, "cat", 32, 32), half)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(b []byte)) []byte {
		b := bytes.Clone(body)
		change(b)
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":             {},
		"half a prefix":       body[:5],
		"another size":        with(func(b []byte) { b[0]++ }),
		"a huge size":         with(func(b []byte) { b[1], b[3] = 0x40, 0x40 }),
		"no size":             with(func(b []byte) { clear(b[:4]) }),
		"more than there is":  with(func(b []byte) { b[7] = 0xff }),
		"nothing in it":       with(func(b []byte) { clear(b[4:8]) }),
		"not a coded picture": with(func(b []byte) { clear(b[8:]) }),
	} {
		if secret, err := unpack(t.Context(), b, cover); err == nil {
			t.Errorf("%s: unpacked to %dx%d", name, secret.Width, secret.Height)
		}
	}
	if _, err := unpack(t.Context(), body, cover); err != nil {
		t.Error(err)
	}
	for name, b := range map[string][]byte{
		"version": {2, 0, 0, 0, 8, 0, 0, 0}, "profile": {1, 9, 0, 0, 8, 0, 0, 0}, "reserved": {1, 0, 1, 0, 8, 0, 0, 0},
		"bits": {1, 0, 0, 0, 9, 0, 0, 0}, "too many": {1, 0, 0, 0, 0, 0, 0, 0xff},
	} {
		if _, err := parseParams(b); err == nil {
			t.Errorf("parameters with another %s are taken", name)
		}
	}
	_ = key
}

// Random samples, and stego images with some of them changed, are never an image.
func FuzzRecover(f *testing.F) {
	key := newKey(f, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
	stego := embed(f, photograph(f, "boats", 40, 40), photograph(f, "cat", 8, 8), key, half)
	f.Add(40, stego.Samples[:4799])
	f.Add(40, append(bytes.Clone(stego.Samples[:4799]), stego.Samples[4799]^1))
	f.Add(1, []byte{1, 2, 3})
	f.Add(14, make([]byte, 3*14*14))
	f.Fuzz(func(t *testing.T, width int, samples []byte) {
		if width < 1 || len(samples)/3/width < 1 {
			return
		}
		m := Image{Width: width, Height: len(samples) / 3 / width}
		m.Samples = samples[:3*m.pixels()]
		if bytes.Equal(m.Samples, stego.Samples) {
			return
		}
		secret, err := Recover(t.Context(), m, key)
		if secret.Samples != nil || !errors.Is(err, ErrAuthentication) && !errors.Is(err, ErrImage) {
			t.Errorf("%d samples, %v", len(secret.Samples), err)
		}
	})
}

// benchmarkImages are the photographs of a folder, STEGOMQ_PHOTOGRAPHS, as `stegomq evaluate` takes them: consecutive ones are
// cover and secret, at most 32 pairs. Without the folder they are those of the tests.
func benchmarkImages(b *testing.B, side int) []Image {
	b.Helper()
	folder := os.Getenv("STEGOMQ_PHOTOGRAPHS")
	if folder == "" {
		folder = "testdata"
	}
	names, err := filepath.Glob(filepath.Join(folder, "*.[jJ][pP]*[gG]"))
	if err != nil || len(names) < 2 {
		b.Fatalf("%d photographs in %s: %v", len(names), folder, err)
	}
	images := make([]Image, 0, 64)
	for _, name := range names[:min(len(names), cap(images))&^1] {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		img, _, err := pixel.Decode(data, pixel.Limits{})
		if err == nil {
			img, err = pixel.Fit(img, pixel.Geometry{Width: side, Height: side})
		}
		if err != nil {
			b.Fatal(err)
		}
		images = append(images, fromNRGBA(img))
	}
	return images
}

// processor is the CPU time of this process so far.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPhotographs measures round trips: what is seen, what is recovered, and the CPU time of each side, means over the pairs.
func BenchmarkPhotographs(b *testing.B) {
	small := image.NewNRGBA(image.Rect(0, 0, 16, 16)) // the first images wait for the codec to be compiled
	coded, err := avif.Encode(b.Context(), small, avif.Options{Quality: 50, Speed: fast})
	if err == nil {
		_, err = avif.Decode(b.Context(), coded, 16, 16)
	}
	if err != nil {
		b.Fatal(err)
	}
	key := newKey(b, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
	for _, side := range []int{128, 256, 512} {
		images := benchmarkImages(b, side)
		for _, o := range []Options{{0.1, Plain}, {0.25, Plain}, {0.5, Plain}, {1, Plain}, {2, Plain}, {0.1, Covert}, {0.25, Covert}} {
			b.Run(fmt.Sprintf("%d-%s-%g", side, o.Profile, o.Rate), func(b *testing.B) {
				var seen, got, least, n float64
				var writing, reading time.Duration
				for b.Loop() {
					for i := 0; i < len(images); i += 2 {
						cover, secret := images[i], images[i+1]
						start := processor(b)
						stego := embed(b, cover, secret, key, o)
						between := processor(b)
						again := recovered(b, stego, key)
						writing, reading = writing+between-start, reading+processor(b)-between
						quality := psnr(secret, again)
						if n == 0 || quality < least {
							least = quality
						}
						seen, got, n = seen+psnr(cover, stego), got+quality, n+1
					}
				}
				b.ReportMetric(seen/n, "dB-stego")
				b.ReportMetric(got/n, "dB-recovered")
				b.ReportMetric(least, "dB-least")
				b.ReportMetric(writing.Seconds()*1000/n, "ms-embed")
				b.ReportMetric(reading.Seconds()*1000/n, "ms-recover")
			})
		}
	}
}
