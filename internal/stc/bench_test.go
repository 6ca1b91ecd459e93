package stc

import (
	"fmt"
	"image"
	_ "image/jpeg"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/image/draw"
)

// photographs are those of the folder that STEGOMQ_PHOTOGRAPHS names, or the samples that `make photos` fetches, at a side.
func photographs(b *testing.B, side int) [][]byte {
	b.Helper()
	folder := os.Getenv("STEGOMQ_PHOTOGRAPHS")
	if folder == "" {
		folder = filepath.Join("..", "..", ".cache", "photos")
	}
	paths, err := filepath.Glob(filepath.Join(folder, "*.jp*g"))
	if err != nil || len(paths) == 0 {
		b.Fatalf("no photographs in %s: run `make photos`", folder)
	}
	var all [][]byte
	for _, path := range paths[:min(len(paths), 32)] {
		file, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		img, _, err := image.Decode(file)
		if err := file.Close(); err != nil {
			b.Fatal(err)
		}
		if err != nil {
			b.Fatal(err)
		}
		small := image.NewNRGBA(image.Rect(0, 0, side, side))
		draw.CatmullRom.Scale(small, small.Rect, img, img.Bounds(), draw.Src, nil)
		planes := make([]byte, 3*side*side)
		for i := range side * side {
			for c := range 3 {
				planes[c*side*side+i] = small.Pix[4*i+c]
			}
		}
		all = append(all, planes)
	}
	return all
}

func psnr(a, b []byte) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*float64(len(a))/sum)
}

// At 256x256: what embedding takes, costs included, and what it does to photographs.
func BenchmarkEmbed(b *testing.B) {
	const side = 256
	images := photographs(b, side)
	for _, rate := range []float64{0.1, 0.25, 0.5, 0.75, 1, 1.5, 2} {
		b.Run(fmt.Sprintf("rate=%v", rate), func(b *testing.B) {
			s := random(b)
			order := s.order(3*side*side, 3*side*side)
			bits := int(rate * float64(len(order)))
			message := s.message(bits)
			total, n := 0.0, 0
			for b.Loop() {
				cover := images[n%len(images)]
				stego := slices.Clone(cover)
				if err := Embed(stego, order, Costs(cover, side, side), message, bits, s); err != nil {
					b.Fatal(err)
				}
				total += psnr(cover, stego)
				n++
			}
			b.ReportMetric(total/float64(n), "dB")
		})
	}
}

func BenchmarkCovert(b *testing.B) {
	const side = 256
	images := photographs(b, side)
	for _, rate := range []float64{0.1, 0.25} {
		b.Run(fmt.Sprintf("rate=%v", rate), func(b *testing.B) {
			s := random(b)
			order := s.order(side*side, side*side)
			bits := int(3 * rate * float64(len(order)))
			message := s.message(bits)
			total, n := 0.0, 0
			for b.Loop() {
				cover := images[n%len(images)]
				stego := slices.Clone(cover)
				if err := EmbedCovert(stego, order, Costs(cover, side, side), message, bits, s); err != nil {
					b.Fatal(err)
				}
				total += psnr(cover, stego)
				n++
			}
			b.ReportMetric(total/float64(n), "dB")
		})
	}
}

func BenchmarkCosts(b *testing.B) {
	image := photographs(b, 256)[0]
	for b.Loop() {
		Costs(image, 256, 256)
	}
}

func BenchmarkExtract(b *testing.B) {
	image := photographs(b, 256)[0]
	s := random(b)
	order := s.order(len(image), len(image))
	for b.Loop() {
		if _, err := Extract(image, order, len(image)/2); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPermutation(b *testing.B) {
	s := random(b)
	for b.Loop() {
		if _, err := Permutation(s, 3*256*256); err != nil {
			b.Fatal(err)
		}
	}
}

// The code against the least that any code costs with these costs: the ratio of 1.0 is the bound (Filler et al. 2011).
func BenchmarkBound(b *testing.B) {
	const side = 256
	cover := photographs(b, side)[0]
	costs := Costs(cover, side, side)
	s := random(b)
	order := s.order(len(cover), len(cover))
	for _, rate := range []float64{0.1, 0.25, 0.5} {
		b.Run(fmt.Sprintf("rate=%v", rate), func(b *testing.B) {
			bits := int(rate * float64(len(order)))
			paid := 0.0
			for b.Loop() {
				stego := slices.Clone(cover)
				if err := Embed(stego, order, costs, s.message(bits), bits, s); err != nil {
					b.Fatal(err)
				}
				paid = 0
				for i := range stego {
					if stego[i] != cover[i] {
						paid += float64(costs[i])
					}
				}
			}
			b.ReportMetric(paid/bound(costs, float64(bits)), "cost/bound")
		})
	}
}

// bound is the least total cost of writing so many bits: each element changes with probability 1/(1+exp(l cost)), and l is
// such that the entropy of all changes is what is written.
func bound(costs []float32, bits float64) float64 {
	at := func(l float64) (entropy, cost float64) {
		for _, c := range costs {
			p := 1 / (1 + math.Exp(l*float64(c)))
			if p > 1e-12 {
				entropy -= p*math.Log2(p) + (1-p)*math.Log2(1-p)
			}
			cost += p * float64(c)
		}
		return entropy, cost
	}
	low, high := 1e-6, 1e6
	for range 60 {
		if middle := math.Sqrt(low * high); first(at(middle)) > bits {
			low = middle
		} else {
			high = middle
		}
	}
	_, cost := at(low)
	return cost
}

func first(a, _ float64) float64 { return a }
