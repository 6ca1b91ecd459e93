// Package modulo hides an image in another of the same size so that what is recovered degrades gracefully, without a network and for
// any keys: the secret, rotated under a fresh key by package rotation, becomes residues of the cover's coefficients.
//
// The cover's blocks of 8 go through package dct with the axes Luma. Host frequency k of the plan, the quietest first, holds the
// payload's values k n to (k+1) n - 1, one in each of its n blocks; what does not fit is dropped, and it is the weakest. A value
// times the slot's amplitude, cut at its limit, is the residue of the coefficient modulo the slot's step: the coefficient moves to the
// nearest number with that residue. The receiver takes the residue, divides by the amplitude, and multiplies by the share of the signal in
// signal and noise (Wiener), rotates back and applies the scales.
//
// Encapsulation (package kem, purpose "stegomq.modulo.v1") and scales, encrypted with Secret.Export("scales"), travel in the stego
// image, as header.go says. The rotation's key is Secret.Export("rotation").
//
// Invariants:
//   - Samples are bytes, the R, G and B planes one after another, row by row; samples right of and below the last whole block stay as they are,
//     but for lowest bits of the profile "lossless".
//   - Embedding draws fresh randomness each time. Recovering is deterministic, and never fails for a wrong key or an image that hides nothing: the
//     result is noise.
//   - A change of the stego image is not detected. Package sealed does that.
package modulo

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"math"

	"stegomq/internal/dct"
	"stegomq/internal/kem"
	"stegomq/internal/rotation"
)

var (
	// ErrTooSmall: the image does not hold what the profile needs.
	ErrTooSmall = errors.New("image too small to hide another in")
	// ErrSize: the numbers of samples do not fit the size.
	ErrSize = errors.New("wrong number of samples")
)

// MinSide of an image, in samples. The profiles that have a strong header need more: ErrTooSmall says so.
const MinSide = 16

const purpose = "stegomq.modulo.v1"

// NewKeys takes the keys of a pair, 32 bytes each, as kem.NewKeys does. Without recover they embed only, and only if they are of
// public-key mode.
func NewKeys(embed, recover []byte) (kem.Keys, error) { return kem.NewKeys(purpose, embed, recover) }

// Embed makes the samples of the stego image from those of a cover and a secret of the same size. The errors are ErrTooSmall and ErrSize.
func (p Profile) Embed(cover, secret []byte, width, height int, keys kem.Keys) ([]byte, error) {
	if len(secret) != len(cover) {
		return nil, fmt.Errorf("%w: a cover of %d, a secret of %d", ErrSize, len(cover), len(secret))
	}
	made, err := p.planOf(cover, width, height)
	if err != nil {
		return nil, err
	}
	enc, session, err := keys.Encapsulate()
	if err != nil {
		return nil, err
	}
	payload, scales := made.rotation.Rotate(secret, [rotation.KeySize]byte(session.Export("rotation", rotation.KeySize)))
	subtle.XORBytes(scales, scales, session.Export("scales", len(scales)))
	return p.embed(made, cover, payload, append(enc[:], scales...), keys), nil
}

func (p Profile) planOf(image []byte, width, height int) (*plan, error) {
	if width < 1 || height < 1 || len(image)/3/width != height || len(image) != 3*width*height {
		return nil, fmt.Errorf("%w: %d for %dx%d", ErrSize, len(image), width, height)
	}
	return p.plan(width, height)
}

// rounds is how often the coefficients of a block are moved at most, until all samples are in range. Samples that still are not are clipped.
const rounds = 12

// embed puts a payload and a header into a cover.
func (p Profile) embed(made *plan, cover []byte, payload []float64, header []byte, keys kem.Keys) []byte {
	key := keys.Known("header", 32)
	n := made.host.Blocks()
	low := make([]byte, len(cover))
	var (
		l    lattice
		bits []byte
	)
	if p.strength > 0 {
		l, bits = p.lattice(made, key), encode(header)
		for i := range low {
			low[i] = free
		}
	} else {
		low = lowBits(header, key, len(cover))
	}

	stego := append([]byte(nil), cover...)
	inside := make([]bool, len(cover))
	w := newWorker(made)
	for b := range n {
		w.read(cover, b)
		for i, at := range w.at {
			inside[at], w.low[i] = true, low[at]
		}
		for round := range rounds {
			w.block.Forward(w.coefficients, w.samples)
			for _, s := range made.slots {
				if s.sent {
					value := payload[s.share*n+b]
					if s.detail > 0 {
						value = s.fine(value)
					}
					value = min(max(value*s.amplitude, -s.limit), s.limit)
					x := w.coefficients[s.f]
					w.coefficients[s.f] = value + s.step*math.Round((x-value)/s.step)
				}
			}
			for i, f := range made.header {
				w.coefficients[f] = l.near(b*len(made.header)+i, w.coefficients[f], bits)
			}
			w.block.Inverse(w.samples, w.coefficients)
			if round == rounds-1 || !w.clip(p.guard*float64(round+1)) {
				break
			}
		}
		whole(w.samples, made.feedback, w.low, w.pending)
		for i, at := range w.at {
			stego[at] = byte(w.samples[i])
		}
	}
	if p.strength == 0 {
		match(stego, low, inside)
	}
	return stego
}

// Recover makes the samples of the secret from those of a stego image. The errors are ErrTooSmall, ErrSize, and kem.ErrEmbedOnly for
// keys without a recover half.
func (p Profile) Recover(stego []byte, width, height int, keys kem.Keys) ([]byte, error) {
	made, err := p.planOf(stego, width, height)
	if err != nil {
		return nil, err
	}
	payload, header := p.extract(made, stego, keys)
	session, err := open([kem.Size]byte(header), keys)
	if err != nil {
		return nil, err
	}
	scales := header[encapsulation:]
	subtle.XORBytes(scales, scales, session("scales", len(scales)))
	return made.rotation.Restore(payload, scales, [rotation.KeySize]byte(session("rotation", rotation.KeySize))), nil
}

// open gives the secrets of an encapsulation. Bytes that are not one for these keys give other secrets, so that the result is noise.
func open(enc [kem.Size]byte, keys kem.Keys) (func(label string, n int) []byte, error) {
	session, err := keys.Decapsulate(enc)
	switch {
	case errors.Is(err, kem.ErrOpen):
		return func(label string, n int) []byte { return keys.Known("no secret"+label+string(enc[:]), n) }, nil
	case err != nil:
		return nil, err
	}
	return session.Export, nil
}

// extract is the inverse of embed.
func (p Profile) extract(made *plan, stego []byte, keys kem.Keys) (payload []float64, header []byte) {
	key := keys.Known("header", 32)
	if p.strength == 0 {
		return p.payload(made, stego, nil), readLowBits(stego, key, made.headerSize())
	}
	l, soft := p.lattice(made, key), make([]float64, coded(8*made.headerSize()))
	payload = p.payload(made, stego, func(i int, x float64) { l.weigh(i, x, soft) })
	return payload, decode(soft, made.headerSize())
}

// Payload is what anybody reads of a stego image, without a key: the payload of package rotation as the receiver has it before he
// rotates it back, rotation.Frequencies rows of one value for each block. In an image that hides nothing it is noise too. The errors
// are ErrTooSmall and ErrSize.
func (p Profile) Payload(stego []byte, width, height int) ([]float64, error) {
	made, err := p.planOf(stego, width, height)
	if err != nil {
		return nil, err
	}
	return p.payload(made, stego, nil), nil
}

// payload reads the slots, and hands on the coefficients of the header where there are any and somebody wants them.
func (p Profile) payload(made *plan, stego []byte, header func(i int, x float64)) []float64 {
	n := made.host.Blocks()
	payload := make([]float64, made.rotation.Len())
	w := newWorker(made)
	for b := range n {
		w.read(stego, b)
		w.block.Forward(w.coefficients, w.samples)
		for _, s := range made.slots {
			if !s.sent {
				continue
			}
			x := w.coefficients[s.f]
			x = (x - s.step*math.Round(x/s.step)) / s.amplitude
			value := &payload[s.share*n+b]
			switch power := s.amplitude * s.amplitude; {
			case s.rough:
				*value = x
			case s.detail > 0:
				*value = s.refine(*value, x)
			default:
				*value = x * power / (power + s.noise)
			}
		}
		if header == nil {
			continue
		}
		for i, f := range made.header {
			header(b*len(made.header)+i, w.coefficients[f])
		}
	}
	return payload
}

// worker holds one block of an image.
type worker struct {
	host         dct.Grid
	block        *dct.Block
	at           []int // of the block's samples in the image
	samples      []float64
	coefficients []float64
	pending      []float64
	low          []byte
}

func newWorker(made *plan) *worker {
	return &worker{made.host, dct.NewBlock(side, dct.Luma), make([]int, frequencies), make([]float64, frequencies),
		make([]float64, frequencies), make([]float64, frequencies), make([]byte, frequencies)}
}

// read takes a block out of an image.
func (w *worker) read(image []byte, block int) {
	pixels := w.host.Width * w.host.Height
	w.host.Visit(block, false, func(at, i int) {
		for c := range 3 {
			w.at[c*side*side+i] = c*pixels + at
			w.samples[c*side*side+i] = float64(image[c*pixels+at])
		}
	})
}

// clip brings samples that are out of range into it, and all of them so far from its ends, and says whether there was one.
func (w *worker) clip(guard float64) bool {
	out := false
	for _, v := range w.samples {
		out = out || v < -0.5 || v > 255.5
	}
	if out {
		for i, v := range w.samples {
			w.samples[i] = min(max(v, guard), 255-guard)
		}
	}
	return out
}
