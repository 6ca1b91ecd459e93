package load

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"stegomq/internal/testrig/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func unmetered() Usage { return Usage{} }

// TestOpenLoopCountsWaiting holds a system up until ten requests should have begun. All of them waited, and say so.
func TestOpenLoopCountsWaiting(t *testing.T) {
	t.Parallel()
	const waiting = 10
	arrived, release := make(chan Request, waiting), make(chan struct{})
	hold := func(ctx context.Context, r Request) (Answer, error) {
		arrived <- r
		select {
		case <-release:
		case <-ctx.Done():
		}
		return Answer{Items: 1}, nil
	}
	var least time.Duration // what the second request waited at least
	go func() {
		var intended []time.Time
		for range waiting {
			intended = append(intended, (<-arrived).Intended)
		}
		slices.SortFunc(intended, time.Time.Compare)
		least = time.Since(intended[1])
		close(release)
	}()
	offer := Offer{Rate: 500, Keys: 1, Choice: One, Requests: waiting}
	m, err := offer.Run(t.Context(), hold, unmetered, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Requests != waiting {
		t.Fatalf("%d requests, want %d", m.Requests, waiting)
	}
	// The first and the second waited that long, give or take the histogram's three digits.
	if got := m.Latency.At(85); got < least*99/100 {
		t.Errorf("the second longest latency is %v, a request waited %v", got, least)
	}
}

// TestIntendedStarts: they are those of the seed, and none comes early.
func TestIntendedStarts(t *testing.T) {
	t.Parallel()
	offer := Offer{Rate: 100, Keys: 1, Choice: One, Requests: 5}
	arrivals := offer.arrivals()
	var intended []time.Duration
	for range offer.Requests {
		intended = append(intended, arrivals())
	}
	var mu sync.Mutex
	var got []Request
	var ended []time.Time
	_, err := offer.Run(t.Context(), func(_ context.Context, r Request) (Answer, error) {
		mu.Lock()
		defer mu.Unlock()
		got, ended = append(got, r), append(ended, time.Now())
		return Answer{Items: 1}, nil
	}, unmetered, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got {
		if r.Intended.After(ended[i]) {
			t.Errorf("request %d began before it should", r.Number)
		}
		if between := r.Intended.Sub(got[0].Intended); between != intended[r.Number]-intended[got[0].Number] {
			t.Errorf("request %d should begin %v after the first one, not %v", r.Number, intended[r.Number]-intended[got[0].Number], between)
		}
	}
}

// TestClosedLoop never has more requests under way than it may, and counts no waiting.
func TestClosedLoop(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now, most := 0, 0
	full, once := make(chan struct{}), sync.Once{}
	offer := Offer{InFlight: 4, Keys: 3, Choice: Uniform, Requests: 40, Seed: 7}
	var keys []int
	m, err := offer.Run(t.Context(), func(_ context.Context, r Request) (Answer, error) {
		mu.Lock()
		now++
		most = max(most, now)
		keys = append(keys, r.Key)
		if now == 4 {
			once.Do(func() { close(full) })
		}
		mu.Unlock()
		<-full // nobody ends before four are under way
		mu.Lock()
		defer mu.Unlock()
		now--
		return Answer{Items: 2, Took: map[Part]time.Duration{Infer: time.Millisecond}, In: 10, Out: 5}, nil
	}, unmetered, nil)
	if err != nil {
		t.Fatal(err)
	}
	if most != 4 {
		t.Errorf("%d requests were under way at once, want 4", most)
	}
	if m.Requests != 40 || m.Items != 80 || m.Ended != 80 || m.EndedRequests != 40 || m.Begun != 40 || m.In != 400 || m.Out != 200 {
		t.Errorf("measured %+v", m)
	}
	if h := m.Parts[Infer]; h.Count() != 40 || h.At(50) != time.Millisecond {
		t.Errorf("the part has %d durations, median %v", h.Count(), h.At(50))
	}
	if len(slices.Compact(slices.Sorted(slices.Values(keys)))) != 3 {
		t.Errorf("the keys are %v, want all of 0, 1 and 2", keys)
	}
}

// TestWhatDoesNotCount: hits and failures are in no latency, and requests of the warm-up in nothing.
func TestWhatDoesNotCount(t *testing.T) {
	t.Parallel()
	offer := Offer{InFlight: 1, Keys: 1, Choice: One, Requests: 4}
	m, err := offer.Run(t.Context(), func(_ context.Context, r Request) (Answer, error) {
		switch r.Number {
		case 0:
			return Answer{Hits: 1}, nil
		case 1:
			return Answer{Failed: map[string]int{"bad_image": 1}}, nil
		case 2:
			return Answer{Failed: map[string]int{"bad_image": 2, "bad_key": 1}}, nil
		}
		return Answer{Items: 1}, nil
	}, unmetered, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Requests != 1 || m.Latency.Count() != 1 || m.HitLatency.Count() != 1 || m.Items != 1 || m.Ended != 1 || m.Hits != 1 {
		t.Errorf("measured %+v", m)
	}
	if m.Failed["bad_image"] != 3 || m.FailedText() != "bad_image 3, bad_key 1" {
		t.Errorf("failed: %s", m.FailedText())
	}
	used := 0.0
	warm := Offer{InFlight: 1, Keys: 1, Choice: One, Requests: 1, WarmUp: 20 * time.Millisecond}
	m, err = warm.Run(t.Context(), func(context.Context, Request) (Answer, error) { return Answer{Items: 1}, nil },
		func() Usage { used++; return Usage{Processes: []Process{{Name: "p", CPU: used}}} }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Requests != 1 || m.Usage.CPU() != 1 || m.Window <= 0 {
		t.Errorf("after a warm-up: %d requests, %v of CPU, window %v", m.Requests, m.Usage.CPU(), m.Window)
	}
}

func TestRunEndsWithTheFirstError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, offer := range []Offer{{InFlight: 3, Keys: 1, Choice: One, Duration: time.Hour}, {Rate: 1000, Keys: 1, Choice: One, Duration: time.Hour}} {
		_, err := offer.Run(t.Context(), func(ctx context.Context, r Request) (Answer, error) {
			if r.Number == 2 {
				return Answer{}, broken
			}
			if r.Number > 2 {
				<-ctx.Done()
				return Answer{}, ctx.Err()
			}
			return Answer{Items: 1}, nil
		}, unmetered, nil)
		if !errors.Is(err, broken) {
			t.Errorf("%s loop: %v", offer.Loop(), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Offer{InFlight: 1, Keys: 1, Choice: One, Duration: time.Hour}.Run(ctx, func(context.Context, Request) (Answer, error) {
		cancel()
		return Answer{Items: 1}, nil
	}, unmetered, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted run ends with %v", err)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	const keys, n = 1000, 200000
	counts := func(o Offer) []int {
		next, all := o.keys(), make([]int, o.Keys)
		for range n {
			all[next()]++
		}
		return all
	}
	one := counts(Offer{Keys: keys, Choice: One})
	if one[0] != n {
		t.Errorf("one: the first key has %d of %d", one[0], n)
	}
	near := func(what string, got int, share float64) {
		t.Helper()
		// Six standard deviations.
		if want := share * n; math.Abs(float64(got)-want) > 6*math.Sqrt(want) {
			t.Errorf("%s: %d of %d, want about %.0f", what, got, n, want)
		}
	}
	uniform := counts(Offer{Keys: keys, Choice: Uniform, Seed: 3})
	zipf := counts(Offer{Keys: keys, Choice: Zipf, Seed: 3})
	sum := 0.0
	for k := range keys {
		sum += math.Pow(float64(1+k), -ZipfExponent)
	}
	for _, k := range []int{0, 1, 2, 9, 99, 999} {
		near("uniform", uniform[k], 1.0/keys)
		near("zipf", zipf[k], math.Pow(float64(1+k), -ZipfExponent)/sum)
	}
	if !slices.Equal(zipf, counts(Offer{Keys: keys, Choice: Zipf, Seed: 3})) {
		t.Error("the same seed gives other keys")
	}
	if slices.Equal(zipf, counts(Offer{Keys: keys, Choice: Zipf, Seed: 4})) {
		t.Error("another seed gives the same keys")
	}
}

// TestArrivals: gaps of a Poisson process have an exponential distribution.
func TestArrivals(t *testing.T) {
	t.Parallel()
	const n = 100000
	o := Offer{Rate: 50, Seed: 5}
	next, last, long := o.arrivals(), time.Duration(0), 0
	for range n {
		at := next()
		if at-last > time.Second/50 {
			long++
		}
		last = at
	}
	if rate := n / last.Seconds(); math.Abs(rate-50) > 1 {
		t.Errorf("the rate is %v, want 50", rate)
	}
	if share := float64(long) / n; math.Abs(share-1/math.E) > 0.01 {
		t.Errorf("%v of the gaps are longer than their mean, want 1/e", share)
	}
}

func TestOfferCheck(t *testing.T) {
	t.Parallel()
	good := Offer{InFlight: 1, Keys: 1, Choice: One, Duration: time.Second}
	for field, spoil := range map[string]func(*Offer){
		"rate":        func(o *Offer) { o.Rate = -1 },
		"rate 1e":     func(o *Offer) { o.Rate = 1e9 },
		"rate NaN":    func(o *Offer) { o.Rate = math.NaN() },
		"in-flight":   func(o *Offer) { o.InFlight = 0 },
		"keys":        func(o *Offer) { o.Keys = 0 },
		"key-choice":  func(o *Offer) { o.Choice = "some" },
		"warm-up":     func(o *Offer) { o.WarmUp = -1 },
		"duration":    func(o *Offer) { o.Duration = 0 },
		"duration an": func(o *Offer) { o.Requests = 1 },
	} {
		o := good
		spoil(&o)
		if err := o.Check(); err == nil || field[:4] != err.Error()[:4] {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}

// What counts has begun before the first request that counts, however late the timer of the warm-up is.
func TestWindowBeginsWithTheFirstRequest(t *testing.T) {
	t.Parallel()
	offer := Offer{InFlight: 1, Keys: 1, Choice: One, WarmUp: 1, Requests: 1}
	for range 100 {
		m, err := offer.Run(t.Context(), func(context.Context, Request) (Answer, error) { return Answer{Items: 1}, nil }, unmetered, nil)
		if err != nil {
			t.Fatal(err)
		}
		if m.Window > time.Hour || m.EndedRequests != 1 {
			t.Fatalf("%d requests ended within %v", m.EndedRequests, m.Window)
		}
	}
}
