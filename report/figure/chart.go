package figure

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	margin   = 2 // around every figure, in points
	panelGap = 9
)

// chart is a panel with two axes.
type chart struct {
	title, xLabel, yLabel string
	x, y                  interval
	xTicks, yTicks        []plot.Tick
	xLog, yLog            bool
	draw                  drawer
}

// drawer draws the data of a chart; on turns a point of the data into one of the canvas.
type drawer func(c draw.Canvas, on func(x, y float64) vg.Point)

// Plot implements plot.Plotter.
func (d drawer) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	d(c, func(u, v float64) vg.Point { return vg.Point{X: x(u), Y: y(v)} })
}

// plot makes a plot that is so wide and high.
func (ch chart) plot(width, height vg.Length) *plot.Plot {
	p := plot.New()
	setAxis(&p.X, ch.x, ch.xLog, ch.xTicks)
	setAxis(&p.Y, ch.y, ch.yLog, ch.yTicks)
	p.X.Label.Text = wrap(p.X.Label.TextStyle, ch.xLabel, width-30, 2)
	p.Y.Label.Text = wrap(p.Y.Label.TextStyle, ch.yLabel, height-26, 2)
	p.X.Tick.Label.YAlign = draw.YTop
	p.Y.Tick.Label.XAlign = draw.XRight
	p.Add(drawer(func(c draw.Canvas, on func(x, y float64) vg.Point) {
		line := draw.LineStyle{Color: rule, Width: 0.4}
		for _, t := range ch.yTicks {
			if !t.IsMinor() {
				y := on(ch.x.lo, t.Value).Y
				c.StrokeLine2(line, c.Min.X, y, c.Max.X, y)
			}
		}
	}), ch.draw)
	return p
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

// charts lays panels out beside each other, at most so many in a row, above a legend. aspect is a panel's height as
// a share of its width.
func charts(width Width, panels []chart, aspect float64, legend []entry) sheet {
	total, most := width.points(), 2
	if width == Page {
		most = 4
	}
	rows := (len(panels) + most - 1) / most
	cols := (len(panels) + rows - 1) / rows
	w := (total - 2*margin - panelGap*vg.Length(cols-1)) / vg.Length(cols)
	h := min(max(w*vg.Length(aspect), 110), 200)

	titles := make([]string, len(panels))
	head := vg.Length(0)
	style := bold(titleSize)
	plots := make([][]*plot.Plot, rows)
	for i := range plots {
		plots[i] = make([]*plot.Plot, cols)
	}
	for i, p := range panels {
		plots[i/cols][i%cols] = p.plot(w, h)
		if p.title != "" {
			titles[i] = wrap(style, p.title, w-30, 2)
			head = max(head, style.Height(titles[i])+3)
		}
	}
	lines := flow(legend, total-2*margin)
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
	}}
}

// entry is a name in a legend, and what draws a sample of it around a point.
type entry struct {
	name   string
	wide   vg.Length // of the sample
	sample func(c draw.Canvas, at vg.Point)
}

const (
	legendLine   = 10.5
	legendSpaces = 11 // between entries
)

var legendStyle = letters(labelSize-0.5, ink)

func (e entry) width() vg.Length { return e.wide + 3 + legendStyle.Width(e.name) }

// flow breaks a legend into lines; a name longer than a line is shortened.
func flow(legend []entry, width vg.Length) [][]entry {
	var lines [][]entry
	var used vg.Length
	for _, e := range legend {
		e.name = fit(legendStyle, e.name, width-e.wide-3)
		need := e.width()
		if len(lines) == 0 || used+legendSpaces+need > width {
			lines, used = append(lines, nil), -legendSpaces
		}
		last := len(lines) - 1
		lines[last] = append(lines[last], e)
		used += legendSpaces + need
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
		width := vg.Length(-legendSpaces)
		for _, e := range line {
			width += legendSpaces + e.width()
		}
		at := vg.Point{X: c.Center().X - width/2, Y: c.Min.Y + legendLine*(vg.Length(len(lines)-i)-0.5)}
		for _, e := range line {
			e.sample(c, vg.Point{X: at.X + e.wide/2, Y: at.Y})
			write(c, aligned(legendStyle, text.XLeft), vg.Point{X: at.X + e.wide + 3, Y: at.Y}, e.name)
			at.X += legendSpaces + e.width()
		}
	}
}
