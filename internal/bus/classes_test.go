package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stegomq/schemas"
)

// ofClass makes the n-th job of a run a job of a class.
func ofClass(c schemas.Class, run string, n int) *schemas.Job {
	j := testJob(run, "alice", n)
	switch c {
	case schemas.Bulk:
		return scored(j)
	case schemas.FollowUpClass:
		next := schemas.RecoverJob(scored(j), &schemas.KeyRef{Id: "bob", Fingerprint: sha("bob")[:32]}, map[string]string{fmt.Sprintf("item-%d", n): sha("stego")})
		next.Attempt = int64(n)
		return next
	}
	return j
}

// TestClassesAreServedInOrder is fault 1 of the first protocol: what somebody waits for stood behind a run. Here all wait before the
// worker comes.
func TestClassesAreServedInOrder(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	for n, c := range []schemas.Class{schemas.Bulk, schemas.Bulk, schemas.FollowUpClass, schemas.FollowUpClass, schemas.Interactive, schemas.Interactive} {
		publishJobs(t, b, ofClass(c, "run", n))
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
	if got := fmt.Sprint(receive(t, done, "the jobs")); got != want {
		t.Errorf("served %s, want %s", got, want)
	}
}

// TestInteractiveOvertakesBulk has one come while bulk jobs wait: it is the next that the worker takes.
func TestInteractiveOvertakesBulk(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	for n := range 50 {
		publishJobs(t, b, ofClass(schemas.Bulk, "run", n))
	}
	running, release := make(chan string), make(chan struct{})
	consumeJobs(t, b, "one", 1, func(_ context.Context, j *schemas.Job) error {
		running <- string(schemas.JobClass(j))
		<-release
		return nil
	})
	receive(t, running, "the first bulk job")
	publishJobs(t, b, ofClass(schemas.Interactive, "now", 0))
	release <- struct{}{}
	if got := receive(t, running, "the next job"); got != string(schemas.Interactive) {
		t.Errorf("the next job was %s", got)
	}
	close(release)
	for range 49 {
		receive(t, running, "the rest")
	}
}

// TestJobsOfOtherModelsAreLeft is fault 4: a worker without the model destroyed the jobs of those that have it.
func TestJobsOfOtherModelsAreLeft(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	mine, other := testJob("run", "alice", 1), testJob("run", "alice", 2)
	other.Model = sha("another model")
	other.Id = schemas.JobID(other)
	publishJobs(t, b, other, mine)
	serving := func(worker, model string) chan string {
		s, err := b.JobSource(JobOptions{Worker: worker, Serves: func(m string) bool { return m == model }})
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan string, 4)
		background(t, func(ctx context.Context) error {
			return s.Consume(ctx, 2, func(_ context.Context, j *schemas.Job) error { got <- j.GetId(); return nil })
		})
		return got
	}
	got := serving("one", mine.GetModel())
	if id := receive(t, got, "the job"); id != mine.GetId() {
		t.Errorf("job %s, want %s", id, mine.GetId())
	}
	eventually(t, "one job to be left", func() bool { return messages(t, b, interactiveStream) == 1 })
	if id := receive(t, serving("two", other.GetModel()), "the other job"); id != other.GetId() {
		t.Errorf("job %s, want %s", id, other.GetId())
	}
	if len(got) > 0 || messages(t, b, schemas.StreamDead) > 0 {
		t.Error("the first worker took the other's job")
	}
}

// TestJobsWithoutAConsumerAreFound is fault 9: what nobody read stayed for ever.
func TestJobsWithoutAConsumerAreFound(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	job := testJob("run", "alice", 1)
	data, err := schemas.Encode(job)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.Publish(testContext(t), schemas.JobSubject(job), data); err != nil { // another client, which makes no consumer
		t.Fatal(err)
	}
	if _, err := b.js.Publish(testContext(t), "job.interactive.garbage", []byte("nobody reads this")); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	consumeJobs(t, b, "one", 1, func(_ context.Context, j *schemas.Job) error { got <- j.GetId(); return nil })
	receive(t, got, "the job")
	if l := oneDead(t, b).Letter; l.GetReason() != string(schemas.ReasonBadMessage) || l.GetSubject() != "job.interactive.garbage" {
		t.Errorf("dead letter %v", l)
	}
	waitEmpty(t, b, interactiveStream)
}

// TestMissingKeyGoesToAnother is fault 4: the key may be on another worker. Nobody has the second job's.
func TestMissingKeyGoesToAnother(t *testing.T) {
	t.Parallel()
	cfg := quick(startServer(t, ""))
	cfg.UnservedAfter, cfg.MaxDeliver = 2*time.Second, 1
	b := open(t, cfg)
	has := func(keys string) jobHandler {
		return func(_ context.Context, j *schemas.Job) error {
			if strings.Contains(keys, j.GetKey().GetId()) {
				return nil
			}
			return schemas.Permanent(schemas.ReasonUnknownKey, errors.New("no such key"))
		}
	}
	publishJobs(t, b, testJob("run", "alice", 1), testJob("run", "nobody", 2))
	consumeJobs(t, b, "one", 1, has("bob"))
	consumeJobs(t, b, "two", 1, has("alice"))
	l := oneDead(t, b).Letter
	if l.GetReason() != string(schemas.ReasonUnknownKey) || !strings.Contains(l.GetSubject(), ".nobody.") {
		t.Errorf("dead letter %v", l)
	}
	waitEmpty(t, b, interactiveStream)
	if n := messages(t, b, schemas.StreamDead); n != 1 {
		t.Errorf("%d dead letters, want that of the key that nobody has", n)
	}
}

// TestNothingIsPulledWhileAServerIsAway is fault 5: an outage of Redis spent the tries of every job.
func TestNothingIsPulledWhileAServerIsAway(t *testing.T) {
	t.Parallel()
	cfg := quick(startServer(t, ""))
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
	background(t, func(ctx context.Context) error {
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
		publishJobs(t, b, testJob("run", "alice", n))
	}
	for range 3 {
		receive(t, asked, "the gate")
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("%d jobs were tried while the server was away, want 1", n)
	}
	away.Store(false)
	for range 5 {
		receive(t, done, "the jobs")
	}
	waitEmpty(t, b, interactiveStream)
	if n := messages(t, b, schemas.StreamDead); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// TestFollowUpsThatDoNotFit is fault 6: handlers waited for room that only they could make. The queues hold a few jobs each.
func TestFollowUpsThatDoNotFit(t *testing.T) {
	t.Parallel()
	cfg := quick(startServer(t, ""))
	cfg.MaxJobBytes, cfg.MaxDeliver = 4<<10, 2
	b := open(t, cfg)
	const embeds, follow = 3, 20
	done := make(chan string, 200)
	consumeJobs(t, b, "one", 1, func(ctx context.Context, j *schemas.Job) error {
		if schemas.JobClass(j) == schemas.FollowUpClass {
			done <- j.GetId()
			return nil
		}
		for n := range follow {
			next := ofClass(schemas.FollowUpClass, j.GetRun(), n)
			if err := b.PublishJob(ctx, next); err != nil {
				return err
			}
		}
		return nil
	})
	for n := range embeds {
		publishJobs(t, b, ofClass(schemas.Bulk, fmt.Sprintf("run-%d", n), n))
	}
	seen := make(map[string]bool)
	for len(seen) < embeds*follow {
		seen[receive(t, done, "what follows")] = true
	}
	waitEmpty(t, b, schemas.JobStream(schemas.Bulk))
	if n := messages(t, b, schemas.StreamDead); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// TestForeignSubject is fault 3: permissions are given by subject, so a job that came on another than its own is refused.
func TestForeignSubject(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	job := testJob("run", "alice", 1)
	data, err := schemas.Encode(job)
	if err != nil {
		t.Fatal(err)
	}
	subject := strings.Replace(schemas.JobSubject(job), "alice", "bob", 1)
	if _, err := b.js.Publish(testContext(t), subject, data); err != nil {
		t.Fatal(err)
	}
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		t.Error("the job was run")
		return nil
	})
	entry := oneDead(t, b)
	if l := entry.Letter; l.GetReason() != string(schemas.ReasonBadMessage) || l.GetSubject() != subject {
		t.Errorf("dead letter %v", l)
	}
	if n := messages(t, b, schemas.ResultStream(schemas.MainTenant)); n != 0 {
		t.Error("somebody was told of it")
	}
	if err := b.RetryDead(testContext(t), entry.Seq); !errors.Is(err, ErrBadFilter) {
		t.Errorf("retried: %v", err)
	}
	result := testResult(scored(testJob("run", "alice", 2)))
	if data, err = schemas.Encode(result); err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.Publish(testContext(t), "score.main.other", data); err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error {
		return b.ResultSource(nil).Consume(ctx, 1, func(context.Context, *schemas.Result) error {
			t.Error("the result was scored")
			return nil
		})
	})
	eventually(t, "the second letter", func() bool { return messages(t, b, schemas.StreamDead) == 2 })
}

// TestDeathIsTold gives who waits for an interactive job a result that says why there is none.
func TestDeathIsTold(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		return schemas.Permanent(schemas.ReasonBadImage, errors.New("truncated"))
	})
	told := make(chan *schemas.Result, 4)
	background(t, func(ctx context.Context) error {
		return b.SubscribeResults(ctx, "run", func(r *schemas.Result) error { told <- r; return nil })
	})
	publishJobs(t, b, testJob("run", "alice", 1))
	f := receive(t, told, "the result").GetOutcomes()[0].GetFailure()
	if f.GetReason() != string(schemas.ReasonBadImage) || f.GetDetail() != "truncated" {
		t.Errorf("failure %v", f)
	}
}

// TestMessageNearTheLimitCanDie is fault 9: a message that left no room for a letter around it stayed for ever.
func TestMessageNearTheLimitCanDie(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	model := sha("model")
	if err := b.EnsureQueue(testContext(t), schemas.Interactive, model); err != nil {
		t.Fatal(err)
	}
	subject := "job.interactive.main." + model + ".embed.alice.run"
	if _, err := b.js.Publish(testContext(t), subject, make([]byte, MaxPayload-200)); err != nil {
		t.Fatal(err)
	}
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error { return nil })
	if l := oneDead(t, b).Letter; l.GetReason() != string(schemas.ReasonBadMessage) || !strings.Contains(l.GetDetail(), "bytes kept") || len(l.GetMessage()) < MaxPayload/2 {
		t.Errorf("dead letter of %d bytes: %s", len(l.GetMessage()), l.GetDetail())
	}
	waitEmpty(t, b, interactiveStream)
}

// TestExclusiveWorkerLeavesOtherRuns is fault 4: a command on its own server worked through what an interrupted one had left.
func TestExclusiveWorkerLeavesOtherRuns(t *testing.T) {
	t.Parallel()
	server := startServer(t, "")
	before := open(t, quick(server))
	publishJobs(t, before, ofClass(schemas.Bulk, "left", 1))
	cfg := quick(server)
	cfg.Exclusive = true
	b := open(t, cfg)
	if _, err := b.JobSource(JobOptions{Worker: "one"}); err == nil {
		t.Error("a worker of every run on an exclusive bus")
	}
	mine := ofClass(schemas.Bulk, "mine", 2)
	s, err := b.JobSource(JobOptions{Worker: "one", Run: "mine", Model: mine.GetModel()})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 4)
	c := background(t, func(ctx context.Context) error {
		return s.Consume(ctx, 2, func(_ context.Context, j *schemas.Job) error { got <- j.GetRun(); return nil })
	})
	publishJobs(t, b, mine)
	if run := receive(t, got, "the job"); run != "mine" {
		t.Errorf("job of run %s", run)
	}
	eventually(t, "one job to be left", func() bool { return messages(t, b, schemas.JobStream(schemas.Bulk)) == 1 })
	if err := c.stop(); err != nil {
		t.Error(err)
	}
	after := open(t, quick(server)) // serves every run again
	consumeJobs(t, after, "two", 1, func(_ context.Context, j *schemas.Job) error { got <- j.GetRun(); return nil })
	if run := receive(t, got, "what was left"); run != "left" {
		t.Errorf("job of run %s", run)
	}
}

func TestOutstandingAndDropRun(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	outstanding := func(run string, want uint64) {
		t.Helper()
		if n, err := b.Outstanding(testContext(t), run); err != nil || n != want {
			t.Errorf("%d outstanding of %s (%v), want %d", n, run, err, want)
		}
	}
	outstanding("mine", 0)
	for n, c := range schemas.Classes() {
		publishJobs(t, b, ofClass(c, "mine", n), ofClass(c, "other", n))
	}
	if err := b.PublishResult(testContext(t), testResult(ofClass(schemas.Bulk, "mine", 9))); err != nil {
		t.Fatal(err)
	}
	outstanding("mine", 4)
	// What a worker has in hand counts.
	running, release := make(chan struct{}), make(chan struct{})
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		running <- struct{}{}
		<-release
		return nil
	})
	receive(t, running, "the first job")
	outstanding("mine", 4)
	if err := b.DropRun(testContext(t), "mine"); err != nil {
		t.Fatal(err)
	}
	outstanding("mine", 0)
	outstanding("other", 3)
	if err := b.DropRun(testContext(t), ">"); !errors.Is(err, ErrBadFilter) {
		t.Errorf("a run that is a wildcard: %v", err)
	}
	go func() {
		for range 3 {
			<-running
		}
	}()
	close(release)
	waitEmpty(t, b, schemas.JobStream(schemas.Bulk))
}
