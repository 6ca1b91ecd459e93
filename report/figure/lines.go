package figure

import (
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Series is a line through points, in their order. Series of one name look the same in all panels of a figure.
type Series struct {
	Name   string
	Points [][2]float64 // one that is not finite interrupts the line
	// Intervals are the low and high ends around each point, such as of the 95 % interval of a mean; nil: none. One
	// that is not finite is left out.
	Intervals [][2]float64
	Band      bool // intervals are a shaded band, not bars: for many points
}

// LinePanel is one pair of axes.
type LinePanel struct {
	Title, XLabel, YLabel string
	Series                []Series
	Levels                []Mark // horizontal lines, such as what unrelated images measure
	LogX                  bool   // all x above 0
}

// Lines shows how measures follow a quantity: a JPEG quality, the share of a key that is right, leaked pairs.
type Lines struct {
	Panels []LinePanel
	Width  Width
}

// SVG implements Figure.
func (l Lines) SVG() ([]byte, error) { return svg(l.layout()) }

// PNG implements Figure.
func (l Lines) PNG() ([]byte, error) { return png(l.layout()) }

func (l Lines) layout() (sheet, error) {
	if len(l.Panels) == 0 {
		return sheet{}, fmt.Errorf("lines: %w: there are no panels", ErrEmpty)
	}
	var series, levels looks
	var panels []chart
	for i, p := range l.Panels {
		ch, err := p.chart(&series, &levels)
		if err != nil {
			return sheet{}, fmt.Errorf("lines: %s: %w", nth("panel", i, p.Title), err)
		}
		panels = append(panels, ch)
	}
	var legend []entry
	for _, name := range series.names {
		if name == "" {
			continue
		}
		look := series.of(name)
		legend = append(legend, entry{name, sampleWidth, func(c draw.Canvas, at vg.Point) {
			c.StrokeLine2(look.line(), at.X-sampleWidth/2, at.Y, at.X+sampleWidth/2, at.Y)
			look.shape.draw(c, at, lineRadius, look.color, color.White)
		}})
	}
	for _, name := range levels.names {
		look := levels.of(name)
		legend = append(legend, entry{name, sampleWidth, func(c draw.Canvas, at vg.Point) {
			c.StrokeLine2(look.level(), at.X-sampleWidth/2, at.Y, at.X+sampleWidth/2, at.Y)
		}})
	}
	return charts(l.Width, panels, 0.66, legend), nil
}

const (
	lineRadius  = 2.1
	sampleWidth = 18 // of a line in the legend
)

func (l look) line() draw.LineStyle {
	return draw.LineStyle{Color: l.color, Width: 1, Dashes: l.dashes}
}

// level is the line of a mark: grey, thin, and dotted or dashed as its number says.
func (l look) level() draw.LineStyle {
	d := l.dashes
	if d == nil {
		d = []vg.Length{0.8, 1.6}
	}
	return draw.LineStyle{Color: muted, Width: 0.8, Dashes: d}
}

func (p LinePanel) chart(series, levels *looks) (chart, error) {
	x, y := nothing, nothing
	var xs []float64
	for _, s := range p.Series {
		series.of(s.Name)
		if s.Intervals != nil && len(s.Intervals) != len(s.Points) {
			return chart{}, fmt.Errorf("%w: series %q has %d points and %d intervals", ErrShape, s.Name, len(s.Points),
				len(s.Intervals))
		}
		for j, pt := range s.Points {
			if !finite(pt[0]) || !finite(pt[1]) {
				continue
			}
			if p.LogX && pt[0] < 1e-100 {
				return chart{}, fmt.Errorf("%w: series %q has x = %v, which a logarithmic axis does not: make it a level",
					ErrValue, s.Name, pt[0])
			}
			x, y, xs = x.with(pt[0]), y.with(pt[1]), append(xs, pt[0])
			if lo, hi, ok := s.interval(j); ok {
				y = y.with(lo).with(hi)
			}
		}
	}
	if x.empty() {
		return chart{}, fmt.Errorf("%w: there are no points", ErrEmpty)
	}
	for _, m := range p.Levels {
		levels.of(m.Name)
		y = y.with(m.At)
	}
	y = y.padded(0.06)
	pad := interval.padded
	if p.LogX {
		pad = interval.paddedLog
	}
	x = pad(x, 0.04)
	return chart{
		title: p.Title, xLabel: p.XLabel, yLabel: p.YLabel, x: x, y: y, xLog: p.LogX,
		xTicks: xTicks(x, xs, p.LogX), yTicks: linearTicks(y, 7),
		draw: func(c draw.Canvas, on func(x, y float64) vg.Point) {
			for _, m := range p.Levels {
				if finite(m.At) {
					at := on(x.lo, m.At)
					c.StrokeLine2(levels.of(m.Name).level(), c.Min.X, at.Y, c.Max.X, at.Y)
				}
			}
			for _, s := range p.Series {
				s.drawIntervals(c, series.of(s.Name), on)
			}
			for _, s := range p.Series {
				s.draw(c, series.of(s.Name), on)
			}
		},
	}, nil
}

func (s Series) interval(i int) (lo, hi float64, ok bool) {
	if s.Intervals == nil || !finite(s.Points[i][0]) || !finite(s.Points[i][1]) {
		return 0, 0, false
	}
	lo, hi = s.Intervals[i][0], s.Intervals[i][1]
	return lo, hi, finite(lo) && finite(hi)
}

// stretches are the numbers of the points between gaps.
func (s Series) stretches(has func(i int) bool) [][]int {
	var all [][]int
	var run []int
	for i := range s.Points {
		if has(i) {
			run = append(run, i)
		} else if run != nil {
			all, run = append(all, run), nil
		}
	}
	if run != nil {
		all = append(all, run)
	}
	return all
}

func (s Series) draw(c draw.Canvas, look look, on func(x, y float64) vg.Point) {
	for _, run := range s.stretches(func(i int) bool { return finite(s.Points[i][0]) && finite(s.Points[i][1]) }) {
		var line []vg.Point
		for _, i := range run {
			line = append(line, on(s.Points[i][0], s.Points[i][1]))
		}
		c.StrokeLines(look.line(), line)
		for _, at := range line {
			if len(s.Points) <= 40 { // more are a line by themselves
				look.shape.draw(c, at, lineRadius, look.color, color.White)
			}
		}
	}
}

func (s Series) drawIntervals(c draw.Canvas, look look, on func(x, y float64) vg.Point) {
	const end = 1.8 // half the width of a bar's ends
	has := func(i int) bool { _, _, ok := s.interval(i); return ok }
	for _, run := range s.stretches(has) {
		var low, high []vg.Point
		for _, i := range run {
			low = append(low, on(s.Points[i][0], s.Intervals[i][0]))
			high = append(high, on(s.Points[i][0], s.Intervals[i][1]))
		}
		if s.Band && len(run) > 1 {
			slices.Reverse(low)
			c.FillPolygon(faded(look.color, 0x33), append(high, low...))
			continue
		}
		bar := draw.LineStyle{Color: look.color, Width: 0.7}
		for i := range run {
			c.StrokeLine2(bar, low[i].X, low[i].Y, high[i].X, high[i].Y)
			for _, at := range []vg.Point{low[i], high[i]} {
				c.StrokeLine2(bar, at.X-end, at.Y, at.X+end, at.Y)
			}
		}
	}
}

// xTicks stand where the points are if these are few and far enough from each other, and otherwise at round values.
func xTicks(r interval, xs []float64, log bool) []plot.Tick {
	round := func() []plot.Tick {
		if log {
			return logTicks(r)
		}
		return linearTicks(r, 6)
	}
	slices.Sort(xs)
	xs = slices.Compact(xs)
	if len(xs) > 9 {
		return round()
	}
	axis := plot.Axis{Min: r.lo, Max: r.hi, Scale: plot.LinearScale{}}
	if log {
		axis.Scale = plot.LogScale{}
	}
	var ticks []plot.Tick
	free := -1.0
	for _, x := range xs {
		label := number(x, decimals(x))
		// A character takes about a thirtieth of the narrowest panel.
		half := float64(len(label)+1) / 60
		at := axis.Norm(x)
		if at-half < free {
			return round()
		}
		free = at + half
		ticks = append(ticks, plot.Tick{Value: x, Label: label})
	}
	return ticks
}
