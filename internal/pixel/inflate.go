package pixel

import (
	"encoding/binary"
	"hash/adler32"
	"math/bits"
	"sync"
)

// inflate fills out with what a zlib stream holds (RFC 1950, RFC 1951), and says whether that is exactly as many bytes, with the right checksum.
// The library's reader costs three times as much, because it does not know that the whole stream, and its length, are at hand. What is wrong with
// a stream that is refused is for the library to say.
func inflate(out, stream []byte) bool {
	const preset = 0x20 // a dictionary, which PNG has none of
	if len(stream) < 6 || stream[0]&15 != 8 || stream[0] > 0x78 || binary.BigEndian.Uint16(stream)%31 != 0 || stream[1]&preset != 0 {
		return false
	}
	d := inflaters.Get().(*inflater)
	defer func() {
		d.in = nil
		inflaters.Put(d)
	}()
	d.in, d.at, d.acc, d.have = stream[2:], 0, 0, 0
	n := 0
	for last := false; !last; {
		d.refill()
		last = d.take(1) == 1
		switch d.take(2) {
		case 0:
			d.take(d.have & 7)
			d.refill()
			size := int(d.take(16))
			if size != int(^d.take(16)&0xffff) {
				return false
			}
			d.at -= int(d.have / 8)
			d.acc, d.have = 0, 0
			if d.at+size > len(d.in) || n+size > len(out) {
				return false
			}
			copy(out[n:], d.in[d.at:][:size])
			d.at, n = d.at+size, n+size
			continue
		case 1:
			d.literals, d.places = fixed()
		case 2:
			if !d.dynamic() {
				return false
			}
		default:
			return false
		}
		if n = d.block(out, n); n < 0 {
			return false
		}
	}
	d.at -= int(d.have / 8)
	return n == len(out) && d.at+4 == len(d.in) && binary.BigEndian.Uint32(d.in[d.at:]) == adler32.Checksum(out)
}

// inflater reads the bits of a deflate stream, the first of them lowest.
type inflater struct {
	in   []byte
	at   int    // of the first byte that is not in acc; beyond the end where zeros were made up
	acc  uint64 // bits to come
	have uint   // how many of acc's are there, at least

	literals, places *huffman // of this block
	own              [2]huffman
}

// inflaters holds *inflater, which is large for a stack.
var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// refill leaves 56 bits or more. Behind the end of the input it makes zeros, which inflate notices by the place that it then has reached.
func (d *inflater) refill() {
	if d.at+8 <= len(d.in) {
		d.acc |= binary.LittleEndian.Uint64(d.in[d.at:]) << d.have
		d.at += int(63-d.have) >> 3
		d.have |= 56
		return
	}
	for d.have <= 55 {
		if d.at < len(d.in) {
			d.acc |= uint64(d.in[d.at]) << d.have
		}
		d.at++
		d.have += 8
	}
}

func (d *inflater) take(n uint) uint {
	v := uint(d.acc & (1<<n - 1))
	d.acc >>= n
	d.have -= n
	return v
}

const (
	longest = 15 // bits of a code
	direct  = 11 // bits of the codes that the table holds
)

// huffman is a prefix code. Codes of up to direct bits are found in a table by the bits to come, as symbol<<4 | length; longer ones by their
// order, of which the code is made (RFC 1951, section 3.2.2).
type huffman struct {
	table   [1 << direct]uint16
	count   [longest + 1]uint16 // codes of each length
	symbols [288]uint16         // in the order of their codes
}

// build makes the code of the lengths of its symbols, 0 of those without. Only a complete code, or one of a single symbol, is right, or one of none,
// as of the places in a block without matches.
func (h *huffman) build(lengths []uint8) bool {
	h.count = [longest + 1]uint16{}
	for _, n := range lengths {
		h.count[n]++
	}
	h.count[0] = 0
	var next, first [longest + 2]uint16
	left, used := 1, uint16(0)
	for n := 1; n <= longest; n++ {
		left = left<<1 - int(h.count[n])
		if left < 0 {
			return false
		}
		next[n+1] = (next[n] + h.count[n]) << 1
		first[n+1] = first[n] + h.count[n]
		used += h.count[n]
	}
	if left > 0 && used > 0 && (used != 1 || h.count[1] != 1) {
		return false
	}
	if left > 0 {
		h.table = [1 << direct]uint16{}
	}
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		h.symbols[first[n]] = uint16(symbol)
		first[n]++
		code := next[n]
		next[n]++
		if n <= direct {
			for i := int(bits.Reverse16(code) >> (16 - n)); i < len(h.table); i += 1 << n {
				h.table[i] = uint16(symbol)<<4 | uint16(n)
			}
		} else {
			h.table[bits.Reverse16(code>>(n-direct))>>(16-direct)] = 0
		}
	}
	return true
}

// long finds the next symbol, whose code is longer than the table's or is none, and gives it as the table does; 0 for none.
func (h *huffman) long(acc uint64) uint16 {
	code, first, index := uint16(0), uint16(0), uint16(0)
	for n := range longest {
		code |= uint16(acc>>n) & 1
		count := h.count[n+1]
		if code-first < count {
			return h.symbols[index+code-first]<<4 | uint16(n+1)
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0
}

func (h *huffman) find(acc uint64) uint16 {
	if e := h.table[acc&(1<<direct-1)]; e != 0 {
		return e
	}
	return h.long(acc)
}

// fixed are the codes of a block that brings none (RFC 1951, section 3.2.6).
var fixed = sync.OnceValues(func() (literals, places *huffman) {
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144, i >= 280:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		default:
			lengths[i] = 7
		}
	}
	literals, places = new(huffman), new(huffman)
	literals.build(lengths[:])
	for i := range 32 {
		lengths[i] = 5
	}
	places.build(lengths[:32])
	return literals, places
})

// dynamic reads the codes of a block (RFC 1951, section 3.2.7).
func (d *inflater) dynamic() bool {
	d.literals, d.places = &d.own[0], &d.own[1]
	literals, places, codes := 257+int(d.take(5)), 1+int(d.take(5)), 4+int(d.take(4))
	var lengths [288 + 32]uint8
	d.refill()
	for i, at := range []uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[:codes] {
		if i == 12 {
			d.refill()
		}
		lengths[at] = uint8(d.take(3))
	}
	if literals > 286 || places > 30 || !d.literals.build(lengths[:19]) {
		return false
	}
	lengths = [288 + 32]uint8{}
	before := uint8(0)
	for i := 0; i < literals+places; {
		d.refill()
		e := d.literals.find(d.acc)
		d.take(uint(e & 15))
		again, value := 1, uint8(e>>4)
		switch {
		case e == 0, value == 16 && i == 0:
			return false
		case value == 16:
			again, value = 3+int(d.take(2)), before
		case value == 17:
			again, value = 3+int(d.take(3)), 0
		case value == 18:
			again, value = 11+int(d.take(7)), 0
		}
		if i+again > literals+places {
			return false
		}
		for range again {
			lengths[i] = value
			i++
		}
		before = value
	}
	const end = 256
	return lengths[end] != 0 && d.literals.build(lengths[:literals]) && d.places.build(lengths[literals:][:places])
}

// Lengths and distances of matches, and how many bits that follow are added (RFC 1951, section 3.2.5).
var (
	lengthBase = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthMore = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	placeBase  = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	placeMore  = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// block writes what the rest of a block holds behind the first n bytes of out, and gives their new number; -1 where it does not fit or is none.
func (d *inflater) block(out []byte, n int) int {
	const end = 256
	for {
		n = d.run(out, n)
		d.refill()
		e := d.literals.find(d.acc)
		d.take(uint(e & 15))
		symbol := int(e >> 4)
		switch {
		case e == 0, d.at > len(d.in)+8: // behind the end are zeros that refill made up
			return -1
		case symbol == end:
			return n
		case symbol < end:
			if n >= len(out) {
				return -1
			}
			out[n] = byte(symbol)
			n++
			continue
		}
		symbol -= end + 1
		if symbol >= len(lengthBase) {
			return -1
		}
		d.refill()
		size := int(lengthBase[symbol]) + int(d.take(uint(lengthMore[symbol])))
		e = d.places.find(d.acc)
		d.take(uint(e & 15))
		if e == 0 || int(e>>4) >= len(placeBase) {
			return -1
		}
		back := int(placeBase[e>>4]) + int(d.take(uint(placeMore[e>>4])))
		if back > n || size > len(out)-n {
			return -1
		}
		for i := range size { // a match may overlap what it makes
			out[n+i] = out[n+i-back]
		}
		n += size
	}
}

// run writes the literals that the table holds, up to what is none, or to the end of the input or the output. It is where the time goes.
func (d *inflater) run(out []byte, n int) int {
	const end = 256
	in, acc, have, table := d.in[min(d.at, len(d.in)):], d.acc, d.have, &d.literals.table
	before := len(in)
	out = out[n:]
	for len(out) >= 5 && len(in) >= 8 {
		acc |= binary.LittleEndian.Uint64(in) << (have & 63)
		in = in[(63-have)>>3:]
		have |= 56
		wrote := 0
		for wrote < 5 { // of 11 bits at most
			e := uint64(table[acc&(1<<direct-1)])
			if e-1 >= end<<4-1 {
				break
			}
			out[wrote] = byte(e >> 4)
			wrote++
			have -= uint(e & 15)
			acc >>= e & 15
		}
		out, n = out[wrote:], n+wrote
		if wrote < 5 {
			break
		}
	}
	d.at, d.acc, d.have = d.at+before-len(in), acc, have
	return n
}
