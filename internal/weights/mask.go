package weights

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"sync"
)

// Mask says of every weight of a model whether it is shared (trained, the same for everybody) or keyed
// (filled for the key). It is public: its seed, or the mask itself, is part of the model. A Mask is safe
// for concurrent use.
type Mask struct {
	layers []Layer
	len    int

	// The bits are drawn at the first use. Drawing takes as long as making the weights of a key, and a command
	// that is answered from the cache needs neither.
	once  sync.Once
	draw  func()
	keyed [][]uint64 // per layer, bit i%64 of word i/64 is 1 where weight i is keyed
	kept  int
}

// NewMask describes the mask of a model: a weight is shared where its u of the stream (role "mask",
// key = seed) is below alpha, so about the share alpha of the weights is. The layers must follow one
// another without a gap from offset 0, which model.Manifest.Validate reports as an error; NewMask
// panics.
func NewMask(layers []Layer, seed []byte, alpha float64) *Mask {
	m := newMask(layers)
	seed = slices.Clone(seed)
	m.draw = func() {
		var s stream
		for i, l := range m.layers {
			s.start(l, roleMask, seed)
			for at := 0; at < l.Len(); at += chunk {
				words := s.draw(min(chunk, l.Len()-at))
				for j := 0; 4*j < len(words); j++ {
					if uniform(binary.LittleEndian.Uint32(words[4*j:])) >= alpha {
						m.setKeyed(i, at+j)
					}
				}
			}
		}
	}
	return m
}

// StoredMask is a mask that cannot be drawn, as it is stored: bit i%8 of byte i/8 is 1 where weight i,
// counted over all layers, is shared. Bits beyond the last weight must be 0. The layers are as in NewMask.
func StoredMask(layers []Layer, shared []byte) (*Mask, error) {
	m := newMask(layers)
	if want := (m.len + 7) / 8; len(shared) != want {
		return nil, fmt.Errorf("the mask has %d bytes, want %d for %d weights", len(shared), want, m.len)
	}
	if rest := m.len % 8; rest != 0 && shared[len(shared)-1]>>rest != 0 {
		return nil, fmt.Errorf("the mask has bits beyond its %d weights", m.len)
	}
	shared = slices.Clone(shared)
	m.draw = func() {
		for i, l := range m.layers {
			for j := range l.Len() {
				if at := l.Offset + j; shared[at/8]>>(at%8)&1 == 0 {
					m.setKeyed(i, j)
				}
			}
		}
	}
	return m, nil
}

func newMask(layers []Layer) *Mask {
	m := &Mask{layers: slices.Clone(layers)}
	for _, l := range layers {
		if l.Offset != m.len {
			panic(fmt.Sprintf("weights: layer %s begins at %d, not %d", l.Name, l.Offset, m.len))
		}
		m.len += l.Len()
	}
	return m
}

// bits makes the bits if nobody has yet.
func (m *Mask) bits() [][]uint64 {
	m.once.Do(func() {
		m.kept = m.len
		m.keyed = make([][]uint64, len(m.layers))
		for i, l := range m.layers {
			m.keyed[i] = make([]uint64, (l.Len()+63)/64)
		}
		m.draw()
		m.draw = nil
	})
	return m.keyed
}

// setKeyed is for draw.
func (m *Mask) setKeyed(layer, i int) {
	m.keyed[layer][i/64] |= 1 << (i % 64)
	m.kept--
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
// key elsewhere: w = (2u - 1) * sqrt(6 / (fan_in + fan_out)) with fan_in = I*kH*kW and fan_out = O*kH*kW, computed in
// float64 and rounded once to float32. dst and base hold Len() elements and may be the same slice; Apply panics if they
// have another length. The whole stream of every layer is drawn, so the time depends on Len() alone.
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

// Put writes the weights of a stored fill to dst: base where the mask shares, the values elsewhere, in
// order. dst and base are as in Apply, and there are Len() - Kept() values; Put panics otherwise.
func (m *Mask) Put(dst, base, values []float32) {
	if len(dst) != m.len || len(base) != m.len || len(values) != m.len-m.Kept() {
		panic(fmt.Sprintf("weights: put %d values into %d weights from %d: the mask has %d, of which %d are keyed",
			len(values), len(dst), len(base), m.len, m.len-m.kept))
	}
	copy(dst, base)
	for i, words := range m.bits() {
		for w, set := range words {
			for ; set != 0; set &= set - 1 {
				dst[m.layers[i].Offset+64*w+bits.TrailingZeros64(set)] = values[0]
				values = values[1:]
			}
		}
	}
}
