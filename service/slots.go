package service

import (
	"context"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// places bound how many things are under way at once, of all users and of one: requests with images, streams of events, results that are shown.
type places struct {
	most, perUser int64
	wait          time.Duration // how long a caller waits for a place; 0: not at all
	full, yours   string        // what a user is told where all places are taken, or all of the user's

	all      *semaphore.Weighted
	draining atomic.Bool // no place is given any more

	mu    sync.Mutex
	users map[string]*semaphore.Weighted
}

func newPlaces(most, perUser int64, wait time.Duration, full, yours string) *places {
	return &places{
		most: most, perUser: perUser, wait: wait, full: full, yours: yours,
		all: semaphore.NewWeighted(most), users: make(map[string]*semaphore.Weighted),
	}
}

// take takes a place for a user; free gives it back. The problem says why the user gets none.
func (p *places) take(ctx context.Context, user string) (free func(), why *problem) {
	if p.draining.Load() {
		return nil, newProblem(codeDraining, "the service is about to end: ask again, and another one will answer")
	}
	ctx, cancel := context.WithTimeout(ctx, p.wait)
	defer cancel()
	taken := func(s *semaphore.Weighted) bool { return s.TryAcquire(1) || s.Acquire(ctx, 1) == nil }
	mine := p.of(user)
	if !taken(mine) {
		return nil, newProblem(codeTooMany, p.yours)
	}
	if !taken(p.all) {
		mine.Release(1)
		return nil, newProblem(codeTooMany, p.full)
	}
	return sync.OnceFunc(func() { p.all.Release(1); mine.Release(1) }), nil
}

func (p *places) of(user string) *semaphore.Weighted {
	p.mu.Lock()
	defer p.mu.Unlock()
	mine := p.users[user]
	if mine == nil {
		mine = semaphore.NewWeighted(p.perUser)
		p.users[user] = mine
	}
	return mine
}

// drain refuses places from now on, and waits until none is taken, or ctx ends.
func (p *places) drain(ctx context.Context) error {
	p.draining.Store(true)
	return p.all.Acquire(ctx, p.most)
}

// pace bounds the requests of each user in a second. Each user has a token bucket of the size of one second's requests.
type pace struct {
	perSecond float64 // 0: there is no bound

	mu  sync.Mutex
	all map[string]*rate.Limiter // by user
}

// take counts a request; or, where it comes too soon, says how long the user must wait.
func (p *pace) take(user string) (wait time.Duration) {
	if p.perSecond == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.all[user]
	if l == nil {
		l = rate.NewLimiter(rate.Limit(p.perSecond), int(math.Ceil(p.perSecond)))
		p.all[user] = l
	}
	r := l.Reserve()
	if wait = r.Delay(); wait > 0 {
		r.Cancel() // it is not served
	}
	return wait
}

// inPace says why a request comes too soon after others of its user.
func (s *Service) inPace(c *call) *problem {
	wait := s.pace.take(c.owner())
	if wait == 0 {
		return nil
	}
	p := newProblem(codeTooMany, "you send more than "+strconv.FormatFloat(s.cfg.Rate, 'g', -1, 64)+" requests a second: wait as long as Retry-After says")
	p.retryAfter = strconv.Itoa(int(math.Ceil(wait.Seconds())))
	return c.refuse(p, "")
}
