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

// Features is the length of what SPAM returns.
const Features = 2 * cells

// SPAM returns the second-order features by Pevný, Bas and Fridrich (2010): the probability of a difference
// between neighbouring pixels given the two before it, in eight directions, each of them clipped at 3. The first half
// is the mean over the four directions along rows and columns, the second over the four diagonals; both are
// means over red, green and blue. An image with a side below four pixels has no features: all are zero.
func SPAM(m *image.NRGBA) []float64 {
	f := make([]float64, Features)
	for channel := range 3 {
		p := planeOf(m, channel)
		for i, d := range []struct{ dx, dy int }{{1, 0}, {-1, 0}, {0, 1}, {0, -1}, {1, 1}, {-1, -1}, {1, -1}, {-1, 1}} {
			half := f[:cells]
			if i >= 4 {
				half = f[cells:]
			}
			p.transitions(d.dx, d.dy, half)
		}
	}
	return f
}

// plane is one channel of an image.
type plane struct {
	width, height int
	pixels        []uint8
}

func planeOf(m *image.NRGBA, channel int) plane {
	p := plane{m.Rect.Dx(), m.Rect.Dy(), make([]uint8, 0, m.Rect.Dx()*m.Rect.Dy())}
	for y := range p.height {
		row := m.Pix[y*m.Stride:][:4*p.width]
		for x := channel; x < len(row); x += 4 {
			p.pixels = append(p.pixels, row[x])
		}
	}
	return p
}

// transitions adds to sum a twelfth of the probabilities of one direction: index (a*levels+b)*levels+c is that of
// the difference c after a and b.
func (p plane) transitions(dx, dy int, sum []float64) {
	var counts [cells]int
	step := dy*p.width + dx
	difference := func(at int) int {
		return max(-threshold, min(threshold, int(p.pixels[at])-int(p.pixels[at+step]))) + threshold
	}
	// Three differences in a row take four pixels.
	firstX, lastX := span(dx, p.width)
	firstY, lastY := span(dy, p.height)
	for y := firstY; y < lastY; y++ {
		for x := firstX; x < lastX; x++ {
			at := y*p.width + x
			a, b, c := difference(at), difference(at+step), difference(at+2*step)
			counts[(a*levels+b)*levels+c]++
		}
	}
	const share = 1.0 / (3 * 4)
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

// span is where a walk of three steps in a direction can begin.
func span(step, size int) (first, last int) {
	switch {
	case step > 0:
		return 0, size - 3
	case step < 0:
		return 3, size
	}
	return 0, size
}
