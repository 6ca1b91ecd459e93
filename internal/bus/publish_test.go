package bus

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"stegomq/internal/link"
	"stegomq/internal/natsserver"
	"stegomq/internal/testrig/natsrig"
	"stegomq/schemas"
)

func TestPublishChecksTheMessage(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	j := natsrig.Job("run", "alice", 1)
	j.Run = "no run"
	if err := b.PublishJob(natsrig.Context(t), j); !errors.Is(err, schemas.ErrInvalid) {
		t.Errorf("error %v, want ErrInvalid", err)
	}
	if err := b.PublishResult(natsrig.Context(t), &schemas.Result{Job: j}); !errors.Is(err, schemas.ErrInvalid) {
		t.Errorf("error %v, want ErrInvalid", err)
	}
}

func TestDuplicates(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	j := natsrig.Job("run", "alice", 1)
	publishJobs(t, b, j, j)
	if n := messages(t, b, natsrig.Interactive); n != 1 {
		t.Errorf("%d jobs, want 1", n)
	}
	j.Attempt = 2 // a resumed run
	publishJobs(t, b, j)
	if n := messages(t, b, natsrig.Interactive); n != 2 {
		t.Errorf("%d jobs after a new attempt, want 2", n)
	}
	for range 2 {
		if err := b.PublishResult(natsrig.Context(t), natsrig.Result(j)); err != nil {
			t.Fatal(err)
		}
	}
	if n := messages(t, b, schemas.ResultStream(schemas.MainTenant)); n != 1 {
		t.Errorf("%d results, want 1", n)
	}
}

func TestTooLargeNamesTheLimit(t *testing.T) {
	t.Parallel()
	cfg := quick(natsrig.Start(t, natsserver.Config{MaxPayload: 8 << 10}))
	cfg.Streams.MaxJobBytes = 200
	b := open(t, cfg)
	j := natsrig.Job("run", "alice", 1)
	if err := b.PublishJob(natsrig.Context(t), j); !errors.Is(err, link.ErrTooLarge) || !strings.Contains(err.Error(), "200") {
		t.Errorf("larger than the stream: %v", err)
	}
	cfg.Streams.MaxJobBytes = 1 << 20
	b = open(t, cfg)
	j.Items[0].Cover = &schemas.ImageRef{Digest: natsrig.SHA("x"), Inline: make([]byte, 5<<10)}
	j.Id = schemas.JobID(j)
	if err := b.PublishJob(natsrig.Context(t), j); !errors.Is(err, link.ErrTooLarge) || !strings.Contains(err.Error(), "4096") {
		t.Errorf("larger than a message may be: %v", err)
	}
}

// word gets a signal when the log says that a publisher waits for room.
type word chan struct{}

func (w word) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "waiting for room") {
		select {
		case w <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

func TestBackPressure(t *testing.T) {
	t.Parallel()
	cfg := quick(natsrig.Server(t, ""))
	cfg.Streams.MaxJobBytes = 4 << 10
	full := make(word, 1)
	cfg.Link.Logger = slog.New(slog.NewTextHandler(full, nil))
	b := open(t, cfg)
	const n = 40
	published := make(chan error, 1)
	go func() {
		for i := range n {
			if err := b.PublishJob(natsrig.Context(t), natsrig.Job("run", "alice", i)); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	natsrig.Receive(t, full, "the queue to be full")
	if kept := messages(t, b, natsrig.Interactive); kept == 0 || kept >= n {
		t.Errorf("%d jobs fit", kept)
	}
	select {
	case err := <-published:
		t.Fatalf("the publisher did not wait: %v", err)
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := b.PublishJob(ctx, natsrig.Job("run", "bob", n)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait that ran out of time: %v", err)
	}
	done := make(chan string, n)
	consumeJobs(t, b, "one", 2, func(_ context.Context, j *schemas.Job) error { done <- j.GetId(); return nil })
	seen := make(map[string]bool)
	for range n {
		seen[natsrig.Receive(t, done, "the jobs")] = true
	}
	if err := natsrig.Receive(t, published, "the publisher"); err != nil {
		t.Fatal(err)
	}
	if len(seen) != n {
		t.Errorf("%d different jobs, want %d", len(seen), n)
	}
}
