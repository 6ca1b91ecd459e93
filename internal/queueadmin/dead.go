package queueadmin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/internal/bus"
	"stegomq/internal/link"
	"stegomq/internal/tracing"
	"stegomq/schemas"
)

// ErrNoDeadLetter: there is no dead letter of that number.
var ErrNoDeadLetter = errors.New("no such dead letter")

// DeadEntry is a dead letter and its number in the stream, by which it is retried or dropped.
type DeadEntry struct {
	Seq    uint64
	Letter *schemas.DeadLetter
}

// ListDead returns the dead letters, oldest first: all of them, or those with a reason, and at most limit
// of them (0: no limit).
func (a *Admin) ListDead(ctx context.Context, reason schemas.Reason, limit int) ([]DeadEntry, error) {
	filter := schemas.DeadFilter()
	if reason != "" {
		if strings.ContainsAny(string(reason), ".*> \t\r\n") {
			return nil, fmt.Errorf("list dead letters: %w: reason %q is not one word", bus.ErrBadFilter, reason)
		}
		filter = schemas.DeadSubject(reason)
	}
	var list []DeadEntry
	err := a.link.Scan(ctx, schemas.StreamDead, filter, func(m *link.Stored) bool {
		letter, err := schemas.DecodeDeadLetter(m.Data)
		if err != nil {
			a.link.Log.Warn("a dead letter that does not decode", "seq", m.Seq, "err", err)
			return true
		}
		list = append(list, DeadEntry{Seq: m.Seq, Letter: letter})
		return limit <= 0 || len(list) < limit
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return list, nil
}

// GetDead returns one dead letter, or ErrNoDeadLetter.
func (a *Admin) GetDead(ctx context.Context, seq uint64) (*schemas.DeadLetter, error) {
	letter, _, err := a.getDead(ctx, seq)
	return letter, err
}

func (a *Admin) getDead(ctx context.Context, seq uint64) (*schemas.DeadLetter, *link.Stored, error) {
	m, err := a.link.Get(ctx, schemas.StreamDead, link.Query{Seq: seq})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil, fmt.Errorf("%w: %d", ErrNoDeadLetter, seq)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("get dead letter %d: %w", seq, err)
	}
	letter, err := schemas.DecodeDeadLetter(m.Data)
	if err != nil {
		return nil, nil, fmt.Errorf("get dead letter %d: %w", seq, err)
	}
	return letter, m, nil
}

// RetryDead publishes the message of a dead letter to its subject again, as a new message, and deletes
// the letter. The work continues the letter's trace, or is linked to it (tracing.Resend). It waits for room like Bus.PublishJob. It
// returns ErrNoDeadLetter when the letter is gone.
func (a *Admin) RetryDead(ctx context.Context, seq uint64) error {
	letter, m, err := a.getDead(ctx, seq)
	if err != nil {
		return err
	}
	// The id differs from the message's first one, which the server may still remember, but is the same for two retries of one letter. A tenant may
	// store any id in the queue of interactive jobs, and cannot guess this one: the name of a run is part of the message.
	id := fmt.Sprintf("retry-%d-%s", seq, schemas.Digest(m.Data))
	if err := a.bus.Republish(ctx, letter.GetSubject(), id, letter.GetMessage(), tracing.Message{Subject: m.Subject, Header: m.Header()}); err != nil {
		return fmt.Errorf("retry dead letter %d: %w", seq, err)
	}
	return a.DropDead(ctx, seq)
}

// DropDead deletes a dead letter, or returns ErrNoDeadLetter.
func (a *Admin) DropDead(ctx context.Context, seq uint64) error {
	stream, err := a.link.JS.Stream(ctx, schemas.StreamDead)
	if err == nil {
		err = stream.DeleteMsg(ctx, seq)
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return fmt.Errorf("%w: %d", ErrNoDeadLetter, seq)
	}
	if err != nil {
		return fmt.Errorf("delete dead letter %d: %w", seq, err)
	}
	return nil
}

// DropDeadOf deletes the dead letters of a tenant's jobs, which may hold images.
func (a *Admin) DropDeadOf(ctx context.Context, tenant string) error {
	jobs := strings.TrimSuffix(schemas.TenantJobs(schemas.Interactive, tenant), ">")
	var theirs []uint64
	err := a.link.Scan(ctx, schemas.StreamDead, schemas.DeadFilter(), func(m *link.Stored) bool {
		if letter, err := schemas.DecodeDeadLetter(m.Data); err == nil && strings.HasPrefix(letter.GetSubject(), jobs) {
			theirs = append(theirs, m.Seq)
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("find the dead letters of %s: %w", tenant, err)
	}
	for _, seq := range theirs {
		if err := a.DropDead(ctx, seq); err != nil && !errors.Is(err, ErrNoDeadLetter) { // somebody else may have been first
			return err
		}
	}
	return nil
}
