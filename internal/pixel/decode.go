package pixel

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"strings"

	"golang.org/x/image/bmp"
	"golang.org/x/image/webp"
)

// The defaults of Limits.
const (
	DefaultMaxBytes  = 64 << 20
	DefaultMaxPixels = 64 << 20
	DefaultMinSide   = 16
)

// Limits bounds what a file may cost. Zero fields mean the defaults.
//
// Decoding holds up to about 16 bytes a pixel at its peak (a progressive JPEG; 8 to 12 is usual),
// and MaxPixels is checked against the header first, so MaxPixels bounds memory.
type Limits struct {
	MaxBytes  int64 // length of the file; default 64 MiB
	MaxPixels int64 // width x height; default 64 Mpx
	MinSide   int   // shortest side in pixels; default 16, below which the networks have nothing to work on
}

func (l Limits) withDefaults() Limits {
	if l.MaxBytes == 0 {
		l.MaxBytes = DefaultMaxBytes
	}
	if l.MaxPixels == 0 {
		l.MaxPixels = DefaultMaxPixels
	}
	if l.MinSide == 0 {
		l.MinSide = DefaultMinSide
	}
	return l
}

// Info describes an image file.
type Info struct {
	Format      Format
	Width       int  // as shown, that is after Orientation is applied
	Height      int  // as shown
	Orientation int  // EXIF orientation found in the file, 1 to 8; 1 is upright
	Transparent bool // some pixel was not opaque and was composited on white; Header cannot know and says false
}

// Decode reads one JPEG, PNG, WebP, TIFF or BMP file. Of an animated PNG or a TIFF of several pages
// it reads the first image. The result is opaque, 8-bit, upright and starts at (0,0); see the
// package comment for what happens to alpha, depth and colour profiles.
//
// A file must be complete: missing data is never filled with grey. A JPEG is complete if the data of all its coefficients is there; its end
// marker may be missing or replaced.
//
// Chroma is interpolated as libjpeg-turbo and libwebp do it. Every sample of a JPEG is within 4 levels of libjpeg-turbo's, because the standard
// leaves the inverse DCT open. A WebP is equal to libwebp's to the bit.
func Decode(data []byte, limits Limits) (*image.NRGBA, Info, error) {
	info, err := Header(data, limits)
	if err != nil {
		return nil, Info{}, err
	}
	m, err := guard(info.Format, func() (*image.NRGBA, error) {
		src, err := codecs[info.Format].decode(data)
		if err != nil {
			return nil, err
		}
		flat, transparent := flatten(src)
		info.Transparent = transparent
		return flat, nil
	})
	if err != nil {
		return nil, Info{}, explain(info.Format, len(data), err)
	}
	m = upright(m, info.Orientation)
	if m.Rect.Dx() != info.Width || m.Rect.Dy() != info.Height {
		return nil, Info{}, fmt.Errorf("%w: the %s header says %dx%d, the pixels %dx%d",
			ErrCorrupt, info.Format, info.Width, info.Height, m.Rect.Dx(), m.Rect.Dy())
	}
	return m, info, nil
}

// Inspect decodes a file in full and discards the pixels, so that damage past the header is found.
func Inspect(data []byte, limits Limits) (Info, error) {
	_, info, err := Decode(data, limits)
	return info, err
}

// Header checks a file against limits by its header alone. It allocates no pixels.
func Header(data []byte, limits Limits) (Info, error) {
	limits = limits.withDefaults()
	if len(data) == 0 {
		return Info{}, ErrEmpty
	}
	if int64(len(data)) > limits.MaxBytes {
		return Info{}, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooManyBytes, len(data), limits.MaxBytes)
	}
	format, err := sniff(data)
	if err != nil {
		return Info{}, err
	}
	if format == WebP && truncatedWebP(data) {
		return Info{}, explain(format, len(data), io.ErrUnexpectedEOF)
	}
	config, err := guard(format, func() (image.Config, error) {
		return codecs[format].config(data)
	})
	if err != nil {
		return Info{}, explain(format, len(data), err)
	}
	w, h := config.Width, config.Height
	if w <= 0 || h <= 0 {
		return Info{}, fmt.Errorf("%w: the %s header says %dx%d", ErrCorrupt, format, w, h)
	}
	// Divided, because a product of two hostile sides may overflow.
	if int64(w) > limits.MaxPixels/int64(h) {
		return Info{}, fmt.Errorf("%w: %dx%d is more than %d pixels", ErrTooManyPixels, w, h, limits.MaxPixels)
	}
	if min(w, h) < limits.MinSide {
		return Info{}, fmt.Errorf("%w: %dx%d, and no side may be under %d pixels", ErrTooSmall, w, h, limits.MinSide)
	}
	if cost := codecs[format].cost; cost != nil {
		if err := cost(data, limits); err != nil {
			return Info{}, explain(format, len(data), err)
		}
	}
	info := Info{Format: format, Width: w, Height: h, Orientation: orientation(format, data)}
	if info.Orientation >= 5 { // 5 to 8 swap the axes
		info.Width, info.Height = h, w
	}
	return info, nil
}

type codec struct {
	decode func(data []byte) (image.Image, error)
	config func(data []byte) (image.Config, error)
	// cost refuses a file, whose size is within limits, that would cost more than its size lets expect. Optional.
	cost func(data []byte, limits Limits) error
}

// The decoders are named here and not found through image.RegisterFormat, so that an import
// elsewhere in the program cannot widen what is accepted.
var codecs = map[Format]codec{
	JPEG: {decodeJPEG, configJPEG, costJPEG},
	PNG:  {decodePNG, whole(png.DecodeConfig), nil},
	WebP: {decodeWebP, whole(webp.DecodeConfig), nil},
	TIFF: {decodeTIFF, configTIFF, costTIFF},
	BMP:  {decodeBMP, configBMP, nil},
}

// whole makes a function of a file's bytes of one that reads them.
func whole[T any](read func(io.Reader) (T, error)) func([]byte) (T, error) {
	return func(data []byte) (T, error) { return read(bytes.NewReader(data)) }
}

// decodeWebP decodes a WebP, its chroma, if it is lossy, interpolated.
func decodeWebP(data []byte) (image.Image, error) {
	m, err := webp.Decode(bytes.NewReader(data))
	switch m := m.(type) {
	case *image.YCbCr:
		return solid{webpColour.convert(m, nil, 0)}, err
	case *image.NYCbCrA:
		return webpColour.convert(&m.YCbCr, m.A, m.AStride), err
	}
	return m, err
}

// unsupported is a kind of a format that is read otherwise, in words.
type unsupported string

func (u unsupported) Error() string { return string(u) }

// guard turns a panic of a decoder into an error: hostile files must not stop a worker.
func guard[T any](format Format, decode func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the %s decoder failed: %v", ErrCorrupt, format, p)
		}
	}()
	return decode()
}

// explain classifies a decoder's error. The decoders share no error types, so some are told by text.
func explain(format Format, size int, err error) error {
	var (
		jpegUnsupported jpeg.UnsupportedError
		pngUnsupported  png.UnsupportedError
		kind            unsupported
	)
	text := err.Error()
	switch {
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrTooCostly): // said already
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF),
		strings.Contains(text, "unexpected EOF"),     // image/png
		strings.Contains(text, "short Huffman data"), // image/jpeg, at the end of its input only
		strings.Contains(text, "not enough pixel data"):
		return fmt.Errorf("%w: the %s data stops short in a file of %d bytes", ErrTruncated, format, size)
	case errors.As(err, &jpegUnsupported), errors.As(err, &pngUnsupported),
		errors.Is(err, bmp.ErrUnsupported):
		return fmt.Errorf("%w: this kind of %s is not read (%s); convert it to PNG", ErrFormat, format, text)
	case errors.As(err, &kind):
		return fmt.Errorf("%w: %s is not read; convert it to PNG", ErrFormat, string(kind))
	default:
		return fmt.Errorf("%w: %s", ErrCorrupt, text)
	}
}
