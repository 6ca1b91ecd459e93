// Package stats owns statistics of scores: moments, intervals of means, quantiles and histograms. It does not know roles and metrics.
package stats

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// Interval bounds a mean.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Text is " [low, high]", both in a format of fmt; nothing where there is no interval.
func (i *Interval) Text(format string) string {
	if i == nil {
		return ""
	}
	return fmt.Sprintf(" ["+format+", "+format+"]", i.Low, i.High)
}

// Holds says whether a value is in the interval; no value is where there is none.
func (i *Interval) Holds(v float64) bool { return i != nil && i.Low <= v && v <= i.High }

// Clusters are the scores of a group by item, for the interval of a mean over them.
//
// The interval is Student's t on the items (image pairs), because the scores of one item under several keys are not independent:
// it says what other images might have given, with these keys and this model. The mean r of all scores is a ratio, the sum of the
// items' sums s over that of their numbers of scores n; with e = s - n r the interval is
//
//	r ± t sqrt(k/(k-1) Σe²) / Σn,   t the 97.5th percentile of Student's distribution with k - 1 degrees of freedom
//
// for k items (Cochran, Sampling Techniques, 1977, section 6.3). With as many scores in every item it is the t interval on the
// items' means. It covers with few items, where a bootstrap does not: docs/statistics.md has both measured.
type Clusters struct {
	at    map[string]int // row of an item
	items []string
	n     []float64   // scores of each item
	sums  [][]float64 // of each metric: their sum, by item
	t     float64     // Student's; 0 until close
}

// NewClusters is for scores of so many metrics.
func NewClusters(metrics int) *Clusters {
	return &Clusters{at: make(map[string]int), sums: make([][]float64, metrics)}
}

// Add takes in a score: a value for each metric.
func (c *Clusters) Add(item string, values ...float64) {
	row, there := c.at[item]
	if !there {
		row = len(c.items)
		c.at[item] = row
		c.items, c.n = append(c.items, item), append(c.n, 0)
		for m := range c.sums {
			c.sums[m] = append(c.sums[m], 0)
		}
	}
	c.n[row]++
	for m, v := range values {
		c.sums[m][row] += v
	}
}

// Interval is that of the mean of a metric; nil for fewer than two items, and for no Clusters. It ends what Add began.
func (c *Clusters) Interval(metric int) *Interval {
	if c == nil || len(c.items) < 2 {
		return nil
	}
	if c.t == 0 {
		c.sort()
		c.t = distuv.StudentsT{Sigma: 1, Nu: float64(len(c.items) - 1)}.Quantile(0.975)
	}
	var n, sum, squares float64
	for i, s := range c.sums[metric] {
		n, sum = n+c.n[i], sum+s
	}
	mean := sum / n
	for i, s := range c.sums[metric] {
		e := s - float64(c.n[i]*mean) // rounded by itself, so that every platform gives the same
		squares += float64(e * e)
	}
	k := float64(len(c.items))
	half := c.t * math.Sqrt(k/(k-1)*squares) / n
	return &Interval{Low: mean - half, High: mean + half}
}

// sort puts the items in order, so that sums do not depend on the order of the scores.
func (c *Clusters) sort() {
	order := make([]int, len(c.items))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(c.items[a], c.items[b]) })
	permute := func(v []float64) []float64 {
		out := make([]float64, len(v))
		for i, from := range order {
			out[i] = v[from]
		}
		return out
	}
	c.n = permute(c.n)
	for m := range c.sums {
		c.sums[m] = permute(c.sums[m])
	}
	slices.Sort(c.items)
	c.at = nil // it takes no more
}

// Len is the number of items.
func (c *Clusters) Len() int { return len(c.items) }

// ShareBounds is the interval of Clopper and Pearson (1934) at 95 % of k in n.
func ShareBounds(k, n int) (low, high float64) {
	low, high = 0, 1
	if k > 0 {
		low = mathext.InvRegIncBeta(float64(k), float64(n-k+1), 0.025)
	}
	if k < n {
		high = mathext.InvRegIncBeta(float64(k+1), float64(n-k), 0.975)
	}
	return low, high
}
