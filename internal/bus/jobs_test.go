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

	"stegomq/schemas"
)

func TestJobsAreSettledOnce(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	const n = 200
	var mu sync.Mutex
	seen := make(map[string]int)
	all := make(chan struct{})
	h := func(_ context.Context, j *schemas.Job) error {
		mu.Lock()
		defer mu.Unlock()
		if seen[j.GetId()]++; len(seen) == n {
			select {
			case <-all:
			default:
				close(all)
			}
		}
		return nil
	}
	one, two := consumeJobs(t, b, "one", 3, h), consumeJobs(t, b, "two", 3, h)
	for i := range n {
		publishJobs(t, b, testJob("run", fmt.Sprintf("key-%d", i%23), i))
	}
	receive(t, all, "all jobs")
	waitEmpty(t, b, interactiveStream)
	for id, times := range seen {
		if times != 1 {
			t.Errorf("job %s ran %d times", id, times)
		}
	}
	for _, c := range []*consumer{one, two} {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	}
	if s := b.Stats(); s.Acked != n || s.Delivered != n || s.Published != n {
		t.Errorf("counters do not add up: %+v", s)
	}
}

func TestSlotsBoundWhatRunsAndWhatIsPulled(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	const slots = 3
	running, release := make(chan struct{}, 64), make(chan struct{})
	for i := range 20 {
		publishJobs(t, b, testJob("run", fmt.Sprintf("key-%d", i%5), i))
	}
	c := consumeJobs(t, b, "one", slots, func(context.Context, *schemas.Job) error {
		running <- struct{}{}
		<-release
		return nil
	})
	for range slots {
		receive(t, running, "a handler")
	}
	// What was pulled is what the server counts as in flight: nothing is fetched ahead.
	eventually(t, "heartbeat", func() bool { w, err := b.liveWorkers(testContext(t)); return err == nil && len(w) == 1 })
	status, err := b.Status(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if status.JobsInFlight != slots || status.JobsWaiting != 20-slots {
		t.Errorf("%d in flight, %d waiting, want %d and %d", status.JobsInFlight, status.JobsWaiting, slots, 20-slots)
	}
	if len(running) > 0 {
		t.Error("more handlers than slots")
	}
	close(release)
	waitEmpty(t, b, interactiveStream)
	if err := c.stop(); err != nil {
		t.Error(err)
	}
}

func TestJobsPublishedBeforeAnyWorker(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	publishJobs(t, b, testJob("run", "alice", 1), testJob("run", "bob", 2))
	got := make(chan string, 2)
	consumeJobs(t, b, "one", 1, func(_ context.Context, j *schemas.Job) error { got <- j.GetKey().GetId(); return nil })
	keys := []string{receive(t, got, "a job"), receive(t, got, "another job")}
	slices.Sort(keys)
	if !slices.Equal(keys, []string{"alice", "bob"}) {
		t.Errorf("got %v", keys)
	}
}

func TestFaultBecomesDeadLetter(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	job := testJob("run", "alice", 1)
	publishJobs(t, b, job)
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		return fmt.Errorf("embed: %w", schemas.Permanent(schemas.ReasonKeyMismatch, errors.New("no key alice")))
	})
	dead := oneDead(t, b)
	waitEmpty(t, b, interactiveStream)
	l := dead.Letter
	if l.GetReason() != string(schemas.ReasonKeyMismatch) || l.GetDetail() != "no key alice" ||
		l.GetStream() != interactiveStream || l.GetSubject() != schemas.JobSubject(job) || l.GetDeliveries() != 1 {
		t.Errorf("dead letter %v", l)
	}
	if got, err := schemas.DecodeJob(l.GetMessage()); err != nil || got.GetId() != job.GetId() {
		t.Errorf("message in the letter: %v, %v", got, err)
	}
}

func TestUnusualFaultsAreStillBuried(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	publishJobs(t, b, testJob("run", "alice", 1))
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		return &schemas.Fault{Reason: "no such.reason", Err: fmt.Errorf("%s\xff%s", "bytes", make([]byte, 1<<20))}
	})
	if l := oneDead(t, b).Letter; l.GetReason() != string(reasonUnknown) || len(l.GetDetail()) > maxDetail {
		t.Errorf("reason %q, %d bytes of detail", l.GetReason(), len(l.GetDetail()))
	}
}

func TestBadMessageBecomesDeadLetter(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		t.Error("the handler saw a bad message")
		return nil
	})
	if _, err := b.js.Publish(testContext(t), "job.interactive.main."+sha("model")+".embed.alice.run", []byte("not a job")); err != nil {
		t.Fatal(err)
	}
	if l := oneDead(t, b).Letter; l.GetReason() != string(schemas.ReasonBadMessage) || string(l.GetMessage()) != "not a job" {
		t.Errorf("dead letter %v", l)
	}
	waitEmpty(t, b, interactiveStream)
}

func TestRetriesThenDeadLetter(t *testing.T) {
	t.Parallel()
	cfg := quick(startServer(t, ""))
	cfg.MaxDeliver = 3
	b := open(t, cfg)
	publishJobs(t, b, testJob("run", "alice", 1))
	var tries atomic.Int64
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		if tries.Add(1) == 2 {
			panic("the network exploded")
		}
		return errors.New("disk full")
	})
	l := oneDead(t, b).Letter
	waitEmpty(t, b, interactiveStream)
	if l.GetReason() != string(schemas.ReasonRetriesExhausted) || l.GetDetail() != "disk full" || l.GetDeliveries() != 3 {
		t.Errorf("dead letter %v", l)
	}
	if tries.Load() != 3 {
		t.Errorf("%d tries, want 3", tries.Load())
	}
	if s := b.Stats(); s.Panics != 1 || s.Retried != 2 || s.Dead != 1 {
		t.Errorf("counters: %+v", s)
	}
}

// TestMessageThatKillsWorkersBecomesDeadLetter has worker after worker lose its connection over one message.
func TestMessageThatKillsWorkersBecomesDeadLetter(t *testing.T) {
	t.Parallel()
	server := startServer(t, "127.0.0.1:0")
	cfg := quick(nil)
	cfg.URL, cfg.MaxDeliver, cfg.AckWait = server.URL(), 2, 200*time.Millisecond
	b := open(t, cfg)
	job := testJob("run", "alice", 1)
	publishJobs(t, b, job)
	cfg.Grace, cfg.HardWait = time.Millisecond, time.Millisecond
	for range cfg.MaxDeliver {
		doomed, err := Open(testContext(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		running, release := make(chan struct{}), make(chan struct{})
		c := consumeJobs(t, doomed, "doomed", 1, func(context.Context, *schemas.Job) error {
			close(running)
			<-release
			return errors.New("too late")
		})
		receive(t, running, "the handler")
		doomed.nc.Close()
		close(release)
		if err := c.stop(); err != nil {
			t.Logf("the worker that died: %v", err)
		}
		if err := doomed.Close(); err != nil {
			t.Error(err)
		}
	}
	consumeJobs(t, b, "survivor", 1, func(context.Context, *schemas.Job) error {
		t.Error("tried more often than permitted")
		return nil
	})
	l := oneDead(t, b).Letter
	if l.GetReason() != string(schemas.ReasonRetriesExhausted) || l.GetSubject() != schemas.JobSubject(job) || l.GetDeliveries() != 3 {
		t.Errorf("dead letter %v", l)
	}
	waitEmpty(t, b, interactiveStream)
}

func TestCrashedWorkersJobsAreDoneByOthers(t *testing.T) {
	t.Parallel()
	server := startServer(t, "127.0.0.1:0")
	cfg := quick(nil)
	cfg.URL, cfg.AckWait = server.URL(), 300*time.Millisecond
	cfg.Grace, cfg.HardWait = time.Millisecond, time.Millisecond
	doomed, err := Open(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Grace, cfg.HardWait = patience, patience
	b := open(t, cfg)

	const n = 40
	for i := range n {
		publishJobs(t, b, testJob("run", fmt.Sprintf("key-%d", i), i))
	}
	holding, release := make(chan string, n), make(chan struct{})
	crashed := consumeJobs(t, doomed, "doomed", 4, func(_ context.Context, j *schemas.Job) error {
		holding <- j.GetId()
		<-release // hung until the connection is gone
		return errors.New("too late")
	})
	held := make(map[string]bool)
	for range 4 {
		held[receive(t, holding, "a job in the doomed worker")] = true
	}
	doomed.nc.Close() // nothing is settled, no heartbeat deleted

	done := make(chan string, n)
	begin := time.Now()
	consumeJobs(t, b, "heir", 2, func(_ context.Context, j *schemas.Job) error { done <- j.GetId(); return nil })
	for range n {
		delete(held, receive(t, done, "the jobs"))
	}
	t.Logf("all jobs done %v after the crash, AckWait %v", time.Since(begin), cfg.AckWait)
	if len(held) > 0 {
		t.Errorf("jobs of the crashed worker were not done: %v", held)
	}
	waitEmpty(t, b, interactiveStream)
	close(release)
	if err := crashed.stop(); err != nil {
		t.Logf("crashed worker: %v", err)
	}
	if err := doomed.Close(); err != nil {
		t.Error(err)
	}
}

func TestSoftStopLetsHandlersFinish(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	publishJobs(t, b, testJob("run", "alice", 1), testJob("run", "alice", 2))
	running, release := make(chan struct{}, 2), make(chan struct{})
	c := consumeJobs(t, b, "one", 1, func(ctx context.Context, _ *schemas.Job) error {
		running <- struct{}{}
		<-release
		return ctx.Err()
	})
	receive(t, running, "the handler")
	c.cancel()
	eventually(t, "the heartbeat to end", func() bool { w, err := b.liveWorkers(testContext(t)); return err == nil && len(w) == 0 })
	close(release)
	if err := c.wait(); err != nil {
		t.Error(err)
	}
	if n := messages(t, b, interactiveStream); n != 1 || len(running) != 0 {
		t.Errorf("%d jobs left and %d more started, want 1 and 0", n, len(running))
	}
	if s := b.Stats(); s.Acked != 1 {
		t.Errorf("counters: %+v", s)
	}
}

func TestHardStopHandsJobsBack(t *testing.T) {
	t.Parallel()
	for name, maxDeliver := range map[string]int{"tries left": 5, "on the last try": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, "")
			cfg := quick(server)
			cfg.Grace, cfg.MaxDeliver, cfg.AckWait = time.Millisecond, maxDeliver, patience
			b := open(t, cfg)
			job := testJob("run", "alice", 1)
			publishJobs(t, b, job)
			running := make(chan struct{}, 1)
			c := consumeJobs(t, b, "one", 1, func(ctx context.Context, _ *schemas.Job) error {
				running <- struct{}{}
				<-ctx.Done()
				if !errors.Is(context.Cause(ctx), ErrInterrupted) {
					t.Errorf("cause %v, want ErrInterrupted", context.Cause(ctx))
				}
				// What comes of the cancellation must not be taken for a fault.
				return schemas.Permanent(schemas.ReasonMissingBlob, ctx.Err())
			})
			receive(t, running, "the handler")
			if err := c.stop(); err != nil {
				t.Error(err)
			}
			again := make(chan string, 1)
			consumeJobs(t, b, "two", 1, func(_ context.Context, j *schemas.Job) error { again <- j.GetId(); return nil })
			if id := receive(t, again, "the job again"); id != job.GetId() {
				t.Errorf("job %s, want %s", id, job.GetId())
			}
			waitEmpty(t, b, interactiveStream)
			if n := messages(t, b, schemas.StreamDead); n != 0 {
				t.Errorf("an interrupted job left %d dead letters", n)
			}
		})
	}
}

func TestStuckHandlersAreReported(t *testing.T) {
	t.Parallel()
	cfg := quick(startServer(t, ""))
	cfg.Grace, cfg.HardWait = time.Millisecond, time.Millisecond
	b := open(t, cfg)
	publishJobs(t, b, testJob("run", "alice", 1))
	running, release := make(chan struct{}), make(chan struct{})
	c := consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		close(running)
		<-release
		return nil
	})
	receive(t, running, "the handler")
	if err := c.stop(); !errors.Is(err, ErrStuck) {
		t.Errorf("error %v, want ErrStuck", err)
	}
	close(release)
	waitEmpty(t, b, interactiveStream) // it was settled after all
}

func TestSlowHandlerKeepsItsJob(t *testing.T) {
	t.Parallel()
	cfg := quick(startServer(t, ""))
	cfg.AckWait = time.Second // leaves room for a busy machine: a sign of life every third of it
	b := open(t, cfg)
	publishJobs(t, b, testJob("run", "alice", 1))
	var runs atomic.Int64
	release := make(chan struct{})
	h := func(context.Context, *schemas.Job) error {
		if runs.Add(1) == 1 {
			time.AfterFunc(3*cfg.AckWait/2, func() { close(release) })
		}
		<-release
		return nil
	}
	consumeJobs(t, b, "one", 1, h)
	consumeJobs(t, b, "two", 1, h)
	waitEmpty(t, b, interactiveStream)
	if runs.Load() != 1 {
		t.Errorf("the job ran %d times", runs.Load())
	}
}

func TestHandlerTimeoutIsAFailure(t *testing.T) {
	t.Parallel()
	cfg := quick(startServer(t, ""))
	cfg.MaxHandle, cfg.MaxDeliver = 20*time.Millisecond, 2
	b := open(t, cfg)
	publishJobs(t, b, testJob("run", "alice", 1))
	var runs atomic.Int64
	consumeJobs(t, b, "one", 1, func(ctx context.Context, _ *schemas.Job) error {
		runs.Add(1)
		<-ctx.Done()
		return ctx.Err()
	})
	if l := oneDead(t, b).Letter; l.GetReason() != string(schemas.ReasonRetriesExhausted) {
		t.Errorf("dead letter %v", l)
	}
	if runs.Load() != 2 {
		t.Errorf("ran %d times, want 2", runs.Load())
	}
}

func TestStoredConsumerSettingsAreAdopted(t *testing.T) {
	t.Parallel()
	server := startServer(t, "")
	cfg := quick(server)
	cfg.AckWait = 7 * time.Second
	b := open(t, cfg)
	job := testJob("run", "alice", 1)
	run := func(b *Bus, n int) {
		t.Helper()
		got := make(chan struct{}, 1)
		c := consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error { got <- struct{}{}; return nil })
		publishJobs(t, b, testJob("run", "alice", n))
		receive(t, got, "the job")
		if err := c.stop(); err != nil {
			t.Fatal(err)
		}
	}
	stored := func() time.Duration {
		c, err := b.js.Consumer(testContext(t), interactiveStream, job.GetModel())
		if err != nil {
			t.Fatal(err)
		}
		return c.CachedInfo().Config.AckWait
	}
	run(b, 1)
	cfg.AckWait = 0
	silent := open(t, cfg)
	run(silent, 2)
	if wait := stored(); wait != 7*time.Second {
		t.Errorf("a worker without settings changed the wait to %v", wait)
	}
	if beat := silent.beat(); beat != 7*time.Second/3 {
		t.Errorf("a sign of life every %v, want a third of 7 s", beat)
	}
	cfg.AckWait = 8 * time.Second
	run(open(t, cfg), 3)
	if wait := stored(); wait != 8*time.Second {
		t.Errorf("an explicit setting gave %v", wait)
	}
}

func TestBadWorkerIDs(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	for _, id := range []string{"", "a b", "a.b", "a*", "a>", string(make([]byte, 200))} {
		if _, err := b.JobSource(JobOptions{Worker: id}); !errors.Is(err, ErrBadWorker) {
			t.Errorf("%q: error %v, want ErrBadWorker", id, err)
		}
	}
}

func TestConsumeSurvivesTheServersAbsence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func(listen string) *Server {
		s, err := StartServer(ServerConfig{StoreDir: dir, Listen: listen, Secret: testSecret, Logger: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	server := start("127.0.0.1:0")
	url := server.URL()
	cfg := quick(nil)
	cfg.URL = url
	b := open(t, cfg)
	got := make(chan string, 4)
	consumeJobs(t, b, "one", 1, func(_ context.Context, j *schemas.Job) error { got <- j.GetId(); return nil })
	publishJobs(t, b, testJob("run", "alice", 1))
	receive(t, got, "the first job")
	results := make(chan string, 4)
	background(t, func(ctx context.Context) error {
		return b.SubscribeResults(ctx, "run", func(r *schemas.Result) error {
			results <- r.GetJob().GetId()
			return nil
		})
	})
	if err := b.PublishResult(testContext(t), testResult(testJob("run", "alice", 1))); err != nil {
		t.Fatal(err)
	}
	receive(t, results, "the first result")

	server.Shutdown()
	published := make(chan error, 1)
	second := testJob("run", "bob", 2)
	go func() { published <- b.PublishJob(testContext(t), second) }()
	eventually(t, "the disconnection", func() bool { return !b.nc.IsConnected() })
	server = start(url[len("nats://"):])
	t.Cleanup(server.Shutdown)
	if err := receive(t, published, "the publisher"); err != nil {
		t.Fatal(err)
	}
	if id := receive(t, got, "the second job"); id != second.GetId() {
		t.Errorf("job %s, want %s", id, second.GetId())
	}
	if err := b.PublishResult(testContext(t), testResult(second)); err != nil {
		t.Fatal(err)
	}
	for receive(t, results, "the second result") != second.GetId() { // the first may come twice
	}
	if b.Stats().Reconnects == 0 {
		t.Error("no reconnection was counted")
	}
	// The bus must be closed before its server.
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestDirtyPullerHandsMessagesBack(t *testing.T) {
	t.Parallel()
	cfg := quick(startServer(t, ""))
	cfg.AckWait = patience
	b := open(t, cfg)
	probe := testJob("run", "alice", 1).GetModel()
	if err := b.EnsureQueue(testContext(t), schemas.Interactive, probe); err != nil {
		t.Fatal(err)
	}
	pull, err := newPuller(b.nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	// The pull is at the server when its context ends; the job comes after that.
	if got, err := pull.pull(ctx, interactiveStream, probe, pullRequest{Batch: 1, Expires: time.Minute}); len(got) > 0 || err != nil {
		t.Fatalf("got %v, %v", got, err)
	}
	publishJobs(t, b, testJob("run", "alice", 1))
	got, err := pull.pull(testContext(t), interactiveStream, probe, pullRequest{Batch: 1, Expires: 5 * time.Second})
	if err != nil || len(got) != 1 {
		t.Fatalf("got %v, %v: an abandoned pull kept the job", got, err)
	}
	pull.close()
}
