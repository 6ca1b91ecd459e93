package dct_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"stegomq/internal/dct"
)

func random(t *testing.T, n int) []float64 {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	values := make([]float64, n)
	for i := range values {
		values[i] = 255 * r.Float64()
	}
	return values
}

func energy(values []float64) (sum float64) {
	for _, v := range values {
		sum += v * v
	}
	return sum
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{16, 16}, {32, 48}, {17, 31}, {1, 1}, {8, 40}, {50, 3}} {
		for _, side := range []int{8, 16} {
			for name, g := range map[string]dct.Grid{"covering": dct.Covering(size[0], size[1], side), "within": dct.Within(size[0], size[1], side)} {
				t.Run(fmt.Sprintf("%dx%d/%d/%s", size[0], size[1], side, name), func(t *testing.T) {
					planes := random(t, g.Samples())
					back := append([]float64(nil), planes...)
					coefficients := make([]float64, g.Coefficients())
					g.Analyse(coefficients, planes, dct.Luma)
					g.Synthesise(back, coefficients, dct.Luma)
					for i := range planes {
						if math.Abs(planes[i]-back[i]) > 1e-9 {
							t.Fatalf("sample %d is %v, was %v", i, back[i], planes[i])
						}
					}
				})
			}
		}
	}
}

func TestOrthonormal(t *testing.T) {
	t.Parallel()
	g := dct.Within(48, 32, 16)
	planes := random(t, g.Samples())
	coefficients := make([]float64, g.Coefficients())
	g.Analyse(coefficients, planes, dct.Opponent)
	for i := range planes {
		planes[i] -= 127.5
	}
	if a, b := energy(planes), energy(coefficients); math.Abs(a/b-1) > 1e-12 {
		t.Errorf("energy of the samples %v, of the coefficients %v", a, b)
	}
}

func TestAxesAreOrthonormal(t *testing.T) {
	t.Parallel()
	for name, axes := range map[string]dct.Axes{"opponent": dct.Opponent, "luma": dct.Luma} {
		for i, a := range axes {
			for j, b := range axes {
				want := 0.
				if i == j {
					want = 1
				}
				if dot := a[0]*b[0] + a[1]*b[1] + a[2]*b[2]; math.Abs(dot-want) > 1e-15 {
					t.Errorf("%s: axes %d and %d have the product %v", name, i, j, dot)
				}
			}
		}
	}
}

// One block is what the grid makes of it.
func TestBlock(t *testing.T) {
	t.Parallel()
	g := dct.Within(8, 8, 8)
	planes := random(t, g.Samples())
	want, got := make([]float64, 192), make([]float64, 192)
	g.Analyse(want, planes, dct.Luma)
	b := dct.NewBlock(8, dct.Luma)
	b.Forward(got, planes)
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("coefficient %d is %v, want %v", i, got[i], want[i])
		}
	}
	b.Inverse(got, want)
	for i := range planes {
		if math.Abs(got[i]-planes[i]) > 1e-10 {
			t.Fatalf("sample %d is %v, want %v", i, got[i], planes[i])
		}
	}
}

// The definition, term by term.
func TestDefinition(t *testing.T) {
	t.Parallel()
	const side = 8
	g := dct.Covering(13, 9, side)
	planes := random(t, g.Samples())
	coefficients := make([]float64, g.Coefficients())
	g.Analyse(coefficients, planes, dct.Opponent)
	axes := [3][3]float64{
		{1 / math.Sqrt(3), 1 / math.Sqrt(3), 1 / math.Sqrt(3)},
		{1 / math.Sqrt2, 0, -1 / math.Sqrt2},
		{1 / math.Sqrt(6), -2 / math.Sqrt(6), 1 / math.Sqrt(6)},
	}
	cosine := func(k, x int) float64 {
		c := math.Cos(math.Pi * float64(k) * (float64(x) + 0.5) / side)
		if k == 0 {
			return c / math.Sqrt(side)
		}
		return c * math.Sqrt(2./side)
	}
	for block := range g.Blocks() {
		for _, f := range [][3]int{{0, 0, 0}, {1, 0, 0}, {0, 1, 1}, {3, 6, 2}, {7, 7, 1}} {
			want := 0.
			for y := range side {
				for x := range side {
					at := min(block/g.Cols*side+y, 8)*13 + min(block%g.Cols*side+x, 12)
					for c, weight := range axes[f[2]] {
						want += cosine(f[0], y) * cosine(f[1], x) * weight * (planes[c*13*9+at] - 127.5)
					}
				}
			}
			if got := coefficients[((f[0]*side+f[1])*3+f[2])*g.Blocks()+block]; math.Abs(got-want) > 1e-9 {
				t.Errorf("block %d, frequency %v: %v, want %v", block, f, got, want)
			}
		}
	}
}

func BenchmarkAnalyse(b *testing.B) {
	for _, side := range []int{8, 16} {
		b.Run(fmt.Sprint(side), func(b *testing.B) {
			g := dct.Within(256, 256, side)
			planes, coefficients := make([]float64, g.Samples()), make([]float64, g.Coefficients())
			for b.Loop() {
				g.Analyse(coefficients, planes, dct.Opponent)
			}
		})
	}
}

func BenchmarkSynthesise(b *testing.B) {
	for _, side := range []int{8, 16} {
		b.Run(fmt.Sprint(side), func(b *testing.B) {
			g := dct.Within(256, 256, side)
			planes, coefficients := make([]float64, g.Samples()), make([]float64, g.Coefficients())
			for b.Loop() {
				g.Synthesise(planes, coefficients, dct.Opponent)
			}
		})
	}
}
