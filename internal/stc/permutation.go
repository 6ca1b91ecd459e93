package stc

import (
	"encoding/binary"
	"io"
)

// drawSize is how many words of the stream are read at a time.
const drawSize = 1024

// Permutation orders 0..n-1 by the stream, which a key makes: Fisher and Yates's shuffle from the last element on, with
// little-endian 32-bit words; a word that would favour small numbers is thrown away (Lemire 2019). n is below 2^31. It panics
// where the stream ends, which a keystream does not.
func Permutation(stream io.Reader, n int) []int32 {
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	var raw [4 * drawSize]byte
	at := len(raw)
	for i := n - 1; i > 0; i-- {
		bound := uint64(i + 1)
		for {
			if at == len(raw) {
				if _, err := io.ReadFull(stream, raw[:]); err != nil {
					panic("stc: draw a permutation: " + err.Error())
				}
				at = 0
			}
			product := uint64(binary.LittleEndian.Uint32(raw[at:])) * bound
			at += 4
			// The lowest 2^32 mod bound values of a word are one too many for some numbers.
			if low := uint32(product); low >= uint32(bound) || uint64(low) >= (1<<32)%bound {
				j := product >> 32
				order[i], order[j] = order[j], order[i]
				break
			}
		}
	}
	return order
}
