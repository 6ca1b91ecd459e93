package weights

import (
	"crypto/sha3"
	"encoding/binary"
)

// chunk is how many words of a stream are drawn at a time: whole blocks of SHAKE-256 (34 words) and
// whole words of a mask (64 bits), and small enough for the first-level cache.
const chunk = 34 * 64 / 2

// stream draws the words of one layer.
type stream struct {
	shake *sha3.SHAKE
	buf   [chunk * 4]byte
}

// start begins the stream of a layer for a role and key, and reuses the buffer.
func (s *stream) start(l Layer, r Role, key []byte) {
	if s.shake == nil {
		s.shake = sha3.NewSHAKE256()
	} else {
		s.shake.Reset()
	}
	in := s.buf[:0]
	in = appendLP(in, "stegomq.fill")
	in = binary.LittleEndian.AppendUint32(in, Version)
	in = appendLP(in, r)
	in = appendLP(in, l.Name)
	in = binary.LittleEndian.AppendUint32(in, uint32(len(l.Shape)))
	for _, dim := range l.Shape {
		in = binary.LittleEndian.AppendUint32(in, uint32(dim))
	}
	in = appendLP(in, key)
	s.shake.Write(in)
}

// draw returns the next n words, 4 bytes each; n is at most chunk. The next draw overwrites them.
func (s *stream) draw(n int) []byte {
	b := s.buf[:4*n]
	s.shake.Read(b)
	return b
}

// wipe forgets the last words drawn, which give weights of a key away.
func (s *stream) wipe() {
	clear(s.buf[:])
	if s.shake != nil {
		s.shake.Reset()
	}
}

func appendLP[T ~string | ~[]byte](to []byte, b T) []byte {
	to = binary.LittleEndian.AppendUint32(to, uint32(len(b)))
	return append(to, b...)
}
