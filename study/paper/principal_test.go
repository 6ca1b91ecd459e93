package paper

import (
	"math"
	"testing"
)

func close12(a, b float64) bool { return math.Abs(a-b) < 1e-12 }

// Four points on the diagonals: their covariance is ((20, 16), (16, 20)) / 3, whose eigenvalues are 12 along (1, 1)
// and 4/3 along (1, -1).
func TestPrincipalComponentsOfAKnownCovariance(t *testing.T) {
	t.Parallel()
	scores, shares := principal([][]float64{{3, 3}, {-3, -3}, {1, -1}, {-1, 1}})
	if !close12(shares[0], 0.9) || !close12(shares[1], 0.1) {
		t.Errorf("shares %v, want 0.9 and 0.1", shares)
	}
	h := math.Sqrt2 / 2
	for i, want := range [][2]float64{{6 * h, 0}, {-6 * h, 0}, {0, 2 * h}, {0, -2 * h}} { // of two values that are as large, the first is positive
		if got := scores[i]; !close12(got[0], want[0]) || !close12(got[1], want[1]) {
			t.Errorf("scores of row %d are %v, want %v", i+1, got, want)
		}
	}
}

// The variable that varies most is the first component, a constant one is no trouble, and the largest value of each axis is positive.
func TestPrincipalComponentsKeepTheUnit(t *testing.T) {
	t.Parallel()
	scores, shares := principal([][]float64{{0, 10, -0.5}, {0, -10, 0.5}, {0, 30, -0.5}, {0, -30, 0.5}})
	if shares[0] < 0.99 || scores[2][0] < 29 || scores[1][1] < 0.1 {
		t.Errorf("shares %v, scores %v: want the second variable first, and both upwards", shares, scores)
	}
}

// More variables than rows, as of features of few images.
func TestPrincipalComponentsOfFewRows(t *testing.T) {
	t.Parallel()
	scores, shares := principal([][]float64{{-1, -1, -0.5, 0}, {1, 1, 0.5, 0}})
	if !close12(shares[0], 1) || !close12(scores[1][0]-scores[0][0], 3) {
		t.Errorf("shares %v, scores %v: the rows are 3 apart", shares, scores)
	}
}
