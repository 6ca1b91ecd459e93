package figure

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Series is a line through points, in their order. Series of one name look the same in all panels of a chart.
type Series struct {
	Name   string
	Points [][2]float64 // a point that is not finite interrupts the line
	// Intervals are the low and the high end around each point, such as the 95 % interval of a mean; nil: none. One that is
	// not finite is left out.
	Intervals [][2]float64
	Dots      bool // draws the points without a line
}

// Bars count values in bins of one width: Counts[i] of them lie from From + i Width on, below the next bin.
type Bars struct {
	From, Width float64
	Counts      []int
}

// Mark is a value to compare with, such as what unrelated images measure.
type Mark struct {
	Name string
	At   float64
}

// Panel is one pair of axes with what is drawn between them.
type Panel struct {
	Title, XLabel, YLabel string
	Series                []Series // a later one is drawn over an earlier one
	// Bars take the place of Series. The axis of their counts is logarithmic, so that one value in ten thousand is seen.
	Bars   *Bars
	Levels []Mark // horizontal lines
	Marks  []Mark // vertical lines
	LogX   bool   // all x are above 0
}

// Chart is one or more panels beside each other, above one legend.
type Chart struct {
	Panels []Panel
	Width  Width
}

// SVG implements Figure. Every point is an element of about 150 bytes.
func (ch Chart) SVG() ([]byte, error) { return svg(ch.layout()) }

// PNG implements Figure.
func (ch Chart) PNG() ([]byte, error) { return png(ch.layout()) }

const (
	margin     = 2 // around every figure, in points
	panelGap   = 9
	countFloor = 0.6 // where the axis of counts begins: a bin with one value has some height
	lineRadius = 2.1 // of a point on a line
	sampleWide = 18  // of a line in the legend
)

var barColour = color.NRGBA{R: 0x73, G: 0xa7, B: 0xd3, A: 0xff}

// layout puts at most two panels in a row of a column, and four in a row of a page.
func (ch Chart) layout() (sheet, error) {
	if len(ch.Panels) == 0 {
		return sheet{}, fmt.Errorf("%w: the chart has no panels", ErrData)
	}
	total, most, aspect := ch.Width.points(), 2, 0.66
	if ch.Width == Page {
		most = 4
	}
	if slices.ContainsFunc(ch.Panels[0].Series, func(s Series) bool { return s.Dots }) {
		aspect = 0.9
	}
	rows := (len(ch.Panels) + most - 1) / most
	cols := (len(ch.Panels) + rows - 1) / rows
	w := (total - 2*margin - panelGap*vg.Length(cols-1)) / vg.Length(cols)
	h := min(max(w*vg.Length(aspect), 110), 200)

	var series, marks looks
	plots := make([][]*plot.Plot, rows)
	titles := make([]string, len(ch.Panels))
	style := bold(titleSize)
	for i, p := range ch.Panels {
		made, err := p.plot(w, h, &series, &marks)
		if err != nil {
			return sheet{}, fmt.Errorf("%w: panel %d %q: %w", ErrData, i+1, p.Title, err)
		}
		plots[i/cols] = append(plots[i/cols], made)
		titles[i] = wrap(style, p.Title, w-30, 2)
	}
	for last := &plots[rows-1]; len(*last) < cols; {
		*last = append(*last, nil) // gonum aligns full rows alone
	}
	head := heightOf(style, titles, 3)
	lines := flow(ch.legend(&series, &marks), total-2*margin)
	foot := legendHeight(lines)
	height := 2*margin + foot + vg.Length(rows)*(head+h) + vg.Length(rows-1)*panelGap
	return sheet{width: total, height: height, draw: func(c draw.Canvas) {
		body := draw.Crop(c, margin, -margin, margin+foot, -margin-head)
		tiles := draw.Tiles{Cols: cols, Rows: rows, PadX: panelGap, PadY: panelGap + head}
		for i, row := range plot.Align(plots, tiles, body) {
			for j, at := range row {
				if p := plots[i][j]; p != nil {
					p.Draw(at)
					data := p.DataCanvas(at)
					write(c, style, vg.Point{X: data.Center().X, Y: data.Max.Y + 1 + head/2}, titles[i*cols+j])
				}
			}
		}
		drawLegend(draw.Crop(c, margin, -margin, margin, foot-height+margin), lines)
	}}, nil
}

// legend names the series and the marks of all panels.
func (ch Chart) legend(series, marks *looks) (all []entry) {
	dots := make(map[string]bool)
	for _, p := range ch.Panels {
		for _, s := range p.Series {
			dots[s.Name] = s.Dots
		}
	}
	line := func(c draw.Canvas, style draw.LineStyle, at vg.Point) {
		c.StrokeLine2(style, at.X-sampleWide/2, at.Y, at.X+sampleWide/2, at.Y)
	}
	for _, name := range *series {
		look := series.of(name)
		switch {
		case name == "":
		case dots[name]:
			all = append(all, entry{name, 6, func(c draw.Canvas, at vg.Point) { look.shape.draw(c, at, 2.6, look.color, false) }})
		default:
			all = append(all, entry{name, sampleWide, func(c draw.Canvas, at vg.Point) {
				line(c, look.line(), at)
				look.shape.draw(c, at, lineRadius, look.color, true)
			}})
		}
	}
	for _, name := range *marks {
		look := marks.of(name)
		all = append(all, entry{name, sampleWide, func(c draw.Canvas, at vg.Point) { line(c, look.mark(), at) }})
	}
	return all
}

// plotter draws the data of a panel; on turns a point of the data into one of the canvas.
type plotter func(c draw.Canvas, on func(x, y float64) vg.Point)

// Plot implements plot.Plotter.
func (d plotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	d(c, func(u, v float64) vg.Point { return vg.Point{X: x(u), Y: y(v)} })
}

// plot makes a plot of a width and a height, and gives every name of the panel its look.
func (p Panel) plot(width, height vg.Length, series, marks *looks) (*plot.Plot, error) {
	x, y, xs, err := p.ranges()
	if err != nil {
		return nil, err
	}
	for _, s := range p.Series {
		series.of(s.Name)
	}
	for _, m := range append(slices.Clone(p.Levels), p.Marks...) {
		marks.of(m.Name)
	}
	made := plot.New()
	yTicks := linearTicks(y, 7)
	if p.Bars != nil {
		yTicks = logTicks(y)
	}
	setAxis(&made.X, x, p.LogX, xTicks(x, xs, p.LogX))
	setAxis(&made.Y, y, p.Bars != nil, yTicks)
	made.X.Label.Text = wrap(made.X.Label.TextStyle, p.XLabel, width-30, 2)
	made.Y.Label.Text = wrap(made.Y.Label.TextStyle, p.YLabel, height-26, 2)
	made.X.Tick.Label.YAlign = draw.YTop
	made.Y.Tick.Label.XAlign = draw.XRight
	made.Add(plotter(func(c draw.Canvas, on func(x, y float64) vg.Point) {
		for _, t := range yTicks {
			if !t.IsMinor() {
				at := on(x.lo, t.Value)
				c.StrokeLine2(draw.LineStyle{Color: rule, Width: 0.4}, c.Min.X, at.Y, c.Max.X, at.Y)
			}
		}
		p.Bars.draw(c, on)
		for _, m := range p.Levels {
			if m.on(p.Bars != nil) {
				at := on(x.lo, m.At)
				c.StrokeLine2(marks.of(m.Name).mark(), c.Min.X, at.Y, c.Max.X, at.Y)
			}
		}
		for _, m := range p.Marks {
			if m.on(p.LogX) {
				at := on(m.At, y.lo)
				c.StrokeLine2(marks.of(m.Name).mark(), at.X, c.Min.Y, at.X, c.Max.Y)
			}
		}
		for _, s := range p.Series {
			s.drawIntervals(c, series.of(s.Name), on)
		}
		for _, s := range p.Series {
			s.draw(c, series.of(s.Name), on)
		}
	}))
	return made, nil
}

// ranges are those of the axes, and the x of all points.
func (p Panel) ranges() (x, y interval, xs []float64, err error) {
	x, y = nothing, nothing
	for _, s := range p.Series {
		for j, pt := range s.Points {
			if !s.has(j) {
				continue
			}
			if p.LogX && pt[0] < 1e-100 {
				return x, y, nil, fmt.Errorf("series %q has x = %v, which a logarithmic axis does not: make it a level", s.Name, pt[0])
			}
			x, y, xs = x.with(pt[0]), y.with(pt[1]), append(xs, pt[0])
			if lo, hi, ok := s.interval(j); ok {
				y = y.with(lo).with(hi)
			}
		}
	}
	if p.Bars != nil {
		if x, err = p.Bars.ends(); err != nil {
			return x, y, nil, err
		}
		y, xs = interval{countFloor, float64(slices.Max(p.Bars.Counts)) * 1.5}, nil
	}
	if x.empty() {
		return x, y, nil, fmt.Errorf("there are no points")
	}
	for _, m := range p.Marks {
		if m.on(p.LogX) {
			x = x.with(m.At)
		}
	}
	if p.Bars == nil {
		for _, m := range p.Levels {
			y = y.with(m.At)
		}
		y = y.padded(0.06)
	}
	if p.LogX {
		return x.paddedLog(0.04), y, xs, nil
	}
	return x.padded(0.04), y, xs, nil
}

// on says whether an axis has a place for the mark.
func (m Mark) on(log bool) bool { return finite(m.At) && (!log || m.At >= 1e-100) }

// ends are where the bins begin and end.
func (b *Bars) ends() (interval, error) {
	end := b.From + float64(len(b.Counts))*b.Width
	switch {
	case len(b.Counts) == 0 || slices.Max(b.Counts) < 1 || slices.Min(b.Counts) < 0:
		return nothing, fmt.Errorf("no bin counts anything, or one counts less than nothing")
	case !finite(b.From) || !finite(end) || !(b.Width > 0):
		return nothing, fmt.Errorf("bins from %v of width %v", b.From, b.Width)
	}
	return interval{b.From, end}, nil
}

func (b *Bars) draw(c draw.Canvas, on func(x, y float64) vg.Point) {
	if b == nil {
		return
	}
	for i, n := range b.Counts {
		if n == 0 {
			continue
		}
		from := b.From + float64(i)*b.Width
		bar := vg.Rectangle{Min: on(from, countFloor), Max: on(from+b.Width, float64(n))}
		fill(c, barColour, bar)
		if bar.Size().X > 4 {
			outline(c, draw.LineStyle{Color: hues[0], Width: 0.5}, bar)
		}
	}
}

// has says whether a point is one that can be drawn.
func (s Series) has(i int) bool { return finite(s.Points[i][0]) && finite(s.Points[i][1]) }

func (s Series) interval(i int) (lo, hi float64, ok bool) {
	if i >= len(s.Intervals) || !s.has(i) {
		return 0, 0, false
	}
	lo, hi = s.Intervals[i][0], s.Intervals[i][1]
	return lo, hi, finite(lo) && finite(hi)
}

// draw draws the points, and between gaps the lines through them.
func (s Series) draw(c draw.Canvas, look look, on func(x, y float64) vg.Point) {
	radius, paint := vg.Length(lineRadius), look.color
	if s.Dots {
		radius, paint = 1.4+0.6*vg.Length(min(1, 400/max(1, len(s.Points)))), faded(look.color, 0xc8)
	}
	var line []vg.Point // since the last gap
	end := func() {
		if !s.Dots && len(line) > 0 {
			c.StrokeLines(look.line(), line)
		}
		for _, at := range line {
			if s.Dots || len(s.Points) <= 40 { // more are a line by themselves
				look.shape.draw(c, at, radius, paint, !s.Dots)
			}
		}
		line = nil
	}
	for i, p := range s.Points {
		if s.has(i) {
			line = append(line, on(p[0], p[1]))
		} else {
			end()
		}
	}
	end()
}

func (s Series) drawIntervals(c draw.Canvas, look look, on func(x, y float64) vg.Point) {
	const end = 1.8 // half the width of a bar's ends
	bar := draw.LineStyle{Color: look.color, Width: 0.7}
	for i, p := range s.Points {
		lo, hi, ok := s.interval(i)
		if !ok {
			continue
		}
		low, high := on(p[0], lo), on(p[0], hi)
		c.StrokeLine2(bar, low.X, low.Y, high.X, high.Y)
		for _, at := range []vg.Point{low, high} {
			c.StrokeLine2(bar, at.X-end, at.Y, at.X+end, at.Y)
		}
	}
}

func setAxis(a *plot.Axis, r interval, log bool, ticks []plot.Tick) {
	a.Min, a.Max = r.lo, r.hi
	if log {
		a.Scale = plot.LogScale{}
	}
	a.Padding = 0
	a.Color, a.Width = ink, 0.6
	a.Label.TextStyle = letters(labelSize, ink)
	a.Label.TextStyle.YAlign = draw.YBottom
	a.Label.Padding = 2
	a.Tick.Label = letters(tickSize, ink)
	a.Tick.Color, a.Tick.Width, a.Tick.Length = ink, 0.5, 2.5
	a.Tick.Marker = plot.ConstantTicks(ticks)
}

// xTicks stand at the points where these are few and far enough from each other, and otherwise at round values.
func xTicks(r interval, xs []float64, log bool) []plot.Tick {
	round := func() []plot.Tick {
		if log {
			return logTicks(r)
		}
		return linearTicks(r, 6)
	}
	slices.Sort(xs)
	xs = slices.Compact(xs)
	if len(xs) == 0 || len(xs) > 9 {
		return round()
	}
	norm := func(x float64) float64 { return (x - r.lo) / (r.hi - r.lo) }
	if log {
		norm = func(x float64) float64 { return math.Log(x/r.lo) / math.Log(r.hi/r.lo) }
	}
	var ticks []plot.Tick
	free := -1.0
	for _, x := range xs {
		label := number(x, decimals(x))
		half := float64(len(label)+1) / 60 // a character takes about a thirtieth of the narrowest panel
		at := norm(x)
		if at-half < free {
			return round()
		}
		free = at + half
		ticks = append(ticks, plot.Tick{Value: x, Label: label})
	}
	return ticks
}
