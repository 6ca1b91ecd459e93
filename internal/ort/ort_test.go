package ort

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"stegomq/internal/model"
	"stegomq/internal/pixel"
)

// The tests run on the real library; where it is missing they fail and say that
// `make ort` gets it.

// journal is a log handler that counts warnings, and fails the test on one unless
// it is allowed. Everything goes to the test's log.
type journal struct {
	slog.Handler
	t     testing.TB
	allow bool

	mu       sync.Mutex
	warnings int
}

func newJournal(t testing.TB, allow bool) *journal {
	return &journal{Handler: slog.NewTextHandler(t.Output(), nil), t: t, allow: allow}
}

func (j *journal) WithAttrs([]slog.Attr) slog.Handler { return j }

func (j *journal) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		j.mu.Lock()
		j.warnings++
		j.mu.Unlock()
		if !j.allow {
			j.t.Errorf("unexpected warning: %s", r.Message)
		}
	}
	return j.Handler.Handle(ctx, r)
}

// start makes an Engine, and fails the test unless it gives everything back.
func start(t testing.TB, c Config) *Engine {
	t.Helper()
	if c.Logger == nil {
		c.Logger = slog.New(newJournal(t, false))
	}
	e, err := New(c)
	if err != nil {
		t.Fatalf("start an engine (`make ort` gets the library): %v", err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if s := e.Stats(); s.Tensors != 0 || s.Sessions != 0 || s.Entries != 0 || s.Bytes != 0 {
			t.Errorf("left over after Close: %+v", s)
		}
	})
	return e
}

// tiny is the model of the tests: untrained, exported by the trainer.
func tiny(t testing.TB) *model.Model {
	t.Helper()
	m, err := model.Load(filepath.Join("testdata", "tiny"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// add loads a model into an engine.
func add(t testing.TB, e *Engine, m *model.Model) *loadedModel {
	t.Helper()
	if err := e.Add(m); err != nil {
		t.Fatal(err)
	}
	return e.models[m.Digest]
}

// testKey is the n-th key of the tests for an operation; nil for purify.
func testKey(op model.Operation, n int) *Key {
	role, keyed := op.Role()
	if !keyed {
		return nil
	}
	bytes := sha256.Sum256(fmt.Appendf(nil, "ort test key %d", n))
	return &Key{
		Fingerprint: hex.EncodeToString(bytes[:16]),
		Role:        role,
		Bytes:       func() []byte { return bytes[:] },
	}
}

// images are random inputs for an operation; the seed is logged.
func images(t testing.TB, op model.Operation, n, h, w int) []pixel.Tensor {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("images from seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var in []pixel.Tensor
	for range op.Inputs() {
		in = append(in, noise(r, n, h, w))
	}
	return in
}

// reference computes with constant weights of the key, without anything of the
// fast way.
func reference(t testing.TB, e *Engine, m *model.Model, op model.Operation, key *Key, in []pixel.Tensor) pixel.Tensor {
	t.Helper()
	w := make([]float32, len(m.Weights))
	copy(w, m.Weights)
	if key != nil {
		m.Mask.Apply(w, m.Weights, key.Role, key.Bytes())
	}
	g, err := parse(outputsOf(op, m, false), m, m.Graph(op))
	if err != nil {
		t.Fatal(err)
	}
	p := &program{outputs: g.outputs, engine: e, owner: e.models[m.Digest]}
	out, err := p.constant(g, w, in)
	if err != nil {
		t.Fatal(err)
	}
	return out.image
}

func mustRun(t testing.TB, e *Engine, m *model.Model, op model.Operation, key *Key, in []pixel.Tensor) pixel.Tensor {
	t.Helper()
	out, err := e.Run(t.Context(), m.Digest, op, key, in...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Every operation gives exactly what a session with constant weights gives, for
// several keys, sizes and batches on the one session.
func TestExact(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	m := tiny(t)
	add(t, e, m)
	sizes := []struct{ n, h, w int }{{1, 16, 16}, {3, 33, 47}, {1, 64, 31}, {2, 17, 40}}
	for _, op := range model.Operations() {
		for n := range 3 {
			key := testKey(op, n)
			for _, s := range sizes {
				in := images(t, op, s.n, s.h, s.w)
				got := mustRun(t, e, m, op, key, in)
				if got.N != s.n || got.C != 3 || got.H != s.h || got.W != s.w {
					t.Fatalf("%s of %+v gave %dx%dx%dx%d", op, s, got.N, got.C, got.H, got.W)
				}
				if d := distance(got.Data, reference(t, e, m, op, key, in).Data); d != 0 {
					t.Errorf("%s, key %d, %+v: off by %g from constant weights", op, n, s, d)
				}
			}
		}
	}
	for _, p := range opened(e) {
		if !p.layout.native || p.difference != 0 {
			t.Errorf("the layout probe did not work: %s, off by %g", p.op, p.difference)
		}
	}
	if s := e.Stats(); s.Sessions != 3 || s.Misses != 7 || s.Hits != uint64(9*len(sizes))-7 {
		t.Errorf("want one session per graph and one miss per key: %+v", s)
	}
}

// Another key gives another image, and the same key the same one.
func TestKeysDiffer(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	m := tiny(t)
	add(t, e, m)
	for _, op := range []model.Operation{model.OpEmbed, model.OpRecover} {
		in := images(t, op, 1, 24, 24)
		first := mustRun(t, e, m, op, testKey(op, 1), in)
		other := mustRun(t, e, m, op, testKey(op, 2), in)
		again := mustRun(t, e, m, op, testKey(op, 1), in)
		if d := distance(first.Data, other.Data); d < 1e-4 {
			t.Errorf("%s: two keys are %g apart", op, d)
		}
		if d := distance(first.Data, again.Data); d != 0 {
			t.Errorf("%s: one key twice is %g apart", op, d)
		}
	}
}

// A batch is its images one by one, which also shows that the rows of a batch do
// not leak into one another.
func TestBatchIsItsImages(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	m := tiny(t)
	add(t, e, m)
	in := images(t, model.OpRecover, 3, 21, 26)[0]
	key := testKey(model.OpRecover, 1)
	all := mustRun(t, e, m, model.OpRecover, key, []pixel.Tensor{in})
	size := 3 * 21 * 26
	for i := range 3 {
		one := mustRun(t, e, m, model.OpRecover, key, []pixel.Tensor{{N: 1, C: 3, H: 21, W: 26, Data: in.Data[i*size : (i+1)*size]}})
		if d := distance(all.Data[i*size:(i+1)*size], one.Data); d > 1e-6 {
			t.Errorf("image %d alone is off by %g", i, d)
		}
	}
}

// Many goroutines with many keys on a cache that holds next to nothing: every
// outcome is exact, so no weights were freed or overwritten under a run.
func TestConcurrentEviction(t *testing.T) {
	t.Parallel()
	e := start(t, Config{Workers: 4, CacheBytes: 1})
	m := tiny(t)
	add(t, e, m)
	const keys, rounds = 3, 8
	in := map[model.Operation][]pixel.Tensor{}
	want := map[model.Operation][keys]pixel.Tensor{}
	for _, op := range model.Operations() {
		in[op] = images(t, op, 1, 18, 23)
		var outs [keys]pixel.Tensor
		for n := range keys {
			outs[n] = reference(t, e, m, op, testKey(op, n), in[op])
		}
		want[op] = outs
	}
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			for i := range rounds {
				op := model.Operations()[(worker+i)%3]
				n := (worker*5 + i) % keys
				out, err := e.Run(t.Context(), m.Digest, op, testKey(op, n), in[op]...)
				if err != nil {
					t.Error(err)
					return
				}
				if d := distance(out.Data, want[op][n].Data); d != 0 {
					t.Errorf("%s, key %d: off by %g", op, n, d)
				}
			}
		})
	}
	wg.Wait()
	s := e.Stats()
	if s.Bytes != 0 || s.Entries != 0 || s.Tensors != 0 {
		t.Errorf("idle weights above the bound: %+v", s)
	}
	if s.Runs != 6*rounds || s.Evictions != s.Misses || s.Hits+s.Misses != 6*rounds {
		t.Errorf("counters do not add up: %+v", s)
	}
}

// Key bytes are asked for on a miss only.
func TestBytesOnMissOnly(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	m := tiny(t)
	add(t, e, m)
	in := images(t, model.OpEmbed, 1, 16, 16)
	key, asked := testKey(model.OpEmbed, 1), 0
	bytes := key.Bytes()
	key.Bytes = func() []byte { asked++; return bytes }
	for range 3 {
		mustRun(t, e, m, model.OpEmbed, key, in)
	}
	if asked != 1 {
		t.Errorf("the key was asked for %d times", asked)
	}
}

func TestWrongCalls(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	m := tiny(t)
	add(t, e, m)
	good := images(t, model.OpEmbed, 1, 16, 16)
	small := images(t, model.OpEmbed, 1, 15, 16)
	short := pixel.Tensor{N: 1, C: 3, H: 16, W: 16, Data: good[0].Data[1:]}
	grey := pixel.Tensor{N: 3, C: 1, H: 16, W: 16, Data: good[0].Data}
	none := pixel.Tensor{N: 0, C: 3, H: 16, W: 16}
	wide := images(t, model.OpEmbed, 1, 16, 18)
	embedKey, recoverKey := testKey(model.OpEmbed, 1), testKey(model.OpRecover, 1)
	empty := *embedKey
	empty.Bytes = func() []byte { return nil }
	nameless := *embedKey
	nameless.Fingerprint = ""

	for name, c := range map[string]struct {
		digest string
		op     model.Operation
		key    *Key
		in     []pixel.Tensor
		want   error
	}{
		"unknown model":       {"00", model.OpEmbed, embedKey, good, ErrUnknownModel},
		"unknown operation":   {m.Digest, "erase", nil, good, ErrInput},
		"one image too few":   {m.Digest, model.OpEmbed, embedKey, good[:1], ErrInput},
		"one image too many":  {m.Digest, model.OpRecover, recoverKey, good, ErrInput},
		"too small":           {m.Digest, model.OpEmbed, embedKey, small, ErrInput},
		"data too short":      {m.Digest, model.OpRecover, recoverKey, []pixel.Tensor{short}, ErrInput},
		"one channel":         {m.Digest, model.OpRecover, recoverKey, []pixel.Tensor{grey}, ErrInput},
		"empty batch":         {m.Digest, model.OpRecover, recoverKey, []pixel.Tensor{none}, ErrInput},
		"two sizes":           {m.Digest, model.OpEmbed, embedKey, []pixel.Tensor{good[0], wide[0]}, ErrInput},
		"no key":              {m.Digest, model.OpEmbed, nil, good, ErrKey},
		"key for purify":      {m.Digest, model.OpPurify, embedKey, good[:1], ErrKey},
		"key of another role": {m.Digest, model.OpEmbed, recoverKey, good, ErrKey},
		"empty key":           {m.Digest, model.OpEmbed, &empty, good, ErrKey},
		"nameless key":        {m.Digest, model.OpEmbed, &nameless, good, ErrKey},
	} {
		if _, err := e.Run(t.Context(), c.digest, c.op, c.key, c.in...); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	// A load that failed leaves nothing behind.
	mustRun(t, e, m, model.OpEmbed, embedKey, good)
}

// watched is a context that tells when a run looks at its Done channel, or
// registers to be told of its end.
type watched struct {
	context.Context
	onDone, onAfterFunc func()
}

func (w watched) Done() <-chan struct{} {
	w.onDone()
	return w.Context.Done()
}

// AfterFunc is what context.AfterFunc calls on a context that has it.
func (w watched) AfterFunc(f func()) (stop func() bool) {
	w.onAfterFunc()
	return context.AfterFunc(w.Context, f)
}

// Value hides the context inside, so that AfterFunc is called.
func (w watched) Value(any) any { return nil }

// A cancelled context ends a run that has begun, a run that waits for its turn,
// and one that did not begin; the session works on afterwards.
func TestCancel(t *testing.T) {
	t.Parallel()
	e := start(t, Config{Workers: 1})
	m := tiny(t)
	add(t, e, m)
	key := testKey(model.OpRecover, 1)
	in := images(t, model.OpRecover, 1, 16, 16)
	want := mustRun(t, e, m, model.OpRecover, key, in)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Run(ctx, m.Digest, model.OpRecover, key, in...); !errors.Is(err, context.Canceled) {
		t.Errorf("a run after its end: %v", err)
	}

	// Cancelled as soon as the run is about to enter the runtime. The batch is so
	// big that it would take seconds.
	ctx, cancel = context.WithCancel(t.Context())
	big := images(t, model.OpRecover, 4, 2000, 2000)
	begun := watched{ctx, func() {}, cancel}
	if _, err := e.Run(begun, m.Digest, model.OpRecover, key, big...); !errors.Is(err, context.Canceled) {
		t.Errorf("a run under way: %v", err)
	}

	// Cancelled when it waits for the only slot.
	ctx, cancel = context.WithCancel(t.Context())
	e.slots <- struct{}{}
	waiting := watched{ctx, cancel, func() { t.Error("it ran") }}
	if _, err := e.Run(waiting, m.Digest, model.OpRecover, key, in...); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that waits: %v", err)
	}
	<-e.slots

	if d := distance(mustRun(t, e, m, model.OpRecover, key, in).Data, want.Data); d != 0 {
		t.Errorf("after the cancelled runs the session is off by %g", d)
	}
	if s := e.Stats(); s.Runs != 2 {
		t.Errorf("cancelled runs count: %+v", s)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	m := tiny(t)
	add(t, e, m)
	in := images(t, model.OpPurify, 1, 16, 16)
	var wg sync.WaitGroup
	begun := make(chan struct{}, 4)
	for range 4 {
		wg.Go(func() {
			for {
				out, err := e.Run(t.Context(), m.Digest, model.OpPurify, nil, in...)
				if err != nil {
					if !errors.Is(err, ErrClosed) || len(out.Data) != 0 {
						t.Errorf("run beside Close: %v", err)
					}
					return
				}
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	<-begun
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := e.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	if err := e.Add(m); !errors.Is(err, ErrClosed) {
		t.Errorf("Add after Close: %v", err)
	}
	if err := e.Prepare(m.Digest); !errors.Is(err, ErrClosed) {
		t.Errorf("Prepare after Close: %v", err)
	}
}

// opened are the graphs whose weights are inputs that were opened so far.
func opened(e *Engine) (all []*program) {
	for _, m := range e.models {
		all = append(all, m.open...)
	}
	return all
}

func TestStatsAndInfo(t *testing.T) {
	t.Parallel()
	e := start(t, Config{Threads: 2, Workers: 3})
	info := e.Info()
	if info.Library == "" || info.Version == "" || info.APIVersion != 24 || info.Provider != CPU || info.Threads != 2 || info.Workers != 3 || info.CacheBytes != DefaultCacheBytes {
		t.Errorf("%+v", info)
	}
	if len(info.Providers) != 2 || info.Providers[0] != (ProviderInfo{Name: CPU}) {
		t.Errorf("%+v", info.Providers)
	}
	m := tiny(t)
	add(t, e, m)
	if err := e.Prepare(m.Digest); err != nil {
		t.Fatal(err)
	}
	if s := e.Stats(); s.Sessions != 3 || s.Tensors != 0 || s.Runs != 0 {
		t.Errorf("after Prepare: %+v", s)
	}
	mustRun(t, e, m, model.OpPurify, nil, images(t, model.OpPurify, 1, 16, 16))
	least := int64(4 * len(m.Weights))
	if s := e.Stats(); s.Entries != 1 || s.Bytes < least || s.Bytes > 2*least || s.Tensors != int64(len(m.Layers)) || s.Runs != 1 {
		t.Errorf("after a run: %+v, weights are %d bytes", s, least)
	}
}
