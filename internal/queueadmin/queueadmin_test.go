package queueadmin_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/internal/bus"
	"stegomq/internal/link"
	"stegomq/internal/natsserver"
	"stegomq/internal/queueadmin"
	"stegomq/internal/streams"
	"stegomq/internal/testrig/natsrig"
	"stegomq/schemas"
)

func TestMain(m *testing.M) { natsrig.Main(m) }

// rig is an Admin, with the bus and the link of its queue.
type rig struct {
	*queueadmin.Admin
	bus  *bus.Bus
	link *link.Link
}

func open(t testing.TB, to link.Config) rig {
	t.Helper()
	s := natsrig.Streams(t, to, streams.Config{})
	return rig{queueadmin.New(s), bus.New(s, bus.Config{Grace: natsrig.Patience}), s.Link}
}

func start(t testing.TB) rig {
	t.Helper()
	return open(t, link.Config{Server: natsrig.Server(t, "")})
}

func (r rig) publish(t testing.TB, jobs ...*schemas.Job) {
	t.Helper()
	for _, j := range jobs {
		if err := r.bus.PublishJob(natsrig.Context(t), j); err != nil {
			t.Fatal(err)
		}
	}
}

func (r rig) work(t testing.TB, h func(context.Context, *schemas.Job) error) *natsrig.Task {
	t.Helper()
	s, err := r.bus.JobSource(bus.JobOptions{Worker: "one"})
	if err != nil {
		t.Fatal(err)
	}
	return natsrig.Background(t, func(ctx context.Context) error { return s.Consume(ctx, 1, h) })
}

// die publishes a job that a worker then finds to be impossible.
func (r rig) die(t testing.TB, job *schemas.Job, reason schemas.Reason) {
	t.Helper()
	r.publish(t, job)
	worker := r.work(t, func(context.Context, *schemas.Job) error { return schemas.Permanent(reason, errors.New("no")) })
	natsrig.WaitEmpty(t, r.link, natsrig.Interactive)
	if err := worker.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestOutstandingAndDropRun(t *testing.T) {
	t.Parallel()
	b := start(t)
	outstanding := func(run string, want uint64) {
		t.Helper()
		if n, err := b.Outstanding(natsrig.Context(t), run); err != nil || n != want {
			t.Errorf("%d outstanding of %s (%v), want %d", n, run, err, want)
		}
	}
	outstanding("mine", 0)
	for n, c := range schemas.Classes() {
		b.publish(t, natsrig.OfClass(c, "mine", n), natsrig.OfClass(c, "other", n))
	}
	if err := b.bus.PublishResult(natsrig.Context(t), natsrig.Result(natsrig.OfClass(schemas.Bulk, "mine", 9))); err != nil {
		t.Fatal(err)
	}
	// A tenant may have a run of the same name: it holds up nobody, and is not dropped with the other.
	theirs := natsrig.Job("mine", "alice", 1)
	theirs.Tenant, theirs.Model = "mallory", natsrig.SHA("another model")
	theirs.Id = schemas.JobID(theirs)
	b.publish(t, theirs)
	outstanding("mine", 4)
	// What a worker has in hand counts.
	running, release := make(chan struct{}), make(chan struct{})
	b.work(t, func(context.Context, *schemas.Job) error {
		select {
		case running <- struct{}{}:
		case <-release:
		}
		<-release
		return nil
	})
	natsrig.Receive(t, running, "the first job")
	outstanding("mine", 4)
	if err := b.DropRun(natsrig.Context(t), "mine"); err != nil {
		t.Fatal(err)
	}
	outstanding("mine", 0)
	outstanding("other", 3)
	if _, err := b.link.Get(natsrig.Context(t), natsrig.Interactive, link.Query{LastBySubject: schemas.JobSubject(theirs)}); err != nil {
		t.Errorf("the tenant's job: %v", err)
	}
	if err := b.DropRun(natsrig.Context(t), ">"); !errors.Is(err, bus.ErrBadFilter) {
		t.Errorf("a run that is a wildcard: %v", err)
	}
	close(release)
	natsrig.WaitEmpty(t, b.link, schemas.JobStream(schemas.Bulk))
}

func TestDeadLettersListRetryDrop(t *testing.T) {
	t.Parallel()
	b := start(t)
	fail := func(n int, reason schemas.Reason) { b.die(t, natsrig.Job("run", "alice", n), reason) }
	if list, err := b.ListDead(natsrig.Context(t), "", 0); err != nil || len(list) != 0 {
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
		if list, err := b.ListDead(natsrig.Context(t), c.reason, c.limit); err != nil || len(list) != c.want {
			t.Errorf("list %q up to %d: %d letters, %v, want %d", c.reason, c.limit, len(list), err, c.want)
		}
	}
	if _, err := b.ListDead(natsrig.Context(t), "*", 0); !errors.Is(err, bus.ErrBadFilter) {
		t.Errorf("a wildcard as reason: %v", err)
	}
	list, err := b.ListDead(natsrig.Context(t), schemas.ReasonKeyMismatch, 0)
	if err != nil {
		t.Fatal(err)
	}
	first, second := list[0], list[1]
	if l, err := b.GetDead(natsrig.Context(t), first.Seq); err != nil || !proto.Equal(l, first.Letter) {
		t.Errorf("GetDead: %v, %v", l, err)
	}

	// The server still knows the message id of the job; the retry must be stored nevertheless.
	if err := b.RetryDead(natsrig.Context(t), first.Seq); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	b.work(t, func(_ context.Context, j *schemas.Job) error { got <- j.GetId(); return nil })
	if id, want := natsrig.Receive(t, got, "the retried job"), natsrig.Job("run", "alice", 1).GetId(); id != want {
		t.Errorf("job %s, want %s", id, want)
	}
	if err := b.DropDead(natsrig.Context(t), second.Seq); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{first.Seq, second.Seq, 999} {
		if _, err := b.GetDead(natsrig.Context(t), seq); !errors.Is(err, queueadmin.ErrNoDeadLetter) {
			t.Errorf("GetDead(%d): %v", seq, err)
		}
		if err := b.RetryDead(natsrig.Context(t), seq); !errors.Is(err, queueadmin.ErrNoDeadLetter) {
			t.Errorf("RetryDead(%d): %v", seq, err)
		}
		if err := b.DropDead(natsrig.Context(t), seq); !errors.Is(err, queueadmin.ErrNoDeadLetter) {
			t.Errorf("DropDead(%d): %v", seq, err)
		}
	}
	if n := natsrig.Messages(t, b.link, schemas.StreamDead); n != 1 {
		t.Errorf("%d letters left, want 1", n)
	}
}

// A dead letter holds the message that died, which may hold images: with a user they go, and only theirs.
func TestDropDeadOf(t *testing.T) {
	t.Parallel()
	b := start(t)
	for n, tenant := range []string{"alice", "alice-2", "", "alice"} {
		job := natsrig.Job("run", "alice", n)
		job.Tenant = tenant
		job.Id = schemas.JobID(job)
		b.publish(t, job)
	}
	b.work(t, func(context.Context, *schemas.Job) error {
		return schemas.Permanent(schemas.ReasonBadImage, errors.New("no"))
	})
	natsrig.WaitEmpty(t, b.link, natsrig.Interactive)
	for range 2 { // the second time there is none
		if err := b.DropDeadOf(natsrig.Context(t), "alice"); err != nil {
			t.Fatal(err)
		}
	}
	list, err := b.ListDead(natsrig.Context(t), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, d := range list {
		left = append(left, strings.Split(d.Letter.GetSubject(), ".")[2])
	}
	if slices.Sort(left); !slices.Equal(left, []string{"alice-2", schemas.MainTenant}) {
		t.Errorf("letters of %q are left", left)
	}
}

// A tenant chooses the ids of messages in the queue that all tenants share. None that can be guessed keeps a retried job out of it.
func TestRetryIsNotForestalled(t *testing.T) {
	t.Parallel()
	b := start(t)
	job := natsrig.Job("run", "alice", 1)
	b.die(t, job, schemas.ReasonKeyMismatch)
	list, err := b.ListDead(natsrig.Context(t), "", 0)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d letters, %v", len(list), err)
	}
	for _, id := range []string{"retry-%d", "dead-JOBS_INTERACTIVE-%d", "%d"} {
		subject := schemas.JobSubject(natsrig.Job("other", "mallory", 1))
		if err := b.link.PublishOnce(natsrig.Context(t), subject, fmt.Sprintf(id, list[0].Seq), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.RetryDead(natsrig.Context(t), list[0].Seq); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	b.work(t, func(_ context.Context, j *schemas.Job) error { got <- j.GetId(); return nil })
	if id := natsrig.Receive(t, got, "the retried job"); id != job.GetId() {
		t.Errorf("job %s, want %s", id, job.GetId())
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	b := start(t)
	type seen struct {
		subject string
		message proto.Message
		data    string
	}
	tail := func(filter string) (<-chan seen, *natsrig.Task) {
		ch := make(chan seen, 64)
		c := natsrig.Background(t, func(ctx context.Context) error {
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
	natsrig.Eventually(t, "the subscriptions", func() bool {
		_ = b.link.NC.Publish("job.interactive.main.m.embed.probe.r", []byte("probe"))
		return len(everything) > 0 && len(embeds) > 0
	})
	next := func(ch <-chan seen) seen {
		for {
			if s := natsrig.Receive(t, ch, "a message"); s.data != "probe" {
				return s
			}
		}
	}
	job := natsrig.Job("run", "alice", 1)
	if err := b.bus.PublishResult(natsrig.Context(t), natsrig.Result(job)); err != nil {
		t.Fatal(err)
	}
	b.publish(t, job)
	if s := next(everything); s.subject != "result.main.run" || s.message == nil {
		t.Errorf("first %v", s)
	}
	if s := next(everything); s.subject != schemas.JobSubject(job) || !proto.Equal(s.message, job) {
		t.Errorf("second %v", s)
	}
	if s := next(embeds); !proto.Equal(s.message, job) {
		t.Errorf("filtered %v", s)
	}
	if _, err := b.link.JS.Publish(natsrig.Context(t), "job.interactive.main.m.embed.x.r", []byte("junk")); err != nil {
		t.Fatal(err)
	}
	if s := next(everything); s.message != nil || s.data != "junk" {
		t.Errorf("what does not decode: %v", s)
	}
	if err := all.Stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	for _, filter := range []string{">", "*.embed", "blob.>", "$JS.>", "job", "job. x"} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if err := b.Tail(ctx, filter, nil); !errors.Is(err, bus.ErrBadFilter) {
			t.Errorf("filter %q: %v", filter, err)
		}
		cancel()
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	s := natsrig.Server(t, "127.0.0.1:0")
	to := link.Config{URL: "nats://" + natsserver.User + ":" + natsrig.Secret + "@" + s.URL()[len("nats://"):], Logger: natsrig.Log(t)}
	if _, err := queueadmin.Inspect(natsrig.Context(t), to); !errors.Is(err, queueadmin.ErrNoStreams) {
		t.Errorf("before anybody used the server: %v", err)
	}
	b := open(t, to)
	b.publish(t, natsrig.Job("run", "alice", 1), natsrig.Job("run", "bob", 2))
	if err := b.bus.PublishResult(natsrig.Context(t), natsrig.Result(natsrig.Scored(natsrig.Job("run", "alice", 1)))); err != nil {
		t.Fatal(err)
	}
	st, err := b.Status(natsrig.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	if st.URL != s.URL() || st.Server != "stegomq" || st.Version == "" || st.MaxPayload != natsserver.MaxPayload {
		t.Errorf("server: %+v", st)
	}
	if st.JobsWaiting != 2 || st.JobsInFlight != 0 || st.ResultsWaiting != 1 || st.DeadLetters != 0 || len(st.Streams) != 8 || len(st.Workers) != 0 {
		t.Errorf("queue: %+v", st)
	}
	running, release := make(chan struct{}, 2), make(chan struct{})
	b.work(t, func(context.Context, *schemas.Job) error {
		running <- struct{}{}
		<-release
		return nil
	})
	natsrig.Receive(t, running, "the first job")
	// A worker that is slow to answer is left out.
	natsrig.Eventually(t, "the worker to answer in time", func() bool {
		if st, err = queueadmin.Inspect(natsrig.Context(t), to); err != nil {
			t.Fatal(err)
		}
		return len(st.Workers) > 0
	})
	if st.JobsWaiting != 1 || st.JobsInFlight != 1 || len(st.Workers) != 1 || st.Workers[0].ID != "one" || st.Workers[0].Slots != 1 {
		t.Errorf("queue with a worker: %+v", st)
	}
	close(release)
	natsrig.WaitEmpty(t, b.link, natsrig.Interactive)
}
