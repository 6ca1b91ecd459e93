package pixel

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// anyImage draws opaque images, some of them windows into a larger one.
func anyImage(t *rapid.T) *image.NRGBA {
	w, h := rapid.IntRange(1, 40).Draw(t, "width"), rapid.IntRange(1, 40).Draw(t, "height")
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "pixels"), 0))
	border := rapid.IntRange(0, 3).Draw(t, "border")
	levels := rapid.SampledFrom([]int{1, 2, 256}).Draw(t, "levels")
	m := image.NewNRGBA(image.Rect(0, 0, w+2*border, h+2*border))
	for i := range m.Pix {
		m.Pix[i] = uint8(r.IntN(levels) * 255 / max(1, levels-1))
		if i&3 == 3 {
			m.Pix[i] = 255
		}
	}
	return m.SubImage(image.Rect(border, border, border+w, border+h)).(*image.NRGBA)
}

// photo is a smooth image with a little noise, which compresses about as a photograph does.
func photo(w, h int) *image.NRGBA {
	r := rand.New(rand.NewPCG(1, 2))
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			p := m.Pix[m.PixOffset(x, y):]
			for c := range 3 {
				v := 128 + 90*math.Sin(float64(x*(c+1))/23)*math.Cos(float64(y)/(17+float64(c))) + 3*r.NormFloat64()
				p[c] = uint8(v)
			}
			p[3] = 255
		}
	}
	return m
}

func TestEncodePNGRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := anyImage(t)
		data, err := EncodePNG(m)
		if err != nil {
			t.Fatal(err)
		}
		back, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := back.(*image.RGBA); !ok { // what image/png makes of 8-bit RGB without alpha
			t.Fatalf("read as %T", back)
		}
		if back.Bounds().Size() != m.Rect.Size() || difference(m, back) != 0 {
			t.Fatal("image/png reads other pixels")
		}
		ours, info, err := Decode(data, Limits{MinSide: 1})
		if err != nil || info.Format != PNG || info.Transparent || difference(m, ours) != 0 {
			t.Fatalf("Decode: %+v, %v", info, err)
		}
	})
}

// TestEncodePNGBytes: stored images are named by the SHA-256 of these bytes. A new version of the
// compressor may change them; then images stored before keep their names and this digest moves.
func TestEncodePNGBytes(t *testing.T) {
	t.Parallel()
	m := image.NewNRGBA(image.Rect(0, 0, 31, 19))
	for i := range m.Pix {
		m.Pix[i] = uint8(i * i / 7)
	}
	const want = "b1fb03764fb5b46b73993a92b7d5a3a3d3a6b8777a7ef766829fe0f167b07ed5"
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			data, err := EncodePNG(m)
			if err != nil {
				t.Error(err)
				return
			}
			sum := sha256.Sum256(data)
			if got := hex.EncodeToString(sum[:]); got != want {
				t.Errorf("SHA-256 %s, want %s", got, want)
			}
		})
	}
	group.Wait()
}

func TestEncodePNGIgnoresAlpha(t *testing.T) {
	t.Parallel()
	m, clear := photo(20, 20), photo(20, 20)
	for i := 3; i < len(clear.Pix); i += 4 {
		clear.Pix[i] = 0
	}
	a, err := EncodePNG(m)
	if err != nil {
		t.Fatal(err)
	}
	b, err := EncodePNG(clear)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("alpha changes the file")
	}
}

func TestEncodePNGRefuses(t *testing.T) {
	t.Parallel()
	for _, r := range []image.Rectangle{{}, image.Rect(0, 0, 0, 5), image.Rect(0, 0, 1<<20, 1<<20)} {
		if _, err := EncodePNG(&image.NRGBA{Rect: r}); !errors.Is(err, ErrShape) {
			t.Errorf("%v: error %v, want ErrShape", r, err)
		}
	}
}

// pngsOf are the same pixels as PNGs of all kinds of rows and blocks that programs write.
func pngsOf(t testing.TB, m *image.NRGBA) (files [][]byte) {
	t.Helper()
	ours, err := EncodePNG(m)
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, ours)
	for _, level := range []png.CompressionLevel{png.DefaultCompression, png.NoCompression, png.BestSpeed, png.BestCompression} {
		var out bytes.Buffer
		if err := (&png.Encoder{CompressionLevel: level}).Encode(&out, m); err != nil {
			t.Fatal(err)
		}
		files = append(files, out.Bytes())
	}
	w, h := m.Rect.Dx(), m.Rect.Dy()
	for filter := range byte(5) {
		var rows bytes.Buffer
		above := make([]byte, 3*w)
		for y := range h {
			var row []byte
			for x := range w {
				row = append(row, m.Pix[y*m.Stride+4*x:][:3]...)
			}
			// What undoes the filter is applied to zeros and to the row's differences from that, one sample after the other.
			filtered := make([]byte, len(row))
			for i := range row {
				done := append(slices.Clone(row[:i]), make([]byte, len(row)-i)...)
				copy(done, filtered[:i])
				unfilter(filter, done, above)
				filtered[i] = row[i] - done[i]
			}
			rows.WriteByte(filter)
			rows.Write(filtered)
			above = row
		}
		files = append(files, pngOf(w, h, rows.Bytes(), 7))
	}
	return files
}

// pngOf is a PNG of filtered rows, in IDAT chunks of some bytes each, with a chunk of text before them.
func pngOf(w, h int, rows []byte, idat int) []byte {
	var stream, out bytes.Buffer
	z := zlib.NewWriter(&stream)
	_, _ = z.Write(rows)
	_ = z.Close()
	chunk := func(name string, body []byte) {
		at := beginChunk(&out, name)
		out.Write(body)
		endChunk(&out, at)
	}
	out.WriteString(pngSignature)
	chunk("IHDR", append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(w)), uint32(h)), 8, 2, 0, 0, 0))
	chunk("tEXt", []byte("Title\x00none"))
	for part := range slices.Chunk(stream.Bytes(), idat) {
		chunk("IDAT", part)
	}
	chunk("IEND", nil)
	return out.Bytes()
}

// skewed has few samples of most values, so that the codes of some are as long as they may be.
func skewed(w, h int) *image.NRGBA {
	r := rand.New(rand.NewPCG(3, 4))
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = uint8(r.ExpFloat64() * 2)
		if i&3 == 3 {
			m.Pix[i] = 255
		}
	}
	return m
}

// The library reads the same from every file, and what it refuses is refused.
func TestDecodeRGB(t *testing.T) {
	t.Parallel()
	for _, m := range []*image.NRGBA{photo(64, 48), skewed(300, 200), photo(1, 1), photo(2, 70), image.NewNRGBA(image.Rect(0, 0, 90, 90))} {
		for i := 3; i < len(m.Pix); i += 4 {
			m.Pix[i] = 255
		}
		for i, file := range pngsOf(t, m) {
			read := decodeRGB(file)
			if read == nil {
				t.Errorf("%v, file %d was left to the library", m.Rect, i)
			} else if !bytes.Equal(read.Pix, m.Pix) {
				t.Errorf("%v, file %d has other pixels", m.Rect, i)
			}
		}
	}
}

// The rows of a large image would be in memory beside it.
func TestDecodeRGBOfLargeFiles(t *testing.T) {
	t.Parallel()
	for w, here := range map[int]bool{2048: true, 2049: false} {
		file, err := EncodePNG(image.NewNRGBA(image.Rect(0, 0, w, 2048)))
		if err != nil {
			t.Fatal(err)
		}
		if read := decodeRGB(file); (read != nil) != here {
			t.Errorf("%d columns are read here: %v", w, read != nil)
		}
	}
}

// sameAsLibrary fails where the library reads a file otherwise.
func sameAsLibrary(t *testing.T, file []byte) {
	t.Helper()
	read := decodeRGB(file)
	if read == nil {
		return // it is left to the library
	}
	want, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatalf("%x is read, but the library says %v", file, err)
	}
	if flat, transparent := flatten(want); transparent || flat.Rect != read.Rect || !bytes.Equal(flat.Pix, read.Pix) {
		t.Fatalf("%x has other pixels", file)
	}
}

func TestDecodeRGBOfDamagedFiles(t *testing.T) {
	t.Parallel()
	for _, file := range pngsOf(t, photo(9, 5)) {
		for n := range file {
			if decodeRGB(file[:n]) != nil {
				t.Fatalf("%d bytes of %d are read", n, len(file))
			}
			for bit := range 8 {
				damaged := slices.Clone(file)
				damaged[n] ^= 1 << bit
				sameAsLibrary(t, damaged)
			}
		}
	}
}

// mended gives the chunks of a damaged PNG their right checksums, so that the damage reaches what is in them.
func mended(file []byte) []byte {
	file = slices.Clone(file)
	for at := len(pngSignature); at+12 <= len(file); {
		size := int(binary.BigEndian.Uint32(file[at:]))
		if size > len(file)-at-12 {
			break
		}
		binary.BigEndian.PutUint32(file[at+8+size:], crc32.ChecksumIEEE(file[at+4:][:4+size]))
		at += 12 + size
	}
	return file
}

func FuzzDecodeRGB(f *testing.F) {
	for _, m := range []*image.NRGBA{photo(9, 5), skewed(20, 20)} {
		for _, file := range pngsOf(f, m) {
			f.Add(file)
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) > 1<<16 {
			return
		}
		sameAsLibrary(t, mended(file))
	})
}

// FuzzInflate gives streams without their container, and the checksum that what comes out has.
func FuzzInflate(f *testing.F) {
	for _, m := range []*image.NRGBA{photo(9, 5), skewed(20, 20)} {
		for _, file := range pngsOf(f, m) {
			f.Add(imageData(file[len(pngSignature):]))
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		if len(stream) < 6 {
			return
		}
		in := bytes.NewReader(stream[2 : len(stream)-4])
		want, err := io.ReadAll(io.LimitReader(flate.NewReader(in), 1<<20))
		if len(want) == 1<<20 {
			return
		}
		stream = binary.BigEndian.AppendUint32(slices.Clone(stream[:len(stream)-4]), adler32.Checksum(want))
		stream[0], stream[1] = 0x78, 0x01
		out := make([]byte, len(want))
		if got := inflate(out, stream); got != (err == nil && in.Len() == 0) || got && !bytes.Equal(out, want) {
			t.Fatalf("%x: %v, %x, want %x, %v and %d bytes left", stream, got, out, want, err, in.Len())
		}
	})
}

func BenchmarkEncodePNG(b *testing.B) {
	for _, side := range []int{256, 512} {
		m := photo(side, side)
		b.Run(fmt.Sprintf("ours/%d", side), func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				data, err := EncodePNG(m)
				if err != nil {
					b.Fatal(err)
				}
				size = len(data)
			}
			b.ReportMetric(float64(size), "size")
		})
		b.Run(fmt.Sprintf("image-png/%d", side), func(b *testing.B) {
			size := 0
			for b.Loop() {
				var out bytes.Buffer
				if err := png.Encode(&out, m); err != nil {
					b.Fatal(err)
				}
				size = out.Len()
			}
			b.ReportMetric(float64(size), "size")
		})
	}
}

func BenchmarkDecodePNG(b *testing.B) {
	data, err := EncodePNG(photo(256, 256))
	if err != nil {
		b.Fatal(err)
	}
	for name, decode := range map[string]func([]byte) (image.Image, error){"ours": decodePNG, "image-png": whole(png.Decode)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
