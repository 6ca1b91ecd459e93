package producer

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// draw puts the numbers 0 to n-1 in the order that a seed gives them: that of SHA-256("stegomq.sample.v1" 0x00,
// seed, number), both little-endian uint64. The first k of them are a sample of k without replacement, the same on
// every machine and in every language, and part of every larger sample.
func draw(n int, seed uint64) []int {
	type ranked struct {
		rank   [sha256.Size]byte
		number int
	}
	all := make([]ranked, n)
	buf := binary.LittleEndian.AppendUint64([]byte("stegomq.sample.v1\x00"), seed)
	for i := range all {
		all[i] = ranked{sha256.Sum256(binary.LittleEndian.AppendUint64(buf, uint64(i))), i}
	}
	slices.SortFunc(all, func(a, b ranked) int { return bytes.Compare(a.rank[:], b.rank[:]) })
	order := make([]int, n)
	for i, r := range all {
		order[i] = r.number
	}
	return order
}
