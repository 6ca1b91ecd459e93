package figure

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// Projection is what PCA makes of n observations of d variables, for c components.
type Projection struct {
	// Scores are the observations in the new axes, n x c, in the unit of the variables; each column's mean is 0.
	Scores [][]float64
	// Shares are the parts of the total variance along each axis, c values of 0..1 that fall.
	Shares []float64
	// Axes are the directions, c x d, each of length 1. Their largest value is positive.
	Axes [][]float64
}

// PCA finds the directions in which observations (rows, n x d) vary most.
//
// Variables are centred and not standardised. They are activations of one layer and so in one unit: distances in
// the plot are distances between features, as the network's next layer sees them. Scaling each to a variance of 1
// would raise channels in which there is only noise to the height of those that carry the image, and a channel that
// is always 0 has no scale at all.
//
// A direction and its opposite are equally principal: the one is taken whose largest value in magnitude is positive, the
// first of those that are within a billionth of it.
//
// The error wraps ErrEmpty (fewer than two rows, no variables), ErrShape (ragged rows; more components than rows
// or variables) or ErrValue (not finite; all rows equal).
func PCA(rows [][]float64, components int) (Projection, error) {
	data, err := observations(rows)
	if err != nil {
		return Projection{}, fmt.Errorf("PCA: %w", err)
	}
	n, d := data.Dims()
	if components < 1 || components > min(n, d) {
		return Projection{}, fmt.Errorf("PCA: %w: %d rows of %d variables have 1 to %d components, not %d", ErrShape, n, d,
			min(n, d), components)
	}
	var pc stat.PC
	if !pc.PrincipalComponents(data, nil) {
		return Projection{}, fmt.Errorf("PCA: %w: the singular values of the rows do not converge", ErrValue)
	}
	variances := pc.VarsTo(nil)
	var total float64
	for _, v := range variances {
		total += v
	}
	if total == 0 {
		return Projection{}, fmt.Errorf("PCA: %w: all rows are equal, so that no direction is principal", ErrValue)
	}
	var vectors mat.Dense
	pc.VectorsTo(&vectors)

	p := Projection{Scores: make([][]float64, n)}
	for k := range components {
		axis := mat.Col(nil, k, &vectors)
		pointUp(axis)
		p.Axes = append(p.Axes, axis)
		p.Shares = append(p.Shares, variances[k]/total)
	}
	for i := range p.Scores {
		for _, axis := range p.Axes {
			var score float64
			for j, a := range axis {
				score += a * data.At(i, j)
			}
			p.Scores[i] = append(p.Scores[i], score)
		}
	}
	return p, nil
}

// Label names an axis with its share of the variance: "PC1 (61.3 %)".
func (p Projection) Label(component int) string {
	return fmt.Sprintf("PC%d (%.1f %%)", component+1, 100*p.Shares[component])
}

// observations returns rows as a matrix whose columns have the mean 0.
func observations(rows [][]float64) (*mat.Dense, error) {
	if len(rows) < 2 {
		return nil, fmt.Errorf("%w: %d rows; variance needs two or more", ErrEmpty, len(rows))
	}
	d := len(rows[0])
	if d == 0 {
		return nil, fmt.Errorf("%w: the rows have no variables", ErrEmpty)
	}
	data := mat.NewDense(len(rows), d, nil)
	for i, row := range rows {
		if len(row) != d {
			return nil, fmt.Errorf("%w: row %d has %d values, row 1 has %d", ErrShape, i+1, len(row), d)
		}
		for j, v := range row {
			if !finite(v) {
				return nil, fmt.Errorf("%w: row %d, variable %d is %v", ErrValue, i+1, j+1, v)
			}
			data.Set(i, j, v)
		}
	}
	for j := range d {
		// The first row is taken away first: equal rows then give zeros, not what rounding leaves of a mean.
		first := rows[0][j]
		var rest float64
		for i := range rows {
			rest += (rows[i][j] - first) / float64(len(rows))
		}
		for i := range rows {
			data.Set(i, j, rows[i][j]-first-rest)
		}
	}
	return data, nil
}

func pointUp(axis []float64) {
	var largest float64
	for _, v := range axis {
		largest = max(largest, math.Abs(v))
	}
	for _, v := range axis {
		if math.Abs(v) < largest*(1-1e-9) {
			continue
		}
		if v < 0 {
			for j := range axis {
				axis[j] = -axis[j]
			}
		}
		return
	}
}
