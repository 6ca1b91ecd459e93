package quality

import (
	"fmt"
	"image"
	"math"
	"testing"
)

func gradient(w, h int, phase float64) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			p := m.Pix[m.PixOffset(x, y):]
			for c := range 3 {
				p[c] = uint8(127.5 + 120*math.Sin(phase+float64(x*(c+1))/17)*math.Cos(float64(y)/(11+float64(c))))
			}
			p[3] = 255
		}
	}
	return m
}

func BenchmarkCompare(b *testing.B) {
	for _, side := range []int{256, 512} {
		x, y := gradient(side, side, 0), gradient(side, side, 0.1)
		b.Run(fmt.Sprint(side), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Compare(x, y); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
