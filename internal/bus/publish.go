package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stegomq/schemas"
)

// envelope is what a dead letter adds to the message that it holds, at most. Messages stay smaller than
// the server's limit by it, so that each of them fits into a dead letter.
const envelope = 4 << 10

// PublishJob stores a job in the queue of its class. It returns when the server has confirmed
// it. A full queue is back-pressure: PublishJob waits until there is room, but of a follow-up, whose publisher holds a job that must
// not wait for its own kind, it is ErrQueueFull. PublishJob also waits while the server
// is away. Both end with ctx. A job that the queue took within the last two minutes (by schemas.MsgID)
// is not stored again; that is not an error. ErrTooLarge names the limit.
func (b *Bus) PublishJob(ctx context.Context, job *schemas.Job) error {
	data, err := schemas.Encode(job)
	if err != nil {
		return fmt.Errorf("publish job %s: %w", job.GetId(), err)
	}
	m := outgoing{subject: schemas.JobSubject(job), id: schemas.MsgID(job), data: data, lane: job}
	if schemas.JobClass(job) == schemas.FollowUpClass {
		m.full = ErrQueueFull
	}
	if err := b.publish(ctx, m); err != nil {
		return fmt.Errorf("publish job %s: %w", job.GetId(), err)
	}
	return nil
}

// PublishResult stores a result, as PublishJob does a job.
func (b *Bus) PublishResult(ctx context.Context, result *schemas.Result) error {
	data, err := schemas.Encode(result)
	if err == nil {
		err = b.publish(ctx, outgoing{subject: schemas.ResultSubject(result), id: schemas.ResultMsgID(result), data: data})
	}
	if err != nil {
		return fmt.Errorf("publish the result of job %s: %w", result.GetJob().GetId(), err)
	}
	return nil
}

// outgoing is a message to publish.
type outgoing struct {
	subject string
	id      string // Nats-Msg-Id; "": none
	data    []byte
	full    error        // return it instead of waiting for room
	lane    *schemas.Job // the job whose consumer has to be there
}

// publish stores a message, waiting for room and for the server until ctx ends.
func (b *Bus) publish(ctx context.Context, m outgoing) error {
	if limit := b.nc.MaxPayload() - envelope; int64(len(m.data)) > limit {
		return fmt.Errorf("%w: the message has %d bytes, the server's max_payload leaves %d: raise it, or put fewer items and no inline images into a job",
			ErrTooLarge, len(m.data), limit)
	}
	if limit := b.jobBytes.Load(); limit > 0 && int64(len(m.data)) > limit && strings.HasPrefix(m.subject, "job.") {
		return fmt.Errorf("%w: the message has %d bytes, a queue holds %d in all", ErrTooLarge, len(m.data), limit)
	}
	ctx, cancel := b.bound(ctx)
	defer cancel()
	said := false
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		var err error
		if m.lane != nil {
			err = b.publishable(ctx, m.lane)
		}
		if err == nil {
			err = b.publishOnce(ctx, m)
		}
		if err == nil {
			return nil
		}
		full := isFull(err)
		switch {
		case b.ctx.Err() != nil || errors.Is(err, nats.ErrConnectionClosed):
			return ErrClosed
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case full && m.full != nil:
			return fmt.Errorf("%w: %w", m.full, err)
		case full:
			b.stats.fullWaits.Add(1)
		case isOutage(err):
			b.stats.outages.Add(1)
		default:
			return err
		}
		if !said {
			said = true
			if full {
				b.log.Info("the stream is full, waiting for room", "subject", m.subject, "err", err)
			} else {
				b.log.Warn("the message queue does not answer, trying again", "subject", m.subject, "err", err)
			}
		}
		// Half of the wait is random: producers that wait for the same room do not come at once.
		if !pause(ctx, wait/2+rand.N(wait/2)) {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

func (b *Bus) publishOnce(ctx context.Context, m outgoing) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var opts []jetstream.PublishOpt
	if m.id != "" {
		opts = append(opts, jetstream.WithMsgID(m.id))
	}
	ack, err := b.js.Publish(ctx, m.subject, m.data, opts...)
	if err != nil {
		return err
	}
	b.stats.published.Add(1)
	if ack.Duplicate {
		b.stats.duplicates.Add(1)
	}
	return nil
}

// Codes of the server that the client library does not name.
const (
	codeStoreFailed           jetstream.ErrorCode = 10077 // the stream's own bounds
	codeInsufficientResources jetstream.ErrorCode = 10023 // the account's or the server's
	codeStorageExceeded       jetstream.ErrorCode = 10047
)

// isFull says whether the server refused a message for want of room.
func isFull(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode {
	case codeInsufficientResources, codeStorageExceeded:
		return true
	case codeStoreFailed:
		return strings.HasPrefix(api.Description, "maximum ")
	}
	return false
}

// isOutage says whether nobody answered, or only that now is not the time: the server or the stream's leader is away, a cluster elects,
// JetStream is switched off (on a full disk), or the streams of an emptied store are being made again. The message may or may not be
// stored; its id makes trying again safe.
func isOutage(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.Code == http.StatusServiceUnavailable || errors.Is(err, jetstream.ErrStreamNotFound) {
		return true
	}
	for _, e := range []error{
		nats.ErrTimeout, context.DeadlineExceeded, nats.ErrNoResponders, jetstream.ErrNoStreamResponse,
		nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, nats.ErrNoServers,
		nats.ErrStaleConnection,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// pause waits for d and says whether ctx is still live.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
