package avif_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"stegomq/internal/avif"
)

// photograph is the middle of a photograph of package sealed's tests.
func photograph(t testing.TB, width, height int) *image.NRGBA {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "sealed", "testdata", "boats.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := jpeg.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	out := image.NewNRGBA(image.Rect(0, 0, width, height))
	at := image.Pt((img.Bounds().Dx()-width)/2, (img.Bounds().Dy()-height)/2)
	draw.Draw(out, out.Rect, img, at, draw.Src)
	return out
}

func encode(t testing.TB, img *image.NRGBA, quality, speed int) []byte {
	t.Helper()
	coded, err := avif.Encode(t.Context(), img, avif.Options{Quality: quality, Speed: speed})
	if err != nil {
		t.Fatal(err)
	}
	return coded
}

func decode(t testing.TB, coded []byte, like *image.NRGBA) *image.NRGBA {
	t.Helper()
	img, err := avif.Decode(t.Context(), coded, like.Rect.Dx(), like.Rect.Dy())
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// psnr is over red, green and blue, in dB.
func psnr(a, b *image.NRGBA) float64 {
	sum := 0.0
	for i := range a.Pix {
		d := float64(a.Pix[i]) - float64(b.Pix[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*0.75*float64(len(a.Pix))/sum)
}

// More quality is more bytes and more dB, and the same again is the same bytes.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	img := photograph(t, 256, 256)
	size, quality := 0, 0.0
	for _, q := range []int{10, 40, 70, 90} {
		coded := encode(t, img, q, 9)
		got := psnr(img, decode(t, coded, img))
		if len(coded) <= size || got <= quality {
			t.Errorf("quality %d: %d bytes, %.2f dB; less quality %d bytes, %.2f dB", q, len(coded), got, size, quality)
		}
		size, quality = len(coded), got
		if !bytes.Equal(encode(t, img, q, 9), coded) {
			t.Error("the same again is other bytes")
		}
	}
	if quality < 43 {
		t.Errorf("quality 90 gives %.2f dB", quality)
	}
}

// The smallest, narrow, flat and grey ones, and a picture that is a part of another.
func TestSizes(t *testing.T) {
	t.Parallel()
	whole := photograph(t, 200, 200)
	for _, size := range []image.Point{{1, 1}, {2, 1}, {1, 2}, {3, 200}, {200, 3}, {64, 64}, {65, 33}} {
		part := whole.SubImage(image.Rect(0, 0, size.X, size.Y)).(*image.NRGBA)
		img := image.NewNRGBA(part.Rect)
		draw.Draw(img, img.Rect, part, image.Point{}, draw.Src)
		if got := psnr(img, decode(t, encode(t, part, 95, 9), img)); got < 35 {
			t.Errorf("%v: %.2f dB", size, got)
		}
	}
	flat := image.NewNRGBA(image.Rect(0, 0, 50, 40))
	draw.Draw(flat, flat.Rect, image.White, image.Point{}, draw.Src)
	if coded := encode(t, flat, 50, 9); len(coded) > 60 {
		t.Errorf("50x40 white pixels take %d bytes", len(coded))
	}
	for _, bad := range []image.Rectangle{image.Rect(0, 0, 0, 5), image.Rect(0, 0, avif.MaxSide+1, 1)} {
		if _, err := avif.Encode(t.Context(), image.NewNRGBA(bad), avif.Options{Quality: 50, Speed: 9}); !errors.Is(err, avif.ErrSize) {
			t.Errorf("%v: %v", bad, err)
		}
		if _, err := avif.Decode(t.Context(), nil, bad.Dx(), bad.Dy()); !errors.Is(err, avif.ErrSize) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// A small image does not become a large one: neither by the size that is asked for, nor by what AV1 says inside.
func TestBombs(t *testing.T) {
	t.Parallel()
	large := image.NewNRGBA(image.Rect(0, 0, 2048, 2000))
	coded := encode(t, large, 1, 10)
	t.Logf("%v pixels are %d bytes", large.Rect.Size(), len(coded))
	for _, size := range []image.Point{{16, 16}, {256, 256}} {
		if _, err := avif.Decode(t.Context(), coded, size.X, size.Y); !errors.Is(err, avif.ErrDecode) {
			t.Errorf("as %v: %v", size, err)
		}
	}
	if _, err := avif.Decode(t.Context(), coded, 1<<13, 1<<13); !errors.Is(err, avif.ErrSize) {
		t.Errorf("too large to be asked for: %v", err)
	}
}

// Coded bytes are one picture, and nothing before, after or between its three parts.
func TestOnePicture(t *testing.T) {
	t.Parallel()
	img := photograph(t, 64, 48)
	coded := encode(t, img, 50, 9)
	frame := bytes.IndexByte(coded[4:], 0x32) + 4
	for name, bad := range map[string][]byte{
		"nothing":         nil,
		"half":            coded[:len(coded)/2],
		"a byte too many": append(bytes.Clone(coded), 0),
		"twice":           append(bytes.Clone(coded), coded...),
		"two frames":      append(bytes.Clone(coded), coded[frame:]...),
		"no delimiter":    coded[2:],
		"no header":       append(bytes.Clone(coded[:2]), coded[frame:]...),
		"another size":    encode(t, photograph(t, 48, 64), 50, 9),
	} {
		if _, err := avif.Decode(t.Context(), bad, 64, 48); !errors.Is(err, avif.ErrDecode) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Several at a time do not disturb one another.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	img := photograph(t, 64, 64)
	want := encode(t, img, 50, 9)
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			if got := encode(t, img, 50, 9); !bytes.Equal(got, want) {
				t.Error("other bytes")
			}
		})
	}
}

// Other readers take what WriteFile makes: the boxes of ISO/IEC 14496-12 follow one another to the end.
func TestWriteFile(t *testing.T) {
	t.Parallel()
	img := photograph(t, 100, 60)
	coded := encode(t, img, 50, 9)
	file := avif.WriteFile(coded, 100, 60)
	var boxes []string
	for rest := file; len(rest) > 0; {
		n := binary.BigEndian.Uint32(rest)
		if n < 8 || int(n) > len(rest) {
			t.Fatalf("a box of %d bytes in %d", n, len(rest))
		}
		boxes = append(boxes, string(rest[4:8]))
		rest = rest[n:]
	}
	if fmt.Sprint(boxes) != "[ftyp meta mdat]" || !bytes.HasSuffix(file, coded) {
		t.Errorf("boxes %q", boxes)
	}
}

// Whatever is decoded, it is an image of the size that was asked for or ErrDecode.
func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{1, 16, 64} {
		coded := encode(f, photograph(f, size, size), 30, 9)
		f.Add(coded, size, size)
		for range 4 {
			changed := bytes.Clone(coded)
			changed[r.IntN(len(changed))] ^= byte(1 + r.IntN(255))
			f.Add(changed, size, size)
		}
		f.Add(coded[:len(coded)/2], size, size)
	}
	f.Fuzz(func(t *testing.T, coded []byte, width, height int) {
		if width > 512 || height > 512 {
			return
		}
		img, err := avif.Decode(t.Context(), coded, width, height)
		if err == nil && (img.Rect != image.Rect(0, 0, width, height) || len(img.Pix) != 4*width*height) {
			t.Errorf("%v instead of %dx%d", img.Rect, width, height)
		}
		if err != nil && !errors.Is(err, avif.ErrDecode) && !errors.Is(err, avif.ErrSize) {
			t.Errorf("an error of another kind: %v", err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	img := photograph(b, 256, 256)
	for _, speed := range []int{6, 7, 8, 9, 10} {
		b.Run(fmt.Sprintf("speed-%d", speed), func(b *testing.B) {
			var coded []byte
			for b.Loop() {
				coded = encode(b, img, 70, speed)
			}
			b.ReportMetric(psnr(img, decode(b, coded, img)), "dB")
			b.ReportMetric(float64(len(coded)), "bytes")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	img := photograph(b, 256, 256)
	coded := encode(b, img, 70, 9)
	for b.Loop() {
		decode(b, coded, img)
	}
}
