package keyring

import (
	"fmt"
	"time"
)

const nearPrefix = "near-"

// KeyBits is the number of bits of a key, and so of the pairs that are near another.
const KeyBits = 8 * KeySize

// MaxNearID is the length of the longest id for which every NearID is a ValidID.
const MaxNearID = maxID - len(nearPrefix+"255-")

// Near returns the pair one bit off p: k_e and k_r are those of p but for bit 0..255 of each, of which bit b
// is bit b mod 8, counted from the least, of byte b / 8. Its id is NearID(bit, p.ID). It serves to measure
// what the nearest wrong key recovers. p must have both keys; a bit outside the range panics.
func Near(p Pair, bit int) Pair {
	if bit < 0 || bit >= KeyBits {
		panic(fmt.Sprintf("keyring: bit %d of a key of %d", bit, KeyBits))
	}
	both := append(p.Embed.Expose(), p.Recover.Expose()...)
	for _, key := range [][]byte{both[:KeySize], both[KeySize:]} {
		key[bit/8] ^= 1 << (bit % 8)
	}
	return split(NearID(bit, p.ID), both, time.Time{})
}

// NearID is "near-<bit>-<id>", the bit in decimal. The id of a pair may be too long for it: MaxNearID.
func NearID(bit int, id string) string { return fmt.Sprintf("%s%d-%s", nearPrefix, bit, id) }

// ParseNearID is the inverse of NearID for the ids of stored pairs. One pair has one id: leading zeros and signs
// are not ok, and neither is what is near a random pair or near a near one.
func ParseNearID(id string) (bit int, of string, ok bool) {
	return parseNumbered(id, nearPrefix, KeyBits-1)
}
