// Package pixel turns image files into pixels, pixels into tensors, and both back again.
//
// It owns every byte that comes from outside as an image. Its invariants:
//
//   - A file is measured before a pixel is allocated, by its header, the scans of a JPEG and the pieces of a TIFF: no input costs more
//     than its Limits allow, and no input panics.
//   - Every image that leaves Decode is an opaque 8-bit sRGB *image.NRGBA whose bounds start at (0,0).
//     Transparent pixels are composited on white, 16-bit samples keep their high byte, EXIF
//     orientation is applied, and colour profiles (ICC, gAMA, cHRM) are ignored: samples are taken
//     as sRGB, which is what the metrics and the training data assume.
//   - A tensor is NCHW float32 RGB with v/255 for each 8-bit v. Going to a tensor and back is the
//     identity on 8-bit images.
//   - PNG files written here are a function of the pixels alone: the same image gives the same
//     bytes, so their SHA-256 can name them.
//
// It is the only importer of disintegration/imaging, whose own decoding is never used: imaging sees
// NRGBA images only, because a panic inside its goroutines cannot be recovered (CVE-2023-36308).
package pixel

import "errors"

// DecoderVersion says which pixels Decode makes of a file: it grows whenever those of any file change, so that what was made of other
// pixels is not taken for the same. 1: chroma was replicated. 2: chroma as libjpeg-turbo and libwebp interpolate it; TIFF, BMP and orientations
// that were read wrongly.
const DecoderVersion = 2

// Every error of this package wraps one of these; all of them are permanent, so that a job that
// meets one must not be tried again.
var (
	// ErrEmpty: the file has no bytes.
	ErrEmpty = errors.New("empty file")
	// ErrFormat: the file is not an image, or is of a kind that is not read.
	ErrFormat = errors.New("unsupported file")
	// ErrTruncated: the file ends too early.
	ErrTruncated = errors.New("truncated image")
	// ErrCorrupt: the file is of a kind that is read, but what it says is impossible.
	ErrCorrupt = errors.New("damaged image")
	// ErrTooManyBytes: the file is longer than Limits.MaxBytes.
	ErrTooManyBytes = errors.New("image file too large")
	// ErrTooManyPixels: the header promises more than Limits.MaxPixels.
	ErrTooManyPixels = errors.New("image too large")
	// ErrTooCostly: decoding would take far longer than images of this size do.
	ErrTooCostly = errors.New("image too costly to decode")
	// ErrTooSmall: a side is shorter than Limits.MinSide.
	ErrTooSmall = errors.New("image too small")
	// ErrGeometry: a Geometry that no image can be given.
	ErrGeometry = errors.New("invalid geometry")
	// ErrShape: images or tensors whose sizes do not go together.
	ErrShape = errors.New("shape mismatch")
	// ErrNoise: a standard deviation that no noise can have.
	ErrNoise = errors.New("invalid noise")
	// ErrAttack: a name or a strength that no attack has.
	ErrAttack = errors.New("no such attack")
	// ErrNotFinite: a tensor holds a NaN or an infinity, which means that the network broke down.
	ErrNotFinite = errors.New("the output of the network is not finite")
)
