package figure

import (
	"fmt"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Matrix shows matrices in a grid with one scale of colours, as the paper's Fig. 5 does: a column for every K, a row
// for every alpha. It is as wide as its cells need; the matrix of 8 keys fits a column of a paper.
type Matrix struct {
	Panels                  [][]Heat // by rows, which may differ in length
	RowTitles, ColumnTitles []string // of the grid, or nil
	RowsAre, ColumnsAre     string   // what the rows and columns of all matrices are, such as "decoded with"
	Scale                   Scale
}

// SVG implements Figure.
func (m Matrix) SVG() ([]byte, error) { return svg(m.layout()) }

// PNG implements Figure.
func (m Matrix) PNG() ([]byte, error) { return png(m.layout()) }

const (
	cellWidth   = 24.5
	cellHeight  = 20
	heatGap     = 9  // between matrices
	longestName = 64 // of a label, in points
)

// heatRow and heatColumn are the measures that all matrices of a row or column of the grid share.
type heatRow struct {
	cells         int
	title, labels vg.Length // heights above the cells
	turned        bool      // labels are written upwards
}

type heatColumn struct {
	cells  int
	labels vg.Length // width before the cells
}

func (r heatRow) height() vg.Length   { return r.title + r.labels + cellHeight*vg.Length(r.cells) }
func (c heatColumn) width() vg.Length { return c.labels + cellWidth*vg.Length(c.cells) }

func (m Matrix) layout() (sheet, error) {
	if err := m.check(); err != nil {
		return sheet{}, fmt.Errorf("matrix: %w", err)
	}
	scale := m.scale()
	rows, columns := m.measure()

	// From left to right: what rows are, titles of rows, matrices, the bar. From the top: the same of columns.
	var left, top vg.Length = margin, margin
	if m.RowsAre != "" {
		left += labelSize + 3
	}
	if len(m.RowTitles) > 0 {
		left += titleSize + 4
	}
	if m.ColumnsAre != "" {
		top += labelSize + 3
	}
	if len(m.ColumnTitles) > 0 {
		top += titleSize + 4
	}
	var width, height vg.Length = -heatGap, -heatGap
	for _, c := range columns {
		width += heatGap + c.width()
	}
	for _, r := range rows {
		height += heatGap + r.height()
	}
	grid := vg.Rectangle{Min: vg.Point{X: left, Y: margin}, Max: vg.Point{X: left + width, Y: margin + height}}
	s := sheet{width: left + width + heatGap + scale.width() + margin, height: top + height + margin}
	s.draw = func(c draw.Canvas) {
		// What rows and columns are is said in the middle of the cells.
		cells := grid
		cells.Min.X += columns[0].labels
		cells.Max.Y -= rows[0].title + rows[0].labels
		m.drawNames(c, cells)
		size := m.textSize()
		y := grid.Max.Y
		for i, r := range rows {
			x := grid.Min.X
			if i < len(m.RowTitles) {
				style := bold(titleSize)
				style.Rotation = math.Pi / 2
				at := vg.Point{X: x - 2 - titleSize/2, Y: y - r.title - r.labels - cellHeight*vg.Length(r.cells)/2}
				write(c, style, at, fit(bold(titleSize), m.RowTitles[i], r.height()+heatGap))
			}
			for j, col := range columns {
				cells := draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{
					Min: vg.Point{X: x + col.labels, Y: y - r.height()}, Max: vg.Point{X: x + col.width(), Y: y - r.title - r.labels},
				}}
				if i == 0 && j < len(m.ColumnTitles) {
					at := vg.Point{X: cells.Center().X, Y: y + 2 + titleSize/2}
					write(c, bold(titleSize), at, fit(bold(titleSize), m.ColumnTitles[j], col.width()+heatGap))
				}
				if j < len(m.Panels[i]) {
					m.Panels[i][j].draw(cells, r, col, scale, size)
				}
				x += col.width() + heatGap
			}
			y -= r.height() + heatGap
		}
		// The bar is as high as all cells, and no higher than a reader can compare.
		bar := draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: grid.Max.X + heatGap, Y: grid.Min.Y}, Max: vg.Point{X: s.width, Y: cells.Max.Y},
		}}
		if spare := (bar.Max.Y - bar.Min.Y - 180) / 2; spare > 0 {
			bar = draw.Crop(bar, 0, 0, spare, -spare)
		}
		scale.draw(bar)
	}
	return s, nil
}

// drawNames writes what rows and columns are, at the edges of the figure.
func (m Matrix) drawNames(c draw.Canvas, cells vg.Rectangle) {
	style := letters(labelSize, ink)
	middle := vg.Point{X: (cells.Min.X + cells.Max.X) / 2, Y: (cells.Min.Y + cells.Max.Y) / 2}
	// One that is longer than the cells moves so far that it is on the sheet.
	within := func(words string, middle, edge vg.Length) vg.Length {
		half := style.Width(words)/2 + margin
		return max(min(middle, edge-half), half)
	}
	columns := fit(style, m.ColumnsAre, c.Max.X-2*margin)
	write(c, style, vg.Point{X: within(columns, middle.X, c.Max.X), Y: c.Max.Y - margin - labelSize/2}, columns)
	rows := fit(style, m.RowsAre, c.Max.Y-2*margin)
	turned := style
	turned.Rotation = math.Pi / 2
	write(c, turned, vg.Point{X: margin + labelSize/2, Y: within(rows, middle.Y, c.Max.Y)}, rows)
}

func (m Matrix) check() error {
	n := 0
	for i, row := range m.Panels {
		for j, p := range row {
			where := fmt.Sprintf("panel %d of row %d", j+1, i+1)
			for k, cells := range p.Cells {
				n += len(cells)
				if len(cells) != len(p.Cells[0]) {
					return fmt.Errorf("%w: %s: row %d has %d cells, row 1 has %d", ErrShape, where, k+1, len(cells), len(p.Cells[0]))
				}
			}
			if p.Rows != nil && len(p.Rows) != len(p.Cells) {
				return fmt.Errorf("%w: %s has %d rows and %d labels for them", ErrShape, where, len(p.Cells), len(p.Rows))
			}
			if len(p.Cells) > 0 && p.Columns != nil && len(p.Columns) != len(p.Cells[0]) {
				return fmt.Errorf("%w: %s has %d columns and %d labels for them", ErrShape, where, len(p.Cells[0]), len(p.Columns))
			}
		}
	}
	if n == 0 {
		return fmt.Errorf("%w: no panel has cells", ErrEmpty)
	}
	if s := m.Scale; !finite(s.Min) || !finite(s.Max) || s.Min > s.Max {
		return fmt.Errorf("%w: the scale is from %v to %v", ErrValue, s.Min, s.Max)
	}
	return nil
}

// all visits every cell.
func (m Matrix) all(visit func(Cell)) {
	for _, row := range m.Panels {
		for _, p := range row {
			for _, cells := range p.Cells {
				for _, cell := range cells {
					visit(cell)
				}
			}
		}
	}
}

func (m Matrix) scale() Scale {
	s := m.Scale
	if s.Min == 0 && s.Max == 0 {
		r := nothing
		m.all(func(c Cell) { r = r.with(c.Value) })
		if !r.empty() {
			s.Min, s.Max = r.lo, r.hi
		}
	}
	return s
}

var heatLabel = letters(tickSize, ink)

// measure finds the rows and columns of the grid.
func (m Matrix) measure() (rows []heatRow, columns []heatColumn) {
	for _, panels := range m.Panels {
		var r heatRow
		var widest vg.Length
		for j, p := range panels {
			if j == len(columns) {
				columns = append(columns, heatColumn{})
			}
			col := &columns[j]
			if len(p.Cells) > 0 {
				r.cells, col.cells = max(r.cells, len(p.Cells)), max(col.cells, len(p.Cells[0]))
			} else { // a blank has words in it
				r.cells, col.cells = max(r.cells, 2), max(col.cells, 2)
			}
			if p.Title != "" {
				r.title = titleSize + 3
			}
			for _, l := range p.Rows {
				col.labels = max(col.labels, min(heatLabel.Width(l), longestName)+3)
			}
			for _, l := range p.Columns {
				widest = max(widest, heatLabel.Width(l))
				r.labels = tickSize + 3
			}
		}
		if r.turned = widest > cellWidth-2; r.turned {
			r.labels = min(widest, longestName) + 4
		}
		rows = append(rows, r)
	}
	return rows, columns
}

// textSize is the size of the first line in cells: smaller where some text would not fit.
func (m Matrix) textSize() vg.Length {
	const largest = 7
	var widest vg.Length
	style := letters(largest, ink)
	m.all(func(c Cell) {
		for i, l := range c.lines() {
			widest = max(widest, style.Width(l)*lineShare(i))
		}
	})
	return largest * min(1, (cellWidth-2)/max(widest, 1))
}
