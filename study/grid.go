package study

import (
	"errors"
	"fmt"
	"image"
	"io/fs"
	"os"
	"path/filepath"

	"stegomq/internal/pixel"
	"stegomq/report"
	"stegomq/report/figure"
	"stegomq/schemas"
)

const (
	gridRows = 6
	// gridCell is the largest side of an image in the grid, in pixels. Larger ones are shown by their centre: scaling would hide what
	// the residual is to show.
	gridCell = 256
)

// ResidualGain is how much larger than life differences are drawn.
const ResidualGain = 10

// WriteGrid draws Grid into dir/grid.png; without a row there is no file.
func WriteGrid(dir string, spec *schemas.RunSpec, scores []*schemas.Score) error {
	grid, err := Grid(dir, spec, scores)
	if err != nil || len(grid.Rows) == 0 {
		return err
	}
	data, err := grid.PNG()
	if err != nil {
		return fmt.Errorf("draw the grid: %w", err)
	}
	return report.WriteFolder(dir, []report.File{{Name: "grid.png", Data: data}})
}

// Grid shows the first pairs of a run by the images that SaveImages wrote into dir. There is a row for each pair, with the keys in turn, and at
// most 256x256 pixels of each image. The residual is figure.Residual of the stego image and the cover. A refused image is a cell that says so.
// A pair that lacks another of its images is left out.
func Grid(dir string, spec *schemas.RunSpec, scores []*schemas.Score) (figure.Grid, error) {
	refused := make(map[string]bool)
	for _, s := range scores {
		if s.End() == schemas.EndRefused {
			_, file := imageFiles(s)
			refused[file] = true
		}
	}
	grid := figure.Grid{Width: figure.Page}
	for i, pair := range spec.GetPairs() {
		if len(grid.Rows) == gridRows {
			break
		}
		columns, row, err := gridRow(dir, spec, i, pair.GetItem(), refused)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return grid, fmt.Errorf("draw the grid: %w", err)
		}
		grid.Columns, grid.Rows = columns, append(grid.Rows, figure.PictureRow{Pictures: row})
	}
	return grid, nil
}

// gridRow are the images of a pair with their headings, as many as the run can have. The error wraps fs.ErrNotExist where one was not saved.
func gridRow(dir string, spec *schemas.RunSpec, i int, item string, refused map[string]bool) (columns []string, row []figure.Picture, err error) {
	keys, random := spec.GetKeys(), spec.ReadersOf(schemas.Reader_READER_RANDOM).GetKeys()
	key := keys[i%len(keys)].GetId()
	read := func(file string) *image.NRGBA {
		m, failed := ReadImage(filepath.Join(dir, filepath.FromSlash(file)))
		if failed != nil {
			err = errors.Join(err, failed)
			return nil
		}
		return m
	}
	add := func(heading string, m *image.NRGBA) {
		columns, row = append(columns, heading), append(row, figure.Picture{Image: centre(m)})
	}
	// test adds the image that a comparison is about.
	test := func(heading string, role schemas.Role, decode string) *image.NRGBA {
		_, file := imageFiles(schemas.NewScore(role, item, key, decode))
		if refused[file] {
			columns, row = append(columns, heading), append(row, figure.Picture{Caption: string(schemas.EndRefused)})
			return nil
		}
		m := read(file)
		add(heading, m)
		return m
	}
	cover := test("cover", schemas.Baseline, "")
	stego := test("stego", schemas.Imperceptibility, "")
	add(fmt.Sprintf("residual x%d", ResidualGain), figure.Residual(stego, cover, ResidualGain))
	add("secret", read(ImageFile("secret", item)))
	test("recovered", schemas.Recoverability, key)
	if len(keys) > 1 {
		test("mismatched key", schemas.Leakage(schemas.Reader_READER_MISMATCHED), keys[(i+1)%len(keys)].GetId())
	}
	if len(random) > 0 {
		test("random key", schemas.Leakage(schemas.Reader_READER_RANDOM), random[i%len(random)].GetId())
	}
	if schemas.Purifies(spec) {
		test("purified", schemas.Purification, "")
	}
	return columns, row, err
}

// ReadImage reads a file that SaveImages wrote; the error wraps fs.ErrNotExist where it is not there.
func ReadImage(file string) (*image.NRGBA, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	m, _, err := pixel.Decode(data, pixel.Limits{})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Base(file), err)
	}
	return m, nil
}

// centre is the middle of an image, or all of a small one.
func centre(m *image.NRGBA) image.Image {
	if m == nil {
		return nil
	}
	size := m.Rect.Size()
	visible := image.Pt(min(size.X, gridCell), min(size.Y, gridCell))
	at := m.Rect.Min.Add(size.Sub(visible).Div(2))
	return m.SubImage(image.Rectangle{Min: at, Max: at.Add(visible)})
}
