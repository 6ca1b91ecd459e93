package figure

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Histogram shows how often values fall into bins, on a logarithmic axis, so that the one key in ten thousand that
// leaks is seen beside all that do not.
type Histogram struct {
	Title, XLabel string
	YLabel        string  // "" is "count"
	From          float64 // where the first bin begins
	BinWidth      float64
	Counts        []int  // Counts[i] values from From + i BinWidth on, below the next
	Marks         []Mark // vertical lines with their names
	Width         Width
}

// SVG implements Figure.
func (h Histogram) SVG() ([]byte, error) { return svg(h.layout()) }

// PNG implements Figure.
func (h Histogram) PNG() ([]byte, error) { return png(h.layout()) }

// countFloor is where the axis begins: a bin with one value has some height.
const countFloor = 0.6

func (h Histogram) layout() (sheet, error) {
	if !finite(h.From) || !finite(h.edge(len(h.Counts))) || !(h.BinWidth > 0) {
		return sheet{}, fmt.Errorf("histogram: %w: bins from %v of width %v", ErrValue, h.From, h.BinWidth)
	}
	most := 0
	x := nothing.with(h.From).with(h.edge(len(h.Counts)))
	for i, n := range h.Counts {
		if n < 0 {
			return sheet{}, fmt.Errorf("histogram: %w: bin %d counts %d", ErrValue, i+1, n)
		}
		most = max(most, n)
	}
	if most == 0 {
		return sheet{}, fmt.Errorf("histogram: %w: no bin counts anything", ErrEmpty)
	}
	for _, m := range h.Marks {
		x = x.with(m.At)
	}
	x = x.padded(0.03)
	counts := interval{countFloor, float64(most) * 1.5}
	// The names of marks stand above the bars. How many rows they need is found on a panel of about the true size.
	_, rows := placeMarks(h.Marks, x, interval{0, float64(0.84 * h.Width.points())})
	inside := 0.44 * float64(h.Width.points())
	share := 1 - min(markLine*float64(rows)/inside, 0.6)
	y := interval{countFloor, countFloor * math.Pow(counts.hi/countFloor, 1/share)}
	name := h.YLabel
	if name == "" {
		name = "count"
	}
	panel := chart{
		title: h.Title, xLabel: h.XLabel, yLabel: name, x: x, y: y, yLog: true,
		xTicks: linearTicks(x, 9), yTicks: logTicks(counts),
		draw: func(c draw.Canvas, on func(x, y float64) vg.Point) {
			h.drawBars(c, on)
			h.drawMarks(c, x)
		},
	}
	return charts(h.Width, []chart{panel}, 0.62, nil), nil
}

var barColour = color.NRGBA{R: 0x73, G: 0xa7, B: 0xd3, A: 0xff}

func (h Histogram) edge(i int) float64 { return h.From + float64(i)*h.BinWidth }

func (h Histogram) drawBars(c draw.Canvas, on func(x, y float64) vg.Point) {
	for i, n := range h.Counts {
		if n == 0 {
			continue
		}
		a, b := on(h.edge(i), countFloor), on(h.edge(i+1), float64(n))
		fill(c, barColour, a.X, a.Y, b.X, b.Y)
		if b.X-a.X > 4 {
			c.StrokeLines(draw.LineStyle{Color: hues[0], Width: 0.5}, outlineOf(vg.Rectangle{Min: a, Max: b}))
		}
	}
}

const markLine = 8.5

var markStyle = letters(tickSize, ink)

func (h Histogram) drawMarks(c draw.Canvas, x interval) {
	labels, rows := placeMarks(h.Marks, x, interval{float64(c.Min.X), float64(c.Max.X)})
	for _, l := range labels {
		top := c.Max.Y - markLine*vg.Length(rows-1-l.row)
		c.StrokeLine2(draw.LineStyle{Color: hues[1], Width: 0.9, Dashes: []vg.Length{3, 1.4}}, l.x, c.Min.Y, l.x, top)
		write(c, aligned(markStyle, text.XLeft), vg.Point{X: l.from, Y: top - markLine/2}, l.name)
	}
}

// markLabel is where the name of a mark is drawn: beside its line at x, in a row counted from below.
type markLabel struct {
	name        string
	x, from, to vg.Length
	row         int
}

// placeMarks puts each name into the lowest row in which it covers no other name and no other line. x is the range
// of the axis, area where it is on the canvas.
func placeMarks(marks []Mark, x, area interval) (placed []markLabel, rows int) {
	const gap = 2.5
	marks = slices.DeleteFunc(slices.Clone(marks), func(m Mark) bool { return !finite(m.At) })
	slices.SortStableFunc(marks, func(a, b Mark) int { return cmp.Compare(b.At, a.At) })
	var right, left []markLabel // by the side of the line on which the name is
	for _, m := range marks {
		l := markLabel{
			name: fit(markStyle, m.Name, vg.Length(area.hi-area.lo)-2*gap),
			x:    vg.Length(area.lo + (m.At-x.lo)/(x.hi-x.lo)*(area.hi-area.lo)),
		}
		width := markStyle.Width(l.name)
		l.from, l.to = l.x+gap, l.x+gap+width
		// Two names that cover each other's lines have no rows that would do.
		facing := func(o markLabel) bool { return l.covers(o) && o.covers(l) }
		if l.to <= vg.Length(area.hi) && !slices.ContainsFunc(left, facing) {
			right = append(right, l)
			continue
		}
		l.from = max(l.x-gap-width, vg.Length(area.lo))
		l.to = l.from + width
		left = append(left, l)
	}
	// A name goes above those that it reaches over: the ones that reach away from all others come first.
	slices.Reverse(left)
	for _, l := range append(right, left...) {
		for l.row < len(placed) && slices.ContainsFunc(placed, l.collides) {
			l.row++
		}
		placed = append(placed, l)
		rows = max(rows, l.row+1)
	}
	return placed, rows
}

// collides says that a name covers the other, or the part of the other's line that is below the other's row.
func (l markLabel) collides(o markLabel) bool {
	if l.row == o.row {
		return l.from < o.to+4 && o.from < l.to+4 || l.covers(o) || o.covers(l)
	}
	return l.row < o.row && l.covers(o) || l.row > o.row && o.covers(l)
}

func (l markLabel) covers(o markLabel) bool { return l.from-1 < o.x && o.x < l.to+1 }
