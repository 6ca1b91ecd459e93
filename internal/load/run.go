package load

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Request is a request to a target.
type Request struct {
	// Number counts the requests from 0, with those of the warm-up. Key is the number of the key.
	Number, Key int
	// Intended is when it should have begun.
	Intended time.Time
}

// Answer is the outcome of a request.
type Answer struct {
	// Items counts what was made, Hits what was found made before.
	Items, Hits int
	// Failed counts the items that failed, by reason.
	Failed map[string]int
	// Took is how long the parts took, as far as they are known.
	Took map[Part]time.Duration
	// In and Out are the bytes of the images that were sent and fetched.
	In, Out int64
}

// Target makes a request. An error ends the run; the failure of a single request belongs in its answer.
type Target func(ctx context.Context, r Request) (Answer, error)

// Meter returns what a system has used so far. Measured.Usage is the difference between the end and the beginning.
type Meter func() Usage

// Progress is how far a run is.
type Progress struct {
	Warm    bool // what counts has begun
	Elapsed time.Duration
	// Done counts the requests that are answered, InFlight those that are not.
	Done, Failed, InFlight int
	// Median and P99 are of the latency so far.
	Median, P99 time.Duration
}

// mostInFlight bounds the requests of an open loop that are under way. Others wait, and their waiting counts as latency.
const mostInFlight = 1000

// watchEvery is the time between two reports of progress.
const watchEvery = 500 * time.Millisecond

// run is a load that is being put on a target.
type run struct {
	Offer
	target Target
	meter  Meter

	mu       sync.Mutex
	start    time.Time // of what counts; zero before
	end      time.Time // of what counts, once it has ended
	number   int       // of the next request
	counted  int       // requests that count and have begun
	inFlight int
	before   Usage
	m        Measured
}

// Run puts the load on a target, and returns what was measured once every request has its answer. It calls watch, which may be nil, with the progress
// every half second.
func (o Offer) Run(ctx context.Context, target Target, meter Meter, watch func(Progress)) (*Measured, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	r := &run{Offer: o, target: target, meter: meter, m: newMeasured()}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var side sync.WaitGroup
	done := make(chan struct{})
	if watch != nil {
		side.Go(func() { r.watch(done, watch) })
	}
	begin := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.begin()
	}
	if o.WarmUp == 0 {
		begin()
	} else {
		defer time.AfterFunc(o.WarmUp, begin).Stop()
	}
	if o.Duration > 0 {
		defer time.AfterFunc(o.WarmUp+o.Duration, r.conclude).Stop()
	}
	loop := r.closed
	if o.Rate > 0 {
		loop = r.open
	}
	loop(ctx, cancel)
	close(done)
	side.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r.conclude() // with a number of requests it ends with the last answer
	r.m.Begun = r.counted
	if r.counted == 0 {
		return nil, errNothing
	}
	return &r.m, nil
}

// begin begins what counts, once: when its time has come, or when the first request that counts begins, whichever a busy machine does first. The
// caller has the lock.
func (r *run) begin() {
	if r.start.IsZero() {
		r.start, r.before = time.Now(), r.meter()
	}
}

// conclude ends what counts, once. Requests that are under way then still have their latency measured.
func (r *run) conclude() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.end.IsZero() {
		return
	}
	r.end = time.Now()
	r.m.Window, r.m.Usage = r.end.Sub(r.start), r.meter().less(r.before)
}

var errNothing = errors.New("no request began within the duration: make it longer")

// closed has InFlight requests under way.
func (r *run) closed(ctx context.Context, fail context.CancelCauseFunc) {
	keys, begin := r.keys(), time.Now()
	var all sync.WaitGroup
	for range r.InFlight {
		all.Go(func() {
			for ctx.Err() == nil {
				r.mu.Lock()
				now := time.Now()
				next, counts, more := r.next(now, now.Sub(begin), keys)
				r.mu.Unlock()
				if !more {
					return
				}
				r.do(ctx, next, counts, fail)
			}
		})
	}
	all.Wait()
}

// open begins requests at their times.
func (r *run) open(ctx context.Context, fail context.CancelCauseFunc) {
	keys, arrivals, begin := r.keys(), r.arrivals(), time.Now()
	free := make(chan struct{}, mostInFlight)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	for {
		at := arrivals()
		intended := begin.Add(at)
		timer.Reset(time.Until(intended))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		r.mu.Lock()
		next, counts, more := r.next(intended, at, keys)
		r.mu.Unlock()
		if !more {
			return
		}
		select {
		case <-ctx.Done():
			return
		case free <- struct{}{}:
		}
		all.Go(func() {
			r.do(ctx, next, counts, fail)
			<-free
		})
	}
}

// next returns the request that begins at a time, which is since after the beginning of the load, and whether it counts. more is false where no request
// begins any more. The caller has the lock.
func (r *run) next(at time.Time, since time.Duration, keys func() int) (next Request, counts, more bool) {
	counts = since >= r.WarmUp
	if counts {
		if r.Duration > 0 && since >= r.WarmUp+r.Duration || r.Requests > 0 && r.counted >= r.Requests {
			return Request{}, false, false
		}
		r.begin()
		r.counted++
	}
	next = Request{Number: r.number, Key: keys(), Intended: at}
	r.number++
	r.inFlight++
	return next, counts, true
}

func (r *run) do(ctx context.Context, next Request, counts bool, fail context.CancelCauseFunc) {
	answer, err := r.target(ctx, next)
	end := time.Now()
	if err != nil {
		fail(err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight--
	within := !r.start.IsZero() && r.end.IsZero()
	r.m.add(answer, end.Sub(next.Intended), counts, within)
}

func (r *run) watch(done <-chan struct{}, tell func(Progress)) {
	begin, tick := time.Now(), time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		r.mu.Lock()
		p := Progress{
			Warm: !r.start.IsZero(), Elapsed: time.Since(begin), Done: r.number - r.inFlight, Failed: r.m.FailedItems(), InFlight: r.inFlight,
			Median: r.m.Latency.At(50), P99: r.m.Latency.At(99),
		}
		r.mu.Unlock()
		tell(p)
	}
}
