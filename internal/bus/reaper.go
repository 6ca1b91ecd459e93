package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/schemas"
)

// exhausted is the server's advisory on a message that it will not deliver again.
type exhausted struct {
	Stream     string `json:"stream"`
	Consumer   string `json:"consumer"`
	StreamSeq  uint64 `json:"stream_seq"`
	Deliveries uint64 `json:"deliveries"`
}

// reap turns messages that ran out of deliveries without anybody settling them (a message that kills
// its worker each time) into dead letters, until ctx ends. The server leaves such messages in a work queue
// for ever. Any number of processes may reap: they share a durable consumer, and a letter's id keeps
// it single.
func (b *Bus) reap(ctx context.Context) {
	err := b.consumeQueue(ctx, queue{stream: schemas.StreamAdvisories, consumer: consumerReaper}, 1, b.reapOne)
	if err != nil && ctx.Err() == nil {
		b.log.Error("exhausted messages are not watched", "err", err)
	}
}

func (b *Bus) reapOne(ctx context.Context, data []byte) error {
	var a exhausted
	if err := json.Unmarshal(data, &a); err != nil {
		return schemas.Permanent(schemas.ReasonBadMessage, fmt.Errorf("advisory: %w", err))
	}
	var stream jetstream.Stream
	switch a.Stream {
	case schemas.StreamJobs:
		stream = b.jobs
	case schemas.StreamResults:
		stream = b.results
	default:
		return schemas.Permanent(schemas.ReasonBadMessage, fmt.Errorf("advisory on stream %q", a.Stream))
	}
	m, err := stream.GetMsg(ctx, a.StreamSeq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil // settled after all, or reaped before
	}
	if err != nil {
		return fmt.Errorf("get message %d of %s: %w", a.StreamSeq, a.Stream, err)
	}
	letter := &schemas.DeadLetter{
		Reason: string(schemas.ReasonRetriesExhausted),
		Detail: fmt.Sprintf("delivered %d times and never settled: the worker may die of it", a.Deliveries),
		Stream: a.Stream, Subject: m.Subject, Deliveries: a.Deliveries, Message: m.Data,
	}
	if err := b.publishDead(ctx, letter, a.StreamSeq); err != nil {
		return err
	}
	b.stats.dead.Add(1)
	b.log.Warn("message ran out of deliveries", "subject", m.Subject, "deliveries", a.Deliveries)
	if a.Stream == schemas.StreamResults {
		return nil // results leave by age
	}
	err = stream.DeleteMsg(ctx, a.StreamSeq)
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return fmt.Errorf("delete message %d of %s: %w", a.StreamSeq, a.Stream, err)
	}
	return nil
}
