package sealed

import (
	"image"
	"math"
)

// A rate model says, before an image is coded, how many bytes it will take at each quantiser: an encode is the larger part of
// what embedding costs, and with a guess that is 7 % off two are enough where bisection takes six. It is the rate of an ideal
// entropy coder for the 8x8 DCT coefficients c of Y'CbCr,
//
//	bits a sample = exp(b + a log(luma + w chroma + floor)),   luma, chroma = mean of log2(1 + (c / step)^2) / 2
//
// with a step for each quantiser, all fitted to what libaom at speed 9 makes of 162 of the training photographs: the
// logarithms of the sizes are off by 0.06 to 0.08 (one deviation) at quantisers 8 to 47, by 0.17 at 56 and more.

// quantisers of libavif: 0 loses nothing that is seen, 63 is the coarsest.
const quantisers = 64

// The fit. knots are quantisers, and steps the binary logarithms of their steps; between them it is linear.
var (
	knots = []float64{0, 3, 6, 12, 20, 28, 36, 44, 52, 63}
	steps = []float64{-0.6456, 1.0994, 1.5056, 2.1823, 2.7042, 3.2889, 4.1153, 4.976, 5.7492, 7.1588}
)

const (
	exponent     = 0.9509
	factor       = -0.1298
	chromaWeight = 1.0689 * 1.0689
	rateFloor    = 0.0765 * 0.0765
)

// Coefficients are counted in bins of a quarter of an octave's width, by the leading bits of a float32, from 2^-2 to 2^11.
const (
	binsOctave  = 4
	firstOctave = -2
	bins        = 13 * binsOctave
)

// rates are the sizes in bytes that an image will take at each quantiser. They fall. Images of less than 8 pixels on a side
// have no statistics, and get those of a mean photograph.
func rates(img *image.NRGBA) (predicted [quantisers]float64) {
	luma, chroma := histograms(img)
	samples := float64(3 * img.Rect.Dx() * img.Rect.Dy())
	for q := range predicted {
		step := math.Exp2(interpolate(float64(q)))
		l, c := 0.0, 0.0
		for bin := range bins {
			middle := math.Ldexp(1+(float64(bin%binsOctave)+0.5)/binsOctave, firstOctave+bin/binsOctave)
			bits := 0.5 * math.Log2(1+(middle/step)*(middle/step))
			l, c = l+luma[bin]*bits, c+chroma[bin]*bits
		}
		predicted[q] = samples / 8 * math.Exp(factor+exponent*math.Log(l+chromaWeight*c+rateFloor))
	}
	return predicted
}

// interpolate is the binary logarithm of the step of a quantiser.
func interpolate(q float64) float64 {
	i := 1
	for i < len(knots)-1 && q > knots[i] {
		i++
	}
	t := (q - knots[i-1]) / (knots[i] - knots[i-1])
	return steps[i-1] + t*(steps[i]-steps[i-1])
}

// histograms are the shares of the coefficients, without the mean of each block, in each bin: those of Y', and those of Cb
// plus those of Cr.
func histograms(img *image.NRGBA) (luma, chroma [bins]float64) {
	width, height := img.Rect.Dx()/8, img.Rect.Dy()/8
	if width == 0 || height == 0 {
		const middling = 3 * binsOctave // a coefficient of 2
		luma[middling], chroma[middling] = 1, 1
		return luma, chroma
	}
	var counts [3][bins]int
	var planes [3][64]float32
	for by := range height {
		for bx := range width {
			block(&planes, img, 8*bx, 8*by)
			for p := range planes {
				dct(&planes[p])
				for _, c := range planes[p][1:] {
					bin := int(math.Float32bits(c)&math.MaxInt32>>21) - (127+firstOctave)*binsOctave
					counts[p][min(max(bin, 0), bins-1)]++
				}
			}
		}
	}
	all := float64(63 * width * height)
	for bin := range bins {
		luma[bin] = float64(counts[0][bin]) / all
		chroma[bin] = float64(counts[1][bin]+counts[2][bin]) / all
	}
	return luma, chroma
}

// block is Y'CbCr (ITU-R BT.601) of 8x8 pixels.
func block(planes *[3][64]float32, img *image.NRGBA, x, y int) {
	for i := range 64 {
		pix := img.Pix[(y+i/8)*img.Stride+4*(x+i%8):][:3]
		r, g, b := float32(pix[0]), float32(pix[1]), float32(pix[2])
		luma := 0.299*r + 0.587*g + 0.114*b
		planes[0][i], planes[1][i], planes[2][i] = luma, 0.564*(b-luma), 0.713*(r-luma)
	}
}

// cosines are the rows of the orthonormal DCT-II of 8 values.
var cosines = func() (c [8][8]float32) {
	for k := range c {
		scale := math.Sqrt(0.25)
		if k == 0 {
			scale = math.Sqrt(0.125)
		}
		for n := range c[k] {
			c[k][n] = float32(scale * math.Cos(float64(2*n+1)*float64(k)*math.Pi/16))
		}
	}
	return c
}()

// dct transforms a block in both directions.
func dct(b *[64]float32) {
	var turned [64]float32
	rowsToColumns(&turned, b)
	rowsToColumns(b, &turned)
}

// rowsToColumns transforms every row of a block into a column of another.
func rowsToColumns(to, from *[64]float32) {
	for y := range 8 {
		in := from[8*y:][:8]
		for k := range 8 {
			c := &cosines[k]
			to[8*k+y] = in[0]*c[0] + in[1]*c[1] + in[2]*c[2] + in[3]*c[3] + in[4]*c[4] + in[5]*c[5] + in[6]*c[6] + in[7]*c[7]
		}
	}
}
