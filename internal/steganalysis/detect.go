package steganalysis

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
)

// ErrPairs: there are too few pairs to learn from, or their features do not fit together.
var ErrPairs = errors.New("too few pairs")

// MinPairs is the least number of pairs: half of them train.
const MinPairs = 8

// ridge is what is added to the scatter, relative to its mean diagonal: there are more features than images.
const ridge = 1e-3

// Detection is how well covers and stego images can be told apart.
type Detection struct {
	Pairs int `json:"pairs"` // tested, in each split
	// PE is the least mean of false alarms and misses over thresholds: 0 is certainty. As the threshold is the best
	// one for the images it is tested on, guessing gives not 0.5 but Guessing.
	PE       Estimate `json:"p_e"`
	Guessing float64  `json:"p_e_of_guessing"`
	// AUC is the area under the curve of detections over false alarms: 0.5 is guessing, 1 is certainty.
	AUC Estimate `json:"auc"`
}

// Detect trains a regularised Fisher discriminant on half of the pairs and tests it on the other half, once for each
// seed. Row i of covers and stegos are the features of pair i. The error wraps ErrPairs.
func Detect(covers, stegos [][]float64, seeds []uint64) (Detection, error) {
	return detect(covers, stegos, seeds, func(*rand.Rand) bool { return false })
}

// Null is Detect where nothing can be found, by construction: row i of a and b are two images of pair i that hide nothing,
// and for each seed a coin says of every pair which of the two counts as stego. So whatever tells a from b, the
// classes are alike, there are as many images as in Detect, and what comes out is what guessing gives.
func Null(a, b [][]float64, seeds []uint64) (Detection, error) {
	return detect(a, b, seeds, func(r *rand.Rand) bool { return r.Uint64()&1 == 1 })
}

// detect exchanges the two images of a pair where exchange says so.
func detect(covers, stegos [][]float64, seeds []uint64, exchange func(*rand.Rand) bool) (Detection, error) {
	n := len(covers)
	if n != len(stegos) || n < MinPairs || len(seeds) == 0 {
		return Detection{}, fmt.Errorf("%w: %d covers and %d stego images, need %d of each or more, and a seed", ErrPairs, n, len(stegos), MinPairs)
	}
	for _, row := range slices.Concat(covers, stegos) {
		if len(row) != len(covers[0]) || len(row) == 0 {
			return Detection{}, fmt.Errorf("%w: rows of %d and %d features", ErrPairs, len(covers[0]), len(row))
		}
	}
	var splits []split
	for _, seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 0x5bd1e995))
		order := r.Perm(n)
		negative, positive := slices.Clone(covers), slices.Clone(stegos)
		for i := range n {
			if exchange(r) {
				negative[i], positive[i] = positive[i], negative[i]
			}
		}
		train, test := order[:n/2], order[n/2:]
		w, err := discriminant(pick(negative, train), pick(positive, train))
		if err != nil {
			return Detection{}, err
		}
		splits = append(splits, newSplit(test, project(pick(negative, test), w), project(pick(positive, test), w)))
	}
	d := Detection{Pairs: n - n/2, Guessing: guessing(n - n/2)}
	d.PE, d.AUC = estimates(n, splits)
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
