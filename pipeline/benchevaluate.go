package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"stegomq/evaluator"
	"stegomq/internal/cache"
	"stegomq/internal/load"
	"stegomq/producer"
	"stegomq/schemas"
)

// evaluationItems is the number of pairs of a run that a benchmark makes: of more images than those that a process keeps decoded at 256x256.
const evaluationItems = 256

// lookEvery is how often the scores of a benchmark on given servers are asked for: its latencies are no finer.
const lookEvery = 5 * time.Millisecond

// evaluations makes requests that are scored. Where the servers are embedded, this process works and scores, on the pairs of one run again and again,
// and hears what each part took. On given servers it asks for the scores. A request is then known by its pairs, which no other request has: there is
// one run after another, and the next one is made before it is needed.
type evaluations struct {
	*Bench
	runs chan *evaluationRun // those of given servers

	taking sync.Mutex
	now    *evaluationRun

	mu      sync.Mutex
	begun   []string // ids of the runs
	attempt int64    // of the latest request, each of which has its own
	waiting map[int64]*scoring
	moved   time.Time // when a request last ended, or the user was told that none does
}

type evaluationRun struct {
	spec  *schemas.RunSpec
	first int // number of its first item
	used  int // items
}

// scoring is a request under way.
type scoring struct {
	run    string
	keys   []string         // of its scores
	scores []*schemas.Score // in the end, where others score

	results []*schemas.Result // that were scored so far, where this process scores
	score   time.Duration     // how long that took
	dead    string            // reason

	done chan struct{}
}

// serveEvaluations has requests evaluated in this process where the servers are embedded, and otherwise by the workers and evaluators that are
// there, whose runs are removed in the end.
func (b *Bench) serveEvaluations(ctx context.Context, use func(ctx context.Context, b *Bench) error) (err error) {
	e := &evaluations{Bench: b, runs: make(chan *evaluationRun), waiting: make(map[int64]*scoring), moved: time.Now()}
	r := StartRoles(ctx)
	defer func() {
		r.end(&err)
		if !b.Embedded() {
			err = errors.Join(err, e.remove(ctx))
		}
	}()
	b.target = e.call
	if !b.Embedded() {
		if err := b.startWorkers(r, ""); err != nil {
			return err
		}
		r.Go(e.makeRuns)
		r.Go(e.look)
		return b.primed(r.ctx, use)
	}
	if e.now, err = e.begin(ctx, 0); err != nil {
		return err
	}
	if err := b.startWorkers(r, e.now.spec.GetId()); err != nil {
		return err
	}
	parts := b.evaluatorParts(nil)
	parts.Results, parts.DeadLetters = scoredResults{parts.Results, e}, deadResults{parts.DeadLetters, e}
	if !b.req.Memo {
		parts.Memo = &freshMemo{Cache: b.Cache}
	}
	r.Go(evaluator.New(evaluator.Config{Slots: b.opts.Slots, Logger: b.log}, parts).Run)
	return b.primed(r.ctx, use)
}

// begin begins a run of evaluationItems pairs. First is the number of the first pair.
func (e *evaluations) begin(ctx context.Context, first int) (*evaluationRun, error) {
	req := &Request{Model: e.req.Model, Geometry: e.geometry(), Run: "bench-" + randomToken() + randomToken()}
	d := &producer.Dataset{Images: 2 * evaluationItems}
	for n := first; n < first+evaluationItems; n++ {
		images, err := e.pair(n)
		if err != nil {
			return nil, err
		}
		d.Pairs = append(d.Pairs, &schemas.Pair{
			Item: fmt.Sprintf("i%d", n), Cover: schemas.BlobRef(schemas.Digest(images[0]), ""), Secret: schemas.BlobRef(schemas.Digest(images[1]), ""),
		})
	}
	runtime := ""
	if e.Embedded() {
		runtime = e.engines[0].runtimeName()
	}
	spec := req.spec(d, runtime)
	spec.Keys, spec.Dataset = e.keys, e.images.origin
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if err := (patientCache{e.Cache, e.patience}).StartRun(ctx, spec); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun = append(e.begun, spec.GetId())
	e.attempt = max(e.attempt, newAttempt()) // not before the start: failures of earlier attempts count for nothing
	return &evaluationRun{spec: spec, first: first}, nil
}

// pair has the images of a pair. On given servers its pixels differ from those of every other pair. Workers there remember what they recover from
// a stego image, and images of the same pixels become the same stego image.
func (e *evaluations) pair(n int) ([][]byte, error) {
	images := e.images.item(false, 0, n, false)
	var err error
	if !e.Embedded() {
		images[0], err = e.images.repainted(n)
	}
	return images, err
}

// makeRuns begins one run after another, each when the one before is taken.
func (e *evaluations) makeRuns(ctx context.Context) error {
	for first := 0; ; first += evaluationItems {
		run, err := e.begin(ctx, first)
		if err != nil {
			return err
		}
		select {
		case e.runs <- run:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// remove deletes what the benchmark left in Redis and in the queue.
func (e *evaluations) remove(ctx context.Context) error {
	bound := time.Minute
	if ctx.Err() != nil {
		bound = dropTimeout // who interrupts does not wait for long
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bound)
	defer cancel()
	var failed []error
	for _, id := range e.begun {
		failed = append(failed, e.RemoveRun(ctx, id))
	}
	return errors.Join(failed...)
}

// take gives the pairs of the next request, the number of the first one, and the run that they are of. One at a time takes.
func (e *evaluations) take(ctx context.Context) (run *schemas.RunSpec, pairs []*schemas.Pair, first int, err error) {
	e.taking.Lock()
	defer e.taking.Unlock()
	switch {
	case e.now != nil && e.now.used+e.req.Batch <= evaluationItems:
	case e.Embedded():
		e.now.used = 0
	default:
		select {
		case e.now = <-e.runs:
		case <-ctx.Done():
			return nil, nil, 0, ctx.Err()
		}
	}
	at := e.now.used
	e.now.used += e.req.Batch
	return e.now.spec, e.now.spec.GetPairs()[at:e.now.used], e.now.first + at, nil
}

// putPairs stores the images of the pairs of a request, and gives their size in bytes. First is the number of the first pair.
func (e *evaluations) putPairs(ctx context.Context, first int) (bytes int64, err error) {
	var sum atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for n := first; n < first+e.req.Batch; n++ {
		g.Go(func() error {
			images, err := e.pair(n)
			for _, data := range images {
				sum.Add(int64(len(data)))
				if err == nil {
					_, err = e.patientStore().Put(ctx, data)
				}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return sum.Load(), fmt.Errorf("store an image: %w", err)
	}
	return sum.Load(), nil
}

// call evaluates one request: it ends when what is embedded and what is recovered are scored.
func (e *evaluations) call(ctx context.Context, r load.Request) (answer load.Answer, err error) {
	start := time.Now()
	spec, pairs, first, err := e.take(ctx)
	if err != nil {
		return answer, err
	}
	if answer.In, err = e.putPairs(ctx, first); err != nil {
		return answer, err
	}
	key, w := e.keys[r.Key], &scoring{run: spec.GetId(), done: make(chan struct{})}
	e.mu.Lock()
	e.attempt++
	attempt := e.attempt
	e.mu.Unlock()
	job := schemas.EmbedJob(spec, attempt, key, []schemas.FollowUp{{Key: key}}, pairs)
	for _, item := range job.GetItems() {
		for _, s := range schemas.Lost(job, item, nil) {
			w.keys = append(w.keys, schemas.ScoreKey(s))
		}
	}
	e.mu.Lock()
	e.waiting[attempt] = w
	e.mu.Unlock()
	if err := e.Bus.PublishJob(ctx, job); err != nil {
		return answer, err
	}
	sent := time.Now()
	select {
	case <-w.done:
	case <-ctx.Done():
		return answer, ctx.Err()
	}
	took := time.Since(sent)
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.waiting, attempt)
	w.count(&answer, len(pairs))
	if w.dead != "" {
		return answer, nil
	}
	answer.Took = partsOf(w.results...)
	for _, r := range w.results {
		took -= time.Duration(r.GetDurations().GetTotal())
	}
	if w.score > 0 {
		answer.Took[load.Score] = w.score
	}
	answer.Took[load.Send] = sent.Sub(start)
	answer.Took[load.Queue] = max(0, start.Sub(r.Intended)) + max(0, took-w.score)
	return answer, nil
}

// count counts what became of so many items. One that was embedded counts by how it was recovered.
func (w *scoring) count(a *load.Answer, items int) {
	switch {
	case w.dead != "":
		fail(a, w.dead, items)
	case w.results != nil:
		last := w.results[len(w.results)-1]
		count(a, last.GetOutcomes())
		if embedded := w.results[0]; embedded != last {
			count(a, slices.DeleteFunc(slices.Clone(embedded.GetOutcomes()), func(o *schemas.Outcome) bool { return o.End() == schemas.EndDone }))
		}
	default:
		failed := make(map[string]string) // reason, by item
		for _, s := range w.scores {
			switch s.End() {
			case schemas.EndFailed:
				failed[s.GetItem()] = s.GetFailure().GetReason()
			case schemas.EndRefused:
				failed[s.GetItem()] = string(schemas.EndRefused)
			}
		}
		for _, reason := range failed {
			fail(a, reason, 1)
		}
		a.Items = items - len(failed)
	}
}

func (w *scoring) ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// look asks for the scores of the requests under way, until ctx ends.
func (e *evaluations) look(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		e.mu.Lock()
		byRun := make(map[string][]*scoring)
		for _, w := range e.waiting {
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

func (e *evaluations) lookAt(ctx context.Context, run string, all []*scoring) error {
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
		if !w.ended() && !slices.Contains(w.scores, nil) {
			e.moved = time.Now()
			close(w.done)
		}
	}
	return nil
}

// scored notes a result that was scored.
func (e *evaluations) scored(r *schemas.Result, took time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.waiting[r.GetJob().GetAttempt()]
	again := func(before *schemas.Result) bool { return before.GetJob().GetId() == r.GetJob().GetId() }
	if w == nil || w.ended() || slices.ContainsFunc(w.results, again) {
		return
	}
	w.results = append(w.results, r)
	w.score += took
	follows := false
	for _, o := range r.GetOutcomes() {
		follows = follows || r.GetJob().GetEmbedKey() == nil && o.End() == schemas.EndDone
	}
	// What is recovered may be scored before what it was recovered from is.
	if len(w.results) == 2 || !follows && r.GetJob().GetEmbedKey() == nil {
		if w.results[0].GetJob().GetEmbedKey() != nil {
			w.results[0], w.results[1] = w.results[1], w.results[0]
		}
		close(w.done)
	}
}

// died notes a message that became a dead letter.
func (e *evaluations) died(job *schemas.Job, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w := e.waiting[job.GetAttempt()]; w != nil && !w.ended() {
		w.dead = reason
		close(w.done)
	}
}

// scoredResults tells of every result that an evaluator has scored.
type scoredResults struct {
	evaluator.Results
	e *evaluations
}

func (s scoredResults) Consume(ctx context.Context, slots int, handle func(ctx context.Context, r *schemas.Result) error) error {
	return s.Results.Consume(ctx, slots, func(ctx context.Context, r *schemas.Result) error {
		start := time.Now()
		err := handle(ctx, r)
		if err == nil {
			s.e.scored(r, time.Since(start))
		}
		return err
	})
}

// deadResults tells of every message that died.
type deadResults struct {
	evaluator.DeadLetters
	e *evaluations
}

func (s deadResults) Consume(ctx context.Context, slots int, handle func(ctx context.Context, d *schemas.DeadLetter) error) error {
	return s.DeadLetters.Consume(ctx, slots, func(ctx context.Context, d *schemas.DeadLetter) error {
		if job, _, err := evaluator.LostTo(d); err == nil {
			s.e.died(job, d.GetReason())
		}
		return handle(ctx, d)
	})
}

// freshMemo is the memo of a worker and of an evaluator that finds nothing, and costs what a memo costs.
type freshMemo struct {
	*cache.Cache
	n atomic.Int64
}

// Outcomes finds none.
func (f *freshMemo) Outcomes(ctx context.Context, ids []string) ([]*schemas.Outcome, error) {
	return f.Cache.Outcomes(ctx, fresh(&f.n, ids))
}

// FirstOutcomes finds no earlier ones.
func (f *freshMemo) FirstOutcomes(ctx context.Context, outcomes map[string]*schemas.Outcome) (map[string]*schemas.Outcome, error) {
	return f.Cache.FirstOutcomes(ctx, freshMap(&f.n, outcomes))
}

// RememberOutcomes remembers what nobody will ask for.
func (f *freshMemo) RememberOutcomes(ctx context.Context, outcomes map[string]*schemas.Outcome) error {
	return f.Cache.RememberOutcomes(ctx, freshMap(&f.n, outcomes))
}

// Metrics finds none.
func (f *freshMemo) Metrics(ctx context.Context, ids []string) ([]*schemas.Metrics, error) {
	return f.Cache.Metrics(ctx, fresh(&f.n, ids))
}

// RememberMetrics remembers what nobody will ask for.
func (f *freshMemo) RememberMetrics(ctx context.Context, metrics map[string]*schemas.Metrics) error {
	return f.Cache.RememberMetrics(ctx, freshMap(&f.n, metrics))
}

// fresh are ids that were never asked for.
func fresh(n *atomic.Int64, ids []string) []string {
	others := make([]string, len(ids))
	for i, id := range ids {
		others[i] = fmt.Sprintf("%s-%d", id, n.Add(1))
	}
	return others
}

func freshMap[V any](n *atomic.Int64, values map[string]V) map[string]V {
	others := make(map[string]V, len(values))
	for id, v := range values {
		others[fmt.Sprintf("%s-%d", id, n.Add(1))] = v
	}
	return others
}
