package quality

import (
	"image"
	"math"
	"testing"
)

// FuzzVectors compares the assembly with the plain code, and both with the definition.
func FuzzVectors(f *testing.F) {
	f.Add(uint8(0), uint8(0), []byte{0, 255})
	f.Add(uint8(1), uint8(1), []byte("a colour"))
	f.Add(uint8(strip-1), uint8(2), []byte{1, 2, 3, 250})
	f.Add(uint8(strip), uint8(block-1), []byte{255, 254, 255, 255, 255})
	f.Add(uint8(2*strip+3), uint8(block), []byte("neither image is constant, and both repeat at lengths of their own"))
	f.Fuzz(func(t *testing.T, wide, high uint8, samples []byte) {
		w, h := window+int(wide)%(3*strip), window+int(high)%(2*block+3)
		a, b := image.NewNRGBA(image.Rect(0, 0, w, h)), image.NewNRGBA(image.Rect(0, 0, w, h))
		for i := range a.Pix {
			if n := len(samples); n > 0 {
				a.Pix[i], b.Pix[i] = samples[i%n], samples[(i+i/n)%n]
			}
		}
		plain, assembly := bothWays(t, a, b)
		if plain != assembly {
			t.Errorf("%dx%d: by assembly %+v, without %+v", w, h, assembly, plain)
		}
		if d := directSSIM(a, b); math.Abs(plain.SSIM-d) > 1e-10 {
			t.Errorf("%dx%d: SSIM %v, by definition %v", w, h, plain.SSIM, d)
		}
	})
}
