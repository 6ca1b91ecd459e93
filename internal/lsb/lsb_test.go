package lsb_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stegomq/internal/lsb"
)

// seeded logs the seed of a test's random numbers.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func key(t testing.TB, embed, recover []byte) lsb.Key {
	t.Helper()
	k, err := lsb.NewKey(embed, recover)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// picture is smooth, as photographs are: three planes of a wave each.
func picture(r *rand.Rand, side int) []byte {
	var samples []byte
	for range 3 {
		x, y, phase := 0.02+0.05*r.Float64(), 0.02+0.05*r.Float64(), 6*r.Float64()
		for i := range side * side {
			samples = append(samples, byte(127.5+110*math.Sin(x*float64(i%side)+y*float64(i/side)+phase)))
		}
	}
	return samples
}

func must(t testing.TB, b []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func psnr(a, b []byte) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*float64(len(a))/sum)
}

// sequence is first, first+step, ... modulo 256.
func sequence(n, first, step int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(first + i*step)
	}
	return b
}

// The bytes are those of an implementation in Python, written from RFC 8439 and the package comment.
func TestGolden(t *testing.T) {
	t.Parallel()
	k := key(t, sequence(32, 0, 1), sequence(32, 32, 1))
	cover, secret := sequence(96, 3, 7), sequence(96, 255, -11)
	stego, err := lsb.Embed(cover, secret, k)
	const want = "0f011714142e2d3137454e59515e64687f72878f899d96acafb8bfc6c3ced9dde3ecf2f3fe000b171c2123383c394748" +
		"545e6b68617e77848d9e91acafa7b9b9cac5dcd3d0e7e5fef90b09171e122a2931374c4c445952696073728e888a9599"
	if got := hex.EncodeToString(must(t, stego, err)); got != want {
		t.Errorf("stego %s\nwant  %s", got, want)
	}
}

// The high bits of the secret come back exactly, those of the cover do not change, and the same again is the same.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 300).Draw(t, "samples")
		draw := func(name string, n int) []byte { return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, name) }
		cover, secret := draw("cover", n), draw("secret", n)
		k, err := lsb.NewKey(draw("k_e", 32), draw("k_r", 32))
		if err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(cover)
		stego, err := lsb.Embed(cover, secret, k)
		if err != nil {
			t.Fatal(err)
		}
		again, err := lsb.Embed(cover, secret, k)
		if err != nil || !bytes.Equal(again, stego) || !bytes.Equal(before, cover) {
			t.Fatalf("%v: the same again is another image, or the cover has changed", err)
		}
		recovered, err := lsb.Recover(stego, k)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if stego[i]>>4 != cover[i]>>4 || recovered[i] != secret[i]&0xf0|8 {
				t.Fatalf("sample %d: cover %#x, stego %#x, secret %#x, recovered %#x", i, cover[i], stego[i], secret[i], recovered[i])
			}
		}
	})
}

// A key that is wrong in one bit of either half, or in all, gives noise: what it measures against the secret is what
// uniform values measure.
func TestWrongKeysGiveNoise(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	const side = 96
	cover, secret := picture(r, side), picture(r, side)
	embed, recover := random(r, 32), random(r, 32)
	stego, err := lsb.Embed(cover, secret, key(t, embed, recover))
	must(t, stego, err)

	uniform := random(r, len(secret))
	for i := range uniform {
		uniform[i] = uniform[i]&0xf0 | 8
	}
	noise := psnr(secret, uniform)
	flipped := func(key []byte, bit int) []byte {
		other := bytes.Clone(key)
		other[bit/8] ^= 1 << (bit % 8)
		return other
	}
	wrong := map[string]lsb.Key{
		"random":           key(t, random(r, 32), random(r, 32)),
		"swapped":          key(t, recover, embed),
		"the embed key":    key(t, embed, embed),
		"another k_r":      key(t, embed, random(r, 32)),
		"another k_e":      key(t, random(r, 32), recover),
		"near in both":     key(t, flipped(embed, 7), flipped(recover, 7)),
		"near in the last": key(t, embed, flipped(recover, 255)),
	}
	for bit := range 16 {
		wrong[fmt.Sprintf("near in bit %d of k_e", bit)] = key(t, flipped(embed, 16*bit), recover)
	}
	for name, k := range wrong {
		recovered, err := lsb.Recover(stego, k)
		if got := psnr(secret, must(t, recovered, err)); math.Abs(got-noise) > 0.25 {
			t.Errorf("%s: %.2f dB against the secret, uniform noise has %.2f", name, got, noise)
		}
	}
	recovered, err := lsb.Recover(stego, key(t, embed, recover))
	if got := psnr(secret, must(t, recovered, err)); got < 34 || got < noise+20 {
		t.Errorf("the matched key: %.2f dB against the secret", got)
	}
}

// Whatever the secret is, the low bits of a stego image look like fair dice: chi-square with 15 degrees of freedom is
// above 80 once in 10^10 times.
func TestLowBitsAreUniform(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	secrets := map[string][]byte{"picture": picture(r, 96), "black": make([]byte, 3*96*96)}
	for name, secret := range secrets {
		stego, err := lsb.Embed(picture(r, 96), secret, key(t, random(r, 32), random(r, 32)))
		var counts [16]float64
		for _, v := range must(t, stego, err) {
			counts[v&15]++
		}
		want, chi := float64(len(stego))/16, 0.0
		for _, n := range counts {
			chi += (n - want) * (n - want) / want
		}
		if chi > 80 {
			t.Errorf("%s: chi-square %.1f, counts %v", name, chi, counts)
		}
	}
}

// Another cover gives another keystream, and the same bits in the cover's low half do not.
func TestNonceIsOfTheHighBits(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	k := key(t, random(r, 32), random(r, 32))
	cover, secret := picture(r, 32), picture(r, 32)
	other, dirty := bytes.Clone(cover), bytes.Clone(cover)
	other[0] ^= 0x10
	for i := range dirty {
		dirty[i] ^= byte(r.IntN(16))
	}
	embed := func(cover []byte) []byte {
		stego, err := lsb.Embed(cover, secret, k)
		return must(t, stego, err)
	}
	first := embed(cover)
	if !bytes.Equal(embed(dirty), first) {
		t.Error("the low bits of the cover have a part")
	}
	same := 0
	for i, v := range embed(other) {
		if v&15 == first[i]&15 {
			same++
		}
	}
	if share := float64(same) / float64(len(first)); math.Abs(share-1.0/16) > 0.03 {
		t.Errorf("%.3f of the low bits are the same under another cover, want about 1/16", share)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	k := key(t, make([]byte, 32), make([]byte, 32))
	if _, err := lsb.Embed(make([]byte, 3), make([]byte, 2), k); err == nil {
		t.Error("a cover and a secret of different sizes are taken")
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := lsb.NewKey(make([]byte, n), make([]byte, 32)); err == nil {
			t.Errorf("an embed key of %d bytes is taken", n)
		}
		if _, err := lsb.NewKey(make([]byte, 32), make([]byte, n)); err == nil {
			t.Errorf("a recover key of %d bytes is taken", n)
		}
	}
}

func TestKeyDoesNotShow(t *testing.T) {
	t.Parallel()
	k := key(t, sequence(32, 0, 1), sequence(32, 32, 1))
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%d"} {
		if text := fmt.Sprintf(verb, k); text != "[redacted]" {
			t.Errorf("%s gives %s", verb, strings.ToUpper(text))
		}
	}
}

func BenchmarkEmbed(b *testing.B) {
	r := seeded(b)
	cover, secret := random(r, 3*256*256), random(r, 3*256*256)
	k := key(b, random(r, 32), random(r, 32))
	b.SetBytes(int64(len(cover)))
	for b.Loop() {
		if _, err := lsb.Embed(cover, secret, k); err != nil {
			b.Fatal(err)
		}
	}
}
