package pixel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// setTag changes the first value of a tag of a TIFF in the order of little endian; a tag that it lacks takes the place of another.
func setTag(t *testing.T, data []byte, tag uint16, value uint32, instead uint16) []byte {
	t.Helper()
	data = bytes.Clone(data)
	at := binary.LittleEndian.Uint32(data[4:])
	n := binary.LittleEndian.Uint16(data[at:])
	for entry := data[at+2:][:12*uint32(n)]; len(entry) > 0; entry = entry[12:] {
		if found := binary.LittleEndian.Uint16(entry); found == tag || found == instead {
			binary.LittleEndian.PutUint16(entry, tag)
			binary.LittleEndian.PutUint16(entry[2:], 4)
			binary.LittleEndian.PutUint32(entry[4:], 1)
			binary.LittleEndian.PutUint32(entry[8:], value)
			return data
		}
	}
	t.Fatalf("no tag %d", tag)
	return nil
}

// TestTIFFKinds: TIFFs of kinds that are not read are called by their names.
func TestTIFFKinds(t *testing.T) {
	t.Parallel()
	rgb, bilevel := readTestdata(t, "strips.tiff"), readTestdata(t, "bilevel-group3.tiff")
	const unused = tagPlanar // which is 1
	for _, c := range []struct {
		name  string
		data  []byte
		want  error
		words string
	}{
		{"CMYK", setTag(t, rgb, tagPhotometric, 5, 0), ErrFormat, "a TIFF of CMYK is not read; convert it to PNG"},
		{"Lab", setTag(t, rgb, tagPhotometric, 8, 0), ErrFormat, "L*a*b*"},
		{"colours of the future", setTag(t, rgb, tagPhotometric, 999, 0), ErrFormat, "colours of kind 999"},
		{"without a meaning", setTag(t, rgb, 65000, 0, tagPhotometric), ErrCorrupt, "PhotometricInterpretation"},
		{"JPEG", setTag(t, rgb, tagCompression, 7, 0), ErrFormat, "a TIFF in JPEG compression"},
		{"Zstandard", setTag(t, rgb, tagCompression, 50000, 0), ErrFormat, "Zstandard"},
		{"compression of the future", setTag(t, rgb, tagCompression, 999, 0), ErrFormat, "compression 999"},
		{"colour in CCITT", setTag(t, rgb, tagCompression, 4, 0), ErrFormat, "not bilevel"},
		{"12 bits", setTag(t, rgb, tagBits, 12, 0), ErrFormat, "12 bits a sample"},
		{"32 bits", setTag(t, rgb, tagBits, 32, 0), ErrFormat, "32 bits a sample"},
		{"floating point", setTag(t, rgb, tagSampleFormat, 3, unused), ErrFormat, "floating-point"},
		{"predictor for floating point", setTag(t, rgb, tagPredictor, 3, unused), ErrFormat, "predictor 3"},
		{"four samples, not said which", setTag(t, rgb, tagSamples, 4, 0), ErrFormat, "ExtraSamples"},
		{"two samples of RGB", setTag(t, rgb, tagSamples, 2, 0), ErrCorrupt, "2 samples"},
		{"two-dimensional Group 3", setTag(t, bilevel, tagT4Options, 1, unused), ErrFormat, "two-dimensional CCITT Group 3"},
		{"no width", setTag(t, rgb, tagWidth, 0, 0), ErrCorrupt, "no size"},
		{"a strip too few", setTag(t, rgb, tagHeight, 26, 0), ErrCorrupt, "5 offsets"},
		{"too many strips", setTag(t, setTag(t, setTag(t, rgb, tagHeight, 1<<20, 0), tagRows, 1, 0), tagWidth, 16, 0), ErrTooCostly, "strips or tiles"},
		{"too much padding", setTag(t, setTag(t, readTestdata(t, "tiles1-little.tiff"), tagTileWidth, 1<<24, 0), tagTileHeight, 1<<24, 0), ErrTooCostly, "16777216x16777216"},
	} {
		_, err := Header(c.data, Limits{})
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.words) {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.want, c.words)
		}
	}
}

// TestTIFFCost: what lies beside the image, and what is read more than once, is bounded before a piece is unpacked.
func TestTIFFCost(t *testing.T) {
	t.Parallel()
	tiles := readTestdata(t, "cases/planar-tile512.tif")
	if _, err := Header(tiles, Limits{}); err != nil {
		t.Errorf("tiles of 16 times the image: %v", err)
	}
	large := setTag(t, tiles, tagTileHeight, 1<<20, 0)
	if _, err := Header(large, Limits{MaxPixels: 1 << 20}); !errors.Is(err, ErrTooCostly) || !strings.Contains(err.Error(), "512x1048576") {
		t.Errorf("tiles of 32,000 times the image: %v", err)
	}
	// All strips are the first one, which has all of the file.
	data := readTestdata(t, "strips.tiff")
	f, err := readTIFF(data)
	if err != nil || len(f.offsets) != 5 {
		t.Fatal(err)
	}
	for i := range f.offsets {
		binary.LittleEndian.PutUint32(data[f.entries[tagStrips].at+4*int64(i):], 0)
		counts := f.entries[tagStripBytes]
		if counts.kind == 3 {
			binary.LittleEndian.PutUint16(data[counts.at+2*int64(i):], uint16(len(data)))
		} else {
			binary.LittleEndian.PutUint32(data[counts.at+4*int64(i):], uint32(len(data)))
		}
	}
	if _, err := Header(data, Limits{}); !errors.Is(err, ErrTooCostly) {
		t.Errorf("strips over each other: %v", err)
	}
}

// TestBMPKinds: BMPs of kinds that are not read are called by their names.
func TestBMPKinds(t *testing.T) {
	t.Parallel()
	data := readTestdata(t, "rgb.bmp")
	for _, c := range []struct {
		name  string
		at    int
		value uint32
		want  error
		words string
	}{
		{"OS/2", 14, 12, ErrFormat, "a BMP of OS/2 is not read; convert it to PNG"},
		{"a header of the future", 14, 200, ErrFormat, "header of 200 bytes"},
		{"run lengths", 30, 1, ErrFormat, "run-length"},
		{"JPEG in a BMP", 30, 4, ErrFormat, "compression 4"},
		{"masks", 30, 3, ErrFormat, "24 bits a pixel with masks"},
		{"16 bits", 28, 16, ErrFormat, "16 bits a pixel"},
		{"pixels in the header", 10, 20, ErrCorrupt, "lie in it"},
		{"pixels after the end", 10, 1 << 20, ErrTruncated, "stops short"},
	} {
		other := bytes.Clone(data)
		binary.LittleEndian.PutUint32(other[c.at:], c.value)
		if _, err := Header(other, Limits{}); !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.words) {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.want, c.words)
		}
	}
}

func BenchmarkDecodeTIFF(b *testing.B) {
	for _, name := range []string{"cases/planar-strips.tif", "cases/extra-sample.tif", "lzw.tiff"} {
		b.Run(name, func(b *testing.B) {
			data := readTestdata(b, name)
			for b.Loop() {
				if _, _, err := Decode(data, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
