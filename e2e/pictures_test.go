package e2e

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"testing"
)

// picture paints something like a photograph: a sky of smooth colour, a few discs, and noise. The same seed
// gives the same pixels.
func picture(seed uint64, w, h int) *image.NRGBA {
	rng := rand.New(rand.NewPCG(seed, 1))
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	type disc struct{ x, y, r, c [3]float64 }
	var base, slope disc
	discs := make([]disc, 4)
	for c := range 3 {
		base.c[c], slope.x[c], slope.y[c] = 60+100*rng.Float64(), 80*rng.Float64()-40, 80*rng.Float64()-40
	}
	for i := range discs {
		discs[i].x[0], discs[i].y[0], discs[i].r[0] = rng.Float64(), rng.Float64(), 0.1+0.2*rng.Float64()
		for c := range 3 {
			discs[i].c[c] = 255 * rng.Float64()
		}
	}
	for y := range h {
		for x := range w {
			u, v := float64(x)/float64(w), float64(y)/float64(h)
			var px [3]uint8
			for c := range 3 {
				value := base.c[c] + slope.x[c]*u + slope.y[c]*v
				for _, d := range discs {
					if math.Hypot(u-d.x[0], v-d.y[0]) < d.r[0] {
						value = d.c[c] + 30*u
					}
				}
				px[c] = uint8(min(max(value+4*rng.NormFloat64(), 0), 255))
			}
			img.SetNRGBA(x, y, color.NRGBA{R: px[0], G: px[1], B: px[2], A: 255})
		}
	}
	return img
}

func encodePNG(t *testing.T, img image.Image) []byte {
	t.Helper()
	var buf bytes.Buffer
	must(t, png.Encode(&buf, img))
	return buf.Bytes()
}

func encodeJPEG(t *testing.T, img image.Image) []byte {
	t.Helper()
	var buf bytes.Buffer
	must(t, jpeg.Encode(&buf, img, &jpeg.Options{Quality: 92}))
	return buf.Bytes()
}

// photographs writes n pictures into a folder of the home, JPEG and PNG in turn, and gives its name.
func (h *home) photographs(name string, n, w, height int) string {
	h.t.Helper()
	for i := range n {
		img := picture(uint64(i+1), w, height)
		if i%2 == 0 {
			h.write(fmt.Sprintf("%s/%02d.jpg", name, i), encodeJPEG(h.t, img))
		} else {
			h.write(fmt.Sprintf("%s/%02d.png", name, i), encodePNG(h.t, img))
		}
	}
	return name
}
