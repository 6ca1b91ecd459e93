package figure

import (
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// entry is a name in a legend. sample draws a sample of it, wide points wide, around a point.
type entry struct {
	name   string
	wide   vg.Length
	sample func(c draw.Canvas, at vg.Point)
}

const (
	legendLine  = 10.5
	legendSpace = 11 // between entries
)

var legendStyle = left(letters(labelSize-0.5, ink))

func (e entry) width() vg.Length { return e.wide + 3 + legendStyle.Width(e.name) }

// flow breaks a legend into lines; a name longer than a line is shortened.
func flow(legend []entry, width vg.Length) (lines [][]entry) {
	var used vg.Length
	for _, e := range legend {
		e.name = fit(legendStyle, e.name, width-e.wide-3)
		if len(lines) == 0 || used+legendSpace+e.width() > width {
			lines, used = append(lines, nil), -legendSpace
		}
		last := len(lines) - 1
		lines[last] = append(lines[last], e)
		used += legendSpace + e.width()
	}
	return lines
}

func legendHeight(lines [][]entry) vg.Length {
	if len(lines) == 0 {
		return 0
	}
	return 5 + legendLine*vg.Length(len(lines))
}

// drawLegend centres the lines of a legend at the foot of a canvas.
func drawLegend(c draw.Canvas, lines [][]entry) {
	for i, line := range lines {
		width := vg.Length(-legendSpace)
		for _, e := range line {
			width += legendSpace + e.width()
		}
		at := vg.Point{X: c.Center().X - width/2, Y: c.Min.Y + legendLine*(vg.Length(len(lines)-i)-0.5)}
		for _, e := range line {
			e.sample(c, vg.Point{X: at.X + e.wide/2, Y: at.Y})
			write(c, legendStyle, vg.Point{X: at.X + e.wide + 3, Y: at.Y}, e.name)
			at.X += legendSpace + e.width()
		}
	}
}
