package figure

import (
	"image/color"
	"math"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Heat is one matrix, such as the confusion matrix of K keys: rows are the keys that embedded, columns those that
// decoded. Without cells it is a blank, for what was not measured.
type Heat struct {
	Title         string
	Rows, Columns []string // labels, or nil
	Cells         [][]Cell // by rows, all of one length
}

// Cell is one value of a matrix. One that is not finite has no colour.
type Cell struct {
	Value float64
	Lines []string // what is written in the cell, the second line smaller; nil: the value with two decimals
}

// Pair is the cell of the paper's Fig. 5: PSNR in dB, which gives the colour, above SSIM.
func Pair(psnr, ssim float64) Cell {
	return Cell{Value: psnr, Lines: []string{reading(psnr, 2), reading(ssim, 3)}}
}

func reading(v float64, digits int) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case math.IsInf(v, 1):
		return "∞"
	case math.IsInf(v, -1):
		return "−∞"
	}
	return number(v, digits)
}

// lineShare is how large a line of a cell is beside the first.
func lineShare(line int) vg.Length {
	if line > 0 {
		return 0.86
	}
	return 1
}

func (c Cell) lines() []string {
	if c.Lines == nil {
		return []string{reading(c.Value, 2)}
	}
	return c.Lines
}

// noColour is the ground of what is not finite.
var noColour = color.NRGBA{R: 0xff, G: 0xff, B: 0xff, A: 0xff}

func (h Heat) draw(c draw.Canvas, row heatRow, col heatColumn, scale Scale, size vg.Length) {
	write(c, bold(titleSize), vg.Point{X: c.Center().X, Y: c.Max.Y + row.labels + row.title/2},
		fit(bold(titleSize), h.Title, col.width()+heatGap))
	if len(h.Cells) == 0 {
		c.StrokeLines(draw.LineStyle{Color: rule, Width: 0.6}, outlineOf(c.Rectangle))
		write(c, letters(tickSize, muted), c.Center(), wrap(heatLabel, "not measured", col.width(), 2))
		return
	}
	for i, cells := range h.Cells {
		y := c.Max.Y - cellHeight*(vg.Length(i)+0.5)
		if h.Rows != nil {
			write(c, aligned(heatLabel, text.XRight), vg.Point{X: c.Min.X - 3, Y: y}, fit(heatLabel, h.Rows[i], longestName))
		}
		for j, cell := range cells {
			cell.draw(c, vg.Point{X: c.Min.X + cellWidth*(vg.Length(j)+0.5), Y: y}, scale, size)
		}
	}
	for j, l := range h.Columns {
		at := vg.Point{X: c.Min.X + cellWidth*(vg.Length(j)+0.5), Y: c.Max.Y + 2 + tickSize/2}
		style := heatLabel
		if row.turned {
			at.Y = c.Max.Y + 2
			style.Rotation, style.XAlign = math.Pi/2, text.XLeft
		}
		write(c, style, at, fit(heatLabel, l, longestName))
	}
}

func (c Cell) draw(on draw.Canvas, centre vg.Point, scale Scale, size vg.Length) {
	const half, seam = 0.5, 0.25
	paint := noColour
	if finite(c.Value) {
		paint = scale.at(c.Value)
	}
	box := vg.Rectangle{
		Min: vg.Point{X: centre.X - half*cellWidth + seam, Y: centre.Y - half*cellHeight + seam},
		Max: vg.Point{X: centre.X + half*cellWidth - seam, Y: centre.Y + half*cellHeight - seam},
	}
	fill(on, paint, box.Min.X, box.Min.Y, box.Max.X, box.Max.Y)
	if paint == noColour {
		on.StrokeLines(draw.LineStyle{Color: rule, Width: 0.5}, outlineOf(box))
	}
	lines := c.lines()
	for i, l := range lines {
		style := letters(size*lineShare(i), inkOn(paint))
		y := centre.Y + (vg.Length(len(lines)-1)/2-vg.Length(i))*size*1.14
		write(on, style, vg.Point{X: centre.X, Y: y}, l)
	}
}

func outlineOf(r vg.Rectangle) []vg.Point {
	return []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}, r.Min}
}
