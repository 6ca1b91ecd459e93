package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stegomq/internal/natsserver"
	"stegomq/internal/streams"
	"stegomq/internal/testrig/natsrig"
	"stegomq/internal/tracing"
	"stegomq/schemas"
)

// TestClassesAreServedInOrder is fault 1 of the first protocol: interactive jobs waited behind a run. Here all jobs wait before the
// worker starts.
func TestClassesAreServedInOrder(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	for n, c := range []schemas.Class{schemas.Bulk, schemas.Bulk, schemas.FollowUpClass, schemas.FollowUpClass, schemas.Interactive, schemas.Interactive} {
		publishJobs(t, b, natsrig.OfClass(c, "run", n))
	}
	for _, c := range schemas.Classes() {
		waitPending(t, b, c, 2)
	}
	var order []string
	done := make(chan []string, 1)
	consumeJobs(t, b, "one", 1, func(_ context.Context, j *schemas.Job) error {
		if order = append(order, string(schemas.JobClass(j))); len(order) == 6 {
			done <- order
		}
		return nil
	})
	want := "[interactive interactive followup followup bulk bulk]"
	if got := fmt.Sprint(natsrig.Receive(t, done, "the jobs")); got != want {
		t.Errorf("served %s, want %s", got, want)
	}
}

// TestInteractiveOvertakesBulk publishes an interactive job while bulk jobs wait: the worker takes it next.
func TestInteractiveOvertakesBulk(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	for n := range 50 {
		publishJobs(t, b, natsrig.OfClass(schemas.Bulk, "run", n))
	}
	running, release := make(chan string), make(chan struct{})
	consumeJobs(t, b, "one", 1, func(_ context.Context, j *schemas.Job) error {
		running <- string(schemas.JobClass(j))
		<-release
		return nil
	})
	natsrig.Receive(t, running, "the first bulk job")
	publishJobs(t, b, natsrig.OfClass(schemas.Interactive, "now", 0))
	waitPending(t, b, schemas.Interactive, 1)
	release <- struct{}{}
	if got := natsrig.Receive(t, running, "the next job"); got != string(schemas.Interactive) {
		t.Errorf("the next job was %s", got)
	}
	close(release)
	for range 49 {
		natsrig.Receive(t, running, "the rest")
	}
}

// TestJobsOfOtherModelsAreLeft is fault 4: a worker without the model destroyed the jobs of those that have it.
func TestJobsOfOtherModelsAreLeft(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	mine, other := natsrig.Job("run", "alice", 1), natsrig.Job("run", "alice", 2)
	other.Model = natsrig.SHA("another model")
	other.Id = schemas.JobID(other)
	publishJobs(t, b, other, mine)
	serving := func(worker, model string) chan string {
		s, err := b.JobSource(JobOptions{Worker: worker, Serves: func(m string) bool { return m == model }})
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan string, 4)
		natsrig.Background(t, func(ctx context.Context) error {
			return s.Consume(ctx, 2, func(_ context.Context, j *schemas.Job) error { got <- j.GetId(); return nil })
		})
		return got
	}
	got := serving("one", mine.GetModel())
	if id := natsrig.Receive(t, got, "the job"); id != mine.GetId() {
		t.Errorf("job %s, want %s", id, mine.GetId())
	}
	natsrig.Eventually(t, "one job to be left", func() bool { return messages(t, b, natsrig.Interactive) == 1 })
	if id := natsrig.Receive(t, serving("two", other.GetModel()), "the other job"); id != other.GetId() {
		t.Errorf("job %s, want %s", id, other.GetId())
	}
	if len(got) > 0 || messages(t, b, schemas.StreamDead) > 0 {
		t.Error("the first worker took the other's job")
	}
}

// TestJobsWithoutAConsumerAreFound is fault 9: jobs without a consumer stayed for ever.
func TestJobsWithoutAConsumerAreFound(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	job := natsrig.Job("run", "alice", 1)
	data, err := schemas.Encode(job)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.link.JS.Publish(natsrig.Context(t), schemas.JobSubject(job), data); err != nil { // another client, which makes no consumer
		t.Fatal(err)
	}
	if _, err := b.link.JS.Publish(natsrig.Context(t), "job.interactive.garbage", []byte("nobody reads this")); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	consumeJobs(t, b, "one", 1, func(_ context.Context, j *schemas.Job) error { got <- j.GetId(); return nil })
	natsrig.Receive(t, got, "the job")
	if l := oneDead(t, b); l.GetReason() != string(schemas.ReasonBadMessage) || l.GetSubject() != "job.interactive.garbage" {
		t.Errorf("dead letter %v", l)
	}
	waitEmpty(t, b, natsrig.Interactive)
}

// TestMissingKeyGoesToAnother is fault 4: the key may be on another worker. No worker has the second job's key.
func TestMissingKeyGoesToAnother(t *testing.T) {
	t.Parallel()
	cfg := quick(natsrig.Server(t, ""))
	cfg.UnservedAfter, cfg.MaxDeliver = natsrig.Patience, 1
	b := open(t, cfg)
	lacked := make(chan struct{}, 100)
	has := func(keys string) jobHandler {
		return func(_ context.Context, j *schemas.Job) error {
			if strings.Contains(keys, j.GetKey().GetId()) {
				return nil
			}
			select {
			case lacked <- struct{}{}:
			default:
			}
			return schemas.Permanent(schemas.ReasonUnknownKey, errors.New("no such key"))
		}
	}
	publishJobs(t, b, natsrig.Job("run", "alice", 1))
	one := consumeJobs(t, b, "one", 1, has("bob"))
	natsrig.Receive(t, lacked, "the worker without the key")
	two := consumeJobs(t, b, "two", 1, has("alice"))
	waitEmpty(t, b, natsrig.Interactive)
	if n := messages(t, b, schemas.StreamDead); n != 0 {
		t.Errorf("%d dead letters of a key that a worker has", n)
	}

	for _, worker := range []*natsrig.Task{one, two} {
		if err := worker.Stop(); err != nil {
			t.Error(err)
		}
	}
	cfg.UnservedAfter = 300 * time.Millisecond
	b = open(t, cfg)
	consumeJobs(t, b, "one", 1, has("bob"))
	consumeJobs(t, b, "two", 1, has("alice"))
	publishJobs(t, b, natsrig.Job("run", "nobody", 2))
	l := oneDead(t, b)
	if l.GetReason() != string(schemas.ReasonUnknownKey) || !strings.Contains(l.GetSubject(), ".nobody.") {
		t.Errorf("dead letter %v", l)
	}
	waitEmpty(t, b, natsrig.Interactive)
	if n := messages(t, b, schemas.StreamDead); n != 1 {
		t.Errorf("%d dead letters, want that of the key that nobody has", n)
	}
}

// TestNothingIsPulledWhileAServerIsAway is fault 5: an outage of Redis spent the tries of every job.
func TestNothingIsPulledWhileAServerIsAway(t *testing.T) {
	t.Parallel()
	cfg := quick(natsrig.Server(t, ""))
	cfg.MaxDeliver = 1
	b := open(t, cfg)
	var away atomic.Bool
	away.Store(true)
	asked, done := make(chan struct{}, 100), make(chan string, 10)
	var calls atomic.Int64
	s, err := b.JobSource(JobOptions{Worker: "one", Gate: func(context.Context) error {
		asked <- struct{}{}
		if away.Load() {
			return errors.New("connection refused")
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	natsrig.Background(t, func(ctx context.Context) error {
		return s.Consume(ctx, 1, func(_ context.Context, j *schemas.Job) error {
			if away.Load() {
				calls.Add(1)
				return fmt.Errorf("look up: %w", schemas.ErrAway)
			}
			done <- j.GetId()
			return nil
		})
	})
	for n := range 5 {
		publishJobs(t, b, natsrig.Job("run", "alice", n))
	}
	for range 3 {
		natsrig.Receive(t, asked, "the gate")
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("%d jobs were tried while the server was away, want 1", n)
	}
	away.Store(false)
	for range 5 {
		natsrig.Receive(t, done, "the jobs")
	}
	waitEmpty(t, b, natsrig.Interactive)
	if n := messages(t, b, schemas.StreamDead); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// TestFollowUpsThatDoNotFit is fault 6: handlers waited for room that only they could make. The queues hold a few jobs each.
func TestFollowUpsThatDoNotFit(t *testing.T) {
	t.Parallel()
	cfg := quick(natsrig.Server(t, ""))
	cfg.Streams.MaxJobBytes, cfg.MaxDeliver = 4<<10, 2
	b := open(t, cfg)
	const embeds, follow = 3, 20
	done := make(chan string, 200)
	consumeJobs(t, b, "one", 1, func(ctx context.Context, j *schemas.Job) error {
		if schemas.JobClass(j) == schemas.FollowUpClass {
			done <- j.GetId()
			return nil
		}
		for n := range follow {
			next := natsrig.OfClass(schemas.FollowUpClass, j.GetRun(), n)
			if err := b.PublishJob(ctx, next); err != nil {
				return err
			}
		}
		return nil
	})
	for n := range embeds {
		publishJobs(t, b, natsrig.OfClass(schemas.Bulk, fmt.Sprintf("run-%d", n), n))
	}
	seen := make(map[string]bool)
	for len(seen) < embeds*follow {
		seen[natsrig.Receive(t, done, "what follows")] = true
	}
	waitEmpty(t, b, schemas.JobStream(schemas.Bulk))
	if n := messages(t, b, schemas.StreamDead); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// TestForeignSubject is fault 3: permissions are given by subject, so a job on a wrong subject is refused.
func TestForeignSubject(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	job := natsrig.Job("run", "alice", 1)
	data, err := schemas.Encode(job)
	if err != nil {
		t.Fatal(err)
	}
	subject := strings.Replace(schemas.JobSubject(job), "alice", "bob", 1)
	if _, err := b.link.JS.Publish(natsrig.Context(t), subject, data); err != nil {
		t.Fatal(err)
	}
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		t.Error("the job was run")
		return nil
	})
	l := oneDead(t, b)
	if l.GetReason() != string(schemas.ReasonBadMessage) || l.GetSubject() != subject {
		t.Errorf("dead letter %v", l)
	}
	if n := messages(t, b, schemas.ResultStream(schemas.MainTenant)); n != 0 {
		t.Error("somebody was told of it")
	}
	if err := b.Republish(natsrig.Context(t), l.GetSubject(), "again", l.GetMessage(), tracing.Message{}); !errors.Is(err, ErrBadFilter) {
		t.Errorf("published again: %v", err)
	}
	result := natsrig.Result(natsrig.Scored(natsrig.Job("run", "alice", 2)))
	if data, err = schemas.Encode(result); err != nil {
		t.Fatal(err)
	}
	if _, err := b.link.JS.Publish(natsrig.Context(t), "score.main.other", data); err != nil {
		t.Fatal(err)
	}
	natsrig.Background(t, func(ctx context.Context) error {
		return b.ResultSource(nil).Consume(ctx, 1, func(context.Context, *schemas.Result) error {
			t.Error("the result was scored")
			return nil
		})
	})
	natsrig.Eventually(t, "the second letter", func() bool { return messages(t, b, schemas.StreamDead) == 2 })
}

// TestDeathIsTold: the client that waits for a dead interactive job gets a result with the reason.
func TestDeathIsTold(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		return schemas.Permanent(schemas.ReasonBadImage, errors.New("truncated"))
	})
	told := make(chan *schemas.Result, 4)
	natsrig.Background(t, func(ctx context.Context) error {
		return b.SubscribeResults(ctx, "run", func(r *schemas.Result) error { told <- r; return nil })
	})
	publishJobs(t, b, natsrig.Job("run", "alice", 1))
	f := natsrig.Receive(t, told, "the result").GetOutcomes()[0].GetFailure()
	if f.GetReason() != string(schemas.ReasonBadImage) || f.GetDetail() != "truncated" {
		t.Errorf("failure %v", f)
	}
}

// TestMessageNearTheLimitCanDie is fault 9: a message that left no room for a letter around it stayed for ever.
func TestMessageNearTheLimitCanDie(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20 // with the race detector the server takes seconds to write out a message of its usual limit
	b := open(t, quick(natsrig.Start(t, natsserver.Config{MaxPayload: limit})))
	model := natsrig.SHA("model")
	if err := b.streams.EnsureLane(natsrig.Context(t), streams.Lane{Class: schemas.Interactive, Model: model}); err != nil {
		t.Fatal(err)
	}
	subject := "job.interactive.main." + model + ".embed.alice.run"
	if _, err := b.link.JS.Publish(natsrig.Context(t), subject, make([]byte, limit-200)); err != nil {
		t.Fatal(err)
	}
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error { return nil })
	if l := oneDead(t, b); l.GetReason() != string(schemas.ReasonBadMessage) || !strings.Contains(l.GetDetail(), "bytes kept") || len(l.GetMessage()) < limit/2 {
		t.Errorf("dead letter of %d bytes: %s", len(l.GetMessage()), l.GetDetail())
	}
	waitEmpty(t, b, natsrig.Interactive)
}

// TestExclusiveWorkerLeavesOtherRuns is fault 4: a command on its own server did the jobs that an interrupted command had left.
func TestExclusiveWorkerLeavesOtherRuns(t *testing.T) {
	t.Parallel()
	server := natsrig.Server(t, "")
	before := open(t, quick(server))
	publishJobs(t, before, natsrig.OfClass(schemas.Bulk, "left", 1))
	cfg := quick(server)
	cfg.Streams.Exclusive = true
	b := open(t, cfg)
	if _, err := b.JobSource(JobOptions{Worker: "one"}); err == nil {
		t.Error("a worker of every run on an exclusive bus")
	}
	mine := natsrig.OfClass(schemas.Bulk, "mine", 2)
	s, err := b.JobSource(JobOptions{Worker: "one", Run: "mine", Model: mine.GetModel()})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 4)
	c := natsrig.Background(t, func(ctx context.Context) error {
		return s.Consume(ctx, 2, func(_ context.Context, j *schemas.Job) error { got <- j.GetRun(); return nil })
	})
	publishJobs(t, b, mine)
	if run := natsrig.Receive(t, got, "the job"); run != "mine" {
		t.Errorf("job of run %s", run)
	}
	natsrig.Eventually(t, "one job to be left", func() bool { return messages(t, b, schemas.JobStream(schemas.Bulk)) == 1 })
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	after := open(t, quick(server)) // serves every run again
	consumeJobs(t, after, "two", 1, func(_ context.Context, j *schemas.Job) error { got <- j.GetRun(); return nil })
	if run := natsrig.Receive(t, got, "what was left"); run != "left" {
		t.Errorf("job of run %s", run)
	}
}
