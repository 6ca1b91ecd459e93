package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/internal/link"
	"stegomq/internal/tracing"
	"stegomq/schemas"
)

// Source gives evaluators what is in a stream. All of them share one durable consumer, so that each message goes to one of them.
type Source[T any] struct {
	bus    *Bus
	queue  queue
	decode func(subject string, data []byte) (T, error)
	// job is that of a message, for the observer.
	job      func(T) *schemas.Job
	observer Observer
}

// Observed is the source with somebody who is told how long its messages take.
func (s *Source[T]) Observed(o Observer) *Source[T] {
	with := *s
	with.observer = o
	return &with
}

// ResultSource returns the source of results that are to be scored. The gate is that of JobOptions.
func (b *Bus) ResultSource(gate func(context.Context) error) *Source[*schemas.Result] {
	q := queue{stream: schemas.StreamScoring, consumer: "evaluator", filter: schemas.ScoringFilter(), gate: gate}
	return &Source[*schemas.Result]{bus: b, queue: q, job: (*schemas.Result).GetJob, decode: func(subject string, data []byte) (*schemas.Result, error) {
		result, err := schemas.DecodeResult(data)
		if err == nil && schemas.ResultSubject(result) != subject {
			err = fmt.Errorf("the result belongs to subject %s", schemas.ResultSubject(result))
		}
		return result, err
	}}
}

// DeadSource returns the source of dead letters. The gate is that of JobOptions. Letters stay in their stream whatever their handler returns.
// Its error is tried again for as long as the letter lives, except a *schemas.Fault, which is logged: dead letters do not die again.
func (b *Bus) DeadSource(gate func(context.Context) error) *Source[*schemas.DeadLetter] {
	q := queue{stream: schemas.StreamDead, consumer: "evaluator-dead", filter: schemas.DeadFilter(), gate: gate, forever: true}
	return &Source[*schemas.DeadLetter]{bus: b, queue: q, decode: func(_ string, data []byte) (*schemas.DeadLetter, error) {
		return schemas.DecodeDeadLetter(data)
	}}
}

// Consume runs handle for messages as JobSource.Consume does for jobs.
func (s *Source[T]) Consume(ctx context.Context, slots int, handle func(ctx context.Context, message T) error) error {
	return s.bus.consumeQueue(ctx, s.queue, slots, func(ctx context.Context, m *delivery) error {
		message, err := s.decode(m.Subject, m.Data)
		if err != nil {
			return schemas.Permanent(schemas.ReasonBadMessage, err)
		}
		if s.job == nil {
			return handle(ctx, message)
		}
		tracing.Of(ctx).Job(s.job(message))
		return observed(ctx, s.observer, m, "score", schemas.JobClass(s.job(message)), func() error { return handle(ctx, message) })
	})
}

// queue is a stream that one durable consumer reads for everybody.
type queue struct {
	stream, consumer, filter string
	gate                     func(context.Context) error
	forever                  bool // see settler
}

func (q queue) config() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{Durable: q.consumer, FilterSubject: q.filter}
}

// waitPull is how long one pull waits at the server. It bounds the delay after a reconnection,
// when the server has forgotten the pull.
const waitPull = 5 * time.Second

// consumeQueue has each slot wait for one message at a time, so that nothing is fetched ahead.
func (b *Bus) consumeQueue(ctx context.Context, q queue, slots int, h handler) error {
	ctx, done, err := b.link.Begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if slots < 1 {
		return fmt.Errorf("consume %s: slots must be at least 1, got %d", q.stream, slots)
	}
	settler := b.newSettler(h)
	settler.forever, settler.gate = q.forever, q.gate
	if err := b.streams.EnsureConsumer(ctx, q.stream, q.config()); err != nil && ctx.Err() == nil {
		b.log.Warn("the consumer is not there yet, trying again", "consumer", q.consumer, "err", err)
	}
	var loops sync.WaitGroup
	for range slots {
		loops.Go(func() { b.serveSlot(ctx, q, settler) })
	}
	loops.Wait()
	settler.finish()
	return nil
}

func (b *Bus) serveSlot(ctx context.Context, q queue, s *settler) {
	pull, err := newPuller(b.link.NC)
	if err != nil {
		b.log.Error("subscribe for pulls", "stream", q.stream, "err", err)
		return
	}
	defer func() { pull.close() }()
	idle := make(chan struct{}, 1)
	for s.open(ctx) {
		got, err := pull.pull(ctx, q.stream, q.consumer, pullRequest{Batch: 1, Expires: waitPull})
		for _, m := range got {
			s.start(m, func() { idle <- struct{}{} })
			select {
			case <-idle:
			case <-ctx.Done(): // the handler goes on; finish waits for it
			}
		}
		if errors.Is(err, errNoConsumer) {
			err = b.streams.EnsureConsumer(ctx, q.stream, q.config())
		}
		if err != nil && ctx.Err() == nil {
			b.log.Debug("pull", "consumer", q.consumer, "err", err)
			link.Pause(ctx, 100*time.Millisecond)
		}
	}
}
