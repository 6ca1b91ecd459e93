// Package avif owns the lossy codec: AVIF (AV1 still pictures, 8 bits, 4:4:4), by libavif 1.1.1 and libaom 3.10.0 compiled to
// WebAssembly, which github.com/gen2brain/avif holds and wazero runs. There is no cgo, and no thread beside the caller's.
//
// Of that library only the two modules are used, so that what runs is always they and never a libavif that the system has. Its
// Go code compiles them anew in each process, for 1 to 3 s; this package keeps the compiled code in the user's cache folder
// (stegomq/wasm), and gives each call a fresh instance with a bound on its memory. Build with the tag nodynamic (the Makefile
// does): without it the library looks for a libavif.so when the program starts, which then lies unused.
//
// A coded image is what an AVIF file holds of it (the payload of its mdat box: the OBUs of AV1), without the 282 bytes before
// it, which are the same of every image but for its size. WriteFile puts them before it again.
//
// Invariants:
//   - Equal inputs give equal bytes, on every machine.
//   - Decode is told the size, and what coded bytes can make it allocate is bounded by that.
package avif

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
)

// MaxSide bounds both sides of an image, in pixels, and MaxPixels their product.
const (
	MaxSide   = 1 << 14
	MaxPixels = 1 << 24
)

var (
	// ErrSize: the image is empty or too large.
	ErrSize = errors.New("avif: image of a size that is not coded")
	// ErrDecode: the bytes are not an AVIF image of the size that was asked for.
	ErrDecode = errors.New("avif: not a valid image")
)

// Options say how an image is coded.
type Options struct {
	Quality int // 1 to 100, the best
	Speed   int // 0 to 10, the fastest
}

// limit is what an instance may take for an image, in bytes: something for itself, and so much for each pixel of the image with
// a border. It measured 4 MB for a pixel, and for 1024x1024 57 MB to encode and 29 to decode.
func limit(width, height, pixel int) int {
	const base, border = 16 << 20, 256
	return min(base+pixel*(width+border)*(height+border), 1<<32-1<<16)
}

func checkSize(width, height int) error {
	if width < 1 || height < 1 || width > MaxSide || height > MaxSide || width*height > MaxPixels {
		return fmt.Errorf("%w: %dx%d; sides are 1 to %d pixels, %d in all", ErrSize, width, height, MaxSide, MaxPixels)
	}
	return nil
}

// Encode codes an image. Its alpha is ignored.
func Encode(ctx context.Context, img *image.NRGBA, o Options) ([]byte, error) {
	width, height := img.Rect.Dx(), img.Rect.Dy()
	if err := checkSize(width, height); err != nil {
		return nil, err
	}
	program, err := encoder()
	if err != nil {
		return nil, err
	}
	run, err := program.start(ctx, limit(width, height, 72))
	if err != nil {
		return nil, err
	}
	defer run.close()

	pixels := make([]byte, 0, 4*width*height)
	for y := range height {
		row := img.Pix[y*img.Stride:][:4*width]
		pixels = append(pixels, row...)
	}
	for i := 3; i < len(pixels); i += 4 {
		pixels[i] = 0xff
	}
	in, size := run.allocate(len(pixels), pixels), run.allocate(8, make([]byte, 8))
	const yuv444 = 1
	out := run.call("encode", uint64(in), uint64(width), uint64(height), uint64(size), uint64(o.Quality), 100, uint64(o.Speed), yuv444)
	length := run.read(size, 8)
	if run.err != nil {
		return nil, run.err
	}
	n := binary.LittleEndian.Uint64(length)
	if out == 0 || n == 0 || n > 1<<31 {
		return nil, fmt.Errorf("avif: encode %dx%d at quality %d: the encoder gave nothing", width, height, o.Quality)
	}
	file := run.read(out, int(n))
	if run.err != nil {
		return nil, run.err
	}
	return payload(file, width, height)
}

// Decode decodes an image that must be of the size that is given. Whatever is wrong with it is ErrDecode.
func Decode(ctx context.Context, coded []byte, width, height int) (*image.NRGBA, error) {
	if err := checkSize(width, height); err != nil {
		return nil, err
	}
	if err := checkOBUs(coded, width, height); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDecode, err)
	}
	program, err := decoder()
	if err != nil {
		return nil, err
	}
	run, err := program.start(ctx, limit(width, height, 40))
	if err != nil {
		return nil, err
	}
	defer run.close()
	pix, err := run.decode(WriteFile(coded, width, height), width, height)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDecode, err)
	}
	return &image.NRGBA{Pix: pix, Stride: 4 * width, Rect: image.Rect(0, 0, width, height)}, nil
}

func (i *instance) decode(file []byte, width, height int) ([]byte, error) {
	in := i.allocate(len(file), file)
	// Four uint32: width, height, depth, number of images; and a float64, how long the image is shown.
	facts := i.allocate(24, make([]byte, 24))
	at := uint64(facts)
	out := i.allocate(4*width*height, nil)
	ok := i.call("decode", uint64(in), uint64(len(file)), 0, 0, at, at+4, at+8, at+12, at+16, uint64(out))
	got := i.read(facts, 16)
	if i.err != nil {
		return nil, i.err
	}
	fact := func(n int) int { return int(binary.LittleEndian.Uint32(got[4*n:])) }
	if ok == 0 || fact(0) != width || fact(1) != height || fact(2) != 8 || fact(3) != 1 {
		return nil, fmt.Errorf("refused by libavif: %d images of %dx%d with %d bits", fact(3), fact(0), fact(1), fact(2))
	}
	pix := i.read(out, 4*width*height)
	for n := 3; n < len(pix); n += 4 {
		pix[n] = 0xff
	}
	return pix, i.err
}
