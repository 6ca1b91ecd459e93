package pixel

import (
	"bytes"
	"encoding/binary"
	"image"

	"github.com/disintegration/imaging"
)

// turns make images upright, by their EXIF orientation. imaging turns anticlockwise.
var turns = [9]func(image.Image) *image.NRGBA{
	2: imaging.FlipH, 3: imaging.Rotate180, 4: imaging.FlipV, 5: imaging.Transpose, 6: imaging.Rotate270, 7: imaging.Transverse, 8: imaging.Rotate90,
}

// upright applies an EXIF orientation, 1 to 8.
func upright(m *image.NRGBA, orientation int) *image.NRGBA {
	if turn := turns[orientation]; turn != nil {
		return turn(m)
	}
	return m
}

// orientation finds the EXIF orientation of a file, 1 to 8. Files that carry none, or carry nonsense,
// are upright: metadata that cannot be read is no reason to refuse the pixels.
func orientation(format Format, data []byte) int {
	switch format {
	case JPEG:
		return exif(jpegExif(data))
	case PNG:
		return exif(pngChunk(data, "eXIf"))
	case WebP:
		return exif(webpChunk(data, "EXIF"))
	case TIFF:
		return exif(data) // EXIF is a TIFF file without pixels
	}
	return 1
}

// exif reads tag 0x0112 from the first directory of an EXIF block (Exif 2.32, section 4.6.4).
func exif(block []byte) int {
	block = bytes.TrimPrefix(block, []byte("Exif\x00\x00"))
	if len(block) < 8 {
		return 1
	}
	var order binary.ByteOrder
	switch string(block[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 1
	}
	at := uint64(order.Uint32(block[4:]))
	if at+2 > uint64(len(block)) {
		return 1
	}
	count := int(order.Uint16(block[at:]))
	entries := block[at+2:]
	const size, tag, short, long = 12, 0x0112, 3, 4
	for range count {
		if len(entries) < size {
			return 1
		}
		if order.Uint16(entries) == tag {
			v := 0
			switch order.Uint16(entries[2:]) {
			case short:
				v = int(order.Uint16(entries[8:]))
			case long: // which is not allowed, and written all the same
				v = int(min(9, order.Uint32(entries[8:])))
			}
			if v < 1 || v > 8 {
				return 1
			}
			return v
		}
		entries = entries[size:]
	}
	return 1
}

// jpegExif finds the first APP1 segment that holds EXIF; nil if there is none before the scan.
func jpegExif(data []byte) []byte {
	for at := 2; ; {
		marker, body, next := jpegSegment(data, at)
		if next == 0 || marker == markerSOS || marker == markerEOI {
			return nil
		}
		if marker == markerAPP1 && bytes.HasPrefix(body, []byte("Exif\x00\x00")) {
			return body
		}
		at = next
	}
}

// pngChunk finds the first chunk of a kind in a PNG; nil where there is none, or not all of it.
func pngChunk(data []byte, kind string) []byte {
	for at := 8; at+12 <= len(data); {
		n := uint64(binary.BigEndian.Uint32(data[at:]))
		if n > uint64(len(data)-at-12) {
			return nil
		}
		if string(data[at+4:at+8]) == kind {
			return data[at+8 : at+8+int(n)]
		}
		at += 12 + int(n)
	}
	return nil
}

// webpChunk finds the first chunk of a kind in a WebP; nil where there is none, or not all of it.
func webpChunk(data []byte, kind string) []byte {
	for at := 12; at+8 <= len(data); {
		n := uint64(binary.LittleEndian.Uint32(data[at+4:]))
		if n > uint64(len(data)-at-8) {
			return nil
		}
		if string(data[at:at+4]) == kind {
			return data[at+8 : at+8+int(n)]
		}
		at += 8 + int(n+n&1) // chunks are padded to even length
	}
	return nil
}
