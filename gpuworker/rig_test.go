package gpuworker_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"stegomq/gpuworker"
	"stegomq/internal/blob"
	"stegomq/internal/bus"
	"stegomq/internal/cache"
	"stegomq/internal/pixel"
	"stegomq/internal/source"
	"stegomq/internal/testrig"
	"stegomq/schemas"
)

// tiny is the model of all tests, on one engine.
var tiny testrig.Model

func TestMain(m *testing.M) { testrig.Main(m, &tiny, "../internal/ort/testdata/tiny") }

// call is one run of the network.
type call struct {
	op      schemas.Operation
	n, h, w int
}

// watchedEngine notes every run, and does what a test wants before and after it.
type watchedEngine struct {
	gpuworker.Engine
	before func(context.Context) error
	after  func(*pixel.Tensor)
	refuse func(n int) bool           // of the images that recover makes, in their order
	saw    func(features [][]float32) // after a run that gives some

	mu    sync.Mutex
	calls []call
}

func (e *watchedEngine) Run(ctx context.Context, digest string, op schemas.Operation, key *schemas.KeyRef, in ...pixel.Tensor) (pixel.Tensor, []*schemas.Refusal, error) {
	e.note(op, in[0])
	if e.before != nil {
		if err := e.before(ctx); err != nil {
			return pixel.Tensor{}, nil, err
		}
	}
	out, refused, err := e.Engine.Run(ctx, digest, op, key, in...)
	if err == nil && e.after != nil {
		e.after(&out)
	}
	if err == nil && e.refuse != nil && op == schemas.Operation_OPERATION_RECOVER {
		refused = e.refusals(out.N)
	}
	return out, refused, err
}

// refusals are those of n images.
func (e *watchedEngine) refusals(n int) []*schemas.Refusal {
	refused := make([]*schemas.Refusal, n)
	for i := range refused {
		if e.refuse(i) {
			refused[i] = &schemas.Refusal{Detail: "authentication failed"}
		}
	}
	return refused
}

func (e *watchedEngine) Features(ctx context.Context, digest string, key *schemas.KeyRef, stego pixel.Tensor) (pixel.Tensor, [][]float32, error) {
	e.note(schemas.Operation_OPERATION_RECOVER, stego)
	out, features, err := e.Engine.Features(ctx, digest, key, stego)
	if err == nil && e.saw != nil {
		e.saw(features)
	}
	return out, features, err
}

func (e *watchedEngine) note(op schemas.Operation, in pixel.Tensor) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, call{op, in.N, in.H, in.W})
}

// runs are the runs so far, and those of one operation counted.
func (e *watchedEngine) runs() []call {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]call(nil), e.calls...)
}

// rig is a pipeline without evaluators: servers, stores and the parts of a worker.
type rig struct {
	t      testing.TB
	bus    *testrig.Queue
	cache  *cache.Cache
	blobs  blob.Store
	engine *watchedEngine
	parts  gpuworker.Parts

	mu       sync.Mutex
	came     chan struct{} // word of a result or a letter
	results  map[string][]*schemas.Result
	dead     map[string][]*schemas.DeadLetter
	followed map[string]bool
}

// newRig starts a pipeline on servers of its own.
func newRig(t testing.TB) *rig {
	t.Helper()
	b, c := testrig.Bus(t, 20), testrig.Cache(t)
	r := &rig{
		t: t, bus: b, cache: c, engine: &watchedEngine{Engine: tiny.Network()}, came: make(chan struct{}, 1),
		results: make(map[string][]*schemas.Result), dead: make(map[string][]*schemas.DeadLetter), followed: make(map[string]bool),
	}
	r.background(func(ctx context.Context) error {
		return b.ResultSource(nil).Consume(ctx, 1, func(_ context.Context, res *schemas.Result) error { r.note(res); return nil })
	})
	r.background(func(ctx context.Context) error {
		return b.DeadSource(nil).Consume(ctx, 1, func(_ context.Context, l *schemas.DeadLetter) error {
			run := "" // of what is no job
			if job, err := schemas.DecodeJob(l.GetMessage()); err == nil {
				run = job.GetRun()
			}
			r.mu.Lock()
			r.dead[run] = append(r.dead[run], l)
			r.mu.Unlock()
			r.word()
			return nil
		})
	})
	jobs, err := b.JobSource(bus.JobOptions{Worker: "worker"})
	if err != nil {
		t.Fatal(err)
	}
	r.parts = gpuworker.Parts{Jobs: jobs, Publisher: b, Memo: c, Engine: r.engine}
	r.useBlobs(b.Blobs)
	return r
}

// useBlobs has the worker work with a blob store.
func (r *rig) useBlobs(blobs blob.Store) {
	r.t.Helper()
	r.blobs, r.parts.Blobs = blobs, blobs
	images, err := source.New(blobs, source.Config{Limits: pixel.Limits{MinSide: 4}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.parts.Images = images
}

// work runs a worker until the test ends, or until stop, which gives what Run returned.
func (r *rig) work(cfg gpuworker.Config) (stop func() error) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	cfg.Name = "worker"
	w := gpuworker.New(cfg, r.parts)
	go func() { done <- w.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	r.t.Cleanup(func() {
		if err := stop(); err != nil {
			r.t.Errorf("the worker ended with %v", err)
		}
	})
	return stop
}

func (r *rig) publish(jobs ...*schemas.Job) {
	r.t.Helper()
	for _, j := range jobs {
		if err := r.bus.PublishJob(testrig.Context(r.t), j); err != nil {
			r.t.Fatal(err)
		}
	}
}

// background runs f until the test ends.
func (r *rig) background(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			r.t.Errorf("ended with %v", err)
		}
	})
}

func (r *rig) word() {
	select {
	case r.came <- struct{}{}:
	default:
	}
}

// note keeps a result once. That of a job that died has no worker: its letter is kept.
func (r *rig) note(res *schemas.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	run := res.GetJob().GetRun()
	again := slices.ContainsFunc(r.results[run], func(have *schemas.Result) bool { return schemas.ResultMsgID(have) == schemas.ResultMsgID(res) })
	if !again && res.GetWorker() != "" {
		r.results[run] = append(r.results[run], res)
	}
	r.word()
}

// await gives the first n results and dead letters of a run together, in their order each.
func (r *rig) await(run string, n int) (results []*schemas.Result, dead []*schemas.DeadLetter) {
	r.t.Helper()
	r.mu.Lock()
	first := !r.followed[run]
	r.followed[run] = true
	r.mu.Unlock()
	if first {
		r.background(func(ctx context.Context) error {
			return r.bus.SubscribeResults(ctx, run, func(res *schemas.Result) error { r.note(res); return nil })
		})
	}
	timeout := time.After(testrig.Patience)
	for {
		r.mu.Lock()
		results, dead = slices.Clone(r.results[run]), slices.Clone(r.dead[run])
		r.mu.Unlock()
		if len(results)+len(dead) >= n {
			return results, dead
		}
		select {
		case <-r.came:
		case <-timeout:
			r.t.Fatalf("%d results and %d dead letters of %d came", len(results), len(dead), n)
		}
	}
}

// result awaits one result and no dead letter.
func (r *rig) result(run string) *schemas.Result {
	r.t.Helper()
	results, dead := r.await(run, 1)
	if len(results) != 1 {
		r.t.Fatalf("a dead letter came: %v", dead[0])
	}
	return results[0]
}

func (r *rig) put(data []byte) *schemas.ImageRef {
	r.t.Helper()
	digest, err := r.blobs.Put(testrig.Context(r.t), data)
	if err != nil {
		r.t.Fatal(err)
	}
	return schemas.BlobRef(digest, "")
}

func (r *rig) get(digest string) []byte {
	r.t.Helper()
	data, err := r.blobs.Get(testrig.Context(r.t), digest)
	if err != nil {
		r.t.Fatal(err)
	}
	return data
}

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// picture is a PNG file: a gradient with some noise, another one for each seed.
func picture(t testing.TB, seed uint64, w, h int) []byte {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 7))
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			p := img.Pix[img.PixOffset(x, y):]
			p[0], p[1], p[2], p[3] = byte(40+x*160/w), byte(40+y*160/h), byte(80+rnd.IntN(80)), 255
		}
	}
	data, err := pixel.EncodePNG(img)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// keyRef names a key of the tiny model's keyring, or a random one.
func keyRef(t testing.TB, id string) *schemas.KeyRef {
	t.Helper()
	pair, err := tiny.Keys.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return &schemas.KeyRef{Id: id, Fingerprint: pair.Fingerprint()}
}

var (
	own    = &schemas.Geometry{Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH}
	square = &schemas.Geometry{Width: 32, Height: 32, Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH}
)

// seal gives a job its id.
func seal(j *schemas.Job) *schemas.Job {
	j.Id = schemas.JobID(j)
	return j
}

// embedJob embeds pairs of pictures with demo-1; sizes are those of the covers, secrets are 40x28.
func (r *rig) embedJob(g *schemas.Geometry, sizes ...image.Point) *schemas.Job {
	r.t.Helper()
	j := &schemas.Job{
		Run: "run", Operation: schemas.Operation_OPERATION_EMBED, Model: tiny.Digest, Key: keyRef(r.t, "demo-1"), Geometry: g,
	}
	for i, size := range sizes {
		j.Items = append(j.Items, &schemas.Item{
			Id:     fmt.Sprintf("item-%d", i),
			Cover:  r.put(picture(r.t, uint64(2*i), size.X, size.Y)),
			Secret: r.put(picture(r.t, uint64(2*i+1), 40, 28)),
		})
	}
	return seal(j)
}

// squares are n sizes of 32x32.
func squares(n int) []image.Point {
	sizes := make([]image.Point, n)
	for i := range sizes {
		sizes[i] = image.Pt(32, 32)
	}
	return sizes
}
