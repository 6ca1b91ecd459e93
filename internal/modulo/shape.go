package modulo

import (
	"math"

	"stegomq/internal/dct"
)

// If each sample of a block is rounded to the nearest whole number, every coefficient has an error of variance 1/12. Some coefficients can
// afford a larger error; those that weigh most in the secret need a smaller one. So samples are rounded one after another, and each takes the
// errors of those before it into account: noise shaping, by the nearest plane of Babai (1986) for the weighted error. The mean of the
// logarithms of the weighted errors stays the same, and their sum becomes nearly the least that this allows. On training photographs the
// secret gains 4 to 6 dB.

// shape makes the feedback for weights of the coefficients of a block, and the variance of each coefficient's error. Sample i,
// counted down, is rounded after feedback[j][i] times the error of each sample j > i was taken off.
func shape(weight []float64) (feedback [][]float64, variance []float64) {
	n := len(weight)
	basis := make([][]float64, n) // of each sample the coefficients
	block := dct.NewBlock(side, dct.Luma)
	zero, one := make([]float64, n), make([]float64, n)
	block.Forward(zero, make([]float64, n))
	for i := range basis {
		unit := make([]float64, n)
		unit[i] = 1
		block.Forward(one, unit)
		basis[i] = make([]float64, n)
		for f := range one {
			basis[i][f] = one[f] - zero[f]
		}
	}
	// The Gram matrix of the weighted basis, G = U^T D U with U unit upper triangular, found row by row.
	u := make([][]float64, n)
	diagonal := make([]float64, n)
	weighted := make([]float64, n)
	for i := range n {
		u[i] = make([]float64, n)
		for f, w := range weight {
			weighted[f] = w * basis[i][f]
		}
		for j := i; j < n; j++ {
			sum := 0.
			for f, v := range weighted {
				sum += v * basis[j][f]
			}
			for k := range i {
				sum -= u[k][i] * u[k][j] * diagonal[k]
			}
			u[i][j] = sum
		}
		diagonal[i] = u[i][i]
		for j := i; j < n; j++ {
			u[i][j] /= diagonal[i]
		}
	}
	feedback = make([][]float64, n)
	for j := range feedback {
		feedback[j] = make([]float64, j)
		for i := range j {
			feedback[j][i] = u[i][j]
		}
	}
	// What is left over at each sample, uniform over one, goes into the others by the inverse of U, and from there into the coefficients.
	variance = make([]float64, n)
	effect := make([]float64, n)
	coefficients := make([]float64, n)
	for j := range n {
		clear(effect)
		clear(coefficients)
		effect[j] = 1
		for i := j; i >= 0; i-- {
			for k := range i {
				effect[k] -= u[k][i] * effect[i]
			}
			for f, v := range basis[i] {
				coefficients[f] += effect[i] * v
			}
		}
		for f, v := range coefficients {
			variance[f] += v * v * rounding
		}
	}
	return feedback, variance
}

// whole rounds the samples of a block, in place and within 0..255. Where low is 0 or 1 the sample gets that lowest bit. pending
// is room for as many.
func whole(samples []float64, feedback [][]float64, low []byte, pending []float64) {
	clear(pending)
	for j := len(samples) - 1; j >= 0; j-- {
		want := samples[j] - pending[j]
		got := math.Floor(min(max(want, 0), 255) + 0.5)
		if bit := float64(low[j]); low[j] <= 1 {
			got = 2*math.Floor(min(max((want-bit)/2, 0), 127)+0.5) + bit
		}
		miss := got - samples[j]
		samples[j] = got
		row := feedback[j]
		others := pending[:len(row)]
		for i, v := range row {
			others[i] += v * miss
		}
	}
}
