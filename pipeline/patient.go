package pipeline

import (
	"context"
	"sync/atomic"
	"time"

	"stegomq/internal/blob"
	"stegomq/internal/bus"
	"stegomq/internal/cache"
	"stegomq/schemas"
)

// patientCache is the cache for a run: it waits for Redis.
type patientCache struct {
	*cache.Cache
	*patience
}

// ask calls f, which gives a value, patiently.
func ask[T any](ctx context.Context, p *patience, server string, f func(context.Context) (T, error)) (value T, err error) {
	err = p.try(ctx, server, func(ctx context.Context) (err error) {
		value, err = f(ctx)
		return err
	})
	return value, err
}

func (c patientCache) Inspected(ctx context.Context, digests []string, limits string) ([]bool, error) {
	return ask(ctx, c.patience, redisServer, func(ctx context.Context) ([]bool, error) { return c.Cache.Inspected(ctx, digests, limits) })
}

func (c patientCache) RememberInspected(ctx context.Context, digests []string, limits string) error {
	return c.try(ctx, redisServer, func(ctx context.Context) error { return c.Cache.RememberInspected(ctx, digests, limits) })
}

func (c patientCache) Outcomes(ctx context.Context, ids []string) ([]*schemas.Outcome, error) {
	return ask(ctx, c.patience, redisServer, func(ctx context.Context) ([]*schemas.Outcome, error) { return c.Cache.Outcomes(ctx, ids) })
}

func (c patientCache) Runtime(ctx context.Context) (string, error) {
	return ask(ctx, c.patience, redisServer, c.Cache.Runtime)
}

func (c patientCache) Metrics(ctx context.Context, ids []string) ([]*schemas.Metrics, error) {
	return ask(ctx, c.patience, redisServer, func(ctx context.Context) ([]*schemas.Metrics, error) { return c.Cache.Metrics(ctx, ids) })
}

func (c patientCache) StartRun(ctx context.Context, spec *schemas.RunSpec) error {
	return c.try(ctx, redisServer, func(ctx context.Context) error {
		_, err := c.Cache.StartRun(ctx, spec)
		return err
	})
}

func (c patientCache) FinishRun(ctx context.Context, run string) error {
	return c.try(ctx, redisServer, func(ctx context.Context) error { return c.Cache.FinishRun(ctx, run) })
}

func (c patientCache) PutScores(ctx context.Context, run string, scores []*schemas.Score) error {
	return c.try(ctx, redisServer, func(ctx context.Context) error {
		_, err := c.Cache.PutScores(ctx, run, scores)
		return err
	})
}

// progressTimeout bounds one count: a server that is stopped gives no answer and no error.
const progressTimeout = 5 * time.Second

func (c patientCache) Progress(ctx context.Context, run string) (scores, failures int64, err error) {
	err = c.try(ctx, redisServer, func(ctx context.Context) (err error) {
		ctx, cancel := context.WithTimeout(ctx, progressTimeout)
		defer cancel()
		scores, failures, err = c.Cache.Progress(ctx, run)
		return err
	})
	return scores, failures, err
}

func (c patientCache) Scores(ctx context.Context, run string) (scores, failures []*schemas.Score, err error) {
	err = c.try(ctx, redisServer, func(ctx context.Context) (err error) {
		scores, failures, err = c.Cache.Scores(ctx, run)
		return err
	})
	return scores, failures, err
}

// patientBlobs is the blob store for a run or a stream: it waits for the message queue, and counts what it does.
type patientBlobs struct {
	blob.Store
	*patience
	moved *atomic.Int64
}

func (b patientBlobs) Put(ctx context.Context, data []byte) (string, error) {
	defer b.moved.Add(1)
	return ask(ctx, b.patience, natsServer, func(ctx context.Context) (string, error) { return b.Store.Put(ctx, data) })
}

func (b patientBlobs) Get(ctx context.Context, digest string) ([]byte, error) {
	return ask(ctx, b.patience, natsServer, func(ctx context.Context) ([]byte, error) { return b.Store.Get(ctx, digest) })
}

func (b patientBlobs) Has(ctx context.Context, digests ...string) ([]bool, error) {
	return ask(ctx, b.patience, natsServer, func(ctx context.Context) ([]bool, error) { return b.Store.Has(ctx, digests...) })
}

// publisher counts what it publishes.
type publisher struct {
	*bus.Bus
	moved *atomic.Int64
}

func (p publisher) PublishJob(ctx context.Context, job *schemas.Job) error {
	defer p.moved.Add(1)
	return p.Bus.PublishJob(ctx, job)
}
