package quality

import (
	"image"
	"math"
)

// scaleWeights are the shares of the scales of MS-SSIM, the finest first.
var scaleWeights = [...]float64{0.0448, 0.2856, 0.3001, 0.2363, 0.1333}

// msssim is the multi-scale SSIM of Wang, Simoncelli and Bovik (2003) of two images of one size, the mean over the channels: contrast and
// structure at five scales, each of half the one before (means of 2x2 pixels), and luminance at the last, to the power of their weights.
// What is below 0 counts as 0. The coarsest scale must hold the window of 11 pixels, so it is not defined where a side is under 176.
// pytorch-msssim gives the same of sides that are multiples of 16; it pads others.
func msssim(reference, test *image.NRGBA) (v float64, defined bool) {
	w, h := reference.Rect.Dx(), reference.Rect.Dy()
	if min(w, h) < window<<(len(scaleWeights)-1) {
		return 0, false
	}
	for c := range channels {
		product, x, y := 1.0, planeOf(reference, c), planeOf(test, c)
		for i, weight := range scaleWeights {
			luminance, contrast := x.similarity(y)
			if i == len(scaleWeights)-1 {
				contrast = luminance
			}
			product *= math.Pow(max(contrast, 0), weight)
			x, y = x.half(), y.half()
		}
		v += product / channels
	}
	return v, true
}

// plane is a channel of an image, 0..255.
type plane struct {
	w, h int
	v    []float64
}

func planeOf(m *image.NRGBA, channel int) plane {
	p := plane{m.Rect.Dx(), m.Rect.Dy(), nil}
	for y := range p.h {
		for x := range p.w {
			p.v = append(p.v, float64(m.Pix[y*m.Stride+4*x+channel]))
		}
	}
	return p
}

// times is the product with another plane, value by value.
func (p plane) times(q plane) plane {
	out := plane{p.w, p.h, make([]float64, len(p.v))}
	for i, v := range p.v {
		out.v[i] = v * q.v[i]
	}
	return out
}

// half has a value for each 2x2 values, their mean; an odd row or column at the end is left out.
func (p plane) half() plane {
	out := plane{p.w / 2, p.h / 2, nil}
	for y := range out.h {
		for x := range out.w {
			at := 2*y*p.w + 2*x
			out.v = append(out.v, (p.v[at]+p.v[at+1]+p.v[at+p.w]+p.v[at+p.w+1])/4)
		}
	}
	return out
}

// blur weighs the windows that lie inside the plane by the Gaussian, along rows and then along columns.
func (p plane) blur() plane {
	return p.across().turned().across().turned()
}

func (p plane) across() plane {
	out := plane{p.w - window + 1, p.h, nil}
	for y := range p.h {
		for x := range out.w {
			row := p.v[y*p.w+x:]
			sum := gauss[0] * row[radius]
			for k := 1; k <= radius; k++ {
				sum += gauss[k] * (row[radius-k] + row[radius+k])
			}
			out.v = append(out.v, sum)
		}
	}
	return out
}

func (p plane) turned() plane {
	out := plane{p.h, p.w, make([]float64, len(p.v))}
	for y := range p.h {
		for x := range p.w {
			out.v[x*p.h+y] = p.v[y*p.w+x]
		}
	}
	return out
}

// similarity is the mean over the windows of SSIM, and of its part of contrast and structure.
func (p plane) similarity(q plane) (whole, contrast float64) {
	mx, my, xx, yy, xy := p.blur(), q.blur(), p.times(p).blur(), q.times(q).blur(), p.times(q).blur()
	for i := range mx.v {
		x, y := mx.v[i], my.v[i]
		cs := (2*(xy.v[i]-x*y) + c2) / (xx.v[i] - x*x + yy.v[i] - y*y + c2)
		contrast += cs
		whole += cs * (2*x*y + c1) / (x*x + y*y + c1)
	}
	n := float64(len(mx.v))
	return whole / n, contrast / n
}
