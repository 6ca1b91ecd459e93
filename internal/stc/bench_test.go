package stc

import (
	"fmt"
	"image"
	_ "image/jpeg"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	cryptocipher "crypto/cipher"

	"golang.org/x/crypto/chacha20"
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

// processor is the time that this process has had of the processors. On a shared machine the time on the wall says little.
func processor(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// embedding measures one way to embed, with the costs, in photographs of 256x256: time of the processor, PSNR, changes.
func embedding(b *testing.B, elements, bits int, embed func(samples []byte, order []int32, costs []float32, message []byte, s source) error) {
	const side = 256
	images := photographs(b, side)
	s := random(b)
	order, message := s.order(elements, elements), s.message(bits)
	b.SetBytes(3 * side * side)
	decibels, changes, n := 0.0, 0, 0
	start := processor(b)
	for b.Loop() {
		cover := images[n%len(images)]
		stego := slices.Clone(cover)
		if err := embed(stego, order, Costs(cover, side, side), message, s); err != nil {
			b.Fatal(err)
		}
		n++
		b.StopTimer()
		paused := processor(b)
		decibels += psnr(cover, stego)
		for _, at := range order {
			if stego[at] != cover[at] {
				changes++
			}
		}
		start += processor(b) - paused
		b.StartTimer()
	}
	b.ReportMetric(float64(processor(b)-start)/float64(n)/1e6, "cpu-ms/op")
	b.ReportMetric(decibels/float64(n), "dB")
	b.ReportMetric(float64(bits)*float64(n)/float64(changes), "bits/change")
}

func BenchmarkEmbed(b *testing.B) {
	const elements = 3 * 256 * 256
	for _, rate := range []float64{0.1, 0.25, 0.5, 0.75, 0.95, 1, 1.5, 2} {
		b.Run(fmt.Sprintf("rate=%v", rate), func(b *testing.B) {
			bits := int(rate * elements)
			embedding(b, elements, bits, func(samples []byte, order []int32, costs []float32, message []byte, s source) error {
				return Embed(samples, order, costs, message, bits, s)
			})
		})
	}
}

// Without vector instructions.
func BenchmarkEmbedPlain(b *testing.B) {
	defer func(v bool) { vectors = v }(vectors)
	vectors = false
	const elements = 3 * 256 * 256
	embedding(b, elements, elements/2, func(samples []byte, order []int32, costs []float32, message []byte, s source) error {
		return Embed(samples, order, costs, message, elements/2, s)
	})
}

// LSB matching at rates where the code is used, to compare: the first samples hold a bit each.
func BenchmarkMatching(b *testing.B) {
	const elements = 3 * 256 * 256
	for _, rate := range []float64{0.1, 0.25, 0.5, 0.75} {
		b.Run(fmt.Sprintf("rate=%v", rate), func(b *testing.B) {
			bits := int(rate * elements)
			embedding(b, elements, bits, func(samples []byte, order []int32, costs []float32, message []byte, s source) error {
				return Embed(samples, order[:bits], costs, message, bits, s)
			})
		})
	}
}

func BenchmarkCovert(b *testing.B) {
	const pixels = 256 * 256
	for _, rate := range []float64{0.1, 0.25} {
		b.Run(fmt.Sprintf("rate=%v", rate), func(b *testing.B) {
			bits := int(3 * rate * pixels)
			embedding(b, pixels, bits, func(samples []byte, order []int32, costs []float32, message []byte, s source) error {
				return EmbedCovert(samples, order, costs, message, bits, s)
			})
		})
	}
}

// measure reports the time of the processor of each call.
func measure(b *testing.B, do func() error) {
	n, start := 0, processor(b)
	for b.Loop() {
		if err := do(); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(processor(b)-start)/float64(n)/1e6, "cpu-ms/op")
}

func BenchmarkCosts(b *testing.B) {
	image := photographs(b, 256)[0]
	b.SetBytes(int64(len(image)))
	b.ReportAllocs()
	measure(b, func() error { Costs(image, 256, 256); return nil })
}

func BenchmarkExtract(b *testing.B) {
	image := photographs(b, 256)[0]
	order := random(b).order(len(image), len(image))
	for _, rate := range []float64{0.1, 0.25, 0.5, 0.75, 1, 2} {
		b.Run(fmt.Sprintf("rate=%v", rate), func(b *testing.B) {
			b.SetBytes(int64(len(image)))
			measure(b, func() error { _, err := Extract(image, order, int(rate*float64(len(image)))); return err })
		})
	}
	b.Run("covert", func(b *testing.B) {
		pixels := random(b).order(len(image)/3, len(image)/3)
		b.SetBytes(int64(len(image)))
		measure(b, func() error { _, err := ExtractCovert(image, pixels, len(pixels)*3/4); return err })
	})
}

func BenchmarkPermutation(b *testing.B) {
	cipher, err := chacha20.NewUnauthenticatedCipher(make([]byte, chacha20.KeySize), make([]byte, chacha20.NonceSize))
	if err != nil {
		b.Fatal(err)
	}
	keystream := cryptocipher.StreamReader{S: cipher, R: zeros{}}
	measure(b, func() error { Permutation(keystream, 3*256*256); return nil })
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// The code against the least total cost of any code (1.0): the mean and the worst of eight photographs.
func BenchmarkBound(b *testing.B) {
	const side = 256
	images := photographs(b, side)
	images = images[:min(len(images), 8)]
	s := random(b)
	order := s.order(3*side*side, 3*side*side)
	for _, rate := range []float64{0.1, 0.25, 0.5, 0.75} {
		b.Run(fmt.Sprintf("rate=%v", rate), func(b *testing.B) {
			bits := int(rate * float64(len(order)))
			var ratios []float64
			for b.Loop() {
				ratios = ratios[:0]
				for _, cover := range images {
					costs, stego := Costs(cover, side, side), slices.Clone(cover)
					if err := Embed(stego, order, costs, s.message(bits), bits, s); err != nil {
						b.Fatal(err)
					}
					ratios = append(ratios, paid(cover, stego, costs)/bound(costs, float64(bits)))
				}
			}
			sum := 0.0
			for _, r := range ratios {
				sum += r
			}
			b.ReportMetric(sum/float64(len(ratios)), "cost/bound")
			b.ReportMetric(slices.Max(ratios), "worst")
		})
	}
}

// paid is the total cost of the changes.
func paid(cover, stego []byte, costs []float32) float64 {
	sum := 0.0
	for i := range stego {
		if stego[i] != cover[i] {
			sum += float64(costs[i])
		}
	}
	return sum
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
	for range 40 {
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
