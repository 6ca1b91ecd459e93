package bus

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stegomq/internal/link"
	"stegomq/schemas"
)

// catchUpEvery is how long nothing may come before the stream is asked for what may have got lost.
const catchUpEvery = time.Second

// SubscribeResults calls onResult for every result of a run of the context's tenant (schemas.WithTenant), or of the link's, that is not scored: first those that the stream holds, in their order, then new
// ones as they come. The calls are made one at a time. A job that died has a result too, in which every item failed. It ends when
// ctx does (with ctx's error), when the bus is closed (link.ErrClosed), or with the first error that onResult returns. Results may come
// twice: work is done at least once.
//
// It listens to what is published and asks the stream for what it may have missed: at the start, after a reconnection, and when nothing
// came for a while. So it needs no consumer, and no right on any.
func (b *Bus) SubscribeResults(ctx context.Context, run string, onResult func(*schemas.Result) error) error {
	if !schemas.ValidRunID(run) {
		return fmt.Errorf("subscribe to results: %w: %q cannot name a run", ErrBadFilter, run)
	}
	inner, done, err := b.link.Begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	tenant := b.tenant(ctx)
	subject := schemas.RunResults(tenant, run)
	arrived := make(chan *nats.Msg, 1024)
	sub, err := b.link.NC.ChanSubscribe(subject, arrived)
	if err != nil {
		return fmt.Errorf("subscribe to the results of run %s: %w", run, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	var known delivered
	call := func(data []byte) error {
		if known.before(data) {
			return nil
		}
		result, err := schemas.DecodeResult(data)
		if err != nil || schemas.ResultSubject(result) != subject {
			b.log.Warn("a result that does not belong here", "run", run, "err", err)
			return nil
		}
		return onResult(result)
	}
	next, tick := uint64(1), time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-inner.Done():
			return b.link.Ended(ctx)
		case m := <-arrived:
			if err := call(m.Data); err != nil {
				return err
			}
		case <-tick.C:
			if next, err = b.catchUp(inner, schemas.ResultStream(schemas.TenantName(tenant)), subject, next, call); err != nil {
				return err
			}
			known.turn()
		}
		tick.Reset(catchUpEvery)
	}
}

// delivered remembers results that were read from what is published or from the stream, so that the other brings them no second time: those
// since the last catch-up, and those between the two before.
type delivered struct{ now, last map[[sha256.Size]byte]bool }

// mostDelivered bounds what is remembered. What is beyond it comes twice.
const mostDelivered = 1 << 16

func (d *delivered) before(data []byte) bool {
	if d.now == nil || len(d.now) == mostDelivered {
		d.turn()
	}
	sum := sha256.Sum256(data)
	if d.now[sum] || d.last[sum] {
		return true
	}
	d.now[sum] = true
	return false
}

func (d *delivered) turn() { d.now, d.last = make(map[[sha256.Size]byte]bool), d.now }

// catchUp calls f for what a tenant's stream holds of a subject from a sequence number on, and returns the next one.
func (b *Bus) catchUp(ctx context.Context, stream, subject string, from uint64, f func([]byte) error) (next uint64, err error) {
	for ctx.Err() == nil {
		m, err := b.link.Get(ctx, stream, link.Query{Seq: from, NextBySubject: subject})
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return b.restarted(ctx, stream, subject, from), nil
		case err != nil:
			if ctx.Err() == nil {
				b.log.Debug("results are not read, trying again", "subject", subject, "err", err)
			}
			return from, nil
		}
		if err := f(m.Data); err != nil {
			return from, err
		}
		from = m.Seq + 1
	}
	return from, nil
}

// restarted is where to read on after the end of a subject: at from, or at the beginning where the stream has lost what was read and
// counts anew, as that of an emptied store does.
func (b *Bus) restarted(ctx context.Context, stream, subject string, from uint64) uint64 {
	if from == 1 {
		return from
	}
	last, err := b.link.Get(ctx, stream, link.Query{LastBySubject: subject})
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && last.Seq+1 < from {
		return 1
	}
	return from
}

// tenant is whose results are asked for.
func (b *Bus) tenant(ctx context.Context) string {
	if tenant, ok := schemas.TenantOf(ctx); ok {
		return tenant
	}
	return b.link.Tenant()
}
