package keyring

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"time"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

const redacted = "[redacted]"

// Key is a 256-bit key that does not show itself: every verb of fmt, slog, JSON and text give
// "[redacted]". Expose is the only way to the bytes. The zero Key is unset. There is no ==: use Equal.
type Key struct {
	// A function, because fmt cannot ask the methods of a Key in somebody's unexported field, and then
	// prints what it finds, pointers with the wrong verb included. Of a function it prints the address.
	bytes func() *[KeySize]byte
}

// newKey copies the first 32 bytes.
func newKey(b []byte) Key {
	own := [KeySize]byte(b[:KeySize])
	return Key{bytes: func() *[KeySize]byte { return &own }}
}

// NewKey copies the 32 bytes of a key.
func NewKey(b []byte) (Key, error) {
	if len(b) != KeySize {
		return Key{}, fmt.Errorf("a key has %d bytes, not %d", KeySize, len(b))
	}
	return newKey(b), nil
}

// ParseKey reads the 64 hex digits of a key. The error does not repeat any of them.
func ParseKey(s string) (Key, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != KeySize {
		return Key{}, fmt.Errorf("a key is written as %d hex digits", 2*KeySize)
	}
	return NewKey(b)
}

// Expose returns a copy of the bytes, or nil of an unset key. Give them to package weights and to
// nothing that writes them down.
func (k Key) Expose() []byte {
	if k.IsZero() {
		return nil
	}
	return bytes.Clone(k.bytes()[:])
}

// Equal compares in constant time; an unset key equals none.
func (k Key) Equal(other Key) bool {
	return !k.IsZero() && !other.IsZero() && subtle.ConstantTimeCompare(k.bytes()[:], other.bytes()[:]) == 1
}

// IsZero reports whether the key is unset.
func (k Key) IsZero() bool { return k.bytes == nil }

// Format covers every verb and flag of fmt.
func (Key) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// String is for those who call it directly.
func (Key) String() string { return redacted }

// LogValue covers slog.
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText covers JSON, YAML and whatever else asks for text.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Pair is what a user has: the key that embeds and the key that recovers.
type Pair struct {
	ID      string
	Embed   Key
	Recover Key
	Created time.Time // UTC; zero for keys that are not stored
	Part    *Part     // nil, but for a pair made by Partial
}

// Generate makes a new pair from the system's randomness.
func Generate(id string, created time.Time) (Pair, error) {
	if err := checkID(id); err != nil {
		return Pair{}, fmt.Errorf("generate key: %w", err)
	}
	var both [2 * KeySize]byte
	rand.Read(both[:]) // never fails: it ends the program instead
	return split(id, both[:], created), nil
}

// split makes a pair of 64 bytes: the embed key, then the recover key.
func split(id string, both []byte, created time.Time) Pair {
	return Pair{
		ID:      id,
		Embed:   newKey(both),
		Recover: newKey(both[KeySize:]),
		Created: created.UTC().Truncate(time.Second),
	}
}

// Fingerprint names the pair in public: the first 16 bytes of SHA-256("stegomq.fingerprint.v1\x00" |
// k_e | k_r) in lowercase hex, or that of a Part, which is another. It is "" while a key is unset.
func (p Pair) Fingerprint() string {
	if p.Embed.IsZero() || p.Recover.IsZero() {
		return ""
	}
	if p.Part != nil {
		return p.Part.fingerprint()
	}
	h := sha256.New()
	io.WriteString(h, "stegomq.fingerprint.v1\x00")
	h.Write(p.Embed.bytes()[:])
	h.Write(p.Recover.bytes()[:])
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// LogValue is the id and the fingerprint.
func (p Pair) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", p.ID), slog.String("fingerprint", p.Fingerprint()))
}

// check reports whether the pair may be stored.
func (p Pair) check() error {
	if err := checkID(p.ID); err != nil {
		return err
	}
	if p.Embed.IsZero() || p.Recover.IsZero() {
		return fmt.Errorf("key %q: the embed or the recover key is not set", p.ID)
	}
	return nil
}

// maxID is the length of the longest id.
const maxID = 63

var validID = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

// ValidID reports whether id can name a pair: 1 to 63 of a-z, 0-9, '_' and '-', the first a letter or a
// digit. One that is Derived cannot be stored.
func ValidID(id string) bool { return len(id) <= maxID && validID.MatchString(id) }

func checkID(id string) error {
	switch {
	case !ValidID(id):
		return fmt.Errorf("%w: %q; use 1 to 63 of a-z, 0-9, _ and -, the first a letter or a digit", ErrInvalidID, id)
	case Derived(id):
		return fmt.Errorf("%w: %q: ids that begin with %s are derived keys, which are not stored", ErrInvalidID, id, strings.Join(derivedPrefixes, " or "))
	}
	return nil
}
