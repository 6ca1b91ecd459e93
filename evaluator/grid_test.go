package evaluator_test

import (
	"fmt"
	"image"
	"os"
	"path/filepath"
	"testing"

	"stegomq/evaluator"
	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// checkGrid draws the grid of a run whose images are in dir, and compares its cells with them.
func checkGrid(t *testing.T, dir string, spec *schemas.RunSpec) {
	t.Helper()
	if err := evaluator.WriteGrid(dir, spec, nil); err != nil {
		t.Fatal(err)
	}
	sheet := readImage(t, filepath.Join(dir, "grid.png"))
	y, height := -1, 0
	for i, pair := range spec.GetPairs() {
		key, wrong := spec.GetKeys()[i%len(spec.GetKeys())].GetId(), spec.GetKeys()[(i+1)%len(spec.GetKeys())].GetId()
		stranger := spec.GetRandomKeys()[i%len(spec.GetRandomKeys())].GetId()
		item := pair.GetItem()
		if _, err := os.Stat(filepath.Join(dir, "images/stego", item+"."+key+".png")); err != nil {
			continue // this pair was not embedded with the key of its row
		}
		y++
		for x, name := range []string{
			"cover/" + item, "stego/" + item + "." + key, "", "secret/" + item,
			"recovered/" + item + "." + key + "." + key, "recovered/" + item + "." + key + "." + wrong,
			"recovered/" + item + "." + key + "." + stranger, "purified/" + item,
		} {
			if name == "" {
				continue
			}
			want := readImage(t, filepath.Join(dir, "images", name+".png"))
			size := want.Rect.Size()
			at := image.Pt(x*(size.X+4), 18+y*(size.Y+4))
			if err := sameCell(sheet, at, want); err != nil {
				t.Errorf("row %d, column %d is not %s: %v", y, x, name, err)
			}
		}
		cover, stego := readImage(t, filepath.Join(dir, "images/cover", item+".png")), readImage(t, filepath.Join(dir, "images/stego", item+"."+key+".png"))
		height = cover.Rect.Dy()
		residual := image.NewNRGBA(cover.Rect)
		for i := range residual.Pix {
			residual.Pix[i] = 255
			if i%4 != 3 {
				residual.Pix[i] = uint8(min(255, max(0, 128+10*(int(stego.Pix[i])-int(cover.Pix[i])))))
			}
		}
		if err := sameCell(sheet, image.Pt(2*(cover.Rect.Dx()+4), 18+y*(cover.Rect.Dy()+4)), residual); err != nil {
			t.Errorf("row %d: the residual: %v", y, err)
		}
	}
	if y < 0 {
		t.Fatal("no pair was embedded with the key of its row")
	}
	if want := 18 + (y+1)*height + y*4; sheet.Rect.Dy() != want {
		t.Errorf("a grid of %d rows is %d pixels high, want %d", y+1, sheet.Rect.Dy(), want)
	}
	dark := 0
	for _, v := range sheet.SubImage(image.Rect(0, 0, sheet.Rect.Dx(), 18)).(*image.NRGBA).Pix[:18*sheet.Stride] {
		if v == 0 {
			dark++
		}
	}
	if dark == 0 {
		t.Error("the columns have no headings")
	}
}

func sameCell(sheet *image.NRGBA, at image.Point, want *image.NRGBA) error {
	for y := range want.Rect.Dy() {
		for x := range want.Rect.Dx() {
			if got, want := sheet.NRGBAAt(at.X+x, at.Y+y), want.NRGBAAt(x, y); got != want {
				return fmt.Errorf("at %d, %d: %v, want %v", x, y, got, want)
			}
		}
	}
	return nil
}

func readImage(t *testing.T, path string) *image.NRGBA {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := pixel.Decode(data, pixel.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestGridWithoutImages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	spec := &schemas.RunSpec{
		Keys:  []*schemas.KeyRef{{Id: "alice"}},
		Pairs: []*schemas.Pair{{Item: "00001-a"}},
	}
	if err := evaluator.WriteGrid(dir, spec, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "grid.png")); !os.IsNotExist(err) {
		t.Errorf("a grid of nothing was written: %v", err)
	}
}
