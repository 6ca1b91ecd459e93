package quality

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// readPair splits a file of testdata. The halves keep their file's stride, and the right one does
// not start at (0,0).
func readPair(t *testing.T, name string) (reference, test *image.NRGBA) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	src, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	m := image.NewNRGBA(src.Bounds())
	draw.Draw(m, m.Rect, src, image.Point{}, draw.Src)
	w, h := m.Rect.Dx()/2, m.Rect.Dy()
	return m.SubImage(image.Rect(0, 0, w, h)).(*image.NRGBA), m.SubImage(image.Rect(w, 0, 2*w, h)).(*image.NRGBA)
}

// TestGolden holds Compare to scikit-image; testdata/make.py says how the values were made.
func TestGolden(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Pairs []struct {
			Name                  string
			PSNR, SSIM, MAE, RMSE float64
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Pairs) < 10 {
		t.Fatalf("%d pairs", len(golden.Pairs))
	}
	for _, want := range golden.Pairs {
		t.Run(want.Name, func(t *testing.T) {
			t.Parallel()
			a, b := readPair(t, want.Name)
			got, err := Compare(a, b)
			if psnr, alone := PSNR(a, b); psnr != got.PSNR || alone != nil {
				t.Errorf("PSNR alone: %v, %v", psnr, alone)
			}
			if err != nil {
				t.Fatal(err)
			}
			near(t, "PSNR", got.PSNR, want.PSNR, 1e-9)
			near(t, "SSIM", got.SSIM, want.SSIM, 1e-9)
			near(t, "MAE", got.MAE, want.MAE, 1e-12)
			near(t, "RMSE", got.RMSE, want.RMSE, 1e-12)
			if got.Identical != (want.Name == "identical") {
				t.Errorf("Identical = %v", got.Identical)
			}
			back, err := Compare(b, a)
			if err != nil {
				t.Fatal(err)
			}
			if back != got {
				t.Errorf("not symmetric: %+v and %+v", got, back)
			}
		})
	}
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s = %.15g, want %.15g", what, got, want)
	}
}

// directSSIM is the definition, window by window.
func directSSIM(a, b *image.NRGBA) float64 {
	w, h := a.Rect.Dx(), a.Rect.Dy()
	var sum float64
	for c := range channels {
		for y := radius; y < h-radius; y++ {
			for x := radius; x < w-radius; x++ {
				var mx, my, xx, yy, xy float64
				for j := -radius; j <= radius; j++ {
					for i := -radius; i <= radius; i++ {
						g := gauss[max(i, -i)] * gauss[max(j, -j)]
						p := float64(a.Pix[(y+j)*a.Stride+4*(x+i)+c])
						q := float64(b.Pix[(y+j)*b.Stride+4*(x+i)+c])
						mx, my = mx+g*p, my+g*q
						xx, yy, xy = xx+g*p*p, yy+g*q*q, xy+g*p*q
					}
				}
				sum += (2*mx*my + c1) * (2*(xy-mx*my) + c2) / ((mx*mx + my*my + c1) * (xx - mx*mx + yy - my*my + c2))
			}
		}
	}
	return sum / float64(channels*(w-2*radius)*(h-2*radius))
}

func TestSSIMIsTheDefinition(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		w, h := window+r.IntN(30), window+r.IntN(30)
		a, b := image.NewNRGBA(image.Rect(0, 0, w, h)), image.NewNRGBA(image.Rect(0, 0, w, h))
		spread := 1 + r.IntN(255)
		for i := range a.Pix {
			a.Pix[i] = uint8(r.IntN(256))
			b.Pix[i] = uint8(max(0, min(255, int(a.Pix[i])+r.IntN(2*spread)-spread)))
		}
		near(t, "SSIM", ssim(a, b), directSSIM(a, b), 1e-10)
	}
}

// TestIdentical: a mean over images must stay finite, and alpha must not count.
func TestIdentical(t *testing.T) {
	t.Parallel()
	a, b := gradient(20, 13, 0), gradient(20, 13, 0)
	b.Pix[3] = 7
	got, err := Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Scores{PSNR: MaxPSNR, SSIM: 1, Identical: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestCap: one sample off by one in a large image is 108 dB, and is not identical.
func TestCap(t *testing.T) {
	t.Parallel()
	a, b := image.NewNRGBA(image.Rect(0, 0, 600, 600)), image.NewNRGBA(image.Rect(0, 0, 600, 600))
	b.Pix[4*1234+1] = 1
	got, err := Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if got.PSNR != MaxPSNR || got.Identical || got.MAE <= 0 || got.RMSE <= 0 || got.SSIM >= 1 {
		t.Errorf("got %+v", got)
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for _, size := range [][4]int{{20, 20, 20, 21}, {20, 20, 21, 20}, {10, 40, 10, 40}, {40, 10, 40, 10}, {0, 0, 0, 0}} {
		a := image.NewNRGBA(image.Rect(0, 0, size[0], size[1]))
		b := image.NewNRGBA(image.Rect(0, 0, size[2], size[3]))
		if _, err := Compare(a, b); !errors.Is(err, ErrSize) {
			t.Errorf("%v: error %v, want ErrSize", size, err)
		}
	}
}

// TestConcurrent reuses scratch memory of other widths from several goroutines.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			a, b := gradient(12+9*i, 15, 0), gradient(12+9*i, 15, 1)
			want := directSSIM(a, b)
			for range 5 {
				got, err := Compare(a, b)
				if err != nil || math.Abs(got.SSIM-want) > 1e-10 {
					t.Errorf("width %d: %+v, %v; want SSIM %v", 12+9*i, got, err, want)
				}
			}
		})
	}
	group.Wait()
}

func TestGauss(t *testing.T) {
	t.Parallel()
	sum := 0.0
	for i := -radius; i <= radius; i++ {
		sum += math.Exp(-float64(i*i) / 4.5)
	}
	for i, g := range gauss {
		near(t, fmt.Sprint("tap ", i), g, math.Exp(-float64(i*i)/4.5)/sum, 1e-16)
	}
}

// TestAllocations: what a call works in is there from the call before. The pool is left out: under the race detector it drops a part of
// what it is given.
func TestAllocations(t *testing.T) {
	a, b := gradient(130, 90, 0), gradient(130, 90, 1)
	var work scratch
	if n := testing.AllocsPerRun(200, func() { work.ssim(a, b) }); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

func BenchmarkDirectSSIM(b *testing.B) {
	x, y := gradient(256, 256, 0), gradient(256, 256, 0.1)
	for b.Loop() {
		directSSIM(x, y)
	}
}

// TestCorrelation has samples whose correlation is known.
func TestCorrelation(t *testing.T) {
	t.Parallel()
	const seed = 7
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	made := func(f func(i int) float64) *image.NRGBA {
		m := image.NewNRGBA(image.Rect(0, 0, 60, 50))
		for i := range m.Pix {
			m.Pix[i] = uint8(f(i))
		}
		return m
	}
	a := made(func(int) float64 { return float64(rnd.IntN(100)) })
	other := made(func(int) float64 { return float64(rnd.IntN(100)) })
	for _, c := range []struct {
		name string
		b    *image.NRGBA
		want float64
	}{
		{"itself", a, 1},
		{"twice as bright, alpha whatever it is", made(func(i int) float64 {
			if i%4 == 3 {
				return 9
			}
			return 2*float64(a.Pix[i]) + 5
		}), 1},
		{"negative", made(func(i int) float64 { return 255 - float64(a.Pix[i]) }), -1},
		{"half of it", made(func(i int) float64 { return float64(a.Pix[i]) + float64(other.Pix[i]) }), math.Sqrt(0.5)},
		{"unrelated", other, 0},
		{"one value", made(func(int) float64 { return 3 }), 0},
	} {
		got, err := Correlation(a, c.b)
		if err != nil || math.Abs(got-c.want) > 0.03 || math.Abs(c.want) == 1 && math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v (%v)", c.name, got, c.want, err)
		}
	}
	if _, err := Correlation(a, image.NewNRGBA(image.Rect(0, 0, 60, 51))); !errors.Is(err, ErrSize) {
		t.Errorf("images of two sizes: %v", err)
	}
	if _, err := PSNR(image.NewNRGBA(image.Rectangle{}), image.NewNRGBA(image.Rectangle{})); !errors.Is(err, ErrSize) {
		t.Errorf("no image: %v", err)
	}
}
