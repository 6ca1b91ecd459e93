package figure

import (
	"image"
	"math"
)

// Residual returns |a - b| times a gain, per channel, cut at 255: black is where two images agree. Where they differ in size, it is of the part
// that both have, from their upper left corners on. The result starts at (0,0) and is opaque; it is empty where an image is nil. A gain that is not
// finite or below 0 counts as 0.
func Residual(a, b *image.NRGBA, gain float64) *image.NRGBA {
	if !(gain > 0) || math.IsInf(gain, 1) {
		gain = 0
	}
	var size image.Point
	if a != nil && b != nil {
		size = image.Pt(min(a.Rect.Dx(), b.Rect.Dx()), min(a.Rect.Dy(), b.Rect.Dy()))
	}
	out := image.NewNRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		p, q, to := a.Pix[y*a.Stride:], b.Pix[y*b.Stride:], out.Pix[y*out.Stride:]
		for x := range 4 * size.X {
			to[x] = 255
			if x%4 != 3 {
				to[x] = uint8(min(math.Round(math.Abs(float64(p[x])-float64(q[x]))*gain), 255))
			}
		}
	}
	return out
}
