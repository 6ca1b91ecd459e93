package evaluator

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"stegomq/internal/quality"
)

// TestMiddle compares with percentiles of sorted values.
func TestMiddle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.Custom(func(t *rapid.T) float64 {
			if rapid.Bool().Draw(t, "tie") {
				return float64(rapid.IntRange(0, 3).Draw(t, "small"))
			}
			return rapid.Float64Range(-1e6, 1e6).Draw(t, "value")
		})
		values := rapid.SliceOfN(value, 40, 400).Draw(t, "values")
		sorted := slices.Sorted(slices.Values(values))
		want := Interval{Low: quality.Quantile(sorted, 0.025), High: quality.Quantile(sorted, 0.975)}
		if got := *middle(values); got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
		if slices.Sort(values); !slices.Equal(values, sorted) {
			t.Fatalf("it lost a value")
		}
	})
}
