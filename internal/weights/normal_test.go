package weights_test

import (
	"math"
	"slices"
	"testing"

	"stegomq/internal/weights"
)

// How many values are asked for does not change the first ones; another seed changes all.
func TestNormalIsAStream(t *testing.T) {
	t.Parallel()
	long := make([]float32, 1000)
	weights.Normal(long, 7)
	for _, n := range []int{0, 1, 63, 64, 65, 999} {
		short := make([]float32, n)
		weights.Normal(short, 7)
		if !slices.Equal(short, long[:n]) {
			t.Errorf("the first %d of 1000 values are others", n)
		}
	}
	other := make([]float32, 1000)
	weights.Normal(other, 8)
	same := 0
	for i := range other {
		if other[i] == long[i] {
			same++
		}
	}
	if same > 5 {
		t.Errorf("%d of 1000 values of two seeds are the same", same)
	}
}

// Mean, variance and kurtosis of a sum of twelve uniform values: 0, 1 and 2.9.
func TestNormalMoments(t *testing.T) {
	t.Parallel()
	z := make([]float32, 1<<17)
	weights.Normal(z, 1)
	var mean, square, fourth float64
	for _, v := range z {
		x := float64(v)
		mean, square, fourth = mean+x, square+x*x, fourth+x*x*x*x
	}
	n := float64(len(z))
	for _, m := range []struct {
		name      string
		got, want float64
	}{{"mean", mean / n, 0}, {"variance", square / n, 1}, {"kurtosis", fourth / n / (square / n) / (square / n), 2.9}} {
		if math.Abs(m.got-m.want) > 0.05 {
			t.Errorf("%s %.4f, want %.1f", m.name, m.got, m.want)
		}
	}
}
