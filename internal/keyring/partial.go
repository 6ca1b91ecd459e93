package keyring

import (
	"crypto/sha256"
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
)

const partialPrefix = "partial-"

// Whole is the share of a fill that is all of it, in permille.
const Whole = 1000

// MaxPartialID is the length of the longest id for which every PartialID is a ValidID.
const MaxPartialID = maxID - len(partialPrefix+"1000-")

// Part says how much of a partial pair's fills is that of the pair it is a part of. Nothing in it is secret.
type Part struct {
	Owner string // fingerprint of the whole pair
	Right int    // permille of the keyed weights that are the owner's, 0 to Whole
	Wrong Key    // gives the others, and says which they are
}

// Partial returns a pair that fills the weights as p does, but for a share: of the keyed weights the given permille, 0 to
// Whole, are those of p, and the others those of a wrong key (weights.Mask.Spoil). Its id is PartialID(permille, p.ID). It
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
	return Pair{ID: PartialID(permille, p.ID), Embed: p.Embed, Recover: p.Recover, Part: part}
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

// PartialID is "partial-<permille>-<id>", the number in decimal. The id of a pair may be too long for it: MaxPartialID.
func PartialID(permille int, id string) string {
	return fmt.Sprintf("%s%d-%s", partialPrefix, permille, id)
}

// ParsePartialID is the inverse of PartialID for the ids of stored pairs, as ParseNearID is of NearID.
func ParsePartialID(id string) (permille int, of string, ok bool) {
	return parseNumbered(id, partialPrefix, Whole)
}
