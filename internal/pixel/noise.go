package pixel

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
)

// AddNoise adds independent Gaussian noise of standard deviation sigma, in levels of 0..255, to the
// red, green and blue of every pixel, then rounds to the nearest level (halves upwards) and clips to
// 0..255, as a network that purifies noisy images is fed. m is not changed; the result is opaque.
// sigma 0 gives a copy.
//
// The noise depends on seed alone: PCG seeded with (seed, a constant of this package), normal
// deviates by the ziggurat method of math/rand/v2, in the order of the samples. Its tail test
// compares rounded exponentials, so a platform with fused multiply-add may draw another deviate
// about once in 1e8.
//
// A sigma that is negative or not finite is an error that wraps ErrNoise.
func AddNoise(m *image.NRGBA, sigma float64, seed uint64) (*image.NRGBA, error) {
	if !(sigma >= 0) || math.IsInf(sigma, 1) {
		return nil, fmt.Errorf("%w: sigma %v; give a number from 0 to 255", ErrNoise, sigma)
	}
	const stream = 0x7069786e6f697365 // "pixnoise": keeps this stream apart from other uses of the seed
	normal := rand.New(rand.NewPCG(seed, stream))
	w, h := m.Rect.Dx(), m.Rect.Dy()
	dst := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		src, row := m.Pix[y*m.Stride:][:4*w], dst.Pix[y*dst.Stride:][:4*w]
		for i, v := range src {
			if i&3 == 3 {
				row[i] = 255
				continue
			}
			// The conversion forbids fusing the product into the sum.
			x := math.Floor(float64(v) + float64(sigma*normal.NormFloat64()) + 0.5)
			row[i] = uint8(max(0, min(255, x)))
		}
	}
	return dst, nil
}
