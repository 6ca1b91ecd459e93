package modulo

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"stegomq/internal/kem"
	"stegomq/internal/pixel"
)

// roundTrip embeds one photograph in the other and recovers it, after a channel.
func roundTrip(t testing.TB, p Profile, cover, secret []byte, width, height int, keys kem.Keys, channel func([]byte) []byte) (stego, recovered []byte) {
	t.Helper()
	stego, err := p.Embed(cover, secret, width, height, keys)
	if err != nil {
		t.Fatal(err)
	}
	recovered, err = p.Recover(channel(stego), width, height, keys)
	if err != nil {
		t.Fatal(err)
	}
	return stego, recovered
}

func unchanged(p []byte) []byte { return p }

func profileOf(t testing.TB, name string) Profile {
	t.Helper()
	p, err := ProfileOf(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// typically is the median of five of each figure. A value near the end of a step that rounding moves beyond it comes back at the other end,
// and the rotation spreads that over its band: of small images one in some hundred loses 10 dB by it.
func typically(measure func() (float64, float64)) (float64, float64) {
	var a, b [5]float64
	for i := range a {
		a[i], b[i] = measure()
	}
	slices.Sort(a[:])
	slices.Sort(b[:])
	return a[2], b[2]
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := source(t)
	for _, c := range []struct {
		width, height            int
		lossless, noise, jpeg    float64 // the least PSNR of the secret, dB; 0: too small for the profile
		stego                    float64 // of the lossless profile
		stegoNoise, stegoThrough float64
	}{
		{256, 256, 36, 33, 26, 42, 31, 25},
		{250, 131, 33, 30, 22, 42, 31, 25},
		{97, 203, 33, 30, 20, 42, 31, 25},
		{64, 64, 32, 26, 18, 41, 29, 23},
		{32, 40, 27, 17, 0, 38, 26, 22},
		{16, 16, 18, 0, 0, 30, 0, 0},
		{17, 23, 15, 0, 0, 30, 0, 0},
	} {
		cover, secret := boats(t, c.width, c.height), cat(t, c.width, c.height)
		for _, try := range []struct {
			profile          string
			stego, recovered float64
			channel          func([]byte) []byte
		}{
			{"lossless", c.stego, c.lossless, unchanged},
			{"noise", c.stegoNoise, c.noise, func(p []byte) []byte { return noisy(p, 1, r) }},
			{"jpeg", c.stegoThrough, c.jpeg, func(p []byte) []byte { return compressed(t, p, c.width, c.height, 90) }},
		} {
			t.Run(fmt.Sprintf("%s/%dx%d", try.profile, c.width, c.height), func(t *testing.T) {
				p, keys := profileOf(t, try.profile), keysOf(t, r)
				if try.recovered == 0 {
					if _, err := p.Embed(cover, secret, c.width, c.height, keys); !errors.Is(err, ErrTooSmall) {
						t.Errorf("%v, want ErrTooSmall", err)
					}
					return
				}
				a, b := typically(func() (float64, float64) {
					stego, recovered := roundTrip(t, p, cover, secret, c.width, c.height, keys, try.channel)
					return psnr(cover, stego), psnr(secret, recovered)
				})
				t.Logf("stego %.2f dB, recovered %.2f dB", a, b)
				if a < try.stego || b < try.recovered {
					t.Errorf("stego %.2f dB, recovered %.2f dB, want at least %v and %v", a, b, try.stego, try.recovered)
				}
			})
		}
	}
}

// The header comes back bit for bit through what its profile is for, and well beyond.
func TestHeaderSurvives(t *testing.T) {
	t.Parallel()
	r := source(t)
	const side = 256
	cover, secret := boats(t, side, side), cat(t, side, side)
	for name, channel := range map[string]func([]byte) []byte{
		"lossless": unchanged,
		"noise":    func(p []byte) []byte { return noisy(p, 4, r) },
		"jpeg":     func(p []byte) []byte { return compressed(t, p, side, side, 75) },
	} {
		t.Run(name, func(t *testing.T) {
			p, keys := profileOf(t, name), keysOf(t, r)
			made, err := p.plan(side, side)
			if err != nil {
				t.Fatal(err)
			}
			header := make([]byte, made.headerSize())
			for i := range header {
				header[i] = byte(r.Uint32())
			}
			payload, _ := made.rotation.Rotate(secret, [32]byte{})
			if _, got := p.extract(made, channel(p.embed(made, cover, payload, header, keys)), keys); !bytes.Equal(got, header) {
				t.Errorf("header\n got %x\nwant %x", got, header)
			}
		})
	}
}

// Samples that lie at the ends of their range, where nothing can move one way.
func TestFlatAndExtreme(t *testing.T) {
	t.Parallel()
	r := source(t)
	const side = 128
	secret := cat(t, side, side)
	for name, value := range map[string]byte{"black": 0, "white": 255, "grey": 128} {
		for _, profile := range profiles {
			t.Run(profile.Name+"/"+name, func(t *testing.T) {
				cover := bytes.Repeat([]byte{value}, 3*side*side)
				stego, recovered := roundTrip(t, profile, cover, secret, side, side, keysOf(t, r), unchanged)
				t.Logf("stego %.2f dB, recovered %.2f dB", psnr(cover, stego), psnr(secret, recovered))
				if got := psnr(secret, recovered); got < 24 {
					t.Errorf("recovered %.2f dB", got)
				}
			})
		}
	}
}

// A user of public-key mode: who holds k_e embeds, and only k_r recovers.
func TestPublicKey(t *testing.T) {
	t.Parallel()
	r := source(t)
	var random [kem.Size]byte
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	recover := kem.Private(random)
	embed, err := kem.Public(recover[:])
	if err != nil {
		t.Fatal(err)
	}
	sender, err := NewKeys(embed[:], nil)
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := NewKeys(embed[:], recover[:])
	if err != nil {
		t.Fatal(err)
	}
	const side = 64
	cover, secret := boats(t, side, side), cat(t, side, side)
	for _, p := range profiles {
		var stego []byte
		_, recovered := typically(func() (float64, float64) {
			if stego, err = p.Embed(cover, secret, side, side, sender); err != nil {
				t.Fatal(err)
			}
			got, err := p.Recover(stego, side, side, receiver)
			if err != nil {
				t.Fatal(err)
			}
			return 0, psnr(secret, got)
		})
		if recovered < 24 {
			t.Errorf("%s: recovered %.2f dB", p.Name, recovered)
		}
		if _, err := p.Recover(stego, side, side, sender); !errors.Is(err, kem.ErrEmbedOnly) {
			t.Errorf("%s: without k_r: %v", p.Name, err)
		}
	}
}

// correlation of two images' samples.
func correlation(a, b []byte) float64 {
	var ma, mb, saa, sbb, sab float64
	for i := range a {
		ma += float64(a[i]) / float64(len(a))
		mb += float64(b[i]) / float64(len(b))
	}
	for i := range a {
		x, y := float64(a[i])-ma, float64(b[i])-mb
		saa, sbb, sab = saa+x*x, sbb+y*y, sab+x*y
	}
	return sab / math.Sqrt(saa*sbb)
}

// A wrong key gives noise, the same each time: nothing that correlates with the secret or the cover.
func TestWrongKey(t *testing.T) {
	t.Parallel()
	r := source(t)
	const side = 256
	cover, secret := boats(t, side, side), cat(t, side, side)
	for _, p := range profiles {
		t.Run(p.Name, func(t *testing.T) {
			stego, _ := roundTrip(t, p, cover, secret, side, side, keysOf(t, r), unchanged)
			for range 3 {
				keys := keysOf(t, r)
				got, err := p.Recover(stego, side, side, keys)
				if err != nil {
					t.Fatal(err)
				}
				// The means of 256 blocks are what may agree by chance, with a deviation of 0.06 or so.
				if c := correlation(secret, got); math.Abs(c) > 0.3 {
					t.Errorf("correlation with the secret %.3f, %.2f dB", c, psnr(secret, got))
				}
				if c := correlation(cover, got); math.Abs(c) > 0.3 {
					t.Errorf("correlation with the cover %.3f", c)
				}
				again, err := p.Recover(stego, side, side, keys)
				if err != nil || !bytes.Equal(got, again) {
					t.Errorf("another result: %v", err)
				}
			}
		})
	}
}

// Two stego images of the same pictures and keys share nothing.
func TestFresh(t *testing.T) {
	t.Parallel()
	r := source(t)
	cover, secret, keys := boats(t, 64, 64), cat(t, 64, 64), keysOf(t, r)
	for _, p := range profiles {
		a, _ := roundTrip(t, p, cover, secret, 64, 64, keys, unchanged)
		b, _ := roundTrip(t, p, cover, secret, 64, 64, keys, unchanged)
		dot, energy := 0., 0.
		for i := range a {
			x, y := float64(a[i])-float64(cover[i]), float64(b[i])-float64(cover[i])
			dot, energy = dot+x*y, energy+x*x
		}
		// Where the cover is black, both move up.
		if dot > 0.6*energy {
			t.Errorf("%s: the changes of two stego images have the correlation %.2f", p.Name, dot/energy)
		}
	}
}

var update = flag.Bool("update", false, "make the stego images in testdata again: for a new version of what they hold")

// Stego images of the past stay readable.
func TestPast(t *testing.T) {
	t.Parallel()
	const side = 64
	keys, err := NewKeys(make([]byte, kem.Size), bytes.Repeat([]byte{0xff}, kem.Size))
	if err != nil {
		t.Fatal(err)
	}
	cover, secret := boats(t, side, side), cat(t, side, side)
	for _, p := range profiles {
		path := filepath.Join("testdata", p.Name+".png")
		if *update {
			stego, err := p.Embed(cover, secret, side, side, keys)
			if err != nil {
				t.Fatal(err)
			}
			png, err := pixel.EncodePNG(picture(stego, side, side))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, png, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := p.Recover(photograph(t, path, side, side), side, side, keys)
		if err != nil || psnr(secret, got) < 27 {
			t.Errorf("%s: recovered %.2f dB: %v", p.Name, psnr(secret, got), err)
		}
	}
}

func TestMisuse(t *testing.T) {
	t.Parallel()
	keys := keysOf(t, source(t))
	p := profileOf(t, "lossless")
	image := make([]byte, 3*32*32)
	for name, call := range map[string]func() error{
		"short":    func() error { _, err := p.Embed(image[1:], image[1:], 32, 32, keys); return err },
		"unequal":  func() error { _, err := p.Embed(image, image[1:], 32, 32, keys); return err },
		"negative": func() error { _, err := p.Recover(image, -32, -32, keys); return err },
		"huge":     func() error { _, err := p.Recover(image, 1<<40, 1<<40, keys); return err },
	} {
		if err := call(); !errors.Is(err, ErrSize) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.Recover(make([]byte, 3*15*40), 15, 40, keys); !errors.Is(err, ErrTooSmall) {
		t.Errorf("15 wide: %v", err)
	}
	if _, err := ProfileOf("robust"); err == nil {
		t.Error("there is a profile that nobody made")
	}
}

// The decoder of the header finds what was coded, through noise that puts one in a hundred bits wrong. The likeliest error, of the free
// distance of 10, is 7.5 deviations of that noise away: one in 10^8 runs has one.
func TestConvolution(t *testing.T) {
	t.Parallel()
	r := source(t)
	for range 20 {
		data := make([]byte, 1+r.IntN(100))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		bits := encode(data)
		if len(bits) != coded(8*len(data)) {
			t.Fatalf("%d bits, want %d", len(bits), coded(8*len(data)))
		}
		soft := make([]float64, len(bits))
		for i, b := range bits {
			soft[i] = 2*float64(b) - 1 + 0.42*r.NormFloat64()
		}
		if got := decode(soft, len(data)); !bytes.Equal(got, data) {
			t.Errorf("decoded\n got %x\nwant %x", got, data)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0}, uint64(1))
	f.Add([]byte("some header"), uint64(2))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		if len(data) == 0 || len(data) > 200 {
			t.Skip()
		}
		bits := encode(data)
		soft := make([]float64, len(bits))
		for i, b := range bits {
			soft[i] = 2*float64(b) - 1
		}
		if got := decode(soft, len(data)); !bytes.Equal(got, data) {
			t.Fatalf("%x comes back as %x", data, got)
		}
		// Any values give some bytes; up to four wrong bits among all, wherever they are, do nothing.
		r := rand.New(rand.NewPCG(seed, 0))
		for range 4 {
			soft[r.IntN(len(soft))] *= -1
		}
		if got := decode(soft, len(data)); !bytes.Equal(got, data) {
			t.Fatalf("%x comes back as %x", data, got)
		}
	})
}

// Whatever the samples are, the receiver makes an image of the same size or says that it is too small.
func FuzzRecover(f *testing.F) {
	f.Add(uint8(32), uint8(33), []byte("samples"), byte(0))
	f.Add(uint8(16), uint8(16), []byte{0, 255}, byte(1))
	f.Add(uint8(3), uint8(90), []byte{1}, byte(2))
	f.Fuzz(func(t *testing.T, width, height uint8, data []byte, which byte) {
		if len(data) == 0 {
			t.Skip()
		}
		image := make([]byte, 3*int(width)*int(height))
		for i := range image {
			image[i] = data[i%len(data)]
		}
		keys, err := NewKeys(make([]byte, kem.Size), bytes.Repeat([]byte{1}, kem.Size))
		if err != nil {
			t.Fatal(err)
		}
		got, err := profiles[int(which)%len(profiles)].Recover(image, int(width), int(height), keys)
		if err == nil && len(got) != len(image) || err != nil && !errors.Is(err, ErrTooSmall) && !errors.Is(err, ErrSize) {
			t.Errorf("%d samples of %d: %v", len(got), len(image), err)
		}
	})
}

func BenchmarkEmbed(b *testing.B) { benchmark(b, true) }

func BenchmarkRecover(b *testing.B) { benchmark(b, false) }

func benchmark(b *testing.B, embed bool) {
	for _, p := range profiles {
		for _, side := range []int{256, 512} {
			b.Run(fmt.Sprintf("%s/%d", p.Name, side), func(b *testing.B) {
				cover, secret := boats(b, side, side), cat(b, side, side)
				keys := keysOf(b, rand.New(rand.NewPCG(1, 2)))
				stego, recovered := roundTrip(b, p, cover, secret, side, side, keys, unchanged)
				for b.Loop() {
					if embed {
						if _, err := p.Embed(cover, secret, side, side, keys); err != nil {
							b.Fatal(err)
						}
					} else {
						if _, err := p.Recover(stego, side, side, keys); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(psnr(cover, stego), "stego-dB")
				b.ReportMetric(psnr(secret, recovered), "recovered-dB")
			})
		}
	}
}
