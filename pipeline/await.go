package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"stegomq/evaluator"
	"stegomq/internal/cache"
	"stegomq/internal/queueadmin"
	"stegomq/schemas"
)

// pollEvery is how often the progress of a run is asked for, and told.
const pollEvery = 50 * time.Millisecond

// lostError says that a run waits for what is in no queue and in nobody's hands.
type lostError struct {
	cause         string
	made, missing int // comparisons of the attempt
}

func (l *lostError) Error() string { return "part of the run is lost: " + l.cause }

// What may have happened to a run, as far as the servers tell.
const (
	causeSpec   = "Redis lost the run: was it flushed or restarted empty, or does it evict keys?"
	causeScores = "Redis lost scores of the run: was it flushed, or does it evict keys?"
	causeQueue  = "the message queue lost jobs or results of the run: was its store emptied, or were they purged?"
)

// await returns when every comparison of the run has a score or a failure, or a *lostError.
func (e *evaluation) await(roles, ctx context.Context) error {
	t := e.startTeller()
	defer t.stop()
	l := look{evaluation: e, teller: t, at: time.Now(), quiet: time.Now()}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		scores, failures, err := e.cache.Progress(roles, e.run.Spec.GetId())
		if err == nil {
			t.count(int(scores), int(failures))
			if l.done = int(scores + failures); l.done >= e.plan.Total {
				return nil
			}
			l.most = max(l.most, l.done)
			err = l.look(roles)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case roles.Err() != nil:
			return nil // a role failed, whose error is the group's
		case err != nil:
			return err
		}
		select {
		case <-roles.Done():
		case <-tick.C:
		}
	}
}

// teller tells how far a run is, also while nothing else can be done than wait.
type teller struct {
	e    *evaluation
	done chan struct{}
	loop sync.WaitGroup

	mu  sync.Mutex
	now Progress
}

func (e *evaluation) startTeller() *teller {
	t := &teller{e: e, done: make(chan struct{}), now: Progress{Total: e.plan.Total, Found: len(e.run.Plan.Found)}}
	if e.watch.Progress == nil {
		return t
	}
	t.loop.Go(func() {
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		for {
			t.tell()
			select {
			case <-t.done:
				t.tell()
				return
			case <-tick.C:
			}
		}
	})
	return t
}

func (t *teller) stop() {
	close(t.done)
	t.loop.Wait()
}

func (t *teller) count(scores, failures int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Scores, t.now.Failures = scores, failures
}

// explain says why nothing moves; "" when something does.
func (t *teller) explain(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Waiting = why
}

func (t *teller) tell() {
	t.mu.Lock()
	p := t.now
	t.mu.Unlock()
	if away := t.e.patience.waiting(); away != "" {
		p.Waiting = away
	}
	t.e.watch.Progress(p)
}

// look finds out why nothing moves.
type look struct {
	*evaluation
	teller *teller

	done, most int       // comparisons that have a score or a failure, now and at most in this attempt
	seen       int64     // what moved at the last look
	at         time.Time // of the last look
	quiet      time.Time // since when nothing has moved
	empty      int       // looks in a row at which nothing was outstanding
}

// emptyLooks is how many looks in a row must find nothing before a run's work counts as lost. Between two messages of one piece of work there
// may be a moment without any.
const emptyLooks = 2

// look is called again and again, and looks once a pace. It returns a *lostError, or ErrCancelled.
func (l *look) look(ctx context.Context) error {
	if time.Since(l.at) < l.pace {
		return nil
	}
	l.at = time.Now()
	switch cancelled, err := l.Cache.Cancelled(ctx, l.run.Spec.GetId()); {
	case err != nil:
		l.log.Debug("whether the run was cancelled", "error", err) // Progress knows how long that may last
		return nil
	case cancelled:
		return fmt.Errorf("%w: %s", ErrCancelled, l.run.Spec.GetId())
	}
	if seen := l.moved.Load() + int64(l.done); seen != l.seen {
		l.seen, l.quiet, l.empty = seen, l.at, 0
		l.teller.explain("")
		return nil
	}
	publishing := l.publishing.Load()
	waiting, err := l.Queue.Outstanding(ctx, l.run.Spec.GetId())
	switch {
	case err != nil:
		l.empty = 0
		l.log.Debug("what the run waits for", "error", err) // watchBus knows how long that may last
		return nil
	case waiting > 0:
		l.empty = 0
		if time.Since(l.quiet) >= quietAfter {
			l.teller.explain(waitsFor(ctx, l.Queue, waiting, time.Since(l.quiet)))
		}
		return nil
	case publishing: // what is slow to be uploaded, or finds no room in the queue, is not lost
		l.empty = 0
		return nil
	}
	// The last of it may have been scored since it was counted.
	switch scores, failures, err := l.cache.Progress(ctx, l.run.Spec.GetId()); {
	case err != nil:
		return err
	case int(scores+failures) != l.done:
		l.empty = 0
		return nil
	}
	if l.empty++; l.empty < emptyLooks {
		return nil
	}
	return l.lost(ctx)
}

// quietAfter is how long nothing may move before a word is said.
const quietAfter = 30 * time.Second

// waitsFor says in one phrase what so many messages of a run wait for, after nothing has moved for a time.
func waitsFor(ctx context.Context, q *queueadmin.Admin, waiting uint64, quiet time.Duration) string {
	quiet = quiet.Round(time.Second)
	st, err := q.Status(ctx)
	switch {
	case err != nil:
		return ""
	case st.JobsWaiting+st.JobsInFlight > 0 && len(st.Workers) == 0:
		return fmt.Sprintf("%d messages of the run wait and no gpuworker is there: start one", waiting)
	case st.JobsInFlight > 0:
		return fmt.Sprintf("nothing was finished for %v, but work goes on: jobs in hand %d, workers %d", quiet, st.JobsInFlight, len(st.Workers))
	case st.JobsWaiting > 0:
		return fmt.Sprintf("%d messages of the run wait and none of the %d workers takes them: do they have the model and the keys?", waiting, len(st.Workers))
	}
	return fmt.Sprintf("%d results of the run wait and nothing was scored for %v: is there an evaluator?", waiting, quiet)
}

// lost says what became of a run of which nothing is outstanding although it is not complete.
func (l *look) lost(ctx context.Context) error {
	_, err := l.Cache.Run(ctx, l.run.Spec.GetId())
	lost := &lostError{cause: causeQueue, made: l.most - len(l.plan.Found), missing: l.plan.Total - l.done}
	switch {
	case errors.Is(err, cache.ErrUnknownRun):
		lost.cause = causeSpec
		return lost
	case err != nil:
		return err
	case l.most > l.done:
		lost.cause = causeScores
		return lost
	}
	if added, err := l.recordDead(ctx); err != nil || added > 0 {
		l.empty = 0
		return err
	}
	return lost
}

// recordDead records what the dead letters of this attempt cost the run, where no evaluator has, and gives how many comparisons that are.
func (l *look) recordDead(ctx context.Context) (added int, err error) {
	letters, err := DeadLetters(ctx, l.Queue, DeadFilter{Run: l.run.Spec.GetId()})
	if err != nil {
		return 0, err
	}
	expected := schemas.NewExpected(l.run.Spec)
	for _, d := range letters {
		job, lost, err := evaluator.LostTo(d.Letter)
		// A tenant may have a run of the same name.
		if err != nil || job.GetAttempt() != l.plan.Attempt || expected.Job(job) != nil {
			continue
		}
		n, err := l.Cache.PutFailures(ctx, job.GetRun(), job.GetAttempt(), lost)
		if err != nil {
			return added, err
		}
		added += n
	}
	return added, nil
}
