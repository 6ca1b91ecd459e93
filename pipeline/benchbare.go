package pipeline

import (
	"context"
	"errors"
	"image"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"stegomq/internal/load"
	"stegomq/internal/ort"
	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// bareLoop is the runtime alone, with the weights of the first key as constants.
type bareLoop struct {
	graphs  []*ort.Bare // of the operations of a request, in their order
	inputs  [][]pixel.Tensor
	threads int
}

func (l *bareLoop) close() error {
	var failed []error
	for _, g := range l.graphs {
		failed = append(failed, g.Close())
	}
	return errors.Join(failed...)
}

// CheckBaseline says why there is no bare loop to measure against; nil where there is one.
func (r *BenchRequest) CheckBaseline(embedded bool) error {
	switch {
	case !embedded:
		return wrong("baseline: the bare loop is measured where the workers are, in this process; leave out --nats and --redis")
	case r.Operation == BenchNoOp || !r.Model.Manifest.Network():
		return wrong("baseline: there is no network to run bare; leave it out")
	}
	return nil
}

// openBare makes the bare loop, with as many threads as the pipeline may have runs at once: inFlight bounds them, where it is above 0.
func (b *Bench) openBare(inFlight int) error {
	l := &b.bare
	if l.graphs != nil {
		return nil
	}
	for _, e := range b.engines {
		l.threads += e.Info().Workers
	}
	if inFlight > 0 {
		l.threads = min(l.threads, inFlight)
	}
	for _, op := range b.req.operations() {
		g, err := b.engines[0].Bare(b.req.Model.Digest, op, b.keys[0])
		if err != nil {
			return err
		}
		l.graphs = append(l.graphs, g)
		in, err := b.tensors(op)
		if err != nil {
			return err
		}
		l.inputs = append(l.inputs, in)
	}
	return nil
}

// tensors are a batch of what an operation takes.
func (b *Bench) tensors(op schemas.Operation) (_ []pixel.Tensor, err error) {
	made := make([]pixel.Tensor, len(op.Describe().Images))
	for k := range made {
		images := make([]*image.NRGBA, b.req.Batch)
		for n := range images {
			if images[n], _, err = pixel.Decode(b.images.pairs[n%len(b.images.pairs)][k], b.opts.Limits); err != nil {
				return nil, err
			}
		}
		if made[k], err = pixel.FromImages(images); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// Bare runs the bare loop for so long, after one run of each thread, and gives the number of threads.
func (b *Bench) Bare(ctx context.Context, took time.Duration, inFlight int) (found load.Bare, threads int, err error) {
	if err := b.openBare(inFlight); err != nil {
		return found, 0, err
	}
	all := func(until time.Time) (int64, error) {
		var items atomic.Int64
		var g errgroup.Group
		for range b.bare.threads {
			g.Go(func() error {
				for first := true; first || time.Now().Before(until); first = false {
					for i, graph := range b.bare.graphs {
						if _, err := graph.Run(ctx, b.bare.inputs[i]...); err != nil {
							return err
						}
					}
					items.Add(int64(b.req.Batch))
				}
				return nil
			})
		}
		err := g.Wait()
		return items.Load(), err
	}
	if _, err := all(time.Time{}); err != nil {
		return found, 0, err
	}
	start, before := time.Now(), load.Self("").CPU
	items, err := all(start.Add(took))
	if err != nil {
		return found, 0, err
	}
	found.ItemsASecond = float64(items) / time.Since(start).Seconds()
	found.CPUAnItem = (load.Self("").CPU - before) / float64(items)
	return found, b.bare.threads, nil
}
