// Package stats owns statistics of scores: moments, intervals of means, quantiles and histograms. It does not know roles and metrics.
package stats

import (
	"fmt"
	"maps"
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

// Clusters are the scores of a metric by item, for the interval of their mean. The zero value has none.
//
// The interval is Student's t on the items (image pairs), because the scores of one item under several keys are not independent. It says what
// other images might have given, with these keys and this model. The mean r of all scores is a ratio: the sum of the items' sums s over that of
// their numbers of scores n. With e = s - n r the interval is
//
//	r ± t sqrt(k/(k-1) Σe²) / Σn,   t the 97.5th percentile of Student's distribution with k - 1 degrees of freedom
//
// for k items (Cochran, Sampling Techniques, 1977, section 6.3). With as many scores in every item it is the t interval on the
// items' means. It covers with few items, where a bootstrap does not: docs/statistics.md has both measured.
type Clusters struct{ of map[string]cluster } // by item

// cluster is the number of an item's scores, and their sum.
type cluster struct{ n, sum float64 }

// Add takes in a score of an item.
func (c *Clusters) Add(item string, v float64) {
	if c.of == nil {
		c.of = make(map[string]cluster)
	}
	before := c.of[item]
	c.of[item] = cluster{before.n + 1, before.sum + v}
}

// Interval is that of the mean; nil for fewer than two items.
func (c *Clusters) Interval() *Interval {
	if len(c.of) < 2 {
		return nil
	}
	var all cluster
	items := slices.Sorted(maps.Keys(c.of)) // in order, so that sums do not depend on the order of the scores
	for _, item := range items {
		all = cluster{all.n + c.of[item].n, all.sum + c.of[item].sum}
	}
	mean, squares := all.sum/all.n, 0.0
	for _, item := range items {
		e := c.of[item].sum - float64(c.of[item].n*mean) // rounded by itself, so that every platform gives the same
		squares += float64(e * e)
	}
	k := float64(len(items))
	t := distuv.StudentsT{Sigma: 1, Nu: k - 1}.Quantile(0.975)
	half := t * math.Sqrt(k/(k-1)*squares) / all.n
	return &Interval{Low: mean - half, High: mean + half}
}

// Len is the number of items.
func (c *Clusters) Len() int { return len(c.of) }

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
