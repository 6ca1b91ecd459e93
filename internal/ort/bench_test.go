package ort

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	onnx "github.com/yalue/onnxruntime_go"

	"stegomq/internal/model"
)

// benchModels are the tests' model, the one that ships, and a model directory in
// STEGOMQ_BENCH_MODEL if that is set (the paper's backbone takes minutes).
func benchModels(b *testing.B) []*model.Model {
	b.Helper()
	dirs := []string{filepath.Join("testdata", "tiny"), filepath.Join("..", "..", "models", "invertible-mk")}
	if dir := os.Getenv("STEGOMQ_BENCH_MODEL"); dir != "" {
		dirs = append(dirs, dir)
	}
	var models []*model.Model
	for _, dir := range dirs {
		m, err := model.Load(dir)
		if err != nil {
			b.Fatal(err)
		}
		models = append(models, m)
	}
	return models
}

func benchEngine(b *testing.B, c Config) *Engine {
	b.Helper()
	c.Logger = slog.New(slog.DiscardHandler)
	return start(b, c)
}

// BenchmarkWeights compares the three ways to give a graph its weights, in one run
// and on the same images: compare their ratios, not their times. They take turns,
// image by image, so that what else the machine does hits all three alike.
// "native/const" is near 1 where the layout probe does its work; "plain/const" is
// what a graph would cost without it.
func BenchmarkWeights(b *testing.B) {
	e := benchEngine(b, Config{Workers: 1})
	for _, m := range benchModels(b) {
		for _, op := range []model.Operation{model.OpEmbed, model.OpRecover} {
			for _, side := range []int{128, 256} {
				b.Run(fmt.Sprintf("%s/%s/%d", m.Name, op, side), func(b *testing.B) { compareWeights(b, e, m, op, side) })
			}
		}
	}
}

func compareWeights(b *testing.B, e *Engine, m *model.Model, op model.Operation, side int) {
	loaded := add(b, e, m)
	key, in := testKey(op, 1), images(b, op, 1, side, side)
	native, err := loaded.program(outputsOf(op, m, false))
	if err != nil {
		b.Fatal(err)
	}
	if !native.layout.native {
		b.Fatal("the layout probe did not work")
	}
	g, err := parse(outputsOf(op, m, false), m, m.Graph(op))
	if err != nil {
		b.Fatal(err)
	}
	oihw, err := loaded.openLayout(g, plain(g), &trial{})
	if err != nil {
		b.Fatal(err)
	}
	defer oihw.close()
	w := make([]float32, len(m.Weights))
	m.Mask.Apply(w, m.Weights, key.Role, key.Bytes())
	constant, err := e.constantSession(g, w)
	if err != nil {
		b.Fatal(err)
	}
	defer constant.Destroy()

	var ways []func() error
	for _, p := range []*program{native, oihw} {
		weights, err := p.patch(w)
		if err != nil {
			b.Fatal(err)
		}
		defer weights.destroy()
		ways = append(ways, func() error { _, err := p.run(b.Context(), weights, in); return err })
	}
	ways = append(ways, func() error {
		_, err := e.withImages(outputsOf(op, m, false), in, func(images, out []onnx.Value) error {
			return runSession(b.Context(), constant, images, out)
		})
		return err
	})
	took := make([][]time.Duration, len(ways))
	for range 2 { // warm up
		for _, way := range ways {
			if err := way(); err != nil {
				b.Fatal(err)
			}
		}
	}
	turns := 0
	for b.Loop() {
		for i := range ways {
			// Who goes first changes from turn to turn.
			at := (i + turns) % len(ways)
			begin := time.Now()
			if err := ways[at](); err != nil {
				b.Fatal(err)
			}
			took[at] = append(took[at], time.Since(begin))
		}
		turns++
	}
	median := func(way int) float64 {
		slices.Sort(took[way])
		return took[way][len(took[way])/2].Seconds()
	}
	b.ReportMetric(median(0)/median(2), "native/const")
	b.ReportMetric(median(1)/median(2), "plain/const")
	b.ReportMetric(1e3*median(2), "const-ms")
}

// BenchmarkNewKey is what a key costs that is not in the cache: the fill, the
// layout, the tensors, and their release.
func BenchmarkNewKey(b *testing.B) {
	e := benchEngine(b, Config{CacheBytes: 1})
	for _, m := range benchModels(b) {
		b.Run(m.Name, func(b *testing.B) {
			p, err := add(b, e, m).program(outputsOf(model.OpRecover, m, false))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(4 * len(m.Weights)))
			for n := 0; b.Loop(); n++ {
				w, err := p.load(testKey(model.OpRecover, n))
				if err != nil {
					b.Fatal(err)
				}
				w.destroy()
			}
		})
		b.Run(m.Name+"/layout", func(b *testing.B) { // without the fill
			p, err := e.models[m.Digest].program(outputsOf(model.OpRecover, m, false))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				w, err := p.patch(m.Weights)
				if err != nil {
					b.Fatal(err)
				}
				w.destroy()
			}
		})
	}
}

// BenchmarkOpen is what a graph costs at start: probe, session, check.
func BenchmarkOpen(b *testing.B) {
	e := benchEngine(b, Config{})
	for _, m := range benchModels(b) {
		loaded := add(b, e, m)
		m.Mask.Kept() // drawn once per model, at its first use
		b.Run(m.Name, func(b *testing.B) {
			for b.Loop() {
				g, err := parse(outputsOf(model.OpRecover, m, false), m, m.Graph(model.OpRecover))
				if err != nil {
					b.Fatal(err)
				}
				p, err := loaded.openNative(g)
				if err != nil {
					b.Fatal(err)
				}
				if err := p.close(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(m.Name+"/kept", func(b *testing.B) { // as at every later start
			again := benchEngine(b, Config{Layouts: b.TempDir()})
			loaded := add(b, again, m)
			g, err := parse(outputsOf(model.OpRecover, m, false), m, m.Graph(model.OpRecover))
			if err != nil {
				b.Fatal(err)
			}
			for n := 0; b.Loop(); n++ {
				p, err := loaded.openNative(g)
				if err != nil {
					b.Fatal(err)
				}
				if n > 0 && !p.kept {
					b.Fatal("the layout was not kept")
				}
				if err := p.close(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(m.Name+"/probe", func(b *testing.B) {
			g, err := parse(outputsOf(model.OpRecover, m, false), m, m.Graph(model.OpRecover))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := probe(g); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(m.Name+"/session", func(b *testing.B) { // one with constants, to compare
			g, err := parse(outputsOf(model.OpRecover, m, false), m, m.Graph(model.OpRecover))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				s, err := e.constantSession(g, m.Weights)
				if err != nil {
					b.Fatal(err)
				}
				s.Destroy()
			}
		})
	}
}

// BenchmarkInterleavedKeys runs one image per key in turn on hot keys: on the CPU
// that must cost what one key alone costs.
func BenchmarkInterleavedKeys(b *testing.B) {
	e := benchEngine(b, Config{})
	for _, m := range benchModels(b) {
		add(b, e, m)
		for _, keys := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", m.Name, keys), func(b *testing.B) {
				in := images(b, model.OpRecover, 1, 128, 128)
				for n := range keys {
					mustRun(b, e, m, model.OpRecover, testKey(model.OpRecover, n), in)
				}
				for n := 0; b.Loop(); n++ {
					mustRun(b, e, m, model.OpRecover, testKey(model.OpRecover, n%keys), in)
				}
			})
		}
	}
}
