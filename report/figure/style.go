package figure

import (
	"image/color"

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

// letters is the one typeface of all figures, centred where it is put. gonum/plot carries it.
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

func aligned(s text.Style, x text.XAlignment) text.Style {
	s.XAlign = x
	return s
}

// hues are the colours that Okabe and Ito proposed for colour-blind readers in 2008, those that show on white, in an
// order in which neighbours differ in lightness.
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
	nil, {4, 1.6}, {1.2, 1.2}, {5, 1.5, 1.2, 1.5}, {7, 2}, {2.5, 1}, {5, 1.2, 1.2, 1.2, 1.2, 1.2}, {1, 2},
}

// look is how one group or series is drawn everywhere in a figure. There are seven hues and eight shapes, so that
// no two of the first 56 are the same.
type look struct {
	color  color.NRGBA
	shape  shape
	dashes []vg.Length
}

// looks numbers names in the order of their first appearance.
type looks struct {
	names []string
	index map[string]int
}

func (l *looks) of(name string) look {
	i, known := l.index[name]
	if !known {
		if l.index == nil {
			l.index = map[string]int{}
		}
		i = len(l.names)
		l.names, l.index[name] = append(l.names, name), i
	}
	return look{hues[i%len(hues)], shape(i % int(shapes)), dashes[i%len(dashes)]}
}

func faded(c color.NRGBA, alpha uint8) color.NRGBA {
	c.A = alpha
	return c
}
