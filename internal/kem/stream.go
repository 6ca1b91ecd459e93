package kem

import (
	"io"

	"golang.org/x/crypto/chacha20"
)

// StreamKey is the length of a stream's key, in bytes.
const StreamKey = chacha20.KeySize

// Stream reads as the bytes of a ChaCha20 keystream (RFC 8439, nonce and counter 0) of a key that Known or Export gave for this
// alone. It gives 256 GiB and never fails before.
func Stream(key []byte) io.Reader {
	cipher, err := chacha20.NewUnauthenticatedCipher(key, make([]byte, chacha20.NonceSize))
	if err != nil {
		panic(err) // the key has the right length
	}
	return stream{cipher}
}

type stream struct{ *chacha20.Cipher }

func (s stream) Read(b []byte) (int, error) {
	clear(b)
	s.XORKeyStream(b, b)
	return len(b), nil
}
