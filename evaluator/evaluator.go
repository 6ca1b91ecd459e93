// Package evaluator owns the scoring of results: it compares their images with the references, and stores every score once.
//
// Invariants:
//   - A stored score is never changed, so that a result that comes twice does no harm.
//   - A pair of images is compared once under one version of the metrics.
//   - A run has no scores but those that its specification asks for.
package evaluator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"log/slog"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"stegomq/internal/quality"
	"stegomq/internal/tracing"
	"stegomq/schemas"
)

// Results gives results to a handler, at most slots at once, until ctx ends. A nil error settles the
// result, a *schemas.Fault makes a dead letter of it, any other error brings it back later.
type Results interface {
	Consume(ctx context.Context, slots int, handle func(ctx context.Context, r *schemas.Result) error) error
}

// DeadLetters gives dead letters to a handler in the same way.
type DeadLetters interface {
	Consume(ctx context.Context, slots int, handle func(ctx context.Context, d *schemas.DeadLetter) error) error
}

// Images gives the image of a reference at a geometry; the image is shared and read-only.
type Images interface {
	Image(ctx context.Context, ref *schemas.ImageRef, g *schemas.Geometry) (*image.NRGBA, error)
}

// Scores stores the scores of a run, those of refused items too, each once. A failure gives way to a score, and one of an earlier
// attempt of the run to the attempt under way.
type Scores interface {
	PutScores(ctx context.Context, run string, scores []*schemas.Score) (added int, err error)
	PutFailures(ctx context.Context, run string, attempt int64, scores []*schemas.Score) (added int, err error)
}

// Memo remembers the metrics of image pairs; nil stands for a pair that is not known.
type Memo interface {
	Metrics(ctx context.Context, ids []string) ([]*schemas.Metrics, error)
	RememberMetrics(ctx context.Context, metrics map[string]*schemas.Metrics) error
}

// Observer counts what the evaluator does.
type Observer interface {
	ScoresWritten(n int)
	DeadLetter(reason string)
	// Unexpected notes a result or a dead letter that was refused because its run does not ask for it.
	Unexpected()
}

// Config of an evaluator; zero values take the defaults.
type Config struct {
	// Slots is the number of results scored at once. Default: one per processor core.
	Slots    int
	Logger   *slog.Logger
	Observer Observer
}

// Parts are what an evaluator works with.
type Parts struct {
	Results     Results
	DeadLetters DeadLetters
	Images      Images
	Runs        Runs
	Scores      Scores
	Memo        Memo
}

// Evaluator is the role.
type Evaluator struct {
	cfg Config
	Parts
	expectations expectations
}

// New makes an evaluator.
func New(cfg Config, parts Parts) *Evaluator {
	cfg.Slots = cmp.Or(max(cfg.Slots, 0), runtime.NumCPU())
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	cfg.Observer = cmp.Or[Observer](cfg.Observer, silent{})
	return &Evaluator{cfg: cfg, Parts: parts, expectations: expectations{
		runs: parts.Runs, known: make(map[string]expectation), told: make(map[string]bool),
	}}
}

// Run scores results and records what dead letters cost until ctx ends.
func (e *Evaluator) Run(ctx context.Context) error {
	e.cfg.Logger.Info("evaluator started", "slots", e.cfg.Slots)
	defer e.cfg.Logger.Info("evaluator stopped")
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.Results.Consume(ctx, e.cfg.Slots, e.score) })
	g.Go(func() error { return e.DeadLetters.Consume(ctx, 1, e.recordDead) })
	return g.Wait()
}

// recordDead records the scores that a dead message will never give, so that its run can end.
func (e *Evaluator) recordDead(ctx context.Context, d *schemas.DeadLetter) error {
	e.cfg.Observer.DeadLetter(d.GetReason())
	job, lost, err := LostTo(d)
	if err != nil {
		// Not a message that a run can be told of: a person has to look at it.
		e.cfg.Logger.Warn("dead letter", "reason", d.GetReason(), "subject", d.GetSubject(), "detail", d.GetDetail())
		return nil //nolint:nilerr // said above; to fail would bring the letter back for ever
	}
	tracing.Of(ctx).Job(job)
	if job.GetScore() {
		if ok, _, err := e.expected(ctx, job, lost); !ok {
			return err
		}
	}
	e.cfg.Logger.Warn("job died", "reason", d.GetReason(), "run", job.GetRun(), "job", job.GetId(), "stream", d.GetStream(), "detail", d.GetDetail())
	if !job.GetScore() {
		return nil
	}
	_, err = e.Scores.PutFailures(ctx, job.GetRun(), job.GetAttempt(), lost)
	return err
}

// LostTo lists the scores that a dead job, or a result that could not be scored, leaves without metrics; the job is the one that
// they are of. A letter that holds neither is an error. So is one whose subject is that of another message: whoever sent it had no right to the
// subject of this job, and may have made it up to have a run of another's fail.
func LostTo(d *schemas.DeadLetter) (job *schemas.Job, lost []*schemas.Score, err error) {
	why := &schemas.Failure{Reason: d.GetReason(), Detail: d.GetDetail()}
	if d.GetStream() != schemas.StreamScoring {
		if job, err = schemas.DecodeJob(d.GetMessage()); err == nil {
			err = sentAs(d, schemas.JobSubject(job))
		}
		if err != nil {
			return nil, nil, err
		}
		for _, item := range job.GetItems() {
			lost = append(lost, schemas.Lost(job, item, why)...)
		}
		return job, lost, nil
	}
	r, err := schemas.DecodeResult(d.GetMessage())
	if err == nil {
		err = sentAs(d, schemas.ResultSubject(r))
	}
	if err != nil {
		return nil, nil, err
	}
	job = r.GetJob()
	for i, scores := range claims(r) {
		if r.GetOutcomes()[i].End() != schemas.EndFailed {
			// The jobs that follow from an output were published: their scores still come.
			for _, s := range scores {
				s.Refusal, s.Failure = nil, why
			}
		}
		lost = append(lost, scores...)
	}
	return job, lost, nil
}

// sentAs says whether the message in a letter came on its own subject.
func sentAs(d *schemas.DeadLetter, subject string) error {
	if d.GetSubject() != subject {
		return fmt.Errorf("the message belongs to subject %s and came on %s", subject, d.GetSubject())
	}
	return nil
}

// score settles one result.
func (e *Evaluator) score(ctx context.Context, r *schemas.Result) error {
	job := r.GetJob()
	if !job.GetScore() {
		return nil
	}
	claimed := claims(r)
	ok, metrics, err := e.expected(ctx, job, slices.Concat(claimed...))
	if !ok {
		return err
	}
	var scores, failures []*schemas.Score
	for i, o := range r.GetOutcomes() {
		switch o.End() {
		case schemas.EndFailed:
			failures = append(failures, claimed[i]...)
		case schemas.EndRefused:
			scores = append(scores, claimed[i]...)
		default:
			done, failed, err := e.compare(ctx, job, job.GetItems()[i], claimed[i], metrics)
			if err != nil {
				return fmt.Errorf("score item %s of job %s: %w", o.GetItem(), job.GetId(), err)
			}
			scores, failures = append(scores, done...), append(failures, failed...)
		}
	}
	return e.write(ctx, job, scores, failures)
}

// write stores the scores of a result.
func (e *Evaluator) write(ctx context.Context, job *schemas.Job, scores, failures []*schemas.Score) (err error) {
	ctx, span := tracing.Start(ctx, "cache write")
	defer func() { span.End(err) }()
	if len(scores) > 0 {
		added, err := e.Scores.PutScores(ctx, job.GetRun(), scores)
		if err != nil {
			return fmt.Errorf("store scores: %w", err)
		}
		e.cfg.Observer.ScoresWritten(added)
	}
	if len(failures) > 0 {
		if _, err := e.Scores.PutFailures(ctx, job.GetRun(), job.GetAttempt(), failures); err != nil {
			return fmt.Errorf("store failures: %w", err)
		}
	}
	return nil
}

// compare gives the scores of one item that has an output: those remembered, and those measured now.
func (e *Evaluator) compare(ctx context.Context, job *schemas.Job, item *schemas.Item, scores []*schemas.Score, metrics string) (done, failed []*schemas.Score, err error) {
	ctx, span := tracing.Start(ctx, "score")
	defer func() { span.End(err) }()
	ids := make([]string, len(scores))
	for i, s := range scores {
		ids[i] = schemas.MetricsID(metrics, s.GetReference(), s.GetTest(), job.GetGeometry())
	}
	known, err := e.Memo.Metrics(ctx, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("look up metrics: %w", err)
	}
	fresh := make(map[string]*schemas.Metrics)
	for i, s := range scores {
		s.Metrics = known[i]
		if s.Metrics == nil {
			s.Metrics, err = e.measure(ctx, job, item, s, metrics)
			var fault *schemas.Fault
			if errors.As(err, &fault) {
				s.Failure = &schemas.Failure{Reason: string(fault.Reason), Detail: err.Error()}
				failed = append(failed, s)
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			fresh[ids[i]] = s.Metrics
		}
		done = append(done, s)
	}
	if err := e.Memo.RememberMetrics(ctx, fresh); err != nil {
		return nil, nil, fmt.Errorf("remember metrics: %w", err)
	}
	return done, failed, nil
}

func (e *Evaluator) measure(ctx context.Context, job *schemas.Job, item *schemas.Item, s *schemas.Score, metrics string) (*schemas.Metrics, error) {
	reference, test, err := e.fetch(ctx, job, item, s)
	if err != nil {
		return nil, err
	}
	m := new(schemas.Metrics)
	if err := quality.Measure(metrics, reference, test, m.Set); err != nil {
		return nil, schemas.Permanent(schemas.ReasonBadImage, err)
	}
	return m, nil
}

// fetch gets the two images of a comparison.
func (e *Evaluator) fetch(ctx context.Context, job *schemas.Job, item *schemas.Item, s *schemas.Score) (reference, test *image.NRGBA, err error) {
	ctx, span := tracing.Start(ctx, "fetch and decode")
	defer func() { span.End(err) }()
	if reference, err = e.Images.Image(ctx, refOf(item, s.GetReference()), job.GetGeometry()); err == nil {
		test, err = e.Images.Image(ctx, refOf(item, s.GetTest()), job.GetGeometry())
	}
	return reference, test, err
}

// refOf finds the reference of a digest: one of the item's own images, or an output in the blob store.
func refOf(item *schemas.Item, digest string) *schemas.ImageRef {
	for _, ref := range item.Refs() {
		if ref.GetDigest() == digest {
			return ref
		}
	}
	return schemas.BlobRef(digest, "")
}

type silent struct{}

func (silent) ScoresWritten(int) {}
func (silent) DeadLetter(string) {}
func (silent) Unexpected()       {}
