package bus

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

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
	waitEmpty(t, b, schemas.StreamJobs)
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
	waitEmpty(t, b, schemas.StreamJobs)
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

func TestIdleWorkerCreatesNoConsumers(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	got := make(chan struct{})
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error { close(got); return nil })
	eventually(t, "heartbeat", func() bool { w, err := b.liveWorkers(testContext(t)); return err == nil && len(w) == 1 })
	if n := b.Stats().Pulls; n != 0 {
		t.Errorf("an idle worker on an empty queue pulled %d times", n)
	}
	publishJobs(t, b, testJob("run", "alice", 1))
	receive(t, got, "the job")
	var names []string
	list := b.jobs.ConsumerNames(testContext(t))
	for name := range list.Name() {
		names = append(names, name)
	}
	if err := list.Err(); err != nil || len(names) != 1 {
		t.Errorf("one job made the consumers %v, %v", names, err)
	}
}

func TestSweepMarksWhatHoldsJobs(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	d := &dispatcher{bus: b}
	if d.sweep(testContext(t)); d.late != 0 {
		t.Errorf("an empty queue marks %064b", d.late)
	}
	alice, bob := testJob("run", "alice", 1), testJob("run", "bob", 2)
	publishJobs(t, b, alice, bob)
	want := partitionSet(1<<schemas.JobPartition(alice) | 1<<schemas.JobPartition(bob))
	if d.sweep(testContext(t)); d.late != want {
		t.Errorf("two jobs mark %064b, want %064b", d.late, want)
	}
	for i := range fewSubjects {
		publishJobs(t, b, testJob("run", fmt.Sprintf("key-%d", i), i))
	}
	if d.sweep(testContext(t)); d.late != allPartitions {
		t.Errorf("very many keys mark %064b", d.late)
	}
	for subject, want := range map[string]partitionSet{
		"job.embed.07.alice": 1 << 7, "job.purify.63.none": 1 << 63,
		"job.embed.64.alice": 0, "job.embed.x.alice": 0, "job.embed": 0, "job.embed.-1.a": 0,
	} {
		if got := partitionOf(subject); got != want {
			t.Errorf("partitionOf(%q) = %b", subject, got)
		}
	}
}

func TestFaultBecomesDeadLetter(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	job := testJob("run", "alice", 1)
	publishJobs(t, b, job)
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		return fmt.Errorf("embed: %w", schemas.Permanent(schemas.ReasonUnknownKey, errors.New("no key alice")))
	})
	dead := oneDead(t, b)
	waitEmpty(t, b, schemas.StreamJobs)
	l := dead.Letter
	if l.GetReason() != string(schemas.ReasonUnknownKey) || l.GetDetail() != "no key alice" ||
		l.GetStream() != schemas.StreamJobs || l.GetSubject() != schemas.JobSubject(job) || l.GetDeliveries() != 1 {
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
	if _, err := b.js.Publish(testContext(t), "job.embed.07.alice", []byte("not a job")); err != nil {
		t.Fatal(err)
	}
	if l := oneDead(t, b).Letter; l.GetReason() != string(schemas.ReasonBadMessage) || string(l.GetMessage()) != "not a job" {
		t.Errorf("dead letter %v", l)
	}
	waitEmpty(t, b, schemas.StreamJobs)
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
	waitEmpty(t, b, schemas.StreamJobs)
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

// A worker that dies with each delivery is played by a connection that takes the message and says nothing.
func TestMessageThatKillsWorkersBecomesDeadLetter(t *testing.T) {
	t.Parallel()
	server := startServer(t, "")
	cfg := quick(server)
	cfg.AckWait, cfg.MaxDeliver = 50*time.Millisecond, 2
	b := open(t, cfg)
	job := testJob("run", "alice", 1)
	publishJobs(t, b, job)
	settler := b.newSettler(nil)
	settler.maxDeliver = uint64(cfg.MaxDeliver)
	partition := schemas.JobPartition(job)
	if _, err := b.js.CreateConsumer(testContext(t), schemas.StreamJobs, settler.workerConfig(partition)); err != nil {
		t.Fatal(err)
	}
	pull, err := newPuller(b.nc)
	if err != nil {
		t.Fatal(err)
	}
	defer pull.close()
	for taken := 0; taken < cfg.MaxDeliver; {
		got, err := pull.pull(testContext(t), schemas.StreamJobs, schemas.WorkerConsumer(partition),
			pullRequest{Batch: 1, Expires: time.Second, Group: priorityGroup})
		if err != nil {
			t.Fatal(err)
		}
		taken += len(got)
	}
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		t.Error("delivered more often than permitted")
		return nil
	})
	consumeJobs(t, b, "two", 1, func(context.Context, *schemas.Job) error { return nil })
	l := oneDead(t, b).Letter
	if l.GetReason() != string(schemas.ReasonRetriesExhausted) || l.GetSubject() != schemas.JobSubject(job) || l.GetDeliveries() != 2 {
		t.Errorf("dead letter %v", l)
	}
	waitEmpty(t, b, schemas.StreamJobs)
	waitEmpty(t, b, schemas.StreamAdvisories)
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
	waitEmpty(t, b, schemas.StreamJobs)
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
	if n := messages(t, b, schemas.StreamJobs); n != 1 || len(running) != 0 {
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
			waitEmpty(t, b, schemas.StreamJobs)
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
	waitEmpty(t, b, schemas.StreamJobs) // it was settled after all
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
	waitEmpty(t, b, schemas.StreamJobs)
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

// One worker owns the busy partition and is stuck: an idle one helps with its backlog, and takes even a
// single job that waits.
func TestIdleWorkersHelp(t *testing.T) {
	t.Parallel()
	server := startServer(t, "")
	b := open(t, quick(server))
	release := make(chan struct{})
	stuck := make(chan string, 16)
	consumeJobs(t, b, "stuck", 1, func(_ context.Context, j *schemas.Job) error {
		stuck <- j.GetId()
		<-release
		return nil
	})
	publishJobs(t, b, testJob("run", "alice", 0))
	receive(t, stuck, "the first job")
	helped := make(chan string, 16)
	consumeJobs(t, b, "helper", 1, func(_ context.Context, j *schemas.Job) error { helped <- j.GetId(); return nil })
	for i := 1; i < 6; i++ {
		publishJobs(t, b, testJob("run", "alice", i))
		receive(t, helped, "the help")
	}
	close(release)
	waitEmpty(t, b, schemas.StreamJobs)
}

func TestHelpAtOnceWithABacklog(t *testing.T) {
	t.Parallel()
	cfg := quick(startServer(t, ""))
	cfg.SweepEvery = time.Hour // only wakes and the overflow policy are left
	b := open(t, cfg)
	var live atomic.Int64
	release := make(chan struct{})
	both := make(chan string, 64)
	h := func(id string) jobHandler {
		return func(context.Context, *schemas.Job) error {
			live.Add(1)
			both <- id
			<-release
			return nil
		}
	}
	consumeJobs(t, b, "a", 1, h("a"))
	consumeJobs(t, b, "b", 1, h("b"))
	eventually(t, "two workers", func() bool { w, err := b.liveWorkers(testContext(t)); return err == nil && len(w) == 2 })
	for i := range 8 {
		publishJobs(t, b, testJob("run", "alice", i))
	}
	first, second := receive(t, both, "the owner"), receive(t, both, "the helper")
	if first == second {
		t.Errorf("worker %s ran two jobs in one slot", first)
	}
	close(release)
	waitEmpty(t, b, schemas.StreamJobs)
}

func TestManyPartitionsAllServed(t *testing.T) {
	t.Parallel()
	cfg := quick(startServer(t, ""))
	b := open(t, cfg)
	for i := range 200 {
		publishJobs(t, b, testJob("run", fmt.Sprintf("key-%d", i), i))
	}
	var partitions atomic.Uint64
	consumeJobs(t, b, "one", 2, func(_ context.Context, j *schemas.Job) error {
		partitions.Or(1 << schemas.JobPartition(j))
		return nil
	})
	waitEmpty(t, b, schemas.StreamJobs)
	if n := bits.OnesCount64(partitions.Load()); n < 50 {
		t.Errorf("jobs of %d partitions, the keys were to spread over more", n)
	}
}

func TestStoredConsumerSettingsAreAdopted(t *testing.T) {
	t.Parallel()
	server := startServer(t, "")
	cfg := quick(server)
	cfg.AckWait, cfg.MaxDeliver = 7*time.Second, 9
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
	settings := func() (time.Duration, int) {
		c, err := b.js.Consumer(testContext(t), schemas.StreamJobs, schemas.WorkerConsumer(schemas.JobPartition(job)))
		if err != nil {
			t.Fatal(err)
		}
		return c.CachedInfo().Config.AckWait, c.CachedInfo().Config.MaxDeliver
	}
	run(b, 1)
	cfg.AckWait, cfg.MaxDeliver = 0, 0
	silent := open(t, cfg)
	run(silent, 2)
	if wait, tries := settings(); wait != 7*time.Second || tries != 9 {
		t.Errorf("a worker without settings changed them to %v and %d", wait, tries)
	}
	s := silent.newSettler(nil)
	if err := silent.adoptWorkers(testContext(t), s); err != nil || s.ackWait != 7*time.Second || s.maxDeliver != 9 {
		t.Errorf("adopted %v and %d (%v)", s.ackWait, s.maxDeliver, err)
	}
	cfg.AckWait, cfg.MaxDeliver = 8*time.Second, 4
	run(open(t, cfg), 3)
	if wait, tries := settings(); wait != 8*time.Second || tries != 4 {
		t.Errorf("explicit settings gave %v and %d", wait, tries)
	}
}

func TestOwnership(t *testing.T) {
	t.Parallel()
	live := []string{"gpu-1", "gpu-2", "gpu-3", "gpu-4"}
	sets := make(map[string]partitionSet)
	var union partitionSet
	for _, w := range live {
		set := owned(w, live)
		if union&set != 0 {
			t.Errorf("worker %s shares partitions", w)
		}
		if n := bits.OnesCount64(set); n < 4 || n > 32 {
			t.Errorf("worker %s owns %d of 64 partitions", w, n)
		}
		union |= set
		sets[w] = set
	}
	if union != allPartitions {
		t.Errorf("partitions without owner: %064b", ^union)
	}
	// Without gpu-4 the others keep what they have.
	for _, w := range live[:3] {
		if kept := owned(w, live[:3]); kept&sets[w] != sets[w] {
			t.Errorf("worker %s lost partitions when another left", w)
		}
	}
	if owned("gpu-1", nil) != allPartitions {
		t.Error("a lone worker does not own everything")
	}
}

func TestTurnIsFair(t *testing.T) {
	t.Parallel()
	var d dispatcher
	set := partitionSet(1<<3 | 1<<17 | 1<<63)
	var order []int
	for range 6 {
		order = append(order, d.turn(set))
	}
	if !slices.Equal(order, []int{3, 17, 63, 3, 17, 63}) {
		t.Errorf("order %v", order)
	}
}

func TestBadWorkerIDs(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	for _, id := range []string{"", "a b", "a.b", "a*", "a>", string(make([]byte, 200))} {
		if _, err := b.JobSource(id); !errors.Is(err, ErrBadWorker) {
			t.Errorf("%q: error %v, want ErrBadWorker", id, err)
		}
	}
}

func TestConsumeSurvivesTheServersAbsence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func(listen string) *Server {
		s, err := StartServer(ServerConfig{StoreDir: dir, Listen: listen, Logger: testLog(t)})
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
		}, nil)
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
	if id := receive(t, results, "the second result"); id != second.GetId() {
		t.Errorf("result of job %s, want %s: streaming did not go on where it was", id, second.GetId())
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
	_, err := b.js.CreateConsumer(testContext(t), schemas.StreamJobs, jetstream.ConsumerConfig{
		Durable: "probe", FilterSubject: schemas.JobsFilter(), AckPolicy: jetstream.AckExplicitPolicy, AckWait: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	pull, err := newPuller(b.nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	// The pull is at the server when its context ends; the job comes after that.
	if got, err := pull.pull(ctx, schemas.StreamJobs, "probe", pullRequest{Batch: 1, Expires: time.Minute}); len(got) > 0 || err != nil {
		t.Fatalf("got %v, %v", got, err)
	}
	publishJobs(t, b, testJob("run", "alice", 1))
	got, err := pull.pull(testContext(t), schemas.StreamJobs, "probe", pullRequest{Batch: 1, Expires: 5 * time.Second})
	if err != nil || len(got) != 1 {
		t.Fatalf("got %v, %v: an abandoned pull kept the job", got, err)
	}
	pull.close()
}

// A worker that crashed leaves its heartbeat, which ends by itself.
func TestPartitionsOfACrashedWorkerChangeHands(t *testing.T) {
	t.Parallel()
	cfg := quick(startServer(t, ""))
	cfg.WorkerLifetime = 300 * time.Millisecond
	b := open(t, cfg)
	if _, err := b.workers.Put(testContext(t), "ghost", []byte(`{"id":"ghost"}`)); err != nil {
		t.Fatal(err)
	}
	m := newMembers(b, Worker{ID: "one"})
	background(t, func(ctx context.Context) error { m.run(ctx); return nil })
	want := owned("one", []string{"one", "ghost"})
	eventually(t, "the ghost to be seen", func() bool { return m.owned.Load() == want })
	eventually(t, "the ghost to be forgotten", func() bool { return m.owned.Load() == allPartitions })
}
