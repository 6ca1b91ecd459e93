package producer_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"stegomq/gpuworker"
	"stegomq/internal/bus"
	"stegomq/internal/cache"
	"stegomq/internal/engine"
	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/internal/pixel"
	"stegomq/internal/source"
)

// patience bounds every wait of a test.
const patience = 60 * time.Second

// tiny is the model of all tests, on one engine.
var tiny struct {
	*model.Model
	keys   *keyring.Keyring
	engine *ort.Engine
}

// suite closes the engine before goroutines are counted.
type suite struct{ *testing.M }

func (s suite) Run() int {
	code := s.M.Run()
	if err := tiny.engine.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func TestMain(m *testing.M) {
	if err := loadTiny(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(suite{m})
}

func loadTiny() (err error) {
	if tiny.Model, err = model.Load(filepath.FromSlash("../internal/ort/testdata/tiny")); err != nil {
		return err
	}
	if tiny.keys, err = keyring.Open(tiny.Keyring(), keyring.Protection{}); err != nil {
		return err
	}
	if tiny.engine, err = ort.New(ort.Config{Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return err
	}
	return tiny.engine.Add(tiny.Model)
}

// network runs the tiny model with its demo keys.
func network() *engine.Engine { return engine.New(tiny.engine, tiny.keys) }

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func openCache(t testing.TB) *cache.Cache {
	t.Helper()
	c, err := cache.OpenEmbedded(testContext(t), t.TempDir(), cache.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func openBus(t testing.TB) *bus.Bus {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	server, err := bus.StartServer(bus.ServerConfig{StoreDir: t.TempDir(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	b, err := bus.Open(testContext(t), bus.Config{
		Server: server, Logger: log, RetryDelays: []time.Duration{10 * time.Millisecond}, SweepEvery: 25 * time.Millisecond, Grace: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// work runs a worker on a bus until the test ends.
func work(t testing.TB, b *bus.Bus, memo gpuworker.Memo) {
	t.Helper()
	images, err := source.New(b.Blobs(), source.Config{})
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := b.JobSource("worker")
	if err != nil {
		t.Fatal(err)
	}
	w := gpuworker.New(gpuworker.Config{Name: "worker"}, gpuworker.Parts{
		Jobs: jobs, Publisher: b, Blobs: b.Blobs(), Images: images, Memo: memo, Engine: network(),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})
}

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// picture is a PNG file of noise, another one for each seed.
func picture(t testing.TB, seed uint64, w, h int) []byte {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 5))
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = byte(rnd.Uint32())
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	data, err := pixel.EncodePNG(img)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// write makes a file with the folders that it needs.
func write(t testing.TB, data []byte, elem ...string) string {
	t.Helper()
	name := filepath.Join(elem...)
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// pictures makes a folder of small pictures, each another one.
func pictures(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, name := range names {
		write(t, picture(t, uint64(i), 20, 20), dir, filepath.FromSlash(name))
	}
	return dir
}

var errBroken = errors.New("broken on purpose")

func mustDecode(t testing.TB, data []byte) *image.NRGBA {
	t.Helper()
	img, _, err := pixel.Decode(data, pixel.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}
