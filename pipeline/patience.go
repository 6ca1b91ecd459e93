package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"stegomq/internal/link"
	"stegomq/schemas"
)

// Away says whether an error means that a server does not answer, or not yet; other errors are answers.
func Away(err error) bool { return link.Away(err) || errors.Is(err, context.DeadlineExceeded) }

// The servers, as they are named to people.
const (
	redisServer = "Redis"
	natsServer  = "NATS"
)

// The pauses between two tries of what a server did not answer.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// patience tries again what fails because a server is away, and knows for how long each has been. It is for any number of
// goroutines: what one of them finds out, it finds out for all.
type patience struct {
	limit time.Duration

	mu    sync.Mutex
	since map[string]time.Time // servers that are away
}

func newPatience(limit time.Duration) *patience {
	return &patience{limit: limit, since: make(map[string]time.Time)}
}

// try calls f until its error is not of a server that is away, ctx ends, or the server has been away for too long: then it
// returns a schemas.ErrAway. F must be harmless to repeat.
func (p *patience) try(ctx context.Context, server string, f func(context.Context) error) error {
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		err := f(ctx)
		switch {
		case ctx.Err() != nil:
			return err
		case !Away(err):
			p.answered(server)
			return err
		}
		if away := p.failed(server); away >= p.limit {
			return fmt.Errorf("%w: %s has not answered for %v: %w", schemas.ErrAway, server, away.Round(time.Second), err)
		}
		if !link.Pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

func (p *patience) answered(server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.since, server)
}

// failed gives how long the server has been away.
func (p *patience) failed(server string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	since, known := p.since[server]
	if !known {
		since = time.Now()
		p.since[server] = since
	}
	return time.Since(since)
}

// waiting says what is waited for, in one phrase; "" for nothing.
func (p *patience) waiting() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, server := range []string{redisServer, natsServer} {
		if since, away := p.since[server]; away {
			return fmt.Sprintf("waiting for %s, which has not answered for %v (--patience %v)", server, time.Since(since).Round(time.Second), p.limit)
		}
	}
	return ""
}

// Patiently calls f, which needs the message queue, again and again while the queue is away, and at most for the patience.
func (s *Services) Patiently(ctx context.Context, f func(context.Context) error) error {
	return newPatience(s.opts.Patience).try(ctx, natsServer, f)
}

// watchBus returns a schemas.ErrAway when the message queue has been away for longer than the patience, which nothing else notices that
// only waits for it; and nil when ctx ends.
func (s *Services) watchBus(ctx context.Context, p *patience) error {
	for link.Pause(ctx, s.pace) {
		err := p.try(ctx, natsServer, func(ctx context.Context) error {
			_, err := s.stored.Has(ctx, nobody)
			return err
		})
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// nobody is a digest that no blob has.
const nobody = "0000000000000000000000000000000000000000000000000000000000000000"
