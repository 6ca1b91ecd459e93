package link

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// envelope is the most that a dead letter adds to the message that it holds, in bytes.
const envelope = 4 << 10

// MaxMessage bounds a published message, in bytes: the server's limit, less the overhead of a dead letter around it.
func (l *Link) MaxMessage() int64 { return l.NC.MaxPayload() - envelope }

// Message is a message to publish.
type Message struct {
	Subject string
	ID      string // Nats-Msg-Id, by which the server knows it for two minutes; "": none
	Data    []byte
	// Header is sent with it, beside the id.
	Header nats.Header
	// Full is returned instead of waiting for room; nil: wait.
	Full error
	// There is returned instead of storing the message if its subject has a message already; nil: store it anyway.
	There error
	// OfTenant is the stream of a tenant that stores the message: if it does not exist, ErrNoStream is returned instead of waiting for it. Nobody but
	// the operator makes it again. "": the operator's own streams, which are made again.
	OfTenant string
	// Prepare makes what the message needs, before every try. Nil: nothing.
	Prepare func(context.Context) error
}

// Publish stores a message and returns when the server has confirmed it. It waits for room and for the server until ctx ends. It
// returns ErrTooLarge, Message.Full, ErrNoStream, ErrClosed, or the server's refusal.
func (l *Link) Publish(ctx context.Context, m Message) error {
	if limit := l.MaxMessage(); int64(len(m.Data)) > limit {
		return fmt.Errorf("%w: the message has %d bytes, the server's max_payload leaves %d: raise it, or put fewer items and no inline images into a job",
			ErrTooLarge, len(m.Data), limit)
	}
	ctx, cancel := l.bound(ctx)
	defer cancel()
	said := false
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		var err error
		if m.Prepare != nil {
			err = m.Prepare(ctx)
		}
		if err == nil {
			err = l.Once(ctx, m)
		}
		if err == nil {
			return nil
		}
		full := IsFull(err)
		switch {
		case l.ctx.Err() != nil || errors.Is(err, nats.ErrConnectionClosed):
			return ErrClosed
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case full && m.Full != nil:
			return fmt.Errorf("%w: %w", m.Full, err)
		case m.There != nil && wrongLast(err):
			return m.There
		case !full && !IsOutage(err):
			return err
		case m.OfTenant != "" && l.Gone(ctx, m.OfTenant, err):
			return fmt.Errorf("%w: %s", ErrNoStream, m.OfTenant)
		}
		if !said {
			said = true
			if full {
				l.Log.Info("the stream is full, waiting for room", "subject", m.Subject, "err", err)
			} else {
				l.Log.Warn("the message queue does not answer, trying again", "subject", m.Subject, "err", err)
			}
		}
		// Half of the wait is random, so that producers that wait for the same room do not all try at once.
		if !Pause(ctx, wait/2+rand.N(wait/2)) {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// PublishOnce is Once for a message with these fields only.
func (l *Link) PublishOnce(ctx context.Context, subject, id string, data []byte) error {
	return l.Once(ctx, Message{Subject: subject, ID: id, Data: data})
}

// Once stores a message, or returns the server's refusal. It tries once.
func (l *Link) Once(ctx context.Context, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	var opts []jetstream.PublishOpt
	if m.There != nil {
		opts = append(opts, jetstream.WithExpectLastSequencePerSubject(0))
	}
	if m.ID != "" {
		opts = append(opts, jetstream.WithMsgID(m.ID))
	}
	_, err := l.JS.PublishMsg(ctx, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}, opts...)
	return err
}
