package evaluator

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"stegomq/internal/quality"
	"stegomq/schemas"
)

// Moments are the mean of a metric, the sample standard deviation of its scores, and how sure the mean is.
type Moments struct {
	Mean float64 `json:"mean"`
	Std  float64 `json:"std"`
	// CI95 is the 95 % interval of the mean, Student's t on the items; null for fewer than two items.
	CI95 *Interval `json:"ci95"`
}

// Distribution is a metric over a group. Quantiles are linear between the two nearest scores.
type Distribution struct {
	Moments
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	P95    float64 `json:"p95"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
	// MinOf and MaxOf are the comparisons that have Min and Max, the first in the order of items.csv.
	MinOf Comparison `json:"min_of"`
	MaxOf Comparison `json:"max_of"`
}

// Least is the least score with the pair that has it, the score in a format of fmt.
func (d Distribution) Least(format string) string { return ofPair(format, d.Min, d.MinOf.Item) }

// Largest is the same of the largest score, which is the worst where a wrong key should show nothing.
func (d Distribution) Largest(format string) string { return ofPair(format, d.Max, d.MaxOf.Item) }

func ofPair(format string, v float64, item string) string {
	return fmt.Sprintf(format+" (%s)", v, item)
}

// Excess is what a group of wrong keys shows of the secret beyond what an unrelated image does: each score less
// the baseline of the same item. At zero or below, the output is no nearer to the secret than the cover is.
type Excess struct {
	// N counts the scores whose item has a baseline, Items the image pairs that they are of.
	N     int  `json:"n"`
	Items int  `json:"items"`
	PSNR  Tail `json:"psnr"`
	SSIM  Tail `json:"ssim"`
}

// Tail is the upper end of an excess, in the metric's unit.
type Tail struct {
	Moments
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
	// Worst is the comparison that has Max, the first in the order of items.csv.
	Worst     Comparison `json:"worst"`
	Histogram Histogram  `json:"histogram"`
}

// Comparison names the item and the keys of a score.
type Comparison struct {
	Item      string `json:"item"`
	EmbedKey  string `json:"embed_key"`
	DecodeKey string `json:"decode_key"`
}

// Histogram counts values in bins of one width: Counts[i] are from From + i Width up to the next.
type Histogram struct {
	From   float64 `json:"from"`
	Width  float64 `json:"width"`
	Counts []int   `json:"counts"`
}

// series collects a metric. It keeps the values, 8 bytes each, as quantiles need them.
type series struct {
	quality.Summary
	values         []float64
	least, largest *schemas.Score
}

func (s *series) add(v float64, of *schemas.Score) {
	if s.N == 0 || v < s.Min {
		s.least = of
	}
	if s.N == 0 || v > s.Max {
		s.largest = of
	}
	s.Add(v)
	s.values = append(s.values, v)
}

func moments(s quality.Summary, mean *Interval) Moments {
	return Moments{Mean: s.Mean, Std: s.Std(), CI95: mean}
}

func (s *series) distribution(mean *Interval) Distribution {
	slices.Sort(s.values)
	return Distribution{
		Moments: moments(s.Summary, mean), Min: s.Min, Max: s.Max, Median: quality.Quantile(s.values, 0.5),
		P95: quality.Quantile(s.values, 0.95), P99: quality.Quantile(s.values, 0.99),
		MinOf: comparisonOf(s.least), MaxOf: comparisonOf(s.largest),
	}
}

func comparisonOf(s *schemas.Score) Comparison {
	return Comparison{Item: s.GetItem(), EmbedKey: s.GetEmbedKey(), DecodeKey: s.GetDecodeKey()}
}

func (s *series) tail(mean *Interval) Tail {
	slices.Sort(s.values)
	return Tail{
		Moments: moments(s.Summary, mean), P99: quality.Quantile(s.values, 0.99), Max: s.Max, Histogram: histogram(s.values),
		Worst: comparisonOf(s.largest),
	}
}

// maxBins bounds the bins of a histogram.
const maxBins = 12

// histogram counts values, in ascending order, in bins whose bounds are multiples of 1, 2 or 5 times a power of
// ten.
func histogram(sorted []float64) Histogram {
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
	first := bin(low)
	h.From, h.Counts = float64(first)*h.Width, make([]int, bin(high)-first+1)
	for _, v := range sorted {
		h.Counts[bin(v)-first]++
	}
	return h
}

// text draws a bar for each bin.
func (h Histogram) text() string {
	const longest = 40
	decimals := max(0, -int(math.Floor(math.Log10(h.Width))))
	var out strings.Builder
	for i, n := range h.Counts {
		bar := strings.Repeat("#", (n*longest+slices.Max(h.Counts)-1)/slices.Max(h.Counts))
		fmt.Fprintf(&out, "%+9.*f |%-*s %d\n", decimals, h.From+float64(i)*h.Width, longest, bar, n)
	}
	return out.String()
}
