package steganalysis

import (
	"image"
	"math/rand/v2"
)

// Matching hides a random message by LSB matching (Sharp 2001), rate bits in each sample of red, green and blue, 0 to 1: a
// sample that takes a bit, chosen at random, moves by one up or down when its lowest bit is not the message's, which is
// half of the times. A known method at a known rate, as a control of what Detect finds. Equal seeds hide alike.
func Matching(m *image.NRGBA, rate float64, seed uint64) *image.NRGBA {
	r := rand.New(rand.NewPCG(seed, 0x6c73626d))
	out := image.NewNRGBA(image.Rect(0, 0, m.Rect.Dx(), m.Rect.Dy()))
	for y := range m.Rect.Dy() {
		row := out.Pix[y*out.Stride:][:4*m.Rect.Dx()]
		copy(row, m.Pix[y*m.Stride:])
		for i, v := range row {
			if i%4 == 3 || r.Float64() >= rate {
				continue
			}
			draw := r.Uint64()
			switch {
			case draw&1 == 0: // the lowest bit is right
			case v == 0 || draw&2 == 0 && v < 255:
				row[i]++
			default:
				row[i]--
			}
		}
	}
	return out
}
