package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"stegomq/internal/cache"
	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/internal/tracing"
	"stegomq/producer"
	"stegomq/schemas"
)

var (
	// ErrLost: what a run publishes is lost again and again, so that it never ends.
	ErrLost = errors.New("what is published is lost: does Redis evict keys (maxmemory-policy), or does somebody purge the queue?")
	// ErrCancelled: the run was cancelled by somebody else.
	ErrCancelled = errors.New("the run was cancelled")
)

// Run is a run that was planned, and its scores once it has ended.
type Run struct {
	Request *Request
	Spec    *schemas.RunSpec
	Dataset *producer.Dataset
	// Plan is that of the first attempt: what was found in the cache, and what was missing.
	Plan *producer.Plan
	// Scores and Failures are the comparisons that were made, or refused, and those that could not be.
	Scores, Failures []*schemas.Score
	// Runtime is what computed in this process; nil where nothing did.
	Runtime *ort.Info
	// Elapsed is the time from the request to the last score.
	Elapsed time.Duration
}

// Progress is how far a run is.
type Progress struct {
	// Total counts the comparisons that the run expects, Found those that the cache gave at the start; Scores those that are made or
	// refused, and Failures those that cannot be made.
	Total, Found, Scores, Failures int
	// Waiting says in one phrase what the run waits for, where it is not just work; empty otherwise.
	Waiting string
}

// Watch is told of a run. Its functions may be nil; they are called by one goroutine.
type Watch struct {
	Planned  func(*Run)
	Progress func(Progress)
}

// evaluation is a run that is being made.
type evaluation struct {
	*Services
	run    *Run
	watch  Watch
	engine *Engine // of the worker in this process; nil where others work

	patience *patience
	cache    patientCache
	plan     *producer.Plan // of this attempt
	moved    atomic.Int64   // grows with all that is uploaded and published
	// publishing: the producer has a job in hand. It has not ended, and does not wait for scores.
	publishing atomic.Bool
}

func (s *Services) newEvaluation(req *Request, watch Watch) *evaluation {
	p := newPatience(s.opts.Patience)
	return &evaluation{Services: s, run: &Run{Request: req}, watch: watch, patience: p, cache: patientCache{s.Cache, p}}
}

// Evaluate makes what a run still needs and returns it with its scores. The request is checked, and Redis is connected. Several runs may
// be made on the same services, one after another, and by a front (Serve) at once. Where the message queue is embedded, the roles run in this
// process: they begin with the run, or are those that Serve has begun.
//
// An interrupted run takes its waiting jobs out of the queue, unless the request says Detach; asked for again, it goes on where it was.
func (s *Services) Evaluate(ctx context.Context, req *Request, watch Watch) (_ *Run, err error) {
	start := time.Now()
	e := s.newEvaluation(req, watch)
	ctx, span := e.trace(ctx, "evaluate")
	defer func() { span.End(err) }()
	// What computes is part of what is asked for; and a missing library shows before anything is written.
	if e.engine, err = e.localEngine(req); err != nil {
		return nil, err
	}
	if e.engine != nil {
		defer func() { err = errors.Join(err, e.engine.Close()) }()
	}
	if err := e.prepare(ctx, req.Images || !s.opts.Embedded()); err != nil {
		return nil, err
	}
	for idle := 0; ; {
		err := e.attempt(ctx)
		if err == nil {
			e.run.Elapsed = time.Since(start)
			return e.run, nil
		}
		var lost *lostError
		if !errors.As(err, &lost) {
			return nil, err
		}
		if idle++; lost.made > 0 {
			idle = 0
		}
		if idle == idleAttempts {
			return nil, fmt.Errorf("run %s: %w", e.run.Spec.GetId(), ErrLost)
		}
		s.log.Warn("part of the run is in no queue and in no worker's hands: it is planned and published again",
			"run", e.run.Spec.GetId(), "cause", lost.cause, "missing", lost.missing)
		if err := e.begin(ctx); err != nil {
			return nil, err
		}
	}
}

// idleAttempts is how many attempts in a row may be lost in which nothing was made.
const idleAttempts = 5

// Publish publishes what a run needs and returns when the last job is stored; others make the scores.
func (s *Services) Publish(ctx context.Context, req *Request, watch Watch) (_ *Run, err error) {
	e := s.newEvaluation(req, watch)
	ctx, span := e.trace(ctx, "produce")
	defer func() { span.End(err) }()
	if err := e.prepare(ctx, true); err != nil {
		return nil, err
	}
	r := StartRoles(ctx)
	defer func() { err = errors.Join(err, r.Stop()) }()
	r.Go(func(ctx context.Context) error { return s.watchBus(ctx, e.patience) })
	return e.run, e.publish(r.ctx)
}

// trace begins the trace of a run.
func (e *evaluation) trace(ctx context.Context, name string) (context.Context, tracing.Span) {
	ctx, span := tracing.Start(e.opts.Traces.With(ctx), name)
	span.Text("stegomq.model", e.run.Request.Model.Digest)
	span.Text("stegomq.model_name", e.run.Request.Model.Name)
	return ctx, span
}

// prepare reads the data set, begins the run and plans what it needs.
func (e *evaluation) prepare(ctx context.Context, needBus bool) (err error) {
	// A server that is not there shows before the run is written down. The embedded one is only started when it is needed.
	if needBus {
		if err := e.OpenBus(ctx); err != nil {
			return err
		}
	}
	if e.run.Dataset, err = e.dataset(ctx, e.run.Request.Dataset, e.cache); err != nil {
		return err
	}
	e.run.Spec = e.run.Request.spec(e.run.Dataset, e.engine.runtimeName())
	if err := e.run.Spec.Validate(); err != nil {
		return err
	}
	if err := e.begin(ctx); err != nil {
		return err
	}
	e.run.Plan = e.plan
	tracing.Of(ctx).Text("stegomq.run", e.run.Spec.GetId())
	if e.watch.Planned != nil {
		e.watch.Planned(e.run)
	}
	return nil
}

// begin begins an attempt: it writes the specification down, where it is not, and plans what the run still needs.
func (e *evaluation) begin(ctx context.Context) error {
	if err := e.cache.StartRun(ctx, e.run.Spec); err != nil {
		return err
	}
	var stored producer.Stored
	if e.run.Request.Images {
		stored = e.blobs().Has
	}
	runtime := e.engine.runtimeName()
	if e.engine == nil && e.run.Request.Model.Manifest.Network() {
		var err error
		if runtime, err = e.cache.Runtime(ctx); err != nil {
			return err
		}
	}
	plan, err := producer.MakePlan(ctx, e.run.Spec, newAttempt(), runtime, e.cache, stored)
	if err != nil {
		return err
	}
	e.plan = plan
	return e.cache.PutScores(ctx, e.run.Spec.GetId(), plan.Found)
}

func (e *evaluation) blobs() patientBlobs { return patientBlobs{e.Blobs, e.patience, &e.moved} }

// publish publishes the jobs of the plan.
func (e *evaluation) publish(ctx context.Context) error {
	defer e.publishing.Store(false)
	p := producer.New(producer.Config{Batch: e.run.Request.Batch, Logger: e.log},
		producer.Parts{Publisher: publisher{e.Bus, &e.moved}, Blobs: e.blobs(), Progress: &room{evaluation: e, asked: -1}})
	return p.Run(ctx, e.plan, e.run.Dataset.Files)
}

// room tells the producer how many comparisons have ended.
type room struct {
	*evaluation
	asked int64 // what had moved when the producer last asked
}

// Progress is asked for before each job, and again and again while there is no room for it.
func (r *room) Progress(ctx context.Context, run string) (scores, failures int64, err error) {
	moved := r.moved.Load()
	r.publishing.Store(moved != r.asked)
	r.asked = moved
	return r.cache.Progress(ctx, run)
}

// attempt makes what the plan lacks and ends the run. A *lostError says that it needs another one.
func (e *evaluation) attempt(ctx context.Context) error {
	id := e.run.Spec.GetId()
	if e.plan.Missing > 0 {
		if err := e.work(ctx); err != nil {
			return err
		}
	}
	scores, failures, err := e.cache.Scores(ctx, id)
	if err != nil {
		return err
	}
	if n := len(scores) + len(failures); n < e.plan.Total {
		return &lostError{cause: causeScores, made: n - len(e.plan.Found), missing: e.plan.Total - n}
	}
	if err := e.cache.FinishRun(ctx, id); errors.Is(err, cache.ErrUnknownRun) {
		return &lostError{cause: causeSpec, made: e.plan.Missing}
	} else if err != nil {
		return err
	}
	e.run.Scores, e.run.Failures = scores, failures
	return nil
}

// work publishes what the plan needs and waits for the scores. On an embedded message queue the roles run in this process.
func (e *evaluation) work(ctx context.Context) (err error) {
	if e.engine != nil {
		e.run.Runtime = e.engine.Info()
	}
	if err := e.OpenBus(ctx); err != nil {
		return err
	}
	defer func() {
		if ctx.Err() != nil && !e.run.Request.Detach || errors.Is(err, ErrCancelled) {
			e.drop(ctx)
		}
	}()
	r := StartRoles(ctx)
	defer func() { err = errors.Join(err, r.Stop()) }()
	if e.engine != nil {
		if err := e.startWorker(r, e.engine, nil, lane{e.run.Spec.GetId(), e.run.Spec.GetModel()}); err != nil {
			return err
		}
		e.startEvaluator(r, nil)
	} else {
		r.Go(func(ctx context.Context) error { return e.watchBus(ctx, e.patience) })
	}
	e.publishing.Store(true)
	r.Go(e.publish)
	return e.await(r.ctx, ctx)
}

// localEngine is the engine of the worker that begins with the run; nil where others work.
func (e *evaluation) localEngine(req *Request) (*Engine, error) {
	if !e.opts.Embedded() || e.working {
		return nil, nil
	}
	ring, err := req.ring()
	if err != nil {
		return nil, err
	}
	return NewEngine(e.opts.Runtime, []*model.Model{req.Model}, ring, e.log)
}

// dropTimeout bounds how long a command that ends early stays to take its jobs back.
const dropTimeout = 5 * time.Second

// drop takes the waiting jobs of a run that was interrupted or cancelled out of the queue, once nothing more is published: who
// cancelled it took those that were there then.
func (e *evaluation) drop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	if err := e.Queue.DropRun(ctx, e.run.Spec.GetId()); err != nil {
		e.log.Warn("the waiting jobs of the run stay in the queue", "run", e.run.Spec.GetId(), "error", err)
	}
}
