package keyring

import (
	"strings"
	"time"
)

const swappedPrefix = "swapped-"

// MaxSwappedID is the length of the longest id whose SwappedID is a ValidID.
const MaxSwappedID = maxID - len(swappedPrefix)

// Swapped returns p with its keys exchanged: what k_e recovers and k_r embeds. Its id is SwappedID(p.ID). It serves to
// measure what somebody recovers who was given the wrong half of a pair. p must have both keys.
func Swapped(p Pair) Pair {
	return split(SwappedID(p.ID), append(p.Recover.Expose(), p.Embed.Expose()...), time.Time{})
}

// SwappedID is "swapped-<id>". The id of a pair may be too long for it: MaxSwappedID.
func SwappedID(id string) string { return swappedPrefix + id }

// ParseSwappedID is the inverse of SwappedID for the ids of stored pairs.
func ParseSwappedID(id string) (of string, ok bool) {
	of, ok = strings.CutPrefix(id, swappedPrefix)
	if !ok || checkID(of) != nil || !ValidID(id) {
		return "", false
	}
	return of, true
}
