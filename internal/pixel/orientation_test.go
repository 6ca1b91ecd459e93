package pixel

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// exifBlock is a one-entry EXIF block.
func exifBlock(order string, tag, kind, value uint16) []byte {
	put := func(v uint16) []byte {
		if order == "MM" {
			return []byte{byte(v >> 8), byte(v)}
		}
		return []byte{byte(v), byte(v >> 8)}
	}
	long := func(v uint16) []byte {
		if order == "MM" {
			return append([]byte{0, 0}, put(v)...)
		}
		return append(put(v), 0, 0)
	}
	return bytes.Join([][]byte{[]byte(order), put(42), long(8), put(1), put(tag), put(kind), long(1), put(value), {0, 0}, {0, 0, 0, 0}}, nil)
}

// exifLong is a block whose orientation is a LONG.
func exifLong(order string, value uint32) []byte {
	block := exifBlock(order, 0x112, 4, 0)
	var at binary.ByteOrder = binary.LittleEndian
	if order == "MM" {
		at = binary.BigEndian
	}
	at.PutUint32(block[18:], value)
	return block
}

func TestExif(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		block []byte
		want  int
	}{
		{"little endian", exifBlock("II", 0x112, 3, 6), 6},
		{"big endian", exifBlock("MM", 0x112, 3, 8), 8},
		{"with the JPEG prefix", append([]byte("Exif\x00\x00"), exifBlock("MM", 0x112, 3, 3)...), 3},
		{"out of range", exifBlock("II", 0x112, 3, 9), 1},
		{"zero", exifBlock("II", 0x112, 3, 0), 1},
		{"another tag", exifBlock("II", 0x113, 3, 6), 1},
		{"as LONG, little endian", exifLong("II", 6), 6},
		{"as LONG, big endian", exifLong("MM", 8), 8},
		{"as LONG, out of range", exifLong("MM", 0x10006), 1},
		{"another type", exifBlock("II", 0x112, 2, 6), 1},
		{"empty", nil, 1},
		{"no byte order", bytes.Repeat([]byte{7}, 40), 1},
		{"directory outside", []byte("II*\x00\xff\xff\xff\xff"), 1},
		{"cut in the entry", exifBlock("II", 0x112, 3, 6)[:18], 1},
	} {
		if got := exif(c.block); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestJPEGMarkers: fill bytes and other segments before the EXIF one are passed over, and garbage too; broken lengths end the search.
func TestJPEGMarkers(t *testing.T) {
	t.Parallel()
	body := append([]byte("Exif\x00\x00"), exifBlock("II", 0x112, 3, 5)...)
	app1 := append([]byte{0xff, 0xe1, 0, byte(len(body) + 2)}, body...)
	for _, c := range []struct {
		name string
		head string
		want int
	}{
		{"first", "\xff\xd8", 5},
		{"after APP0", "\xff\xd8\xff\xe0\x00\x04ab", 5},
		{"after XMP in APP1", "\xff\xd8\xff\xe1\x00\x06http", 5},
		{"after fill bytes", "\xff\xd8\xff\xff\xff", 5},
		{"after a marker without length", "\xff\xd8\xff\x01", 5},
		{"after the scan", "\xff\xd8\xff\xda\x00\x02", 1},
		{"after a length of 1", "\xff\xd8\xff\xe0\x00\x01", 1},
		{"after a length too long", "\xff\xd8\xff\xe0\xff\xff", 1},
		{"after garbage", "\xff\xd8xy", 5},
	} {
		if got := orientation(JPEG, append([]byte(c.head), app1...)); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func FuzzOrientation(f *testing.F) {
	for _, file := range readGolden(f).Files {
		f.Add(readTestdata(f, file.Name))
	}
	f.Add(exifBlock("MM", 0x112, 3, 8))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, format := range []Format{JPEG, PNG, WebP, TIFF, BMP} {
			if v := orientation(format, data); v < 1 || v > 8 {
				t.Errorf("%s: orientation %d", format, v)
			}
		}
	})
}
