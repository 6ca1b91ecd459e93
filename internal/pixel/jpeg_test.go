package pixel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestFlatChroma: chroma that is the same everywhere stays as it is, whatever the sampling and the size.
func TestFlatChroma(t *testing.T) {
	t.Parallel()
	for ratio := image.YCbCrSubsampleRatio444; ratio <= image.YCbCrSubsampleRatio410; ratio++ {
		for w := 1; w < 12; w++ {
			for h := 1; h < 6; h++ {
				m := image.NewYCbCr(image.Rect(0, 0, w, h), ratio)
				fill := func(pix []uint8, v uint8) {
					for i := range pix {
						pix[i] = v
					}
				}
				fill(m.Y, 100)
				fill(m.Cb, 90)
				fill(m.Cr, 200)
				want := image.NewNRGBA(m.Rect)
				for at := range w * h {
					fullRange(want.Pix[4*at:][:4], []uint8{100}, []uint8{90}, []uint8{200})
				}
				got := jpegColour.convert(m, nil, 0)
				if !bytes.Equal(got.Pix, want.Pix) {
					t.Fatalf("%v, %dx%d: %v, want %v", ratio, w, h, got.Pix, want.Pix[:4])
				}
				if ratio == image.YCbCrSubsampleRatio420 {
					got = webpColour.convert(m, nil, 0)
					studioRange(want.Pix[:4], []uint8{100}, []uint8{90}, []uint8{200})
					for at := range w * h {
						if !bytes.Equal(got.Pix[4*at:][:4], want.Pix[:4]) {
							t.Fatalf("WebP, %dx%d: %v, want %v", w, h, got.Pix, want.Pix[:4])
						}
					}
				}
			}
		}
	}
}

// TestFullRange: the tables are those of the standard library within one level, for every colour.
func TestFullRange(t *testing.T) {
	t.Parallel()
	p := make([]uint8, 4)
	for y := 0; y < 256; y += 3 {
		for cb := range 256 {
			for cr := range 256 {
				fullRange(p, []uint8{uint8(y)}, []uint8{uint8(cb)}, []uint8{uint8(cr)})
				r, g, b := color.YCbCrToRGB(uint8(y), uint8(cb), uint8(cr))
				for i, v := range []uint8{r, g, b} {
					if d := int(p[i]) - int(v); d < -1 || d > 1 {
						t.Fatalf("%d, %d, %d: %v, the library has %d, %d, %d", y, cb, cr, p, r, g, b)
					}
				}
			}
		}
	}
}

// withTrailer replaces the end marker of a JPEG.
func withTrailer(data []byte, trailer string) []byte {
	return append(bytes.Clone(bytes.TrimSuffix(data, []byte{0xff, markerEOI})), trailer...)
}

// TestNoEnd: a whole image is read whatever stands where its end should, and half a one is not.
func TestNoEnd(t *testing.T) {
	t.Parallel()
	// A sequential JPEG is over with its scan, so that all may follow; after a progressive one a marker might be another scan's.
	for _, name := range []string{"baseline.jpg", "restart.jpg", "progressive.jpg", "grey.jpg", "ycck.jpg", "flat2x2.jpg"} {
		data := readTestdata(t, name)
		want, _, err := Decode(data, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for _, trailer := range []string{
			"", "\x00", "SEFT", "\xff", "\xff\xff\xff", strings.Repeat("\x00", 100), "\xff\xe1\x00", "\xff\xe1\xff\xff cut",
			"\xff\xfe\x00\x04ab", "\xff\xfe\x00\x04ab\xff\xd9", "\xff\x02\x00\x02 no marker of JPEG", "\xff\xd9 and more", string(data),
		} {
			m, _, err := Decode(withTrailer(data, trailer), Limits{})
			if err != nil || !bytes.Equal(m.Pix, want.Pix) {
				t.Errorf("%s with %.20q: %v", name, trailer, err)
			}
		}
	}
	// The first scan of a progressive JPEG is a picture, and not all of it.
	progressive := readTestdata(t, "progressive.jpg")
	first := bytes.Index(progressive, []byte{0xff, markerSOS})
	for at := first + 2; at < len(progressive)-2; at++ {
		if progressive[at] == 0xff && progressive[at+1] != 0 {
			if _, _, err := Decode(progressive[:at], Limits{}); !errors.Is(err, ErrTruncated) {
				t.Errorf("cut between scans, at %d of %d: %v, want ErrTruncated", at, len(progressive), err)
			}
		}
	}
}

// TestJPEGKinds: JPEGs of kinds that are not read are called by their names.
func TestJPEGKinds(t *testing.T) {
	t.Parallel()
	data := readTestdata(t, "baseline.jpg")
	frame := bytes.Index(data, []byte{0xff, markerSOF0})
	for marker, want := range map[byte]string{
		0xc3: "a lossless JPEG", 0xc9: "arithmetic coding", 0xca: "arithmetic coding", 0xc7: "hierarchical", 0xcf: "hierarchical",
	} {
		other := bytes.Clone(data)
		other[frame+1] = marker
		if _, _, err := Decode(other, Limits{}); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("marker %x: %v, want ErrFormat with %q", marker, err, want)
		}
	}
	deep := bytes.Clone(data)
	deep[frame+1], deep[frame+4] = 0xc1, 12
	if _, _, err := Decode(deep, Limits{}); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "12 bits") {
		t.Errorf("12 bits: %v", err)
	}
	missing := bytes.Clone(data)
	missing = append(missing[:bytes.Index(missing, []byte{0xff, markerSOS})], 0xff, markerEOI)
	if _, _, err := Decode(missing, Limits{}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "no scan") {
		t.Errorf("without a scan: %v", err)
	}
}

// scans has the first scan of a progressive JPEG, which says everything anew, so many times more, and claims a size.
func scans(t *testing.T, n int, width, height uint16) []byte {
	data := readTestdata(t, "progressive.jpg")
	frame := bytes.Index(data, []byte{0xff, markerSOF2})
	binary.BigEndian.PutUint16(data[frame+5:], height)
	binary.BigEndian.PutUint16(data[frame+7:], width)
	first := bytes.Index(data, []byte{0xff, markerSOS})
	end := entropyEnd(data, first+2)
	return bytes.Join([][]byte{data[:first], bytes.Repeat(data[first:end], n), data[first:]}, nil)
}

// TestScansAreBounded: what a JPEG costs is known from its markers, and none is decoded that costs too much.
func TestScansAreBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		data   []byte
		limits Limits
		want   error
	}{
		{"ten scans more", scans(t, 10, 40, 24), Limits{}, nil},
		{"100 scans more", scans(t, 100, 40, 24), Limits{}, nil},
		{"2,000 scans", scans(t, 2000, 40, 24), Limits{}, ErrTooCostly},
		{"2,000 scans of a large image", scans(t, 2000, 8000, 8000), Limits{}, ErrTooCostly},
		{"100 scans of a large image", scans(t, 100, 8000, 8000), Limits{}, ErrTooCostly},
		{"as many as the limit on pixels allows", scans(t, 100, 40, 24), Limits{MaxPixels: 40 * 24}, ErrTooCostly},
	} {
		_, err := Header(c.data, c.limits)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if c.want != nil && err != nil && !strings.Contains(err.Error(), "scans") {
			t.Errorf("%s: %v does not say what there is too much of", c.name, err)
		}
		if _, _, again := Decode(c.data, c.limits); !errors.Is(again, c.want) {
			t.Errorf("%s: Decode says %v", c.name, again)
		}
	}
}

// TestBoundedScansAreRead: what libjpeg writes, at the largest size that is read, is within the bounds.
func TestBoundedScansAreRead(t *testing.T) {
	t.Parallel()
	data := readTestdata(t, "progressive.jpg")
	frame := bytes.Index(data, []byte{0xff, markerSOF2})
	binary.BigEndian.PutUint16(data[frame+5:], 8192)
	binary.BigEndian.PutUint16(data[frame+7:], 8192)
	if _, err := Header(data, Limits{}); err != nil {
		t.Error(err)
	}
}

// FuzzReadJPEG: what the markers say agrees with what package jpeg makes of them.
func FuzzReadJPEG(f *testing.F) {
	for _, file := range readGolden(f).Files {
		if file.Format == JPEG {
			f.Add(readTestdata(f, file.Name))
		}
	}
	f.Add(readTestdata(f, "cases/no-eoi-samsung-trailer.jpg"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 || len(data) > 1<<20 {
			return
		}
		file := readJPEG(data)
		config, err := jpeg.DecodeConfig(bytes.NewReader(data))
		if err != nil || config.Width == 0 || config.Height == 0 || config.Width*config.Height > 1<<16 {
			return
		}
		if file.width != config.Width || file.height != config.Height {
			t.Fatalf("%dx%d, package jpeg says %dx%d", file.width, file.height, config.Width, config.Height)
		}
		if _, err := jpeg.Decode(bytes.NewReader(data)); err != nil {
			return
		}
		// What package jpeg takes for an image is one here, too, unless a component is missing in it.
		m, err := decodeJPEG(data)
		if err != nil && !strings.Contains(err.Error(), "no scan") {
			t.Fatalf("package jpeg reads it, and here: %v", err)
		}
		if err == nil && m.Bounds() != image.Rect(0, 0, file.width, file.height) {
			t.Fatalf("%v of %dx%d", m.Bounds(), file.width, file.height)
		}
		if file.visits == 0 {
			t.Fatal("an image that costs nothing")
		}
	})
}

// BenchmarkChroma converts a megapixel of each sampling, without the rest of a decoder.
func BenchmarkChroma(b *testing.B) {
	for _, ratio := range []image.YCbCrSubsampleRatio{
		image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio440, image.YCbCrSubsampleRatio411,
	} {
		m := image.NewYCbCr(image.Rect(0, 0, 1024, 1024), ratio)
		r := rand.New(rand.NewPCG(1, 1))
		for _, pix := range [][]uint8{m.Y, m.Cb, m.Cr} {
			for i := range pix {
				pix[i] = uint8(r.Uint32())
			}
		}
		b.Run(strings.TrimPrefix(ratio.String(), "YCbCrSubsampleRatio"), func(b *testing.B) {
			b.SetBytes(3 << 20)
			for b.Loop() {
				jpegColour.convert(m, nil, 0)
			}
		})
		if ratio == image.YCbCrSubsampleRatio420 {
			b.Run("WebP", func(b *testing.B) {
				b.SetBytes(3 << 20)
				for b.Loop() {
					webpColour.convert(m, nil, 0)
				}
			})
		}
	}
}
