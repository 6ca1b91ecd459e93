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

// gauss holds the taps at distance 0 to radius, exp(-i^2/(2 1.5^2)) over the sum of the full window. They are written out because math.Exp
// differs between processors.
var gauss = [radius + 1]float64{
	0.26601172486179436, 0.2130055377112537, 0.10936068950970002, 0.03600077212843083, 0.007598758135239186, 0.00102838008447911,
}

// weights are gauss, each as many times as a vector has places.
var weights = func() (w [radius + 1][4]float64) {
	for k, g := range gauss {
		w[k] = [4]float64{g, g, g, g}
	}
	return w
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

// A part of the windows is measured before the next, so that what it takes stays in the caches of the processor, however large the images:
// at most strip pixels in each of at most block rows, an even number. 72 and 32 took the least time of what was tried.
const (
	strip = 72
	block = 32
	width = channels*strip + 1 // of a row in memory; odd, so that the samples of a column do not share few places of a cache
)

// scratch is the working memory of one comparison.
type scratch struct {
	samples [channels * (strip + window - 1)]moments // one row of s, d, s^2, d^2, channels interleaved
	rows    [(block + window - 1) * width]moments    // filtered along x
	means   [block * width]moments                   // filtered along y as well
	sums    []float64                                // of the similarities in each row of windows
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// ssim is the mean over windows and channels; see Compare. The Gaussian is separable: rows are filtered along x, and what comes out along y.
//
// The sums are in float64. A filtered square is at most 255^2 and off by at most 24 roundings, 2e-10, and so is a variance, which is a difference
// of two such; c2 is 58.5, so the similarity of a window is off by less than 1e-10, whatever the images. Products are rounded before they are
// added (float64(x*y)+z): the compiler must not fuse the two, or processors would differ in the last bits.
func ssim(a, b *image.NRGBA) float64 {
	work := scratches.Get().(*scratch)
	defer scratches.Put(work)
	return work.ssim(a, b)
}

func (s *scratch) ssim(a, b *image.NRGBA) float64 {
	w, h := a.Rect.Dx(), a.Rect.Dy()
	across, down := w-window+1, h-window+1
	even := down + down%2
	s.sums = slices.Grow(s.sums[:0], even)[:even]
	clear(s.sums)
	for x := 0; x < across; x += strip {
		s.measure(a.Pix[4*x:], b.Pix[4*x:], a.Stride, b.Stride, min(strip, across-x), h)
	}
	sum := 0.0
	for _, row := range s.sums[:down] { // row by row, so that large images lose no digits
		sum += row
	}
	return sum / float64(channels*across*down)
}

// measure adds the similarities of the windows at the first n places of each row of two images of height h. Of an odd number of rows of windows,
// one more is made up, of means that stand there from before.
func (s *scratch) measure(a, b []uint8, strideA, strideB, n, h int) {
	samples := s.samples[:channels*(n+window-1)]
	n *= channels
	have := 0 // rows of this block
	for y := 0; y < h-window+1; y += block {
		down := min(block, h-window+1-y)
		for ; have < down+window-1; have++ {
			load(samples, a[(y+have)*strideA:], b[(y+have)*strideB:])
			filter(s.rows[have*width:], samples, channels, channels, n/channels, channels)
		}
		filter(s.means[:], s.rows[:], width, width, down, n)
		for i := 0; i < down; i += 2 {
			similarity(s.means[i*width:][:n], s.means[(i+1)*width:][:n], (*[2]float64)(s.sums[y+i:]))
		}
		copy(s.rows[:], s.rows[block*width:]) // the next block begins with the last rows of this one
		have = window - 1
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

// filterGo weighs 11 samples of src for each sample of dst, along as many lines as there are, each with n samples of dst. The lines begin side
// by side, and the samples of one are steps of to and from apart.
func filterGo(dst, src []moments, to, from, n, lines int) {
	for i := range n {
		for line := range lines {
			p := src[line+i*from:]
			m := &p[radius*from]
			s, d, ss, dd := float64(m.s*gauss[0]), float64(m.d*gauss[0]), float64(m.ss*gauss[0]), float64(m.dd*gauss[0])
			for k := 1; k <= radius; k++ {
				g, l, r := gauss[k], &p[(radius-k)*from], &p[(radius+k)*from]
				s += float64(g * (l.s + r.s))
				d += float64(g * (l.d + r.d))
				ss += float64(g * (l.ss + r.ss))
				dd += float64(g * (l.dd + r.dd))
			}
			dst[line+i*to] = moments{s, d, ss, dd}
		}
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
