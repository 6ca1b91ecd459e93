//go:build tune

package modulo

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"stegomq/internal/pixel"
	"stegomq/internal/quality"
)

// The figures of the model cards and of docs/decisions/0011-rotation.md:
//
//	STEGOMQ_PYTHON=$PWD/.venv/bin/python go test -tags tune ./internal/modulo -run TestMeasure -eval DIR -side 256 -v
//
// Consecutive photographs of the sorted folder are pairs, as in `stegomq evaluate`. JPEG with whole chroma is Pillow's.
var (
	eval    = flag.String("eval", "", "folder of photographs to measure on")
	sideOf  = flag.Int("side", 256, "side of the photographs")
	atMost  = flag.Int("most", 32, "pairs to measure")
	wrongly = flag.Int("wrong", 2, "wrong keys for each pair")
)

type channel struct {
	name  string
	apply func([]byte) []byte
}

// whole444 is an image after JPEG without subsampling.
func whole444(t *testing.T, p []byte, side, quality int) []byte {
	t.Helper()
	python := os.Getenv("STEGOMQ_PYTHON")
	if python == "" {
		t.Fatal("STEGOMQ_PYTHON names no Python with Pillow, which writes JPEG 4:4:4")
	}
	png, err := pixel.EncodePNG(picture(p, side, side))
	if err != nil {
		t.Fatal(err)
	}
	const script = `import io, sys
from PIL import Image
b = io.BytesIO()
Image.open(sys.stdin.buffer).convert("RGB").save(b, "JPEG", quality=int(sys.argv[1]), subsampling="4:4:4")
Image.open(b).save(sys.stdout.buffer, "PNG")`
	cmd := exec.Command(python, "-c", script, fmt.Sprint(quality))
	cmd.Stdin, cmd.Stderr = bytes.NewReader(png), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := pixel.Decode(out, pixel.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return planes(m)
}

// means of the scores of several images.
type means struct{ psnr, ssim, correlation, n float64 }

func (m *means) add(t *testing.T, reference, test []byte, side int) {
	t.Helper()
	s, err := quality.Compare(picture(reference, side, side), picture(test, side, side))
	if err != nil {
		t.Fatal(err)
	}
	m.psnr, m.ssim, m.correlation, m.n = m.psnr+s.PSNR, m.ssim+s.SSIM, m.correlation+correlation(reference, test), m.n+1
}

func (m means) String() string {
	return fmt.Sprintf("%6.2f dB  SSIM %.3f  correlation %+.3f  n %.0f", m.psnr/m.n, m.ssim/m.n, m.correlation/m.n, m.n)
}

func TestMeasure(t *testing.T) {
	if *eval == "" {
		t.Fatal("-eval names no folder of photographs")
	}
	var files []string
	for _, pattern := range []string{"*.jpg", "*.jpeg", "*.JPEG", "*.png"} {
		found, err := filepath.Glob(filepath.Join(*eval, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	n := min(*atMost, len(files)/2)
	if n == 0 {
		t.Fatalf("no photographs in %s", *eval)
	}
	side := *sideOf
	r := rand.New(rand.NewPCG(6, 6))
	channels := []channel{
		{"PNG", unchanged},
		{"noise 1", func(p []byte) []byte { return noisy(p, 1, r) }},
		{"noise 5", func(p []byte) []byte { return noisy(p, 5, r) }},
	}
	for _, q := range []int{95, 90, 75} {
		channels = append(channels,
			channel{fmt.Sprintf("JPEG %d 4:2:0", q), func(p []byte) []byte { return compressed(t, p, side, side, q) }},
			channel{fmt.Sprintf("JPEG %d 4:4:4", q), func(p []byte) []byte { return whole444(t, p, side, q) }})
	}
	var unrelated means
	for _, p := range profiles {
		var stegos, wrong means
		recovered := make([]means, len(channels))
		for i := range n {
			cover, secret := photograph(t, files[2*i], side, side), photograph(t, files[2*i+1], side, side)
			if p.Name == profiles[0].Name {
				unrelated.add(t, secret, cover, side)
			}
			keys := keysOf(t, r)
			stego, err := p.Embed(cover, secret, side, side, keys)
			if err != nil {
				t.Fatal(err)
			}
			stegos.add(t, cover, stego, side)
			for c, channel := range channels {
				if c > 2 && !p.jpeg && i >= 4 {
					continue // that JPEG destroys it, four pairs show
				}
				got, err := p.Recover(channel.apply(stego), side, side, keys)
				if err != nil {
					t.Fatal(err)
				}
				recovered[c].add(t, secret, got, side)
			}
			for range *wrongly {
				got, err := p.Recover(stego, side, side, keysOf(t, r))
				if err != nil {
					t.Fatal(err)
				}
				wrong.add(t, secret, got, side)
			}
		}
		fmt.Printf("%-9s %-15s %v\n", p.Name, "stego", stegos)
		for c, channel := range channels {
			fmt.Printf("%-9s %-15s %v\n", p.Name, channel.name, recovered[c])
		}
		fmt.Printf("%-9s %-15s %v\n", p.Name, "wrong key", wrong)
	}
	fmt.Printf("%-9s %-15s %v\n", "", "unrelated", unrelated)
}
