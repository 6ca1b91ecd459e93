package keyring

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// derivedPrefixes begin the ids of pairs that are computed.
var derivedPrefixes = []string{randomPrefix, nearPrefix, swappedPrefix, partialPrefix}

// Derived reports whether id is reserved for a pair that is computed and not stored: a random one, or one that comes
// from a stored one. Such pairs measure leakage; nobody is given one.
func Derived(id string) bool {
	return slices.ContainsFunc(derivedPrefixes, func(prefix string) bool { return strings.HasPrefix(id, prefix) })
}

// derivation says which stored pair the pair of an id comes from, and how; ok is false of all other ids.
func derivation(id string) (of string, derive func(Pair) Pair, ok bool) {
	if bit, of, ok := ParseNearID(id); ok {
		return of, func(p Pair) Pair { return Near(p, bit) }, true
	}
	if of, ok := ParseSwappedID(id); ok {
		return of, Swapped, true
	}
	if permille, of, ok := ParsePartialID(id); ok {
		return of, func(p Pair) Pair { return Partial(p, permille) }, true
	}
	return "", nil, false
}

// parseNumbered reads "<prefix><number>-<id>", the number 0 to last, the id that of a stored pair. One pair has one id:
// leading zeros and signs are not ok, and neither is what is derived from a derived pair.
func parseNumbered(id, prefix string, last int) (n int, of string, ok bool) {
	rest, ok := strings.CutPrefix(id, prefix)
	if !ok {
		return 0, "", false
	}
	number, of, _ := strings.Cut(rest, "-")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > last || fmt.Sprintf("%s%d-%s", prefix, n, of) != id || checkID(of) != nil || !ValidID(id) {
		return 0, "", false
	}
	return n, of, true
}
