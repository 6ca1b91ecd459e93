package bus

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// requestTimeout bounds one request to the server.
const requestTimeout = 5 * time.Second

// Bus is a connection to the message queue, for any number of goroutines.
type Bus struct {
	cfg    Config
	log    *slog.Logger
	nc     *nats.Conn
	js     jetstream.JetStream
	closed chan struct{} // closed when the connection is

	// ctx ends when Close begins; loops counts what Close waits for.
	ctx   context.Context
	stop  context.CancelFunc
	loops sync.WaitGroup
	mu    sync.Mutex // orders loops.Add before Close's loops.Wait

	results, dead jetstream.Stream // results of the tenant; dead is nil for a tenant
	tries         jetstream.KeyValue
	blobs         *blobStream
	jobBytes      atomic.Int64 // the smallest bound of a queue, for messages that never fit
	known         knownLanes
	ackWait       atomic.Int64 // the shortest that a consumer has stored; 0: none is known
	stats         counters
}

// Open connects and makes sure that the streams exist. Several processes may do so at once. It returns
// ErrUnreachable, ErrDenied, ErrNoJetStream or ErrStreamConflict with a line that says what to do.
// Once open, a Bus survives the server's absence: it reconnects for as long as it is not closed.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	b, err := dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := b.ensure(ctx); err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// dial makes a Bus that is connected, and has not looked at the streams.
func dial(ctx context.Context, cfg Config) (*Bus, error) {
	b := &Bus{cfg: cfg.withDefaults(), closed: make(chan struct{})}
	b.known.all = make(map[lane]time.Time)
	b.log = b.cfg.Logger.With("part", "bus")
	b.ctx, b.stop = context.WithCancel(context.Background())
	if err := b.connect(ctx); err != nil {
		b.stop()
		return nil, err
	}
	return b, nil
}

func (b *Bus) connect(ctx context.Context) error {
	timeout := b.cfg.ConnectTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(deadline)), time.Millisecond)
	}
	opts := []nats.Option{
		nats.Name(b.cfg.Name),
		nats.Timeout(timeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.IgnoreAuthErrorAbort(),
		nats.DrainTimeout(5 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if b.ctx.Err() == nil {
				b.log.Warn("connection to the message queue lost, reconnecting", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { b.reconnected() }),
		nats.ClosedHandler(func(*nats.Conn) { close(b.closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			b.log.Warn("message queue", "err", err, "subject", subject)
		}),
	}
	where := b.cfg.URL
	if b.cfg.Server != nil {
		where = "in process"
		opts = append(opts, nats.InProcessServer(b.cfg.Server.ns))
	}
	identity, err := b.cfg.identity()
	if err != nil {
		return err
	}
	opts = append(opts, identity...)
	if where == "" {
		return fmt.Errorf("%w: no URL was given", ErrUnreachable)
	}
	nc, err := nats.Connect(b.cfg.URL, opts...)
	if err != nil {
		return refusal(redact(where), err)
	}
	b.nc = nc
	b.js, err = jetstream.NewWithAPIPrefix(nc, b.cfg.apiPrefix())
	if err != nil {
		nc.Close()
		return fmt.Errorf("%w at %s: %w", ErrUnreachable, redact(where), err)
	}
	return nil
}

// redact takes user names, passwords and tokens out of every URL in text.
func redact(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '"' })
	for _, w := range words {
		scheme, rest, ok := strings.Cut(w, "://")
		if !ok || !strings.Contains(rest, "@") {
			continue
		}
		clean := scheme + "://[redacted]"
		if u, err := url.Parse(w); err == nil {
			clean = u.Scheme + "://" + u.Host
		}
		text = strings.ReplaceAll(text, w, clean)
	}
	return text
}

// reconnected makes sure of the streams again: the server may have come back with another store.
func (b *Bus) reconnected() {
	b.stats.reconnects.Add(1)
	done, ok := b.enter()
	if !ok {
		return
	}
	b.log.Info("connected to the message queue again")
	b.known.mu.Lock()
	clear(b.known.all) // the consumers may be gone
	b.known.mu.Unlock()
	go func() {
		defer done()
		// A cluster that elects, and a server that gets its disk back, answer later.
		for wait := time.Second; ; wait = min(2*wait, 10*time.Second) {
			ctx, cancel := context.WithTimeout(b.ctx, 4*requestTimeout)
			err := b.ensure(ctx)
			cancel()
			if err == nil || b.ctx.Err() != nil {
				return
			}
			b.log.Error("the streams are not there after a reconnection, trying again", "err", err)
			if !pause(b.ctx, wait) {
				return
			}
		}
	}()
}

// enter registers something that Close waits for. It returns false when the bus is closing.
func (b *Bus) enter() (done func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return nil, false
	}
	b.loops.Add(1)
	return b.loops.Done, true
}

// bound returns a context that ends with ctx or when Close begins.
func (b *Bus) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	release := context.AfterFunc(b.ctx, cancel)
	return ctx, func() { release(); cancel() }
}

// ended says why a context from bound(ctx) has ended, or returns err when it has not.
func (b *Bus) ended(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case b.ctx.Err() != nil:
		return ErrClosed
	}
	return err
}

// Close ends what is still running, lets buffered messages out and waits until the connection is
// closed. The order and its reasons are in the package's comment.
func (b *Bus) Close() error {
	b.mu.Lock()
	first := b.ctx.Err() == nil
	b.stop()
	b.mu.Unlock()
	if !first {
		<-b.closed
		return nil
	}
	b.loops.Wait()
	if err := b.nc.Drain(); err != nil {
		b.nc.Close() // Drain needs a live connection; without one there is nothing to let out
	}
	<-b.closed
	return nil
}

// MaxPayload is the largest message that the server takes, in bytes.
func (b *Bus) MaxPayload() int64 { return b.nc.MaxPayload() }
