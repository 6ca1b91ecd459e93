package bus

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/schemas"
)

func TestPublishChecksTheMessage(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	j := testJob("run", "alice", 1)
	j.Run = "no run"
	if err := b.PublishJob(testContext(t), j); !errors.Is(err, schemas.ErrInvalid) {
		t.Errorf("error %v, want ErrInvalid", err)
	}
	if err := b.PublishResult(testContext(t), &schemas.Result{Job: j}); !errors.Is(err, schemas.ErrInvalid) {
		t.Errorf("error %v, want ErrInvalid", err)
	}
}

func TestDuplicates(t *testing.T) {
	t.Parallel()
	b := open(t, quick(startServer(t, "")))
	j := testJob("run", "alice", 1)
	publishJobs(t, b, j, j)
	if n := messages(t, b, interactiveStream); n != 1 {
		t.Errorf("%d jobs, want 1", n)
	}
	if n := b.Stats().Duplicates; n != 1 {
		t.Errorf("%d duplicates counted, want 1", n)
	}
	j.Attempt = 2 // a resumed run
	publishJobs(t, b, j)
	if n := messages(t, b, interactiveStream); n != 2 {
		t.Errorf("%d jobs after a new attempt, want 2", n)
	}
	for range 2 {
		if err := b.PublishResult(testContext(t), testResult(j)); err != nil {
			t.Fatal(err)
		}
	}
	if n := messages(t, b, schemas.ResultStream(schemas.MainTenant)); n != 1 {
		t.Errorf("%d results, want 1", n)
	}
}

func TestTooLargeNamesTheLimit(t *testing.T) {
	t.Parallel()
	s, err := StartServer(ServerConfig{StoreDir: t.TempDir(), MaxPayload: 8 << 10, Logger: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	cfg := quick(s)
	cfg.MaxJobBytes = 200
	b := open(t, cfg)
	j := testJob("run", "alice", 1)
	if err := b.PublishJob(testContext(t), j); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "200") {
		t.Errorf("larger than the stream: %v", err)
	}
	cfg.MaxJobBytes = 1 << 20
	b = open(t, cfg)
	j.Items[0].Cover = &schemas.ImageRef{Digest: sha("x"), Inline: make([]byte, 5<<10)}
	j.Id = schemas.JobID(j)
	if err := b.PublishJob(testContext(t), j); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "4096") {
		t.Errorf("larger than a message may be: %v", err)
	}
}

func TestBackPressure(t *testing.T) {
	t.Parallel()
	cfg := quick(startServer(t, ""))
	cfg.MaxJobBytes = 4 << 10
	b := open(t, cfg)
	const n = 40
	published := make(chan error, 1)
	go func() {
		for i := range n {
			if err := b.PublishJob(testContext(t), testJob("run", "alice", i)); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	eventually(t, "the queue to be full", func() bool { return b.Stats().FullWaits > 0 })
	if kept := messages(t, b, interactiveStream); kept == 0 || kept >= n {
		t.Errorf("%d jobs fit", kept)
	}
	select {
	case err := <-published:
		t.Fatalf("the publisher did not wait: %v", err)
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := b.PublishJob(ctx, testJob("run", "bob", n)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait that ran out of time: %v", err)
	}
	done := make(chan string, n)
	consumeJobs(t, b, "one", 2, func(_ context.Context, j *schemas.Job) error { done <- j.GetId(); return nil })
	seen := make(map[string]bool)
	for range n {
		seen[receive(t, done, "the jobs")] = true
	}
	if err := receive(t, published, "the publisher"); err != nil {
		t.Fatal(err)
	}
	if len(seen) != n {
		t.Errorf("%d different jobs, want %d", len(seen), n)
	}
}

func TestIsFull(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&jetstream.APIError{ErrorCode: codeStoreFailed, Description: "maximum bytes exceeded"}, true},
		{&jetstream.APIError{ErrorCode: codeStoreFailed, Description: "maximum messages exceeded"}, true},
		{&jetstream.APIError{ErrorCode: codeStorageExceeded}, true},
		{&jetstream.APIError{ErrorCode: codeStoreFailed, Description: "disk on fire"}, false},
		{jetstream.ErrStreamMessageExceedsMaximum, false},
		{errors.New("maximum bytes exceeded"), false},
	} {
		if got := isFull(c.err); got != c.want {
			t.Errorf("isFull(%v) = %v", c.err, got)
		}
	}
}
