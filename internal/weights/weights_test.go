package weights_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"stegomq/internal/weights"
)

// source is a random source whose seed is in the test's log.
func source(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// keySize is the length of a key, and of a mask seed, in bytes.
const keySize = 32

// fill is that of a layer, of which all weights are keyed.
func fill(layer weights.Layer, role weights.Role, key []byte) []float32 {
	layer.Offset = 0
	w := make([]float32, layer.Len())
	weights.NewMask([]weights.Layer{layer}, nil, 0).Apply(w, w, role, key)
	return w
}

func key(r *rand.Rand) []byte {
	k := make([]byte, keySize)
	for i := range k {
		k[i] = byte(r.Uint32())
	}
	return k
}

// normal draws n values.
func normal(r *rand.Rand, n int) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(r.NormFloat64())
	}
	return values
}

// table lays layers of the shapes one after another.
func table(shapes ...[4]int) []weights.Layer {
	var layers []weights.Layer
	offset := 0
	for i, s := range shapes {
		l := weights.Layer{Name: fmt.Sprintf("layer.%d", i), Shape: s, Offset: offset}
		layers = append(layers, l)
		offset += l.Len()
	}
	return layers
}

// awkward sizes lie about the words of a mask (64), blocks of SHAKE-256 (34) and chunks (1088).
func awkward() []weights.Layer {
	var shapes [][4]int
	for _, n := range []int{1, 33, 34, 35, 63, 64, 65, 1087, 1088, 1089, 2176, 3333} {
		shapes = append(shapes, [4]int{n, 1, 1, 1})
	}
	return table(append(shapes, [4]int{32, 12, 3, 3}, [4]int{4, 7, 5, 1})...)
}

// Apply is W*M + fill*(1-M), by the two functions that the golden vectors bind.
func TestApplyIsMaskedFill(t *testing.T) {
	t.Parallel()
	r := source(t)
	layers := awkward()
	for _, alpha := range []float64{0, 0.5, 0.9, 0.999, 1} {
		mask := weights.NewMask(layers, key(r), alpha)
		base := normal(r, mask.Len())
		for _, role := range []weights.Role{weights.RoleEmbed, weights.RoleRecover} {
			k := key(r)
			want := make([]float32, mask.Len())
			kept := 0
			for _, l := range layers {
				copy(want[l.Offset:], fill(l, role, k))
			}
			for i := range want {
				if mask.Shared(i) {
					want[i] = base[i]
					kept++
				}
			}
			if mask.Kept() != kept {
				t.Errorf("alpha %v: Kept %d, but %d are shared", alpha, mask.Kept(), kept)
			}

			got := make([]float32, mask.Len())
			mask.Apply(got, base, role, k)
			if i := difference(got, want); i >= 0 {
				t.Fatalf("alpha %v, %s: weight %d is %v, want %v", alpha, role, i, got[i], want[i])
			}
			inPlace := slices.Clone(base)
			mask.Apply(inPlace, inPlace, role, k)
			if i := difference(inPlace, want); i >= 0 {
				t.Fatalf("alpha %v, %s, in place: weight %d is %v, want %v", alpha, role, i, inPlace[i], want[i])
			}
		}
	}
}

// difference is the first index at which the bits differ, or -1.
func difference(a, b []float32) int {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

// The share of shared weights is alpha, and fill values are uniform in [-bound, bound): within seven
// standard deviations, which a right implementation misses once in 10^11 runs.
func TestDistribution(t *testing.T) {
	t.Parallel()
	r := source(t)
	layer := weights.Layer{Name: "conv", Shape: [4]int{64, 64, 3, 3}}
	n := float64(layer.Len())

	const alpha = 0.9
	kept := float64(weights.NewMask([]weights.Layer{layer}, key(r), alpha).Kept())
	if deviation := math.Sqrt(n * alpha * (1 - alpha)); math.Abs(kept-n*alpha) > 7*deviation {
		t.Errorf("%v of %v weights are shared, want about %v", kept, n, n*alpha)
	}

	w := fill(layer, weights.RoleEmbed, key(r))
	bound := math.Sqrt(6.0 / (2 * 64 * 9))
	var sum, squares float64
	for _, x := range w {
		if float64(x) < -bound*(1+1e-7) || float64(x) > bound*(1+1e-7) {
			t.Fatalf("weight %v is outside the Glorot bound %v", x, bound)
		}
		sum += float64(x)
		squares += float64(x) * float64(x)
	}
	if mean, deviation := sum/n, bound/math.Sqrt(3*n); math.Abs(mean) > 7*deviation {
		t.Errorf("mean of the weights %v, want 0 within %v", mean, 7*deviation)
	}
	// The variance of x^2 for x uniform in [-b, b] is 4/45 b^4.
	if deviation := bound * bound * math.Sqrt(4.0/45/n); math.Abs(squares/n-bound*bound/3) > 7*deviation {
		t.Errorf("variance of the weights %v, want %v within %v", squares/n, bound*bound/3, 7*deviation)
	}
}

// Whatever goes into the stream changes it.
func TestStreamsAreSeparate(t *testing.T) {
	t.Parallel()
	r := source(t)
	a, b := key(r), key(r)
	layer := weights.Layer{Name: "conv.1", Shape: [4]int{8, 4, 3, 3}}
	streams := map[string]struct {
		layer weights.Layer
		role  weights.Role
		key   []byte
	}{
		"base":      {layer, weights.RoleEmbed, a},
		"role":      {layer, weights.RoleRecover, a},
		"mask role": {layer, "mask", a},
		"key":       {layer, weights.RoleEmbed, b},
		"name":      {weights.Layer{Name: "conv.2", Shape: layer.Shape}, weights.RoleEmbed, a},
		"shape":     {weights.Layer{Name: "conv.1", Shape: [4]int{4, 8, 3, 3}}, weights.RoleEmbed, a},
	}
	seen := map[[3]float32]string{}
	for name, s := range streams {
		w := fill(s.layer, s.role, s.key)
		id := [3]float32(w) // 72 bits, whose sum would be the same by chance once in a million runs
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s give the same stream", name, other)
		}
		seen[id] = name
	}
	// The same layer behind another one.
	mask := weights.NewMask([]weights.Layer{{Name: "first", Shape: [4]int{7, 1, 1, 1}}, {Name: layer.Name, Shape: layer.Shape, Offset: 7}}, nil, 0)
	both := make([]float32, mask.Len())
	mask.Apply(both, both, weights.RoleEmbed, a)
	if difference(fill(layer, weights.RoleEmbed, a), both[7:]) >= 0 {
		t.Error("the offset of a layer changes its weights")
	}
}

// Workers that share one model ask its mask at the same time.
func TestMaskIsDrawnOnce(t *testing.T) {
	t.Parallel()
	r := source(t)
	layers, seed, k := awkward(), key(r), key(r)
	mask := weights.NewMask(layers, seed, 0.7)
	results := make([][]float32, 8)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			results[i] = make([]float32, mask.Len())
			mask.Apply(results[i], results[i], weights.RoleEmbed, k)
		})
	}
	wg.Wait()
	want := make([]float32, mask.Len())
	weights.NewMask(layers, seed, 0.7).Apply(want, want, weights.RoleEmbed, k)
	for i, got := range results {
		if at := difference(got, want); at >= 0 {
			t.Errorf("goroutine %d: weight %d is %v, want %v", i, at, got[at], want[at])
		}
	}
}

func TestMisusePanics(t *testing.T) {
	t.Parallel()
	layers := table([4]int{2, 2, 1, 1}, [4]int{3, 1, 1, 1})
	seed := make([]byte, keySize)
	mask := weights.NewMask(layers, seed, 0.5)
	for name, f := range map[string]func(){
		"apply too short": func() { mask.Apply(make([]float32, 6), make([]float32, 7), weights.RoleEmbed, seed) },
		"base too long":   func() { mask.Apply(make([]float32, 7), make([]float32, 8), weights.RoleEmbed, seed) },
		"before":          func() { mask.Shared(-1) },
		"beyond":          func() { mask.Shared(7) },
		"gap":             func() { weights.NewMask(layers[1:], seed, 0.5) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

// The cost of a key must not be one of the garbage collector.
func TestApplyAllocatesNothingPerWeight(t *testing.T) {
	mask := weights.NewMask(table([4]int{64, 64, 3, 3}, [4]int{64, 64, 3, 3}), make([]byte, keySize), 0.9)
	w := make([]float32, mask.Len())
	k := make([]byte, keySize)
	mask.Apply(w, w, weights.RoleEmbed, k)
	if n := testing.AllocsPerRun(5, func() { mask.Apply(w, w, weights.RoleEmbed, k) }); n > 2 {
		t.Errorf("%v allocations for each Apply", n)
	}
}

// sizes are about those of the two backbones.
func sizes() map[string][]weights.Layer {
	var small, large [][4]int
	for range 4 {
		small = append(small, [4]int{32, 12, 3, 3}, [4]int{32, 32, 3, 3}, [4]int{32, 32, 3, 3}, [4]int{32, 32, 3, 3},
			[4]int{32, 32, 3, 3}, [4]int{24, 32, 3, 3})
	}
	for range 33 {
		large = append(large, [4]int{128, 128, 3, 3})
	}
	return map[string][]weights.Layer{"190k": table(small...), "4.9M": table(large...)}
}

func BenchmarkApply(b *testing.B) {
	for name, layers := range sizes() {
		b.Run(name, func(b *testing.B) {
			mask := weights.NewMask(layers, make([]byte, keySize), 0.9)
			dst, base := make([]float32, mask.Len()), make([]float32, mask.Len())
			k := make([]byte, keySize)
			mask.Kept()
			b.SetBytes(int64(4 * mask.Len()))
			b.ReportAllocs()
			for b.Loop() {
				mask.Apply(dst, base, weights.RoleEmbed, k)
			}
		})
	}
}

func BenchmarkMask(b *testing.B) {
	for name, layers := range sizes() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				weights.NewMask(layers, make([]byte, keySize), 0.9).Kept()
			}
		})
	}
}
