package figure

import (
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Scale is what the colours of a matrix mean: light at Min, dark at Max, which is larger.
type Scale struct {
	Label    string // with the unit
	Min, Max float64
}

// Light and Dark are the ends of every colour scale.
var (
	Light = color.NRGBA{R: 0xf4, G: 0xf7, B: 0xfb, A: 0xff}
	Dark  = color.NRGBA{R: 0x0b, G: 0x2c, B: 0x66, A: 0xff}
)

// ramp are colours at equal steps of the scale, each darker than the one before by about the same to the eye.
var ramp = []color.NRGBA{Light, {R: 0xbb, G: 0xd3, B: 0xe8, A: 0xff}, {R: 0x73, G: 0xa7, B: 0xd3, A: 0xff},
	{R: 0x2f, G: 0x6f, B: 0xb0, A: 0xff}, Dark}

// at is the colour of a value; a value outside the scale has the colour of its end.
func (s Scale) at(v float64) color.NRGBA {
	at := min(max((v-s.Min)/(s.Max-s.Min), 0), 1) * float64(len(ramp)-1)
	i := min(int(at), len(ramp)-2)
	mix := func(a, b uint8) uint8 {
		return uint8(math.Round(float64(a) + (at-float64(i))*(float64(b)-float64(a))))
	}
	a, b := ramp[i], ramp[i+1]
	return color.NRGBA{R: mix(a.R, b.R), G: mix(a.G, b.G), B: mix(a.B, b.B), A: 0xff}
}

// inkOn is the colour of text that can be read on another colour.
func inkOn(c color.NRGBA) color.NRGBA {
	if luminance(c) < 0.179 { // there black and white have the same contrast
		return color.NRGBA{R: 0xff, G: 0xff, B: 0xff, A: 0xff}
	}
	return color.NRGBA{A: 0xff}
}

// luminance is WCAG 2's relative luminance, 0..1.
func luminance(c color.NRGBA) float64 {
	linear := func(v uint8) float64 {
		if x := float64(v) / 255; x > 0.04045 {
			return math.Pow((x+0.055)/1.055, 2.4)
		}
		return float64(v) / 255 / 12.92
	}
	return 0.2126*linear(c.R) + 0.7152*linear(c.G) + 0.0722*linear(c.B)
}

const barWidth = 7

// width is what the bar, its numbers and its label need.
func (s Scale) width() vg.Length {
	var widest vg.Length
	for _, t := range linearTicks(interval{s.Min, s.Max}, 6) {
		widest = max(widest, letters(tickSize, ink).Width(t.Label))
	}
	return barWidth + 4 + widest + 2 + labelSize
}

// draw draws the bar over the height of a canvas, at its left.
func (s Scale) draw(c draw.Canvas) {
	const steps = 128
	height := c.Max.Y - c.Min.Y
	for i := range steps { // each covers all above it, so that there are no seams
		y := c.Min.Y + height*vg.Length(i)/steps
		paint := s.at(s.Min + (s.Max-s.Min)*(float64(i)+0.5)/steps)
		fill(c, paint, vg.Rectangle{Min: vg.Point{X: c.Min.X, Y: y}, Max: vg.Point{X: c.Min.X + barWidth, Y: c.Max.Y}})
	}
	for _, t := range linearTicks(interval{s.Min, s.Max}, 6) {
		y := c.Min.Y + height*vg.Length((t.Value-s.Min)/(s.Max-s.Min))
		c.StrokeLine2(draw.LineStyle{Color: ink, Width: 0.5}, c.Min.X+barWidth, y, c.Min.X+barWidth+2, y)
		write(c, left(letters(tickSize, ink)), vg.Point{X: c.Min.X + barWidth + 4, Y: y}, t.Label)
	}
	style := letters(labelSize, ink)
	write(c, turned(style), vg.Point{X: c.Min.X + s.width() - labelSize/2, Y: c.Center().Y}, fit(style, s.Label, height))
}
