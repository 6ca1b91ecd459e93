package pixel

import (
	"bytes"
	"errors"
	"image"
	"strings"
	"testing"
)

func mustAttack(t *testing.T, name string, m *image.NRGBA, seed uint64) *image.NRGBA {
	t.Helper()
	a, err := ParseAttack(name)
	if err != nil {
		t.Fatal(err)
	}
	if a.String() != name {
		t.Errorf("%s is called %s", name, a)
	}
	out, err := a.Apply(m, seed)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAttacksByName compares an attack with the function that its name stands for.
func TestAttacksByName(t *testing.T) {
	t.Parallel()
	m, err := AddNoise(gradient(40, 30), 8, 3)
	if err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(m.Pix)
	for name, do := range map[string]func() (*image.NRGBA, error){
		"jpeg-1":      func() (*image.NRGBA, error) { return Recompress(m, 1) },
		"jpeg-100":    func() (*image.NRGBA, error) { return Recompress(m, 100) },
		"resize-50":   func() (*image.NRGBA, error) { return ResizeAndBack(m, 0.5) },
		"resize-99":   func() (*image.NRGBA, error) { return ResizeAndBack(m, 0.99) },
		"noise-2.5":   func() (*image.NRGBA, error) { return AddNoise(m, 2.5, 7) },
		"noise-0.015": func() (*image.NRGBA, error) { return AddNoise(m, 0.015, 7) },
		"crop-10":     func() (*image.NRGBA, error) { return CropAndPad(m, 0.8) },
		"crop-49":     func() (*image.NRGBA, error) { return CropAndPad(m, 0.02) },
	} {
		want, err := do()
		if err != nil {
			t.Fatal(err)
		}
		if got := mustAttack(t, name, m, 7); rmse(t, got, want) != 0 {
			t.Errorf("%s is not what its function does", name)
		}
	}
	if !bytes.Equal(m.Pix, before) {
		t.Error("an attack changed the image itself")
	}
	if a, b := mustAttack(t, "noise-5", m, 1), mustAttack(t, "noise-5", m, 2); rmse(t, a, b) == 0 {
		t.Error("two seeds draw the same noise")
	}
}

// TestCropTakesFromEachEdge counts the grey rim.
func TestCropTakesFromEachEdge(t *testing.T) {
	t.Parallel()
	white := image.NewNRGBA(image.Rect(0, 0, 40, 20))
	for i := range white.Pix {
		white.Pix[i] = 255
	}
	out := mustAttack(t, "crop-25", white, 0)
	for y := range 20 {
		for x := range 40 {
			inside := x >= 10 && x < 30 && y >= 5 && y < 15
			if got := out.NRGBAAt(x, y).R; (got == 255) != inside {
				t.Fatalf("%d at %d, %d", got, x, y)
			}
		}
	}
}

func TestParseAttackRefuses(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":             "there are jpeg-N (quality 1 to 100), resize-N",
		"rotate-5":     "there are jpeg-N",
		"jpeg":         "jpeg takes a quality 1 to 100",
		"jpeg-":        "jpeg takes a",
		"jpeg-0":       "jpeg takes a",
		"jpeg-101":     "jpeg takes a",
		"jpeg-75.5":    "jpeg takes a",
		"jpeg-x":       "jpeg takes a",
		"jpeg-075":     "write jpeg-75",
		"jpeg-75-50":   "jpeg takes a",
		"resize-100":   "resize takes a percent 1 to 99",
		"noise-0":      "noise takes a sigma 0.01 to 255",
		"noise--1":     "noise takes a",
		"noise-256":    "noise takes a",
		"noise-NaN":    "noise takes a",
		"noise-Inf":    "noise takes a",
		"noise-5.0":    "write noise-5",
		"noise-1e1":    "write noise-10",
		"noise-0x1p-1": "write noise-0.5",
		"crop-50":      "crop takes a percent 1 to 49",
		"JPEG-75":      "there are jpeg-N",
	} {
		_, err := ParseAttack(name)
		if !errors.Is(err, ErrAttack) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want ErrAttack with %q", name, err, want)
		}
	}
	if _, err := (Attack{}).Apply(gradient(8, 8), 0); !errors.Is(err, ErrAttack) {
		t.Errorf("no attack: %v", err)
	}
}
