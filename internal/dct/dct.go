// Package dct owns the orthogonal transform between the samples of an RGB image and its coefficients: three colour axes, and on
// each of them the two-dimensional DCT-II of square blocks.
//
// A sample less 127.5 goes onto the axes (1,1,1)/sqrt3 (brightness), (1,0,-1)/sqrt2 and (1,-2,1)/sqrt6. A block of side N has
// 3 N^2 frequencies: f = (u N + v) 3 + axis, where u counts vertical and v horizontal oscillations. Coefficients lie
// frequency by frequency, each over the blocks in raster order: at f Blocks + block. trainer/rotation.py does the same.
//
// Invariants:
//   - The transform is orthonormal: what is added to samples has the energy of what is added to coefficients.
//   - Planes are R, G and B one after another, row by row. Values are float64 and never clipped.
package dct

import (
	"fmt"
	"math"
)

// middle of the 8-bit samples.
const middle = 127.5

// The colour axes, each times its length.
var (
	grey    = 1 / math.Sqrt(3)
	redBlue = 1 / math.Sqrt2
	green   = 1 / math.Sqrt(6)
)

// Grid says how an image is cut into square blocks.
type Grid struct {
	Width, Height int // of the image, in samples
	Side          int // of a block, in samples: even
	Rows, Cols    int // of blocks
}

// Covering has blocks for the whole image. Where they go beyond it, its last row and column are repeated.
func Covering(width, height, side int) Grid {
	return Grid{width, height, side, (height + side - 1) / side, (width + side - 1) / side}
}

// Within has the blocks that lie inside the image. Samples right of and below them belong to none.
func Within(width, height, side int) Grid {
	return Grid{width, height, side, height / side, width / side}
}

// Blocks is their number.
func (g Grid) Blocks() int { return g.Rows * g.Cols }

// Frequencies is their number: 3 Side^2.
func (g Grid) Frequencies() int { return 3 * g.Side * g.Side }

// Coefficients is the number of all: Frequencies x Blocks.
func (g Grid) Coefficients() int { return g.Frequencies() * g.Blocks() }

// Samples is the number of those of the image: 3 x Height x Width.
func (g Grid) Samples() int { return 3 * g.Height * g.Width }

// Analyse writes the coefficients of planes. It panics where a length is wrong.
func (g Grid) Analyse(coefficients, planes []float64) {
	g.check(coefficients, planes)
	t := newTransform(g.Side)
	n, pixels := g.Blocks(), g.Width*g.Height
	for block := range n {
		g.visit(block, true, func(at, i int) {
			r, gr, b := planes[at]-middle, planes[at+pixels]-middle, planes[at+2*pixels]-middle
			t.axes[0][i] = float64(grey * (r + gr + b))
			t.axes[1][i] = float64(redBlue * (r - b))
			t.axes[2][i] = float64(green * (r + b - 2*gr))
		})
		for axis, values := range t.axes {
			t.forward(t.scratch, values)
			t.forward(values, t.scratch)
			for i, v := range values {
				coefficients[(3*i+axis)*n+block] = v
			}
		}
	}
}

// Synthesise is the inverse of Analyse. Samples outside the blocks are left as they are, and so is what blocks say beyond the image.
func (g Grid) Synthesise(planes, coefficients []float64) {
	g.check(coefficients, planes)
	t := newTransform(g.Side)
	n, pixels := g.Blocks(), g.Width*g.Height
	for block := range n {
		for axis, values := range t.axes {
			for i := range values {
				values[i] = coefficients[(3*i+axis)*n+block]
			}
			t.inverse(t.scratch, values)
			t.inverse(values, t.scratch)
		}
		g.visit(block, false, func(at, i int) {
			y, p, q := float64(grey*t.axes[0][i]), float64(redBlue*t.axes[1][i]), float64(green*t.axes[2][i])
			planes[at] = y + p + q + middle
			planes[at+pixels] = y - 2*q + middle
			planes[at+2*pixels] = y - p + q + middle
		})
	}
}

// visit calls for the samples of a block with their places in a plane and in the block: all with repeat, else those inside the image.
func (g Grid) visit(block int, repeat bool, sample func(at, i int)) {
	top, left := block/g.Cols*g.Side, block%g.Cols*g.Side
	for y := range g.Side {
		for x := range g.Side {
			if !repeat && (top+y >= g.Height || left+x >= g.Width) {
				break
			}
			sample(min(top+y, g.Height-1)*g.Width+min(left+x, g.Width-1), y*g.Side+x)
		}
	}
}

func (g Grid) check(coefficients, planes []float64) {
	if len(coefficients) != g.Coefficients() || len(planes) != g.Samples() {
		panic(fmt.Sprintf("dct: %d coefficients and %d samples, want %d and %d", len(coefficients), len(planes), g.Coefficients(), g.Samples()))
	}
}

// transform is the one-dimensional DCT of all rows of a block, with room to work in.
type transform struct {
	side    int
	even    []float64 // half x half: cosines of the even frequencies at the first half of the places, and
	odd     []float64 // of the odd ones
	axes    [3][]float64
	scratch []float64
	sum     []float64
	dif     []float64
}

func newTransform(side int) *transform {
	half := side / 2
	t := &transform{side: side, even: make([]float64, half*half), odd: make([]float64, half*half),
		scratch: make([]float64, side*side), sum: make([]float64, half), dif: make([]float64, half)}
	for k := range side {
		scale := math.Sqrt(2 / float64(side))
		if k == 0 {
			scale = math.Sqrt(1 / float64(side))
		}
		table := t.even
		if k%2 == 1 {
			table = t.odd
		}
		for x := range half {
			table[k/2*half+x] = scale * math.Cos(math.Pi*float64((2*x+1)*k)/float64(2*side))
		}
	}
	for axis := range t.axes {
		t.axes[axis] = make([]float64, side*side)
	}
	return t
}

// forward transforms every row of from into a column of to. Twice is the transform of the block.
func (t *transform) forward(to, from []float64) {
	n, half := t.side, t.side/2
	sum, dif := t.sum[:half], t.dif[:half]
	for y := range n {
		row := from[y*n:][:n]
		for x := range half {
			sum[x], dif[x] = row[x]+row[n-1-x], row[x]-row[n-1-x]
		}
		for k := range half {
			even, odd := t.even[k*half:][:len(sum)], t.odd[k*half:][:len(sum)]
			var e, o float64
			for x, s := range sum {
				e += even[x] * s
				o += odd[x] * dif[x]
			}
			to[2*k*n+y], to[(2*k+1)*n+y] = e, o
		}
	}
}

// inverse is that of forward, again from rows to columns.
func (t *transform) inverse(to, from []float64) {
	n, half := t.side, t.side/2
	sum, dif := t.sum[:half], t.dif[:half]
	for y := range n {
		row := from[y*n:][:n]
		clear(sum)
		clear(dif)
		for k := range half {
			even, odd := t.even[k*half:][:len(sum)], t.odd[k*half:][:len(sum)]
			e, o := row[2*k], row[2*k+1]
			for x := range sum {
				sum[x] += even[x] * e
				dif[x] += odd[x] * o
			}
		}
		for x, s := range sum {
			to[x*n+y], to[(n-1-x)*n+y] = s+dif[x], s-dif[x]
		}
	}
}
