package pixel

import (
	"errors"
	"image"
	"runtime"
	"testing"
)

func TestFitSizes(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{40, 24}, {24, 40}, {256, 256}, {101, 300}, {1, 1}, {16, 4000}, {4000, 16}} {
		m := photo(size[0], size[1])
		before := append([]uint8(nil), m.Pix...)
		for _, g := range []Geometry{
			{}, {32, 32, Squash}, {32, 32, Crop}, {256, 100, Crop}, {100, 256, Squash}, {1, 50, Crop}, {50, 1, Crop}, {300, 101, Crop},
		} {
			got, err := Fit(m, g)
			if err != nil {
				t.Fatalf("%v to %v: %v", size, g, err)
			}
			want := image.Pt(g.Width, g.Height)
			if g.Native() {
				want = m.Rect.Size()
			}
			if got.Rect != (image.Rectangle{Max: want}) || !got.Opaque() {
				t.Errorf("%v to %v: %v, opaque %v", size, g, got.Rect, got.Opaque())
			}
		}
		if string(before) != string(m.Pix) {
			t.Errorf("%v: Fit wrote to its input", size)
		}
	}
}

func TestFitDoesNotCopy(t *testing.T) {
	t.Parallel()
	m := photo(20, 30)
	for _, g := range []Geometry{{}, {20, 30, Squash}, {20, 30, Crop}} {
		if got, err := Fit(m, g); err != nil || got != m {
			t.Errorf("%v: another image, %v", g, err)
		}
	}
}

// TestFitPolicies uses three vertical stripes: a square crop keeps the middle one, a squash all.
func TestFitPolicies(t *testing.T) {
	t.Parallel()
	m := image.NewNRGBA(image.Rect(0, 0, 300, 100))
	for i := range 300 * 100 {
		p := m.Pix[4*i:]
		p[i%300/100], p[3] = 200, 255
	}
	crop, err := Fit(m, Geometry{60, 60, Crop})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []int{0, 30, 59} {
		if c := crop.NRGBAAt(x, 30); c.R != 0 || c.G != 200 || c.B != 0 {
			t.Errorf("crop at %d: %v", x, c)
		}
	}
	squash, err := Fit(m, Geometry{60, 60, Squash})
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range []int{5, 30, 55} {
		if c := squash.Pix[squash.PixOffset(x, 30):]; c[i] != 200 {
			t.Errorf("squash at %d: %v", x, c[:4])
		}
	}
}

// TestFitSliver: resizing a sliver along the wrong axis first would take 32 MB for 256 KB.
// Not parallel: it reads counters of the whole process.
func TestFitSliver(t *testing.T) {
	for _, m := range []*image.NRGBA{photo(16, 8000), photo(8000, 16)} {
		for _, policy := range []Policy{Squash, Crop} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := Fit(m, Geometry{256, 256, policy}); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
				t.Errorf("%v %s: %d bytes", m.Rect, policy, used)
			}
		}
	}
}

func TestGeometryValidate(t *testing.T) {
	t.Parallel()
	m := photo(20, 20)
	for _, g := range []Geometry{
		{0, 5, Squash}, {5, 0, Crop}, {-1, -1, Squash}, {1 << 40, 1 << 40, Squash}, {1 << 20, 1 << 20, Crop}, {0, 0, 2}, {5, 5, 9},
	} {
		if _, err := Fit(m, g); !errors.Is(err, ErrGeometry) {
			t.Errorf("%+v: error %v, want ErrGeometry", g, err)
		}
	}
	if _, err := Fit(image.NewNRGBA(image.Rectangle{}), Geometry{5, 5, Crop}); !errors.Is(err, ErrShape) {
		t.Errorf("no pixels: error %v, want ErrShape", err)
	}
}

func TestPolicyNames(t *testing.T) {
	t.Parallel()
	for g, want := range map[Geometry]string{{}: "native", {8, 9, Crop}: "8x9 crop", {8, 9, Squash}: "8x9 squash"} {
		if got := g.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func BenchmarkFit(b *testing.B) {
	m := photo(640, 480)
	for b.Loop() {
		if _, err := Fit(m, Geometry{256, 256, Crop}); err != nil {
			b.Fatal(err)
		}
	}
}
