package keyring

import (
	"crypto/sha3"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const randomPrefix = "random-"

// Random returns the unregistered pair n of a seed: k_e | k_r is the first 64 bytes of
// SHAKE-256(LP("stegomq.random") | u32(1) | u64(seed) | u64(n)), little-endian, LP(b) = u32(len(b)) | b.
// Its id is RandomID(seed, n). Everybody can compute it: it serves to measure what a stranger's key
// recovers, and protects nothing.
func Random(seed, n uint64) Pair {
	in := versioned("stegomq.random")
	in = binary.LittleEndian.AppendUint64(in, seed)
	in = binary.LittleEndian.AppendUint64(in, n)
	return split(RandomID(seed, n), sha3.SumSHAKE256(in, 2*KeySize), time.Time{})
}

// versioned begins what is hashed for a computed pair: LP(domain) | u32(1), the version.
func versioned(domain string) []byte {
	in := binary.LittleEndian.AppendUint32(nil, uint32(len(domain)))
	return binary.LittleEndian.AppendUint32(append(in, domain...), 1)
}

// RandomID is "random-<seed>-<n>" in decimal.
func RandomID(seed, n uint64) string { return fmt.Sprintf("%s%d-%d", randomPrefix, seed, n) }

// ParseRandomID is the inverse of RandomID. One pair has one id: leading zeros and signs are not ok.
func ParseRandomID(id string) (seed, n uint64, ok bool) {
	rest, ok := strings.CutPrefix(id, randomPrefix)
	if !ok {
		return 0, 0, false
	}
	first, second, _ := strings.Cut(rest, "-")
	seed, err1 := strconv.ParseUint(first, 10, 64)
	n, err2 := strconv.ParseUint(second, 10, 64)
	if err1 != nil || err2 != nil || RandomID(seed, n) != id {
		return 0, 0, false
	}
	return seed, n, true
}
