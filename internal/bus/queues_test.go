package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stegomq/internal/streams"
	"stegomq/internal/testrig/natsrig"
	"stegomq/schemas"
)

func TestResultsGoToOneEvaluator(t *testing.T) {
	t.Parallel()
	server := natsrig.Server(t, "127.0.0.1:0")
	cfg := quick(nil)
	cfg.Link.URL = server.URL()
	one, two := open(t, cfg), open(t, cfg)
	const n = 60
	got := make(chan string, 2*n)
	h := func(_ context.Context, r *schemas.Result) error { got <- r.GetJob().GetId(); return nil }
	for _, b := range []*Bus{one, two} {
		natsrig.Background(t, func(ctx context.Context) error { return b.ResultSource(nil).Consume(ctx, 2, h) })
	}
	for i := range n {
		if err := one.PublishResult(natsrig.Context(t), natsrig.Result(natsrig.Scored(natsrig.Job("run", "alice", i)))); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[string]bool)
	for range n {
		seen[natsrig.Receive(t, got, "the results")] = true
	}
	waitEmpty(t, one, schemas.StreamScoring)
	if len(seen) != n || len(got) != 0 {
		t.Errorf("%d different results of %d, %d more than once", len(seen), n, len(got))
	}
}

// told records an observer's reports.
type told struct {
	waited, ended chan string
	mu            sync.Mutex
	times         map[string]time.Duration
}

func (o *told) note(to chan string, operation, class string, d time.Duration) {
	o.mu.Lock()
	o.times[operation] += d
	o.mu.Unlock()
	to <- operation + " " + class
}

func (o *told) Waited(_ context.Context, operation, class string, d time.Duration) {
	o.note(o.waited, operation, class, -d)
}
func (o *told) Ended(_ context.Context, operation, class string, d time.Duration) {
	o.note(o.ended, operation, class, d)
}

// TestObserver: a job that is tried twice waited once and ended once, and results are reported as scoring.
func TestObserver(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	o := &told{waited: make(chan string, 9), ended: make(chan string, 9), times: make(map[string]time.Duration)}
	job := natsrig.OfClass(schemas.Bulk, "run", 1)
	publishJobs(t, b, job)
	source, err := b.JobSource(JobOptions{Worker: "worker", Observer: o})
	if err != nil {
		t.Fatal(err)
	}
	var tries atomic.Int64
	natsrig.Background(t, func(ctx context.Context) error {
		return source.Consume(ctx, 1, func(ctx context.Context, j *schemas.Job) error {
			if tries.Add(1) == 1 {
				return errors.New("once")
			}
			return b.PublishResult(ctx, natsrig.Result(j))
		})
	})
	natsrig.Background(t, func(ctx context.Context) error {
		return b.ResultSource(nil).Observed(o).Consume(ctx, 1, func(context.Context, *schemas.Result) error { return nil })
	})
	operation := job.GetOperation().Token()
	want := []string{operation + " bulk", "score bulk"}
	for _, to := range []chan string{o.waited, o.ended} {
		got := []string{natsrig.Receive(t, to, "a time"), natsrig.Receive(t, to, "another")}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	waitEmpty(t, b, schemas.StreamScoring)
	waitEmpty(t, b, schemas.JobStream(schemas.Bulk))
	if n := len(o.waited) + len(o.ended); n > 0 || tries.Load() != 2 {
		t.Errorf("%d times more, %d tries", n, tries.Load())
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	// The whole time exceeds the wait by the delay before the second try.
	if whole := o.times[operation]; whole < 10*time.Millisecond || o.times["score"] < 0 {
		t.Errorf("the job's whole less its wait is %v, the result's %v", whole, o.times["score"])
	}
}

func TestFailedResults(t *testing.T) {
	t.Parallel()
	cfg := quick(natsrig.Server(t, ""))
	cfg.MaxDeliver = 2
	b := open(t, cfg)
	var tries atomic.Int64
	natsrig.Background(t, func(ctx context.Context) error {
		return b.ResultSource(nil).Consume(ctx, 1, func(context.Context, *schemas.Result) error {
			tries.Add(1)
			return errors.New("no Redis")
		})
	})
	if err := b.PublishResult(natsrig.Context(t), natsrig.Result(natsrig.Scored(natsrig.Job("run", "alice", 1)))); err != nil {
		t.Fatal(err)
	}
	l := oneDead(t, b)
	if l.GetReason() != string(schemas.ReasonRetriesExhausted) || l.GetStream() != schemas.StreamScoring || tries.Load() != 2 {
		t.Errorf("dead letter %v after %d tries", l, tries.Load())
	}
	waitEmpty(t, b, schemas.StreamScoring)
}

func TestSoftStopOfResults(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	running, release := make(chan struct{}), make(chan struct{})
	c := natsrig.Background(t, func(ctx context.Context) error {
		return b.ResultSource(nil).Consume(ctx, 1, func(ctx context.Context, _ *schemas.Result) error {
			close(running)
			<-release
			return ctx.Err()
		})
	})
	if err := b.PublishResult(natsrig.Context(t), natsrig.Result(natsrig.Scored(natsrig.Job("run", "alice", 1)))); err != nil {
		t.Fatal(err)
	}
	natsrig.Receive(t, running, "the handler")
	c.Cancel()
	close(release)
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if n := messages(t, b, schemas.StreamScoring); n != 0 {
		t.Errorf("%d results left", n)
	}
}

func TestDeadSource(t *testing.T) {
	t.Parallel()
	cfg := quick(natsrig.Server(t, ""))
	cfg.MaxDeliver = 1 // binds jobs; letters are tried on
	b := open(t, cfg)
	got := make(chan *schemas.DeadLetter, 4)
	var tries atomic.Int64
	natsrig.Background(t, func(ctx context.Context) error {
		return b.DeadSource(nil).Consume(ctx, 1, func(_ context.Context, l *schemas.DeadLetter) error {
			if tries.Add(1) < 4 {
				return errors.New("no Redis yet")
			}
			got <- l
			return schemas.Permanent(schemas.ReasonBadMessage, errors.New("not a letter of ours"))
		})
	})
	publishJobs(t, b, natsrig.Job("run", "alice", 1))
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		return schemas.Permanent(schemas.ReasonBadImage, errors.New("truncated"))
	})
	if l := natsrig.Receive(t, got, "the letter"); l.GetReason() != string(schemas.ReasonBadImage) {
		t.Errorf("letter %v", l)
	}
	oneDead(t, b) // it stays, and did not die again
}

func TestSubscribeResults(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	publishResult := func(run string, n int) {
		t.Helper()
		if err := b.PublishResult(natsrig.Context(t), natsrig.Result(natsrig.Job(run, "alice", n))); err != nil {
			t.Fatal(err)
		}
	}
	publishResult("mine", 0)
	publishResult("other", 1)
	publishResult("mine", 2)
	items := make(chan string, 16)
	c := natsrig.Background(t, func(ctx context.Context) error {
		return b.SubscribeResults(ctx, "mine", func(r *schemas.Result) error {
			items <- r.GetOutcomes()[0].GetItem()
			return nil
		})
	})
	for _, want := range []string{"item-0", "item-2"} {
		if got := natsrig.Receive(t, items, "a result of before"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for n := 4; n < 8; n++ {
		publishResult("other", n)
		publishResult("mine", n)
		if got, want := natsrig.Receive(t, items, "a result"), fmt.Sprintf("item-%d", n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	// When nothing comes any more, the stream is read again from the last catch-up on.
	requests := b.link.NC.Stats().OutMsgs
	natsrig.Eventually(t, "the stream to be read", func() bool { return b.link.NC.Stats().OutMsgs >= requests+4+1 })
	publishResult("mine", 8)
	if got := natsrig.Receive(t, items, "a result after that"); got != "item-8" {
		t.Errorf("got %s a second time", got)
	}
	if err := c.Stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	enough := errors.New("enough")
	err := b.SubscribeResults(natsrig.Context(t), "mine", func(*schemas.Result) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("the callback's error became %v", err)
	}
	if err := b.SubscribeResults(natsrig.Context(t), "a.>", nil); !errors.Is(err, ErrBadFilter) {
		t.Errorf("a run that is a wildcard: %v", err)
	}
}

// An emptied store counts anew: results that come while nobody listens are found nevertheless.
func TestCatchUpAfterTheStoreWasEmptied(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	ctx := natsrig.Context(t)
	publish := func(n int) string {
		t.Helper()
		r := natsrig.Result(natsrig.Job("mine", "alice", n))
		if err := b.PublishResult(ctx, r); err != nil {
			t.Fatal(err)
		}
		return schemas.ResultSubject(r)
	}
	subject := ""
	for n := range 3 {
		subject = publish(n)
	}
	seen := 0
	count := func([]byte) error { seen++; return nil }
	next, err := b.catchUp(ctx, schemas.ResultStream(schemas.MainTenant), subject, 1, count)
	if err != nil || next != 4 || seen != 3 {
		t.Fatalf("%d results up to %d: %v", seen, next, err)
	}
	if next, err = b.catchUp(ctx, schemas.ResultStream(schemas.MainTenant), subject, next, count); err != nil || next != 4 {
		t.Fatalf("the next is %d, want 4: %v", next, err)
	}
	if err := b.streams.DropTenant(ctx, schemas.MainTenant); err != nil {
		t.Fatal(err)
	}
	if _, err := streams.Open(ctx, b.link, streams.Config{}); err != nil { // makes it again
		t.Fatal(err)
	}
	publish(4)
	for range 2 { // the first finds that it was emptied
		if next, err = b.catchUp(ctx, schemas.ResultStream(schemas.MainTenant), subject, next, count); err != nil {
			t.Fatal(err)
		}
	}
	if seen != 4 || next != 2 {
		t.Errorf("%d results were seen, the next is %d; want 4 and 2", seen, next)
	}
}

// A worker that waits at several lanes gets messages that come to two of them at the same time without delay: a message in transit while the first
// one ends the pulls is not lost until its AckWait ends.
func TestTwoLanesAtOnce(t *testing.T) {
	t.Parallel()
	cfg := quick(natsrig.Server(t, ""))
	cfg.Streams.AckWait = time.Hour // what is lost stays so
	b := open(t, cfg)
	handled := make(chan struct{}, 2)
	consumeJobs(t, b, "one", 2, func(context.Context, *schemas.Job) error { handled <- struct{}{}; return nil })
	for n := range 500 {
		var together sync.WaitGroup
		for _, model := range []string{"one", "two"} {
			job := natsrig.Job("run", "alice", n)
			job.Model = natsrig.SHA(model)
			job.Id = schemas.JobID(job)
			together.Go(func() {
				if err := b.PublishJob(natsrig.Context(t), job); err != nil {
					t.Error(err)
				}
			})
		}
		together.Wait()
		natsrig.Receive(t, handled, "the first job")
		natsrig.Receive(t, handled, "the second job")
	}
}
