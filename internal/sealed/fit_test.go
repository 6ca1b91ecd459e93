package sealed

import (
	"errors"
	"math"
	"slices"
	"testing"

	"stegomq/internal/avif"
)

func newFitter(m Image, room int) *fitter {
	img := m.toNRGBA()
	return &fitter{img: img, room: room, predicted: rates(img), made: make(map[[2]int][]byte), least: math.MaxInt}
}

// What fits is near the room, and few encodes find it.
func TestFit(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"boats", "cat"} {
		for _, room := range []int{1500, 3000, 6000, 12000, 24000} {
			f := newFitter(photograph(t, name, 256, 256), room)
			coded, err := f.fit(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(coded) > room || len(coded) < room*4/5 || len(f.made) > 4 {
				t.Errorf("%s: %d bytes of %d by %d encodes", name, len(coded), room, len(f.made))
			}
		}
		f := newFitter(photograph(t, name, 256, 256), 100)
		if _, err := f.fit(t.Context()); !errors.Is(err, errTooLarge) || f.least <= 100 {
			t.Errorf("%s in 100 bytes: %v, the least is %d", name, err, f.least)
		}
	}
}

// Predictions fall with the quantiser, and are of the right size: half of it to twice.
func TestRates(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"boats", "cat"} {
		m := photograph(t, name, 256, 256)
		predicted := rates(m.toNRGBA())
		if !slices.IsSortedFunc(predicted[:], func(a, b float64) int { return int(math.Copysign(1, b-a)) }) {
			t.Errorf("%s: predictions rise: %.0f", name, predicted)
		}
		for _, q := range []int{4, 16, 32, 48, 60} {
			coded, err := avif.Encode(t.Context(), m.toNRGBA(), avif.Options{Quality: quality(q), Speed: fast})
			if err != nil {
				t.Fatal(err)
			}
			if share := float64(len(coded)) / predicted[q]; share < 0.5 || share > 2 {
				t.Errorf("%s: %d bytes at quantiser %d, %.0f were predicted", name, len(coded), q, predicted[q])
			}
		}
	}
	tiny := rates(photograph(t, "cat", 3, 5).toNRGBA())
	if tiny[0] <= tiny[63] || math.IsNaN(tiny[0]) {
		t.Errorf("predictions of a tiny image: %v and %v", tiny[0], tiny[63])
	}
}

func TestQuality(t *testing.T) {
	t.Parallel()
	for q := range quantisers {
		if got := ((100-quality(q))*63 + 50) / 100; got != q {
			t.Errorf("quality %d is quantiser %d, want %d", quality(q), got, q)
		}
	}
}

func BenchmarkRates(b *testing.B) {
	img := photograph(b, "cat", 256, 256).toNRGBA()
	for b.Loop() {
		rates(img)
	}
}
