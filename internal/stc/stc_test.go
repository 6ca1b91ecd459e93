package stc

import (
	"bytes"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// source gives random bytes from a logged seed.
type source struct{ *rand.Rand }

func (s source) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(s.Uint32())
	}
	return len(p), nil
}

func random(t testing.TB) source {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return source{rand.New(rand.NewPCG(seed, 1))}
}

// picture is three planes of samples that reach both ends.
func (s source) picture(height, width int) []byte {
	samples := make([]byte, 3*height*width)
	for i := range samples {
		samples[i] = byte(min(max(128+160*math.Sin(float64(i)/37+float64(i%width)/9)+8*s.NormFloat64(), 0), 255))
	}
	return samples
}

func (s source) order(n, of int) []int32 {
	order := make([]int32, 0, n)
	for _, i := range s.Perm(of)[:n] {
		order = append(order, int32(i))
	}
	return order
}

func (s source) message(bits int) []byte {
	message := make([]byte, (bits+7)/8)
	_, _ = s.Read(message)
	if spare := bits & 7; spare > 0 {
		message[len(message)-1] &^= 0xff >> spare
	}
	return message
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	s := random(t)
	for range 60 {
		height, width := 1+s.IntN(90), 1+s.IntN(90)
		cover := s.picture(height, width)
		order := s.order(1+s.IntN(len(cover)), len(cover))
		bits := s.IntN(MaxRate*len(order) + 1)
		message := s.message(bits)
		stego := slices.Clone(cover)
		if err := Embed(stego, order, Costs(cover, height, width), message, bits, s); err != nil {
			t.Fatal(err)
		}
		got, err := Extract(stego, order, bits)
		if err != nil || !bytes.Equal(got, message) {
			t.Fatalf("%d bits in %d samples: another message came back (%v)", bits, len(order), err)
		}
		most := 1
		if bits > len(order) {
			most = 3 // the nearest value at an end
		}
		inside := make([]bool, len(cover))
		for _, at := range order {
			inside[at] = true
		}
		for i := range cover {
			if d := int(stego[i]) - int(cover[i]); d < -most || d > most || d != 0 && !inside[i] {
				t.Fatalf("%d bits in %d samples: sample %d went from %d to %d", bits, len(order), i, cover[i], stego[i])
			}
		}
	}
}

func TestReplaceKeepsHighBits(t *testing.T) {
	t.Parallel()
	s := random(t)
	cover := s.picture(40, 40)
	order, message := s.order(2000, len(cover)), s.message(128)
	stego := slices.Clone(cover)
	if err := Replace(stego, order, Costs(cover, 40, 40), message, 128); err != nil {
		t.Fatal(err)
	}
	changed := 0
	for i := range cover {
		if stego[i]>>1 != cover[i]>>1 {
			t.Fatalf("sample %d went from %d to %d", i, cover[i], stego[i])
		}
		changed += int(stego[i] ^ cover[i])
	}
	if got, _ := Extract(stego, order, 128); !bytes.Equal(got, message) || changed == 0 || changed > 64 {
		t.Errorf("%d samples changed for 128 bits in 2000", changed)
	}
	if err := Replace(stego, order[:8], Costs(cover, 40, 40), message, 8); !errors.Is(err, ErrCapacity) {
		t.Errorf("as many bits as samples: %v", err)
	}
}

func TestCovert(t *testing.T) {
	t.Parallel()
	s := random(t)
	for range 20 {
		height, width := 20+s.IntN(60), 20+s.IntN(60)
		cover := s.picture(height, width)
		plane := height * width
		for i := range cover {
			if i%7 > 0 { // a pixel in seven keeps its zeros, and may have both ends
				cover[i] = max(cover[i], 1)
			}
		}
		bits := 1 + s.IntN(plane/3)
		message := s.message(bits)
		var stego []byte
		var order []int32
		err := ErrWet
		for try := 0; errors.Is(err, ErrWet) && try < 5; try++ {
			order, stego = s.order(plane, plane), slices.Clone(cover)
			err = EmbedCovert(stego, order, Costs(cover, height, width), message, bits, s)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ExtractCovert(stego, order, bits); err != nil || !bytes.Equal(got, message) {
			t.Fatalf("another message came back (%v)", err)
		}
		for p := range plane {
			d := int(stego[p]) - int(cover[p])
			for c := range 3 {
				if got := int(stego[p+c*plane]) - int(cover[p+c*plane]); got != d || d < -1 || d > 1 {
					t.Fatalf("pixel %d: a plane changed by %d, another by %d", p, d, got)
				}
			}
		}
	}
}

// A pixel with a 0 and a 255 cannot move; where all are so, nothing can be written.
func TestCovertWet(t *testing.T) {
	t.Parallel()
	s := random(t)
	const plane = 30 * 30
	samples := s.picture(30, 30)
	for p := range plane {
		samples[p], samples[p+plane] = 0, 255
	}
	order, before := s.order(plane, plane), slices.Clone(samples)
	if err := EmbedCovert(samples, order, Costs(samples, 30, 30), s.message(300), 300, s); !errors.Is(err, ErrWet) {
		t.Errorf("nothing may change: %v", err)
	}
	samples = before
	for p := range plane / 2 {
		samples[p] = 100
	}
	message := s.message(90)
	if err := EmbedCovert(samples, order, Costs(samples, 30, 30), message, 90, s); err != nil {
		t.Fatal(err)
	}
	for p := plane / 2; p < plane; p++ {
		if samples[p] != 0 || samples[p+plane] != 255 {
			t.Fatalf("pixel %d changed", p)
		}
	}
	if got, _ := ExtractCovert(samples, order, 90); !bytes.Equal(got, message) {
		t.Error("another message came back")
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := random(t)
	samples := s.picture(8, 8)
	order := s.order(10, len(samples))
	for _, bits := range []int{-1, 21} {
		if err := Embed(samples, order, Costs(samples, 8, 8), s.message(24), bits, s); !errors.Is(err, ErrCapacity) {
			t.Errorf("%d bits in 10 samples: %v", bits, err)
		}
		if _, err := Extract(samples, order, bits); !errors.Is(err, ErrCapacity) {
			t.Errorf("%d bits of 10 samples: %v", bits, err)
		}
	}
	if err := Embed(samples, order, Costs(samples, 8, 8), s.message(5), 5, bytes.NewReader(nil)); err == nil {
		t.Error("no random source, and no error")
	}
}

// Costs that are no numbers, endless or nothing must not break the code.
func TestOddCosts(t *testing.T) {
	t.Parallel()
	s := random(t)
	for _, odd := range []float32{0, float32(math.Inf(1)), float32(math.NaN()), -1, 1e30} {
		samples := s.picture(30, 30)
		costs := Costs(samples, 30, 30)
		for i := range costs {
			if s.IntN(3) == 0 {
				costs[i] = odd
			}
		}
		order, message := s.order(2000, len(samples)), s.message(400)
		if err := Embed(samples, order, costs, message, 400, s); err != nil {
			t.Fatalf("costs of %v: %v", odd, err)
		}
		if got, _ := Extract(samples, order, 400); !bytes.Equal(got, message) {
			t.Errorf("costs of %v: another message came back", odd)
		}
	}
}

// What other versions and other hosts wrote must stay readable.
func TestGolden(t *testing.T) {
	t.Parallel()
	samples := make([]byte, 70_000)
	stream := sha3.NewSHAKE256()
	_, _ = stream.Write([]byte("stegomq stc golden"))
	_, _ = stream.Read(samples)
	order, err := Permutation(stream, len(samples))
	if err != nil {
		t.Fatal(err)
	}
	for bits, want := range map[int]string{
		100:     "dd6632ed0789b92e",
		35_001:  "d1cd67b95c38c78f",
		70_000:  "c2a7e61ab39fd174",
		100_003: "a13037f946f2a556",
	} {
		message, err := Extract(samples, order, bits)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha3.Sum256(message)
		if got := hex.EncodeToString(sum[:8]); got != want {
			t.Errorf("%d bits: the message hashes to %s, want %s", bits, got, want)
		}
	}
}

func TestPermutation(t *testing.T) {
	t.Parallel()
	s := random(t)
	const rounds = 6000
	var counts [6][6]int
	for range rounds {
		order, err := Permutation(s, 6)
		if err != nil {
			t.Fatal(err)
		}
		if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, []int32{0, 1, 2, 3, 4, 5}) {
			t.Fatalf("%v is not a permutation", order)
		}
		for i, at := range order {
			counts[i][at]++
		}
	}
	// Each is rounds/6 = 1000 with a deviation of 29: six of those are one in 10^9.
	for i := range counts {
		for at, n := range counts[i] {
			if n < 826 || n > 1174 {
				t.Errorf("%d came to place %d %d times of %d", at, i, n, rounds)
			}
		}
	}
	if _, err := Permutation(bytes.NewReader(make([]byte, 10)), 6); err == nil {
		t.Error("a stream that ends, and no error")
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("samples of a picture"), []byte{1, 2, 3}, uint16(20), uint64(7))
	f.Fuzz(func(t *testing.T, samples, message []byte, bits uint16, seed uint64) {
		s := source{rand.New(rand.NewPCG(seed, 2))}
		order := s.order(len(samples), len(samples))
		n := min(int(bits), 8*len(message), MaxRate*len(samples))
		costs := make([]float32, len(samples))
		for i := range costs {
			costs[i] = float32(s.ExpFloat64())
		}
		if err := Embed(samples, order, costs, message, n, s); err != nil {
			t.Fatal(err)
		}
		got, err := Extract(samples, order, n)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if bit(got, i) != bit(message, i) {
				t.Fatalf("bit %d of %d is another", i, n)
			}
		}
	})
}
