//go:build tune

package modulo

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stegomq/internal/dct"
)

// The parameters of the profiles come from here:
//
//	go test -tags tune ./internal/modulo -run TestTune -train DIR -v
//
// tries what lies around the committed ones on pairs of training photographs, and
//
//	go test -tags tune ./internal/modulo -run TestJPEGNoise -train DIR -write
//
// measures jpeg.txt again.
var (
	train = flag.String("train", "", "folder of training photographs")
	write = flag.Bool("write", false, "write jpeg.txt")
	pairs = flag.Int("pairs", 12, "pairs of training photographs")
	only  = flag.String("profile", "", "the profile to tune")
)

// trainingSet draws photographs of 256x256, the same ones each time.
func trainingSet(t *testing.T, n int) (images [][]byte) {
	if *train == "" {
		t.Fatal("-train names no folder of training photographs")
	}
	files, err := filepath.Glob(filepath.Join(*train, "*.jpg"))
	if err != nil || len(files) < n {
		t.Fatalf("%d photographs in %s, want %d: %v", len(files), *train, n, err)
	}
	for _, i := range rand.New(rand.NewPCG(9, 9)).Perm(len(files))[:n] {
		images = append(images, photograph(t, files[i], 256, 256))
	}
	return images
}

// score is the mean PSNR of stego and recovered images, the latter after a channel.
func score(t *testing.T, p Profile, images [][]byte, channel func([]byte) []byte) (stego, recovered float64) {
	keys := keysOf(t, rand.New(rand.NewPCG(1, 1)))
	n := len(images) / 2
	for i := range n {
		cover, secret := images[2*i], images[2*i+1]
		made, err := p.Embed(cover, secret, 256, 256, keys)
		if err != nil {
			t.Fatal(err)
		}
		back, err := p.Recover(channel(made), 256, 256, keys)
		if err != nil {
			t.Fatal(err)
		}
		stego += psnr(cover, made) / float64(n)
		recovered += psnr(secret, back) / float64(n)
	}
	return stego, recovered
}

func TestTune(t *testing.T) {
	images := trainingSet(t, 2**pairs)
	for _, committed := range profiles {
		if *only != "" && *only != committed.Name {
			continue
		}
		channel := func(p []byte) []byte {
			switch {
			case committed.jpeg:
				return compressed(t, p, 256, 256, 90)
			case committed.noise > 0:
				return noisy(p, committed.noise, rand.New(rand.NewPCG(2, 2)))
			}
			return p
		}
		try := func(what string, change func(*Profile)) {
			p := committed
			change(&p)
			stego, recovered := score(t, p, images, channel)
			fmt.Printf("%-9s %-14s stego %.2f recovered %.2f sum %.2f\n", p.Name, what, stego, recovered, stego+recovered)
		}
		try("committed", func(*Profile) {})
		for _, by := range []float64{0.5, 0.7, 1.4, 2} {
			try(fmt.Sprintf("gain x %v", by), func(p *Profile) { p.gain *= by })
			try(fmt.Sprintf("exchange x %v", by), func(p *Profile) { p.exchange *= by })
			try(fmt.Sprintf("weakest x %v", by), func(p *Profile) { p.weakest *= by })
		}
		for _, by := range []float64{-0.2, -0.1, 0.1, 0.2} {
			try(fmt.Sprintf("power %+.1f", by), func(p *Profile) { p.power += by })
			try(fmt.Sprintf("guard x %.1f", 1+3*by), func(p *Profile) { p.guard *= 1 + 3*by })
			try(fmt.Sprintf("refined %+.0f", 40*by), func(p *Profile) { p.refined = max(0, p.refined+int(40*by)) })
			try(fmt.Sprintf("bands x %.1f", 1+3*by), func(p *Profile) { p.bands = int(float64(p.bands) * (1 + 3*by)) })
		}
	}
}

// JPEG of quality 90 on what the profile itself makes of photographs, with the table as it is: two or three times, and the table stays.
func TestJPEGNoise(t *testing.T) {
	images := trainingSet(t, 48)
	p, err := ProfileOf("jpeg")
	if err != nil {
		t.Fatal(err)
	}
	keys := keysOf(t, rand.New(rand.NewPCG(3, 3)))
	grid := dct.Within(256, 256, side)
	var sums [side * side]float64
	for i := range len(images) {
		stego, err := p.Embed(images[i], images[(i+1)%len(images)], 256, 256, keys)
		if err != nil {
			t.Fatal(err)
		}
		planes := make([]float64, len(stego))
		for i, v := range compressed(t, stego, 256, 256, 90) {
			planes[i] = float64(v) - float64(stego[i]) + 127.5
		}
		coefficients := make([]float64, grid.Coefficients())
		grid.Analyse(coefficients, planes, dct.Luma)
		for i := range sums {
			for _, v := range coefficients[3*i*grid.Blocks():][:grid.Blocks()] {
				sums[i] += v * v
			}
		}
	}
	var b strings.Builder
	for i, sum := range sums {
		fmt.Fprintf(&b, "%.3f", sum/float64(len(images)*grid.Blocks()))
		b.WriteByte(" \n"[(i%side+1)/side])
	}
	t.Logf("\n%s", b.String())
	if *write {
		if err := os.WriteFile("jpeg.txt", []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
