package figure

import (
	"fmt"
	"image"
	"image/color"
	"math"

	xdraw "golang.org/x/image/draw"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Picture is one cell of a grid.
type Picture struct {
	Image   image.Image // nil: an empty cell
	Inset   image.Image // drawn small in the lower right corner, such as a Residual; nil: none
	Caption string      // below the image
}

// PictureRow is a row of a grid.
type PictureRow struct {
	Label    string
	Pictures []Picture
}

// Grid shows images in rows and columns, as the paper's Fig. 3 and Fig. 4 do.
//
// All images have one scale. Where they are as small as print allows (200 to 400 dots per inch), their pixels are
// those of the PNG; smaller ones have each pixel repeated, larger ones are reduced (Catmull-Rom). The SVG has
// them as PNG, reduced in the same way and not enlarged.
type Grid struct {
	Columns []string // titles, or nil
	Rows    []PictureRow
	Width   Width // at most: cells are not wider than 40 mm
}

// SVG implements Figure. It is about as large as its images are as PNG.
func (g Grid) SVG() ([]byte, error) { return svg(g.layout()) }

// PNG implements Figure.
func (g Grid) PNG() ([]byte, error) { return png(g.layout()) }

const (
	widestPicture  = 40 * vg.Millimeter
	highestPicture = 3   // times the width of a cell
	coarsest       = 200 // dots per inch
	finest         = 400
	pictureGap     = 2.5
	smallestText   = 5
	insetShare     = 0.4 // of the side of a cell
)

func (g Grid) layout() (sheet, error) {
	columns := len(g.Columns)
	var largest image.Point
	for _, row := range g.Rows {
		columns = max(columns, len(row.Pictures))
		for _, p := range row.Pictures {
			if !blank(p.Image) {
				size := p.Image.Bounds().Size()
				largest = image.Pt(max(largest.X, size.X), max(largest.Y, size.Y))
			}
		}
	}
	if largest == (image.Point{}) {
		return sheet{}, fmt.Errorf("%w: no cell of the grid has an image", ErrData)
	}
	return g.place(columns, largest), nil
}

// place lays a grid out in whole dots, so that the pixels of images are dots of the PNG.
func (g Grid) place(columns int, largest image.Point) sheet {
	side := vg.Length(0) // room for labels
	for _, row := range g.Rows {
		if row.Label != "" {
			side = 2*labelSize + 5
		}
	}
	room := g.Width.points() - 2*margin - side - pictureGap*vg.Length(columns-1)
	width := min(max(room/vg.Length(columns), 12), widestPicture)

	// scale is of dots to pixels.
	scale, dpi := 1.0, max(float64(largest.X), float64(largest.Y)/highestPicture)/float64(width/vg.Inch)
	if dpi > finest {
		scale, dpi = finest/dpi, finest
	} else if dpi < coarsest {
		scale = math.Ceil(coarsest / dpi)
		dpi *= scale
	}
	dots := math.Round(dpi)
	snap := func(l vg.Length) vg.Length { return vg.Length(math.Round(l.Dots(dots))/dots) * vg.Inch }
	pixels := func(n int) vg.Length {
		return vg.Length(math.Max(math.Round(float64(n)*scale), 1)/dots) * vg.Inch
	}
	cell := vg.Point{X: pixels(largest.X), Y: pixels(largest.Y)}
	gap, side := snap(pictureGap), snap(side)
	edge := snap(margin)

	style, titles := wrapAll(bold(labelSize), g.Columns, cell.X, 2, smallestText)
	head := snap(heightOf(style, titles, 3))
	var captions []string
	for _, row := range g.Rows {
		for _, p := range row.Pictures {
			captions = append(captions, p.Caption)
		}
	}
	small, captions := wrapAll(letters(tickSize, ink), captions, cell.X, 2, smallestText)
	foot := snap(heightOf(small, captions, 2))
	step := vg.Point{X: cell.X + gap, Y: cell.Y + foot + gap}

	s := sheet{
		width: 2*edge + side + step.X*vg.Length(columns) - gap, dpi: int(dots),
		height: 2*edge + head + step.Y*vg.Length(len(g.Rows)) - gap,
	}
	s.draw = func(c draw.Canvas) {
		left, top := edge+side, s.height-edge-head
		n := 0 // of the picture
		for j, t := range titles {
			write(c, style, vg.Point{X: left + step.X*vg.Length(j) + cell.X/2, Y: top + head/2}, t)
		}
		for i, row := range g.Rows {
			y := top - step.Y*vg.Length(i)
			if row.Label != "" {
				label := letters(labelSize, ink)
				write(c, turned(label), vg.Point{X: edge + side/2 - 1, Y: y - cell.Y/2}, wrap(label, row.Label, cell.Y+foot, 2))
			}
			for j := range columns {
				box := vg.Rectangle{Min: vg.Point{X: left + step.X*vg.Length(j), Y: y - cell.Y}}
				box.Max = box.Min.Add(cell)
				var p Picture
				if j < len(row.Pictures) {
					p = row.Pictures[j]
					write(c, small, vg.Point{X: box.Min.X + cell.X/2, Y: box.Min.Y - foot/2}, captions[n])
					n++
				}
				p.draw(c, box, func(size image.Point) vg.Point { return vg.Point{X: pixels(size.X), Y: pixels(size.Y)} }, dots)
			}
		}
	}
	return s
}

func (p Picture) draw(c draw.Canvas, box vg.Rectangle, printed func(image.Point) vg.Point, dpi float64) {
	if blank(p.Image) {
		outline(c, draw.LineStyle{Color: rule, Width: 0.5}, box)
		return
	}
	size := printed(p.Image.Bounds().Size())
	dots := func(l vg.Length) vg.Length { return vg.Length(math.Floor(l.Dots(dpi)+1e-6)/dpi) * vg.Inch }
	at := box.Min.Add(vg.Point{X: dots((box.Size().X - size.X) / 2), Y: dots((box.Size().Y - size.Y) / 2)})
	put(c, p.Image, vg.Rectangle{Min: at, Max: at.Add(size)}, dpi)
	if blank(p.Inset) {
		return
	}
	small := p.Inset.Bounds().Size()
	share := insetShare * min(float64(size.X)/float64(small.X), float64(size.Y)/float64(small.Y))
	corner := vg.Point{X: at.X + size.X, Y: at.Y}
	inset := vg.Rectangle{
		Min: vg.Point{X: corner.X - dots(vg.Length(share*float64(small.X))), Y: corner.Y},
		Max: vg.Point{X: corner.X, Y: corner.Y + dots(vg.Length(share*float64(small.Y)))},
	}
	const frame = 0.7
	framed := inset
	framed.Min.X, framed.Max.Y = inset.Min.X-frame, inset.Max.Y+frame
	fill(c, color.White, framed)
	put(c, p.Inset, inset, dpi)
}

// put draws an image into a rectangle, reduced first where it has more pixels than that has dots.
func put(c draw.Canvas, m image.Image, at vg.Rectangle, dpi float64) {
	dots := image.Pt(int(math.Round(at.Size().X.Dots(dpi))), int(math.Round(at.Size().Y.Dots(dpi))))
	if dots.X < 1 || dots.Y < 1 {
		return
	}
	if size := m.Bounds().Size(); size.X > dots.X || size.Y > dots.Y {
		small := image.NewNRGBA(image.Rectangle{Max: dots})
		xdraw.CatmullRom.Scale(small, small.Rect, m, m.Bounds(), xdraw.Src, nil)
		m = small
	}
	c.DrawImage(at, m)
}

// blank says whether an image has no pixels; a nil pointer in the interface has none.
func blank(m image.Image) bool {
	if p, ok := m.(*image.NRGBA); ok && p == nil {
		return true
	}
	return m == nil || m.Bounds().Empty()
}
