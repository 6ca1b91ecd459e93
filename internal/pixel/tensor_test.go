package pixel

import (
	"errors"
	"image"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestTensorRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		first := anyImage(t)
		second := image.NewNRGBA(image.Rectangle{Max: first.Rect.Size()})
		for i := range second.Pix {
			second.Pix[i] = uint8(255 - i)
			if i&3 == 3 {
				second.Pix[i] = 255
			}
		}
		images := []*image.NRGBA{first, second}
		tensor, err := FromImages(images)
		if err != nil {
			t.Fatal(err)
		}
		if err := tensor.Check(); err != nil || tensor.N != 2 || tensor.C != 3 ||
			tensor.H != first.Rect.Dy() || tensor.W != first.Rect.Dx() {
			t.Fatalf("%+v, %v", tensor, err)
		}
		for n, m := range images {
			back, err := ToImage(tensor, n)
			if err != nil {
				t.Fatal(err)
			}
			if back.Rect.Size() != m.Rect.Size() || difference(back, m) != 0 || !back.Opaque() {
				t.Fatalf("image %d came back changed", n)
			}
		}
	})
}

func TestFromImagesLayout(t *testing.T) {
	t.Parallel()
	m := image.NewNRGBA(image.Rect(0, 0, 2, 2))
	copy(m.Pix, []uint8{1, 2, 3, 255, 4, 5, 6, 255, 7, 8, 9, 255, 10, 11, 12, 0})
	tensor, err := FromImages([]*image.NRGBA{m})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range []float32{1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12} {
		if tensor.Data[i] != v/255 {
			t.Errorf("Data[%d] = %v, want %v/255", i, tensor.Data[i], v)
		}
	}
}

// TestQuantise: nearest, halves upwards, clamped, and exact next to a half, where float32 arithmetic
// would round 0.49999997 + 0.5 up to 1.
func TestQuantise(t *testing.T) {
	t.Parallel()
	half := float32(0.5) / 255
	for _, c := range []struct {
		in   float32
		want uint8
	}{
		{0, 0}, {1, 255}, {-0.1, 0}, {1.1, 255}, {math.MaxFloat32, 255}, {-math.MaxFloat32, 0},
		{float32(math.Copysign(0, -1)), 0},
		{127.5 / 255, 128}, {0.5, 128}, // 127.5 and its neighbour
		{math.Nextafter32(0.5, 0), 127},
		{254.4 / 255, 254}, {254.6 / 255, 255},
	} {
		if got := quantise(c.in); got != c.want {
			t.Errorf("quantise(%v) = %d, want %d", c.in, got, c.want)
		}
	}
	for v := math.Nextafter32(half, 0); v < 2*half; v = math.Nextafter32(v, 1) {
		want := uint8(0)
		if float64(v)*255 >= 0.5 {
			want = 1
		}
		if got := quantise(v); got != want {
			t.Fatalf("quantise(%v) = %d, want %d", v, got, want)
		}
		if want == 1 {
			break
		}
	}
}

func TestToImageNotFinite(t *testing.T) {
	t.Parallel()
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for at := range 12 {
			tensor := Tensor{N: 2, C: 3, H: 2, W: 2, Data: make([]float32, 24)}
			tensor.Data[12+at] = float32(bad)
			if _, err := ToImage(tensor, 1); !errors.Is(err, ErrNotFinite) {
				t.Errorf("%v at %d: error %v", bad, at, err)
			}
			if _, err := ToImage(tensor, 0); err != nil {
				t.Errorf("the image beside it: %v", err)
			}
		}
	}
}

func TestShapes(t *testing.T) {
	t.Parallel()
	for _, images := range [][]*image.NRGBA{nil, {photo(3, 4), photo(4, 3)}, {image.NewNRGBA(image.Rectangle{})}} {
		if _, err := FromImages(images); !errors.Is(err, ErrShape) {
			t.Errorf("error %v, want ErrShape", err)
		}
	}
	good := Tensor{N: 1, C: 3, H: 2, W: 2, Data: make([]float32, 12)}
	for _, n := range []int{-1, 1} {
		if _, err := ToImage(good, n); !errors.Is(err, ErrShape) {
			t.Errorf("image %d: error %v, want ErrShape", n, err)
		}
	}
	for _, bad := range []Tensor{
		{}, {1, 3, 2, 2, make([]float32, 11)}, {1, 1, 2, 2, make([]float32, 4)}, {-1, -3, 2, 2, make([]float32, 12)},
	} {
		if _, err := ToImage(bad, 0); !errors.Is(err, ErrShape) {
			t.Errorf("%+v: error %v, want ErrShape", bad, err)
		}
	}
}

func BenchmarkFromImages(b *testing.B) {
	images := []*image.NRGBA{photo(256, 256)}
	for b.Loop() {
		if _, err := FromImages(images); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkToImage(b *testing.B) {
	tensor, err := FromImages([]*image.NRGBA{photo(256, 256)})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ToImage(tensor, 0); err != nil {
			b.Fatal(err)
		}
	}
}
