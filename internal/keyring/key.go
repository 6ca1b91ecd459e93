package keyring

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"stegomq/internal/kem"
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

// ParseKey reads the 64 hex digits of a key. The error does not repeat any of them.
func ParseKey(s string) (Key, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != KeySize {
		return Key{}, fmt.Errorf("a key is written as %d hex digits", 2*KeySize)
	}
	return newKey(b), nil
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

// Pair is what a user has: the key that embeds and the key that recovers. Of a pair that is Matched the first does not tell
// the second, so that there are entries with the first alone; of older pairs the two are unrelated.
type Pair struct {
	ID      string
	Embed   Key
	Recover Key       // unset in an entry that only embeds
	Created time.Time // UTC; zero for keys that are not stored
	Part    *Part     // nil, but for a pair made by Partial
}

// Generate makes a new pair from the system's randomness: k_r is an X25519 private key and k_e its public key (RFC 7748).
func Generate(id string, created time.Time) (Pair, error) {
	if err := checkID(id); err != nil {
		return Pair{}, fmt.Errorf("generate key: %w", err)
	}
	var seed [KeySize]byte
	rand.Read(seed[:]) // never fails: it ends the program instead
	return matched(id, seed, created)
}

// matched makes the pair of an X25519 private key, which it clamps.
func matched(id string, seed [KeySize]byte, created time.Time) (Pair, error) {
	recover := kem.Private(seed)
	embed, err := kem.Public(recover[:])
	if err != nil {
		return Pair{}, err
	}
	return split(id, append(embed[:], recover[:]...), created), nil
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

// Matched says whether k_e is the X25519 public key of k_r or, in an entry that only embeds, of anybody: the pairs that
// Generate makes.
func (p Pair) Matched() bool {
	switch {
	case p.Embed.IsZero():
		return false
	case p.Recover.IsZero():
		return kem.CheckPublic(p.Embed.bytes()[:]) == nil
	}
	return kem.Matched(p.Embed.bytes()[:], p.Recover.bytes()[:])
}

// EmbedOnly is the entry of a pair that only embeds, with the same id and fingerprint; of a pair that is not Matched there is
// none.
func (p Pair) EmbedOnly() (Pair, error) {
	if !p.Matched() {
		return Pair{}, fmt.Errorf("key %q: %w", p.ID, errUnmatched)
	}
	p.Recover = Key{}
	return p, nil
}

var errUnmatched = errors.New("its two halves are unrelated keys, and both are needed to embed; make a key with: stegomq keys new ID")

// Fingerprint names the pair in public, in lowercase hex: of a pair that is Matched the first 16 bytes of
// SHA-256("stegomq.fingerprint.public.v1\x00" | k_e), so that it is the same without k_r; of another the first 16 bytes of
// SHA-256("stegomq.fingerprint.v1\x00" | k_e | k_r); and that of a Part, which is another. It is "" while a key is missing.
func (p Pair) Fingerprint() string {
	h := sha256.New()
	switch {
	case p.Part != nil:
		return p.Part.fingerprint()
	case p.Matched():
		io.WriteString(h, "stegomq.fingerprint.public.v1\x00")
		h.Write(p.Embed.bytes()[:])
	case p.Embed.IsZero() || p.Recover.IsZero():
		return ""
	default:
		io.WriteString(h, "stegomq.fingerprint.v1\x00")
		h.Write(p.Embed.bytes()[:])
		h.Write(p.Recover.bytes()[:])
	}
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
	if p.Embed.IsZero() || p.Recover.IsZero() && !p.Matched() {
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
		prefixes := make([]string, len(kinds))
		for i, k := range kinds {
			prefixes[i] = k.prefix
		}
		return fmt.Errorf("%w: %q: ids that begin with %s are derived keys, which are not stored", ErrInvalidID, id, strings.Join(prefixes, " or "))
	}
	return nil
}
