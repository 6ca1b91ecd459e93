package quality

import (
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"math"
	"os"
	"syscall"
	"testing"
)

func gradient(w, h int, phase float64) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			p := m.Pix[m.PixOffset(x, y):]
			for c := range 3 {
				p[c] = uint8(127.5 + 120*math.Sin(phase+float64(x*(c+1))/17)*math.Cos(float64(y)/(11+float64(c))))
			}
			p[3] = 255
		}
	}
	return m
}

func BenchmarkCompare(b *testing.B) {
	for _, side := range []int{256, 512} {
		x, y := gradient(side, side, 0), gradient(side, side, 0.1)
		b.Run(fmt.Sprint(side), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Compare(x, y); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPair compares STEGOMQ_REFERENCE with STEGOMQ_TEST, two PNG files, and tells the scores and the processor's time: `make bench-peers`
// measures others beside it.
func BenchmarkPair(b *testing.B) {
	read := func(variable string) *image.NRGBA {
		f, err := os.Open(os.Getenv(variable))
		if err != nil {
			b.Skipf("%s: %v", variable, err)
		}
		defer f.Close()
		src, err := png.Decode(f)
		if err != nil {
			b.Fatal(err)
		}
		m := image.NewNRGBA(src.Bounds())
		draw.Draw(m, m.Rect, src, image.Point{}, draw.Src)
		return m
	}
	reference, test := read("STEGOMQ_REFERENCE"), read("STEGOMQ_TEST")
	var got Scores
	var err error
	start := processorTime(b)
	for b.Loop() {
		if got, err = Compare(reference, test); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(processorTime(b)-start)/float64(b.N), "cpu-ns/op")
	b.Logf("PSNR %.15g SSIM %.15g MAE %.15g", got.PSNR, got.SSIM, got.MAE)
}

// processorTime is what this process has used so far, in nanoseconds.
func processorTime(b *testing.B) int64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}
