package steganalysis

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// ErrPairs: there are too few pairs to learn from, or their features do not fit together.
var ErrPairs = errors.New("too few pairs")

// minPairs is the least number of pairs: half of them train.
const minPairs = 8

// ridge is what is added to the scatter, relative to its mean diagonal: there are more features than images.
const ridge = 1e-3

// Detection is how well covers and stego images can be told apart.
type Detection struct {
	Pairs int     `json:"pairs"` // tested, in each split
	PE    Moments `json:"p_e"`   // the least mean of false alarms and misses: 0.5 is guessing, 0 is certainty
	AUC   Moments `json:"auc"`   // area under the curve of detections over false alarms: 0.5 is guessing, 1 is certainty
}

// Moments are over the splits.
type Moments struct {
	Mean float64 `json:"mean"`
	Std  float64 `json:"std"`
}

// Detect trains a regularised Fisher discriminant on half of the pairs and tests it on the other half, once for each
// seed. Row i of covers and stegos are the features of pair i.
func Detect(covers, stegos [][]float64, seeds []uint64) (Detection, error) {
	n := len(covers)
	if n != len(stegos) || n < minPairs {
		return Detection{}, fmt.Errorf("%w: %d covers and %d stego images, need %d of each or more", ErrPairs, n, len(stegos), minPairs)
	}
	for _, row := range slices.Concat(covers, stegos) {
		if len(row) != len(covers[0]) || len(row) == 0 {
			return Detection{}, fmt.Errorf("%w: rows of %d and %d features", ErrPairs, len(covers[0]), len(row))
		}
	}
	var pe, auc []float64
	for _, seed := range seeds {
		order := rand.New(rand.NewPCG(seed, 0x5bd1e995)).Perm(n)
		train, test := order[:n/2], order[n/2:]
		w, err := discriminant(pick(covers, train), pick(stegos, train))
		if err != nil {
			return Detection{}, err
		}
		negative, positive := project(pick(covers, test), w), project(pick(stegos, test), w)
		pe, auc = append(pe, leastError(negative, positive)), append(auc, areaUnderCurve(negative, positive))
	}
	d := Detection{Pairs: n - n/2}
	d.PE.Mean, d.PE.Std = stat.MeanStdDev(pe, nil)
	d.AUC.Mean, d.AUC.Std = stat.MeanStdDev(auc, nil)
	return d, nil
}

func pick(rows [][]float64, which []int) [][]float64 {
	picked := make([][]float64, len(which))
	for i, at := range which {
		picked[i] = rows[at]
	}
	return picked
}

// discriminant is (S + r I)^-1 (m1 - m0), S the scatter within the classes (Fisher 1936). With n rows and far more
// features it is solved in the space of the rows (the Woodbury identity): n x n instead of features x features.
func discriminant(covers, stegos [][]float64) ([]float64, error) {
	features, n := len(covers[0]), len(covers)+len(stegos)
	direction := make([]float64, features)
	centred := mat.NewDense(n, features, nil)
	row := 0
	for class, rows := range [][][]float64{covers, stegos} {
		mean := make([]float64, features)
		for _, r := range rows {
			for i, v := range r {
				mean[i] += v / float64(len(rows))
			}
		}
		for _, r := range rows {
			for i, v := range r {
				centred.Set(row, i, v-mean[i])
			}
			row++
		}
		for i, v := range mean {
			direction[i] += float64(2*class-1) * v
		}
	}
	var gram mat.SymDense
	gram.SymOuterK(1, centred)
	r := ridge*mat.Trace(&gram)/float64(features) + 1e-300
	for i := range n {
		gram.SetSym(i, i, gram.At(i, i)+r)
	}
	var factor mat.Cholesky
	if !factor.Factorize(&gram) {
		return nil, fmt.Errorf("%w: the features hold what is not a number", ErrPairs)
	}
	d := mat.NewVecDense(features, direction)
	var small, back mat.VecDense
	small.MulVec(centred, d)
	if err := factor.SolveVecTo(&small, &small); err != nil {
		return nil, fmt.Errorf("fisher discriminant: %w", err)
	}
	back.MulVec(centred.T(), &small)
	d.SubVec(d, &back) // up to the factor 1/r, which moves no rank
	return d.RawVector().Data, nil
}

func project(rows [][]float64, w []float64) []float64 {
	scores := make([]float64, len(rows))
	for i, row := range rows {
		for j, v := range row {
			scores[i] += v * w[j]
		}
	}
	return scores
}

// scored is a test image: what the discriminant says, and what it is.
type scored struct {
	score float64
	stego bool
}

func ranked(negative, positive []float64) []scored {
	var all []scored
	for _, v := range negative {
		all = append(all, scored{v, false})
	}
	for _, v := range positive {
		all = append(all, scored{v, true})
	}
	slices.SortFunc(all, func(a, b scored) int { return cmp.Compare(a.score, b.score) })
	return all
}

// leastError is P_E, the minimum over thresholds of (false alarms + misses) / 2. What scores above the threshold
// counts as stego; equal scores are on one side.
func leastError(negative, positive []float64) float64 {
	falseAlarms, misses := 1.0, 0.0
	least := 0.5
	all := ranked(negative, positive)
	for i, s := range all {
		if s.stego {
			misses += 1 / float64(len(positive))
		} else {
			falseAlarms -= 1 / float64(len(negative))
		}
		if i+1 == len(all) || all[i+1].score != s.score {
			least = min(least, (falseAlarms+misses)/2)
		}
	}
	return max(0, least)
}

// areaUnderCurve is the share of cover and stego pairs in which the stego image scores higher; equal scores are
// half a pair.
func areaUnderCurve(negative, positive []float64) float64 {
	sum := 0.0
	for _, p := range positive {
		for _, n := range negative {
			switch {
			case p > n:
				sum++
			case p == n:
				sum += 0.5
			}
		}
	}
	return sum / float64(len(positive)*len(negative))
}
