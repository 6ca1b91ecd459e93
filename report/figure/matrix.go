package figure

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Cell is PSNR in dB, which gives the colour, above SSIM. A cell whose PSNR is not finite has no colour.
type Cell struct {
	PSNR float64 `json:"psnr"`
	SSIM float64 `json:"ssim"`
}

// Heat is one matrix by rows, which may differ in length: a row for each key that embedded, a column for each that decoded.
// Without rows it is a frame that says "not measured".
type Heat [][]Cell

// Matrix shows matrices in a grid with one scale of colours, as the paper's Fig. 5 does: a column for every K, a row for
// every alpha. It is as wide as its cells need; the matrix of 8 keys fits a column of a paper.
type Matrix struct {
	Panels                  [][]Heat // by rows, which may differ in length
	RowTitles, ColumnTitles []string // of the grid
	RowsAre, ColumnsAre     string   // what the rows and columns of all matrices are, such as "decoded with"
	Scale                   Scale
}

// SVG implements Figure.
func (m Matrix) SVG() ([]byte, error) { return svg(m.layout()) }

// PNG implements Figure.
func (m Matrix) PNG() ([]byte, error) { return png(m.layout()) }

const (
	cellWidth  = 24.5
	cellHeight = 20
	heatGap    = 9 // between matrices
)

// layout places, from left to right, what rows are, the titles of rows, the matrices and the bar of colours; and from the top the
// same of columns.
func (m Matrix) layout() (sheet, error) {
	rows, columns := m.sides()
	if s := m.Scale; len(rows) == 0 || len(columns) == 0 || !finite(s.Min) || !finite(s.Max) || s.Max-s.Min < 1e-90 {
		return sheet{}, fmt.Errorf("%w: the matrix has %d rows of panels, of cells, and a scale from %v to %v", ErrData, len(rows), s.Min, s.Max)
	}
	extent := func(cells []int, each vg.Length) vg.Length {
		sum := vg.Length(-heatGap)
		for _, n := range cells {
			sum += heatGap + each*vg.Length(n)
		}
		return sum
	}
	width, height := extent(columns, cellWidth), extent(rows, cellHeight)
	room := func(titles []string) vg.Length { // what rows or columns are, and their titles
		if len(titles) == 0 {
			return margin + labelSize + 3
		}
		return margin + labelSize + 3 + titleSize + 4
	}
	grid := vg.Rectangle{Min: vg.Point{X: room(m.RowTitles), Y: margin}}
	grid.Max = grid.Min.Add(vg.Point{X: width, Y: height})
	s := sheet{width: grid.Max.X + heatGap + m.Scale.width() + margin, height: grid.Max.Y + room(m.ColumnTitles)}
	s.draw = func(c draw.Canvas) {
		label, title := letters(labelSize, ink), bold(titleSize)
		// A name that is longer than the cells is moved onto the sheet.
		name := func(words string, middle, edge vg.Length) (string, vg.Length) {
			words = fit(label, words, edge-2*margin)
			half := label.Width(words)/2 + margin
			return words, max(min(middle, edge-half), half)
		}
		columnsAre, x := name(m.ColumnsAre, grid.Min.X+width/2, s.width)
		write(c, label, vg.Point{X: x, Y: s.height - margin - labelSize/2}, columnsAre)
		rowsAre, y := name(m.RowsAre, grid.Min.Y+height/2, s.height)
		write(c, turned(label), vg.Point{X: margin + labelSize/2, Y: y}, rowsAre)
		y = grid.Max.Y
		for i, n := range rows {
			high := cellHeight * vg.Length(n)
			if i < len(m.RowTitles) {
				write(c, turned(title), vg.Point{X: grid.Min.X - 2 - titleSize/2, Y: y - high/2}, fit(title, m.RowTitles[i], high+heatGap))
			}
			x = grid.Min.X
			for j, k := range columns {
				wide := cellWidth * vg.Length(k)
				if i == 0 && j < len(m.ColumnTitles) {
					write(c, title, vg.Point{X: x + wide/2, Y: y + 2 + titleSize/2}, fit(title, m.ColumnTitles[j], wide+heatGap))
				}
				if j < len(m.Panels[i]) {
					m.Panels[i][j].draw(c, vg.Rectangle{Min: vg.Point{X: x, Y: y - high}, Max: vg.Point{X: x + wide, Y: y}}, m.Scale)
				}
				x += wide + heatGap
			}
			y -= high + heatGap
		}
		bar := vg.Rectangle{Min: vg.Point{X: grid.Max.X + heatGap, Y: grid.Min.Y}, Max: vg.Point{X: s.width, Y: grid.Max.Y}}
		if spare := (height - 180) / 2; spare > 0 { // a reader compares colours over a short bar
			bar.Min.Y, bar.Max.Y = bar.Min.Y+spare, bar.Max.Y-spare
		}
		m.Scale.draw(draw.Canvas{Canvas: c.Canvas, Rectangle: bar})
	}
	return s, nil
}

// sides are how many cells the rows and columns of the grid have. An empty matrix has room for its words: two cells. Both are nil
// where no matrix has cells.
func (m Matrix) sides() (rows, columns []int) {
	n := 0
	for i, panels := range m.Panels {
		rows = append(rows, 0)
		for j, h := range panels {
			if j == len(columns) {
				columns = append(columns, 0)
			}
			high, wide := 2, 2
			if len(h) > 0 {
				high, wide = len(h), 0
			}
			for _, row := range h {
				n, wide = n+len(row), max(wide, len(row))
			}
			rows[i], columns[j] = max(rows[i], high), max(columns[j], wide)
		}
	}
	if n == 0 {
		return nil, nil
	}
	return rows, columns
}

func (h Heat) draw(c draw.Canvas, box vg.Rectangle, scale Scale) {
	if len(h) == 0 {
		outline(c, draw.LineStyle{Color: rule, Width: 0.6}, box)
		middle := vg.Point{X: (box.Min.X + box.Max.X) / 2, Y: (box.Min.Y + box.Max.Y) / 2}
		write(c, letters(tickSize, muted), middle, wrap(letters(tickSize, muted), "not measured", box.Size().X, 2))
	}
	for i, row := range h {
		for j, cell := range row {
			cell.draw(c, vg.Point{X: box.Min.X + cellWidth*vg.Length(j), Y: box.Max.Y - cellHeight*vg.Length(i+1)}, scale)
		}
	}
}

// draw draws a cell whose lower left corner is at a point.
func (cell Cell) draw(c draw.Canvas, at vg.Point, scale Scale) {
	const seam, size, second = 0.25, 7, 6
	box := vg.Rectangle{Min: at.Add(vg.Point{X: seam, Y: seam}), Max: at.Add(vg.Point{X: cellWidth - seam, Y: cellHeight - seam})}
	paint := color.NRGBA{R: 0xff, G: 0xff, B: 0xff, A: 0xff}
	if finite(cell.PSNR) {
		paint = scale.at(cell.PSNR)
		fill(c, paint, box)
	} else {
		outline(c, draw.LineStyle{Color: rule, Width: 0.5}, box)
	}
	middle := at.Add(vg.Point{X: cellWidth / 2, Y: cellHeight / 2})
	write(c, letters(size, inkOn(paint)), middle.Add(vg.Point{Y: size * 0.57}), fit(letters(size, ink), reading(cell.PSNR, 2), cellWidth))
	write(c, letters(second, inkOn(paint)), middle.Add(vg.Point{Y: -size * 0.57}), fit(letters(second, ink), reading(cell.SSIM, 3), cellWidth))
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
