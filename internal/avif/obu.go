package avif

import (
	"errors"
	"fmt"
)

// What follows is enough of AV1 (Bitstream & Decoding Process Specification, version 1.0.0 with errata 1) to know, before
// anything is decoded, that coded bytes are one picture of the size that was asked for: a temporal delimiter, a sequence header
// and a frame, nothing else. The decoder itself would also take a large picture, or many that are not shown.

// Types of OBU (section 6.2.2), with the bit that says that a size follows (5.3.2).
const (
	obuDelimiter = 2<<3 | 1<<1
	obuSequence  = 1<<3 | 1<<1
	obuFrame     = 6<<3 | 1<<1
)

var errOBU = errors.New("not the OBUs of one picture")

// checkOBUs says whether coded bytes are one picture of a size, as our encoder writes it.
func checkOBUs(coded []byte, width, height int) error {
	for _, kind := range []byte{obuDelimiter, obuSequence, obuFrame} {
		body, rest, err := nextOBU(coded, kind)
		if err != nil {
			return err
		}
		switch kind {
		case obuDelimiter:
			if len(body) != 0 {
				return errOBU
			}
		case obuSequence:
			if err := checkSequence(body, width, height); err != nil {
				return err
			}
		}
		coded = rest
	}
	if len(coded) != 0 {
		return errOBU
	}
	return nil
}

// nextOBU splits off an OBU, whose size is in leb128 (4.10.5).
func nextOBU(coded []byte, kind byte) (body, rest []byte, err error) {
	if len(coded) == 0 || coded[0] != kind {
		return nil, nil, errOBU
	}
	size := 0
	for i, b := range coded[1:] {
		if i == 4 {
			break
		}
		size |= int(b&0x7f) << (7 * i)
		if b&0x80 != 0 {
			continue
		}
		if rest = coded[i+2:]; size > len(rest) {
			break
		}
		return rest[:size], rest[size:], nil
	}
	return nil, nil, errOBU
}

// checkSequence reads a sequence header (5.5.1) up to the switch of superres, which would let a frame have another width.
func checkSequence(body []byte, width, height int) error {
	r := bitReader{bytes: body}
	profile, still, reduced := r.read(3), r.read(1), r.read(1)
	r.read(5) // level
	bits := [2]int{r.read(4) + 1, r.read(4) + 1}
	got := [2]int{r.read(bits[0]) + 1, r.read(bits[1]) + 1}
	r.read(3) // large superblocks, filters within the frame
	superres := r.read(1)
	if r.short || profile != 1 || still != 1 || reduced != 1 || superres != 0 {
		return errOBU
	}
	if got != [2]int{width, height} {
		return fmt.Errorf("a picture of %dx%d, want %dx%d", got[0], got[1], width, height)
	}
	return nil
}

// bitReader reads numbers from the highest bit on.
type bitReader struct {
	bytes []byte
	at    int
	short bool // more was read than is there
}

func (r *bitReader) read(n int) (v int) {
	for range n {
		if r.at/8 >= len(r.bytes) {
			r.short = true
			return 0
		}
		v = v<<1 | int(r.bytes[r.at/8]>>(7-r.at%8)&1)
		r.at++
	}
	return v
}
