package figure

import (
	"image/color"
	"math"
	"slices"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Sizes of text, in points.
const (
	titleSize = 8
	labelSize = 7.5
	tickSize  = 6.5
)

var (
	ink   = color.NRGBA{R: 0x22, G: 0x22, B: 0x22, A: 0xff}
	muted = color.NRGBA{R: 0x66, G: 0x66, B: 0x66, A: 0xff}
	rule  = color.NRGBA{R: 0xdd, G: 0xdd, B: 0xdd, A: 0xff}
)

// letters is the typeface of all figures, centred on the point where it is written. gonum/plot carries it.
func letters(size vg.Length, c color.Color) text.Style {
	return text.Style{
		Color: c, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
		XAlign: draw.XCenter, YAlign: draw.YCenter, Handler: plot.DefaultTextHandler,
	}
}

func bold(size vg.Length) text.Style {
	s := letters(size, ink)
	s.Font.Weight = xfont.WeightBold
	return s
}

func left(s text.Style) text.Style {
	s.XAlign = draw.XLeft
	return s
}

// turned is a style for text that is read upwards.
func turned(s text.Style) text.Style {
	s.Rotation = math.Pi / 2
	return s
}

// hues are the colours that Okabe and Ito proposed for colour-blind readers in 2008, without those that are too light on
// white. Neighbours differ in lightness.
var hues = []color.NRGBA{
	{R: 0x00, G: 0x72, B: 0xb2, A: 0xff}, // blue
	{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff}, // vermilion
	{R: 0x00, G: 0x9e, B: 0x73, A: 0xff}, // bluish green
	{R: 0x22, G: 0x22, B: 0x22, A: 0xff}, // black
	{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff}, // reddish purple
	{R: 0xe6, G: 0x9f, B: 0x00, A: 0xff}, // orange
	{R: 0x56, G: 0xb4, B: 0xe9, A: 0xff}, // sky blue
}

var dashes = [][]vg.Length{
	nil, {4, 1.6}, {5, 1.5, 1.2, 1.5}, {1.2, 1.2}, {7, 2}, {2.5, 1}, {5, 1.2, 1.2, 1.2, 1.2, 1.2}, {1, 2},
}

// shape is the form of a point. Ground is the solid form of an open one, which covers the line below it.
type shape struct{ outline, ground draw.GlyphDrawer }

// shapes alternate between solid and open ones, which differ most in black and white.
var shapes = []shape{
	{draw.CircleGlyph{}, nil}, {draw.TriangleGlyph{}, draw.PyramidGlyph{}}, {draw.BoxGlyph{}, nil}, {draw.CrossGlyph{}, nil},
	{draw.SquareGlyph{}, draw.BoxGlyph{}}, {draw.PyramidGlyph{}, nil}, {draw.RingGlyph{}, draw.CircleGlyph{}}, {draw.PlusGlyph{}, nil},
}

func (s shape) draw(c draw.Canvas, at vg.Point, radius vg.Length, paint color.Color, covers bool) {
	if covers && s.ground != nil {
		c.DrawGlyphNoClip(draw.GlyphStyle{Color: color.White, Radius: radius, Shape: s.ground}, at)
	}
	c.DrawGlyphNoClip(draw.GlyphStyle{Color: paint, Radius: radius, Shape: s.outline}, at)
}

// look is how one series is drawn everywhere in a figure. There are seven hues and eight shapes: no two of the first 56
// series look the same.
type look struct {
	color  color.NRGBA
	shape  shape
	dashes []vg.Length
}

// looks are names in the order of their first appearance, which gives each its look.
type looks []string

func (l *looks) of(name string) look {
	i := slices.Index(*l, name)
	if i < 0 {
		i = len(*l)
		*l = append(*l, name)
	}
	return look{hues[i%len(hues)], shapes[i%len(shapes)], dashes[i%len(dashes)]}
}

func (l look) line() draw.LineStyle {
	return draw.LineStyle{Color: l.color, Width: 1, Dashes: l.dashes}
}

// mark is the line of a Mark: grey, thin, and never solid.
func (l look) mark() draw.LineStyle {
	d := l.dashes
	if d == nil {
		d = []vg.Length{0.8, 1.6}
	}
	return draw.LineStyle{Color: muted, Width: 0.9, Dashes: d}
}

func faded(c color.NRGBA, alpha uint8) color.NRGBA {
	c.A = alpha
	return c
}

func fill(c draw.Canvas, paint color.Color, r vg.Rectangle) {
	c.SetColor(paint)
	c.Fill(r.Path())
}

// outline strokes the edges of a rectangle.
func outline(c draw.Canvas, s draw.LineStyle, r vg.Rectangle) {
	c.StrokeLines(s, []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}, r.Min})
}
