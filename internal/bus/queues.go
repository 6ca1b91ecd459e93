package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/schemas"
)

// ResultSource gives evaluators the results. All evaluators share one durable consumer, so each result
// goes to one of them.
type ResultSource struct{ bus *Bus }

// ResultSource returns the source of results.
func (b *Bus) ResultSource() *ResultSource { return &ResultSource{bus: b} }

// Consume runs handle for results as JobSource.Consume does for jobs.
func (s *ResultSource) Consume(ctx context.Context, slots int, handle func(ctx context.Context, result *schemas.Result) error) error {
	return s.bus.consumeQueue(ctx, queue{
		stream: schemas.StreamResults, consumer: consumerEvaluator, filter: schemas.ResultsFilter(),
		maxDeliver: or(s.bus.cfg.MaxDeliver, defaultMaxDeliver), bury: true, watch: true,
	}, slots, decoding(schemas.DecodeResult, handle))
}

// DeadSource gives evaluators the dead letters, each to one of them.
type DeadSource struct{ bus *Bus }

// DeadSource returns the source of dead letters.
func (b *Bus) DeadSource() *DeadSource { return &DeadSource{bus: b} }

// Consume runs handle for dead letters. They stay in their stream whatever handle returns. An error is
// tried again for as long as the letter lives, except a *schemas.Fault, which is logged: dead letters
// do not die again.
func (s *DeadSource) Consume(ctx context.Context, slots int, handle func(ctx context.Context, letter *schemas.DeadLetter) error) error {
	return s.bus.consumeQueue(ctx, queue{
		stream: schemas.StreamDead, consumer: consumerEvaluatorDead, filter: schemas.DeadFilter(),
	}, slots, decoding(schemas.DecodeDeadLetter, handle))
}

// queue is a stream that one durable consumer reads for everybody.
type queue struct {
	stream, consumer, filter string
	maxDeliver               int  // 0: no limit
	bury                     bool // see settler
	watch                    bool // run the reaper as well
}

func (q queue) config(b *Bus) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: q.consumer, FilterSubject: q.filter,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: or(b.cfg.AckWait, defaultAckWait),
		MaxDeliver: or(q.maxDeliver, -1), MaxAckPending: -1,
	}
}

// waitPull is how long one pull of a queue waits at the server. It bounds the delay after a reconnection,
// when the server has forgotten the pull.
const waitPull = 5 * time.Second

// consumeQueue has each slot wait for one message at a time, so that nothing is fetched ahead.
func (b *Bus) consumeQueue(ctx context.Context, q queue, slots int, h handler) error {
	done, ok := b.enter()
	if !ok {
		return ErrClosed
	}
	defer done()
	ctx, cancel := b.bound(ctx)
	defer cancel()
	if slots < 1 {
		return fmt.Errorf("consume %s: slots must be at least 1, got %d", q.stream, slots)
	}
	settler := b.newSettler(h)
	settler.bury = q.bury
	settler.maxDeliver = uint64(q.maxDeliver)
	if err := b.ensureConsumer(ctx, q, settler); err != nil && ctx.Err() == nil {
		b.log.Warn("the consumer is not there yet, trying again", "consumer", q.consumer, "err", err)
	}
	var loops sync.WaitGroup
	for range slots {
		loops.Go(func() { b.serveSlot(ctx, q, settler) })
	}
	if q.watch {
		loops.Go(func() { b.reap(ctx) })
	}
	loops.Wait()
	return settler.finish()
}

func (b *Bus) serveSlot(ctx context.Context, q queue, s *settler) {
	pull, err := newPuller(b.nc)
	if err != nil {
		b.log.Error("subscribe for pulls", "stream", q.stream, "err", err)
		return
	}
	defer func() { pull.close() }()
	idle := make(chan struct{}, 1)
	for ctx.Err() == nil {
		got, err := pull.pull(ctx, q.stream, q.consumer, pullRequest{Batch: 1, Expires: waitPull})
		for _, m := range got {
			s.start(m, func() { idle <- struct{}{} })
			select {
			case <-idle:
			case <-ctx.Done(): // the handler goes on; finish waits for it
			}
		}
		if errors.Is(err, errNoConsumer) {
			err = b.ensureConsumer(ctx, q, nil)
		}
		if err != nil && ctx.Err() == nil {
			b.log.Debug("pull", "consumer", q.consumer, "err", err)
			pause(ctx, 100*time.Millisecond)
		}
	}
}

// ensureConsumer creates the queue's consumer, or changes what was asked for explicitly, and has s
// adopt its settings.
func (b *Bus) ensureConsumer(ctx context.Context, q queue, s *settler) error {
	return b.request(ctx, func(ctx context.Context) error {
		c, err := b.js.Consumer(ctx, q.stream, q.consumer)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			c, err = b.js.CreateOrUpdateConsumer(ctx, q.stream, q.config(b))
		} else if err == nil {
			if want, changed := b.explicit(c.CachedInfo().Config, q.maxDeliver > 0); changed {
				c, err = b.js.UpdateConsumer(ctx, q.stream, want)
			}
		}
		if err != nil {
			return fmt.Errorf("consumer %s: %w", q.consumer, err)
		}
		if s != nil {
			s.adopt(c.CachedInfo().Config)
		}
		return nil
	})
}
