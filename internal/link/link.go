// Package link owns the connection to a NATS server with JetStream: the address and the identity, reconnection, the orderly shutdown,
// publishing that waits, and reading single messages. The streams and the meaning of messages belong to other packages.
//
// # Invariants
//
//   - A connected Link survives the server's absence: it reconnects until it is closed, and then calls the registered functions again
//     (OnReconnect).
//   - Publish returns nil when the server has confirmed the message. It waits for room and for the server until its context ends; the
//     message's id makes trying again safe.
//   - A published message fits into a dead letter (MaxMessage).
//   - Errors are one line, without user names, passwords and tokens.
//
// # Shutdown
//
//  1. Close ends the contexts from Begin and waits for their users.
//  2. It drains the connection, because buffered acknowledgements must be sent, and waits until it is closed: Drain does not block.
//  3. An embedded server is shut down after that, when no client needs an answer any more.
package link

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// RequestTimeout bounds one request to the server.
const RequestTimeout = 5 * time.Second

// connectTimeout bounds the first connection, as a request.
const connectTimeout = RequestTimeout

// Link is a connection to a server, for any number of goroutines.
type Link struct {
	// NC is the connection, JS its JetStream, and Log the log of all users of the link.
	NC  *nats.Conn
	JS  jetstream.JetStream
	Log *slog.Logger

	cfg    Config
	closed chan struct{} // closed when the connection is

	// ctx ends when Close begins; loops counts what Close waits for.
	ctx   context.Context
	stop  context.CancelFunc
	loops sync.WaitGroup
	mu    sync.Mutex // orders loops.Add before Close's loops.Wait
	again func(context.Context) error
}

// Dial connects. It returns ErrUnreachable, ErrDenied or ErrClientFiles with a line that says what to do.
func Dial(ctx context.Context, cfg Config) (*Link, error) {
	l := &Link{cfg: cfg, Log: cfg.Logger, closed: make(chan struct{})}
	if l.Log == nil {
		l.Log = slog.Default()
	}
	l.Log = l.Log.With("part", "bus")
	l.ctx, l.stop = context.WithCancel(context.Background())
	if err := l.connect(ctx); err != nil {
		l.stop()
		return nil, err
	}
	return l, nil
}

func (l *Link) connect(ctx context.Context) error {
	timeout := connectTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(deadline)), time.Millisecond)
	}
	opts := []nats.Option{
		nats.Name("stegomq"),
		nats.Timeout(timeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.IgnoreAuthErrorAbort(),
		nats.DrainTimeout(5 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if l.ctx.Err() == nil {
				l.Log.Warn("connection to the message queue lost, reconnecting", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { l.reconnected() }),
		nats.ClosedHandler(func(*nats.Conn) { close(l.closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			l.Log.Warn("message queue", "err", err, "subject", subject)
		}),
	}
	where := redact(l.cfg.URL)
	if l.cfg.Server != nil {
		where = "in process"
		opts = append(opts, nats.InProcessServer(l.cfg.Server))
	}
	identity, err := l.cfg.identity()
	if err != nil {
		return err
	}
	opts = append(opts, identity...)
	if where == "" {
		return fmt.Errorf("%w: no URL was given", ErrUnreachable)
	}
	nc, err := nats.Connect(l.cfg.URL, opts...)
	if err != nil {
		return refusal(where, err)
	}
	l.NC = nc
	l.JS, err = jetstream.NewWithAPIPrefix(nc, l.cfg.apiPrefix())
	if err != nil {
		nc.Close()
		return fmt.Errorf("%w at %s: %w", ErrUnreachable, where, err)
	}
	return nil
}

// OnReconnect calls f after every reconnection, and again until it returns nil: the server may have come back with another store.
func (l *Link) OnReconnect(f func(context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.again = f
}

func (l *Link) reconnected() {
	l.mu.Lock()
	again := l.again
	l.mu.Unlock()
	ctx, done, err := l.Begin(context.Background())
	if err != nil {
		return
	}
	l.Log.Info("connected to the message queue again")
	go func() {
		defer done()
		if again == nil {
			return
		}
		// A cluster during an election, and a server that recovers from a full disk, answer later.
		for wait := time.Second; ; wait = min(2*wait, 10*time.Second) {
			try, cancel := context.WithTimeout(ctx, 4*RequestTimeout)
			err := again(try)
			cancel()
			if err == nil || ctx.Err() != nil {
				return
			}
			l.Log.Error("the streams are not there after a reconnection, trying again", "err", err)
			if !Pause(ctx, wait) {
				return
			}
		}
	}()
}

// Begin registers work that Close ends and waits for: its context ends with ctx or when Close begins, and the work calls done at its end. It
// returns ErrClosed after Close has begun.
func (l *Link) Begin(ctx context.Context) (inner context.Context, done func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return nil, nil, ErrClosed
	}
	l.loops.Add(1)
	inner, cancel := l.bound(ctx)
	return inner, func() { cancel(); l.loops.Done() }, nil
}

// bound returns a context that ends with ctx or when Close begins.
func (l *Link) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	release := context.AfterFunc(l.ctx, cancel)
	return ctx, func() { release(); cancel() }
}

// Ended says why a context from Begin(ctx) has ended.
func (l *Link) Ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return ErrClosed
}

// Close ends running work, sends buffered messages and waits until the connection is closed. The
// package's comment has the order and its reasons.
func (l *Link) Close() error {
	l.mu.Lock()
	first := l.ctx.Err() == nil
	l.stop()
	l.mu.Unlock()
	if !first {
		<-l.closed
		return nil
	}
	l.loops.Wait()
	if err := l.NC.Drain(); err != nil {
		l.NC.Close() // Drain needs a live connection; without one nothing can be sent
	}
	<-l.closed
	return nil
}

// Tenant is the tenant whose link this is; "": the operator's own.
func (l *Link) Tenant() string { return l.cfg.Tenant }

// Embedded says whether the server is this process's.
func (l *Link) Embedded() bool { return l.cfg.Server != nil }

// Where names the server to people.
func (l *Link) Where() string {
	if l.Embedded() {
		return "the embedded server"
	}
	return redact(l.cfg.URL)
}

// ClusterSize is the number of servers that the server names to its clients, itself among them; 1 without a cluster.
func (l *Link) ClusterSize() int {
	if !l.clustered() {
		return 1
	}
	return max(len(l.NC.Servers()), 1)
}

func (l *Link) clustered() bool { return l.NC.ConnectedClusterName() != "" }

// Request runs f with a bound on its time.
func (l *Link) Request(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	return f(ctx)
}

// Pause waits for d and says whether ctx is still live.
func Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
