package pipeline

import (
	"context"
	"image"
	"image/color"
	"image/png"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/testrig"
	"stegomq/schemas"
)

var tiny testrig.Model

func TestMain(m *testing.M) { testrig.Main(m, &tiny, "../internal/ort/testdata/tiny") }

// side of the images of tests.
const side = 32

// photographs writes n different images into a new folder.
func photographs(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		m := image.NewNRGBA(image.Rect(0, 0, side, side))
		for y := range side {
			for x := range side {
				m.SetNRGBA(x, y, color.NRGBA{R: uint8(8 * x), G: uint8(8 * y), B: uint8(40 * i), A: 255})
			}
		}
		f, err := os.Create(filepath.Join(dir, string(rune('a'+i))+".png"))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, m); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// request asks for a run of the tiny model with its demo keys.
func request(t *testing.T, pairs int) *Request {
	t.Helper()
	keys, err := DemoKeys(tiny.Model)
	if err != nil {
		t.Fatal(err)
	}
	req := NewRequest(tiny.Model, keys, photographs(t, 2*pairs))
	req.Geometry = Square(side, schemas.ResizePolicy_RESIZE_POLICY_SQUASH)
	req.Batch = 1
	return req
}

func options(e Endpoints) Options {
	return Options{Endpoints: e, Patience: 300 * time.Millisecond, Logger: slog.New(slog.DiscardHandler), Runtime: Runtime{Slots: 1}}
}

// open connects services, and closes them at the end.
func open(t *testing.T, opts Options) *Services {
	t.Helper()
	s, err := Open(testrig.Context(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	s.pace = 20 * time.Millisecond
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// shared are services on embedded servers that are not only theirs: what listens is not exclusive, so that others work for them.
func shared(t *testing.T) *Services {
	t.Helper()
	s := open(t, options(Endpoints{State: t.TempDir(), NATSListen: "127.0.0.1:0"}))
	if err := s.OpenBus(testrig.Context(t)); err != nil {
		t.Fatal(err)
	}
	return s
}

// works starts a worker and an evaluator on services, which stop when the test ends.
func (s *Services) works(ctx context.Context, t *testing.T) {
	t.Helper()
	roles := s.worker(ctx, t)
	t.Cleanup(func() {
		if err := roles.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// worker starts a worker and an evaluator on services, which the test stops.
func (s *Services) worker(ctx context.Context, t *testing.T) *Roles {
	t.Helper()
	ring := keyring.New()
	keys, err := DemoKeys(tiny.Model)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range keys {
		if err := ring.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	eng, err := NewEngine(Runtime{}, []*model.Model{tiny.Model}, ring, s.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eng.Close() })
	r := StartRoles(ctx)
	if err := s.startWorker(r, eng, nil, lane{}); err != nil {
		t.Fatal(err)
	}
	s.startEvaluator(r, nil)
	return r
}
