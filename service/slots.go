package service

import (
	"math"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// slots bound how many things are under way at once, of all users and of each: requests with images, streams of events.
type slots struct {
	all, perUser int

	mu       sync.Mutex
	taken    map[string]int // by user
	total    int
	draining bool
	drained  chan struct{} // closed when draining and nothing is under way
}

func newSlots(all, perUser int) *slots {
	return &slots{all: all, perUser: perUser, taken: make(map[string]int), drained: make(chan struct{})}
}

// take takes a slot for a user; free gives it back. The problem says why there is no slot.
func (s *slots) take(user string) (free func(), why *problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining:
		return nil, newProblem(codeDraining, "the service is about to end: ask again, and another one will answer")
	case s.taken[user] >= s.perUser:
		return nil, newProblem(codeTooMany, "so many requests of yours are under way that there is no room for another: wait for one to end")
	case s.total >= s.all:
		return nil, newProblem(codeTooMany, "the service has as many requests as it takes at once: try again a little later")
	}
	s.taken[user]++
	s.total++
	return sync.OnceFunc(func() { s.free(user) }), nil
}

func (s *slots) free(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[user]--; s.taken[user] == 0 {
		delete(s.taken, user)
	}
	s.total--
	s.finish()
}

// drain refuses slots from now on. The channel is closed when no slot is taken any more.
func (s *slots) drain() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	s.finish()
	return s.drained
}

func (s *slots) finish() {
	if !s.draining || s.total > 0 {
		return
	}
	select {
	case <-s.drained:
	default:
		close(s.drained)
	}
}

func (s *slots) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// pace bounds how many requests of each user come in a second: a token bucket, which holds what a second brings.
type pace struct {
	perSecond float64 // 0: there is no bound

	mu  sync.Mutex
	all map[string]*rate.Limiter // by user
}

// take counts a request, or says how long the user has to wait before the next one.
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
