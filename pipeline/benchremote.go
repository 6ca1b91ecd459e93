package pipeline

import (
	"context"
	"errors"
	"sync"
	"time"

	"stegomq/internal/load"
	"stegomq/schemas"
)

// lookEvery is how often the scores of a benchmark on given servers are asked for: its latencies are no finer.
const lookEvery = 5 * time.Millisecond

// remoteEvaluations makes requests that others work on and score. A request is known by its pairs, which no other request has; so there is one run after
// another, each of evaluationItems pairs, and the next is made before it is needed.
type remoteEvaluations struct {
	*Bench
	runs chan *remoteRun

	taking sync.Mutex
	now    *remoteRun

	mu      sync.Mutex
	begun   []string // ids of the runs
	waiting map[*awaited]bool
	moved   time.Time // when a request last ended, or a word was said that none does
}

type remoteRun struct {
	spec  *schemas.RunSpec
	first int // number of its first item
	used  int // items
}

// awaited is a request under way: the keys of its scores, and in the end the scores.
type awaited struct {
	run    string
	keys   []string
	scores []*schemas.Score
	done   chan struct{}
}

// serveRemoteEvaluations has the workers and evaluators that are there make the requests, and removes their runs in the end.
func (b *Bench) serveRemoteEvaluations(ctx context.Context, use func(ctx context.Context, b *Bench) error) (err error) {
	e := &remoteEvaluations{Bench: b, runs: make(chan *remoteRun), waiting: make(map[*awaited]bool), moved: time.Now()}
	r := StartRoles(ctx)
	defer func() {
		if failed := r.Stop(); failed != nil {
			err = failed
		}
		err = errors.Join(err, e.remove(ctx))
	}()
	if err := b.startWorkers(r, ""); err != nil {
		return err
	}
	r.Go(e.makeRuns)
	r.Go(e.look)
	b.target = e.call
	return b.primed(r.ctx, use)
}

// makeRuns begins one run after another, each when the one before is taken.
func (e *remoteEvaluations) makeRuns(ctx context.Context) error {
	for first := 0; ; first += evaluationItems {
		spec := e.newSpec(first, "")
		if err := spec.Validate(); err != nil {
			return err
		}
		if err := (patientCache{e.Cache, e.patience}).StartRun(ctx, spec); err != nil {
			return err
		}
		e.mu.Lock()
		e.begun = append(e.begun, spec.GetId())
		e.mu.Unlock()
		select {
		case e.runs <- &remoteRun{spec: spec, first: first}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// remove deletes what the benchmark left in Redis and in the queue.
func (e *remoteEvaluations) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	var failed []error
	for _, id := range e.begun {
		failed = append(failed, e.RemoveRun(ctx, id))
	}
	return errors.Join(failed...)
}

// take gives the pairs of the next request with their numbers, and the run that they are of. One at a time takes.
func (e *remoteEvaluations) take(ctx context.Context) (run *schemas.RunSpec, pairs []*schemas.Pair, numbers []int, err error) {
	e.taking.Lock()
	defer e.taking.Unlock()
	if e.now == nil || e.now.used+e.req.Batch > evaluationItems {
		select {
		case e.now = <-e.runs:
		case <-ctx.Done():
			return nil, nil, nil, ctx.Err()
		}
	}
	at := e.now.used
	e.now.used += e.req.Batch
	for n := at; n < e.now.used; n++ {
		numbers = append(numbers, e.now.first+n)
	}
	return e.now.spec, e.now.spec.GetPairs()[at:e.now.used], numbers, nil
}

// call evaluates one request: it ends when all of its scores are there.
func (e *remoteEvaluations) call(ctx context.Context, r load.Request) (answer load.Answer, err error) {
	start := time.Now()
	spec, pairs, numbers, err := e.take(ctx)
	if err != nil {
		return answer, err
	}
	if answer.In, err = e.putPairs(ctx, numbers...); err != nil {
		return answer, err
	}
	key := e.keys[r.Key]
	job := schemas.EmbedJob(spec, newAttempt(), key, []schemas.FollowUp{{Key: key}}, pairs)
	waits := &awaited{run: spec.GetId(), done: make(chan struct{})}
	for _, item := range job.GetItems() {
		for _, s := range schemas.Lost(job, item, nil) {
			waits.keys = append(waits.keys, schemas.ScoreKey(s))
		}
	}
	if err := e.Bus.PublishJob(ctx, job); err != nil {
		return answer, err
	}
	sent := time.Now()
	e.mu.Lock()
	e.waiting[waits] = true
	e.mu.Unlock()
	select {
	case <-waits.done:
	case <-ctx.Done():
		return answer, ctx.Err()
	}
	answer.Took = map[load.Part]time.Duration{load.Send: sent.Sub(start), load.Queue: max(0, start.Sub(r.Intended)) + time.Since(sent)}
	failed := make(map[string]string) // reason, by item
	for _, s := range waits.scores {
		switch s.End() {
		case schemas.EndFailed:
			failed[s.GetItem()] = s.GetFailure().GetReason()
		case schemas.EndRefused:
			failed[s.GetItem()] = string(schemas.EndRefused)
		}
	}
	for _, reason := range failed {
		fail(&answer, reason, 1)
	}
	answer.Items = len(pairs) - len(failed)
	return answer, nil
}

// look asks for the scores of what is under way, until ctx ends.
func (e *remoteEvaluations) look(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		e.mu.Lock()
		byRun := make(map[string][]*awaited)
		for w := range e.waiting {
			byRun[w.run] = append(byRun[w.run], w)
		}
		if len(byRun) > 0 && time.Since(e.moved) >= quietAfter {
			e.log.Warn("nothing was scored for a while: are a gpuworker and an evaluator running?", "for", quietAfter)
			e.moved = time.Now()
		}
		e.mu.Unlock()
		for run, all := range byRun {
			if err := e.lookAt(ctx, run, all); err != nil {
				return err
			}
		}
	}
}

func (e *remoteEvaluations) lookAt(ctx context.Context, run string, all []*awaited) error {
	var keys []string
	for _, w := range all {
		keys = append(keys, w.keys...)
	}
	scores, err := ask(ctx, e.patience, redisServer, func(ctx context.Context) ([]*schemas.Score, error) { return e.Cache.Ended(ctx, run, keys) })
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range all {
		w.scores, scores = scores[:len(w.keys)], scores[len(w.keys):]
		if whole(w.scores) {
			delete(e.waiting, w)
			e.moved = time.Now()
			close(w.done)
		}
	}
	return nil
}

func whole(scores []*schemas.Score) bool {
	for _, s := range scores {
		if s == nil {
			return false
		}
	}
	return true
}
