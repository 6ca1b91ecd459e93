// Package figure owns the drawings of the reports: it turns plain numbers and images into SVG and PNG bytes.
//
// Its invariants:
//
//   - The same input gives the same bytes: no dates, no random ids, no order of a map.
//   - An SVG is one element without a prolog, so that it is a file by itself and can stand inside an HTML page. It holds
//     its images as PNG. Its text is set in a sans-serif font of the reader's.
//   - Colour is never the only difference. Series differ in shape and dashes too, and the colours of matrices grow darker
//     with the value, so that figures can be read in black and white and by colour-blind readers.
//   - A number that is not finite is a gap or an empty cell. What cannot be drawn is an ErrData; nothing panics.
//
// A figure is a struct that the caller fills in. Text has the size that a column of a paper needs (about 7 points at
// 86 mm). A PNG has 300 dots per inch, unless its images ask for another number.
package figure

import (
	"errors"
	"math"

	"gonum.org/v1/plot/vg"
)

// ErrData is the class of errors that speak of the input.
var ErrData = errors.New("this cannot be drawn")

// Figure is what can be drawn: a Chart, a Matrix or a Grid.
type Figure interface {
	// SVG returns the figure as one svg element.
	SVG() ([]byte, error)
	// PNG returns the figure as an opaque PNG.
	PNG() ([]byte, error)
}

// Width is how wide a figure is printed.
type Width int

const (
	// Column is one column of a paper in two columns: 86 mm.
	Column Width = iota
	// Page is both columns: 178 mm.
	Page
)

func (w Width) points() vg.Length {
	if w == Page {
		return 178 * vg.Millimeter
	}
	return 86 * vg.Millimeter
}

// finite also excludes numbers so large that the difference of two of them overflows.
func finite(v float64) bool { return math.Abs(v) < 1e100 }
