package rotated

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"stegomq/internal/kem"
)

func random(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 3))
}

// picture is smooth, as photographs are.
func picture(r *rand.Rand, size Size) []byte {
	out := make([]byte, 0, 3*size.Width*size.Height)
	for range 3 {
		a, b, phase := 0.02+0.1*r.Float64(), 0.02+0.1*r.Float64(), 6*r.Float64()
		for y := range size.Height {
			for x := range size.Width {
				out = append(out, byte(127.5+90*math.Sin(a*float64(x)+b*float64(y)+phase)+4*r.NormFloat64()))
			}
		}
	}
	return out
}

// pair is one of a user's, in public-key mode.
func pair(t testing.TB, r *rand.Rand) (both, embedOnly kem.Keys) {
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
	if both, err = NewKeys(public[:], private[:]); err != nil {
		t.Fatal(err)
	}
	if embedOnly, err = NewKeys(public[:], nil); err != nil {
		t.Fatal(err)
	}
	return both, embedOnly
}

func psnr(a, b []byte) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*float64(len(a))/sum)
}

// With a network that loses nothing the secret comes back but for rounding and for what has no place.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := random(t)
	for _, size := range []Size{{16, 16}, {64, 48}, {128, 128}, {33, 47}, {50, 18}} {
		both, embedOnly := pair(t, r)
		cover, secret := picture(r, size), picture(r, size)
		e, err := Prepare(secret, size, embedOnly)
		if err != nil {
			t.Fatal(err)
		}
		stego, err := e.Finish(cover, size.Region(cover))
		if err != nil {
			t.Fatal(err)
		}
		changed := 0
		for i := range cover {
			d := int(stego[i]) - int(cover[i])
			if d < -1 || d > 1 {
				t.Fatalf("%v: sample %d went from %d to %d", size, i, cover[i], stego[i])
			}
			changed += d * d
		}
		if changed == 0 || changed > len(cover)/10 {
			t.Errorf("%v: the header changed %d of %d samples", size, changed, len(cover))
		}
		got, err := Recover(stego, e.Noise, size, both)
		if err != nil {
			t.Fatal(err)
		}
		// Of sides that are no multiples of 16 the weakest frequencies have no place, and scales are coarse in small images.
		least := 25.0
		if size.Width%16 == 0 && size.Height%16 == 0 {
			least = 32
		}
		if quality := psnr(got, secret); quality < least {
			t.Errorf("%v: %.1f dB", size, quality)
		}
		// The mean of a block may agree by chance, and a small image has one block, so that one key's image may well look like the secret:
		// the deviation is 0.3. That of the mean over many keys is a tenth of what is allowed.
		const others = 32
		sum := 0.0
		for range others {
			other, _ := pair(t, r)
			wrong, err := Recover(stego, e.Noise, size, other)
			if err != nil {
				t.Fatal(err)
			}
			sum += correlation(wrong, secret)
		}
		if c := sum / others; !(math.Abs(c) < 0.5) {
			t.Errorf("%v: other keys' images have the correlation %.3f with the secret, on average", size, c)
		}
		if _, err := Recover(stego, e.Noise, size, embedOnly); !errors.Is(err, kem.ErrEmbedOnly) {
			t.Errorf("%v: a key that only embeds: %v", size, err)
		}
	}
}

func correlation(a, b []byte) float64 {
	mean := func(x []byte) (m float64) {
		for _, v := range x {
			m += float64(v) / float64(len(x))
		}
		return m
	}
	ma, mb := mean(a), mean(b)
	var ab, aa, bb float64
	for i := range a {
		da, db := float64(a[i])-ma, float64(b[i])-mb
		ab, aa, bb = ab+da*db, aa+da*da, bb+db*db
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}

// What the network sees has the public deviations, whatever the secret is: those of a flat image too.
func TestNoiseTellsNothing(t *testing.T) {
	t.Parallel()
	r := random(t)
	size := Size{128, 128}
	keys, _ := pair(t, r)
	want := 0.0
	for _, g := range gains {
		want += g * g / float64(len(gains))
	}
	for _, secret := range [][]byte{picture(r, size), bytes.Repeat([]byte{200}, 3*128*128), make([]byte, 3*128*128)} {
		e, err := Prepare(secret, size, keys)
		if err != nil {
			t.Fatal(err)
		}
		power := 0.0
		for _, v := range e.Noise {
			power += (float64(v) - centre) * (float64(v) - centre) / float64(len(e.Noise))
		}
		if math.Abs(power/want-1) > 0.1 { // the deviation is 0.013
			t.Errorf("the power is %.3f, want %.3f", power, want)
		}
	}
}

func TestFreshEveryTime(t *testing.T) {
	t.Parallel()
	r := random(t)
	size := Size{32, 32}
	keys, _ := pair(t, r)
	secret := picture(r, size)
	first, err := Prepare(secret, size, keys)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Prepare(secret, size, keys)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(first.Noise, second.Noise) || bytes.Equal(first.header, second.header) {
		t.Error("two embeddings of one secret are the same")
	}
}

func TestSymmetricKeys(t *testing.T) {
	t.Parallel()
	r := random(t)
	size := Size{64, 64}
	keys, err := NewKeys(bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
	if err != nil {
		t.Fatal(err)
	}
	cover, secret := picture(r, size), picture(r, size)
	e, err := Prepare(secret, size, keys)
	if err != nil {
		t.Fatal(err)
	}
	stego, err := e.Finish(cover, cover)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Recover(stego, e.Noise, size, keys)
	if err != nil || psnr(got, secret) < 32 {
		t.Errorf("%.1f dB, %v", psnr(got, secret), err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	r := random(t)
	keys, _ := pair(t, r)
	size := Size{32, 32}
	good := picture(r, size)
	if _, err := Prepare(make([]byte, 3*15*40), Size{15, 40}, keys); !errors.Is(err, ErrTooSmall) {
		t.Errorf("15 pixels: %v", err)
	}
	if _, err := Prepare(good[1:], size, keys); !errors.Is(err, ErrSize) {
		t.Errorf("a sample too few: %v", err)
	}
	e, err := Prepare(good, size, keys)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Finish(good, good[1:]); !errors.Is(err, ErrSize) {
		t.Errorf("the network made too few: %v", err)
	}
	if _, err := Recover(good, e.Noise[1:], size, keys); !errors.Is(err, ErrSize) {
		t.Errorf("the network recovered too few: %v", err)
	}
}

// Whatever the samples are, recovery gives an image of the size.
func FuzzRecover(f *testing.F) {
	f.Add(uint8(16), uint8(16), uint64(1))
	f.Add(uint8(33), uint8(18), uint64(2))
	keys, err := NewKeys(bytes.Repeat([]byte{3}, 32), bytes.Repeat([]byte{4}, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, width, height uint8, seed uint64) {
		size, r := Size{int(width), int(height)}, rand.New(rand.NewPCG(seed, 4))
		stego := make([]byte, 3*size.Width*size.Height)
		for i := range stego {
			stego[i] = byte(r.Uint32())
		}
		recovered := make([]float32, 3*size.Even().Width*size.Even().Height)
		for i := range recovered {
			recovered[i] = math.Float32frombits(r.Uint32())
		}
		out, err := Recover(stego, recovered, size, keys)
		if min(size.Width, size.Height) < MinSide {
			if !errors.Is(err, ErrTooSmall) {
				t.Fatalf("%v: %v", size, err)
			}
			return
		}
		if err != nil || len(out) != len(stego) {
			t.Fatalf("%v: %d samples, %v", size, len(out), err)
		}
	})
}

func BenchmarkPrepare(b *testing.B) {
	r, size := random(b), Size{256, 256}
	keys, _ := pair(b, r)
	secret := picture(r, size)
	for b.Loop() {
		if _, err := Prepare(secret, size, keys); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFinish(b *testing.B) {
	r, size := random(b), Size{256, 256}
	keys, _ := pair(b, r)
	cover := picture(r, size)
	e, err := Prepare(cover, size, keys)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := e.Finish(cover, cover); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRecover(b *testing.B) {
	r, size := random(b), Size{256, 256}
	keys, _ := pair(b, r)
	cover := picture(r, size)
	e, err := Prepare(cover, size, keys)
	if err != nil {
		b.Fatal(err)
	}
	stego, err := e.Finish(cover, cover)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Recover(stego, e.Noise, size, keys); err != nil {
			b.Fatal(err)
		}
	}
}
