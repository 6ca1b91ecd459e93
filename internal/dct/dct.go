// Package dct owns the orthogonal transform between the samples of an RGB image and its coefficients: three colour axes, and on
// each of them the two-dimensional DCT-II of square blocks.
//
// A sample less 127.5 goes onto the axes. A block of side N has 3 N^2 frequencies; f = (u N + v) 3 + axis, where u counts vertical and
// v horizontal oscillations. Coefficients lie frequency by frequency, each over the blocks in raster order: at f Blocks + block.
// trainer/rotation.py does the same with the axes Opponent.
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

// Axes are three orthonormal directions of colour, the first of them brightness.
type Axes [3][3]float64

// Opponent is grey (1,1,1), red against blue (1,0,-1), and both against green (1,-2,1), each divided by its length.
var Opponent = Axes{
	{1 / math.Sqrt(3), 1 / math.Sqrt(3), 1 / math.Sqrt(3)},
	{1 / math.Sqrt2, 0, -1 / math.Sqrt2},
	{1 / math.Sqrt(6), -2 / math.Sqrt(6), 1 / math.Sqrt(6)},
}

// Luma has the direction of JPEG's luma (ITU-T T.871) first, (0.299, 0.587, 0.114) divided by its length: along the others colour
// changes and JPEG's luma does not. The second is what is left of blue, the third is orthogonal to both.
var Luma = func() (a Axes) {
	y := [3]float64{0.299, 0.587, 0.114}
	length := math.Sqrt(y[0]*y[0] + y[1]*y[1] + y[2]*y[2])
	for c := range y {
		a[0][c] = y[c] / length
	}
	rest := math.Sqrt(1 - a[0][2]*a[0][2])
	a[1] = [3]float64{-a[0][0] * a[0][2] / rest, -a[0][1] * a[0][2] / rest, rest}
	a[2] = [3]float64{a[0][1] / -math.Hypot(a[0][0], a[0][1]), a[0][0] / math.Hypot(a[0][0], a[0][1]), 0}
	return a
}()

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
func (g Grid) Analyse(coefficients, planes []float64, axes Axes) {
	g.check(coefficients, planes)
	b := NewBlock(g.Side, axes)
	n, pixels := g.Blocks(), g.Width*g.Height
	for block := range n {
		g.Visit(block, true, func(at, i int) {
			for c := range b.planes {
				b.planes[c][i] = planes[at+c*pixels]
			}
		})
		b.forward()
		for axis, values := range b.axes {
			for i, v := range values {
				coefficients[(3*i+axis)*n+block] = v
			}
		}
	}
}

// Synthesise is the inverse of Analyse. Samples outside the blocks are left as they are; the parts of blocks beyond the image are dropped.
func (g Grid) Synthesise(planes, coefficients []float64, axes Axes) {
	g.check(coefficients, planes)
	b := NewBlock(g.Side, axes)
	n, pixels := g.Blocks(), g.Width*g.Height
	for block := range n {
		for axis, values := range b.axes {
			for i := range values {
				values[i] = coefficients[(3*i+axis)*n+block]
			}
		}
		b.inverse()
		g.Visit(block, false, func(at, i int) {
			for c := range b.planes {
				planes[at+c*pixels] = b.planes[c][i]
			}
		})
	}
}

// Visit calls sample for each sample of a block, with its index in a plane and its index in the block. With repeat, a place beyond the image has
// the sample of the last row or column; without, it is left out.
func (g Grid) Visit(block int, repeat bool, sample func(at, i int)) {
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

// Block transforms one block at a time, with room to work in. It is for one goroutine.
type Block struct {
	side    int
	colour  Axes
	even    []float64    // half x half: the cosines of the even frequencies at the first half of the places, and
	odd     []float64    // those of the odd ones
	planes  [3][]float64 // samples
	axes    [3][]float64 // coefficients
	scratch []float64
	sum     []float64
	dif     []float64
}

// NewBlock is for blocks of an even side.
func NewBlock(side int, axes Axes) *Block {
	half := side / 2
	b := &Block{side: side, colour: axes, even: make([]float64, half*half), odd: make([]float64, half*half),
		scratch: make([]float64, side*side), sum: make([]float64, half), dif: make([]float64, half)}
	for k := range side {
		scale := math.Sqrt(2 / float64(side))
		if k == 0 {
			scale = math.Sqrt(1 / float64(side))
		}
		table := b.even
		if k%2 == 1 {
			table = b.odd
		}
		for x := range half {
			table[k/2*half+x] = scale * math.Cos(math.Pi*float64((2*x+1)*k)/float64(2*side))
		}
	}
	for i := range b.axes {
		b.planes[i], b.axes[i] = make([]float64, side*side), make([]float64, side*side)
	}
	return b
}

// Forward writes the coefficients of a block, in the order of f, from its samples, plane by plane; 3 Side^2 each.
func (b *Block) Forward(coefficients, samples []float64) {
	size := b.side * b.side
	for c, plane := range b.planes {
		copy(plane, samples[c*size:][:size])
	}
	b.forward()
	for axis, values := range b.axes {
		for i, v := range values {
			coefficients[3*i+axis] = v
		}
	}
}

// Inverse is that of Forward.
func (b *Block) Inverse(samples, coefficients []float64) {
	size := b.side * b.side
	for axis, values := range b.axes {
		for i := range values {
			values[i] = coefficients[3*i+axis]
		}
	}
	b.inverse()
	for c, plane := range b.planes {
		copy(samples[c*size:][:size], plane)
	}
}

func (b *Block) forward() {
	for i := range b.planes[0] {
		red, green, blue := b.planes[0][i]-middle, b.planes[1][i]-middle, b.planes[2][i]-middle
		for axis, a := range b.colour {
			b.axes[axis][i] = float64(a[0]*red) + float64(a[1]*green) + float64(a[2]*blue)
		}
	}
	for _, values := range b.axes {
		b.toFrequencies(b.scratch, values)
		b.toFrequencies(values, b.scratch)
	}
}

func (b *Block) inverse() {
	for _, values := range b.axes {
		b.toPlaces(b.scratch, values)
		b.toPlaces(values, b.scratch)
	}
	for i := range b.planes[0] {
		x, y, z := b.axes[0][i], b.axes[1][i], b.axes[2][i]
		for c, plane := range b.planes {
			plane[i] = float64(b.colour[0][c]*x) + float64(b.colour[1][c]*y) + float64(b.colour[2][c]*z) + middle
		}
	}
}

// toFrequencies transforms every row of from into a column of to. Twice is the transform of the block.
func (b *Block) toFrequencies(to, from []float64) {
	n, half := b.side, b.side/2
	sum, dif := b.sum[:half], b.dif[:half]
	for y := range n {
		row := from[y*n:][:n]
		for x := range half {
			sum[x], dif[x] = row[x]+row[n-1-x], row[x]-row[n-1-x]
		}
		for k := range half {
			even, odd := b.even[k*half:][:len(sum)], b.odd[k*half:][:len(sum)]
			var e, o float64
			for x, s := range sum {
				e += even[x] * s
				o += odd[x] * dif[x]
			}
			to[2*k*n+y], to[(2*k+1)*n+y] = e, o
		}
	}
}

// toPlaces is the inverse of toFrequencies, again from rows to columns.
func (b *Block) toPlaces(to, from []float64) {
	n, half := b.side, b.side/2
	sum, dif := b.sum[:half], b.dif[:half]
	for y := range n {
		row := from[y*n:][:n]
		clear(sum)
		clear(dif)
		for k := range half {
			even, odd := b.even[k*half:][:len(sum)], b.odd[k*half:][:len(sum)]
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
