package weights

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"sync"
)

// Mask says of every weight of a model whether it is shared (trained, the same for everybody) or keyed
// (filled from the key). It is public: the seed stands in the manifest. A Mask is safe for concurrent
// use.
type Mask struct {
	layers []Layer
	seed   []byte
	alpha  float64
	len    int

	// The bits are drawn at the first use, because that takes as long as making the weights of a key,
	// and a command that is answered from the cache needs neither.
	draw  sync.Once
	keyed [][]uint64 // per layer, bit i%64 of word i/64 is 1 where weight i is keyed
	kept  int
}

// NewMask describes the mask of a model: a weight is shared where its u of the stream (role "mask",
// key = seed) is below alpha, so about the share alpha of the weights is. The layers must follow one
// another without a gap from offset 0, which model.Manifest.Validate reports as an error; NewMask
// panics.
func NewMask(layers []Layer, seed []byte, alpha float64) *Mask {
	m := &Mask{layers: slices.Clone(layers), seed: slices.Clone(seed), alpha: alpha}
	for _, l := range layers {
		if l.Offset != m.len {
			panic(fmt.Sprintf("weights: layer %s begins at %d, not %d", l.Name, l.Offset, m.len))
		}
		m.len += l.Len()
	}
	return m
}

// bits draws the mask if nobody has yet.
func (m *Mask) bits() [][]uint64 {
	m.draw.Do(func() {
		var s stream
		m.keyed = make([][]uint64, len(m.layers))
		m.kept = m.len
		for i, l := range m.layers {
			keyed := make([]uint64, (l.Len()+63)/64)
			s.start(l, roleMask, m.seed)
			for at := 0; at < l.Len(); at += chunk {
				words := s.draw(min(chunk, l.Len()-at))
				for j := 0; 4*j < len(words); j++ {
					u := float64(binary.LittleEndian.Uint32(words[4*j:])>>8) * 0x1p-24
					if u >= m.alpha {
						keyed[(at+j)/64] |= 1 << ((at + j) % 64)
						m.kept--
					}
				}
			}
			m.keyed[i] = keyed
		}
	})
	return m.keyed
}

// Len is the number of weights that the mask covers.
func (m *Mask) Len() int { return m.len }

// Kept is the number of shared weights.
func (m *Mask) Kept() int {
	m.bits()
	return m.kept
}

// Shared reports whether weight i, counted over all layers, is shared. It panics if i is outside
// [0, Len()).
func (m *Mask) Shared(i int) bool {
	if i < 0 || i >= m.len {
		panic(fmt.Sprintf("weights: weight %d of %d", i, m.len))
	}
	keyed := m.bits()
	at, found := slices.BinarySearchFunc(m.layers, i, func(l Layer, i int) int { return l.Offset - i })
	if !found {
		at--
	}
	i -= m.layers[at].Offset
	return keyed[at][i/64]>>(i%64)&1 == 0
}

// Apply writes the weights of a key to dst: base where the mask shares, the fill values of the role and
// key elsewhere. dst and base hold Len() elements and may be the same slice; Apply panics if they have
// another length. The whole stream of every layer is drawn, so the time depends on Len() alone.
func (m *Mask) Apply(dst, base []float32, r Role, key []byte) {
	if len(dst) != m.len || len(base) != m.len {
		panic(fmt.Sprintf("weights: apply a mask of %d weights to %d from %d", m.len, len(dst), len(base)))
	}
	all := m.bits()
	copy(dst, base)
	var s stream
	defer s.wipe()
	for i, l := range m.layers {
		s.start(l, r, key)
		patch(dst[l.Offset:l.Offset+l.Len()], all[i], l.bound(), &s)
	}
}

// patch overwrites the keyed weights of one layer.
func patch(dst []float32, keyed []uint64, bound float64, s *stream) {
	for len(dst) > 0 {
		n := min(len(dst), chunk)
		words := s.draw(n)
		for w, set := range keyed[:(n+63)/64] {
			for ; set != 0; set &= set - 1 {
				j := 64*w + bits.TrailingZeros64(set)
				dst[j] = value(binary.LittleEndian.Uint32(words[4*j:]), bound)
			}
		}
		dst, keyed = dst[n:], keyed[(n+63)/64:]
	}
}
