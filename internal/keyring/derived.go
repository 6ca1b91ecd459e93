package keyring

import (
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Derived pairs are computed and not stored: random ones, and those that come from a stored one. They measure what leaks; nobody is given one. One
// pair has one id.

const (
	randomPrefix  = "random-"
	nearPrefix    = "near-"
	swappedPrefix = "swapped-"
	partialPrefix = "partial-"
)

// The lengths of the longest ids of stored pairs from which Near, Swapped and Partial make a ValidID, whatever the number.
const (
	MaxNearID    = maxID - len(nearPrefix+"255-")
	MaxSwappedID = maxID - len(swappedPrefix)
	MaxPartialID = maxID - len(partialPrefix+"1000-")
)

// KeyBits is the number of bits of a key, and so of the pairs that are near another.
const KeyBits = 8 * KeySize

// Whole is the share of a fill that is all of it, in permille.
const Whole = 1000

// kinds of derived pairs, by what their ids begin with.
var kinds = []struct {
	prefix string
	form   string                        // how an id is written, for people
	last   int                           // "<prefix><number>-<id>" has a number from 0 to last; where last is 0 there is none
	derive func(p Pair, number int) Pair // from a stored pair; nil of random pairs, which come from none
}{
	{randomPrefix, "a random key is written " + randomPrefix + "SEED-N", 0, nil},
	{nearPrefix, fmt.Sprintf("a key one bit off another is written %sBIT-ID, BIT 0 to %d", nearPrefix, KeyBits-1), KeyBits - 1, Near},
	{swappedPrefix, "a pair with its keys exchanged is written " + swappedPrefix + "ID", 0, func(p Pair, _ int) Pair { return Swapped(p) }},
	{partialPrefix, fmt.Sprintf("a partial key is written %sPERMILLE-ID, PERMILLE 0 to %d", partialPrefix, Whole), Whole, Partial},
}

// Derived reports whether id is reserved for a derived pair.
func Derived(id string) bool {
	for _, k := range kinds {
		if strings.HasPrefix(id, k.prefix) {
			return true
		}
	}
	return false
}

// derivation says from which stored pair the pair of an id comes, and how; ok is false of all other ids. Leading zeros and signs are not ok, and
// neither is what would come from a derived pair.
func derivation(id string) (of string, derive func(Pair) Pair, ok bool) {
	for _, k := range kinds {
		of, ok := strings.CutPrefix(id, k.prefix)
		if !ok || k.derive == nil {
			continue
		}
		n := 0
		if k.last > 0 {
			var number string
			number, of, _ = strings.Cut(of, "-")
			var err error
			if n, err = strconv.Atoi(number); err != nil || n > k.last || strconv.Itoa(n) != number {
				return "", nil, false
			}
		}
		return of, func(p Pair) Pair { return k.derive(p, n) }, checkID(of) == nil && ValidID(id)
	}
	return "", nil, false
}

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

// RandomID is "random-<seed>-<n>" in decimal.
func RandomID(seed, n uint64) string { return fmt.Sprintf("%s%d-%d", randomPrefix, seed, n) }

// ParseRandomID is the inverse of RandomID: leading zeros and signs are not ok.
func ParseRandomID(id string) (seed, n uint64, ok bool) {
	rest, _ := strings.CutPrefix(id, randomPrefix)
	first, second, _ := strings.Cut(rest, "-")
	seed, err1 := strconv.ParseUint(first, 10, 64)
	n, err2 := strconv.ParseUint(second, 10, 64)
	if err1 != nil || err2 != nil || RandomID(seed, n) != id {
		return 0, 0, false
	}
	return seed, n, true
}

// versioned begins what is hashed for a computed pair: LP(domain) | u32(1), the version.
func versioned(domain string) []byte {
	in := binary.LittleEndian.AppendUint32(nil, uint32(len(domain)))
	return binary.LittleEndian.AppendUint32(append(in, domain...), 1)
}

// Near returns the pair one bit off p: k_e and k_r are those of p but for bit 0..255 of each, of which bit b
// is bit b mod 8, counted from the least, of byte b / 8. Its id is "near-<bit>-<id of p>". It serves to measure
// what the nearest wrong key recovers. p must have both keys; a bit outside the range panics.
func Near(p Pair, bit int) Pair {
	if bit < 0 || bit >= KeyBits {
		panic(fmt.Sprintf("keyring: bit %d of a key of %d", bit, KeyBits))
	}
	both := append(p.Embed.Expose(), p.Recover.Expose()...)
	for _, key := range [][]byte{both[:KeySize], both[KeySize:]} {
		key[bit/8] ^= 1 << (bit % 8)
	}
	return split(fmt.Sprintf("%s%d-%s", nearPrefix, bit, p.ID), both, time.Time{})
}

// Swapped returns p with its keys exchanged: what k_e recovers and k_r embeds. Its id is "swapped-<id of p>". It serves to
// measure what somebody recovers who was given the wrong half of a pair. p must have both keys.
func Swapped(p Pair) Pair {
	return split(swappedPrefix+p.ID, append(p.Recover.Expose(), p.Embed.Expose()...), time.Time{})
}

// Part says how much of a partial pair's fills is that of the pair it is a part of. Nothing in it is secret.
type Part struct {
	Owner string // fingerprint of the whole pair
	Right int    // permille of the keyed weights that are the owner's, 0 to Whole
	Wrong Key    // gives the others, and says which they are
}

// Partial returns a pair that fills the weights as p does, but for a share: of the keyed weights the given permille, 0 to
// Whole, are those of p, and the others those of a wrong key (weights.Mask.Spoil). Its id is "partial-<permille>-<id of p>". It
// serves to measure how much of the right weights it takes to recover. The wrong key is the first 32 bytes of
// SHAKE-256(LP("stegomq.partial") | u32(1) | LP(fingerprint of p)), little-endian, LP(b) = u32(len(b)) | b: the same for
// every permille, so that more of it is right and nothing else changes. p must have both keys; a permille outside the
// range panics.
func Partial(p Pair, permille int) Pair {
	if permille < 0 || permille > Whole {
		panic(fmt.Sprintf("keyring: %d permille of a fill", permille))
	}
	owner := p.Fingerprint()
	in := versioned("stegomq.partial")
	in = binary.LittleEndian.AppendUint32(in, uint32(len(owner)))
	in = append(in, owner...)
	part := &Part{Owner: owner, Right: permille, Wrong: newKey(sha3.SumSHAKE256(in, KeySize))}
	return Pair{ID: fmt.Sprintf("%s%d-%s", partialPrefix, permille, p.ID), Embed: p.Embed, Recover: p.Recover, Part: part}
}

// fingerprint of a partial pair: the first 16 bytes of SHA-256("stegomq.partial.v1\x00" | u32(Right) | Owner) in lowercase
// hex, the number little-endian. Whole too is another than the owner's.
func (p *Part) fingerprint() string {
	h := sha256.New()
	io.WriteString(h, "stegomq.partial.v1\x00")
	h.Write(binary.LittleEndian.AppendUint32(nil, uint32(p.Right)))
	io.WriteString(h, p.Owner)
	return hex.EncodeToString(h.Sum(nil)[:16])
}
