package service

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"stegomq/internal/users"
	"stegomq/pipeline"
	"stegomq/producer"
	"stegomq/schemas"
)

// runner makes the runs that were asked for over HTTP, also those that another process left behind. Runs are kept in Redis, and a lease there says
// which process makes a run.
type runner struct {
	s      *Service
	holder string
	wake   chan struct{}
	asking sync.Mutex // this process takes one run at a time, so that the bounds of a user's runs hold

	mu     sync.Mutex
	making map[string]*making
	work   sync.WaitGroup
}

// making is a run that this process makes.
type making struct {
	owner string
	stop  context.CancelCauseFunc
	ended chan struct{}

	progress pipeline.Progress
	told     time.Time
}

// Why a run stops before its end.
var (
	errCancelled = errors.New("cancelled by its owner")
	errLostLease = errors.New("another service has the run")
)

const (
	sweepEvery = 10 * time.Second
	leaseFor   = 30 * time.Second
	renewEvery = 10 * time.Second
	// tellEvery is the shortest time between two events of progress.
	tellEvery = 250 * time.Millisecond
)

func newRunner(s *Service) *runner {
	return &runner{s: s, holder: randomID(), wake: make(chan struct{}, 1), making: make(map[string]*making)}
}

// rouse has the runner look for runs that can begin.
func (r *runner) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run makes runs until ctx ends. A run that has not ended by then stays in the queue, and the next service goes on with it.
func (r *runner) run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := r.sweep(ctx); err != nil && ctx.Err() == nil {
			r.s.log.Warn("the runs that wait cannot be read now", "error", err)
		}
		select {
		case <-ctx.Done():
			r.work.Wait()
			return
		case <-r.wake:
		case <-tick.C:
		}
	}
}

// sweep begins the runs that can begin, the oldest first. Of each user one run is made at a time.
func (r *runner) sweep(ctx context.Context) error {
	records, err := r.s.records(ctx)
	if err != nil {
		return err
	}
	for _, one := range slices.Backward(records) {
		// A run on a data set that only another service has waits for that service.
		if _, known := r.s.cfg.Datasets[one.Request.Dataset]; !one.Unfinished() || !known || !r.free(one) {
			continue
		}
		mine, err := r.s.Records.LeaseAsked(ctx, one.ID, r.holder, leaseFor)
		if err != nil {
			return err
		}
		if mine {
			r.begin(ctx, one.ID, one.owner())
		}
	}
	return ctx.Err()
}

func (r *runner) free(one *run) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.making) >= r.s.cfg.Runs {
		return false
	}
	for id, m := range r.making {
		if id == one.ID || m.owner == one.owner() {
			return false
		}
	}
	return true
}

func (r *runner) begin(ctx context.Context, id, owner string) {
	ctx, stop := context.WithCancelCause(ctx)
	m := &making{owner: owner, stop: stop, ended: make(chan struct{})}
	r.mu.Lock()
	r.making[id] = m
	r.mu.Unlock()
	r.work.Go(func() {
		defer r.rouse()
		defer close(m.ended)
		defer func() {
			r.mu.Lock()
			delete(r.making, id)
			r.mu.Unlock()
			stop(nil)
		}()
		log := r.s.log.With("run", id)
		renewed := make(chan struct{})
		go func() { defer close(renewed); r.renew(ctx, id, m) }()
		r.make(ctx, id, m, log)
		stop(nil)
		<-renewed
		free, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
		defer cancel()
		if err := r.s.Records.ReleaseAsked(free, id, r.holder); err != nil {
			log.Warn("the lease of a run is not given back", "error", err)
		}
	})
}

// renew keeps the lease of a run until ctx ends, and stops the run where it is no longer wanted.
func (r *runner) renew(ctx context.Context, id string, m *making) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.wanted(ctx, id, m)
		// While Redis does not answer, no other process gets the lease either.
		if mine, err := r.s.Records.LeaseAsked(ctx, id, r.holder, leaseFor); err == nil && !mine {
			m.stop(errLostLease)
		}
	}
}

// wanted stops a run that was cancelled or deleted, which another service may have done, and says whether the run goes on.
func (r *runner) wanted(ctx context.Context, id string, m *making) bool {
	stored, err := r.s.record(ctx, id)
	gone := err == nil && (stored == nil || stored.State == runCancelled)
	if gone {
		m.stop(errCancelled)
	}
	return !gone
}

// make makes one run.
func (r *runner) make(ctx context.Context, id string, m *making, log *slog.Logger) {
	// The run may have ended between the sweep and the lease.
	one, err := r.s.record(ctx, id)
	if err != nil || one == nil || !one.Unfinished() {
		return
	}
	why := r.evaluate(ctx, one, m, log)
	if cause := context.Cause(ctx); ctx.Err() != nil && !errors.Is(cause, errCancelled) {
		log.Info("a run stays for the next service", "cause", cause)
		return
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.s.cfg.Timeout)
	defer cancel()
	stored, err := r.s.record(last, id)
	if err != nil {
		return
	}
	if stored == nil { // another service has deleted it
		if err := r.s.Pipeline.RemoveRun(last, id); err != nil && !pipeline.UnknownRun(err) {
			log.Warn("what was made of a run since it was deleted stays", "error", err)
		}
		return
	}
	if stored.State == runCancelled || errors.Is(why, pipeline.ErrCancelled) || errors.Is(why, errCancelled) || ctx.Err() != nil {
		one.State, why = runCancelled, nil
		// Jobs may have been published since the run was cancelled.
		if err := r.s.Pipeline.CancelRun(last, id); err != nil && !pipeline.UnknownRun(err) {
			log.Warn("the waiting jobs of a run stay in the queue", "error", err)
		}
	} else {
		one.State = runDone
	}
	if why != nil {
		one.State, one.Problem = runFailed, ofRun(why)
		log.Warn("a run failed", "code", one.Problem.Code, "error", why)
	}
	one.Finished = time.Now().UTC().Truncate(time.Millisecond)
	if one.Scores, one.Failed, err = r.s.Pipeline.RunProgress(last, id); err != nil {
		log.Warn("the scores of a run are not counted", "error", err)
	}
	if _, err := r.s.replace(last, one); err != nil {
		log.Error("the end of a run is not kept", "error", err)
	}
}

// evaluate makes the scores of a run, if its owner may still have them made.
func (r *runner) evaluate(ctx context.Context, one *run, m *making, log *slog.Logger) error {
	owner, there, err := r.s.Users.Find(one.Owner, one.Hash)
	switch {
	case err != nil:
		return err
	case !there || !owner.Has(users.Evaluate):
		return newProblem(codeMissingScope, "its owner may not evaluate any more")
	}
	req, why := r.s.evaluation(&call{user: owner, log: log}, &one.Request)
	if why != nil {
		return why
	}
	req.Run = one.ID
	one.State = runRunning
	if there, err := r.s.replace(ctx, one); err != nil || !there {
		return errors.Join(err, errCancelled)
	}
	_, err = r.s.Pipeline.Evaluate(r.s.Traces.After(ctx, one.Trace), req, pipeline.Watch{
		Planned: func(made *pipeline.Run) {
			one.Pairs, one.Total = len(made.Spec.GetPairs()), made.Plan.Total
			if !r.wanted(ctx, one.ID, m) { // what is kept now says why it was stopped, and stays
				return
			}
			if _, err := r.s.replace(ctx, one); err != nil {
				log.Warn("the plan of a run is not kept", "error", err)
			}
		},
		Progress: func(p pipeline.Progress) { r.note(ctx, one, m, p) },
	})
	return err
}

// note records the progress of a run, and publishes an event at most every tellEvery.
func (r *runner) note(ctx context.Context, one *run, m *making, p pipeline.Progress) {
	r.mu.Lock()
	tell := m.progress != p && time.Since(m.told) >= tellEvery && ctx.Err() == nil
	m.progress = p
	if tell {
		m.told = time.Now()
	}
	r.mu.Unlock()
	if tell {
		r.s.tell(ctx, one)
	}
}

// progress returns the progress of a run; here says whether this process makes it.
func (r *runner) progress(id string) (p pipeline.Progress, here bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m, ok := r.making[id]; ok {
		return m.progress, true
	}
	return p, false
}

// cancel stops a run that this process makes, and waits until it has stopped, or ctx ends.
func (r *runner) cancel(ctx context.Context, id string) {
	r.mu.Lock()
	m, ok := r.making[id]
	r.mu.Unlock()
	if !ok {
		return
	}
	m.stop(errCancelled)
	select {
	case <-m.ended:
	case <-ctx.Done():
	}
}

// ofRun is the problem of a run that could not be made. It does not repeat the text of the error, which may name folders and servers.
func ofRun(err error) *problem {
	var already *problem
	switch {
	case errors.As(err, &already):
		return already
	case pipeline.OtherRun(err):
		return newProblem(codeConflict, "the data set, the keys or the model have changed since the run began: delete it and ask for a new one")
	case errors.Is(err, producer.ErrDataset):
		return newProblem(codeUnavailable, "the data set has no pair of images that can be used: the operator finds the reason in the log")
	case errors.Is(err, pipeline.ErrLost), errors.Is(err, schemas.ErrAway):
		return newProblem(codeUnavailable, "a server of the pipeline was away for too long, or loses its data: ask for the run again")
	case pipeline.NoRoom(err):
		return newProblem(codeStorageFull, "the message queue has no room for the images: ask for the run again later")
	}
	return newProblem(codeInternal, "the operator finds the reason in the log, by the run's id")
}
