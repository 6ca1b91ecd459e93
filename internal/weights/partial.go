package weights

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Whole is the share of a fill that is all of it, in permille.
const Whole = 1000

// Spoil makes the weights of a partial key from those of the key, in place: where the mask keys, it leaves the share
// right, in permille, as it is and puts the fill of a wrong key for the role in the place of the others. A weight is left
// where its u of the stream (role "partial", key = wrong) is below right/1000, in float64. So the weights that are right
// at one share are right at every larger one, and for both roles. dst holds Len() elements; Spoil panics otherwise, or if
// right is not in 0..Whole.
func (m *Mask) Spoil(dst []float32, r Role, right int, wrong []byte) {
	if len(dst) != m.len || right < 0 || right > Whole {
		panic(fmt.Sprintf("weights: spoil all but %d permille of %d weights with a mask of %d", right, len(dst), m.len))
	}
	if right == Whole {
		return
	}
	share := float64(right) / Whole
	var choice, fill stream
	defer fill.wipe()
	for i, all := range m.bits() {
		l := m.layers[i]
		bound := l.bound()
		choice.start(l, rolePartial, wrong)
		fill.start(l, r, wrong)
		for at := 0; at < l.Len(); at += chunk {
			n := min(chunk, l.Len()-at)
			chosen, words := choice.draw(n), fill.draw(n)
			values := dst[l.Offset+at:][:n]
			for w, set := range all[at/64 : (at+n+63)/64] {
				for ; set != 0; set &= set - 1 {
					j := 64*w + bits.TrailingZeros64(set)
					if uniform(binary.LittleEndian.Uint32(chosen[4*j:])) >= share {
						values[j] = value(binary.LittleEndian.Uint32(words[4*j:]), bound)
					}
				}
			}
		}
	}
}
