package pixel

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"math/rand/v2"
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
	for b.Loop() {
		if _, _, err := Decode(data, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
