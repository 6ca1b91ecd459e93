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

// Source gives evaluators the messages of a stream. All evaluators share one durable consumer, so each message goes to one of them.
type Source[T any] struct {
	bus                      *Bus
	stream, consumer, filter string
	gate                     func(context.Context) error
	forever                  bool // see settler
	decode                   func(subject string, data []byte) (T, error)
	// job returns the job of a message, for the observer. Nil: there is none.
	job      func(T) *schemas.Job
	observer Observer
}

// Observed returns the source with an observer of how long its messages take.
func (s *Source[T]) Observed(o Observer) *Source[T] {
	with := *s
	with.observer = o
	return &with
}

// ResultSource returns the source of results to score. The gate is that of JobOptions.
func (b *Bus) ResultSource(gate func(context.Context) error) *Source[*schemas.Result] {
	return &Source[*schemas.Result]{
		bus: b, stream: schemas.StreamScoring, consumer: "evaluator", filter: schemas.ScoringFilter(), gate: gate, job: (*schemas.Result).GetJob,
		decode: func(subject string, data []byte) (*schemas.Result, error) {
			result, err := schemas.DecodeResult(data)
			if err == nil && schemas.ResultSubject(result) != subject {
				err = fmt.Errorf("the result belongs to subject %s", schemas.ResultSubject(result))
			}
			return result, err
		},
	}
}

// DeadSource returns the source of dead letters. The gate is that of JobOptions. Letters stay in their stream whatever their handler returns.
// After an error the letter is tried again for as long as it is stored, except after a *schemas.Fault, which is logged: dead letters do not die again.
func (b *Bus) DeadSource(gate func(context.Context) error) *Source[*schemas.DeadLetter] {
	return &Source[*schemas.DeadLetter]{
		bus: b, stream: schemas.StreamDead, consumer: "evaluator-dead", filter: schemas.DeadFilter(), gate: gate, forever: true,
		decode: func(_ string, data []byte) (*schemas.DeadLetter, error) { return schemas.DecodeDeadLetter(data) },
	}
}

// waitPull is how long one pull waits at the server. It bounds the delay after a reconnection,
// when the server has forgotten the pull.
const waitPull = 5 * time.Second

// Consume runs handle for messages, like JobSource.Consume for jobs. Each slot waits for one message at a time, so nothing is fetched ahead.
func (s *Source[T]) Consume(ctx context.Context, slots int, handle func(ctx context.Context, message T) error) error {
	ctx, done, err := s.bus.link.Begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if slots < 1 {
		return fmt.Errorf("consume %s: slots must be at least 1, got %d", s.stream, slots)
	}
	settler := s.bus.newSettler(func(ctx context.Context, m *delivery) error {
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
	settler.forever, settler.gate = s.forever, s.gate
	if err := s.ensure(ctx); err != nil && ctx.Err() == nil {
		s.bus.log.Warn("the consumer is not there yet, trying again", "consumer", s.consumer, "err", err)
	}
	var loops sync.WaitGroup
	for range slots {
		loops.Go(func() { s.serveSlot(ctx, settler) })
	}
	loops.Wait()
	settler.finish()
	return nil
}

// ensure makes sure that the shared consumer exists.
func (s *Source[T]) ensure(ctx context.Context) error {
	return s.bus.streams.EnsureConsumer(ctx, s.stream, jetstream.ConsumerConfig{Durable: s.consumer, FilterSubject: s.filter})
}

func (s *Source[T]) serveSlot(ctx context.Context, settler *settler) {
	pull, err := newPuller(s.bus.link.NC)
	if err != nil {
		s.bus.log.Error("subscribe for pulls", "stream", s.stream, "err", err)
		return
	}
	defer pull.close()
	idle := make(chan struct{}, 1)
	for settler.open(ctx) {
		got, err := pull.pull(ctx, s.stream, s.consumer, pullRequest{Batch: 1, Expires: waitPull})
		for _, m := range got {
			settler.start(m, func() { idle <- struct{}{} })
			select {
			case <-idle:
			case <-ctx.Done(): // the handler goes on; finish waits for it
			}
		}
		if errors.Is(err, errNoConsumer) {
			err = s.ensure(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.bus.log.Debug("pull", "consumer", s.consumer, "err", err)
			link.Pause(ctx, 100*time.Millisecond)
		}
	}
}
