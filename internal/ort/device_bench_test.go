package ort

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stegomq/internal/model"
	"stegomq/internal/pixel"
)

// BenchmarkDevice is how many images a second an engine embeds and recovers with the provider in STEGOMQ_BENCH_PROVIDER (default:
// cpu), with as many runs at once as the engine takes, so that copies go beside runs. Images come from this process's memory and go
// back to it. STEGOMQ_BENCH_SIDES and STEGOMQ_BENCH_BATCHES are numbers with commas between them. Keys take turns, and are
// in the cache. Before it is timed, a batch of each kind is compared with the CPU's: samples of 8 bits may differ by 1.
// bench/gpu.sh runs it on a GPU.
func BenchmarkDevice(b *testing.B) {
	provider := Provider(os.Getenv("STEGOMQ_BENCH_PROVIDER"))
	m := shipped(b)
	e := benchEngine(b, Config{Provider: provider, CacheBytes: 4 << 30})
	cpu := benchEngine(b, Config{Threads: runtime.NumCPU()})
	add(b, e, m)
	add(b, cpu, m)
	for _, op := range []model.Operation{model.OpEmbed, model.OpRecover} {
		for _, side := range numbers(b, "STEGOMQ_BENCH_SIDES", "128") {
			for _, batch := range numbers(b, "STEGOMQ_BENCH_BATCHES", "1,4") {
				in := images(b, op, batch, side, side)
				sameImages(b, mustRun(b, e, m, op, testKey(op, 0), in), mustRun(b, cpu, m, op, testKey(op, 0), in))
				for _, keys := range numbers(b, "STEGOMQ_BENCH_KEYS", "1,16") {
					for n, small := 0, images(b, op, 1, m.Manifest.MinSide, m.Manifest.MinSide); n < keys; n++ {
						mustRun(b, e, m, op, testKey(op, n), small) // weights are of every size
					}
					b.Run(fmt.Sprintf("%s/side=%d/batch=%d/keys=%d", op, side, batch, keys), func(b *testing.B) {
						throughput(b, e, m, op, in, keys)
					})
				}
			}
		}
	}
}

func throughput(b *testing.B, e *Engine, m *model.Model, op model.Operation, in []pixel.Tensor, keys int) {
	var next atomic.Int64
	b.SetParallelism(max(1, e.config.Workers)) // times the processors; the engine's slots bound it
	b.ResetTimer()
	begin := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := int(next.Add(1))
			if _, err := e.Run(b.Context(), m.Digest, op, testKey(op, n%keys), in...); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N*in[0].N)/time.Since(begin).Seconds(), "images/s")
}

// sameImages fails where two outputs differ by more than a level of 8 bits.
func sameImages(b *testing.B, got, want pixel.Tensor) {
	b.Helper()
	level := func(v float32) float64 { return math.Round(255 * math.Min(1, math.Max(0, float64(v)))) }
	most := 0.0
	for i := range want.Data {
		most = math.Max(most, math.Abs(level(got.Data[i])-level(want.Data[i])))
	}
	if most > 1 {
		b.Fatalf("an output differs from the CPU's by %g levels of 255", most)
	}
}

// shipped is the model in STEGOMQ_BENCH_MODEL, or invertible-mk.
func shipped(b *testing.B) *model.Model {
	b.Helper()
	dir := os.Getenv("STEGOMQ_BENCH_MODEL")
	if dir == "" {
		dir = filepath.Join("..", "..", "models", "invertible-mk")
	}
	m, err := model.Load(dir)
	if err != nil {
		b.Fatal(err)
	}
	return m
}

func numbers(b *testing.B, variable, otherwise string) []int {
	b.Helper()
	text := os.Getenv(variable)
	if text == "" {
		text = otherwise
	}
	var numbers []int
	for _, part := range strings.Split(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 {
			b.Fatalf("%s: %q: numbers above 0 with commas between them", variable, text)
		}
		numbers = append(numbers, n)
	}
	return numbers
}
