package stc

import (
	"bytes"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	if err := Replace(stego, order[:128], Costs(cover, 40, 40), message, 128); err != nil {
		t.Errorf("as many bits as samples: %v", err)
	}
	if got, _ := Extract(stego, order[:128], 128); !bytes.Equal(got, message) {
		t.Error("as many bits as samples: another message came back")
	}
	if err := Replace(stego, order[:127], Costs(cover, 40, 40), message, 128); !errors.Is(err, ErrCapacity) {
		t.Errorf("more bits than samples: %v", err)
	}
}

// Where hardly an element is without a bit, few ways lead through the trellis, and segments have no room to spare.
func TestNearOneBit(t *testing.T) {
	t.Parallel()
	s := random(t)
	for _, n := range []int{3, 300, 30_000, segmentSize + 1, 2*segmentSize + 3, 4*60_000 + 4, 5*60_000 + 3} {
		cover := make([]byte, n)
		_, _ = s.Read(cover)
		costs := make([]float32, n)
		for i := range costs {
			costs[i] = float32(s.ExpFloat64())
		}
		order := s.order(n, n)
		for _, missing := range []int{0, 1, 2, 3, 4, 5, 8, 20, 100} {
			bits := max(n-missing, 1)
			message, stego := s.message(bits), slices.Clone(cover)
			if err := Embed(stego, order, costs, message, bits, s); err != nil {
				t.Fatal(err)
			}
			if got, err := Extract(stego, order, bits); err != nil || !bytes.Equal(got, message) {
				t.Errorf("%d bits in %d samples: another message came back (%v)", bits, n, err)
			}
		}
	}
}

// A part of an image without texture costs thousands of times as much as the rest, and so may a sample at its border. Both are left alone
// but for the few bits that have no other elements, and in the rest costs count all the same.
func TestFlatParts(t *testing.T) {
	t.Parallel()
	s := random(t)
	const height, width = 48, 64
	for _, flat := range []int{0, 5, 24, 43} { // rows
		cover := make([]byte, 3*height*width)
		inside := make([]bool, len(cover))
		for i := range cover {
			cover[i] = 250
			y := i / width % height
			if inside[i] = y < flat; !inside[i] {
				cover[i] = byte(128 + (1+float64(y)/4)*s.NormFloat64())
			}
		}
		costs, order := Costs(cover, height, width), s.order(len(cover), len(cover))
		for _, share := range []float64{0.05, 0.15, 0.25} { // of the rest's elements
			bits := int(share * float64((height-flat)*width*3))
			stego := slices.Clone(cover)
			if err := Embed(stego, order, costs, s.message(bits), bits, s); err != nil {
				t.Fatal(err)
			}
			var prices []float64 // of the changes in the rest
			changed := 0
			for i := range stego {
				switch {
				case stego[i] == cover[i]:
				case inside[i]:
					changed++
				default:
					prices = append(prices, float64(costs[i]))
				}
			}
			few := 8 + bits/50
			if changed > few {
				t.Errorf("%d flat rows, %v bits an element of the rest: %d of their samples changed, for %d bits", flat, share, changed, bits)
			}
			slices.Sort(prices)
			paid := 0.0
			for _, price := range prices[:max(0, len(prices)-few)] {
				paid += price
			}
			if least := bound(costs, float64(bits)); paid > 1.5*least {
				t.Errorf("%d flat rows, %v bits an element of the rest: but for %d changes the rest costs %.2f times the least", flat, share, few, paid/least)
			}
		}
	}
}

// Metrics stay in range where every change is of a wet element, until the error; nothing is half written.
func TestAllWet(t *testing.T) {
	t.Parallel()
	s := random(t)
	cover := s.picture(60, 60)
	costs := make([]float32, len(cover))
	for i := range costs {
		costs[i] = float32(math.Inf(1))
	}
	order, stego := s.order(len(cover), len(cover)), slices.Clone(cover)
	for _, bits := range []int{50, 5000, len(cover) - 1} {
		if err := Embed(stego, order, costs, s.message(bits), bits, s); !errors.Is(err, ErrWet) {
			t.Errorf("%d bits: %v", bits, err)
		}
		if !bytes.Equal(stego, cover) {
			t.Fatalf("%d bits: an error, and another image", bits)
		}
		read, err := Extract(cover, order, bits)
		if err != nil {
			t.Fatal(err)
		}
		if err := Embed(stego, order, costs, read, bits, s); err != nil || !bytes.Equal(stego, cover) {
			t.Errorf("%d bits that stand there already: %v", bits, err)
		}
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
	// Thirty pixels for each bit: that none of them can move is one in 2^30. Of ten it happens.
	message := s.message(30)
	if err := EmbedCovert(samples, order, Costs(samples, 30, 30), message, 30, s); err != nil {
		t.Fatal(err)
	}
	for p := plane / 2; p < plane; p++ {
		if samples[p] != 0 || samples[p+plane] != 255 {
			t.Fatalf("pixel %d changed", p)
		}
	}
	if got, _ := ExtractCovert(samples, order, 30); !bytes.Equal(got, message) {
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
		// Twenty elements for each bit: that none of them may change is one in 3^20. Of five it happens.
		order, message, before := s.order(2000, len(samples)), s.message(100), slices.Clone(samples)
		if err := Embed(samples, order, costs, message, 100, s); err != nil {
			t.Fatalf("costs of %v: %v", odd, err)
		}
		for i := range samples {
			if samples[i] != before[i] && !changeable(float64(costs[i])) {
				t.Fatalf("sample %d costs %v, and changed", i, costs[i])
			}
		}
		if got, _ := Extract(samples, order, 100); !bytes.Equal(got, message) {
			t.Errorf("costs of %v: another message came back", odd)
		}
	}
}

// golden is testdata/golden.json: version 1 of the code.
type golden struct {
	Columns     []uint32 // of the first elements
	Permutation []int32  // of as many elements, from SHAKE-256 of goldenSeed
	Messages    []goldenMessage
}

type goldenMessage struct {
	Covert         bool
	Elements, Bits int
	SHA3           string // the first 16 digits of SHA3-256 of the message
}

const (
	goldenSeed    = "stegomq stc golden"
	goldenSamples = 210_000
)

// What other versions and other hosts wrote must stay readable. The samples are the stream's, then comes the order.
func TestGolden(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want golden
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if len(want.Columns) < 16 || len(want.Permutation) < 16 || len(want.Messages) < 8 {
		t.Fatal("testdata/golden.json is not whole")
	}
	for e, c := range want.Columns {
		if got := column(e); got != c {
			t.Errorf("column %d is %#x, want %#x", e, got, c)
		}
	}
	if got := Permutation(goldenStream(), len(want.Permutation)); !slices.Equal(got, want.Permutation) {
		t.Errorf("the permutation is %v, want %v", got, want.Permutation)
	}
	for _, m := range want.Messages {
		stream, samples := goldenStream(), make([]byte, goldenSamples)
		_, _ = stream.Read(samples)
		order := Permutation(stream, m.Elements)
		extract := Extract
		if m.Covert {
			extract = ExtractCovert
		}
		message, err := extract(samples, order, m.Bits)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha3.Sum256(message)
		if got := hex.EncodeToString(sum[:8]); got != m.SHA3 {
			t.Errorf("%d bits of %d elements (covert: %v): the message hashes to %s, want %s", m.Bits, m.Elements, m.Covert, got, m.SHA3)
		}
	}
}

func goldenStream() *sha3.SHAKE {
	stream := sha3.NewSHAKE256()
	_, _ = stream.Write([]byte(goldenSeed))
	return stream
}

func TestPermutation(t *testing.T) {
	t.Parallel()
	s := random(t)
	const rounds = 6000
	var counts [6][6]int
	for range rounds {
		order := Permutation(s, 6)
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
	defer func() {
		if recover() == nil {
			t.Error("a stream that ends, and no panic")
		}
	}()
	Permutation(bytes.NewReader(make([]byte, 10)), 6)
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
