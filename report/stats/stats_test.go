package stats

import (
	"fmt"
	"math"
	"testing"
)

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got-want) > within {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	var s Summary
	if s.Std() != 0 || s.Mean != 0 {
		t.Errorf("empty: %+v", s)
	}
	values := []float64{1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16}
	for _, v := range values {
		s.Add(v)
	}
	near(t, "mean", s.Mean, 1e9+10, 1e-6)
	near(t, "std", s.Std(), math.Sqrt(30), 1e-6)
	if s.N != 4 || s.Min != values[0] || s.Max != values[3] {
		t.Errorf("got %+v", s)
	}
}

// The values are NumPy's, numpy.quantile([-2, 1, 4, 4, 9, 11], q).
func TestQuantile(t *testing.T) {
	t.Parallel()
	sorted := []float64{-2, 1, 4, 4, 9, 11}
	for q, want := range map[float64]float64{0: -2, 0.05: -1.25, 0.25: 1.75, 0.5: 4, 0.7: 6.5, 0.95: 10.5, 0.99: 10.9, 1: 11} {
		near(t, fmt.Sprint("quantile ", q), Quantile(sorted, q), want, 1e-12)
	}
	if Quantile(nil, 0.5) != 0 || Quantile([]float64{3}, 0.99) != 3 || Quantile([]float64{3}, 0) != 3 {
		t.Error("none or one value")
	}
}

// The bounds are where the binomial tails have 2.5 %.
func TestShareBounds(t *testing.T) {
	t.Parallel()
	tail := func(n, from, to int, p float64) (sum float64) {
		for i := from; i <= to; i++ {
			choose, _ := math.Lgamma(float64(n + 1))
			a, _ := math.Lgamma(float64(i + 1))
			b, _ := math.Lgamma(float64(n - i + 1))
			sum += math.Exp(choose - a - b + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
		}
		return sum
	}
	for _, c := range []struct{ k, n int }{{0, 10}, {0, 10000}, {3, 40}, {103, 10000}, {10, 10}} {
		low, high := ShareBounds(c.k, c.n)
		if c.k == 0 && low != 0 || c.k == c.n && high != 1 {
			t.Errorf("%d of %d: %v to %v", c.k, c.n, low, high)
		}
		if c.k > 0 && math.Abs(tail(c.n, c.k, c.n, low)-0.025) > 1e-6 {
			t.Errorf("%d of %d: at %v as many or more have %v", c.k, c.n, low, tail(c.n, c.k, c.n, low))
		}
		if c.k < c.n && math.Abs(tail(c.n, 0, c.k, high)-0.025) > 1e-6 {
			t.Errorf("%d of %d: at %v as many or fewer have %v", c.k, c.n, high, tail(c.n, 0, c.k, high))
		}
	}
}
