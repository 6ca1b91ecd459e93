package pixel

import (
	"errors"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
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
		out, err := Recompress(m, quality)
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
		out, err := ResizeAndBack(c.m, 0.5)
		if err != nil {
			t.Fatal(err)
		}
		if loss := rmse(t, c.m, out); loss < c.min || loss > c.max {
			t.Errorf("an error of %v, want %v to %v", loss, c.min, c.max)
		}
	}
	if out, err := ResizeAndBack(noisy, 1); err != nil || rmse(t, noisy, out) != 0 {
		t.Errorf("by 1: %v", err)
	}
}

func TestCropAndPadKeepsTheCentre(t *testing.T) {
	t.Parallel()
	m := gradient(40, 20)
	out, err := CropAndPad(m, 0.5)
	if err != nil {
		t.Fatal(err)
	}
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
	if out, err := CropAndPad(m, 1); err != nil || rmse(t, m, out) != 0 {
		t.Errorf("all of it: %v", err)
	}
}

// What is kept stays where it was, whichever of the sides are odd.
func TestCropAndPadDoesNotMoveTheImage(t *testing.T) {
	t.Parallel()
	grey := color.NRGBA{128, 128, 128, 255}
	for _, side := range []int{31, 32, 33, 64, 128, 255, 256} {
		m := gradient(side, side-1)
		for _, share := range []float64{0.8, 0.9, 0.95} {
			out, err := CropAndPad(m, share)
			if err != nil {
				t.Fatal(err)
			}
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

func TestAttacksRefuseStrengths(t *testing.T) {
	t.Parallel()
	m := gradient(8, 8)
	for _, quality := range []int{0, 101} {
		if _, err := Recompress(m, quality); !errors.Is(err, ErrAttack) {
			t.Errorf("quality %d: %v", quality, err)
		}
	}
	for _, v := range []float64{0, -1, 5, math.NaN()} {
		if _, err := ResizeAndBack(m, v); !errors.Is(err, ErrAttack) {
			t.Errorf("resize by %v: %v", v, err)
		}
		if _, err := CropAndPad(m, v); !errors.Is(err, ErrAttack) {
			t.Errorf("keep %v: %v", v, err)
		}
	}
}
