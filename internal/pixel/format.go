package pixel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Format names an image file format.
type Format string

// The formats that Decode reads.
const (
	JPEG Format = "JPEG"
	PNG  Format = "PNG"
	WebP Format = "WebP"
	TIFF Format = "TIFF"
	BMP  Format = "BMP"
)

// signature is a run of bytes at an offset; '?' stands for any byte.
type signature struct {
	offset int
	bytes  string
	format Format
}

var readable = []signature{
	{0, "\xff\xd8\xff", JPEG},
	{0, pngSignature, PNG},
	{0, "RIFF????WEBP", WebP},
	{0, "II*\x00", TIFF},
	{0, "MM\x00*", TIFF},
	{0, "BM", BMP},
}

// unreadable are formats that people try; naming them saves a search.
var unreadable = []signature{
	{0, "GIF8", "GIF"},
	{4, "ftypavi", "AVIF"},
	{4, "ftyphei", "HEIC"},
	{4, "ftyphev", "HEIC"},
	{4, "ftypmif1", "HEIF"},
	{4, "ftypmsf1", "HEIF"},
	{0, "\xff\x0a", "JPEG XL"},
	{0, "\x00\x00\x00\x0cJXL ", "JPEG XL"},
	{0, "\x00\x00\x00\x0cjP  ", "JPEG 2000"},
	{0, "\xff\x4f\xff\x51", "JPEG 2000"},
	{0, "8BPS", "PSD"},
	{0, "\x76\x2f\x31\x01", "OpenEXR"},
	{0, "II+\x00", "BigTIFF"},
	{0, "MM\x00+", "BigTIFF"},
	{0, "%PDF", "PDF"},
	{0, "P5", "PGM"},
	{0, "P6", "PPM"},
}

func (s signature) match(data []byte) bool {
	return len(data) >= s.offset+len(s.bytes) && s.agrees(data)
}

// agrees says whether data, as far as it goes, is what the signature wants.
func (s signature) agrees(data []byte) bool {
	for i := 0; i < len(s.bytes) && s.offset+i < len(data); i++ {
		if s.bytes[i] != '?' && s.bytes[i] != data[s.offset+i] {
			return false
		}
	}
	return true
}

// sniff finds the format by content; names and extensions are not trusted. data is not empty.
func sniff(data []byte) (Format, error) {
	for _, s := range readable {
		if s.match(data) {
			if s.format == WebP && animatedWebP(data) {
				return "", fmt.Errorf("%w: animated WebP is not supported; convert one frame to PNG", ErrFormat)
			}
			return s.format, nil
		}
	}
	for _, s := range unreadable {
		if s.match(data) {
			return "", fmt.Errorf("%w: %s is not supported; convert it to PNG", ErrFormat, s.format)
		}
	}
	for _, s := range readable {
		if s.agrees(data) {
			return "", fmt.Errorf("%w: only the first %d bytes of a %s are here", ErrTruncated, len(data), s.format)
		}
	}
	if bytes.HasPrefix(data, []byte("version https://git-lfs")) {
		return "", fmt.Errorf("%w: this is a Git LFS pointer, not the image; run git lfs pull", ErrFormat)
	}
	if head := data[:min(len(data), 256)]; textual(head) {
		return "", fmt.Errorf("%w: this is text, not an image", ErrFormat)
	}
	return "", fmt.Errorf("%w: not a JPEG, PNG, WebP, TIFF or BMP image (starts with % x)",
		ErrFormat, data[:min(len(data), 8)])
}

// HeadBytes is how much of a file Recognise looks at.
const HeadBytes = 32

// Recognise says which image format a file has by its first HeadBytes bytes, whatever it is called; formats that are not read are among them.
// It knows those whose signature is too long for chance.
func Recognise(head []byte) (Format, bool) {
	for _, s := range slices.Concat(readable, unreadable) {
		if len(s.bytes) > 2 && s.format != "PDF" && s.match(head) {
			return s.format, true
		}
	}
	// Text may begin with BM. A BMP goes on with the length of its second header.
	if len(head) >= 18 && string(head[:2]) == "BM" && string(head[6:10]) == "\x00\x00\x00\x00" && head[14] >= 12 && string(head[15:18]) == "\x00\x00\x00" {
		return BMP, true
	}
	return "", false
}

// textual says whether head, which may end inside a rune, is UTF-8 without control characters.
func textual(head []byte) bool {
	for len(head) > 0 {
		r, n := utf8.DecodeRune(head)
		switch {
		case r == utf8.RuneError && n == 1 && utf8.FullRune(head):
			return false
		case r < ' ' && r != '\n' && r != '\r' && r != '\t':
			return false
		}
		head = head[n:]
	}
	return true
}

// animatedWebP reads the animation flag of the extended header (WebP container specification, VP8X).
func animatedWebP(data []byte) bool {
	return len(data) > 20 && string(data[12:16]) == "VP8X" && data[20]&2 != 0
}

// truncatedWebP says whether the file is shorter than its RIFF header says. The decoder stops after
// the pixels, so it would not miss an EXIF chunk, and the image would lie on its side.
func truncatedWebP(data []byte) bool {
	return uint64(binary.LittleEndian.Uint32(data[4:]))+8 > uint64(len(data))
}
