package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/schemas"
)

// DeadEntry is a dead letter and its number in the stream, by which it is retried or dropped.
type DeadEntry struct {
	Seq    uint64
	Letter *schemas.DeadLetter
}

// ListDead returns the dead letters, oldest first: all of them, or those with a reason, and at most limit
// of them (0: no limit).
func (b *Bus) ListDead(ctx context.Context, reason schemas.Reason, limit int) ([]DeadEntry, error) {
	filter := schemas.DeadFilter()
	if reason != "" {
		if strings.ContainsAny(string(reason), ".*> \t\r\n") {
			return nil, fmt.Errorf("list dead letters: %w: reason %q is not one word", ErrBadFilter, reason)
		}
		filter = schemas.DeadSubject(reason)
	}
	var list []DeadEntry
	err := b.scan(ctx, b.dead, filter, func(seq uint64, data []byte) bool {
		letter, err := schemas.DecodeDeadLetter(data)
		if err != nil {
			b.log.Warn("a dead letter that does not decode", "seq", seq, "err", err)
			return true
		}
		list = append(list, DeadEntry{Seq: seq, Letter: letter})
		return limit <= 0 || len(list) < limit
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return list, nil
}

// scan calls f for what a stream holds under filter now, until f returns false. It makes no consumer: those stay for a while, and a stream
// has only so many.
func (b *Bus) scan(ctx context.Context, stream jetstream.Stream, filter string, f func(seq uint64, data []byte) bool) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	name := stream.CachedInfo().Config.Name
	for next := uint64(1); ; {
		var m *storedMsg
		err := b.request(ctx, func(ctx context.Context) (err error) {
			m, err = b.getMsg(ctx, name, getRequest{Seq: next, NextBySubject: filter})
			return err
		})
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if !f(m.Seq, m.Data) {
			return nil
		}
		next = m.Seq + 1
	}
}

// buryForeign makes dead letters of what lies in a queue on a subject that no job has.
func (b *Bus) buryForeign(ctx context.Context, stream jetstream.Stream, subject string) error {
	name := stream.CachedInfo().Config.Name
	return b.scan(ctx, stream, subject, func(seq uint64, data []byte) bool {
		letter := &schemas.DeadLetter{
			Reason: string(schemas.ReasonBadMessage), Detail: "no job has this subject", Stream: name, Subject: subject, Message: data,
		}
		err := b.publishDead(ctx, letter, seq)
		if err == nil {
			err = stream.DeleteMsg(ctx, seq)
		}
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			b.log.Warn("a message that nobody reads stays where it is", "subject", subject, "err", err)
		}
		return true
	})
}

// GetDead returns one dead letter, or ErrNoDeadLetter.
func (b *Bus) GetDead(ctx context.Context, seq uint64) (*schemas.DeadLetter, error) {
	m, err := b.dead.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("%w: %d", ErrNoDeadLetter, seq)
	}
	if err != nil {
		return nil, fmt.Errorf("get dead letter %d: %w", seq, err)
	}
	letter, err := schemas.DecodeDeadLetter(m.Data)
	if err != nil {
		return nil, fmt.Errorf("get dead letter %d: %w", seq, err)
	}
	return letter, nil
}

// RetryDead publishes the message of a dead letter to its subject again, as a new message, and deletes
// the letter. It waits for room as PublishJob does. It returns ErrNoDeadLetter when the letter is gone.
func (b *Bus) RetryDead(ctx context.Context, seq uint64) error {
	letter, err := b.GetDead(ctx, seq)
	if err != nil {
		return err
	}
	subject := letter.GetSubject()
	// The id differs from the message's first one, which the server may still remember, but is the same
	// for two retries of one letter.
	again := outgoing{subject: subject, id: fmt.Sprintf("retry-%d", seq), data: letter.GetMessage()}
	job, jobErr := schemas.DecodeJob(letter.GetMessage())
	result, resultErr := schemas.DecodeResult(letter.GetMessage())
	switch {
	case jobErr == nil && schemas.JobSubject(job) == subject:
		again.lane = job
	case resultErr == nil && schemas.ResultSubject(result) == subject:
	default:
		return fmt.Errorf("retry dead letter %d: %w: what came from %q would die again", seq, ErrBadFilter, subject)
	}
	if err := b.publish(ctx, again); err != nil {
		return fmt.Errorf("retry dead letter %d: %w", seq, err)
	}
	return b.DropDead(ctx, seq)
}

// DropDead deletes a dead letter, or returns ErrNoDeadLetter.
func (b *Bus) DropDead(ctx context.Context, seq uint64) error {
	err := b.dead.DeleteMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return fmt.Errorf("%w: %d", ErrNoDeadLetter, seq)
	}
	if err != nil {
		return fmt.Errorf("delete dead letter %d: %w", seq, err)
	}
	return nil
}
