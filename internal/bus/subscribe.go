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

// catchUpEvery is how long nothing may come before the stream is asked for lost results.
const catchUpEvery = time.Second

// SubscribeResults calls onResult for every unscored result of a run of the context's tenant (schemas.WithTenant), or of the link's: first
// for those in the stream, in their order, then for new ones. The calls are made one at a time. A dead job has a result too, in which
// every item failed. It ends when ctx does (with ctx's error), when the bus is closed (link.ErrClosed), or with the first error that
// onResult returns. Results may come twice: work is done at least once.
//
// It listens to published results and asks the stream for those that it may have missed: at the start, after a reconnection, and when
// nothing came for a while. So it needs no consumer, and no right on any.
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
	var live <-chan *nats.Msg // arrived, after the first look at the stream: what was stored before comes before what is new
	for {
		select {
		case <-inner.Done():
			return b.link.Ended(ctx)
		case m := <-live:
			if err := call(m.Data); err != nil {
				return err
			}
		case <-tick.C:
			if next, err = b.catchUp(inner, schemas.ResultStream(schemas.TenantName(tenant)), subject, next, call); err != nil {
				return err
			}
			known.turn()
			live = arrived
		}
		tick.Reset(catchUpEvery)
	}
}

// delivered remembers results that were read from the subscription or from the stream, so that none is reported twice: those since the last
// catch-up, and those of the interval before.
type delivered struct{ now, last map[[sha256.Size]byte]bool }

// mostDelivered bounds the remembered results. Results beyond it may come twice.
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

// catchUp calls f for the messages of a subject in a tenant's stream from a sequence number on, and returns the next number.
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

// restarted returns where to continue after the end of a subject: at from, or at the beginning if the stream counts anew, as after its store
// was emptied.
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

// tenant is the tenant whose results are read.
func (b *Bus) tenant(ctx context.Context) string {
	if tenant, ok := schemas.TenantOf(ctx); ok {
		return tenant
	}
	return b.link.Tenant()
}
