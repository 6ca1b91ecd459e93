package stc

import "fmt"

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

// Costs as the trellis adds them up: unit is the mean cost of a segment, and no cost is above dearest but that of
// elements which must not change. Finer units change the result by less than the code's own loss.
const (
	unit    = 64
	dearest = 1023
	wet     = 1 << 14
)

// high is where metrics are brought down again. The states of a trellis are never further apart than what ten changes cost,
// so that from here on nothing that matters saturates.
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

// segments calls do with the range of elements and of bits of each segment.
func segments(elements, bits int, do func(e0, e1, b0, b1 int) error) error {
	k := (elements + segmentSize - 1) / segmentSize
	for j := range k {
		if err := do(j*elements/k, (j+1)*elements/k, j*bits/k, (j+1)*bits/k); err != nil {
			return err
		}
	}
	return nil
}

// code changes elements so that the message can be read.
func code(order []int32, costs []float32, message []byte, bits int, read func(int32) byte, change func(int32)) error {
	t := newTrellis(min(len(order), segmentSize))
	return segments(len(order), bits, func(e0, e1, b0, b1 int) error {
		elements := order[e0:e1]
		weights := integers(elements, costs)
		values := make([]byte, len(elements))
		for e, at := range elements {
			values[e] = read(at)
		}
		t.forwards(values, weights, message, b0, b1-b0)
		return t.backwards(values, message, b0, b1-b0, func(e int) error {
			if weights[e] == wet {
				return fmt.Errorf("write %d bits into %d elements: %w", bits, len(order), ErrWet)
			}
			change(elements[e])
			return nil
		})
	})
}

// decode reads a message.
func decode(order []int32, bits int, read func(int32) byte) []byte {
	message := make([]byte, (bits+7)/8)
	_ = segments(len(order), bits, func(e0, e1, b0, b1 int) error {
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

// integers are the costs of elements in units of the trellis.
func integers(elements []int32, costs []float32) []uint16 {
	sum, finite := 0.0, 0
	for _, at := range elements {
		if c := float64(costs[at]); c >= 0 && c <= maxCost {
			sum += c
			finite++
		}
	}
	scale := 0.0
	if sum > 0 {
		scale = unit * float64(finite) / sum
	}
	weights := make([]uint16, len(elements))
	for e, at := range elements {
		switch c := float64(costs[at]); {
		case c >= 0 && c <= maxCost:
			weights[e] = uint16(min(c*scale+0.5, dearest))
		default: // infinite, or not a number
			weights[e] = wet
		}
	}
	return weights
}

// maxCost is the largest cost of an element that may change.
const maxCost = 1e20

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
	e := 0
	for i := range bits {
		mask := rows(bits - i)
		for ; e < (i+1)*len(values)/bits; e++ {
			zero, one := weights[e], uint16(0)
			if values[e] == 0 {
				zero, one = one, zero
			}
			step(t.to, t.from, t.ways[e*words:][:words], column(e)&mask, zero, one)
			t.from, t.to = t.to, t.from
		}
		shift(t.to, t.from, bit(message, first+i))
		t.from, t.to = t.to, t.from
		t.lower()
	}
}

// lower keeps the metrics of a long message from saturating.
func (t *trellis) lower() {
	if m := t.from[0]; m < high || m == infinite {
		return
	}
	least := uint16(infinite)
	for _, m := range t.from[:states/2] {
		least = min(least, m)
	}
	for s, m := range t.from[:states/2] {
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
