package paper

import (
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// principal projects rows on the two directions in which they vary most. It gives their coordinates and the shares of the total
// variance along the directions, which fall; nil where the computation does not converge. There are at least two rows, each of at least two values with the mean 0 over all rows, and not all
// rows are equal.
//
// A direction and its opposite are equally principal: the one is taken whose largest value in magnitude is positive, the first of
// those that are within a billionth of it.
func principal(rows [][]float64) (scores [][2]float64, shares [2]float64) {
	data := mat.NewDense(len(rows), len(rows[0]), nil)
	for i, row := range rows {
		data.SetRow(i, row)
	}
	var pc stat.PC
	if !pc.PrincipalComponents(data, nil) {
		return nil, shares
	}
	variances := pc.VarsTo(nil)
	var total float64
	for _, v := range variances {
		total += v
	}
	var vectors mat.Dense
	pc.VectorsTo(&vectors)
	scores = make([][2]float64, len(rows))
	for k := range shares {
		shares[k] = variances[k] / total
		axis := mat.Col(nil, k, &vectors)
		sign := upward(axis)
		for i, row := range rows {
			for j, a := range axis {
				scores[i][k] += sign * a * row[j]
			}
		}
	}
	return scores, shares
}

// upward is -1 where the largest value of an axis in magnitude is negative, and else +1.
func upward(axis []float64) float64 {
	var largest float64
	for _, v := range axis {
		largest = max(largest, math.Abs(v))
	}
	for _, v := range axis {
		if math.Abs(v) >= largest*(1-1e-9) {
			return math.Copysign(1, v)
		}
	}
	return 1
}
