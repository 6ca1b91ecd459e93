package figure_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"stegomq/report/figure"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-12 }

// Four points on the diagonals: their covariance is ((20, 16), (16, 20)) / 3, whose eigenvalues are 12 along (1, 1)
// and 4/3 along (1, -1).
func TestPCAOfAKnownCovariance(t *testing.T) {
	t.Parallel()
	rows := [][]float64{{103, 3}, {97, -3}, {101, -1}, {99, 1}}
	p, err := figure.PCA(rows, 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Shares) != 2 || !near(p.Shares[0], 0.9) || !near(p.Shares[1], 0.1) {
		t.Errorf("shares %v, want 0.9 and 0.1", p.Shares)
	}
	h := math.Sqrt2 / 2
	for i, want := range [][]float64{{h, h}, {h, -h}} { // both values are as large: the first is positive
		if !near(p.Axes[i][0], want[0]) || !near(p.Axes[i][1], want[1]) {
			t.Errorf("axis %d is %v, want %v", i+1, p.Axes[i], want)
		}
	}
	for i, want := range [][]float64{{6 * h, 0}, {-6 * h, 0}, {0, 2 * h}, {0, -2 * h}} {
		if got := p.Scores[i]; len(got) != 2 || !near(got[0], want[0]) || !near(got[1], want[1]) {
			t.Errorf("scores of row %d are %v, want %v", i+1, got, want)
		}
	}
	if got := p.Label(0); got != "PC1 (90.0 %)" {
		t.Errorf("label %q", got)
	}
}

// Variables keep their unit: the one that varies most is the first component, a constant one is no trouble. The
// largest value of each axis is positive.
func TestPCADoesNotStandardise(t *testing.T) {
	t.Parallel()
	rows := [][]float64{{7, 10, 0}, {7, -10, 1}, {7, 30, 0}, {7, -30, 1}}
	p, err := figure.PCA(rows, 2)
	if err != nil {
		t.Fatal(err)
	}
	if p.Axes[0][1] < 0.99 || p.Shares[0] < 0.99 {
		t.Errorf("axes %v with shares %v: the second variable does not lead", p.Axes, p.Shares)
	}
	if p.Axes[1][2] < 0.99 || !near(p.Axes[0][0], 0) || !near(p.Axes[1][0], 0) {
		t.Errorf("axes %v: want the third variable in the second, the first in none", p.Axes)
	}
}

// More variables than rows, as of features of few images.
func TestPCAOfFewRows(t *testing.T) {
	t.Parallel()
	p, err := figure.PCA([][]float64{{0, 0, 0, 5}, {2, 2, 1, 5}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if !near(p.Shares[0], 1) || !near(p.Scores[1][0]-p.Scores[0][0], 3) {
		t.Errorf("shares %v, scores %v: the rows are 3 apart", p.Shares, p.Scores)
	}
}

func TestPCAErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rows       [][]float64
		components int
		want       error
		say        string
	}{
		{nil, 1, figure.ErrEmpty, "0 rows"},
		{[][]float64{{1, 2}}, 1, figure.ErrEmpty, "1 rows"},
		{[][]float64{{}, {}}, 1, figure.ErrEmpty, "no variables"},
		{[][]float64{{1, 2}, {1}}, 1, figure.ErrShape, "row 2 has 1 values, row 1 has 2"},
		{[][]float64{{1, 2}, {3, 4}}, 3, figure.ErrShape, "have 1 to 2 components, not 3"},
		{[][]float64{{1, 2}, {3, 4}}, 0, figure.ErrShape, "not 0"},
		{[][]float64{{0.1, 2}, {0.1, 2}, {0.1, 2}}, 1, figure.ErrValue, "all rows are equal"},
		{[][]float64{{1, 2}, {1, math.Inf(-1)}}, 1, figure.ErrValue, "row 2, variable 2 is -Inf"},
	} {
		_, err := figure.PCA(tt.rows, tt.components)
		if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.say) {
			t.Errorf("PCA(%v, %d): %v, want one that says %q", tt.rows, tt.components, err, tt.say)
		}
	}
}
