package bus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/schemas"
)

func TestResultsGoToOneEvaluator(t *testing.T) {
	t.Parallel()
	server := startServer(t, "127.0.0.1:0")
	cfg := quick(nil)
	cfg.URL = server.URL()
	one, two := open(t, cfg), open(t, cfg)
	const n = 60
	got := make(chan string, 2*n)
	h := func(_ context.Context, r *schemas.Result) error { got <- r.GetJob().GetId(); return nil }
	for _, b := range []*Bus{one, two} {
		background(t, func(ctx context.Context) error { return b.ResultSource(nil).Consume(ctx, 2, h) })
	}
	for i := range n {
		if err := one.PublishResult(testContext(t), testResult(scored(testJob("run", "alice", i)))); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[string]bool)
	for range n {
		seen[receive(t, got, "the results")] = true
	}
	eventually(t, "acknowledgements", func() bool { return one.Stats().Acked+two.Stats().Acked == n })
	if len(seen) != n || len(got) != 0 {
		t.Errorf("%d different results of %d, %d more than once", len(seen), n, len(got))
	}
	status, err := one.Status(testContext(t))
	if err != nil || status.ResultsWaiting != 0 || status.ResultsInFlight != 0 {
		t.Errorf("status %+v, %v", status, err)
	}
}

func TestFailedResults(t *testing.T) {
	t.Parallel()
	cfg := quick(startServer(t, ""))
	cfg.MaxDeliver = 2
	b := open(t, cfg)
	var tries atomic.Int64
	background(t, func(ctx context.Context) error {
		return b.ResultSource(nil).Consume(ctx, 1, func(context.Context, *schemas.Result) error {
			tries.Add(1)
			return errors.New("no Redis")
		})
	})
	if err := b.PublishResult(testContext(t), testResult(scored(testJob("run", "alice", 1)))); err != nil {
		t.Fatal(err)
	}
	l := oneDead(t, b).Letter
	if l.GetReason() != string(schemas.ReasonRetriesExhausted) || l.GetStream() != schemas.StreamScoring || tries.Load() != 2 {
		t.Errorf("dead letter %v after %d tries", l, tries.Load())
	}
	waitEmpty(t, b, schemas.StreamScoring)
}

func TestSoftStopOfResults(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	running, release := make(chan struct{}), make(chan struct{})
	c := background(t, func(ctx context.Context) error {
		return b.ResultSource(nil).Consume(ctx, 1, func(ctx context.Context, _ *schemas.Result) error {
			close(running)
			<-release
			return ctx.Err()
		})
	})
	if err := b.PublishResult(testContext(t), testResult(scored(testJob("run", "alice", 1)))); err != nil {
		t.Fatal(err)
	}
	receive(t, running, "the handler")
	c.cancel()
	close(release)
	if err := c.wait(); err != nil {
		t.Error(err)
	}
	if b.Stats().Acked != 1 {
		t.Errorf("counters: %+v", b.Stats())
	}
}

func TestDeadSource(t *testing.T) {
	t.Parallel()
	cfg := quick(startServer(t, ""))
	cfg.MaxDeliver = 1 // binds jobs; letters are tried on
	b := open(t, cfg)
	got := make(chan *schemas.DeadLetter, 4)
	var tries atomic.Int64
	background(t, func(ctx context.Context) error {
		return b.DeadSource(nil).Consume(ctx, 1, func(_ context.Context, l *schemas.DeadLetter) error {
			if tries.Add(1) < 4 {
				return errors.New("no Redis yet")
			}
			got <- l
			return schemas.Permanent(schemas.ReasonBadMessage, errors.New("not a letter of ours"))
		})
	})
	publishJobs(t, b, testJob("run", "alice", 1))
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		return schemas.Permanent(schemas.ReasonBadImage, errors.New("truncated"))
	})
	if l := receive(t, got, "the letter"); l.GetReason() != string(schemas.ReasonBadImage) {
		t.Errorf("letter %v", l)
	}
	oneDead(t, b) // it stays, and did not die again
}

func TestSubscribeResults(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	publishResult := func(run string, n int) {
		t.Helper()
		if err := b.PublishResult(testContext(t), testResult(testJob(run, "alice", n))); err != nil {
			t.Fatal(err)
		}
	}
	publishResult("mine", 0)
	publishResult("other", 1)
	publishResult("mine", 2)
	items := make(chan string, 16)
	c := background(t, func(ctx context.Context) error {
		return b.SubscribeResults(ctx, "mine", func(r *schemas.Result) error {
			items <- r.GetOutcomes()[0].GetItem()
			return nil
		})
	})
	for _, want := range []string{"item-0", "item-2"} {
		if got := receive(t, items, "a result of before"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for n := 4; n < 8; n++ {
		publishResult("other", n)
		publishResult("mine", n)
		for want := fmt.Sprintf("item-%d", n); receive(t, items, "a result") != want; { // others come twice
		}
	}
	if err := c.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	enough := errors.New("enough")
	err := b.SubscribeResults(testContext(t), "mine", func(*schemas.Result) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("the callback's error became %v", err)
	}
	if err := b.SubscribeResults(testContext(t), "a.>", nil); !errors.Is(err, ErrBadFilter) {
		t.Errorf("a run that is a wildcard: %v", err)
	}
}

// A store that was emptied counts anew: results that come while nobody listens are found all the same.
func TestCatchUpAfterTheStoreWasEmptied(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	ctx := testContext(t)
	publish := func(n int) string {
		t.Helper()
		r := testResult(testJob("mine", "alice", n))
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
	next, err := b.catchUp(ctx, subject, 1, count)
	if err != nil || next != 4 || seen != 3 {
		t.Fatalf("%d results up to %d: %v", seen, next, err)
	}
	if next, err = b.catchUp(ctx, subject, next, count); err != nil || next != 4 {
		t.Fatalf("the next is %d, want 4: %v", next, err)
	}
	if err := b.DropTenant(ctx, schemas.MainTenant); err != nil {
		t.Fatal(err)
	}
	if err := b.ensure(ctx); err != nil {
		t.Fatal(err)
	}
	publish(4)
	for range 2 { // the first finds that it was emptied
		if next, err = b.catchUp(ctx, subject, next, count); err != nil {
			t.Fatal(err)
		}
	}
	if seen != 4 || next != 2 {
		t.Errorf("%d results were seen, the next is %d; want 4 and 2", seen, next)
	}
}

func TestDeadLettersListRetryDrop(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	fail := func(n int, reason schemas.Reason) {
		t.Helper()
		publishJobs(t, b, testJob("run", "alice", n))
		c := consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
			return schemas.Permanent(reason, errors.New("no"))
		})
		waitEmpty(t, b, interactiveStream)
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	}
	if list, err := b.ListDead(testContext(t), "", 0); err != nil || len(list) != 0 {
		t.Errorf("an empty stream lists %v, %v", list, err)
	}
	fail(1, schemas.ReasonKeyMismatch)
	fail(2, schemas.ReasonBadImage)
	fail(3, schemas.ReasonKeyMismatch)
	for _, c := range []struct {
		reason schemas.Reason
		limit  int
		want   int
	}{{"", 0, 3}, {"", 2, 2}, {schemas.ReasonKeyMismatch, 0, 2}, {schemas.ReasonTooLarge, 0, 0}} {
		if list, err := b.ListDead(testContext(t), c.reason, c.limit); err != nil || len(list) != c.want {
			t.Errorf("list %q up to %d: %d letters, %v, want %d", c.reason, c.limit, len(list), err, c.want)
		}
	}
	if _, err := b.ListDead(testContext(t), "*", 0); !errors.Is(err, ErrBadFilter) {
		t.Errorf("a wildcard as reason: %v", err)
	}
	list, err := b.ListDead(testContext(t), schemas.ReasonKeyMismatch, 0)
	if err != nil {
		t.Fatal(err)
	}
	first, second := list[0], list[1]
	if l, err := b.GetDead(testContext(t), first.Seq); err != nil || !proto.Equal(l, first.Letter) {
		t.Errorf("GetDead: %v, %v", l, err)
	}

	// The message id of the job is still known to the server; the retry must come through all the same.
	if err := b.RetryDead(testContext(t), first.Seq); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	consumeJobs(t, b, "one", 1, func(_ context.Context, j *schemas.Job) error { got <- j.GetId(); return nil })
	if id, want := receive(t, got, "the retried job"), testJob("run", "alice", 1).GetId(); id != want {
		t.Errorf("job %s, want %s", id, want)
	}
	if err := b.DropDead(testContext(t), second.Seq); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{first.Seq, second.Seq, 999} {
		if _, err := b.GetDead(testContext(t), seq); !errors.Is(err, ErrNoDeadLetter) {
			t.Errorf("GetDead(%d): %v", seq, err)
		}
		if err := b.RetryDead(testContext(t), seq); !errors.Is(err, ErrNoDeadLetter) {
			t.Errorf("RetryDead(%d): %v", seq, err)
		}
		if err := b.DropDead(testContext(t), seq); !errors.Is(err, ErrNoDeadLetter) {
			t.Errorf("DropDead(%d): %v", seq, err)
		}
	}
	if n := messages(t, b, schemas.StreamDead); n != 1 {
		t.Errorf("%d letters left, want 1", n)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	type seen struct {
		subject string
		message proto.Message
		data    string
	}
	tail := func(filter string) (<-chan seen, *consumer) {
		ch := make(chan seen, 64)
		c := background(t, func(ctx context.Context) error {
			return b.Tail(ctx, filter, func(subject string, m proto.Message, data []byte) error {
				ch <- seen{subject, m, string(data)}
				return nil
			})
		})
		return ch, c
	}
	everything, all := tail("")
	embeds, _ := tail("job.interactive.*.*.embed.>")
	// A subscription is live when something comes through it.
	eventually(t, "the subscriptions", func() bool {
		_ = b.nc.Publish("job.interactive.main.m.embed.probe.r", []byte("probe"))
		return len(everything) > 0 && len(embeds) > 0
	})
	next := func(ch <-chan seen) seen {
		for {
			if s := receive(t, ch, "a message"); s.data != "probe" {
				return s
			}
		}
	}
	job := testJob("run", "alice", 1)
	if err := b.PublishResult(testContext(t), testResult(job)); err != nil {
		t.Fatal(err)
	}
	publishJobs(t, b, job)
	if s := next(everything); s.subject != "result.main.run" || s.message == nil {
		t.Errorf("first %v", s)
	}
	if s := next(everything); s.subject != schemas.JobSubject(job) || !proto.Equal(s.message, job) {
		t.Errorf("second %v", s)
	}
	if s := next(embeds); !proto.Equal(s.message, job) {
		t.Errorf("filtered %v", s)
	}
	if _, err := b.js.Publish(testContext(t), "job.interactive.main.m.embed.x.r", []byte("junk")); err != nil {
		t.Fatal(err)
	}
	if s := next(everything); s.message != nil || s.data != "junk" {
		t.Errorf("what does not decode: %v", s)
	}
	if err := all.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	for _, filter := range []string{">", "*.embed", "blob.>", "$JS.>", "job", "job. x"} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if err := b.Tail(ctx, filter, nil); !errors.Is(err, ErrBadFilter) {
			t.Errorf("filter %q: %v", filter, err)
		}
		cancel()
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	s := startServer(t, "127.0.0.1:0")
	cfg := quick(nil)
	cfg.URL = "nats://" + User + ":" + testSecret + "@" + s.URL()[len("nats://"):]
	b := open(t, cfg)
	publishJobs(t, b, testJob("run", "alice", 1), testJob("run", "bob", 2))
	if err := b.PublishResult(testContext(t), testResult(scored(testJob("run", "alice", 1)))); err != nil {
		t.Fatal(err)
	}
	st, err := b.Status(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if st.URL != s.URL() || st.Server != "stegomq" || st.Version == "" || st.MaxPayload != MaxPayload {
		t.Errorf("server: %+v", st)
	}
	if st.JobsWaiting != 2 || st.JobsInFlight != 0 || st.ResultsWaiting != 1 || st.DeadLetters != 0 || len(st.Streams) != 8 || len(st.Workers) != 0 {
		t.Errorf("queue: %+v", st)
	}
}
