package stc

import (
	"fmt"
	"math"
)

// The trellis has 2^height states. Metrics are saturating 16-bit numbers: infinite is a state that no path reaches.
const (
	height   = 10
	states   = 1 << height
	infinite = 1<<16 - 1
	// words of 32 bits in which one step keeps which way was cheaper.
	words = states / 32
)

// segmentSize bounds the elements of one trellis, and so its memory: 128 bytes an element.
const segmentSize = 1 << 16

// Costs as the trellis adds them up: unit is the cost at which the best code of the same length changes an element with
// probability 1/(1+e), see multiplier. So dearest is one of 10^-7: what costs more is the same to any code. No element is
// free, since of two ways that cost the same the one with fewer changes is seen less.
const (
	unit     = 64
	cheapest = 1
	dearest  = 1023
	wet      = 1 << 14
)

// high is how far metrics may rise before they are brought down again. The cheapest way costs no more than that, and so never
// saturates. Ways that do are dearer by 48 of the dearest changes, or three wet ones, and lost.
const high = 1 << 14

// column of the parity-check matrix of element e of a segment: see the package comment.
func column(e int) uint32 {
	z := (uint64(e) + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return uint32(z)&(states-1) | 1 | states>>1
}

// rows says which bits of a column count where so many bits of the message are left.
func rows(left int) uint32 { return uint32(1)<<min(left, height) - 1 }

// segments are how many trellises there are for so many elements.
func segments(elements int) int { return (elements + segmentSize - 1) / segmentSize }

// coded says whether the trellis is used. Where fewer bits are missing to one an element than there are segments, a segment
// could get more bits than it has elements.
func coded(elements, bits int) bool { return elements-bits >= max(segments(elements), 1) }

// eachSegment calls do with the range of elements and of bits of each segment.
func eachSegment(elements, bits int, do func(e0, e1, b0, b1 int) error) error {
	k := segments(elements)
	for j := range k {
		if err := do(j*elements/k, (j+1)*elements/k, j*bits/k, (j+1)*bits/k); err != nil {
			return err
		}
	}
	return nil
}

// code finds the elements to change so that the message can be read, and only then changes them.
func code(order []int32, costs []float32, message []byte, bits int, read func(int32) byte, change func(int32)) error {
	t := newTrellis(min(len(order), segmentSize))
	var changes []int32
	err := eachSegment(len(order), bits, func(e0, e1, b0, b1 int) error {
		elements := order[e0:e1]
		weights := integers(elements, costs, b1-b0)
		values := make([]byte, len(elements))
		for e, at := range elements {
			values[e] = read(at)
		}
		t.forwards(values, weights, message, b0, b1-b0)
		return t.backwards(values, message, b0, b1-b0, func(e int) error {
			if weights[e] == wet {
				return fmt.Errorf("write %d bits into %d elements: %w", bits, len(order), ErrWet)
			}
			changes = append(changes, elements[e])
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, at := range changes {
		change(at)
	}
	return nil
}

// decode reads a message.
func decode(order []int32, bits int, read func(int32) byte) []byte {
	message := make([]byte, (bits+7)/8)
	_ = eachSegment(len(order), bits, func(e0, e1, b0, b1 int) error {
		n, m := e1-e0, b1-b0
		e, state := 0, uint32(0)
		for i := range m {
			mask := rows(m - i)
			for ; e < (i+1)*n/m; e++ {
				if read(order[e0+e]) == 1 {
					state ^= column(e) & mask
				}
			}
			put(message, b0+i, byte(state&1))
			state >>= 1
		}
		return nil
	})
	return message
}

// integers are the costs of elements that are to hold so many bits, in units of the trellis.
func integers(elements []int32, costs []float32, bits int) []uint16 {
	scale := unit * multiplier(elements, costs, bits)
	weights := make([]uint16, len(elements))
	for e, at := range elements {
		if c := float64(costs[at]); changeable(c) {
			weights[e] = uint16(min(max(c*scale+0.5, cheapest), dearest))
		} else {
			weights[e] = wet
		}
	}
	return weights
}

// changeable says whether an element of such a cost may change: not where the cost is infinite, negative or not a number.
func changeable(cost float64) bool { return cost >= 0 && cost <= maxCost }

// maxCost is the largest cost of an element that may change.
const maxCost = 1e20

// sampleSize is how many elements multiplier looks at.
const sampleSize = 1024

// multiplier is the l with which elements that change with probability 1/(1+exp(l cost)) hold so many bits, the least total
// cost of all ways (Filler, Judas and Fridrich 2011, eq. 4 and 6), from a part of the elements. Where there is hardly
// a choice it goes no lower than what makes the mean cost an eighth.
func multiplier(elements []int32, costs []float32, bits int) float64 {
	stride := len(elements)/sampleSize + 1
	sample := make([]float64, 0, sampleSize)
	sum, looked := 0.0, 0
	for e := 0; e < len(elements); e += stride {
		if c := float64(costs[elements[e]]); changeable(c) {
			sample = append(sample, c)
			sum += c
		}
		looked++
	}
	if sum == 0 {
		return 0
	}
	want := float64(bits) / float64(len(elements)) * float64(looked)
	low := float64(len(sample)) / sum / 8
	high, most := low, 1e30*low // elements that cost nothing may hold all bits
	for high < most && held(sample, high) > want {
		low, high = high, 16*high
	}
	for high > 1.02*low {
		if middle := math.Sqrt(low * high); held(sample, middle) > want {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// held is how many bits elements of such costs hold: the entropy of their changes.
func held(costs []float64, multiplier float64) float64 {
	nats := 0.0
	for _, c := range costs {
		if x := multiplier * c; x < 40 {
			odds := math.Exp(-x)
			nats += math.Log1p(odds) + x*odds/(1+odds)
		}
	}
	return nats / math.Ln2
}

// trellis is the memory of one segment.
type trellis struct {
	from, to []uint16 // metrics of the states
	ways     []uint32 // for each element and state, whether the element is 1 on the cheapest way into it
}

func newTrellis(elements int) *trellis {
	return &trellis{from: make([]uint16, states), to: make([]uint16, states), ways: make([]uint32, elements*words)}
}

// forwards finds the cheapest way into every state after every element (Viterbi).
func (t *trellis) forwards(values []byte, weights []uint16, message []byte, first, bits int) {
	for s := range t.from {
		t.from[s] = infinite
	}
	t.from[0] = 0
	e, risen := 0, 0
	for i := range bits {
		mask := rows(bits - i)
		for ; e < (i+1)*len(values)/bits; e++ {
			if risen += int(weights[e]); risen > high {
				t.lower()
				risen = int(weights[e])
			}
			zero, one := weights[e], uint16(0)
			if values[e] == 0 {
				zero, one = one, zero
			}
			step(t.to, t.from, t.ways[e*words:][:words], column(e)&mask, zero, one)
			t.from, t.to = t.to, t.from
		}
		shift(t.to, t.from, bit(message, first+i))
		t.from, t.to = t.to, t.from
	}
}

// lower makes the cheapest way cost nothing, so that metrics of a long message do not saturate.
func (t *trellis) lower() {
	least := uint16(infinite)
	for _, m := range t.from {
		least = min(least, m)
	}
	for s, m := range t.from {
		if m != infinite {
			t.from[s] = m - least
		}
	}
}

// backwards follows the cheapest way and calls change for each element that it changes.
func (t *trellis) backwards(values, message []byte, first, bits int, change func(e int) error) error {
	state := uint32(0)
	e := len(values) - 1
	for i := bits - 1; i >= 0; i-- {
		state = state<<1 | uint32(bit(message, first+i))
		mask := rows(bits - i)
		for ; e >= i*len(values)/bits; e-- {
			one := t.ways[e*words+int(state>>5)] >> (state & 31) & 1
			if one == 1 {
				state ^= column(e) & mask
			}
			if byte(one) != values[e] {
				if err := change(e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// stepGo adds one element to all ways: to[s] = min(from[s] + zero, from[s^column] + one), saturating. Ways gets a bit
// for each state, 1 where the element is 1.
func stepGo(to, from []uint16, ways []uint32, column uint32, zero, one uint16) {
	to, from = to[:states], from[:states]
	for w := range ways {
		var bits uint32
		for k := range uint32(32) {
			s := uint32(w)*32 + k
			best, other := uint32(from[s])+uint32(zero), uint32(from[(s^column)&(states-1)])+uint32(one)
			best, other = min(best, infinite), min(other, infinite)
			if other < best {
				best = other
				bits |= 1 << k
			}
			to[s] = uint16(best)
		}
		ways[w] = bits
	}
}

// shiftGo leaves the ways on which the lowest parity is the bit of the message: to[s] = from[2s+bit].
func shiftGo(to, from []uint16, bit byte) {
	for s := range states / 2 {
		to[s] = from[2*s+int(bit)]
	}
	for s := states / 2; s < states; s++ {
		to[s] = infinite
	}
}
