package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stegomq/internal/natsserver"
	"stegomq/internal/streams"
	"stegomq/internal/testrig/natsrig"
	"stegomq/schemas"
)

func TestJobsAreSettledOnce(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
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
		publishJobs(t, b, natsrig.Job("run", fmt.Sprintf("key-%d", i%23), i))
	}
	natsrig.Receive(t, all, "all jobs")
	waitEmpty(t, b, natsrig.Interactive)
	for id, times := range seen {
		if times != 1 {
			t.Errorf("job %s ran %d times", id, times)
		}
	}
	for _, c := range []*natsrig.Task{one, two} {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}
	if c := laneInfo(t, b); c.Delivered.Consumer != n || c.AckFloor.Consumer != n {
		t.Errorf("the server delivered %d and has %d acknowledged, want %d", c.Delivered.Consumer, c.AckFloor.Consumer, n)
	}
}

func TestSlotsBoundWhatRunsAndWhatIsPulled(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	const slots = 3
	running, release := make(chan struct{}, 64), make(chan struct{})
	for i := range 20 {
		publishJobs(t, b, natsrig.Job("run", fmt.Sprintf("key-%d", i%5), i))
	}
	c := consumeJobs(t, b, "one", slots, func(context.Context, *schemas.Job) error {
		running <- struct{}{}
		<-release
		return nil
	})
	for range slots {
		natsrig.Receive(t, running, "a handler")
	}
	waitPending(t, b, schemas.Interactive, 20-slots)
	// The server counts pulled jobs as in flight: nothing is fetched ahead.
	if !answers(t, b) {
		t.Error("the worker does not answer")
	}
	if c := laneInfo(t, b); c.NumAckPending != slots || c.NumPending != 20-slots {
		t.Errorf("%d in flight, %d waiting, want %d and %d", c.NumAckPending, c.NumPending, slots, 20-slots)
	}
	if len(running) > 0 {
		t.Error("more handlers than slots")
	}
	close(release)
	waitEmpty(t, b, natsrig.Interactive)
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}

func TestJobsPublishedBeforeAnyWorker(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	publishJobs(t, b, natsrig.Job("run", "alice", 1), natsrig.Job("run", "bob", 2))
	got := make(chan string, 2)
	consumeJobs(t, b, "one", 1, func(_ context.Context, j *schemas.Job) error { got <- j.GetKey().GetId(); return nil })
	keys := []string{natsrig.Receive(t, got, "a job"), natsrig.Receive(t, got, "another job")}
	slices.Sort(keys)
	if !slices.Equal(keys, []string{"alice", "bob"}) {
		t.Errorf("got %v", keys)
	}
}

func TestFaultBecomesDeadLetter(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	job := natsrig.Job("run", "alice", 1)
	publishJobs(t, b, job)
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		return fmt.Errorf("embed: %w", schemas.Permanent(schemas.ReasonKeyMismatch, errors.New("no key alice")))
	})
	l := oneDead(t, b)
	waitEmpty(t, b, natsrig.Interactive)
	if l.GetReason() != string(schemas.ReasonKeyMismatch) || l.GetDetail() != "no key alice" ||
		l.GetStream() != natsrig.Interactive || l.GetSubject() != schemas.JobSubject(job) || l.GetDeliveries() != 1 {
		t.Errorf("dead letter %v", l)
	}
	if got, err := schemas.DecodeJob(l.GetMessage()); err != nil || got.GetId() != job.GetId() {
		t.Errorf("message in the letter: %v, %v", got, err)
	}
}

func TestUnusualFaultsAreStillBuried(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	publishJobs(t, b, natsrig.Job("run", "alice", 1))
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		return &schemas.Fault{Reason: "no such.reason", Err: fmt.Errorf("%s\xff%s", "bytes", make([]byte, 1<<20))}
	})
	if l := oneDead(t, b); l.GetReason() != string(reasonUnknown) || len(l.GetDetail()) > maxDetail {
		t.Errorf("reason %q, %d bytes of detail", l.GetReason(), len(l.GetDetail()))
	}
}

func TestBadMessageBecomesDeadLetter(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	// Nobody makes its lane: a worker does when it starts, and every half minute.
	if _, err := b.link.JS.Publish(natsrig.Context(t), "job.interactive.main."+natsrig.SHA("model")+".embed.alice.run", []byte("not a job")); err != nil {
		t.Fatal(err)
	}
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		t.Error("the handler saw a bad message")
		return nil
	})
	if l := oneDead(t, b); l.GetReason() != string(schemas.ReasonBadMessage) || string(l.GetMessage()) != "not a job" {
		t.Errorf("dead letter %v", l)
	}
	waitEmpty(t, b, natsrig.Interactive)
}

func TestRetriesThenDeadLetter(t *testing.T) {
	t.Parallel()
	cfg := quick(natsrig.Server(t, ""))
	cfg.MaxDeliver = 3
	b := open(t, cfg)
	publishJobs(t, b, natsrig.Job("run", "alice", 1))
	var tries atomic.Int64
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		if tries.Add(1) == 2 {
			panic("the network exploded")
		}
		return errors.New("disk full")
	})
	l := oneDead(t, b)
	waitEmpty(t, b, natsrig.Interactive)
	if l.GetReason() != string(schemas.ReasonRetriesExhausted) || l.GetDetail() != "disk full" || l.GetDeliveries() != 3 {
		t.Errorf("dead letter %v", l)
	}
	if tries.Load() != 3 {
		t.Errorf("%d tries, want 3", tries.Load())
	}
}

// TestMessageThatKillsWorkersBecomesDeadLetter has worker after worker lose its connection over one message.
func TestMessageThatKillsWorkersBecomesDeadLetter(t *testing.T) {
	t.Parallel()
	server := natsrig.Server(t, "127.0.0.1:0")
	cfg := quick(nil)
	cfg.Link.URL, cfg.MaxDeliver, cfg.Streams.AckWait = server.URL(), 2, 200*time.Millisecond
	b := open(t, cfg)
	job := natsrig.Job("run", "alice", 1)
	publishJobs(t, b, job)
	cfg.Grace, cfg.HardWait = time.Millisecond, time.Millisecond
	for range cfg.MaxDeliver {
		doomed := open(t, cfg)
		running, release := make(chan struct{}), make(chan struct{})
		c := consumeJobs(t, doomed, "doomed", 1, func(context.Context, *schemas.Job) error {
			close(running)
			<-release
			return errors.New("too late")
		})
		natsrig.Receive(t, running, "the handler")
		doomed.link.NC.Close()
		close(release)
		if err := c.Stop(); err != nil {
			t.Logf("the worker that died: %v", err)
		}
		if err := doomed.link.Close(); err != nil {
			t.Error(err)
		}
	}
	consumeJobs(t, b, "survivor", 1, func(context.Context, *schemas.Job) error {
		t.Error("tried more often than permitted")
		return nil
	})
	l := oneDead(t, b)
	if l.GetReason() != string(schemas.ReasonRetriesExhausted) || l.GetSubject() != schemas.JobSubject(job) || l.GetDeliveries() != 3 {
		t.Errorf("dead letter %v", l)
	}
	waitEmpty(t, b, natsrig.Interactive)
}

func TestCrashedWorkersJobsAreDoneByOthers(t *testing.T) {
	t.Parallel()
	server := natsrig.Server(t, "127.0.0.1:0")
	cfg := quick(nil)
	cfg.Link.URL, cfg.Streams.AckWait = server.URL(), 300*time.Millisecond
	cfg.Grace, cfg.HardWait = time.Millisecond, time.Millisecond
	doomed := open(t, cfg)
	cfg.Grace, cfg.HardWait = natsrig.Patience, natsrig.Patience
	b := open(t, cfg)

	const n = 40
	for i := range n {
		publishJobs(t, b, natsrig.Job("run", fmt.Sprintf("key-%d", i), i))
	}
	holding, release := make(chan string, n), make(chan struct{})
	crashed := consumeJobs(t, doomed, "doomed", 4, func(_ context.Context, j *schemas.Job) error {
		holding <- j.GetId()
		<-release // hung until the connection is gone
		return errors.New("too late")
	})
	held := make(map[string]bool)
	for range 4 {
		held[natsrig.Receive(t, holding, "a job in the doomed worker")] = true
	}
	doomed.link.NC.Close() // nothing is settled, no heartbeat deleted

	done := make(chan string, n)
	begin := time.Now()
	consumeJobs(t, b, "heir", 2, func(_ context.Context, j *schemas.Job) error { done <- j.GetId(); return nil })
	seen := make(map[string]bool)
	for len(seen) < n { // one may come twice, where its acknowledgement takes longer than AckWait
		id := natsrig.Receive(t, done, "the jobs")
		seen[id] = true
		delete(held, id)
	}
	t.Logf("all jobs done %v after the crash, AckWait %v", time.Since(begin), cfg.Streams.AckWait)
	if len(held) > 0 {
		t.Errorf("jobs of the crashed worker were not done: %v", held)
	}
	waitEmpty(t, b, natsrig.Interactive)
	close(release)
	if err := crashed.Stop(); err != nil {
		t.Logf("crashed worker: %v", err)
	}
	if err := doomed.link.Close(); err != nil {
		t.Error(err)
	}
}

func TestSoftStopLetsHandlersFinish(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	publishJobs(t, b, natsrig.Job("run", "alice", 1), natsrig.Job("run", "alice", 2))
	running, release := make(chan struct{}, 2), make(chan struct{})
	c := consumeJobs(t, b, "one", 1, func(ctx context.Context, _ *schemas.Job) error {
		running <- struct{}{}
		<-release
		return ctx.Err()
	})
	natsrig.Receive(t, running, "the handler")
	c.Cancel()
	natsrig.Eventually(t, "the heartbeat to end", func() bool { return !answers(t, b) })
	close(release)
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if n := messages(t, b, natsrig.Interactive); n != 1 || len(running) != 0 {
		t.Errorf("%d jobs left and %d more started, want 1 and 0", n, len(running))
	}
}

func TestHardStopHandsJobsBack(t *testing.T) {
	t.Parallel()
	for name, maxDeliver := range map[string]int{"tries left": 5, "on the last try": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := natsrig.Server(t, "")
			cfg := quick(server)
			cfg.Grace, cfg.MaxDeliver, cfg.Streams.AckWait = time.Millisecond, maxDeliver, natsrig.Patience
			b := open(t, cfg)
			job := natsrig.Job("run", "alice", 1)
			publishJobs(t, b, job)
			running := make(chan struct{}, 1)
			c := consumeJobs(t, b, "one", 1, func(ctx context.Context, _ *schemas.Job) error {
				running <- struct{}{}
				<-ctx.Done()
				if !errors.Is(context.Cause(ctx), ErrInterrupted) {
					t.Errorf("cause %v, want ErrInterrupted", context.Cause(ctx))
				}
				// An error that follows from the cancellation must not count as a fault.
				return schemas.Permanent(schemas.ReasonMissingBlob, ctx.Err())
			})
			natsrig.Receive(t, running, "the handler")
			if err := c.Stop(); err != nil {
				t.Error(err)
			}
			again := make(chan string, 1)
			consumeJobs(t, b, "two", 1, func(_ context.Context, j *schemas.Job) error { again <- j.GetId(); return nil })
			if id := natsrig.Receive(t, again, "the job again"); id != job.GetId() {
				t.Errorf("job %s, want %s", id, job.GetId())
			}
			waitEmpty(t, b, natsrig.Interactive)
			if n := messages(t, b, schemas.StreamDead); n != 0 {
				t.Errorf("an interrupted job left %d dead letters", n)
			}
		})
	}
}

// TestStuckHandlerIsGivenUp has a handler that does not stop when told to: its job becomes a dead letter, and the next one is served.
func TestStuckHandlerIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		longest time.Duration
		stop    bool
		says    string
	}{
		"after a hard stop":      {time.Hour, true, ErrInterrupted.Error()},
		"after its longest time": {time.Second, false, ErrHandlerTimeout.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := quick(natsrig.Server(t, ""))
			// They hold for the next job too, which must not take so long on a busy machine.
			cfg.Grace, cfg.HardWait, cfg.MaxHandle = time.Millisecond, time.Second, c.longest
			b := open(t, cfg)
			stuck, next := natsrig.Job("run", "alice", 1), natsrig.Job("run", "alice", 2)
			running, done, release := make(chan struct{}, 4), make(chan string, 4), make(chan struct{})
			t.Cleanup(func() { close(release) })
			h := func(_ context.Context, j *schemas.Job) error {
				if j.GetId() == stuck.GetId() {
					running <- struct{}{}
					<-release
				}
				done <- j.GetId()
				return nil
			}
			publishJobs(t, b, stuck)
			worker := consumeJobs(t, b, "one", 1, h)
			natsrig.Receive(t, running, "the handler")
			if c.stop {
				if err := worker.Stop(); err != nil {
					t.Errorf("Consume: %v", err)
				}
				consumeJobs(t, b, "two", 1, h)
			}
			publishJobs(t, b, next)
			if id := natsrig.Receive(t, done, "the next job"); id != next.GetId() {
				t.Errorf("job %s, want %s", id, next.GetId())
			}
			l := oneDead(t, b)
			if l.GetReason() != string(schemas.ReasonStuck) || l.GetSubject() != schemas.JobSubject(stuck) || !strings.Contains(l.GetDetail(), c.says) {
				t.Errorf("dead letter %v", l)
			}
			waitEmpty(t, b, natsrig.Interactive)
			if len(running) > 0 {
				t.Error("it was tried again")
			}
		})
	}
}

func TestSlowHandlerKeepsItsJob(t *testing.T) {
	t.Parallel()
	cfg := quick(natsrig.Server(t, ""))
	cfg.Streams.AckWait = 5 * time.Second // leaves room for a busy machine: a sign of life every third of it
	b := open(t, cfg)
	publishJobs(t, b, natsrig.Job("run", "alice", 1))
	var runs atomic.Int64
	release := make(chan struct{})
	h := func(context.Context, *schemas.Job) error {
		if runs.Add(1) == 1 {
			time.AfterFunc(5*cfg.Streams.AckWait/4, func() { close(release) })
		}
		<-release
		return nil
	}
	consumeJobs(t, b, "one", 1, h)
	consumeJobs(t, b, "two", 1, h)
	waitEmpty(t, b, natsrig.Interactive)
	if runs.Load() != 1 {
		t.Errorf("the job ran %d times", runs.Load())
	}
}

func TestHandlerTimeoutIsAFailure(t *testing.T) {
	t.Parallel()
	cfg := quick(natsrig.Server(t, ""))
	cfg.MaxHandle, cfg.MaxDeliver = 20*time.Millisecond, 2
	b := open(t, cfg)
	publishJobs(t, b, natsrig.Job("run", "alice", 1))
	var runs atomic.Int64
	consumeJobs(t, b, "one", 1, func(ctx context.Context, _ *schemas.Job) error {
		runs.Add(1)
		<-ctx.Done()
		return ctx.Err()
	})
	if l := oneDead(t, b); l.GetReason() != string(schemas.ReasonRetriesExhausted) {
		t.Errorf("dead letter %v", l)
	}
	if runs.Load() != 2 {
		t.Errorf("ran %d times, want 2", runs.Load())
	}
}

func TestStoredConsumerSettingsAreAdopted(t *testing.T) {
	t.Parallel()
	server := natsrig.Server(t, "")
	cfg := quick(server)
	cfg.Streams.AckWait = 7 * time.Second
	b := open(t, cfg)
	run := func(b *Bus, n int) {
		t.Helper()
		got := make(chan struct{}, 1)
		c := consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error { got <- struct{}{}; return nil })
		publishJobs(t, b, natsrig.Job("run", "alice", n))
		natsrig.Receive(t, got, "the job")
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	stored := func() time.Duration {
		return laneInfo(t, b).Config.AckWait
	}
	run(b, 1)
	cfg.Streams.AckWait = 0
	silent := open(t, cfg)
	run(silent, 2)
	if wait := stored(); wait != 7*time.Second {
		t.Errorf("a worker without settings changed the wait to %v", wait)
	}
	if beat := silent.streams.Beat(); beat != 7*time.Second/3 {
		t.Errorf("a sign of life every %v, want a third of 7 s", beat)
	}
	cfg.Streams.AckWait = 8 * time.Second
	run(open(t, cfg), 3)
	if wait := stored(); wait != 8*time.Second {
		t.Errorf("an explicit setting gave %v", wait)
	}
}

func TestBadWorkerIDs(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	for _, id := range []string{"", "a b", "a.b", "a*", "a>", string(make([]byte, 200))} {
		if _, err := b.JobSource(JobOptions{Worker: id}); !errors.Is(err, ErrBadWorker) {
			t.Errorf("%q: error %v, want ErrBadWorker", id, err)
		}
	}
}

func TestConsumeSurvivesTheServersAbsence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func(listen string) *natsserver.Server {
		return natsrig.Start(t, natsserver.Config{StoreDir: dir, Listen: listen})
	}
	server := start(natsrig.Again)
	url := server.URL()
	cfg := quick(nil)
	cfg.Link.URL = url
	b := open(t, cfg)
	got := make(chan string, 4)
	consumeJobs(t, b, "one", 1, func(_ context.Context, j *schemas.Job) error { got <- j.GetId(); return nil })
	publishJobs(t, b, natsrig.Job("run", "alice", 1))
	natsrig.Receive(t, got, "the first job")
	waitEmpty(t, b, natsrig.Interactive) // what is not acknowledged when the server ends comes again
	results := make(chan string, 4)
	natsrig.Background(t, func(ctx context.Context) error {
		return b.SubscribeResults(ctx, "run", func(r *schemas.Result) error {
			results <- r.GetJob().GetId()
			return nil
		})
	})
	if err := b.PublishResult(natsrig.Context(t), natsrig.Result(natsrig.Job("run", "alice", 1))); err != nil {
		t.Fatal(err)
	}
	natsrig.Receive(t, results, "the first result")

	server.Shutdown()
	published := make(chan error, 1)
	second := natsrig.Job("run", "bob", 2)
	go func() { published <- b.PublishJob(natsrig.Context(t), second) }()
	natsrig.Eventually(t, "the disconnection", func() bool { return !b.link.NC.IsConnected() })
	start(url[len("nats://"):])
	if err := natsrig.Receive(t, published, "the publisher"); err != nil {
		t.Fatal(err)
	}
	if id := natsrig.Receive(t, got, "the second job"); id != second.GetId() {
		t.Errorf("job %s, want %s", id, second.GetId())
	}
	if err := b.PublishResult(natsrig.Context(t), natsrig.Result(second)); err != nil {
		t.Fatal(err)
	}
	for natsrig.Receive(t, results, "the second result") != second.GetId() { // the first may come twice
	}
	// The bus must be closed before its server.
	if err := b.link.Close(); err != nil {
		t.Error(err)
	}
}

func TestDirtyPullerHandsMessagesBack(t *testing.T) {
	t.Parallel()
	cfg := quick(natsrig.Server(t, ""))
	cfg.Streams.AckWait = natsrig.Patience
	b := open(t, cfg)
	probe := natsrig.Job("run", "alice", 1).GetModel()
	if err := b.streams.EnsureLane(natsrig.Context(t), streams.Lane{Class: schemas.Interactive, Model: probe}); err != nil {
		t.Fatal(err)
	}
	pull, err := newPuller(b.link.NC)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	// The pull is at the server when its context ends; the job comes after that.
	if got, err := pull.pull(ctx, natsrig.Interactive, probe, pullRequest{Batch: 1, Expires: time.Minute}); len(got) > 0 || err != nil {
		t.Fatalf("got %v, %v", got, err)
	}
	publishJobs(t, b, natsrig.Job("run", "alice", 1))
	got, err := pull.pull(natsrig.Context(t), natsrig.Interactive, probe, pullRequest{Batch: 1, Expires: natsrig.Patience})
	if err != nil || len(got) != 1 {
		t.Fatalf("got %v, %v: an abandoned pull kept the job", got, err)
	}
	pull.close()
}
