// Package steganalysis tells stego images from covers. It owns the features that images are judged by, the
// classifier, how its errors are counted, and what they are to be read against: a control that hides nothing and one that
// is known to be found.
//
// Invariants:
//   - Pure and deterministic: the same images and seed give the same figures on every machine.
//   - An image pair is never on both sides of a split: what the classifier learns of a cover must not help it
//     with that cover's stego image.
package steganalysis

import "image"

// The order of SPAM is two and its differences are clipped at three, as in the paper's 686 features.
const (
	threshold = 3
	levels    = 2*threshold + 1
	cells     = levels * levels * levels
)

// Features is the number of those in the channels, the first half of what ColourSPAM returns.
const Features = 2 * cells

// ColourSPAM returns the second-order features by Pevný, Bas and Fridrich (2010): the probability of a difference
// between neighbouring pixels given the two before it, in eight directions, each of them clipped at 3. Of Features, the first half
// is the mean over the four directions along rows and columns, the second over the four diagonals; both are
// means over red, green and blue. Behind them come the same of the differences R-G, G-B and R-B. Photographs have less
// noise in these than in the channels, so that changes which the channels do not share are seen there first. An image with a
// side below four pixels has no features: all are zero.
func ColourSPAM(m *image.NRGBA) []float64 {
	planes := planesOf(m)
	r, g, b := planes[0], planes[1], planes[2]
	return append(spam(planes[:]), spam([]plane{r.less(g), g.less(b), r.less(b)})...)
}

// spam is the mean of the features of some planes.
func spam(planes []plane) []float64 {
	f := make([]float64, Features)
	for _, p := range planes {
		for i, d := range [4][2]int{{1, 0}, {0, 1}, {1, 1}, {1, -1}} {
			half := f[:cells]
			if i >= 2 {
				half = f[cells:]
			}
			p.transitions(d[0], d[1], 1/(2*float64(len(planes))), half)
		}
	}
	return f
}

// plane is one channel of an image, or what two channels differ by.
type plane struct {
	width, height int
	pixels        []int16
}

func planesOf(m *image.NRGBA) (planes [3]plane) {
	width, height := m.Rect.Dx(), m.Rect.Dy()
	for c := range planes {
		planes[c] = plane{width, height, make([]int16, 0, width*height)}
		for y := range height {
			row := m.Pix[y*m.Stride:][:4*width]
			for x := c; x < len(row); x += 4 {
				planes[c].pixels = append(planes[c].pixels, int16(row[x]))
			}
		}
	}
	return planes
}

func (p plane) less(o plane) plane {
	d := plane{p.width, p.height, make([]int16, len(p.pixels))}
	for i, v := range p.pixels {
		d.pixels[i] = v - o.pixels[i]
	}
	return d
}

// transitions adds to sum a share of the probabilities of one direction and of its opposite: index (a*levels+b)*levels+c is
// that of the difference c after a and b.
func (p plane) transitions(dx, dy int, share float64, sum []float64) {
	step := dy*p.width + dx
	// Three differences in a row take four pixels.
	firstX, lastX := span(dx, p.width, 3)
	firstY, lastY := span(dy, p.height, 3)
	if firstX >= lastX || firstY >= lastY {
		return
	}
	differences := p.differences(dx, dy)
	var counts [cells]int
	for y := firstY; y < lastY; y++ {
		row, after, last := differences[y*p.width:], differences[y*p.width+step:], differences[y*p.width+2*step:]
		for x := firstX; x < lastX; x++ {
			counts[(int(row[x])*levels+int(after[x]))*levels+int(last[x])]++
		}
	}
	// Who walks the other way meets the same differences in the other order, with the other sign.
	var opposite [cells]int
	for i, n := range counts {
		a, b, c := i/(levels*levels), i/levels%levels, i%levels
		opposite[((levels-1-c)*levels+levels-1-b)*levels+levels-1-a] = n
	}
	conditional(&counts, share/2, sum)
	conditional(&opposite, share/2, sum)
}

// differences between each pixel and the next one in a direction, from 0 (-threshold or less) to levels-1; those without a next
// one are 0.
func (p plane) differences(dx, dy int) []uint8 {
	d := make([]uint8, len(p.pixels))
	firstX, lastX := span(dx, p.width, 1)
	firstY, lastY := span(dy, p.height, 1)
	for y := firstY; y < lastY; y++ {
		at := y * p.width
		for x := firstX; x < lastX; x++ {
			v := p.pixels[at+x] - p.pixels[at+dy*p.width+dx+x]
			d[at+x] = uint8(max(-threshold, min(threshold, v)) + threshold)
		}
	}
	return d
}

// conditional adds a share of the probabilities of the last difference given those before it.
func conditional(counts *[cells]int, share float64, sum []float64) {
	for pair := 0; pair < cells; pair += levels {
		total := 0
		for _, n := range counts[pair : pair+levels] {
			total += n
		}
		if total == 0 {
			continue
		}
		for i, n := range counts[pair : pair+levels] {
			sum[pair+i] += share * float64(n) / float64(total)
		}
	}
}

// span is where a walk of so many steps in a direction can begin.
func span(step, size, steps int) (first, last int) {
	switch {
	case step > 0:
		return 0, size - steps
	case step < 0:
		return steps, size
	}
	return 0, size
}
