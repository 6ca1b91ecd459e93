package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"stegomq/schemas"
)

// handler runs one message.
type handler func(ctx context.Context, data []byte) error

// decoding makes a handler of a typed one: what does not decode is a bad message for ever.
func decoding[M any](decode func([]byte) (M, error), handle func(context.Context, M) error) handler {
	return func(ctx context.Context, data []byte) error {
		m, err := decode(data)
		if err != nil {
			return schemas.Permanent(schemas.ReasonBadMessage, err)
		}
		return handle(ctx, m)
	}
}

// settler runs the handlers of one Consume and settles their messages.
type settler struct {
	bus        *Bus
	handle     handler
	ackWait    time.Duration
	maxDeliver uint64 // 0: no limit
	adopted    bool   // both of these come from a consumer
	// bury has messages that cannot be handled published as dead letters. Without it they are logged
	// and dropped: dead letters do not die again.
	bury bool

	hard    context.Context // ends with the hard stop
	kill    context.CancelCauseFunc
	running sync.WaitGroup
}

func (b *Bus) newSettler(h handler) *settler {
	s := &settler{bus: b, handle: h, ackWait: or(b.cfg.AckWait, defaultAckWait), bury: true}
	s.hard, s.kill = context.WithCancelCause(context.Background())
	return s
}

// start handles and settles m in the background, then calls done.
func (s *settler) start(m *nats.Msg, done func()) {
	s.bus.stats.delivered.Add(1)
	s.running.Go(func() {
		defer done()
		s.settle(m, s.run(m))
	})
}

// finish is the end of a Consume: a soft stop, then a hard one.
func (s *settler) finish() error {
	defer s.kill(ErrInterrupted)
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	if closedWithin(done, s.bus.cfg.Grace) {
		return nil
	}
	s.kill(ErrInterrupted)
	if closedWithin(done, s.bus.cfg.HardWait) {
		return nil
	}
	s.bus.log.Error("handlers do not return, their messages come again after the acknowledgement wait", "ack_wait", s.ackWait)
	return ErrStuck
}

func closedWithin(done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// run calls the handler and tells the server meanwhile that the message is being worked on. The context
// of the handler ends with a hard stop (ErrInterrupted) or after MaxHandle (ErrHandlerTimeout).
func (s *settler) run(m *nats.Msg) error {
	ctx, cancel := context.WithTimeoutCause(s.hard, s.bus.cfg.MaxHandle, ErrHandlerTimeout)
	defer cancel()
	beats := make(chan struct{})
	go func() {
		defer close(beats)
		t := time.NewTicker(max(s.ackWait/3, time.Millisecond))
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				_ = m.InProgress()
			}
		}
	}()
	err := s.guarded(ctx, m.Data)
	if err != nil && ctx.Err() != nil {
		err = &cancelled{cause: context.Cause(ctx), err: err}
	}
	cancel()
	<-beats // a sign of life must not follow the acknowledgement
	return err
}

// cancelled is the error of a handler whose context had ended. It unwraps to the cause only: a fault that
// the handler found after that may come of the cancellation itself.
type cancelled struct{ cause, err error }

func (c *cancelled) Error() string { return fmt.Sprintf("%v: %v", c.cause, c.err) }
func (c *cancelled) Unwrap() error { return c.cause }

// guarded turns a panic into an error, so that one bad message does not end the worker.
func (s *settler) guarded(ctx context.Context, data []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.bus.stats.panics.Add(1)
			s.bus.log.Error("panic in a handler", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return s.handle(ctx, data)
}

// settle decides what becomes of a message after its handler returned err.
func (s *settler) settle(m *nats.Msg, err error) {
	meta, metaErr := m.Metadata()
	if metaErr != nil {
		s.bus.log.Error("a delivery without metadata", "subject", m.Subject, "err", metaErr)
		return
	}
	last := s.maxDeliver > 0 && meta.NumDelivered >= s.maxDeliver
	log := s.bus.log.With("subject", m.Subject, "delivery", meta.NumDelivered)
	var fault *schemas.Fault
	switch {
	case err == nil:
		s.acknowledge(m)
	case errors.As(err, &fault):
		log.Warn("message cannot be processed", "reason", fault.Reason, "err", fault.Err)
		s.discard(m, meta, fault.Reason, fault.Err.Error())
	case errors.Is(err, ErrInterrupted):
		log.Info("handler interrupted, the message goes back")
		s.bus.stats.interrupted.Add(1)
		s.handBack(m, meta, last)
	case last:
		log.Warn("message failed on its last try", "err", err)
		s.discard(m, meta, schemas.ReasonRetriesExhausted, err.Error())
	default:
		delay := s.bus.cfg.retryDelay(meta.NumDelivered)
		log.Warn("handler failed, trying again", "err", err, "delay", delay)
		s.bus.stats.retried.Add(1)
		s.report(m, m.NakWithDelay(delay))
	}
}

// acknowledge waits for the server's confirmation: an acknowledgement that gets lost means that the
// work is done again.
func (s *settler) acknowledge(m *nats.Msg) {
	var err error
	for range 3 {
		if err = m.AckSync(nats.AckWait(requestTimeout)); err == nil {
			s.bus.stats.acked.Add(1)
			return
		}
		if !isOutage(err) {
			break
		}
	}
	s.report(m, err)
}

func (s *settler) report(m *nats.Msg, err error) {
	if err != nil {
		s.bus.stats.ackFails.Add(1)
		s.bus.log.Warn("settlement not confirmed, the message comes again", "subject", m.Subject, "err", err)
	}
}

// handBack returns an interrupted message to the queue. The server would count its last delivery as a
// failure, so then a fresh copy takes its place.
func (s *settler) handBack(m *nats.Msg, meta *nats.MsgMetadata, last bool) {
	if last {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		defer cancel()
		id := fmt.Sprintf("again-%s-%d", meta.Stream, meta.Sequence.Stream)
		if err := s.bus.publishOnce(ctx, outgoing{subject: m.Subject, id: id, data: m.Data}); err == nil {
			s.acknowledge(m)
			return
		}
	}
	s.report(m, m.Nak())
}

// discard publishes the dead letter first and only then takes the message off its stream: a crash in
// between leaves both, and the letter's id keeps it single.
func (s *settler) discard(m *nats.Msg, meta *nats.MsgMetadata, reason schemas.Reason, detail string) {
	if s.bury {
		letter := &schemas.DeadLetter{
			Reason: string(reason), Detail: detail, Stream: meta.Stream, Subject: m.Subject,
			Deliveries: meta.NumDelivered, Message: m.Data,
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*requestTimeout)
		defer cancel()
		if err := s.bus.publishDead(ctx, letter, meta.Sequence.Stream); err != nil {
			s.bus.log.Error("dead letter not stored, trying the message again", "subject", m.Subject, "err", err)
			s.report(m, m.NakWithDelay(s.bus.cfg.retryDelay(meta.NumDelivered)))
			return
		}
	}
	s.bus.stats.dead.Add(1)
	if err := m.Term(); err != nil {
		s.report(m, err)
		return
	}
	// Term is not confirmed by itself; a flush is the server's word that it has come.
	s.report(m, s.bus.nc.FlushTimeout(requestTimeout))
}

// reasonUnknown stands in for a reason that cannot be a token of a subject.
const reasonUnknown schemas.Reason = "unknown"

// maxDetail bounds the text of a dead letter, in bytes.
const maxDetail = 1 << 10

// publishDead stores a dead letter for the message with a sequence number in its stream.
func (b *Bus) publishDead(ctx context.Context, letter *schemas.DeadLetter, sequence uint64) error {
	reason := schemas.Reason(letter.Reason)
	if !schemas.ValidRunID(letter.Reason) { // the same form
		reason = reasonUnknown
		letter.Reason = string(reason)
	}
	letter.DiedAt = time.Now().UnixMilli()
	if len(letter.Detail) > maxDetail {
		letter.Detail = letter.Detail[:maxDetail]
	}
	letter.Detail = strings.ToValidUTF8(letter.Detail, "?")
	data, err := schemas.Encode(letter)
	if err != nil {
		return fmt.Errorf("dead letter: %w", err)
	}
	id := fmt.Sprintf("dead-%s-%d", letter.Stream, sequence)
	if err := b.publishOnce(ctx, outgoing{subject: schemas.DeadSubject(reason), id: id, data: data}); err != nil {
		return fmt.Errorf("publish dead letter: %w", err)
	}
	return nil
}
