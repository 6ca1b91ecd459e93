// Package figure owns the charts of the reports: it turns plain numbers and images into SVG and PNG bytes.
//
// Its invariants:
//
//   - The same input gives the same bytes: no dates, no random ids, nothing in the order of a map.
//   - An SVG is one element without a prolog, so that it is a file by itself and can stand in the middle of an HTML
//     page. It carries its images as PNG. Its text is set in a sans-serif font of the reader's, of known widths where
//     there is one.
//   - Colour is never the only difference: groups and series differ in shape and dashes too, and the colours of
//     matrices grow darker with the value. Figures can be read in black and white and by colour-blind readers.
//   - A number that is not finite is a gap or an empty cell. What cannot be drawn at all is an error that says what
//     is missing; nothing panics.
//
// Every figure is a struct that is filled in and asked for its bytes. Text has the size that a paper's column needs
// (about 7 points at 86 mm); a PNG has 300 dots per inch unless its images say otherwise.
package figure

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/plot/vg"
)

// Every error of this package that speaks of the input wraps one of these.
var (
	// ErrEmpty: there is nothing to draw.
	ErrEmpty = errors.New("nothing to draw")
	// ErrShape: parts that do not go together.
	ErrShape = errors.New("sizes do not go together")
	// ErrValue: a number that the figure has no place for.
	ErrValue = errors.New("impossible value")
)

// Figure is what can be drawn.
type Figure interface {
	// SVG returns the figure as one svg element.
	SVG() ([]byte, error)
	// PNG returns the figure as an opaque PNG.
	PNG() ([]byte, error)
}

var (
	_ Figure = Scatter{}
	_ Figure = Lines{}
	_ Figure = Histogram{}
	_ Figure = Matrix{}
	_ Figure = Grid{}
)

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

// Mark is a value to compare with, such as what unrelated images measure.
type Mark struct {
	Name string
	At   float64
}

// finite also leaves out numbers so large that the difference of two of them overflows.
func finite(v float64) bool { return math.Abs(v) < 1e100 }

// nth names the part of a figure that an error is about.
func nth(what string, i int, title string) string {
	if title == "" {
		return fmt.Sprintf("%s %d", what, i+1)
	}
	return fmt.Sprintf("%s %d (%q)", what, i+1, title)
}
