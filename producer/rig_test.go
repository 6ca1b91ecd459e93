package producer_test

import (
	"context"
	"errors"
	"image"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"stegomq/gpuworker"
	"stegomq/internal/bus"
	"stegomq/internal/pixel"
	"stegomq/internal/source"
	"stegomq/internal/testrig"
	"stegomq/schemas"
)

// tiny is the model of all tests, on one engine.
var tiny testrig.Model

func TestMain(m *testing.M) { testrig.Main(m, &tiny, "../internal/ort/testdata/tiny") }

// work runs a worker on a bus until the test ends.
func work(t testing.TB, b *testrig.Queue, memo gpuworker.Memo) {
	t.Helper()
	workWith(t, b, memo, tiny.Network())
}

func workWith(t testing.TB, b *testrig.Queue, memo gpuworker.Memo, engine gpuworker.Engine) {
	t.Helper()
	images, err := source.New(b.Blobs, source.Config{})
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := b.JobSource(bus.JobOptions{Worker: "worker"})
	if err != nil {
		t.Fatal(err)
	}
	w := gpuworker.New(gpuworker.Config{Name: "worker"}, gpuworker.Parts{
		Jobs: jobs, Publisher: b, Blobs: b.Blobs, Images: images, Memo: memo, Engine: engine,
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

func sha(data []byte) string { return schemas.Digest(data) }

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

// pictures makes a folder of small pictures, each another one.
func pictures(t testing.TB, names ...string) string { return picturesFrom(t, 0, names...) }

// covers are other pictures than those of pictures.
func covers(t testing.TB, names ...string) string { return picturesFrom(t, 1000, names...) }

func picturesFrom(t testing.TB, seed uint64, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, name := range names {
		testrig.WriteFile(t, picture(t, seed+uint64(i), 20, 20), dir, filepath.FromSlash(name))
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
