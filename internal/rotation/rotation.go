// Package rotation turns an image into white noise under a key, and back. It owns the public table of deviations, the bands and
// their scales, and the keyed orthogonal transform. docs/decisions/0011-rotation.md has the argument for its security.
//
// The image, padded to multiples of 16 by repeating its last row and column, becomes the 768 frequencies of package dct with blocks
// of 16, each over n blocks. deviations.txt has the root mean square t of each over many photographs, in the order of f; the
// public order is by descending t, equal ones by ascending f. A band is m frequencies that follow each other in that order: L = m n
// values, each divided by the t of its frequency, frequency by frequency. m divides 768, and is the least for which L >= 256 and
// the bands are not more than was asked for. A band is divided by its root mean square g and rotated; g is coded in one byte:
//
//	0 for g < 2^(-5 - 1/48), else 1 + round(24 (log2 g + 5)), 255 at the most: steps of 2.9 %
//
// So a flat image whose grey is near 128 comes back as 128: within 2 levels at 256 x 256 in 768 bands, within 29 at 16 x 16.
//
// The rotation of a band is three rounds of permutation, signs and mixing. It draws 3 L little-endian uint32 x from SHAKE-256 over
//
//	LP("stegomq.rotation") | u32(Version) | u32(m) | u32(n) | u32(band) | LP(key)
//
// where u32 is little-endian and LP(b) = u32(len(b)) | b. In each round, for i = L-1 down to 0: swap the values i and
// floor((x >> 2) (i + 1) / 2^30) (Fisher and Yates), then negate value i where bit 0 of x is 1. The first 2^k values go through the
// orthonormal Walsh-Hadamard transform, in the natural order of the butterflies, k the greatest with 2^k <= L. Where L > 2^k, each
// value is then negated where bit 1 of its x is 1, and the last 2^k go through the transform. (Without those signs the second
// transform partly undoes the first.)
//
// Invariants:
//   - Every band of the payload has the power 1, whatever the image is. A band whose scale is coded as 0 is rotated as if it were all
//     ones.
//   - Equal images and keys give equal payloads, here and in trainer/rotation.py: the rotation to the last bit, the DCT up to rounding.
//     A change of a bit is a new Version.
//   - A key is for one image. Nothing here keeps it after the call.
package rotation

import (
	"cmp"
	"crypto/sha3"
	_ "embed"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"stegomq/internal/dct"
)

// Version of the rotation; it is part of the hashed input.
const Version = 1

// KeySize is the length of a key in bytes.
const KeySize = 32

// Frequencies is how many an image has, over n blocks each.
const Frequencies = 3 * side * side

const (
	side   = 16  // of a block
	least  = 256 // values in a band
	rounds = 3
)

//go:embed deviations.txt
var table string

// deviations in the order of the frequencies, and the public order of the frequencies.
var deviations, order = func() (t [Frequencies]float64, order [Frequencies]int) {
	lines := strings.Fields(table)
	if len(lines) != Frequencies {
		panic(fmt.Sprintf("rotation: deviations.txt has %d lines, want %d", len(lines), Frequencies))
	}
	for f, line := range lines {
		var err error
		if t[f], err = strconv.ParseFloat(line, 64); err != nil || t[f] <= 0 {
			panic(fmt.Sprintf("rotation: deviations.txt, line %d: %q is not a number above 0", f+1, line))
		}
		order[f] = f
	}
	slices.SortStableFunc(order[:], func(a, b int) int { return cmp.Compare(t[b], t[a]) })
	return t, order
}()

// Deviations is the public root mean square of each frequency over photographs, in the public order: descending.
func Deviations() (t [Frequencies]float64) {
	for r, f := range order {
		t[r] = deviations[f]
	}
	return t
}

// Rotation is that of images of one size.
type Rotation struct {
	grid dct.Grid
	per  int // frequencies in a band
}

// New is the rotation of images of a size in samples, in at most so many bands: a divisor of 768 is used up. It panics where one is
// below 1.
func New(width, height, bands int) Rotation {
	if width < 1 || height < 1 || bands < 1 {
		panic(fmt.Sprintf("rotation: %d x %d samples in %d bands", width, height, bands))
	}
	r := Rotation{dct.Covering(width, height, side), 1}
	for Frequencies%r.per != 0 || r.per*r.grid.Blocks() < least || Frequencies/r.per > bands {
		r.per++
	}
	return r
}

// Blocks is the number n of values of one frequency.
func (r Rotation) Blocks() int { return r.grid.Blocks() }

// Bands is how many there are: the number of scales.
func (r Rotation) Bands() int { return Frequencies / r.per }

// Len is the number of values in the payload: Frequencies x Blocks.
func (r Rotation) Len() int { return r.grid.Coefficients() }

// Rotate makes the payload of an image, given as R, G and B planes of samples, and a scale for each band. Row r of the payload,
// Blocks values, stands for frequency r of the public order; its values have mean square 1 in each band. The scales tell about the image: encrypt
// them. It panics where the image has another size.
func (r Rotation) Rotate(image []byte, key [KeySize]byte) (payload []float64, scales []byte) {
	planes := make([]float64, len(image))
	for i, v := range image {
		planes[i] = float64(v)
	}
	coefficients := make([]float64, r.Len())
	r.grid.Analyse(coefficients, planes, dct.Opponent)

	n, length := r.grid.Blocks(), r.per*r.grid.Blocks()
	payload, scales = make([]float64, r.Len()), make([]byte, r.Bands())
	for row, f := range order {
		to, from := payload[row*n:][:n], coefficients[f*n:][:n]
		for i, v := range from {
			to[i] = v / deviations[f]
		}
	}
	s := newStream(length)
	defer s.wipe()
	for band := range scales {
		values := payload[band*length:][:length]
		scales[band] = normalise(values)
		s.start(r, band, key)
		rotate(values, s.words)
	}
	return payload, scales
}

// Restore makes the samples of the image from a payload, which may be noisy, and its scales. It never fails: another key, payload or
// scales give noise. It panics where there are not as many values or scales as New's rotation has.
func (r Rotation) Restore(payload []float64, scales []byte, key [KeySize]byte) []byte {
	n, length := r.grid.Blocks(), r.per*r.grid.Blocks()
	if len(payload) != r.Len() || len(scales) != r.Bands() {
		panic(fmt.Sprintf("rotation: %d values and %d scales, want %d and %d", len(payload), len(scales), r.Len(), r.Bands()))
	}
	values := make([]float64, length)
	coefficients := make([]float64, r.Len())
	s := newStream(length)
	defer s.wipe()
	for band, c := range scales {
		copy(values, payload[band*length:])
		s.start(r, band, key)
		restore(values, s.words)
		g := scale(c)
		for i := range r.per {
			f := order[band*r.per+i]
			for b, v := range values[i*n:][:n] {
				coefficients[f*n+b] = g * deviations[f] * v
			}
		}
	}
	planes := make([]float64, r.grid.Samples())
	r.grid.Synthesise(planes, coefficients, dct.Opponent)
	image := make([]byte, len(planes))
	for i, v := range planes {
		image[i] = byte(math.Floor(min(max(v, 0), 255) + 0.5))
	}
	return image
}

// The code of scales: steps to an octave, and the octaves below 1 that it has.
const (
	steps = 24
	below = 5
)

// code is the scale that is nearest to a root mean square in relation to the public deviations.
func code(g float64) byte {
	if g <= 0 {
		return 0
	}
	c := math.Floor(steps*(math.Log2(g)+below)+0.5) + 1
	return byte(min(max(c, 0), 255))
}

// scale is the root mean square of a code.
func scale(c byte) float64 {
	if c == 0 {
		return 0
	}
	return math.Exp2(float64(int(c)-1)/steps - below)
}

// normalise divides values by their root mean square and returns its code. Those that count as zeros become ones.
func normalise(values []float64) byte {
	sum := 0.
	for _, v := range values {
		sum += float64(v * v)
	}
	g := math.Sqrt(sum / float64(len(values)))
	c := code(g)
	for i := range values {
		if c > 0 {
			values[i] /= g
		} else {
			values[i] = 1
		}
	}
	return c
}

// stream draws the words of one band at a time.
type stream struct {
	shake *sha3.SHAKE
	bytes []byte
	words []uint32
}

func newStream(length int) *stream {
	return &stream{sha3.NewSHAKE256(), make([]byte, 4*rounds*length), make([]uint32, rounds*length)}
}

func (s *stream) start(r Rotation, band int, key [KeySize]byte) {
	in := make([]byte, 0, 96)
	in = appendLP(in, []byte("stegomq.rotation"))
	for _, v := range []int{Version, r.per, r.grid.Blocks(), band} {
		in = binary.LittleEndian.AppendUint32(in, uint32(v))
	}
	in = appendLP(in, key[:])
	s.shake.Reset()
	s.shake.Write(in)
	s.shake.Read(s.bytes)
	for i := range s.words {
		s.words[i] = binary.LittleEndian.Uint32(s.bytes[4*i:])
	}
	clear(in)
}

// wipe forgets the last words drawn, which undo a rotation.
func (s *stream) wipe() {
	s.shake.Reset()
	clear(s.bytes)
	clear(s.words)
}

func appendLP(to, b []byte) []byte {
	to = binary.LittleEndian.AppendUint32(to, uint32(len(b)))
	return append(to, b...)
}

// place is where value i of a permutation comes from.
func place(x uint32, i int) int { return int(uint64(x>>2) * uint64(i+1) >> 30) }

// signed negates a value where the lowest bit is 1.
func signed(v float64, bit uint32) float64 {
	return math.Float64frombits(math.Float64bits(v) ^ uint64(bit)<<63)
}

// rotate turns the values of a band by the words of its rounds, len(values) each.
func rotate(values []float64, words []uint32) {
	last := len(values) - 1
	whole := powerOfTwo(len(values))
	for ; len(words) > 0; words = words[len(values):] {
		for i := last; i >= 0; i-- {
			x := words[last-i]
			j := place(x, i)
			values[i], values[j] = values[j], values[i]
			values[i] = signed(values[i], x)
		}
		hadamard(values[:whole])
		if whole < len(values) {
			for i := range values {
				values[i] = signed(values[i], words[last-i]>>1)
			}
			hadamard(values[len(values)-whole:])
		}
	}
}

// restore is the inverse of rotate.
func restore(values []float64, words []uint32) {
	last := len(values) - 1
	whole := powerOfTwo(len(values))
	for len(words) > 0 {
		round := words[len(words)-len(values):]
		words = words[:len(words)-len(values)]
		if whole < len(values) {
			hadamard(values[len(values)-whole:])
			for i := range values {
				values[i] = signed(values[i], round[last-i]>>1)
			}
		}
		hadamard(values[:whole])
		for i := range values {
			x := round[last-i]
			values[i] = signed(values[i], x)
			j := place(x, i)
			values[i], values[j] = values[j], values[i]
		}
	}
}

// powerOfTwo is the greatest that is not above n.
func powerOfTwo(n int) int { return 1 << (bits.Len(uint(n)) - 1) }

// hadamard is the orthonormal Walsh-Hadamard transform of 2^k values, its own inverse: butterflies of distances 1, 2, 4, ..., then one
// multiplication. The sums of two butterflies are taken together, in the same order.
func hadamard(v []float64) {
	h := 1
	if len(v) >= 4 {
		for at := 0; at+3 < len(v); at += 4 {
			a, b := v[at]+v[at+1], v[at]-v[at+1]
			c, d := v[at+2]+v[at+3], v[at+2]-v[at+3]
			v[at], v[at+1], v[at+2], v[at+3] = a+c, b+d, a-c, b-d
		}
		h = 4
	}
	for ; 4*h <= len(v); h *= 4 {
		for at := 0; at < len(v); at += 4 * h {
			p, q, r, s := v[at:][:h], v[at+h:][:h], v[at+2*h:][:h], v[at+3*h:][:h]
			for i := range p {
				a, b := p[i]+q[i], p[i]-q[i]
				c, d := r[i]+s[i], r[i]-s[i]
				p[i], q[i], r[i], s[i] = a+c, b+d, a-c, b-d
			}
		}
	}
	if h < len(v) {
		for i := range h {
			v[i], v[h+i] = v[i]+v[h+i], v[i]-v[h+i]
		}
	}
	k := bits.Len(uint(len(v))) - 1
	scale := math.Ldexp(1, -(k+1)/2)
	if k%2 == 1 {
		scale *= math.Sqrt2
	}
	for i := range v {
		v[i] *= scale
	}
}
