package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// faultResult is a fault with its effect.
type faultResult struct {
	Number int `json:"number"`
	fault
	Target string `json:"target"`
	// Began is when it began, since the command did.
	Began time.Duration `json:"began"`
	// Recovered is the time from its repair until the run moved again; negative: it did not while it was watched.
	Recovered time.Duration `json:"recovered"`
	// Stalled is the longest time without a move between its beginning and that move.
	Stalled time.Duration `json:"stalled"`
	Error   string        `json:"error,omitempty"`
}

// memory is the most memory of a part, and how often it ended without being asked to.
type memory struct {
	Part    string   `json:"part"`
	PeakRSS int64    `json:"peak_rss"` // bytes
	Exits   []string `json:"exits,omitempty"`
}

// outcome is the outcome of a run of the command.
type outcome struct {
	Servers     string        `json:"servers"`
	Jobs        int           `json:"jobs"`
	Comparisons int           `json:"comparisons"`
	Faults      []faultResult `json:"faults"`
	Planned     int           `json:"planned"` // faults
	ExitCode    int           `json:"exit_code"`
	Hung        bool          `json:"hung"`
	Lost        int           `json:"lost"`
	Doubled     int           `json:"doubled"`
	Differing   int           `json:"differing"`
	Unexpected  int           `json:"unexpected"`
	DeadLetters int           `json:"dead_letters"`
	Elapsed     time.Duration `json:"elapsed"`
	Undisturbed time.Duration `json:"undisturbed"`
	Stall       time.Duration `json:"longest_stall"`
	StallAt     time.Duration `json:"longest_stall_at"`
	Memory      []memory      `json:"memory"`
	LastLine    string        `json:"last_line"`

	rows comparisons
}

// whole says whether nothing was lost, doubled or changed, and the command ended by itself with success.
func (o *outcome) whole() bool {
	return o.ExitCode == 0 && !o.Hung && o.Lost+o.Doubled+o.Differing+o.Unexpected+o.DeadLetters == 0
}

// order describes a run to make.
type order struct {
	name   string
	data   string
	faults []fault
	gap    time.Duration // the longest that a fault waits for its share of the work
	end    time.Duration // how long the run may go on after the last fault
	want   comparisons   // nil: whatever comes is right
}

// run makes a run on a system and breaks it meanwhile.
func (s *system) run(ctx context.Context, o order) (*outcome, error) {
	result := &outcome{Servers: cluster(len(s.nodes)), Planned: len(o.faults)}
	for _, rows := range o.want {
		result.Comparisons += len(rows)
	}
	start := time.Now()
	out, done, err := s.evaluate(o.data, o.name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	look := newWatch(s, o.name, result.Comparisons, start)
	var looking sync.WaitGroup
	looking.Go(func() { look.run(ctx) })
	defer looking.Wait()
	defer cancel()

	running, over := context.WithCancel(ctx)
	defer over()
	mended, broken := make(chan struct{}), make(chan []faultResult, 1)
	go func() { broken <- s.breakThings(running, o, look, start, mended) }()
	select {
	case <-done:
	case <-ctx.Done():
	case <-mended:
		select {
		case <-done:
		case <-ctx.Done():
		case <-time.After(o.end):
			result.Hung = true
		}
	}
	result.Elapsed = time.Since(start)
	look.measure()
	s.command.close()
	over()
	result.Faults = <-broken
	if err := context.Cause(ctx); err != nil {
		return result, err
	}
	result.ExitCode = s.command.state.ExitCode()
	result.LastLine = lastLine(s.command.logFile())
	result.Stall, result.StallAt = look.stall(0)
	// Dead letters from the very end count too: ask when the servers answer again.
	if err := eventually(ctx, func() bool { return look.letters(ctx) == nil }); err != nil {
		return result, err
	}
	result.DeadLetters = look.dead()
	for _, p := range s.parts() {
		result.Memory = append(result.Memory, memory{p.name, p.peakRSS, p.exits})
	}
	result.rows, err = readComparisons(filepath.Join(out, "items.csv"))
	switch {
	case err == nil && o.want == nil:
		for _, rows := range result.rows {
			result.Comparisons += len(rows)
		}
	case err == nil:
		result.Lost, result.Doubled, result.Differing, result.Unexpected = result.rows.against(o.want)
	default: // it wrote none
		result.Lost = result.Comparisons
	}
	return result, nil
}

// atOnce is how many faults last at the same time, at most.
const atOnce = 3

// breakThings executes the schedule until it or the context ends. It closes mended when the last fault is over, and returns
// when the run has moved after every fault, or the context has ended.
func (s *system) breakThings(ctx context.Context, o order, look *watch, start time.Time, mended chan<- struct{}) []faultResult {
	var faults, moves sync.WaitGroup
	var mu sync.Mutex
	var all []faultResult
	room := make(chan struct{}, atOnce)
	last := time.Now()
	for i, f := range o.faults {
		look.until(ctx, f.At, last.Add(o.gap))
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		last = time.Now()
		faults.Add(1)
		moves.Go(func() {
			done := faultResult{Number: i + 1, fault: f, Began: time.Since(start)}
			var err error
			done.Target, err = f.kind.do(ctx, s, f.Pick, f.Hold)
			<-room
			faults.Done()
			if err != nil && ctx.Err() == nil {
				done.Error = err.Error()
			}
			done.Recovered = look.nextMove(ctx)
			done.Stalled, _ = look.stall(done.Began)
			mu.Lock()
			all = append(all, done)
			mu.Unlock()
		})
	}
	faults.Wait()
	close(mended)
	moves.Wait()
	slices.SortFunc(all, func(a, b faultResult) int { return a.Number - b.Number })
	return all
}

// lastLine is the last line of a log.
func lastLine(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(lines[len(lines)-1])
}

// watch observes the progress of a run and the state of its servers, without taking part.
type watch struct {
	s     *system
	name  string
	total int

	start time.Time

	mu      sync.Mutex
	count   int
	moves   []time.Duration // when the run moved, since the start
	change  chan struct{}   // closed at the next move
	deadNow int
	deadAll int
}

func newWatch(s *system, name string, total int, start time.Time) *watch {
	return &watch{s: s, name: name, total: total, start: start, change: make(chan struct{})}
}

const (
	lookEvery    = 50 * time.Millisecond
	measureEvery = 20 // looks
)

func (w *watch) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n, err := w.s.redis.count(ctx, w.name); err == nil {
			w.saw(n)
		}
		if i%measureEvery == 0 {
			_ = w.letters(ctx)
			w.measure()
		}
	}
}

func (w *watch) measure() {
	for _, p := range w.s.parts() {
		p.measure()
	}
}

// saw records a count. A smaller count than before is no move: data was lost.
func (w *watch) saw(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > w.count {
		w.moves = append(w.moves, time.Since(w.start))
		close(w.change)
		w.change = make(chan struct{})
	}
	w.count = n
}

// stall returns the longest time between two moves, the second of which came after a time since the start, and when it began.
// A stall that still lasts counts.
func (w *watch) stall(since time.Duration) (longest, at time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var before time.Duration
	for _, move := range append(slices.Clone(w.moves), time.Since(w.start)) {
		if move > since && move-before > longest {
			longest, at = move-before, before
		}
		before = move
	}
	return longest, at
}

// until waits for a share of the run, or for a time.
func (w *watch) until(ctx context.Context, share float64, deadline time.Time) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for {
		w.mu.Lock()
		count, change := w.count, w.change
		w.mu.Unlock()
		if float64(count) >= share*float64(w.total) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-change:
		}
	}
}

// nextMove waits until the run moves and says how long that took; -1 where the context ended before.
func (w *watch) nextMove(ctx context.Context) time.Duration {
	start := time.Now()
	w.mu.Lock()
	change := w.change
	w.mu.Unlock()
	select {
	case <-ctx.Done():
		return -1
	case <-change:
		return time.Since(start)
	}
}

// letters counts dead letters. Those that a store forgot stay counted.
func (w *watch) letters(ctx context.Context) error {
	var failed error
	for _, nd := range w.s.nodes {
		streams, err := nd.streams(ctx)
		if err != nil {
			failed = err
			continue
		}
		n, found := 0, false
		for _, st := range streams {
			if st.Name == "DEAD" {
				n, found = st.State.Messages, true
			}
		}
		if !found && len(w.s.nodes) > 1 {
			continue // this node holds no replica of it
		}
		w.mu.Lock()
		if n > w.deadNow {
			w.deadAll += n - w.deadNow
		}
		w.deadNow = n
		w.mu.Unlock()
		return nil
	}
	return failed
}

func (w *watch) dead() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deadAll
}

// String is for the log.
func (f faultResult) String() string {
	text := fmt.Sprintf("%3d at %6.1f s: %s (%s)", f.Number, f.Began.Seconds(), f.Kind, f.Target)
	if f.Hold > 0 {
		text += fmt.Sprintf(" for %.1f s", f.Hold.Seconds())
	}
	text += fmt.Sprintf(", stalled %.1f s", f.Stalled.Seconds())
	if f.Recovered >= 0 {
		text += fmt.Sprintf(", moved %.1f s after it was mended", f.Recovered.Seconds())
	}
	if f.Error != "" {
		text += ": " + f.Error
	}
	return text
}
