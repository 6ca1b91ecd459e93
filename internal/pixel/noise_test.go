package pixel

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"image"
	"math"
	"testing"
)

// flat is an image of one level.
func flat(w, h int, level uint8) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = level
		if i&3 == 3 {
			m.Pix[i] = 255
		}
	}
	return m
}

func TestAddNoiseIsGaussian(t *testing.T) {
	t.Parallel()
	for _, sigma := range []float64{1, 10, 25} {
		m, err := AddNoise(flat(200, 200, 128), sigma, 7)
		if err != nil {
			t.Fatal(err)
		}
		var n, sum, squares, beyond float64
		for i, v := range m.Pix {
			if i&3 != 3 {
				d := float64(v) - 128
				n, sum, squares = n+1, sum+d, squares+d*d
				if math.Abs(d) > 2*sigma {
					beyond++
				}
			}
		}
		std := math.Sqrt(squares / n)
		if want := math.Sqrt(sigma*sigma + 1./12); math.Abs(std-want) > 0.01*want { // rounding adds 1/12
			t.Errorf("sigma %v: standard deviation %v, want %v", sigma, std, want)
		}
		if math.Abs(sum/n) > 4*sigma/math.Sqrt(n) {
			t.Errorf("sigma %v: mean %v", sigma, sum/n)
		}
		if share := beyond / n; sigma >= 10 && math.Abs(share-0.0455) > 0.008 {
			t.Errorf("sigma %v: %v of the samples beyond 2 sigma", sigma, share)
		}
		if !m.Opaque() {
			t.Error("not opaque")
		}
	}
}

// TestAddNoiseBytes pins the noise: results of a run must not move with a new release.
func TestAddNoiseBytes(t *testing.T) {
	t.Parallel()
	m := flat(16, 16, 100)
	noisy, err := AddNoise(m, 10, 42)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(noisy.Pix)
	if got, want := hex.EncodeToString(sum[:]), "303153887ad7cbd6c13ad7d2c2df4475f6e002526a1db1c36d2d969f4e9b5ab5"; got != want {
		t.Errorf("SHA-256 %s, want %s", got, want)
	}
	if !bytes.Equal(m.Pix, flat(16, 16, 100).Pix) {
		t.Error("the input was changed")
	}
	other, err := AddNoise(m, 10, 43)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(noisy.Pix, other.Pix) {
		t.Error("the seed does nothing")
	}
}

func TestAddNoiseEdges(t *testing.T) {
	t.Parallel()
	m := photo(20, 20)
	same, err := AddNoise(m, 0, 1)
	if err != nil || !bytes.Equal(same.Pix, m.Pix) || same == m {
		t.Errorf("sigma 0 is not a copy: %v", err)
	}
	window := m.SubImage(image.Rect(3, 4, 9, 9)).(*image.NRGBA)
	part, err := AddNoise(window, 0, 1)
	if err != nil || part.Rect != image.Rect(0, 0, 6, 5) || difference(part, window) != 0 {
		t.Errorf("a window: %v", err)
	}
	clipped, err := AddNoise(flat(20, 20, 255), 1e300, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range clipped.Pix {
		if v != 0 && v != 255 {
			t.Fatalf("Pix[%d] = %d", i, v)
		}
	}
	for _, sigma := range []float64{-1, math.NaN(), math.Inf(1)} {
		if _, err := AddNoise(m, sigma, 1); !errors.Is(err, ErrNoise) {
			t.Errorf("sigma %v: error %v, want ErrNoise", sigma, err)
		}
	}
}
