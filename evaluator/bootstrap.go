package evaluator

import (
	"cmp"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"stegomq/internal/quality"
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

// holdsZero says whether 0 is a value that the interval allows.
func (i *Interval) holdsZero() bool { return i.Low <= 0 && 0 <= i.High }

const (
	// resamples is the number of bootstrap resamples behind every interval.
	resamples = 2000
	// resampleSeed is the same in every report, so that equal scores have equal intervals.
	resampleSeed = 0x73746567
)

// clusters are the scores of a group by item, for the interval of a mean over them.
//
// The interval is that of the percentile bootstrap (Efron and Tibshirani 1993, chapter 13): 2000 times as many items
// as there are, are drawn with replacement; the mean over all scores of the drawn items is taken; the interval is from
// the 2.5th to the 97.5th percentile of these means. Items (image pairs) are drawn and not scores, because the scores
// of one pair under several keys are not independent: the interval says what other images might have given, with
// these keys and this model. Groups with equally many items are drawn alike. Below some twenty items it is too narrow.
type clusters struct {
	at      map[string]int // row of an item
	items   []string
	n       []float64   // scores of each item
	sums    [][]float64 // of each metric: their sum, by item
	bounded []*Interval // of each metric; nil until bootstrap, and for fewer than two items
}

func newClusters(metrics int) *clusters {
	return &clusters{at: make(map[string]int), sums: make([][]float64, metrics), bounded: make([]*Interval, metrics)}
}

// add takes in a score: a value for each metric.
func (c *clusters) add(item string, values ...float64) {
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

// interval gives what bootstrap found for a metric; nil where nothing was, or for no clusters.
func (c *clusters) interval(metric int) *Interval {
	if c == nil {
		return nil
	}
	return c.bounded[metric]
}

// sort puts the items in order, so that draws do not depend on the order of the scores.
func (c *clusters) sort() {
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

// bootstrap finds the intervals of all groups, on every core. The outcome does not depend on their number.
func bootstrap(all []*clusters) {
	bySize := make(map[int][]*clusters)
	for _, c := range all {
		if c != nil && len(c.items) >= 2 {
			c.sort()
			bySize[len(c.items)] = append(bySize[len(c.items)], c)
		}
	}
	for items, groups := range bySize {
		// Several at once, so that a draw serves them all, and not too many: the means take 16 kB a metric.
		for some := range slices.Chunk(groups, 64) {
			resample(items, some)
		}
	}
}

func resample(items int, groups []*clusters) {
	means := make([][][resamples]float64, len(groups)) // by group and metric
	for g, c := range groups {
		means[g] = make([][resamples]float64, len(c.sums))
	}
	var draws errgroup.Group
	part := (resamples + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0)
	for from := 0; from < resamples; from += part {
		draws.Go(func() error {
			times := make([]float64, items) // how often each item is drawn
			for b := from; b < min(from+part, resamples); b++ {
				clear(times)
				random := rand.NewPCG(resampleSeed, uint64(b))
				for range items {
					i, _ := bits.Mul64(random.Uint64(), uint64(items))
					times[i]++
				}
				for g, c := range groups {
					n := dot(times, c.n)
					for m, sums := range c.sums {
						means[g][m][b] = dot(times, sums) / n
					}
				}
			}
			return nil
		})
	}
	_ = draws.Wait()
	var bounds errgroup.Group
	bounds.SetLimit(runtime.GOMAXPROCS(0))
	for g, c := range groups {
		bounds.Go(func() error {
			for m := range c.sums {
				c.bounded[m] = middle(means[g][m][:])
			}
			return nil
		})
	}
	_ = bounds.Wait()
}

// middle is from the 2.5th to the 97.5th percentile of values, which it reorders. It sorts their ends alone: a run
// with many keys has thousands of means.
func middle(values []float64) *Interval {
	end := len(values)/40 + 2 // more than what either percentile lies between
	split(values, end)
	split(values[end:], len(values)-2*end)
	slices.Sort(values[:end])
	slices.Sort(values[len(values)-end:])
	return &Interval{Low: quality.Quantile(values, 0.025), High: quality.Quantile(values, 0.975)}
}

// split puts the n least values first (Hoare's selection), n on 1..len(v).
func split(v []float64, n int) {
	for low, high := 0, len(v)-1; low < high; {
		pivot := v[low+(high-low)/2]
		i, j := low, high
		for i <= j {
			for v[i] < pivot {
				i++
			}
			for v[j] > pivot {
				j--
			}
			if i <= j {
				v[i], v[j] = v[j], v[i]
				i++
				j--
			}
		}
		switch {
		case n-1 <= j:
			high = j
		case n-1 >= i:
			low = i
		default:
			return
		}
	}
}

// dot is the inner product, in four sums that a processor can keep apart. Products are rounded by themselves, so
// that every platform gives the same.
func dot(a, b []float64) float64 {
	var s0, s1, s2, s3 float64
	b = b[:len(a)]
	for len(a) >= 4 {
		s0 += float64(a[0] * b[0])
		s1 += float64(a[1] * b[1])
		s2 += float64(a[2] * b[2])
		s3 += float64(a[3] * b[3])
		a, b = a[4:], b[4:]
	}
	for i := range a {
		s0 += float64(a[i] * b[i])
	}
	return (s0 + s1) + (s2 + s3)
}
