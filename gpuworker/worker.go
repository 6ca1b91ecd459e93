// Package gpuworker owns the way of a job to its result. A worker looks up what was made before, brings the images to the network in
// batches of one key and one size, and stores the output as 8-bit PNG files. It publishes the result, and then the jobs that follow from it.
//
// Invariants:
//   - For a key that the worker does not have at that moment it does nothing and gives nothing, not even what was made before.
//   - A job is done when its result is stored and its follow-up jobs are published. A worker that dies at any point loses nothing.
//   - A job that is delivered twice does no harm: every result has the first output that is remembered for an item's work, even where the
//     key's cipher makes another one each time.
//   - An image that cannot be used fails its item, never the worker.
package gpuworker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"log/slog"
	"runtime"
	"time"

	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// Jobs gives jobs to a handler, at most slots at once, until ctx ends. A nil error from the handler
// settles the job, a *schemas.Fault makes a dead letter of it, any other error brings it back later.
type Jobs interface {
	Consume(ctx context.Context, slots int, handle func(ctx context.Context, job *schemas.Job) error) error
}

// Publisher sends results and follow-up jobs. Both return once the message is stored.
type Publisher interface {
	PublishResult(ctx context.Context, r *schemas.Result) error
	PublishJob(ctx context.Context, j *schemas.Job) error
}

// Blobs is the blob store.
type Blobs interface {
	Put(ctx context.Context, data []byte) (digest string, err error)
	Has(ctx context.Context, digests ...string) ([]bool, error)
}

// Images gives the image of a reference at a geometry; the image is shared and read-only. Keep takes an image that was made and stored here:
// img has the pixels of the file, which has the digest. Whoever asks for it next in this process need not fetch and decode it.
type Images interface {
	Image(ctx context.Context, ref *schemas.ImageRef, g *schemas.Geometry) (*image.NRGBA, error)
	Keep(ctx context.Context, digest string, file []byte, img *image.NRGBA)
}

// Memo remembers how work ended, with an output or refused, by schemas.MemoID; nil stands for what is not known.
type Memo interface {
	Outcomes(ctx context.Context, ids []string) ([]*schemas.Outcome, error)
	// FirstOutcomes remembers what is not known, and returns what is.
	FirstOutcomes(ctx context.Context, outcomes map[string]*schemas.Outcome) (before map[string]*schemas.Outcome, err error)
	// RememberOutcomes replaces what is known.
	RememberOutcomes(ctx context.Context, outcomes map[string]*schemas.Outcome) error
}

// Engine runs the network of a model with a key on batches of images of one size, tensors of shape [N,3,H,W].
//
// Run takes cover and secret for embed, the stego image for recover, and the noisy or the stego image for purify, whose key is nil.
// Features is Run of recover, and gives the features of each image too; a model without features is a *schemas.Fault. An unknown model or
// key is a *schemas.Fault, which ends the job; a fault with ReasonBadImage ends these items alone.
//
// Where recovery is authenticated, recover may refuse images, which is no error. Refused then has an entry for each image: nil, or why it was
// refused, and its output has no meaning. Refused is nil where no image was refused.
//
// Check returns a *schemas.Fault where this worker may not do the job of a key now. It is called before anything is looked up or read.
//
// Runtime names what computes a model's network, since another runtime may give other outputs; empty where there is no network.
type Engine interface {
	Runtime(model string) string
	Check(ctx context.Context, model string, op schemas.Operation, key *schemas.KeyRef) error
	Run(ctx context.Context, model string, op schemas.Operation, key *schemas.KeyRef, in ...pixel.Tensor) (out pixel.Tensor, refused []*schemas.Refusal, err error)
	Features(ctx context.Context, model string, key *schemas.KeyRef, stego pixel.Tensor) (recovered pixel.Tensor, features [][]float32, err error)
}

// Observer counts what the worker does.
type Observer interface {
	JobStarted(operation string)
	// JobDone notes how a job ended, and of how many items; refused counts those of them that recovery refused.
	JobDone(ctx context.Context, operation, outcome string, items, refused int, took time.Duration)
}

// Config of a worker; zero values take the defaults.
type Config struct {
	// Name tells workers apart in results and logs.
	Name string
	// Slots is the number of jobs worked on at once. Default: one per processor core, because a
	// session runs one thread (two sessions of one thread are faster than one of two).
	Slots int
	// BatchPixels bounds the pixels of one run of the network (batch x height x width); a larger image
	// runs alone. Default 512 Ki: on a CPU larger batches gain nothing and cost memory.
	BatchPixels int
	// MaxPixels bounds one image as the network sees it; a larger one fails its item. Default 8 Mi: the
	// network's activations take about 130 bytes a pixel and layer.
	MaxPixels int
	Logger    *slog.Logger
	Observer  Observer
}

// DefaultBatchPixels is that of a Config that does not say.
const DefaultBatchPixels = 512 << 10

// Parts are what a worker works with.
type Parts struct {
	Jobs      Jobs
	Publisher Publisher
	Blobs     Blobs
	Images    Images
	Memo      Memo
	Engine    Engine
}

// Worker is the role.
type Worker struct {
	cfg Config
	Parts
}

// New makes a worker.
func New(cfg Config, parts Parts) *Worker {
	cfg.Slots = cmp.Or(max(cfg.Slots, 0), runtime.NumCPU())
	cfg.BatchPixels = cmp.Or(max(cfg.BatchPixels, 0), DefaultBatchPixels)
	cfg.MaxPixels = cmp.Or(max(cfg.MaxPixels, 0), 8<<20)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	cfg.Observer = cmp.Or[Observer](cfg.Observer, silent{})
	return &Worker{cfg: cfg, Parts: parts}
}

// Run works until ctx ends. Jobs in hand are finished within the grace that Jobs gives them.
func (w *Worker) Run(ctx context.Context) error {
	w.cfg.Logger.Info("worker started", "worker", w.cfg.Name, "slots", w.cfg.Slots)
	err := w.Jobs.Consume(ctx, w.cfg.Slots, w.handle)
	w.cfg.Logger.Info("worker stopped", "worker", w.cfg.Name)
	return err
}

// handle does one job.
func (w *Worker) handle(ctx context.Context, job *schemas.Job) error {
	start, operation := time.Now(), job.GetOperation().Token()
	w.cfg.Observer.JobStarted(operation)
	w.cfg.Logger.Debug("job in hand", "id", job.GetId(), "run", job.GetRun(), "operation", operation)
	refused, err := w.do(ctx, job)
	outcome := "done"
	var fault *schemas.Fault
	switch {
	case errors.As(err, &fault):
		outcome = "dead"
	case err != nil:
		outcome = "retried"
	}
	took := time.Since(start)
	w.cfg.Observer.JobDone(ctx, operation, outcome, len(job.GetItems()), refused, took)
	w.cfg.Logger.Debug("job settled", "id", job.GetId(), "run", job.GetRun(), "operation", operation,
		"key", job.GetKey().GetId(), "items", len(job.GetItems()), "refused", refused, "outcome", outcome, "took", took, "error", err)
	return err
}

// do gives the number of items that were refused.
func (w *Worker) do(ctx context.Context, job *schemas.Job) (refused int, err error) {
	start := time.Now()
	if err := w.Engine.Check(ctx, job.GetModel(), job.GetOperation(), job.GetKey()); err != nil {
		return 0, err
	}
	b, err := w.begin(ctx, job)
	if err != nil {
		return 0, err
	}
	if err := w.compute(ctx, b); err != nil {
		return 0, err
	}
	lap(&b.took.Total, start)
	result := &schemas.Result{Job: job.WithoutInline(), Outcomes: b.outcomes, Worker: w.cfg.Name, Durations: &b.took}
	if err := w.Publisher.PublishResult(ctx, result); err != nil {
		return 0, fmt.Errorf("publish the result of job %s: %w", job.GetId(), err)
	}
	return b.refused(), w.followUp(ctx, b)
}

// followUp publishes what follows an embed job.
func (w *Worker) followUp(ctx context.Context, b *batch) error {
	stego := make(map[string]string, len(b.outcomes))
	for _, o := range b.outcomes {
		if o.End() == schemas.EndDone {
			stego[o.GetItem()] = o.GetOutput().GetImage()
		}
	}
	for _, next := range schemas.FollowUpJobs(b.job, stego) {
		if err := w.Publisher.PublishJob(ctx, next); err != nil {
			return fmt.Errorf("publish the %s job with key %q after job %s: %w", next.GetOperation().Token(), next.GetKey().GetId(), b.job.GetId(), err)
		}
	}
	return nil
}

type silent struct{}

func (silent) JobStarted(string)                                                {}
func (silent) JobDone(context.Context, string, string, int, int, time.Duration) {}
