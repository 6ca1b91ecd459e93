package weights

import (
	"crypto/sha3"
	"encoding/binary"
)

// summands is the number of uniform values in a nearly normal one; the variance of each is 1/12.
const summands = 12

// Normal fills dst with the nearly standard normal values of a seed. Graphs that take noise get them, so that they give the
// same image each time. Each value is the sum of twelve uniform values less its mean, in steps of 2^-16, computed exactly. The
// stream is SHAKE-256 over LP("stegomq.normal") | u32(Version) | u64(seed), read as little-endian uint16.
func Normal(dst []float32, seed uint64) {
	shake := sha3.NewSHAKE256()
	in := appendLP(nil, "stegomq.normal")
	in = binary.LittleEndian.AppendUint32(in, Version)
	in = binary.LittleEndian.AppendUint64(in, seed)
	shake.Write(in)
	var words [64 * 2 * summands]byte
	for len(dst) > 0 {
		n := min(len(dst), len(words)/(2*summands))
		shake.Read(words[:2*summands*n])
		for i := range dst[:n] {
			sum := 0
			for k := range summands {
				sum += int(binary.LittleEndian.Uint16(words[2*(summands*i+k):]))
			}
			dst[i] = float32(sum-summands*0xffff/2) * 0x1p-16
		}
		dst = dst[n:]
	}
}
