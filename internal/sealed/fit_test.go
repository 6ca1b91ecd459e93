package sealed

import (
	"fmt"
	"image"
	"image/draw"
	_ "image/jpeg"
	"math"
	"os"
	"path/filepath"
	"sort"
	"stegomq/internal/avif"
	"stegomq/internal/pixel"
	"syscall"
	"testing"
	"time"
)

func TestQuality(t *testing.T) {
	for q := range quantisers {
		if got := ((100-quality(q))*63 + 50) / 100; got != q {
			t.Error(q, quality(q), got)
		}
	}
}
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(0, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
func square(m image.Image, side int) *image.NRGBA {
	b := m.Bounds()
	s := min(b.Dx(), b.Dy())
	im := pixel.Tensor{}
	_ = im
	_ = s
	d := image.NewNRGBA(image.Rect(0, 0, side, side))
	draw.Draw(d, d.Rect, m, image.Pt(b.Min.X+(b.Dx()-side)/2, b.Min.Y+(b.Dy()-side)/2), draw.Src)
	return d
}
func psnr(a, b *image.NRGBA) float64 {
	s := 0.0
	for i := range a.Pix {
		d := float64(a.Pix[i]) - float64(b.Pix[i])
		s += d * d
	}
	return min(60, 10*math.Log10(255*255*float64(len(a.Pix))*.75/s))
}
func TestFitEval(t *testing.T) {
	for _, set := range []string{"train", "eval/imagenet"} {
		fs, _ := filepath.Glob("../../../shared/data/" + set + "/*")
		sort.Strings(fs)
		for _, rate := range []float64{.1, .5, 1, 2} {
			n, enc, ps, fill := 0, 0, 0.0, 0.0
			var c time.Duration
			hist := map[int]int{}
			worst := 0
			for i := 0; i < len(fs) && n < 24; i += max(1, len(fs)/30) {
				data, _ := os.ReadFile(fs[i])
				m, _, err := pixel.Decode(data, pixel.Limits{})
				if err != nil {
					continue
				}
				if min(m.Rect.Dx(), m.Rect.Dy()) < 256 {
					continue
				}
				im := square(m, 256)
				room := int(rate*65536*3/8) - 100
				t0 := cpu()
				d, e, err := fit(t.Context(), im, room)
				c += cpu() - t0
				if err != nil {
					fmt.Println(fs[i], err)
					continue
				}
				o, err := avif.Decode(t.Context(), d, 256, 256)
				if err != nil {
					t.Fatal(err)
				}
				n++
				enc += e
				hist[e]++
				worst = max(worst, e)
				ps += psnr(im, o)
				fill += float64(len(d)) / float64(room)
			}
			fmt.Printf("%s %.2f n %d enc %.2f %v psnr %.2f fill %.3f cpu %v\n", set, rate, n, float64(enc)/float64(n), hist, ps/float64(n), fill/float64(n), c/time.Duration(n))
		}
	}
}
