package bus

import (
	"context"
	"errors"
	"testing"

	"stegomq/internal/link"
	"stegomq/internal/natsserver"
	"stegomq/internal/testrig/natsrig"
	"stegomq/schemas"
)

func TestCloseEndsWhatRuns(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	jobs := consumeJobs(t, b, "one", 2, func(context.Context, *schemas.Job) error { return nil })
	results := natsrig.Background(t, func(ctx context.Context) error {
		return b.ResultSource(nil).Consume(ctx, 2, func(context.Context, *schemas.Result) error { return nil })
	})
	sub := natsrig.Background(t, func(ctx context.Context) error { return b.SubscribeResults(ctx, "run", nil) })
	natsrig.Eventually(t, "the worker", func() bool { return answers(t, b) })
	natsrig.Eventually(t, "the evaluator", func() bool {
		_, err := b.link.JS.Consumer(natsrig.Context(t), schemas.StreamScoring, "evaluator")
		return err == nil
	})
	for range 2 { // the second Close finds nothing to do
		if err := b.link.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := jobs.Wait(); err != nil {
		t.Errorf("jobs: %v", err)
	}
	if err := results.Wait(); err != nil {
		t.Errorf("results: %v", err)
	}
	if err := sub.Wait(); !errors.Is(err, link.ErrClosed) {
		t.Errorf("subscription: %v", err)
	}
	if err := b.PublishJob(natsrig.Context(t), natsrig.Job("run", "alice", 1)); !errors.Is(err, link.ErrClosed) {
		t.Errorf("publish on a closed bus: %v", err)
	}
	src, err := b.JobSource(JobOptions{Worker: "one"})
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Consume(natsrig.Context(t), 1, nil); !errors.Is(err, link.ErrClosed) {
		t.Errorf("consume on a closed bus: %v", err)
	}
}

func TestServerKeepsMessages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 2 {
		s := natsrig.Start(t, natsserver.Config{StoreDir: dir})
		b := open(t, quick(s))
		publishJobs(t, b, natsrig.Job("run", "alice", round))
		if n := messages(t, b, natsrig.Interactive); n != uint64(round+1) {
			t.Errorf("round %d: %d jobs", round, n)
		}
		if err := b.link.Close(); err != nil {
			t.Error(err)
		}
		s.Shutdown()
	}
}
