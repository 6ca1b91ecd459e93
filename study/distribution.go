package study

import (
	"fmt"
	"slices"

	"stegomq/report/stats"
	"stegomq/schemas"
)

// Distribution is a metric over a group. Quantiles are linear between the two nearest scores.
type Distribution struct {
	stats.Moments
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

// Excess is each score of a group of wrong keys less the baseline of the same item. At zero or below, the output is no more like
// the secret than the cover is.
type Excess struct {
	// N counts the scores whose item has a baseline, Items the image pairs that they are of.
	N     int  `json:"n"`
	Items int  `json:"items"`
	PSNR  Tail `json:"psnr"`
	SSIM  Tail `json:"ssim"`
}

// Tail is the upper end of an excess, in the metric's unit.
type Tail struct {
	stats.Moments
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
	// Worst is the comparison that has Max, the first in the order of items.csv.
	Worst     Comparison      `json:"worst"`
	Histogram stats.Histogram `json:"histogram"`
}

// Comparison names the item and the keys of a score.
type Comparison struct {
	Item      string `json:"item"`
	EmbedKey  string `json:"embed_key"`
	DecodeKey string `json:"decode_key"`
}

// sample collects a metric of scores. It keeps the values, 8 bytes each, as quantiles need them.
type sample struct {
	stats.Summary
	values         []float64
	least, largest *schemas.Score
	items          stats.Clusters
}

func (x *sample) add(v float64, of *schemas.Score) {
	if x.N == 0 || v < x.Min {
		x.least = of
	}
	if x.N == 0 || v > x.Max {
		x.largest = of
	}
	x.Add(v)
	x.values = append(x.values, v)
	x.items.Add(of.GetItem(), v)
}

// meanAndInterval are the moments with the interval of the mean.
func (x *sample) meanAndInterval() stats.Moments { return x.Moments(x.items.Interval()) }

func (x *sample) distribution() Distribution {
	slices.Sort(x.values)
	q := func(share float64) float64 { return stats.Quantile(x.values, share) }
	return Distribution{
		Moments: x.meanAndInterval(), Min: x.Min, Max: x.Max, Median: q(0.5), P95: q(0.95), P99: q(0.99),
		MinOf: comparisonOf(x.least), MaxOf: comparisonOf(x.largest),
	}
}

func (x *sample) tail() Tail {
	slices.Sort(x.values)
	return Tail{
		Moments: x.meanAndInterval(), P99: stats.Quantile(x.values, 0.99), Max: x.Max, Histogram: stats.Bins(x.values), Worst: comparisonOf(x.largest),
	}
}

func comparisonOf(s *schemas.Score) Comparison {
	return Comparison{Item: s.GetItem(), EmbedKey: s.GetEmbedKey(), DecodeKey: s.GetDecodeKey()}
}
