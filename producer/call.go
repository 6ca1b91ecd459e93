package producer

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"stegomq/internal/tracing"
	"stegomq/schemas"
)

// Call is a job of a stream whose images are in memory. All of its images are inline where they fit into a message.
type Call struct {
	Key *schemas.KeyRef
	// Images has for each item, 1 to schemas.MaxItems, what the operation takes: cover and secret, a stego image, or an image.
	Images [][][]byte
	// Blobs puts images that would fit into the message into the blob store as well.
	Blobs bool
}

// Answer is what came of a call.
type Answer struct {
	Result  *schemas.Result
	Outputs [][]byte // one for each item; nil where it has none
	// Wait is the time from when the queue had the job until its result came, Collect that to fetch the outputs.
	Wait, Collect time.Duration
}

// Serve runs f, within which Call may be called by any number of goroutines.
func (s *Stream) Serve(ctx context.Context, f func(ctx context.Context) error) error {
	_, err := s.serve(ctx, f)
	return err
}

// Call does what a request does without reading and writing files. It returns when there is a result and its outputs are fetched, and ends early
// with ctx.
func (s *Stream) Call(ctx context.Context, c Call) (_ *Answer, err error) {
	ctx, span := tracing.Start(ctx, "request")
	defer func() { span.End(err) }()
	job, err := s.callJob(ctx, c)
	if err != nil {
		return nil, err
	}
	results := make(chan *schemas.Result, 1)
	if err := s.publish(ctx, pending{job: job, result: results}, job); err != nil {
		return nil, err
	}
	sent := time.Now()
	a := &Answer{}
	select {
	case a.Result = <-results:
	case <-ctx.Done():
		s.take(job)
		return nil, ctx.Err()
	}
	came := time.Now()
	a.Wait = came.Sub(sent)
	if a.Outputs, err = s.outputs(ctx, a.Result); err != nil {
		return nil, fmt.Errorf("fetch the output: %w", err)
	}
	a.Collect = time.Since(came)
	return a, nil
}

// outputs are those of a result, fetched at the same time.
func (s *Stream) outputs(ctx context.Context, r *schemas.Result) ([][]byte, error) {
	all := make([][]byte, len(r.GetOutcomes()))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for i, o := range r.GetOutcomes() {
		if o.End() != schemas.EndDone {
			continue
		}
		g.Go(func() (err error) {
			all[i], err = s.Blobs.Get(ctx, o.GetOutput().GetImage())
			return err
		})
	}
	return all, g.Wait()
}

func (s *Stream) callJob(ctx context.Context, c Call) (*schemas.Job, error) {
	total := 0
	for _, images := range c.Images {
		for _, data := range images {
			total += len(data)
		}
	}
	inline := total <= schemas.MaxInline && !c.Blobs
	items := make([]*schemas.Item, len(c.Images))
	g, store := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for i, images := range c.Images {
		g.Go(func() (err error) {
			if items[i], err = s.item(store, images, inline); err == nil {
				items[i].Id = fmt.Sprintf("i%d", i)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	job := s.job(s.cfg.Operation, s.cfg.Geometry, items...)
	job.Key = c.Key
	job.Id = schemas.JobID(job)
	return job, job.Validate()
}

// item is one of the stream's operation, without an id, of images that are in the job itself or else in the blob store.
func (s *Stream) item(ctx context.Context, images [][]byte, inline bool) (*schemas.Item, error) {
	refs := make([]*schemas.ImageRef, len(images))
	for i, data := range images {
		if inline {
			refs[i] = &schemas.ImageRef{Digest: schemas.Digest(data), Inline: data}
			continue
		}
		digest, err := s.Blobs.Put(ctx, data)
		if err != nil {
			return nil, fmt.Errorf("store an image: %w", err)
		}
		refs[i] = schemas.BlobRef(digest, "")
	}
	return s.cfg.Operation.NewItem(refs...)
}
