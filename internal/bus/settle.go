package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stegomq/internal/link"
	"stegomq/internal/tracing"
	"stegomq/schemas"
)

// handler runs one message.
type handler func(ctx context.Context, m *delivery) error

// Observer learns how long messages take, from when the server stored them, by the server's clock. The operation is that of a job, or "score"
// for a result to score; the class is the job's.
type Observer interface {
	// Waited reports a message when a handler begins with it for the first time.
	Waited(ctx context.Context, operation, class string, d time.Duration)
	// Ended reports a message when its handler has succeeded, in whichever try.
	Ended(ctx context.Context, operation, class string, d time.Duration)
}

// observed runs handle on a delivery, and reports to an observer, if there is one.
func observed(ctx context.Context, o Observer, m *delivery, operation string, class schemas.Class, handle func() error) error {
	if o == nil {
		return handle()
	}
	since := func() time.Duration { return max(0, time.Since(m.meta.Timestamp)) } // the server's clock may be ahead
	if m.meta.NumDelivered == 1 {
		o.Waited(ctx, operation, string(class), since())
	}
	err := handle()
	if err == nil {
		o.Ended(ctx, operation, string(class), since())
	}
	return err
}

// settler runs the handlers of one Consume and settles their messages.
type settler struct {
	bus    *Bus
	handle handler
	// forever: messages are tried again for as long as they are stored, and logged when they cannot be handled: dead letters do not die again.
	forever bool
	gate    func(context.Context) error
	closed  atomic.Bool // a server that handlers need is away

	hard    context.Context // ends with the hard stop
	kill    context.CancelCauseFunc
	running sync.WaitGroup
}

func (b *Bus) newSettler(h handler) *settler {
	s := &settler{bus: b, handle: h}
	s.hard, s.kill = context.WithCancelCause(context.Background())
	return s
}

// open returns true once the servers that handlers need are there, or false when ctx ends.
func (s *settler) open(ctx context.Context) bool {
	for wait := 50 * time.Millisecond; s.closed.Load(); wait = min(2*wait, 2*time.Second) {
		if !link.Pause(ctx, wait) {
			return false
		}
		if s.gate == nil || s.gate(ctx) == nil {
			if s.closed.CompareAndSwap(true, false) {
				s.bus.log.Warn("the server that was away answers again")
			}
		}
	}
	return ctx.Err() == nil
}

// start handles and settles m in the background, then calls done.
func (s *settler) start(m *nats.Msg, done func()) {
	s.running.Add(1)
	end := func() { done(); s.running.Done() }
	go func() {
		if d := s.taken(m); d != nil {
			s.run(d, end)
			return
		}
		end()
	}()
}

// taken returns the delivery to handle now; nil if it is settled already.
func (s *settler) taken(m *nats.Msg) *delivery {
	meta, err := m.Metadata()
	if err != nil {
		s.bus.log.Error("a delivery without metadata", "subject", m.Subject, "err", err)
		return nil
	}
	d := &delivery{Msg: m, meta: meta}
	if err := s.countTry(d); err != nil {
		s.report(d, m.NakWithDelay(s.bus.cfg.retryDelay(1)))
		return nil
	}
	d.span = s.bus.cfg.Tracer.Receive(spanName(m.Subject), tracing.Message{Subject: m.Subject, Header: m.Header, Stored: meta.Timestamp, Delivery: meta.NumDelivered})
	if d.Try > s.bus.cfg.MaxDeliver && !s.forever {
		defer d.span.End(nil)
		s.discard(d, schemas.ReasonRetriesExhausted, fmt.Sprintf("delivered %d times and never settled: the worker may die of it", meta.NumDelivered))
		return nil
	}
	return d
}

// spanName names the span for handling a message of a subject.
func spanName(subject string) string {
	switch root, _, _ := strings.Cut(subject, "."); root {
	case "score":
		return "process result"
	case "dead":
		return "process dead letter"
	}
	return "process job"
}

// delivery is a message with its tries.
type delivery struct {
	*nats.Msg
	meta *nats.MsgMetadata
	span tracing.Span // ends when the message is settled
	tries
	kept bool // its tries are in the bucket
}

// tries is the entry of a redelivered message in the bucket TRIES.
type tries struct {
	// Try is how often it was tried, including this time.
	Try int `json:"tries"`
	// Lacked is when a worker first lacked the key or the model, Unix time in milliseconds; 0: none did.
	Lacked int64 `json:"lacked,omitempty"`
}

func (d *delivery) triesKey() string {
	return d.meta.Stream + "." + strconv.FormatUint(d.meta.Sequence.Stream, 10)
}

// countTry counts the tries of a redelivered message in the bucket TRIES, because the server's own count of deliveries includes those that
// were no tries. The first delivery is a try, whatever its outcome, so the count in the bucket begins with the second.
func (s *settler) countTry(d *delivery) error {
	if d.Try = 1; d.meta.NumDelivered <= 1 || s.forever {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.hard, 2*link.RequestTimeout)
	defer cancel()
	e, err := s.bus.streams.Tries().Get(ctx, d.triesKey())
	switch {
	case err == nil:
		err = json.Unmarshal(e.Value(), &d.tries)
	case errors.Is(err, jetstream.ErrKeyNotFound):
		err = nil
	}
	if err == nil {
		d.Try++
		err = s.keep(ctx, d)
	}
	if err != nil && s.hard.Err() == nil {
		s.bus.log.Warn("tries are not counted", "subject", d.Subject, "err", err)
	}
	return err
}

func (s *settler) keep(ctx context.Context, d *delivery) error {
	data, err := json.Marshal(d.tries)
	if err == nil {
		_, err = s.bus.streams.Tries().Put(ctx, d.triesKey(), data)
	}
	d.kept = d.kept || err == nil
	return err
}

// forget deletes the entry of a message that does not come again: in a full bucket nothing can be counted, hence nothing tried again.
func (s *settler) forget(d *delivery) {
	if !d.kept {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), link.RequestTimeout)
	defer cancel()
	if err := s.bus.streams.ForgetTries(ctx, d.triesKey()); err != nil {
		s.bus.log.Debug("the tries of a settled message stay for their lifetime", "subject", d.Subject, "err", err)
	}
}

// uncount takes this try off the count.
func (s *settler) uncount(d *delivery) {
	ctx, cancel := context.WithTimeout(context.Background(), link.RequestTimeout)
	defer cancel()
	d.Try--
	if err := s.keep(ctx, d); err != nil {
		s.bus.log.Debug("a try is not taken off the count", "subject", d.Subject, "err", err)
	}
}

// finish ends a Consume: a soft stop, then a hard one, after which every handler has ended or is abandoned.
func (s *settler) finish() {
	hard := time.AfterFunc(s.bus.cfg.Grace, func() { s.kill(ErrInterrupted) })
	s.running.Wait()
	hard.Stop()
	s.kill(ErrInterrupted)
}

// run calls the handler and settles its message, then calls end. The context of the handler ends with a hard stop (ErrInterrupted) or after
// MaxHandle (ErrHandlerTimeout). A handler that does not return then is abandoned: its further work and its error are ignored.
func (s *settler) run(m *delivery, end func()) {
	ctx, cancel := context.WithTimeoutCause(m.span.In(s.hard), s.bus.cfg.MaxHandle, ErrHandlerTimeout)
	defer cancel()
	returned, watched := make(chan struct{}), make(chan error, 1)
	go func() {
		err := s.watch(ctx, m, returned)
		if err != nil {
			s.settle(m, err)
			end()
		}
		watched <- err
	}()
	err := s.guarded(ctx, m)
	if err != nil && ctx.Err() != nil {
		err = &cancelled{cause: context.Cause(ctx), err: err}
	}
	close(returned)
	if <-watched == nil { // a sign of life must not follow the acknowledgement
		s.settle(m, err)
		end()
	}
}

// watch tells the server that a message is being worked on until its handler has returned or is abandoned; then the error says why.
func (s *settler) watch(ctx context.Context, m *delivery, returned <-chan struct{}) error {
	beat := time.NewTicker(s.bus.streams.Beat())
	defer beat.Stop()
	told := ctx.Done()
	var late <-chan time.Time
	for {
		select {
		case <-returned:
			return nil
		case <-beat.C:
			_ = m.InProgress()
		case <-told:
			told, late = nil, time.After(s.bus.cfg.HardWait)
		case <-late:
			err := fmt.Errorf("it did not stop within %v of being told to: %v", s.bus.cfg.HardWait, context.Cause(ctx)) //nolint:errorlint // no cause to try again
			s.bus.log.Error("a handler does not stop and is given up", "subject", m.Subject, "err", err)
			if s.forever {
				return err
			}
			return schemas.Permanent(schemas.ReasonStuck, err)
		}
	}
}

// cancelled is the error of a handler whose context had ended. It unwraps to the cause only, because a fault
// that the handler found after that may be a result of the cancellation.
type cancelled struct{ cause, err error }

func (c *cancelled) Error() string { return fmt.Sprintf("%v: %v", c.cause, c.err) }
func (c *cancelled) Unwrap() error { return c.cause }

// guarded turns a panic into an error, so that one bad message does not end the worker.
func (s *settler) guarded(ctx context.Context, m *delivery) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.bus.log.Error("panic in a handler", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return s.handle(ctx, m)
}

// unservedDelay is how long a job stays in the queue after a worker lacked its key or its model. A part of it is random: jobs that come back
// together would go to the same workers again each time.
func (c *Config) unservedDelay() time.Duration {
	delay := max(min(2*time.Second, c.UnservedAfter/20), time.Millisecond)
	return delay/2 + rand.N(delay)
}

// settle decides what becomes of a message after its handler returned err.
func (s *settler) settle(m *delivery, err error) {
	defer func() { m.span.End(err) }()
	log := s.bus.log.With("subject", m.Subject, "try", m.Try)
	var fault *schemas.Fault
	switch {
	case err == nil:
		s.acknowledge(m)
	case errors.Is(err, ErrInterrupted):
		log.Info("handler interrupted, the message goes back")
		s.putBack(m, 0)
	case errors.Is(err, schemas.ErrAway):
		if s.closed.CompareAndSwap(false, true) {
			log.Warn("a server that is needed is away: nothing is pulled until it answers", "err", err)
		}
		s.putBack(m, s.bus.cfg.retryDelay(1))
	case errors.Is(err, ErrQueueFull):
		log.Debug("no room for what follows, the message goes back", "err", err)
		s.putBack(m, s.bus.cfg.retryDelay(1))
	case errors.Is(err, link.ErrNoStream):
		log.Warn("the user is gone, and the job with them", "err", err)
		s.end(m)
	case errors.As(err, &fault) && s.unserved(m, fault):
		log.Debug("another worker may be able to", "reason", fault.Reason, "err", fault.Err)
		s.putBack(m, s.bus.cfg.unservedDelay())
	case errors.As(err, &fault):
		log.Warn("message cannot be processed", "reason", fault.Reason, "err", fault.Err)
		s.discard(m, fault.Reason, fault.Err.Error())
	case m.Try >= s.bus.cfg.MaxDeliver && !s.forever:
		log.Warn("message failed on its last try", "err", err)
		s.discard(m, schemas.ReasonRetriesExhausted, err.Error())
	default:
		delay := s.bus.cfg.retryDelay(m.Try)
		log.Warn("handler failed, trying again", "err", err, "delay", delay)
		s.report(m, m.NakWithDelay(delay))
	}
}

// unserved says whether a fault may be this worker's only, and other workers have not had the time to try yet.
func (s *settler) unserved(m *delivery, fault *schemas.Fault) bool {
	if s.forever || fault.Reason != schemas.ReasonUnknownKey && fault.Reason != schemas.ReasonUnknownModel {
		return false
	}
	if m.Lacked == 0 {
		m.Lacked = time.Now().UnixMilli()
	}
	return time.Since(time.UnixMilli(m.Lacked)) < s.bus.cfg.UnservedAfter
}

// acknowledge waits for the server's confirmation: after a lost acknowledgement the work would be done again.
func (s *settler) acknowledge(m *delivery) {
	var err error
	for range 3 {
		if err = m.AckSync(nats.AckWait(link.RequestTimeout)); err == nil {
			s.forget(m)
			return
		}
		if !link.IsOutage(err) {
			break
		}
	}
	s.report(m, err)
}

func (s *settler) report(m *delivery, err error) {
	if err != nil {
		s.bus.log.Warn("settlement not confirmed, the message comes again", "subject", m.Subject, "err", err)
	}
}

// putBack returns a message to the queue after a delay. This delivery was no try.
func (s *settler) putBack(m *delivery, delay time.Duration) {
	if !s.forever {
		s.uncount(m)
	}
	if delay == 0 {
		s.report(m, m.Nak())
		return
	}
	s.report(m, m.NakWithDelay(delay))
}

// discard publishes the dead letter first and only then takes the message off its stream: a crash in
// between leaves both, and the letter's id keeps it single.
func (s *settler) discard(m *delivery, reason schemas.Reason, detail string) {
	if !s.forever {
		letter := &schemas.DeadLetter{
			Reason: string(reason), Detail: detail, Stream: m.meta.Stream, Subject: m.Subject,
			Deliveries: m.meta.NumDelivered, Message: m.Data,
		}
		ctx, cancel := context.WithTimeout(m.span.In(context.Background()), 4*link.RequestTimeout)
		defer cancel()
		err := s.bus.publishDead(ctx, letter, m.meta.Sequence.Stream)
		if err == nil {
			err = s.bus.tellOfDeath(ctx, m, letter)
		}
		if err != nil {
			s.bus.log.Error("dead letter not stored, trying the message again", "subject", m.Subject, "err", err)
			s.putBack(m, s.bus.cfg.retryDelay(m.Try))
			return
		}
	}
	s.end(m)
}

// end takes a message off its stream.
func (s *settler) end(m *delivery) {
	if err := m.Term(); err != nil {
		s.report(m, err)
		return
	}
	// Term has no confirmation; the answer to a flush shows that the server has it.
	err := s.bus.link.NC.FlushTimeout(link.RequestTimeout)
	s.report(m, err)
	if err == nil {
		s.forget(m)
	}
}
