// Package rotated owns how a network without keys hides a secret for the holder of a key. The secret becomes a rotation's payload under
// a fresh key (package rotation). The payload becomes an image of noise, which the network hides like any other image. The header, which is
// needed to turn it back, travels in the lowest bits of the stego image. The network sees the same distribution whatever the secret and the key are.
//
// Samples are 8-bit red, green and blue planes one after another. The network hides in the even region: the largest even width w and
// height h of the cover; a last odd row or column stays as it is. kem's purpose is "stegomq.rotated.v1".
//
// The image of noise: the payload is that of rotation.New(w, h, Bands) for the secret's part in the even region, with the key
// Export("rotation", 32), where Bands = max(24, floor(0.04 N / 8) - 32), N the samples of the stego image. Its values, row by row, each
// times the gain of its row, fill twelve bands of w/2 x h/2 one after another; what does not fit, the weakest frequencies, is left out.
// In a band value i goes to place p[i] of the raster, p = stc.Permutation of the stream of Export("places", 32), one band after
// another. The gain of a row is sqrt(t / mean t) / 2, t its public deviation (trainer/payload.py). Band 3 q + c is quarter q of the
// orthonormal Haar transform of colour c, the quarters in the order low, horizontal, vertical, diagonal. To these values the network's
// inputs add 1/2.
//
// The header: the encapsulation, then the scales XOR the first bytes of Stream(Export("scales", 32)). It is written by stc.Embed with
// the costs of the stego image, in all samples, in the order of stc.Permutation of Stream(Known("header", 32)).
//
// Invariants:
//   - Nothing here is authenticated. Another key, a change of the stego image, or a photograph that holds nothing give noise, and no
//     error.
//   - Every embedding has a fresh key. No number in the network's inputs but the cover depends on more of the secret than its size.
package rotated

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"math"

	"stegomq/internal/kem"
	"stegomq/internal/rotation"
	"stegomq/internal/stc"
)

// MinSide is the least width and height of a cover, in pixels.
const MinSide = 16

const (
	purpose = "stegomq.rotated.v1"
	colours = 3
	bands   = 12
	centre  = 0.5
)

// What a stego image has for the header: headerShare of its capacity, one bit a sample, but for fewBands or less at least. It bounds
// the bands of a rotation in small images.
const (
	headerShare = 0.04
	fewBands    = 24
)

var (
	// ErrTooSmall: a side is below MinSide.
	ErrTooSmall = fmt.Errorf("the image is too small: both sides must have at least %d pixels", MinSide)
	// ErrSize: the samples are not those of an image of the size.
	ErrSize = errors.New("samples and size do not agree")
)

// gains of the rows of a payload.
var gains = func() (g [rotation.Frequencies]float64) {
	deviations, mean := rotation.Deviations(), 0.0
	for _, t := range deviations {
		mean += t / rotation.Frequencies
	}
	for row, t := range deviations {
		g[row] = math.Sqrt(t/mean) / 2
	}
	return g
}()

// NewKeys takes the keys of a pair, 32 bytes each, as kem.NewKeys does.
func NewKeys(embed, recover []byte) (kem.Keys, error) { return kem.NewKeys(purpose, embed, recover) }

// Size is that of a stego image, in pixels.
type Size struct{ Width, Height int }

// Even is the size of the region in which the network hides.
func (s Size) Even() Size { return Size{s.Width &^ 1, s.Height &^ 1} }

func (s Size) check(samples []byte) error {
	if s.Width < MinSide || s.Height < MinSide {
		return fmt.Errorf("%dx%d: %w", s.Width, s.Height, ErrTooSmall)
	}
	if len(samples) != colours*s.Width*s.Height {
		return fmt.Errorf("%d samples for %dx%d pixels: %w", len(samples), s.Width, s.Height, ErrSize)
	}
	return nil
}

func (s Size) rotation() rotation.Rotation {
	most := int(headerShare*float64(colours*s.Width*s.Height)/8) - kem.Size
	even := s.Even()
	return rotation.New(even.Width, even.Height, min(max(most, fewBands), rotation.Frequencies))
}

// Region is the even region's samples.
func (s Size) Region(samples []byte) []byte {
	even := s.Even()
	if even == s {
		return samples
	}
	region := make([]byte, 0, colours*even.Width*even.Height)
	for row := range colours * s.Height {
		if row%s.Height < even.Height {
			region = append(region, samples[row*s.Width:][:even.Width]...)
		}
	}
	return region
}

// Embedding is one secret on its way into a cover.
type Embedding struct {
	// Noise is what the network is given as the secret: three planes of the even region, in units of the range of a pixel.
	Noise  []float32
	size   Size
	keys   kem.Keys
	header []byte
}

// Prepare makes what the network hides, from a secret of the cover's size. Keys that embed only will do. The errors are ErrTooSmall
// and ErrSize.
func Prepare(secret []byte, size Size, keys kem.Keys) (*Embedding, error) {
	if err := size.check(secret); err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	enc, session, err := keys.Encapsulate()
	if err != nil {
		return nil, err
	}
	turn := size.rotation()
	payload, scales := turn.Rotate(size.Region(secret), exported(session.Export, "rotation"))
	grid := make([]float64, len(size.Region(secret)))
	place(size, turn, session.Export, func(row, value, at int) { grid[at] = payload[value] * gains[row] })
	e := &Embedding{Noise: make([]float32, len(grid)), size: size, keys: keys, header: append(enc[:], masked(scales, session.Export)...)}
	haar(size.Even(), func(quarters, phases [4]int) {
		for i, v := range transform(grid, quarters) {
			e.Noise[phases[i]] = float32(v + centre)
		}
	})
	return e, nil
}

// Finish makes the stego image of the cover and of what the network made of its even region, as 8-bit samples: it puts the header
// into the lowest bits.
func (e *Embedding) Finish(cover, made []byte) ([]byte, error) {
	even := e.size.Even()
	if err := e.size.check(cover); err != nil {
		return nil, fmt.Errorf("cover: %w", err)
	}
	if len(made) != colours*even.Width*even.Height {
		return nil, fmt.Errorf("the network made %d samples: %w", len(made), ErrSize)
	}
	stego := append([]byte(nil), cover...)
	for row, from := 0, made; len(from) > 0; row++ {
		if row%e.size.Height < even.Height {
			copy(stego[row*e.size.Width:], from[:even.Width])
			from = from[even.Width:]
		}
	}
	costs := stc.Costs(stego, e.size.Height, e.size.Width)
	if err := stc.Embed(stego, headerOrder(e.keys, stego), costs, e.header, 8*len(e.header), rand.Reader); err != nil {
		return nil, fmt.Errorf("write the header: %w", err)
	}
	return stego, nil
}

// Recover makes the secret's samples from a stego image and from what the network recovered from its even region, in the units of
// Embedding.Noise. An odd last row or column repeats the one before it. The errors are ErrTooSmall, ErrSize, and kem.ErrEmbedOnly.
func Recover(stego []byte, recovered []float32, size Size, keys kem.Keys) ([]byte, error) {
	if err := size.check(stego); err != nil {
		return nil, fmt.Errorf("stego: %w", err)
	}
	even := size.Even()
	if len(recovered) != colours*even.Width*even.Height {
		return nil, fmt.Errorf("the network recovered %d samples: %w", len(recovered), ErrSize)
	}
	turn := size.rotation()
	header, err := stc.Extract(stego, headerOrder(keys, stego), 8*(kem.Size+turn.Bands()))
	if err != nil {
		return nil, err
	}
	export, err := session(keys, [kem.Size]byte(header))
	if err != nil {
		return nil, err
	}
	grid, centred := make([]float64, len(recovered)), make([]float64, len(recovered))
	for i, v := range recovered {
		centred[i] = float64(v) - centre
	}
	haar(even, func(quarters, phases [4]int) {
		for i, v := range transform(centred, phases) {
			grid[quarters[i]] = v
		}
	})
	payload := make([]float64, turn.Len())
	place(size, turn, export, func(row, value, at int) { payload[value] = grid[at] / gains[row] })
	return widened(turn.Restore(payload, masked(header[kem.Size:], export), exported(export, "rotation")), size), nil
}

// headerOrder is that of the samples in which the header lies.
func headerOrder(keys kem.Keys, stego []byte) []int32 {
	return stc.Permutation(kem.Stream(keys.Known("header", kem.StreamKey)), len(stego))
}

// session is what the encapsulation exports. Bytes that cannot be an encapsulation give other keys, which depend on these bytes: the result
// is noise, as with every wrong key.
func session(keys kem.Keys, enc [kem.Size]byte) (func(label string, n int) []byte, error) {
	shared, err := keys.Decapsulate(enc)
	switch {
	case errors.Is(err, kem.ErrOpen):
		return func(label string, n int) []byte { return keys.Known(string(enc[:])+label, n) }, nil
	case err != nil:
		return nil, err
	}
	return shared.Export, nil
}

func exported(export func(string, int) []byte, label string) [rotation.KeySize]byte {
	return [rotation.KeySize]byte(export(label, rotation.KeySize))
}

// masked is its own inverse.
func masked(scales []byte, export func(string, int) []byte) []byte {
	out := make([]byte, len(scales))
	_, _ = kem.Stream(export("scales", kem.StreamKey)).Read(out) // a keystream never fails
	subtle.XORBytes(out, out, scales)
	return out
}

// place calls put with the row and the index of each value of a payload that has a place, and its index in the grid: the bands, one
// after another.
func place(size Size, turn rotation.Rotation, export func(string, int) []byte, put func(row, value, at int)) {
	even, blocks := size.Even(), turn.Blocks()
	area := even.Width / 2 * (even.Height / 2)
	stream := kem.Stream(export("places", kem.StreamKey))
	value := 0
	for band := range bands {
		for _, p := range stc.Permutation(stream, area) {
			if value == turn.Len() {
				break // padded blocks are never fewer than the places, but for the parts of blocks at the ends
			}
			put(value/blocks, value, band*area+int(p))
			value++
		}
	}
}

// haar calls step for each 2x2 pixels of each colour, with the places of their four quarters in the bands and of their pixels in the
// image: top left, top right, bottom left, bottom right.
func haar(even Size, step func(quarters, phases [4]int)) {
	width, height := even.Width/2, even.Height/2
	area := width * height
	for c := range colours {
		for y := range height {
			for x := range width {
				at := c*area + y*width + x
				first := c*4*area + 2*y*even.Width + 2*x
				step([4]int{at, at + colours*area, at + 2*colours*area, at + 3*colours*area},
					[4]int{first, first + 1, first + even.Width, first + even.Width + 1})
			}
		}
	}
}

// transform is the orthonormal Haar transform of the four values at some places, and its own inverse.
func transform(values []float64, at [4]int) [4]float64 {
	a, b, c, d := values[at[0]], values[at[1]], values[at[2]], values[at[3]]
	return [4]float64{(a + b + c + d) / 2, (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2}
}

// widened repeats the last row and column where the even region is smaller than the image.
func widened(region []byte, size Size) []byte {
	even := size.Even()
	if even == size {
		return region
	}
	out := make([]byte, 0, colours*size.Width*size.Height)
	for c := range colours {
		for y := range size.Height {
			row := region[(c*even.Height+min(y, even.Height-1))*even.Width:][:even.Width]
			out = append(out, row...)
			if size.Width > even.Width {
				out = append(out, row[even.Width-1])
			}
		}
	}
	return out
}
