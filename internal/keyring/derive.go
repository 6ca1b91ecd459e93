package keyring

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/argon2"
)

// Argon2id as RFC 9106 (section 4) recommends second, where 2 GiB for each derivation are too much:
// 3 passes over 64 MiB in 4 lanes, a salt of 128 bits. It takes about a tenth of a second.
const (
	argonPasses = 3
	argonMemory = 64 << 10 // KiB
	argonLanes  = 4
	argonSalt   = 16 // bytes
)

// MinPassphrase is the least length of a passphrase, in bytes.
const MinPassphrase = 12

// Derive makes a pair from a passphrase, as Generate makes one from random bytes: k_r is Argon2id(passphrase, salt) of 32
// bytes, clamped, with the parameters above and salt = first 16 bytes of SHA-256("stegomq.passphrase.v2\x00" | id).
//
// The salt is bound to the id and holds nothing secret or random, so that the same id and passphrase
// give the same pair on any machine without a file. The price: whoever knows the id and the fingerprint,
// which are public, can try passphrases at the cost of one Argon2id each. Use five or more random words;
// Generate where a file can be kept. The bytes count as they are: no Unicode normalisation, no trimming.
func Derive(id string, passphrase []byte, created time.Time) (Pair, error) {
	seed, err := stretch("stegomq.passphrase.v2\x00", id, passphrase, KeySize)
	if err != nil {
		return Pair{}, err
	}
	return matched(id, [KeySize]byte(seed), created)
}

// DeriveUnmatched makes the pair that versions before X25519 derived, whose halves are unrelated: k_e | k_r is Argon2id of 64 bytes,
// and the salt is of "stegomq.passphrase.v1\x00".
func DeriveUnmatched(id string, passphrase []byte, created time.Time) (Pair, error) {
	both, err := stretch("stegomq.passphrase.v1\x00", id, passphrase, 2*KeySize)
	if err != nil {
		return Pair{}, err
	}
	return split(id, both, created), nil
}

// stretch is Argon2id of a passphrase, with a salt of the domain and the id.
func stretch(domain, id string, passphrase []byte, n uint32) ([]byte, error) {
	if err := checkID(id); err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	if len(passphrase) < MinPassphrase {
		return nil, fmt.Errorf("derive key %q: %w", id, errShortPassphrase)
	}
	salt := sha256.Sum256([]byte(domain + id))
	return argon2.IDKey(passphrase, salt[:argonSalt], argonPasses, argonMemory, argonLanes, n), nil
}

var errShortPassphrase = errors.New("the passphrase is shorter than 12 bytes; use five or more random words")
