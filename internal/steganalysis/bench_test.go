package steganalysis

import (
	crand "crypto/rand"
	"fmt"
	"image"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"stegomq/internal/pixel"
	"stegomq/internal/stc"
)

const benchSide = 256

// photographs are up to so many of those below the folder that STEGOMQ_PHOTOGRAPHS names, or of the samples that `make photos` fetches,
// evenly spread over the sorted names.
func photographs(b *testing.B, most int) (all []*image.NRGBA) {
	b.Helper()
	folder := os.Getenv("STEGOMQ_PHOTOGRAPHS")
	if folder == "" {
		folder = filepath.Join("..", "..", ".cache", "photos")
	}
	var paths []string
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if ext := strings.ToLower(filepath.Ext(path)); ext == ".jpg" || ext == ".jpeg" || ext == ".png" {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil || len(paths) < MinPairs {
		b.Fatalf("%d photographs in %s, need %d (%v): run `make photos`, or set STEGOMQ_PHOTOGRAPHS", len(paths), folder, MinPairs, err)
	}
	slices.Sort(paths)
	n := min(most, len(paths))
	for i := range n {
		data, err := os.ReadFile(paths[i*len(paths)/n])
		if err != nil {
			b.Fatal(err)
		}
		m, _, err := pixel.Decode(data, pixel.Limits{})
		if err == nil {
			m, err = pixel.Fit(m, pixel.Geometry{Width: benchSide, Height: benchSide})
		}
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// The features of one image at 256x256.
func BenchmarkFeatures(b *testing.B) {
	m := photographs(b, MinPairs)[0]
	for b.Loop() {
		ColourSPAM(m)
	}
}

var kinds = map[string]func(*image.NRGBA) []float64{"plain": plain, "colour": ColourSPAM}

// What is found of known methods in 64 photographs at 256x256: AUC for each method, rate and kind of features. With
// STEGOMQ_PHOTOGRAPHS=../shared/data/eval these are the figures in docs/audit.md.
func BenchmarkKnownMethods(b *testing.B) {
	covers := photographs(b, 64)
	for _, method := range []struct {
		name  string
		embed func(m *image.NRGBA, rate float64, seed uint64) *image.NRGBA
		rates []float64
	}{
		{"matching", Matching, []float64{0.1, 0.25, 0.5}},
		{"hill", hidden(false), []float64{0.1, 0.25, 0.5}},
		{"covert", hidden(true), []float64{0.1, 0.25}},
	} {
		for _, rate := range method.rates {
			var stego []*image.NRGBA
			b.Run(fmt.Sprintf("%s/%g", method.name, rate), func(b *testing.B) {
				for b.Loop() {
					stego = each(covers, func(i int, m *image.NRGBA) *image.NRGBA { return method.embed(m, rate, uint64(i)+1) })
					for kind, features := range kinds {
						of := func(_ int, m *image.NRGBA) []float64 { return features(m) }
						d, err := Detect(each(covers, of), each(stego, of), []uint64{1, 2, 3, 4, 5})
						if err != nil {
							b.Fatal(err)
						}
						b.ReportMetric(d.AUC.Mean, kind+"-AUC")
					}
				}
			})
		}
	}
}

// each does the same with every image, on all cores.
func each[T any](images []*image.NRGBA, do func(i int, m *image.NRGBA) T) []T {
	out := make([]T, len(images))
	var group sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, m := range images {
		group.Add(1)
		slots <- struct{}{}
		go func() {
			defer group.Done()
			out[i] = do(i, m)
			<-slots
		}()
	}
	group.Wait()
	return out
}

// hidden hides a random message by syndrome-trellis codes with HILL costs, rate bits in each sample; covert changes red, green and
// blue together.
func hidden(covert bool) func(*image.NRGBA, float64, uint64) *image.NRGBA {
	return func(m *image.NRGBA, rate float64, seed uint64) *image.NRGBA {
		width, height := m.Rect.Dx(), m.Rect.Dy()
		n := width * height
		samples := make([]byte, 3*n)
		for i := range n {
			for c := range 3 {
				samples[c*n+i] = m.Pix[i/width*m.Stride+i%width*4+c]
			}
		}
		bits, elements, embed := int(rate*float64(3*n)), 3*n, stc.Embed
		if covert {
			elements, embed = n, stc.EmbedCovert
		}
		r := rand.New(rand.NewPCG(seed, 0x68696c6c))
		message := make([]byte, (bits+7)/8)
		for i := range message {
			message[i] = byte(r.Uint32())
		}
		order := make([]int32, elements)
		for i, at := range r.Perm(elements) {
			order[i] = int32(at)
		}
		if err := embed(samples, order, stc.Costs(samples, height, width), message, bits, crand.Reader); err != nil {
			panic(err)
		}
		out := image.NewNRGBA(image.Rect(0, 0, width, height))
		for i := range n {
			for c := range 3 {
				out.Pix[4*i+c] = samples[c*n+i]
			}
			out.Pix[4*i+3] = 255
		}
		return out
	}
}

// What is found of the stego images that `stegomq evaluate --save-images` made: STEGOMQ_IMAGES names the folder images of a run with
// one key, of whose pairs the first 64 are taken. AUC with the ends of its interval.
func BenchmarkImages(b *testing.B) {
	folder := os.Getenv("STEGOMQ_IMAGES")
	if folder == "" {
		b.Skip("STEGOMQ_IMAGES names no folder images of a run of `stegomq evaluate --save-images`")
	}
	read := func(kind string) (all []*image.NRGBA) {
		paths, err := filepath.Glob(filepath.Join(folder, kind, "*.png"))
		if err != nil {
			b.Fatal(err)
		}
		slices.Sort(paths)
		for _, path := range paths[:min(64, len(paths))] {
			data, err := os.ReadFile(path)
			if err != nil {
				b.Fatal(err)
			}
			m, _, err := pixel.Decode(data, pixel.Limits{})
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, m)
		}
		return all
	}
	covers, stego := read("cover"), read("stego")
	for b.Loop() {
		for kind, features := range kinds {
			of := func(_ int, m *image.NRGBA) []float64 { return features(m) }
			d, err := Detect(each(covers, of), each(stego, of), []uint64{1, 2, 3, 4, 5})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(d.AUC.Mean, kind+"-AUC")
			b.ReportMetric(d.AUC.Low, kind+"-low")
			b.ReportMetric(d.AUC.High, kind+"-high")
		}
	}
}
