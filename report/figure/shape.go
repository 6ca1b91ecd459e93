package figure

import (
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// shape is the form of a point. Solid and open ones alternate: in black and white that shows first.
type shape int

const (
	disc shape = iota
	openTriangle
	solidSquare
	cross
	openDiamond
	solidTriangle
	ring
	plus
	shapes // how many there are
)

const pointStroke = 0.8

// corners are those of the shapes that have some, for a radius of 1; sized so that areas look alike.
var corners = map[shape][]vg.Point{
	openTriangle:  {{X: -1.05, Y: 0.75}, {X: 1.05, Y: 0.75}, {X: 0, Y: -1.05}},
	solidSquare:   {{X: -0.85, Y: -0.85}, {X: 0.85, Y: -0.85}, {X: 0.85, Y: 0.85}, {X: -0.85, Y: 0.85}},
	openDiamond:   {{X: -1.15, Y: 0}, {X: 0, Y: -1.15}, {X: 1.15, Y: 0}, {X: 0, Y: 1.15}},
	solidTriangle: {{X: -1.1, Y: -0.75}, {X: 1.1, Y: -0.75}, {X: 0, Y: 1.1}},
}

// strokes are the ends of the lines of the shapes that are made of lines, two points each.
var strokes = map[shape][]vg.Point{
	cross: {{X: -0.85, Y: -0.85}, {X: 0.85, Y: 0.85}, {X: -0.85, Y: 0.85}, {X: 0.85, Y: -0.85}},
	plus:  {{X: -1.1, Y: 0}, {X: 1.1, Y: 0}, {X: 0, Y: -1.1}, {X: 0, Y: 1.1}},
}

// draw draws a shape around a point. An open one is filled with ground unless that is nil.
func (s shape) draw(c draw.Canvas, at vg.Point, radius vg.Length, paint, ground color.Color) {
	on := func(p vg.Point) vg.Point { return at.Add(p.Scale(radius)) }
	var path vg.Path
	switch s {
	case disc, ring:
		path.Move(on(vg.Point{X: 1}))
		path.Arc(at, radius, 0, 2*math.Pi)
		path.Close()
	case cross, plus:
		for i := 0; i < len(strokes[s]); i += 2 {
			path.Move(on(strokes[s][i]))
			path.Line(on(strokes[s][i+1]))
		}
	default:
		path.Move(on(corners[s][0]))
		for _, p := range corners[s][1:] {
			path.Line(on(p))
		}
		path.Close()
	}
	switch s {
	case disc, solidSquare, solidTriangle:
		c.SetColor(paint)
		c.Fill(path)
		return
	case ring, openTriangle, openDiamond:
		if ground != nil {
			c.SetColor(ground)
			c.Fill(path)
		}
	}
	c.SetLineStyle(draw.LineStyle{Color: paint, Width: pointStroke})
	c.Stroke(path)
}
