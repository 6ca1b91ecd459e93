package evaluator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"stegomq/schemas"
)

// Runs gives the specification of a run; nil stands for a run that is not there.
type Runs interface {
	Spec(ctx context.Context, run string) (*schemas.RunSpec, error)
}

// maxRuns bounds the runs whose specifications are kept: they may have megabytes.
const maxRuns = 16

// staleAfter is how old a specification may be when something is refused by it. An older one is read again: where Redis lost a run, it may
// have been started again with another specification.
const staleAfter = time.Second

// expectations are what the runs expect that results came of lately.
type expectations struct {
	runs Runs

	mu    sync.Mutex
	known map[string]expectation
	told  map[string]bool // the runs of which a refusal was logged
}

type expectation struct {
	*schemas.Expected
	read time.Time
}

// check says whether a run expects something. The error wraps schemas.ErrUnexpected, also where there is no such run; any other
// may pass.
func (x *expectations) check(ctx context.Context, run string, ok func(*schemas.Expected) error) error {
	x.mu.Lock()
	known, found := x.known[run]
	x.mu.Unlock()
	if found {
		if err := ok(known.Expected); err == nil || time.Since(known.read) < staleAfter {
			return err
		}
	}
	read := time.Now()
	spec, err := x.runs.Spec(ctx, run)
	if err != nil {
		return fmt.Errorf("read what run %s expects: %w", run, err)
	}
	if spec == nil {
		return fmt.Errorf("%w: there is no run %q", schemas.ErrUnexpected, run)
	}
	known = expectation{schemas.NewExpected(spec), read}
	x.keep(run, known)
	return ok(known.Expected)
}

// keep notes what a run expects. It takes the place of the specification that was read first.
func (x *expectations) keep(run string, e expectation) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.known[run] = e
	if len(x.known) <= maxRuns {
		return
	}
	oldest := run
	for other, e := range x.known {
		if e.read.Before(x.known[oldest].read) {
			oldest = other
		}
	}
	delete(x.known, oldest)
}

// first says whether nothing was refused of a run so far, as far as is known.
func (x *expectations) first(run string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.told[run] {
		return false
	}
	if len(x.told) >= 100*maxRuns {
		clear(x.told)
	}
	x.told[run] = true
	return true
}

// expected says whether the run of a job expects the job and its scores, and with which version of the metrics it is measured. What the run
// does not expect is counted and dropped: the run ends with its own comparisons, whatever else comes.
func (e *Evaluator) expected(ctx context.Context, job *schemas.Job, scores []*schemas.Score) (ok bool, metrics string, err error) {
	err = e.expectations.check(ctx, job.GetRun(), func(x *schemas.Expected) error {
		metrics = x.MetricsVersion()
		if err := x.Job(job); err != nil {
			return err
		}
		for _, s := range scores {
			if err := x.Score(s); err != nil {
				return err
			}
		}
		return nil
	})
	if !errors.Is(err, schemas.ErrUnexpected) {
		return err == nil, metrics, err
	}
	e.cfg.Observer.Unexpected()
	if e.expectations.first(job.GetRun()) {
		e.cfg.Logger.Warn("refused what the run does not expect; more of it is counted and not logged", "run", job.GetRun(), "job", job.GetId(), "error", err)
	}
	return false, "", nil
}

// claims are the scores that each outcome of a result gives, and where it failed those that will never come.
func claims(r *schemas.Result) [][]*schemas.Score {
	all := make([][]*schemas.Score, len(r.GetOutcomes()))
	for i, o := range r.GetOutcomes() {
		item := r.GetJob().GetItems()[i]
		if o.End() == schemas.EndFailed {
			all[i] = schemas.Lost(r.GetJob(), item, o.GetFailure())
		} else {
			all[i] = schemas.Comparisons(r.GetJob(), item, o)
		}
	}
	return all
}
