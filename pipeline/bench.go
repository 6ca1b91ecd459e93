package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stegomq/gpuworker"
	"stegomq/internal/keyring"
	"stegomq/internal/load"
	"stegomq/internal/model"
	"stegomq/producer"
	"stegomq/schemas"
)

// The operations of a benchmark. No-op is embedding by an engine that does no arithmetic, so that what is measured is the queue.
const (
	BenchEmbed    = "embed"
	BenchRecover  = "recover"
	BenchEvaluate = "evaluate"
	BenchNoOp     = "no-op"
)

// MaxBenchWorkers bounds the workers of a benchmark in this process.
const MaxBenchWorkers = 64

// BenchRequest says what a benchmark measures.
type BenchRequest struct {
	// Operation is what a request asks for: to embed, to recover, or to evaluate, that is to embed with a key, recover with it and score both.
	Operation string
	// Model is not looked at for no-op.
	Model *model.Model
	// Library has the user's keys, for servers that others work for.
	Library *Library
	// Keys is the number of keys, 1 or more.
	Keys int
	// Size is the side of the images in pixels, Batch the images, or pairs, of one request: 1 to schemas.MaxItems.
	Size, Batch int
	// Data is where images are taken from; without one they are drawn by Seed.
	Data producer.DatasetOptions
	Seed uint64
	// Inline sends images in the message where they fit.
	Inline bool
	// Memo lets what was made before be given again. Without it no image comes a second time.
	Memo bool
	// Workers is how many work in this process where the servers are embedded: each has an engine of its own.
	Workers int
}

// Check finds what is wrong with the request for servers that are embedded, or not. The error is a *FieldError.
func (r *BenchRequest) Check(embedded bool, minSide int) error {
	switch {
	case !slices.Contains([]string{BenchEmbed, BenchRecover, BenchEvaluate, BenchNoOp}, r.Operation):
		return wrong("operation %q: choose %s, %s, %s or %s", r.Operation, BenchEmbed, BenchRecover, BenchEvaluate, BenchNoOp)
	case !embedded && r.Operation == BenchNoOp:
		return wrong("operation %s: workers of a service do not know it; leave out --nats and --redis", r.Operation)
	case !embedded && r.Operation == BenchEvaluate && r.Memo:
		return wrong("memo: what evaluations on given servers find made before they do not tell; leave it out")
	case r.Keys < 1:
		return wrong("keys %d: choose 1 or more", r.Keys)
	case r.Batch < 1 || r.Batch > schemas.MaxItems:
		return wrong("batch %d: choose 1 to %d", r.Batch, schemas.MaxItems)
	case r.Workers < 1 || r.Workers > MaxBenchWorkers:
		return wrong("workers %d: choose 1 to %d", r.Workers, MaxBenchWorkers)
	case !embedded && r.Workers > 1:
		return wrong("workers %d: on given servers the workers are those that are there; leave it out", r.Workers)
	}
	if r.Operation != BenchNoOp {
		minSide = max(minSide, r.Model.Manifest.MinSide)
		for _, op := range r.operations() {
			if !r.Model.Manifest.Does(model.Operation(op.Token())) {
				return wrong("operation %s: the model %s can %s", r.Operation, r.Model.Name, operationsOf(r.Model))
			}
		}
	}
	if r.Size < minSide || r.Size > schemas.MaxSide {
		return wrong("size %d: choose %d to %d", r.Size, minSide, schemas.MaxSide)
	}
	if r.Data.Data != "" {
		return r.Data.Check()
	}
	return nil
}

// operations are those of the jobs of a request, in their order.
func (r *BenchRequest) operations() []schemas.Operation {
	switch r.Operation {
	case BenchRecover:
		return []schemas.Operation{schemas.Operation_OPERATION_RECOVER}
	case BenchEvaluate:
		return []schemas.Operation{schemas.Operation_OPERATION_EMBED, schemas.Operation_OPERATION_RECOVER}
	}
	return []schemas.Operation{schemas.Operation_OPERATION_EMBED}
}

// noModel is the model's digest in jobs of no-op. No manifest has it, so that only workers of a benchmark take such jobs.
var noModel = schemas.Digest([]byte("stegomq bench no-op"))

// Bench is a pipeline that is ready to be measured.
type Bench struct {
	*Services
	req      *BenchRequest
	patience *patience
	bare     bareLoop

	images  *benchImages
	keys    []*schemas.KeyRef
	engines []*Engine // of the workers in this process; none of no-op, nor where others work
	target  load.Target
	serial  atomic.Int64 // of the next request of all that are measured
	moved   atomic.Int64 // what was stored
}

// benchBlobLifetime is how long embedded servers keep the images of a benchmark, none of which comes again: a long benchmark must not fill the disk.
const benchBlobLifetime = 2 * time.Minute

// RunBench connects, starts workers where the servers are embedded, makes what the requests need, and calls use. The request is checked. The data of
// embedded servers is below the state folder for the time, and gone after it.
func RunBench(ctx context.Context, opts Options, req *BenchRequest, use func(ctx context.Context, b *Bench) error) (err error) {
	if opts.Embedded() {
		if err := os.MkdirAll(opts.State, 0o700); err != nil {
			return fmt.Errorf("make the state folder: %w", err)
		}
		if opts.State, err = os.MkdirTemp(opts.State, "bench-"); err != nil {
			return fmt.Errorf("make a folder for the servers' data: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(opts.State)) }()
		if !req.Memo {
			opts.BlobLifetime = cmp.Or(opts.BlobLifetime, benchBlobLifetime)
		}
	}
	b := &Bench{Services: New(opts), req: req}
	b.patience = newPatience(b.opts.Patience)
	defer func() { err = errors.Join(err, b.bare.close(), b.closeEngines()) }()
	defer func() { err = errors.Join(err, b.Close()) }()
	if most := max(1, cmp.Or(b.opts.BatchPixels, gpuworker.DefaultBatchPixels)/(req.Size*req.Size)); b.Embedded() && req.Batch > most {
		b.log.Warn("the images of a request do not fit into one run of the network: --batch-pixels raises the bound", "images", req.Batch, "in_a_run", most)
	}
	if err := b.prepareKeys(); err != nil {
		return err
	}
	if b.images, err = b.readImages(ctx); err != nil {
		return err
	}
	if err := b.OpenCache(ctx); err != nil {
		return err
	}
	if err := b.OpenBus(ctx); err != nil {
		return err
	}
	switch req.Operation {
	case BenchEvaluate:
		return b.serveEvaluations(ctx, use)
	case BenchRecover:
		if err := b.embedStegos(ctx); err != nil {
			return err
		}
	}
	return b.serveCalls(ctx, b.req.operations()[0], func(ctx context.Context, stream *producer.Stream) error {
		b.target = func(ctx context.Context, r load.Request) (load.Answer, error) { return b.call(ctx, stream, r) }
		return b.primed(ctx, use)
	})
}

// primed makes one request before anything is measured, so that the workers have opened the network.
func (b *Bench) primed(ctx context.Context, use func(ctx context.Context, b *Bench) error) error {
	if _, err := b.target(ctx, load.Request{Intended: time.Now()}); err != nil {
		return err
	}
	return use(ctx, b)
}

func (b *Bench) closeEngines() error {
	var failed []error
	for _, e := range b.engines {
		failed = append(failed, e.Close())
	}
	return errors.Join(failed...)
}

// prepareKeys finds the keys, or makes them, and the engines of this process with them.
func (b *Bench) prepareKeys() error {
	switch {
	case b.req.Operation == BenchNoOp:
		for i := range b.req.Keys {
			b.keys = append(b.keys, &schemas.KeyRef{Id: fmt.Sprintf("bench-%d", i), Fingerprint: fmt.Sprintf("%032x", i)})
		}
		return nil
	case !b.Embedded():
		return b.serviceKeys()
	}
	ring := keyring.New()
	pairs, err := DemoKeys(b.req.Model)
	if err != nil {
		return err
	}
	if len(pairs) < b.req.Keys && HasVariants(b.req.Model) {
		return wrong("keys %d: model %s has a network for each of its %d keys and none for others", b.req.Keys, b.req.Model.Name, len(pairs))
	}
	m := b.req.Model
	if len(pairs) < b.req.Keys {
		// What the images look like is not measured: a network takes as long with a key that it was not trained with.
		untrained := *m
		untrained.Manifest.Trained = false
		m = &untrained
	}
	for i := len(pairs); i < b.req.Keys; i++ {
		p, err := keyring.Generate(fmt.Sprintf("bench-%d", i), time.Now())
		if err != nil {
			return err
		}
		pairs = append(pairs, p)
	}
	for _, p := range pairs[:b.req.Keys] {
		if err := ring.Add(p); err != nil {
			return err
		}
		b.keys = append(b.keys, keyRef(p))
	}
	for range b.req.Workers {
		e, err := NewEngine(b.opts.Runtime, []*model.Model{m}, ring, b.log)
		if err != nil {
			return err
		}
		b.engines = append(b.engines, e)
	}
	return nil
}

// serviceKeys are those of the user that workers elsewhere have too.
func (b *Bench) serviceKeys() error {
	watched, err := b.req.Library.WatchKeys(b.req.Model)
	if err != nil {
		return err
	}
	ring, err := watched.Now()
	if err != nil {
		return err
	}
	for _, p := range ring.List() {
		usable := true
		for _, op := range []schemas.Operation{schemas.Operation_OPERATION_EMBED, schemas.Operation_OPERATION_RECOVER} {
			_, err := UsableKey(op, b.req.Model, ring, p.ID)
			usable = usable && err == nil
		}
		if usable && len(b.keys) < b.req.Keys {
			b.keys = append(b.keys, keyRef(p))
		}
	}
	if len(b.keys) < b.req.Keys {
		return wrong("keys %d: there are %d here that embed and recover with model %s: give a --keyring with more, that the workers have too", b.req.Keys, len(b.keys), b.req.Model.Name)
	}
	return nil
}

// digest names the model in jobs.
func (b *Bench) digest() string {
	if b.req.Operation == BenchNoOp {
		return noModel
	}
	return b.req.Model.Digest
}

// startWorkers starts the workers of this process for one run, where the servers are embedded, and otherwise watches the message queue.
func (b *Bench) startWorkers(r *Roles, run string) error {
	l := lane{run, b.digest()}
	switch {
	case !b.Embedded():
		r.Go(func(ctx context.Context) error { return b.watchBus(ctx, b.patience) })
		return nil
	case b.req.Operation == BenchNoOp:
		for range b.req.Workers {
			if err := b.work(r, noOp{}, func(model string) bool { return model == noModel }, b.Cache, nil, l); err != nil {
				return err
			}
		}
		return nil
	}
	for _, e := range b.engines {
		if err := b.work(r, e, e.Serves, b.workerMemo(), nil, l); err != nil {
			return err
		}
	}
	return nil
}

// workerMemo is Redis, or for evaluations without a memo, whose images come again and again, one that finds nothing there.
func (b *Bench) workerMemo() gpuworker.Memo {
	if b.req.Operation == BenchEvaluate && !b.req.Memo {
		return &freshMemo{Cache: b.Cache}
	}
	return b.Cache
}

// serveCalls starts a stream of an operation, the way of `embed --stream`, with workers where they are in this process.
func (b *Bench) serveCalls(ctx context.Context, op schemas.Operation, use func(ctx context.Context, stream *producer.Stream) error) (err error) {
	run := "bench-" + randomToken() + randomToken()
	r := StartRoles(ctx)
	defer r.end(&err)
	if err := b.startWorkers(r, run); err != nil {
		return err
	}
	cfg := producer.StreamConfig{
		Operation: op, Model: b.digest(), Geometry: b.geometry(), Run: run, Limits: b.opts.Limits, Logger: b.log,
	}
	stream := producer.NewStream(cfg, producer.StreamParts{Publisher: b.Bus, Blobs: b.patientStore(), Results: b.Bus})
	return stream.Serve(b.opts.Traces.With(r.ctx), func(ctx context.Context) error { return use(ctx, stream) })
}

func (b *Bench) patientStore() patientBlobs { return patientBlobs{b.Blobs, b.patience, &b.moved} }

func (b *Bench) geometry() *schemas.Geometry {
	return Square(b.req.Size, schemas.ResizePolicy_RESIZE_POLICY_SQUASH)
}

// call makes one request on a stream.
func (b *Bench) call(ctx context.Context, stream *producer.Stream, r load.Request) (load.Answer, error) {
	begun := time.Now()
	c := producer.Call{Key: b.keys[r.Key], Blobs: !b.req.Inline}
	answer, first := load.Answer{}, b.nextItem()
	for i := range b.req.Batch {
		images := b.images.item(b.req.Operation == BenchRecover, r.Key, first+i, b.req.Memo)
		for _, data := range images {
			answer.In += int64(len(data))
		}
		c.Images = append(c.Images, images)
	}
	made, err := stream.Call(ctx, c)
	if err != nil {
		return answer, err
	}
	for _, data := range made.Outputs {
		answer.Out += int64(len(data))
	}
	count(&answer, made.Result.GetOutcomes())
	answer.Took = partsOf(made.Result)
	answer.Took[load.Collect] = made.Collect
	answer.Took[load.Send] = time.Since(begun) - made.Wait - made.Collect
	// What an open loop waited before the call is waiting too. A worker may be done before the queue has confirmed the job.
	answer.Took[load.Queue] = max(0, begun.Sub(r.Intended)) + max(0, made.Wait-time.Duration(made.Result.GetDurations().GetTotal()))
	return answer, nil
}

// nextItem is the number of the first item of a request. No two requests have one, whatever load they are of.
func (b *Bench) nextItem() int { return int(b.serial.Add(1)-1) * b.req.Batch }

// count counts outcomes.
func count(a *load.Answer, outcomes []*schemas.Outcome) {
	for _, o := range outcomes {
		switch {
		case o.End() == schemas.EndFailed:
			fail(a, o.GetFailure().GetReason(), 1)
		case o.End() == schemas.EndRefused:
			fail(a, string(schemas.EndRefused), 1)
		case o.GetCached():
			a.Hits++
		default:
			a.Items++
		}
	}
}

func fail(a *load.Answer, reason string, n int) {
	if a.Failed == nil {
		a.Failed = make(map[string]int)
	}
	a.Failed[reason] += n
}

// partsOf are what the worker says of a result; none where it does not.
func partsOf(results ...*schemas.Result) map[load.Part]time.Duration {
	took := make(map[load.Part]time.Duration)
	for _, r := range results {
		d := r.GetDurations()
		if d == nil {
			continue
		}
		for part, ns := range map[load.Part]int64{
			load.Fetch: d.GetFetch(), load.Wait: d.GetWait(), load.Patch: d.GetPatch(), load.Infer: d.GetInfer(), load.Store: d.GetStore(),
		} {
			took[part] += time.Duration(ns)
		}
	}
	return took
}

// embedStegos makes the stego images that are recovered: of each pair one, and one at least with each key. Where a key is weights of a network, one key
// makes them all: with another one the network takes as long.
func (b *Bench) embedStegos(ctx context.Context) error {
	keys := b.req.Keys
	if b.req.Model.Manifest.Keying == model.KeyingWeights {
		keys = 1
	}
	n := max(keys, len(b.images.pairs))
	b.images.stegos = make([][][]byte, keys)
	b.log.Info("embed what will be recovered", "images", n)
	return b.serveCalls(ctx, schemas.Operation_OPERATION_EMBED, func(ctx context.Context, stream *producer.Stream) error {
		var mu sync.Mutex
		offer := load.Offer{InFlight: 2 * runtime.NumCPU(), Keys: 1, Choice: load.One, Requests: n}
		_, err := offer.Run(ctx, func(ctx context.Context, r load.Request) (load.Answer, error) {
			key := r.Number % keys
			made, err := stream.Call(ctx, producer.Call{Key: b.keys[key], Images: [][][]byte{b.images.item(false, 0, r.Number, true)}})
			if err != nil {
				return load.Answer{}, err
			}
			if o := made.Result.GetOutcomes()[0]; o.End() != schemas.EndDone {
				return load.Answer{}, fmt.Errorf("embed what is to be recovered: %s: %s", o.GetFailure().GetReason(), o.GetFailure().GetDetail())
			}
			mu.Lock()
			defer mu.Unlock()
			b.images.stegos[key] = append(b.images.stegos[key], made.Outputs[0])
			return load.Answer{Items: 1}, nil
		}, func() load.Usage { return load.Usage{} }, nil)
		return err
	})
}

// Subject says what is measured.
func (b *Bench) Subject() load.Subject {
	s := load.Subject{
		Operation: b.req.Operation, Size: b.req.Size, Batch: b.req.Batch, Images: b.images.origin, Inline: b.req.Inline, Memo: b.req.Memo,
		Servers: "given", Cores: runtime.NumCPU(),
	}
	if b.req.Operation != BenchNoOp {
		s.Model, s.Digest = b.req.Model.Name, b.req.Model.Digest
	}
	if b.Embedded() {
		s.Servers, s.Workers, s.Slots = "embedded", b.req.Workers, b.opts.Slots
		if s.Slots <= 0 {
			s.Slots = runtime.NumCPU()
		}
	}
	if len(b.engines) > 0 {
		s.Runtime = b.engines[0].runtimeName()
	}
	return s
}

// Measure puts a load on the pipeline. Watch may be nil.
func (b *Bench) Measure(ctx context.Context, program string, offer load.Offer, watch func(load.Progress)) (*load.Report, error) {
	offer.Keys = b.req.Keys
	if err := CheckOffer(offer); err != nil {
		return nil, err
	}
	m, err := offer.Run(ctx, b.target, b.usage, watch)
	if err != nil {
		return nil, err
	}
	return load.NewReport(program, b.Subject(), offer, m), nil
}

// asField makes an error about a field, of package load, one of this package.
func asField(err error) error {
	if err == nil {
		return nil
	}
	return wrong("%v", err)
}

// CheckOffer finds what is wrong with a load. The error is a *FieldError.
func CheckOffer(o load.Offer) error { return asField(o.Check()) }

// CheckSweep finds what is wrong with a sweep. The error is a *FieldError.
func CheckSweep(p load.SweepPlan) error { return asField(p.Check()) }

// usage is what this process and, where it tells, Redis used so far.
func (b *Bench) usage() load.Usage {
	u := load.Usage{Processes: []load.Process{load.Self("stegomq bench")}}
	for _, e := range b.engines {
		st := e.weightsStats()
		u.WeightHits += uint64(st.Hits)
		u.WeightMisses += uint64(st.Misses)
	}
	if b.opts.Redis != "" {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if used, err := b.Cache.Used(ctx); err == nil && used.RSS > 0 {
			u.Processes = append(u.Processes, load.Process{Name: "redis", CPU: used.CPU, RSS: used.RSS})
		} else {
			b.log.Debug("Redis does not tell what it used", "error", err)
		}
	}
	return u
}
