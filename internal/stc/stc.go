// Package stc owns how message bits go into the samples of an image where they are seen least, and how they come out
// again. It knows nothing of keys: who calls it gives the order of the elements, which a key has permuted.
//
// An element is a sample, whose bit is its lowest one, or in the covert form a pixel, whose bit is the parity of its three
// samples. A message is a row of bits, packed in bytes, the highest bit of a byte first. How it is written follows from
// the rate, bits for each element, which both sides know:
//
//	below 1     a syndrome-trellis code (Filler, Judas and Fridrich 2011) of constraint height 10: of all ways to
//	            write the message, nearly the cheapest by the costs of the elements
//	1           the lowest bit of every element
//	1 to 2      the two lowest bits of the first elements, moved to the nearest value, and the lowest bit of the others
//
// The code needs as many elements that carry no bit as it has segments (see below); with fewer, but more than none, the
// message is in the bits of the first elements.
//
// A change is +1 or -1 at random (LSB matching), inwards at 0 and 255.
//
// # The code
//
// The elements are cut into segments of at most 65,536, and the message in proportion: segment j of k has the
// elements from floor(j n / k) on, and the bits from floor(j m / k) on. In a segment of n elements and m bits, bit i
// belongs to the elements from floor(i n / m) to floor((i+1) n / m). Element e has a column of ten bits: those of
// splitmix64(e), its output number e+1 from the seed 0, with the lowest and the highest bit set. An element that is 1
// adds its column to the parities of the bits i to i+9 (its lowest bit to that of i); parities after the last bit do
// not count. The message is these parities.
//
// Invariants:
//   - Extract depends on the samples, the order and the number of bits alone, and gives what Embed wrote, on every host.
//   - Nothing but the elements of the order changes, and nothing at all where there is an error; Replace leaves everything but
//     the lowest bits.
package stc

import (
	"errors"
	"fmt"
	"io"
	"math"
)

var (
	// ErrCapacity: there are more bits than the elements can hold.
	ErrCapacity = errors.New("more bits than the samples hold")
	// ErrWet: the message can be written only by changing elements that must not change.
	ErrWet = errors.New("too many pixels have both black and white samples: take another cover, or a lower rate")
)

// MaxRate is the most bits of an element, and MaxCovertRate of a pixel in the covert form.
const (
	MaxRate       = 2
	MaxCovertRate = 0.75
)

// Embed writes the first bits of the message into the samples that order names, each once. The costs are those of all
// samples, see Costs; what they say counts at rates below 1. The signs of changes come from random. More than MaxRate
// bits an element are ErrCapacity.
func Embed(samples []byte, order []int32, costs []float32, message []byte, bits int, random io.Reader) error {
	if err := check(len(order), bits, MaxRate); err != nil {
		return err
	}
	signs, err := newSigns(random, len(order))
	if err != nil {
		return err
	}
	read := func(at int32) byte { return samples[at] & 1 }
	change := func(at int32) { samples[at] = match(samples[at], signs.next()) }
	if coded(len(order), bits) {
		return code(order, costs, message, bits, read, change)
	}
	double := max(bits-len(order), 0) // elements that carry two bits
	for i, p := range order[:double] {
		samples[p] = nearest(samples[p], bit(message, 2*i)<<1|bit(message, 2*i+1), signs.next())
	}
	direct(order[double:bits-double], message, 2*double, read, change)
	return nil
}

// direct makes the bits of elements those of the message from the first one on.
func direct(order []int32, message []byte, first int, read func(int32) byte, change func(int32)) {
	for i, at := range order {
		if read(at) != bit(message, first+i) {
			change(at)
		}
	}
}

// Extract reads the bits that Embed wrote; they are packed in bytes, the last of which is filled with zeros.
func Extract(samples []byte, order []int32, bits int) ([]byte, error) {
	if err := check(len(order), bits, MaxRate); err != nil {
		return nil, err
	}
	if coded(len(order), bits) {
		return decode(order, bits, func(at int32) byte { return samples[at] & 1 }), nil
	}
	message := make([]byte, (bits+7)/8)
	double := max(bits-len(order), 0)
	for i, p := range order[:double] {
		put(message, 2*i, samples[p]>>1&1)
		put(message, 2*i+1, samples[p]&1)
	}
	for i, p := range order[double : bits-double] {
		put(message, 2*double+i, samples[p]&1)
	}
	return message, nil
}

// Replace is Embed at rates up to 1 that changes the lowest bits alone, so that what stands above them stays.
func Replace(samples []byte, order []int32, costs []float32, message []byte, bits int) error {
	if err := check(len(order), bits, 1); err != nil {
		return err
	}
	read := func(at int32) byte { return samples[at] & 1 }
	change := func(at int32) { samples[at] ^= 1 }
	if coded(len(order), bits) {
		return code(order, costs, message, bits, read, change)
	}
	direct(order[:bits], message, 0, read, change)
	return nil
}

// EmbedCovert writes bits into pixels: a change moves red, green and blue together, as noise of the light would. The
// samples are three planes, the order names pixels, and the costs are those of all samples. More than MaxCovertRate bits
// a pixel are ErrCapacity. A pixel with both a 0 and a 255 cannot move; where too many of them come together in the order,
// ErrWet: another order may do.
func EmbedCovert(samples []byte, order []int32, costs []float32, message []byte, bits int, random io.Reader) error {
	if err := check(len(order), bits, MaxCovertRate); err != nil {
		return err
	}
	signs, err := newSigns(random, len(order))
	if err != nil {
		return err
	}
	plane := int32(len(samples) / 3)
	together := make([]float32, plane)
	for p := range plane {
		together[p] = costs[p] + costs[p+plane] + costs[p+2*plane]
		if low, high := ends(samples, p, plane); low && high {
			together[p] = float32(math.Inf(1))
		}
	}
	return code(
		order, together, message, bits,
		func(at int32) byte { return parity(samples, at, plane) },
		func(at int32) {
			up := signs.next()
			if low, high := ends(samples, at, plane); low || high {
				up = low
			}
			for p := at; int(p) < len(samples); p += plane {
				if up {
					samples[p]++
				} else {
					samples[p]--
				}
			}
		},
	)
}

// ExtractCovert reads the bits that EmbedCovert wrote.
func ExtractCovert(samples []byte, order []int32, bits int) ([]byte, error) {
	if err := check(len(order), bits, MaxCovertRate); err != nil {
		return nil, err
	}
	plane := int32(len(samples) / 3)
	return decode(order, bits, func(at int32) byte { return parity(samples, at, plane) }), nil
}

func check(elements, bits int, rate float64) error {
	if bits < 0 || float64(bits) > rate*float64(elements) {
		return fmt.Errorf("%w: %d bits, %d elements of at most %v bits", ErrCapacity, bits, elements, rate)
	}
	return nil
}

func parity(samples []byte, pixel, plane int32) byte {
	return (samples[pixel] ^ samples[pixel+plane] ^ samples[pixel+2*plane]) & 1
}

// ends says whether one of a pixel's samples is 0, and whether one is 255.
func ends(samples []byte, pixel, plane int32) (low, high bool) {
	r, g, b := samples[pixel], samples[pixel+plane], samples[pixel+2*plane]
	return min(r, g, b) == 0, max(r, g, b) == 255
}

// match moves a sample by one, inwards at the ends.
func match(v byte, up bool) byte {
	if v == 0 || v < 255 && up {
		return v + 1
	}
	return v - 1
}

// nearest is the value nearest to a sample whose two lowest bits are the given ones; of two equally near ones up chooses.
func nearest(v, low byte, up bool) byte {
	d := int(low-v) & 3
	if d == 3 || d == 2 && !up {
		d -= 4
	}
	switch w := int(v) + d; {
	case w < 0:
		return byte(w + 4)
	case w > 255:
		return byte(w - 4)
	default:
		return byte(w)
	}
}

// bit i of a row of packed bits.
func bit(packed []byte, i int) byte { return packed[i>>3] >> (7 - i&7) & 1 }

// put sets bit i, which was 0.
func put(packed []byte, i int, v byte) { packed[i>>3] |= v << (7 - i&7) }

// signs are random bits.
type signs struct {
	packed []byte
	at     int
}

func newSigns(random io.Reader, n int) (*signs, error) {
	s := &signs{packed: make([]byte, (n+7)/8)}
	if _, err := io.ReadFull(random, s.packed); err != nil {
		return nil, fmt.Errorf("draw the signs of changes: %w", err)
	}
	return s, nil
}

func (s *signs) next() bool {
	s.at++
	return bit(s.packed, s.at-1) == 1
}
