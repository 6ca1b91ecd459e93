package pixel

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// gradient is smooth, so that filters hardly change it.
func gradient(width, height int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			at := m.PixOffset(x, y)
			m.Pix[at], m.Pix[at+1], m.Pix[at+2], m.Pix[at+3] = uint8(4*x), uint8(4*y), uint8(2*(x+y)), 255
		}
	}
	return m
}

func rmse(t *testing.T, a, b *image.NRGBA) float64 {
	t.Helper()
	if a.Rect.Size() != b.Rect.Size() {
		t.Fatalf("sizes %v and %v", a.Rect.Size(), b.Rect.Size())
	}
	sum := 0.0
	for i := range a.Pix {
		d := float64(a.Pix[i]) - float64(b.Pix[i])
		sum += d * d
	}
	return math.Sqrt(sum / float64(len(a.Pix)))
}

func TestRecompressLosesMoreAtLowerQuality(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m, err := AddNoise(gradient(48, 40), 8, seed)
	if err != nil {
		t.Fatal(err)
	}
	last := 0.0
	for _, quality := range []int{95, 75, 50, 10} {
		out, err := recompress(m, quality)
		if err != nil {
			t.Fatal(err)
		}
		loss := rmse(t, m, out)
		if loss <= last || loss > 30 {
			t.Errorf("quality %d: an error of %v after %v", quality, loss, last)
		}
		last = loss
	}
}

func TestResizeAndBackTakesDetailAlone(t *testing.T) {
	t.Parallel()
	smooth := gradient(48, 40)
	noisy, err := AddNoise(smooth, 20, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m        *image.NRGBA
		min, max float64
	}{{smooth, 0, 4}, {noisy, 10, 25}} {
		out, err := resizeAndBack(c.m, 0.5)
		if err != nil {
			t.Fatal(err)
		}
		if loss := rmse(t, c.m, out); loss < c.min || loss > c.max {
			t.Errorf("an error of %v, want %v to %v", loss, c.min, c.max)
		}
	}
	if out, err := resizeAndBack(noisy, 1); err != nil || rmse(t, noisy, out) != 0 {
		t.Errorf("by 1: %v", err)
	}
}

func TestCropAndPadKeepsTheCentre(t *testing.T) {
	t.Parallel()
	m := gradient(40, 20)
	out := cropAndPad(m, 0.5)
	for y := range 20 {
		for x := range 40 {
			want := m.NRGBAAt(x, y)
			if x < 10 || x >= 30 || y < 5 || y >= 15 {
				want.R, want.G, want.B = 128, 128, 128
			}
			if got := out.NRGBAAt(x, y); got != want {
				t.Fatalf("at %d, %d: %v, want %v", x, y, got, want)
			}
		}
	}
	if rmse(t, m, cropAndPad(m, 1)) != 0 {
		t.Error("all of it is not all of it")
	}
}

// What is kept stays where it was, whichever of the sides are odd.
func TestCropAndPadDoesNotMoveTheImage(t *testing.T) {
	t.Parallel()
	grey := color.NRGBA{128, 128, 128, 255}
	for _, side := range []int{31, 32, 33, 64, 128, 255, 256} {
		m := gradient(side, side-1)
		for _, share := range []float64{0.8, 0.9, 0.95} {
			out := cropAndPad(m, share)
			kept := 0
			for y := range side - 1 {
				for x := range side {
					switch got := out.NRGBAAt(x, y); got {
					case m.NRGBAAt(x, y):
						kept++
					case grey:
					default:
						t.Fatalf("side %d, share %v: at %d, %d is %v, which was not there", side, share, x, y, got)
					}
				}
			}
			if want := share * share * float64(side*(side-1)); float64(kept) < 0.9*want {
				t.Errorf("side %d, share %v: %d pixels kept, want about %.0f", side, share, kept, want)
			}
		}
	}
}

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
		"jpeg-1":      func() (*image.NRGBA, error) { return recompress(m, 1) },
		"jpeg-100":    func() (*image.NRGBA, error) { return recompress(m, 100) },
		"resize-50":   func() (*image.NRGBA, error) { return resizeAndBack(m, 0.5) },
		"resize-99":   func() (*image.NRGBA, error) { return resizeAndBack(m, 0.99) },
		"noise-2.5":   func() (*image.NRGBA, error) { return AddNoise(m, 2.5, 7) },
		"noise-0.015": func() (*image.NRGBA, error) { return AddNoise(m, 0.015, 7) },
		"crop-10":     func() (*image.NRGBA, error) { return cropAndPad(m, 0.8), nil },
		"crop-49":     func() (*image.NRGBA, error) { return cropAndPad(m, 0.02), nil },
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
