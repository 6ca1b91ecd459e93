package evaluator

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// The layout of a grid, in pixels. Larger images are shown by their centre: scaling would hide what the
// residual is to show.
const (
	gridRows = 6
	gridCell = 256
	gridGap  = 4
	gridHead = 18
)

// residualGain is how much larger than life differences are drawn, around middle grey.
const residualGain = 10

// gridColumn is a heading and the image below it, nil where it was refused.
type gridColumn struct {
	head string
	draw func(row gridRow) (*image.NRGBA, error)
}

// gridRow reads the images that SaveImages wrote of one pair, embedded with one key.
type gridRow struct {
	dir, item                string
	key, wrong, unregistered string
	refused                  map[string]bool // the files of images that recovery refused to make
}

func (r gridRow) read(file string) (*image.NRGBA, error) {
	data, err := os.ReadFile(filepath.Join(r.dir, filepath.FromSlash(file)))
	if err != nil {
		return nil, err
	}
	m, _, err := pixel.Decode(data, pixel.Limits{})
	return m, err
}

// test reads the image that a comparison is about, nil where it was refused.
func (r gridRow) test(role schemas.Role, decode string) (*image.NRGBA, error) {
	_, file := imageFiles(&schemas.Score{Item: r.item, Role: role, EmbedKey: r.key, DecodeKey: decode})
	if r.refused[file] {
		return nil, nil //nolint:nilnil // what was refused is a cell without an image
	}
	return r.read(file)
}

func (r gridRow) cover() (*image.NRGBA, error) { return r.test(schemas.Role_ROLE_BASELINE, "") }

func (r gridRow) stego() (*image.NRGBA, error) { return r.test(schemas.Role_ROLE_IMPERCEPTIBILITY, "") }

func (r gridRow) secret() (*image.NRGBA, error) {
	file, _ := imageFiles(&schemas.Score{Item: r.item, Role: schemas.Role_ROLE_BASELINE})
	return r.read(file)
}

func (r gridRow) residual() (*image.NRGBA, error) {
	cover, err := r.cover()
	if err != nil {
		return nil, err
	}
	stego, err := r.stego()
	if err != nil {
		return nil, err
	}
	out := image.NewNRGBA(cover.Rect)
	for i, c := range cover.Pix {
		out.Pix[i] = 255
		if i%4 != 3 {
			out.Pix[i] = uint8(min(255, max(0, 128+residualGain*(int(stego.Pix[i])-int(c)))))
		}
	}
	return out, nil
}

// gridColumns are those that a run can fill.
func gridColumns(spec *schemas.RunSpec) []gridColumn {
	columns := []gridColumn{
		{"cover", gridRow.cover},
		{"stego", gridRow.stego},
		{fmt.Sprintf("residual x%d", residualGain), gridRow.residual},
		{"secret", gridRow.secret},
		{"recovered", func(r gridRow) (*image.NRGBA, error) {
			return r.test(schemas.Role_ROLE_RECOVERABILITY, r.key)
		}},
	}
	if len(spec.GetKeys()) > 1 {
		columns = append(columns, gridColumn{"mismatched key", func(r gridRow) (*image.NRGBA, error) {
			return r.test(schemas.Role_ROLE_LEAKAGE_MISMATCHED, r.wrong)
		}})
	}
	if len(spec.GetRandomKeys()) > 0 {
		columns = append(columns, gridColumn{"random key", func(r gridRow) (*image.NRGBA, error) {
			return r.test(schemas.Role_ROLE_LEAKAGE_RANDOM, r.unregistered)
		}})
	}
	if schemas.Purifies(spec) {
		columns = append(columns, gridColumn{"purified", func(r gridRow) (*image.NRGBA, error) {
			return r.test(schemas.Role_ROLE_PURIFICATION, "")
		}})
	}
	return columns
}

// WriteGrid draws the first pairs of a run into dir/grid.png from the images that SaveImages wrote: a row for
// each pair, embedded with one key after the other, at most 256 pixels of each image. The residual is ten times
// stego less cover, around middle grey. An image that was refused is a cell that says so. Pairs without all of their other
// images are left out; without any there is no file.
func WriteGrid(dir string, spec *schemas.RunSpec, scores []*schemas.Score) error {
	columns := gridColumns(spec)
	refused := make(map[string]bool)
	for _, s := range scores {
		if s.End() == schemas.EndRefused {
			_, file := imageFiles(s)
			refused[file] = true
		}
	}
	var rows [][]*image.NRGBA
	for i, pair := range spec.GetPairs() {
		if len(rows) == gridRows {
			break
		}
		row := gridRowOf(dir, spec, i, pair)
		row.refused = refused
		cells, err := gridCells(row, columns)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("draw the grid: %w", err)
		}
		rows = append(rows, cells)
	}
	if len(rows) == 0 {
		return nil
	}
	data, err := pixel.EncodePNG(drawGrid(columns, rows))
	if err != nil {
		return fmt.Errorf("draw the grid: %w", err)
	}
	return WriteFolder(dir, []File{{"grid.png", data}})
}

func gridRowOf(dir string, spec *schemas.RunSpec, i int, pair *schemas.Pair) gridRow {
	keys, random := spec.GetKeys(), spec.GetRandomKeys()
	row := gridRow{
		dir: dir, item: pair.GetItem(), key: keys[i%len(keys)].GetId(), wrong: keys[(i+1)%len(keys)].GetId(),
	}
	if len(random) > 0 {
		row.unregistered = random[i%len(random)].GetId()
	}
	return row
}

func gridCells(row gridRow, columns []gridColumn) ([]*image.NRGBA, error) {
	var cells []*image.NRGBA
	for _, c := range columns {
		m, err := c.draw(row)
		if err != nil {
			return nil, err
		}
		cells = append(cells, m)
	}
	return cells, nil
}

func drawGrid(columns []gridColumn, rows [][]*image.NRGBA) *image.NRGBA {
	var cell image.Point // the largest image's, up to the limit
	for _, row := range rows {
		size := row[0].Rect.Size()
		cell.X, cell.Y = max(cell.X, min(size.X, gridCell)), max(cell.Y, min(size.Y, gridCell))
	}
	sheet := image.NewNRGBA(image.Rect(0, 0, len(columns)*(cell.X+gridGap)-gridGap, gridHead+len(rows)*(cell.Y+gridGap)-gridGap))
	draw.Draw(sheet, sheet.Rect, image.White, image.Point{}, draw.Src)
	write := func(text string, in image.Rectangle, at fixed.Point26_6) {
		d := font.Drawer{Dst: sheet.SubImage(in).(draw.Image), Src: image.NewUniform(color.Black), Face: basicfont.Face7x13, Dot: at}
		d.DrawString(text)
	}
	for x, c := range columns {
		left := x * (cell.X + gridGap)
		write(c.head, image.Rect(left, 0, left+cell.X, gridHead), fixed.P(left, gridHead-5))
		for y, row := range rows {
			at := image.Pt(left, gridHead+y*(cell.Y+gridGap))
			if row[x] == nil {
				in := image.Rectangle{at, at.Add(cell)}
				draw.Draw(sheet, in, image.NewUniform(color.Gray{Y: 224}), image.Point{}, draw.Src)
				write(string(schemas.EndRefused), in, fixed.P(at.X+5, at.Y+cell.Y/2+5))
				continue
			}
			size := row[x].Rect.Size()
			visible := image.Pt(min(size.X, cell.X), min(size.Y, cell.Y))
			from := size.Sub(visible).Div(2)
			draw.Draw(sheet, image.Rectangle{at, at.Add(visible)}, row[x], from, draw.Src)
		}
	}
	return sheet
}
