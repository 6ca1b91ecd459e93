package pixel

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// golden is testdata/golden.json; testdata/make.py says how it was made.
type golden struct {
	Files []struct {
		Name          string
		Format        Format
		Width, Height int
		Orientation   int
		Transparent   bool
		Tolerance     int
		want          image.Image // a tile of golden.png
	}
	Refused []struct{ Name, Reason string }
}

func readGolden(tb testing.TB) (g golden) {
	tb.Helper()
	if err := json.Unmarshal(readTestdata(tb, "golden.json"), &g); err != nil {
		tb.Fatal(err)
	}
	tiles, err := png.Decode(bytes.NewReader(readTestdata(tb, "golden.png")))
	if err != nil {
		tb.Fatal(err)
	}
	if len(g.Files) < 30 || tiles.Bounds().Dy() != 40*len(g.Files) {
		tb.Fatalf("%d files, %d rows of tiles", len(g.Files), tiles.Bounds().Dy())
	}
	for i := range g.Files {
		f := &g.Files[i]
		f.want = tiles.(*image.RGBA).SubImage(image.Rect(0, 40*i, f.Width, 40*i+f.Height))
	}
	return g
}

func readTestdata(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestDecodeGolden(t *testing.T) {
	t.Parallel()
	for _, f := range readGolden(t).Files {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			data := readTestdata(t, f.Name)
			m, info, err := Decode(data, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			want := Info{f.Format, f.Width, f.Height, f.Orientation, f.Transparent}
			if info != want {
				t.Errorf("info %+v, want %+v", info, want)
			}
			if inspected, err := Inspect(data, Limits{}); err != nil || inspected != want {
				t.Errorf("Inspect: %+v, %v", inspected, err)
			}
			want.Transparent = false
			if header, err := Header(data, Limits{}); err != nil || header != want {
				t.Errorf("Header: %+v, %v", header, err)
			}
			if m.Rect != image.Rect(0, 0, f.Width, f.Height) || !m.Opaque() {
				t.Errorf("bounds %v, opaque %v", m.Rect, m.Opaque())
			}
			if d := difference(m, f.want); d > f.Tolerance {
				t.Errorf("differs from Pillow by %d levels, %d allowed", d, f.Tolerance)
			} else {
				t.Logf("differs from Pillow by %d levels, %d allowed", d, f.Tolerance)
			}
		})
	}
}

// difference is the largest difference of a colour sample between images of one size.
func difference(a, b image.Image) (largest int) {
	p, q := a.Bounds(), b.Bounds()
	for y := range p.Dy() {
		for x := range p.Dx() {
			r, g, b1, _ := a.At(p.Min.X+x, p.Min.Y+y).RGBA()
			r2, g2, b2, _ := b.At(q.Min.X+x, q.Min.Y+y).RGBA()
			for _, d := range [...]int{int(r>>8) - int(r2>>8), int(g>>8) - int(g2>>8), int(b1>>8) - int(b2>>8)} {
				largest = max(largest, d, -d)
			}
		}
	}
	return largest
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, f := range readGolden(t).Refused {
		_, _, err := Decode(readTestdata(t, f.Name), Limits{})
		if err == nil || !strings.Contains(err.Error(), f.Reason) {
			t.Errorf("%s: error %v, want one that says %q", f.Name, err, f.Reason)
		}
		if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTooSmall) {
			t.Errorf("%s: unclassified error %v", f.Name, err)
		}
		t.Logf("%s: %v", f.Name, err)
	}
}

func TestNotImages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		data string
		want error
		says string
	}{
		{"", ErrEmpty, "empty"},
		{"hello, this is no image\n", ErrFormat, "text"},
		{"Grüße", ErrFormat, "text"},
		{"version https://git-lfs/spec/v1\noid sha256:0\nsize 1\n", ErrFormat, "git lfs pull"},
		{"\x00\x01\x02\x03", ErrFormat, "00 01 02 03"},
		{"\x7fELF\x02\x01\x01", ErrFormat, "starts with 7f"},
		{"\xff\xd8", ErrTruncated, "first 2 bytes of a JPEG"},
		{"\x89PN", ErrTruncated, "PNG"},
		{"RIFF\x10\x00\x00\x00WE", ErrTruncated, "WebP"},
		{"RIFF\x10\x00\x00\x00WAVEfmt ", ErrFormat, "52 49 46 46"},
		{"\x00\x00\x00\x18ftypheic\x00\x00", ErrFormat, "HEIC is not supported; convert it to PNG"},
		{"\x00\x00\x00\x18ftypavif\x00\x00", ErrFormat, "AVIF"},
		{"GIF89a", ErrFormat, "GIF is not supported; convert it to PNG"},
		{"\xff\x0a\x00\x00", ErrFormat, "JPEG XL"},
		{"%PDF-1.7", ErrFormat, "PDF"},
		{"\xff\xd8\xff\xe0garbage that is no segment", ErrTruncated, "JPEG"},
		{"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIDAT0123456789abcdefgh", ErrCorrupt, "png"},
	} {
		_, info, err := Decode([]byte(c.data), Limits{})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: error %v, want %v that says %q", c.data, err, c.want, c.says)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: the error has several lines: %v", c.data, err)
		}
		if info != (Info{}) {
			t.Errorf("%q: info %+v beside an error", c.data, info)
		}
	}
}

// TestTruncated cuts every file of testdata at every length: each cut is found, and called by its name, but one that only takes a JPEG's
// end marker, which takes no pixel.
func TestTruncated(t *testing.T) {
	t.Parallel()
	for _, f := range readGolden(t).Files {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			data := readTestdata(t, f.Name)
			last := len(data)
			if f.Format == JPEG {
				last -= len("\xff\xd9")
				for n := last; n < len(data); n++ {
					if m, _, err := Decode(data[:n], Limits{}); err != nil || difference(m, f.want) > f.Tolerance {
						t.Errorf("%d of %d bytes, without the end marker: %v", n, len(data), err)
					}
				}
			}
			for n := 1; n < last; n++ {
				if _, err := Inspect(data[:n], Limits{}); !errors.Is(err, ErrTruncated) {
					t.Fatalf("%d of %d bytes: error %v, want ErrTruncated", n, len(data), err)
				}
			}
		})
	}
}

// bigPNG is the header of a PNG and nothing else.
func bigPNG(w, h uint32) []byte {
	body := append([]byte("IHDR"), make([]byte, 13)...)
	binary.BigEndian.PutUint32(body[4:], w)
	binary.BigEndian.PutUint32(body[8:], h)
	body[12], body[13] = 8, 6
	out := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), body...)
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(body))
	return append(out, "\x00\x00\x00\x00IDAT"...)
}

func TestLimits(t *testing.T) {
	t.Parallel()
	file := readTestdata(t, "rgb.png") // 40x24
	for _, c := range []struct {
		name   string
		data   []byte
		limits Limits
		want   error
	}{
		{"as it is", file, Limits{}, nil},
		{"bytes at the limit", file, Limits{MaxBytes: int64(len(file))}, nil},
		{"bytes over the limit", file, Limits{MaxBytes: int64(len(file)) - 1}, ErrTooManyBytes},
		{"pixels at the limit", file, Limits{MaxPixels: 40 * 24}, nil},
		{"pixels over the limit", file, Limits{MaxPixels: 40*24 - 1}, ErrTooManyPixels},
		{"side at the limit", file, Limits{MinSide: 24}, nil},
		{"side under the limit", file, Limits{MinSide: 25}, ErrTooSmall},
		{"thin", bigPNG(15, 1000), Limits{}, ErrTooSmall},
		{"60,000 x 60,000", bigPNG(60000, 60000), Limits{}, ErrTooManyPixels},
		{"a header alone", bigPNG(100, 100), Limits{}, ErrTruncated},
	} {
		_, _, err := Decode(c.data, c.limits)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
	}
}

// TestOverflow: sides whose product does not fit an int64 are refused, by the decoder or by us.
func TestOverflow(t *testing.T) {
	t.Parallel()
	if _, _, err := Decode(bigPNG(1<<31-1, 1<<31-1), Limits{}); err == nil {
		t.Error("accepted")
	}
}

// TestBombCostsNothing measures the memory that a refused header takes. Not parallel: it reads
// counters of the whole process.
func TestBombCostsNothing(t *testing.T) {
	bomb := bigPNG(60000, 60000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, _, err := Decode(bomb, Limits{}); !errors.Is(err, ErrTooManyPixels) {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
		t.Errorf("%d bytes allocated for a header", used)
	}
}

// chunkOfPNG is a chunk that claims a length, which need not be that of its body.
func chunkOfPNG(claim uint32, name, body string) []byte {
	out := append(binary.BigEndian.AppendUint32(nil, claim), name+body...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE([]byte(name+body)))
}

// TestHostileChunks: what a chunk claims to hold is not allocated, and what comes after the last row is not unpacked. Not parallel: it reads
// counters of the whole process.
func TestHostileChunks(t *testing.T) {
	head := readTestdata(t, "rgb.png")[:8+25] // with IHDR
	var zeros bytes.Buffer
	z := zlib.NewWriter(&zeros)
	if _, err := z.Write(make([]byte, 64<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"an IDAT of 2 GiB", slices.Concat(head, chunkOfPNG(1<<31-1, "IDAT", "\x78\x01\x01\xff\xff\x00\x00")), ErrTruncated},
		{"text of 2 GiB", slices.Concat(head, chunkOfPNG(1<<31-1, "tEXt", "x")), ErrTruncated},
		{"a chunk of 4 GiB", slices.Concat(head, chunkOfPNG(1<<32-1, "zTXt", "x")), ErrCorrupt},
		{"64 MiB behind the last row", slices.Concat(head, chunkOfPNG(uint32(zeros.Len()), "IDAT", zeros.String()), chunkOfPNG(0, "IEND", "")), ErrCorrupt},
		{"a profile that unpacks to 64 MiB", slices.Concat(head, chunkOfPNG(uint32(zeros.Len())+4, "iCCP", "x\x00\x00\x00"+zeros.String())), ErrTruncated},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := Decode(c.data, Limits{})
		runtime.ReadMemStats(&after)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
			t.Errorf("%s: %d bytes allocated", c.name, used)
		}
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	_, err := guard(BMP, func() (int, error) { panic("index out of range") })
	err = explain(BMP, 10, err)
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "BMP decoder failed") {
		t.Error(err)
	}
}

// fuzzLimits keeps fuzzing from spending its time on large blank images.
var fuzzLimits = Limits{MaxBytes: 1 << 20, MaxPixels: 1 << 16, MinSide: 1}

func FuzzDecode(f *testing.F) {
	g := readGolden(f)
	for _, file := range g.Files {
		f.Add(readTestdata(f, file.Name))
	}
	for _, file := range g.Refused {
		f.Add(readTestdata(f, file.Name))
	}
	f.Add(bigPNG(100, 100))
	f.Fuzz(fuzzDecode)
}

// The other targets begin with the files of one format.
func FuzzDecodeTIFF(f *testing.F) { fuzzFormat(f, TIFF, ".tif") }
func FuzzDecodeBMP(f *testing.F)  { fuzzFormat(f, BMP, ".bmp") }
func FuzzDecodeJPEG(f *testing.F) { fuzzFormat(f, JPEG, ".jpg") }
func FuzzDecodeWebP(f *testing.F) { fuzzFormat(f, WebP, ".webp") }

func fuzzFormat(f *testing.F, format Format, extension string) {
	for _, file := range readGolden(f).Files {
		if file.Format == format {
			f.Add(readTestdata(f, file.Name))
		}
	}
	for _, c := range cases {
		if data := readTestdata(f, "cases/"+c.name); strings.HasSuffix(c.name, extension) && len(data) < 1<<15 {
			f.Add(data)
		}
	}
	f.Fuzz(fuzzDecode)
}

// fuzzDecode decodes a file and looks at what comes: an error of a known class, or an image as Decode promises.
func fuzzDecode(t *testing.T, data []byte) {
	m, info, err := Decode(data, fuzzLimits)
	if err != nil {
		for _, known := range []error{ErrEmpty, ErrFormat, ErrTruncated, ErrCorrupt, ErrTooManyBytes, ErrTooManyPixels, ErrTooSmall, ErrTooCostly} {
			if errors.Is(err, known) {
				return
			}
		}
		t.Fatalf("unclassified error %v", err)
	}
	if m.Rect != image.Rect(0, 0, info.Width, info.Height) || !m.Opaque() ||
		int64(info.Width)*int64(info.Height) > fuzzLimits.MaxPixels {
		t.Fatalf("bounds %v, opaque %v, info %+v", m.Rect, m.Opaque(), info)
	}
	if header, err := Header(data, fuzzLimits); err != nil || header.Width != info.Width || header.Height != info.Height {
		t.Fatalf("Header says %+v, %v; Decode says %+v", header, err, info)
	}
	if _, err := Fit(m, Geometry{Width: 7, Height: 300, Policy: Crop}); err != nil {
		t.Fatal(err)
	}
}
