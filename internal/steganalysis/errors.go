package steganalysis

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// Estimate is a figure over the splits.
type Estimate struct {
	Mean float64 `json:"mean"`
	Std  float64 `json:"std"` // of the splits' figures
	N    int     `json:"n"`   // splits
	// Low and High bound the mean at 95 %, by a bootstrap over the pairs: what other test images might give, with the
	// discriminants as they were learnt and, for P_E, the thresholds as they were chosen.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// The percentile bootstrap (Efron and Tibshirani 1993, chapter 13), with a fixed seed.
const (
	resamples    = 2000
	resampleSeed = 0x7370616d
)

// split is the tested half of the pairs, in the order of the discriminant's scores.
type split struct {
	ranked []scored
	own    map[int]float64 // by pair: 1 where its stego image scores higher than its cover, 0.5 where both are equal
	// least is P_E; what ranks below cut counts as cover there.
	least float64
	cut   int
}

// scored is a test image: what the discriminant says, what it is, and its pair.
type scored struct {
	score float64
	stego bool
	pair  int
}

// newSplit takes the scores of the covers and of the stego images of the tested pairs.
func newSplit(pairs []int, negative, positive []float64) split {
	s := split{own: make(map[int]float64)}
	for i, pair := range pairs {
		switch cmp.Compare(positive[i], negative[i]) {
		case 1:
			s.own[pair] = 1
		case 0:
			s.own[pair] = 0.5
		}
		s.ranked = append(s.ranked, scored{negative[i], false, pair}, scored{positive[i], true, pair})
	}
	slices.SortStableFunc(s.ranked, func(a, b scored) int { return cmp.Compare(a.score, b.score) })
	// What scores above the threshold counts as stego; equal scores are on one side.
	s.least = 0.5
	difference := 0
	for i, at := range s.ranked {
		if at.stego {
			difference++
		} else {
			difference--
		}
		last := i+1 == len(s.ranked) || s.ranked[i+1].score != at.score
		if e := (1 + float64(difference)/float64(len(pairs))) / 2; last && e < s.least {
			s.least, s.cut = e, i+1
		}
	}
	return s
}

// errorAtCut is the mean of false alarms and misses when pair i counts times[i] times; 0.5 when no pair of the split
// counts.
func (s split) errorAtCut(times []float64) float64 {
	var all, right float64
	for i, at := range s.ranked {
		all += times[at.pair]
		if at.stego == (i >= s.cut) {
			right += times[at.pair]
		}
	}
	if all == 0 {
		return 0.5
	}
	return 1 - right/all
}

// area is the share of cover and stego pairs in which the stego image scores higher; equal scores are half a pair.
// Pair i counts times[i] times, as different pairs, but against its own cover no more often than that: drawing pairs
// twice must not add comparisons within a pair, which are the easiest.
func (s split) area(times []float64) float64 {
	var below, positive, sum float64 // covers that score less, stego images, and won pairs
	for from := 0; from < len(s.ranked); {
		var covers, stegos float64 // of this score
		to := from
		for ; to < len(s.ranked) && s.ranked[to].score == s.ranked[from].score; to++ {
			if s.ranked[to].stego {
				stegos += times[s.ranked[to].pair]
			} else {
				covers += times[s.ranked[to].pair]
			}
		}
		sum += stegos * (below + covers/2)
		below, positive, from = below+covers, positive+stegos, to
	}
	all := positive * below
	for _, at := range s.ranked {
		if n := times[at.pair]; at.stego {
			sum -= (n*n - n) * s.own[at.pair]
			all -= n*n - n
		}
	}
	if all == 0 {
		return 0.5
	}
	return sum / all
}

// estimates are P_E and the area under the curve of splits of n pairs.
func estimates(n int, splits []split) (pe, auc Estimate) {
	once := slices.Repeat([]float64{1}, n)
	var errors, areas []float64
	for _, s := range splits {
		errors, areas = append(errors, s.least), append(areas, s.area(once))
	}
	pe, auc = estimate(errors), estimate(areas)
	r := rand.New(rand.NewPCG(resampleSeed, uint64(n)))
	means := [2][]float64{make([]float64, resamples), make([]float64, resamples)}
	times := make([]float64, n)
	for b := range resamples {
		clear(times)
		for range n {
			times[r.IntN(n)]++
		}
		for _, s := range splits {
			means[0][b] += s.errorAtCut(times) / float64(len(splits))
			means[1][b] += s.area(times) / float64(len(splits))
		}
	}
	for i, e := range []*Estimate{&pe, &auc} {
		slices.Sort(means[i])
		e.Low = stat.Quantile(0.025, stat.LinInterp, means[i], nil)
		e.High = stat.Quantile(0.975, stat.LinInterp, means[i], nil)
	}
	return pe, auc
}

func estimate(values []float64) Estimate {
	e := Estimate{N: len(values)}
	if e.Mean, e.Std = stat.MeanStdDev(values, nil); e.N < 2 {
		e.Std = 0
	}
	return e
}

// guessing is the P_E that is to be expected of n covers and n stego images whose scores are in random order. Counted up
// for a stego image and down for a cover, a random order is a walk that ends at 0, and P_E is (1 + its minimum / n) / 2; by
// the reflection principle it reaches -k in C(2n, n-k) of the C(2n, n) orders.
func guessing(n int) float64 {
	depth, reaches := 0.0, 1.0
	for k := 1; k <= n; k++ {
		reaches *= float64(n-k+1) / float64(n+k)
		depth += reaches
	}
	return (1 - depth/float64(n)) / 2
}
