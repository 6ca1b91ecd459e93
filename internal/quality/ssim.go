package quality

import (
	"image"
	"slices"
	"sync"
)

const (
	window = 11 // taps of the Gaussian
	radius = 5  // (window-1)/2
	c1     = (0.01 * 255) * (0.01 * 255)
	c2     = (0.03 * 255) * (0.03 * 255)
)

// gauss holds the taps at distance 0 to radius; the full window sums to 1. They are written out because math.Exp differs between processors.
var gauss = [radius + 1]float64{
	0.26601172486179436, 0.2130055377112537, 0.10936068950970002, 0.03600077212843083, 0.007598758135239186, 0.00102838008447911,
}

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

// strip is the width in pixels of what is measured from top to bottom before the next, so that its rows stay in the caches of the processor,
// however wide the images. 40 to 64 took the least time of 16 to 512.
const strip = 48

// scratch is the working memory of one comparison.
type scratch struct {
	samples [channels * (strip + window - 1)]moments // one row of s, d, s^2, d^2, channels interleaved
	rows    [window + 1][channels*strip + 1]moments  // 12 rows, filtered along x; the odd length spreads them over the banks of the first cache
	starts  [2 * (window + 1)]*float64               // of the rows, twice over, so that 12 in turn are a part of it wherever they begin
	means   [2][channels * strip]moments             // of two rows of windows
	sums    []float64                                // of the similarities in each row of windows
}

var scratches = sync.Pool{New: func() any {
	s := new(scratch)
	for i := range s.starts {
		s.starts[i] = &s.rows[i%len(s.rows)][0].s
	}
	return s
}}

// ssim is the mean over windows and channels; see Compare. The Gaussian is separable: each row is filtered along x once and kept until the 11
// rows that need it have passed.
//
// The sums are in float64. A filtered square is at most 255^2 and off by at most 24 roundings, 2e-10, and so is a variance, which is a difference
// of two such; c2 is 58.5, so the similarity of a window is off by less than 1e-10, whatever the images. Products are rounded before they are
// added (float64(x*y)+z): the compiler must not fuse the two, or processors would differ in the last bits.
func ssim(a, b *image.NRGBA) float64 {
	w, h := a.Rect.Dx(), a.Rect.Dy()
	across, down := w-window+1, h-window+1
	work := scratches.Get().(*scratch)
	defer scratches.Put(work)
	even := down + down%2
	work.sums = slices.Grow(work.sums[:0], even)[:even]
	clear(work.sums)
	for x := 0; x < across; x += strip {
		work.strip(a.Pix[4*x:], b.Pix[4*x:], a.Stride, b.Stride, min(strip, across-x), h)
	}
	sum := 0.0
	for _, row := range work.sums[:down] { // row by row, so that large images lose no digits
		sum += row
	}
	return sum / float64(channels*across*down)
}

// strip adds the similarities of the windows at the first n places of each row of two images of height h. Of an odd number of rows of windows,
// one more is made up, of rows that stand there from before.
func (s *scratch) strip(a, b []uint8, strideA, strideB, n, h int) {
	samples := s.samples[:channels*(n+window-1)]
	n *= channels
	for y, next := 0, 0; y < len(s.sums); y += len(s.means) {
		for ; next < min(y+len(s.rows), h); next++ {
			load(samples, a[next*strideA:], b[next*strideB:])
			along(s.rows[next%len(s.rows)][:n], samples)
		}
		s.down(y%len(s.rows), n)
		similarity(s.means[0][:n], s.means[1][:n], (*[2]float64)(s.sums[y:]))
	}
}

// loadGo reads samples of one row of both images.
func loadGo(dst []moments, a, b []uint8) {
	for len(dst) >= 3 && len(a) >= 4 && len(b) >= 4 {
		for c := range 3 {
			x, y := int32(a[c]), int32(b[c])
			s, d := x+y-255, x-y
			dst[c] = moments{float64(s), float64(d), float64(s * s), float64(d * d)}
		}
		dst, a, b = dst[3:], a[4:], b[4:]
	}
}

// alongGo filters one row along x: dst[i] is centred on the sample radius pixels after src[i].
func alongGo(dst, src []moments) {
	var taps [window][]moments
	for i := range taps {
		taps[i] = src[channels*i:]
	}
	filter(dst, &taps)
}

// downGo filters n samples of 12 rows, from the first in turn, along y into two rows of means.
func (s *scratch) downGo(first, n int) {
	for r := range s.means {
		var taps [window][]moments
		for i := range taps {
			taps[i] = s.rows[(first+r+i)%len(s.rows)][:n]
		}
		filter(s.means[r][:n], &taps)
	}
}

// filter weighs 11 samples for each one of dst: those of the taps at its place.
func filter(dst []moments, taps *[window][]moments) {
	for i := range dst {
		m := &taps[radius][i]
		s, d, ss, dd := float64(m.s*gauss[0]), float64(m.d*gauss[0]), float64(m.ss*gauss[0]), float64(m.dd*gauss[0])
		for k := 1; k <= radius; k++ {
			g, l, r := gauss[k], &taps[radius-k][i], &taps[radius+k][i]
			s += float64(g * (l.s + r.s))
			d += float64(g * (l.d + r.d))
			ss += float64(g * (l.ss + r.ss))
			dd += float64(g * (l.dd + r.dd))
		}
		dst[i] = moments{s, d, ss, dd}
	}
}

// similarityGo adds the similarity of each window of two rows to the row's sum, one after the other.
func similarityGo(first, second []moments, sums *[2]float64) {
	for r, row := range [][]moments{first, second} {
		for _, m := range row {
			vs, vd := m.ss-float64(m.s*m.s), m.dd-float64(m.d*m.d)
			s := m.s + 255
			s2, d2 := float64(s*s), float64(m.d*m.d)
			sums[r] += (s2 - d2 + 2*c1) * (vs - vd + 2*c2) / ((s2 + d2 + 2*c1) * (vs + vd + 2*c2))
		}
	}
}
