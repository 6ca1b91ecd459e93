package pixel

import (
	"image"
	"image/color"
	"image/draw"
	"os"
	"path/filepath"
	"testing"
)

// TestStudio: the primaries of BT.601 in studio range, as any table of 75 or 100 % colour bars has them.
func TestStudio(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		y, cb, cr uint8
		want      color.NRGBA
	}{
		{"black", 16, 128, 128, color.NRGBA{0, 0, 0, 255}},
		{"white", 235, 128, 128, color.NRGBA{255, 255, 255, 255}},
		{"red", 81, 90, 240, color.NRGBA{255, 0, 0, 255}},
		{"green", 145, 54, 34, color.NRGBA{0, 255, 0, 255}},
		{"blue", 41, 240, 110, color.NRGBA{0, 0, 255, 255}},
		{"yellow", 210, 16, 146, color.NRGBA{255, 255, 0, 255}},
		{"cyan", 170, 166, 16, color.NRGBA{0, 255, 255, 255}},
		{"magenta", 106, 202, 222, color.NRGBA{255, 0, 255, 255}},
	} {
		m := image.NewYCbCr(image.Rect(0, 0, 3, 3), image.YCbCrSubsampleRatio420)
		for i := range m.Y {
			m.Y[i] = c.y
		}
		for i := range m.Cb {
			m.Cb[i], m.Cr[i] = c.cb, c.cr
		}
		got := webpColour.convert(m, nil, 0)
		want := image.NewNRGBA(got.Rect)
		draw.Draw(want, want.Rect, image.NewUniform(c.want), image.Point{}, draw.Src)
		if d := difference(got, want); d > 2 {
			t.Errorf("%s: %v, want %v", c.name, got.NRGBAAt(0, 0), c.want)
		}
	}
}

// TestWhite: what is transparent is white whatever colour it hides, what is opaque is untouched.
func TestWhite(t *testing.T) {
	t.Parallel()
	m := image.NewNRGBA(image.Rect(5, 6, 8, 7)) // does not start at (0,0)
	copy(m.Pix, []uint8{10, 20, 30, 0, 10, 20, 30, 255, 0, 100, 255, 128})
	got, transparent := flatten(m)
	if got.Rect != image.Rect(0, 0, 3, 1) || !transparent {
		t.Fatal(got.Rect, transparent)
	}
	for i, want := range []uint8{255, 255, 255, 255, 10, 20, 30, 255, 127, 177, 255, 255} {
		if d := int(got.Pix[i]) - int(want); d < -1 || d > 1 || i < 8 && d != 0 {
			t.Errorf("Pix[%d] = %d, want %d", i, got.Pix[i], want)
		}
	}
}

// Of every sample the header knows at least what the pixels say.
func TestMayBeTransparent(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		t.Fatal(err)
	}
	transparent, opaque := 0, 0
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, info, err := Decode(data, Limits{MinSide: 1})
		if err != nil {
			continue
		}
		switch may := MayBeTransparent(data); {
		case info.Transparent && !may:
			t.Errorf("%s has transparent pixels, and its header none", name)
		case info.Transparent:
			transparent++
		case !may:
			opaque++
		default:
			t.Logf("%s may be transparent, and is not", name)
		}
	}
	if transparent < 6 || opaque < 50 {
		t.Errorf("only %d transparent and %d opaque samples", transparent, opaque)
	}
}
