package quality

import (
	"image"
	"math"
	"sync"
)

const (
	window = 11  // taps of the Gaussian
	radius = 5   // (window-1)/2
	sigma  = 1.5 // of the Gaussian, in pixels
	c1     = (0.01 * 255) * (0.01 * 255)
	c2     = (0.03 * 255) * (0.03 * 255)
)

// gauss holds the taps at distance 0 to radius; the full window sums to 1.
var gauss = func() (g [radius + 1]float64) {
	sum := 0.0
	for i := range g {
		g[i] = math.Exp(-float64(i*i) / (2 * sigma * sigma))
		sum += g[i]
		if i > 0 {
			sum += g[i]
		}
	}
	for i := range g {
		g[i] /= sum
	}
	return g
}()

// moments are weighted means around one sample of s = x+y-255 and d = x-y.
//
// Four filtered maps give all that SSIM needs of x and y, where x, y, xx, yy and xy would be five:
//
//	mu_x mu_y         = (S^2 - D^2)/4 with S = E[x+y], D = E[x-y]
//	mu_x^2 + mu_y^2   = (S^2 + D^2)/2
//	cov(x,y)          = (var s - var d)/4
//	var x + var y     = (var s + var d)/2
//
// The 255 keeps s small, which costs nothing and saves digits.
type moments struct{ s, d, ss, dd float64 }

// scratch is the working memory of one comparison: a few rows, whatever the height.
type scratch struct {
	samples []moments         // one row of s, d, s^2, d^2, channels interleaved
	rows    [window][]moments // the last 11 rows, filtered along x
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) grow(w int) {
	if n := channels * w; len(s.samples) < n {
		s.samples = make([]moments, n)
		for i := range s.rows {
			s.rows[i] = make([]moments, n)
		}
	}
}

// ssim is the mean over windows and channels; see Compare. The Gaussian is separable: each row is
// filtered along x once and kept until the 11 rows that need it have passed.
func ssim(a, b *image.NRGBA) float64 {
	w, h := a.Rect.Dx(), a.Rect.Dy()
	work := scratches.Get().(*scratch)
	defer scratches.Put(work)
	work.grow(w)

	inner := channels * (w - window + 1)
	sum := 0.0
	for y := range h {
		load(work.samples[:channels*w], a.Pix[y*a.Stride:][:4*w], b.Pix[y*b.Stride:][:4*w])
		along(work.rows[y%window][:inner], work.samples[:channels*w])
		if y < window-1 {
			continue
		}
		var rows [window][]moments // oldest first
		for i := range rows {
			rows[i] = work.rows[(y+1+i)%window][:inner]
		}
		sum += across(&rows) // row by row, so that large images lose no digits
	}
	return sum / float64(inner*(h-window+1))
}

// load reads one row of both images.
func load(dst []moments, a, b []uint8) {
	for len(dst) >= 3 && len(a) >= 4 && len(b) >= 4 {
		for c := range 3 {
			x, y := int32(a[c]), int32(b[c])
			s, d := x+y-255, x-y
			dst[c] = moments{float64(s), float64(d), float64(s * s), float64(d * d)}
		}
		dst, a, b = dst[3:], a[4:], b[4:]
	}
}

// along filters one row along x: dst[i] is centred on the sample radius pixels after src[i].
func along(dst, src []moments) {
	const step = channels
	for i := range dst {
		p := src[i:][: 10*step+1 : 10*step+1]
		m := &p[5*step]
		s, d, ss, dd := m.s*gauss[0], m.d*gauss[0], m.ss*gauss[0], m.dd*gauss[0]
		for k := 1; k <= radius; k++ {
			g, l, r := gauss[k], &p[(5-k)*step], &p[(5+k)*step]
			s += g * (l.s + r.s)
			d += g * (l.d + r.d)
			ss += g * (l.ss + r.ss)
			dd += g * (l.dd + r.dd)
		}
		dst[i] = moments{s, d, ss, dd}
	}
}

// across filters 11 rows along y and sums the similarity of the windows.
func across(rows *[window][]moments) (sum float64) {
	for i := range rows[0] {
		m := &rows[5][i]
		s, d, ss, dd := m.s*gauss[0], m.d*gauss[0], m.ss*gauss[0], m.dd*gauss[0]
		for k := 1; k <= radius; k++ {
			g, l, r := gauss[k], &rows[5-k][i], &rows[5+k][i]
			s += g * (l.s + r.s)
			d += g * (l.d + r.d)
			ss += g * (l.ss + r.ss)
			dd += g * (l.dd + r.dd)
		}
		vs, vd := ss-s*s, dd-d*d
		s += 255
		s2, d2 := s*s, d*d
		sum += ((s2-d2)/2 + c1) * ((vs-vd)/2 + c2) / (((s2+d2)/2 + c1) * ((vs+vd)/2 + c2))
	}
	return sum
}
