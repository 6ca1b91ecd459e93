package pixel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"
)

const pngSignature = "\x89PNG\r\n\x1a\n"

// pngMax keeps the one IDAT chunk under the 2^31-1 bytes that the format allows.
const pngMax = 1 << 29

// deflaters holds *zlib.Writer, which is costly to make.
var deflaters = sync.Pool{New: func() any {
	w, err := zlib.NewWriterLevel(io.Discard, flate.HuffmanOnly)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// EncodePNG writes m as an 8-bit RGB PNG without metadata; alpha is ignored. The bytes depend on the
// pixels alone (and on the version of the compressor in this build).
//
// Every row uses the Average filter and Huffman-only deflate: on photographs that gives the size of
// image/png's default at about a fifth of the time, because matching finds little in them.
// The error wraps ErrShape (no pixels, or more than about 178 million).
func EncodePNG(m *image.NRGBA) ([]byte, error) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	if w < 1 || h < 1 || w > pngMax/(3*h) {
		return nil, fmt.Errorf("%w: %dx%d cannot be a PNG", ErrShape, w, h)
	}
	var out bytes.Buffer
	out.Grow(w*h*2 + 1024)
	out.WriteString(pngSignature)

	var header [13]byte
	binary.BigEndian.PutUint32(header[0:], uint32(w))
	binary.BigEndian.PutUint32(header[4:], uint32(h))
	header[8], header[9] = 8, 2 // 8 bits, RGB
	at := beginChunk(&out, "IHDR")
	out.Write(header[:])
	endChunk(&out, at)

	at = beginChunk(&out, "IDAT")
	if err := deflateRows(&out, m); err != nil {
		return nil, fmt.Errorf("encode PNG: %w", err)
	}
	endChunk(&out, at)

	endChunk(&out, beginChunk(&out, "IEND"))
	return out.Bytes(), nil
}

// beginChunk writes a chunk's head with an open length and returns where it starts.
func beginChunk(out *bytes.Buffer, name string) int {
	at := out.Len()
	out.WriteString("\x00\x00\x00\x00")
	out.WriteString(name)
	return at
}

// endChunk fills in the length of the chunk that starts at and appends its checksum, which covers
// the name and the body.
func endChunk(out *bytes.Buffer, at int) {
	chunk := out.Bytes()[at:]
	binary.BigEndian.PutUint32(chunk, uint32(len(chunk)-8))
	out.Write(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(chunk[4:])))
}

// deflateRows filters and compresses the rows of m (PNG specification, sections 9 and 10):
// Average(x) = x - floor((left + above) / 2), where left is the same channel one pixel before and
// both are 0 outside the image.
func deflateRows(out io.Writer, m *image.NRGBA) error {
	const average = 3
	w, h := m.Rect.Dx(), m.Rect.Dy()
	z := deflaters.Get().(*zlib.Writer)
	defer deflaters.Put(z)
	z.Reset(out)

	above := make([]byte, 4*w) // zeros: the row above the first
	filtered := make([]byte, 1+3*w)
	filtered[0] = average
	for y := range h {
		row := m.Pix[y*m.Stride:][:4*w]
		var r, g, b uint16
		f := filtered[1:]
		for x := 0; x+4 <= len(row) && x+4 <= len(above) && len(f) >= 3; x += 4 {
			p, q := row[x:][:4:4], above[x:][:4:4]
			f[0] = p[0] - uint8((r+uint16(q[0]))>>1)
			f[1] = p[1] - uint8((g+uint16(q[1]))>>1)
			f[2] = p[2] - uint8((b+uint16(q[2]))>>1)
			r, g, b = uint16(p[0]), uint16(p[1]), uint16(p[2])
			f = f[3:]
		}
		if _, err := z.Write(filtered); err != nil {
			return err
		}
		above = row
	}
	return z.Close()
}

// decodePNG reads a PNG. Those of 8-bit RGB, of up to four million pixels and not interlaced, as EncodePNG and most programs write them, are read
// here; the others, and those in which anything is wrong, by the library.
func decodePNG(data []byte) (image.Image, error) {
	if m := decodeRGB(data); m != nil {
		return solid{m}, nil
	}
	return png.Decode(bytes.NewReader(data))
}

// decodeRGB returns nil for what it does not read.
func decodeRGB(data []byte) *image.NRGBA {
	const before = pngSignature + "\x00\x00\x00\x0dIHDR"
	header, is := bytes.CutPrefix(data, []byte(before))
	if !is || len(header) < 13 || !bytes.Equal(header[8:13], []byte{8, 2, 0, 0, 0}) { // 8 bits, RGB, deflate, the usual filters, not interlaced
		return nil
	}
	w, h := int64(binary.BigEndian.Uint32(header)), int64(binary.BigEndian.Uint32(header[4:]))
	stream := imageData(data[len(pngSignature):])
	const (
		most      = 1 << 22 // pixels: the rows are in memory beside the image, and the library needs one row at a time
		expansion = 1032    // a match of 258 bytes takes two bits at least
	)
	if w < 1 || h < 1 || w > most/h || h*(1+3*w) > expansion*int64(len(stream)) {
		return nil
	}
	return readRGB(stream, int(w), int(h))
}

// readRGB makes an image of the filtered and compressed rows of its pixels; nil where they are not that.
func readRGB(stream []byte, w, h int) *image.NRGBA {
	rows := make([]byte, h*(1+3*w))
	if !inflate(rows, stream) {
		return nil
	}
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	above := make([]byte, 3*w) // zeros: the row above the first
	for y := range h {
		row := rows[y*(1+3*w):][:1+3*w]
		if !unfilter(row[0], row[1:], above) {
			return nil
		}
		above = row[1:]
		pixels := m.Pix[y*m.Stride:][:4*w]
		for from := above; len(from) >= 3 && len(pixels) >= 4; from, pixels = from[3:], pixels[4:] {
			p := pixels[:4:4]
			p[0], p[1], p[2], p[3] = from[0], from[1], from[2], 255
		}
	}
	return m
}

// imageData is what the IDAT chunks of a PNG hold together; nil where its chunks are not all sound, in order, and such that they may be ignored.
func imageData(chunks []byte) []byte {
	var parts [][]byte
	ended := false // there was a chunk behind IDAT
	for first := true; len(chunks) >= 12; first = false {
		size, name := int64(binary.BigEndian.Uint32(chunks)), string(chunks[4:8])
		if size > int64(len(chunks)-12) || crc32.ChecksumIEEE(chunks[4:][:4+size]) != binary.BigEndian.Uint32(chunks[8+size:]) {
			return nil
		}
		body := chunks[8:][:size]
		chunks = chunks[12+size:]
		switch {
		case name == "IDAT" && !ended:
			parts = append(parts, body)
		case name == "IEND" && size == 0 && len(parts) == 1:
			return parts[0]
		case name == "IEND" && size == 0:
			return bytes.Join(parts, nil)
		case name == "IHDR" && first && size == 13:
		case name == "tRNS", name[0] < 'a': // a colour that is transparent, or a chunk that must be understood
			return nil
		default:
			ended = len(parts) > 0
		}
	}
	return nil
}

// unfilter undoes the filter of a row of RGB, in place (PNG specification, section 9); false for a filter that there is not.
func unfilter(filter byte, row, above []byte) bool {
	above = above[:len(row)]
	switch filter {
	case 0:
	case 1:
		for i := 3; i < len(row); i++ {
			row[i] += row[i-3]
		}
	case 2:
		for i, b := range above {
			row[i] += b
		}
	case 3:
		var r, g, b uint16
		for len(row) >= 3 && len(above) >= 3 {
			p, q := row[:3:3], above[:3:3]
			p[0] += uint8((r + uint16(q[0])) >> 1)
			p[1] += uint8((g + uint16(q[1])) >> 1)
			p[2] += uint8((b + uint16(q[2])) >> 1)
			r, g, b = uint16(p[0]), uint16(p[1]), uint16(p[2])
			row, above = row[3:], above[3:]
		}
	case 4:
		for c := range 3 {
			left, corner := 0, 0
			for i := c; i < len(row); i += 3 {
				up := int(above[i])
				// The nearest of the three to left + up - corner.
				toLeft, toUp := max(up-corner, corner-up), max(left-corner, corner-left)
				toCorner := left + up - 2*corner
				toCorner = max(toCorner, -toCorner)
				near := corner
				if toLeft <= toUp && toLeft <= toCorner {
					near = left
				} else if toUp <= toCorner {
					near = up
				}
				row[i] += byte(near)
				left, corner = int(row[i]), up
			}
		}
	default:
		return false
	}
	return true
}
