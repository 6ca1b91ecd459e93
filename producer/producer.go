// Package producer owns the way of images into the pipeline. It reads data sets and makes pairs, plans what a run still needs, and
// publishes its jobs no faster than they are done. It also serves streams of requests.
//
// Invariants:
//   - An image is checked before a job names it: a bad file is named to the user, and costs the workers nothing.
//   - A plan depends on the images, the model, the keys and the geometry alone: the same command finds the same run again.
package producer

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"stegomq/internal/tracing"
	"stegomq/schemas"
)

// Publisher sends jobs; it returns once the job is stored.
type Publisher interface {
	PublishJob(ctx context.Context, j *schemas.Job) error
}

// BlobWriter stores images.
type BlobWriter interface {
	Put(ctx context.Context, data []byte) (digest string, err error)
}

// Progress tells how many scores and failures a run has.
type Progress interface {
	Progress(ctx context.Context, run string) (scores, failures int64, err error)
}

// Config of a producer; zero values take the defaults.
type Config struct {
	// Batch is the number of items of a job, 1 to 64. Default 8: on a CPU larger ones gain nothing, and
	// smaller ones keep all workers busy to the end.
	Batch int
	// Window bounds the comparisons that are under way, so that the jobs of a large data set and those
	// that follow from them never fill the stream. Default 20,000.
	Window int64
	// Poll is how often the window looks at the progress. Default 100 ms.
	Poll   time.Duration
	Logger *slog.Logger
}

// Parts are what a producer works with.
type Parts struct {
	Publisher Publisher
	Blobs     BlobWriter
	Progress  Progress
}

// Producer is the role.
type Producer struct {
	cfg Config
	Parts
}

// New makes a producer.
func New(cfg Config, parts Parts) *Producer {
	if cfg.Batch <= 0 || cfg.Batch > schemas.MaxItems {
		cfg.Batch = 8
	}
	cfg.Window = cmp.Or(max(cfg.Window, 0), 20000)
	cfg.Poll = cmp.Or(max(cfg.Poll, 0), 100*time.Millisecond)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return &Producer{cfg: cfg, Parts: parts}
}

// Run publishes the jobs of a plan and returns when the last one is stored, or when ctx ends. What the plan
// found must be among the run's scores, from which the window is counted. It may be run again: what was
// published twice is done once.
func (p *Producer) Run(ctx context.Context, plan *Plan, files map[string]File) error {
	published := int64(plan.Total - plan.Missing) // comparisons that are done or that a published job makes
	var stored map[string]time.Time
	for _, b := range plan.batches(p.cfg.Batch) {
		if err := p.waitForRoom(ctx, plan.Spec.GetId(), published); err != nil {
			return err
		}
		var err error
		if stored, err = p.upload(ctx, b.pairs, files, stored); err != nil {
			return err
		}
		if err := p.publish(ctx, b.job, plan.Missing > wholeTrace); err != nil {
			return err
		}
		published += b.scores
	}
	p.cfg.Logger.Debug("all jobs are published", "run", plan.Spec.GetId())
	return nil
}

// wholeTrace is the largest number of comparisons of a run that is one trace. In a larger run each published job begins its own trace, with a
// link to that of the run. Neither people nor stores of traces can handle one of a million spans.
const wholeTrace = 1000

func (p *Producer) publish(ctx context.Context, job *schemas.Job, apart bool) (err error) {
	if apart {
		var span tracing.Span
		ctx, span = tracing.Linked(ctx, "batch")
		defer func() { span.End(err) }()
	}
	if err := p.Publisher.PublishJob(ctx, job); err != nil {
		return fmt.Errorf("publish a job: %w", err)
	}
	return nil
}

// waitForRoom blocks while more comparisons than the window are published and not done.
func (p *Producer) waitForRoom(ctx context.Context, run string, published int64) error {
	tick := time.NewTicker(p.cfg.Poll)
	defer tick.Stop()
	for {
		scores, failures, err := p.Progress.Progress(ctx, run)
		if err != nil {
			return err
		}
		if published-scores-failures < p.cfg.Window {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// storedFor is how long an image that was stored for one key is not stored again for the next.
const storedFor = time.Minute

// upload puts the images of pairs into the blob store, which takes each once. What the batch before has just stored, by digest and time, is not
// read again. It gives what is stored of this batch.
func (p *Producer) upload(ctx context.Context, pairs []*schemas.Pair, files map[string]File, before map[string]time.Time) (map[string]time.Time, error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	stored := make(map[string]time.Time, 2*len(pairs))
	for _, pair := range pairs {
		for _, ref := range pair.Refs() {
			if at := before[ref.GetDigest()]; time.Since(at) < storedFor {
				stored[ref.GetDigest()] = at
				continue
			}
			stored[ref.GetDigest()] = time.Now()
			g.Go(func() error {
				data, err := files[ref.GetDigest()].Read(math.MaxInt64)
				if err != nil {
					return fmt.Errorf("read %s again: %w", ref.GetName(), err)
				}
				if schemas.Digest(data) != ref.GetDigest() {
					return fmt.Errorf("%s has changed since it was first read: start again", ref.GetName())
				}
				if _, err := p.Blobs.Put(ctx, data); err != nil {
					return fmt.Errorf("store %s: %w", ref.GetName(), err)
				}
				return nil
			})
		}
	}
	return stored, g.Wait()
}
