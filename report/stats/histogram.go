package stats

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Histogram counts values in bins of one width: Counts[i] are from From + i Width up to the next.
type Histogram struct {
	From   float64 `json:"from"`
	Width  float64 `json:"width"`
	Counts []int   `json:"counts"`
}

// maxBins bounds the bins of a histogram.
const maxBins = 12

// Bins counts values, in ascending order, in bins whose bounds are multiples of 1, 2 or 5 times a power of
// ten.
func Bins(sorted []float64) Histogram {
	h := Histogram{Counts: []int{}}
	if len(sorted) == 0 {
		return h
	}
	low, high := sorted[0], sorted[len(sorted)-1]
	const least = 1e-3 // smaller differences tell nothing, and equal values have none
	scale := math.Pow10(int(math.Floor(math.Log10(max(high-low, least) / maxBins))))
	bin := func(v float64) int { return int(math.Floor(v / h.Width)) }
	for _, step := range []float64{1, 2, 5, 10, 20} {
		h.Width = step * scale
		if bin(high)-bin(low) < maxBins {
			break
		}
	}
	return BinsOf(sorted, h.Width)
}

// Text draws a bar for each bin.
func (h Histogram) Text() string {
	const longest = 40
	decimals := max(0, -int(math.Floor(math.Log10(h.Width))))
	var out strings.Builder
	for i, n := range h.Counts {
		bar := strings.Repeat("#", (n*longest+slices.Max(h.Counts)-1)/slices.Max(h.Counts))
		fmt.Fprintf(&out, "%+9.*f |%-*s %d\n", decimals, h.From+float64(i)*h.Width, longest, bar, n)
	}
	return out.String()
}

// BinsOf counts values, in ascending order and at least one, in bins of a width whose bounds are multiples of it.
func BinsOf(sorted []float64, width float64) Histogram {
	first := math.Floor(sorted[0] / width)
	h := Histogram{From: first * width, Width: width, Counts: make([]int, int(math.Floor(sorted[len(sorted)-1]/width)-first)+1)}
	for _, v := range sorted {
		h.Counts[int(math.Floor(v/width)-first)]++
	}
	return h
}
