// Package lsb owns the classical row of every comparison: LSB-4 with a ChaCha20 keystream. The four high bits of every
// sample of the secret are encrypted and take the place of the four low bits of the cover's sample.
//
// Samples are bytes, all of one image in a fixed order, red, green and blue planes one after another (C, H, W). Sample i
// of the stego image is
//
//	cover[i] & 0xf0 | (secret[i] >> 4 ^ keystream[i]) & 0x0f
//
// and of the recovered image 16 q + 8, q = (stego[i] ^ keystream[i]) & 0x0f. The keystream is that of ChaCha20 (RFC 8439,
// the counter from 0), one byte a sample, with
//
//	key   = SHA-256("stegomq.lsb.v1" 0x00 k_e k_r)
//	nonce = the first 12 bytes of SHA-256("stegomq.lsb.nonce.v1" 0x00 stego & 0xf0, sample after sample)
//
// Who recovers knows the stego image alone, and its high bits are the cover's: embedding does not change them.
//
// Invariants:
//   - Equal inputs give equal bytes. Both keys of a pair are needed, to embed and to recover.
//   - The high bits of stego and cover are the same, and so are the high bits of secret and recovered.
//   - Two secrets in one cover with one pair share the keystream: whoever sees both stego images learns the
//     difference of the secrets. A wrong key gives noise and no error, and nothing detects a change.
package lsb

import (
	"crypto/sha256"
	"fmt"

	"golang.org/x/crypto/chacha20"
)

// bits of a sample that hold a secret, and their mask.
const (
	bits = 4
	low  = 1<<bits - 1
)

// middle is added to a recovered sample, whose low bits are lost: half of what they can hold. On photographs it measures
// 34.8 dB, and 7 instead 34.7 dB; the bits of q again (17 q) 32.2 dB, nothing (16 q) 29.1 dB.
const middle = 1 << (bits - 1)

// The domains of the two hashes.
const (
	keyDomain   = "stegomq.lsb.v1\x00"
	nonceDomain = "stegomq.lsb.nonce.v1\x00"
)

// Key is the cipher's key of a pair. It does not show itself.
type Key struct{ bytes [chacha20.KeySize]byte }

// NewKey makes the key of a pair's two keys, 32 bytes each.
func NewKey(embed, recover []byte) (Key, error) {
	if len(embed) != chacha20.KeySize || len(recover) != chacha20.KeySize {
		return Key{}, fmt.Errorf("lsb: keys of %d and %d bytes, want %d each", len(embed), len(recover), chacha20.KeySize)
	}
	h := sha256.New()
	h.Write([]byte(keyDomain))
	h.Write(embed)
	h.Write(recover)
	return Key{[chacha20.KeySize]byte(h.Sum(nil))}, nil
}

// Format covers every verb and flag of fmt.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// Embed makes the samples of the stego image from those of a cover and a secret of the same number.
func Embed(cover, secret []byte, key Key) ([]byte, error) {
	if len(cover) != len(secret) {
		return nil, fmt.Errorf("lsb: a cover of %d samples, a secret of %d", len(cover), len(secret))
	}
	stego, err := keystream(cover, key)
	if err != nil {
		return nil, err
	}
	for i, k := range stego {
		stego[i] = cover[i]&^low | (secret[i]>>bits^k)&low
	}
	return stego, nil
}

// Recover makes the samples of the recovered image from those of a stego image.
func Recover(stego []byte, key Key) ([]byte, error) {
	recovered, err := keystream(stego, key)
	if err != nil {
		return nil, err
	}
	for i, k := range recovered {
		recovered[i] = ((stego[i]^k)&low)<<bits | middle
	}
	return recovered, nil
}

// keystream gives a byte for each sample of an image. Only their high bits count.
func keystream(samples []byte, key Key) ([]byte, error) {
	stream := make([]byte, len(samples))
	for i, v := range samples {
		stream[i] = v &^ low
	}
	h := sha256.New()
	h.Write([]byte(nonceDomain))
	h.Write(stream)
	cipher, err := chacha20.NewUnauthenticatedCipher(key.bytes[:], h.Sum(nil)[:chacha20.NonceSize])
	if err != nil {
		return nil, fmt.Errorf("lsb: %w", err)
	}
	clear(stream)
	cipher.XORKeyStream(stream, stream)
	return stream, nil
}
