package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/schemas"
)

// SubscribeResults calls onResult for every result of a run, and onDead for every dead letter of the
// run's jobs: first those that the streams hold, in their order, then new ones as they come. The calls
// are made one at a time. It ends when ctx does (with ctx's error), when the bus is closed (ErrClosed), or
// with the first error that a callback returns. Results may come twice (work is done at least once).
// Dead letters of earlier attempts of the run come as well; the job in DeadLetter.message has the attempt.
func (b *Bus) SubscribeResults(ctx context.Context, run string,
	onResult func(*schemas.Result) error, onDead func(*schemas.DeadLetter) error,
) error {
	if !schemas.ValidRunID(run) {
		return fmt.Errorf("subscribe to results: %w: %q cannot name a run", ErrBadFilter, run)
	}
	done, ok := b.enter()
	if !ok {
		return ErrClosed
	}
	defer done()
	inner, cancel := b.bound(ctx)
	defer cancel()

	calls := make(chan func() error)
	results, err := b.follow(inner, b.results, schemas.RunResultsFilter(run), func(data []byte) func() error {
		result, err := schemas.DecodeResult(data)
		if err != nil {
			b.log.Warn("a result that does not decode", "run", run, "err", err)
			return nil
		}
		return func() error { return onResult(result) }
	}, calls)
	if err != nil {
		return b.ended(ctx, fmt.Errorf("subscribe to the results of run %s: %w", run, err))
	}
	defer results()
	letters, err := b.follow(inner, b.dead, schemas.DeadFilter(), func(data []byte) func() error {
		letter, err := schemas.DecodeDeadLetter(data)
		if err != nil || runOf(letter) != run {
			return nil
		}
		return func() error { return onDead(letter) }
	}, calls)
	if err != nil {
		return b.ended(ctx, fmt.Errorf("subscribe to the dead letters of run %s: %w", run, err))
	}
	defer letters()
	for {
		select {
		case call := <-calls:
			if err := call(); err != nil {
				return err
			}
		case <-inner.Done():
			return b.ended(ctx, nil)
		}
	}
}

// follow sends to calls what decode makes of each message under filter, from the first one on. The
// ordered consumer survives reconnections. stop ends it and waits until it has.
func (b *Bus) follow(ctx context.Context, stream jetstream.Stream, filter string,
	decode func([]byte) func() error, calls chan<- func() error,
) (stop func(), err error) {
	c, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	consuming, err := c.Consume(func(m jetstream.Msg) {
		if ctx.Err() != nil {
			return
		}
		if call := decode(m.Data()); call != nil {
			select {
			case calls <- call:
			case <-ctx.Done():
			}
		}
	}, jetstream.PullMaxMessagesWithBytesLimit(64, pullBytes), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		if ctx.Err() == nil && !errors.Is(err, jetstream.ErrOrderedConsumerReset) {
			b.log.Debug("following a stream", "filter", filter, "err", err)
		}
	}))
	if err != nil {
		cancel()
		return nil, err
	}
	return func() {
		cancel()
		consuming.Stop()
		<-consuming.Closed()
	}, nil
}

// runOf is the run of the job that a dead letter holds, or "".
func runOf(letter *schemas.DeadLetter) string {
	if job, err := schemas.DecodeJob(letter.GetMessage()); err == nil {
		return job.GetRun()
	}
	if result, err := schemas.DecodeResult(letter.GetMessage()); err == nil {
		return result.GetJob().GetRun()
	}
	return ""
}
