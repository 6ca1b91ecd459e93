package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"stegomq/evaluator"
	"stegomq/gpuworker"
	"stegomq/internal/load"
	"stegomq/producer"
	"stegomq/schemas"
)

// evaluationItems is the number of pairs of a run that a benchmark makes: of more images than those that a process keeps decoded at 256x256.
const evaluationItems = 256

// evaluations makes requests that are scored, on a run of its own.
type evaluations struct {
	*Bench
	spec *schemas.RunSpec

	mu      sync.Mutex
	attempt int64
	waiting map[int64]*scoring
}

// scoring is a request under way: the results that were scored so far.
type scoring struct {
	results []*schemas.Result
	score   time.Duration
	dead    string // reason
	done    chan struct{}
}

// serveEvaluations starts a worker and an evaluator in this process, on a run of the benchmark's pairs.
func (b *Bench) serveEvaluations(ctx context.Context, use func(ctx context.Context, b *Bench) error) (err error) {
	e := &evaluations{Bench: b, waiting: make(map[int64]*scoring), attempt: newAttempt()}
	e.spec = b.newSpec(0, b.engines[0].runtimeName())
	if err := e.spec.Validate(); err != nil {
		return err
	}
	if _, err := b.Cache.StartRun(ctx, e.spec); err != nil {
		return err
	}
	r := StartRoles(ctx)
	defer func() {
		if failed := r.Stop(); failed != nil {
			err = failed
		}
	}()
	if err := b.startWorkers(r, e.spec.GetId()); err != nil {
		return err
	}
	parts := b.evaluatorParts(nil)
	parts.Results, parts.DeadLetters = scoredResults{parts.Results, e}, deadResults{parts.DeadLetters, e}
	if !b.req.Memo {
		parts.Memo = &freshMetrics{Memo: parts.Memo}
	}
	r.Go(evaluator.New(evaluator.Config{Slots: b.opts.Slots, Logger: b.log}, parts).Run)
	b.target = e.call
	return b.primed(r.ctx, use)
}

// newSpec is a run of evaluationItems pairs, from the one with a number on.
func (b *Bench) newSpec(first int, runtime string) *schemas.RunSpec {
	req := &Request{Model: b.req.Model, Geometry: b.geometry(), Run: "bench-" + randomToken() + randomToken()}
	d := &producer.Dataset{Images: 2 * evaluationItems}
	for n := first; n < first+evaluationItems; n++ {
		images := b.images.item(false, 0, n, false)
		d.Pairs = append(d.Pairs, &schemas.Pair{
			Item: fmt.Sprintf("i%d", n), Cover: schemas.BlobRef(digestOf(images[0]), ""), Secret: schemas.BlobRef(digestOf(images[1]), ""),
		})
	}
	spec := req.spec(d, runtime)
	spec.Keys, spec.Dataset = b.keys, b.images.origin
	return spec
}

// putPairs stores the images of pairs with these numbers, and gives their bytes.
func (b *Bench) putPairs(ctx context.Context, numbers ...int) (bytes int64, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for _, n := range numbers {
		for _, data := range b.images.item(false, 0, n, false) {
			bytes += int64(len(data))
			g.Go(func() error {
				_, err := b.patientStore().Put(ctx, data)
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return bytes, fmt.Errorf("store an image: %w", err)
	}
	return bytes, nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// call evaluates one request: it ends when what is embedded and what is recovered are scored.
func (e *evaluations) call(ctx context.Context, r load.Request) (answer load.Answer, err error) {
	start := time.Now()
	pairs, numbers := make([]*schemas.Pair, e.req.Batch), make([]int, e.req.Batch)
	first := e.nextItem()
	for i := range pairs {
		numbers[i] = (first + i) % len(e.spec.GetPairs())
		pairs[i] = e.spec.GetPairs()[numbers[i]]
	}
	if answer.In, err = e.putPairs(ctx, numbers...); err != nil {
		return answer, err
	}
	key := e.keys[r.Key]
	waits := &scoring{done: make(chan struct{})}
	e.mu.Lock()
	e.attempt++
	attempt := e.attempt
	e.waiting[attempt] = waits
	e.mu.Unlock()
	if err := e.Bus.PublishJob(ctx, schemas.EmbedJob(e.spec, attempt, key, []schemas.FollowUp{{Key: key}}, pairs)); err != nil {
		return answer, err
	}
	sent := time.Now()
	select {
	case <-waits.done:
	case <-ctx.Done():
		return answer, ctx.Err()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.waiting, attempt)
	if waits.dead != "" {
		fail(&answer, waits.dead, e.req.Batch)
		return answer, nil
	}
	waits.count(&answer)
	answer.Took = partsOf(waits.results...)
	answer.Took[load.Send], answer.Took[load.Score] = sent.Sub(start), waits.score
	others := waits.score
	for _, r := range waits.results {
		others += time.Duration(r.GetDurations().GetTotal())
	}
	answer.Took[load.Queue] = max(0, start.Sub(r.Intended)) + max(0, time.Since(sent)-others)
	return answer, nil
}

// count counts what became of each item in the end: of one that was embedded, how it was recovered.
func (w *scoring) count(a *load.Answer) {
	last := w.results[len(w.results)-1]
	count(a, last.GetOutcomes())
	if embedded := w.results[0]; embedded != last {
		count(a, slices.DeleteFunc(slices.Clone(embedded.GetOutcomes()), func(o *schemas.Outcome) bool { return o.End() == schemas.EndDone }))
	}
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

func (w *scoring) ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
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

// freshOutcomes and freshMetrics are memos that find nothing, and cost what memos cost.
type freshOutcomes struct {
	gpuworker.Memo
	n atomic.Int64
}

func (f *freshOutcomes) Outcomes(ctx context.Context, ids []string) ([]*schemas.Outcome, error) {
	return f.Memo.Outcomes(ctx, fresh(&f.n, ids))
}

func (f *freshOutcomes) FirstOutcomes(ctx context.Context, outcomes map[string]*schemas.Outcome) (map[string]*schemas.Outcome, error) {
	return f.Memo.FirstOutcomes(ctx, freshMap(&f.n, outcomes))
}

func (f *freshOutcomes) RememberOutcomes(ctx context.Context, outcomes map[string]*schemas.Outcome) error {
	return f.Memo.RememberOutcomes(ctx, freshMap(&f.n, outcomes))
}

type freshMetrics struct {
	evaluator.Memo
	n atomic.Int64
}

func (f *freshMetrics) Metrics(ctx context.Context, ids []string) ([]*schemas.Metrics, error) {
	return f.Memo.Metrics(ctx, fresh(&f.n, ids))
}

func (f *freshMetrics) RememberMetrics(ctx context.Context, metrics map[string]*schemas.Metrics) error {
	return f.Memo.RememberMetrics(ctx, freshMap(&f.n, metrics))
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
