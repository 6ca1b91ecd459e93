package modulo

import (
	"bytes"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"stegomq/internal/kem"
	"stegomq/internal/pixel"
)

// planes are the samples of a picture, plane by plane, and back.
func planes(m *image.NRGBA) []byte {
	n := len(m.Pix) / 4
	p := make([]byte, 3*n)
	for i := range n {
		p[i], p[n+i], p[2*n+i] = m.Pix[4*i], m.Pix[4*i+1], m.Pix[4*i+2]
	}
	return p
}

func picture(p []byte, width, height int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	n := width * height
	for i := range n {
		m.Pix[4*i], m.Pix[4*i+1], m.Pix[4*i+2], m.Pix[4*i+3] = p[i], p[n+i], p[2*n+i], 255
	}
	return m
}

// photograph reads a file and shrinks it, the middle of it, to a size.
func photograph(t testing.TB, path string, width, height int) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := pixel.Decode(data, pixel.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if m, err = pixel.Fit(m, pixel.Geometry{Width: width, Height: height}); err != nil {
		t.Fatal(err)
	}
	return planes(m)
}

func boats(t testing.TB, width, height int) []byte {
	return photograph(t, filepath.Join("..", "sealed", "testdata", "boats.jpg"), width, height)
}

func cat(t testing.TB, width, height int) []byte {
	return photograph(t, filepath.Join("..", "sealed", "testdata", "cat.jpg"), width, height)
}

func psnr(a, b []byte) float64 {
	sum := 0.
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*float64(len(a))/max(sum, 1e-9))
}

// compressed is an image after JPEG with halved chroma, as image/jpeg writes it.
func compressed(t testing.TB, p []byte, width, height, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, picture(p, width, height), &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	m, _, err := pixel.Decode(b.Bytes(), pixel.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return planes(m)
}

// noisy is an image after white noise.
func noisy(p []byte, sigma float64, r *rand.Rand) []byte {
	out := make([]byte, len(p))
	for i, v := range p {
		out[i] = byte(math.Floor(min(max(float64(v)+sigma*r.NormFloat64(), 0), 255) + 0.5))
	}
	return out
}

func keysOf(t testing.TB, r *rand.Rand) kem.Keys {
	t.Helper()
	var both [2 * kem.Size]byte
	for i := range both {
		both[i] = byte(r.Uint32())
	}
	keys, err := NewKeys(both[:kem.Size], both[kem.Size:])
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func source(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
