package bus

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"stegomq/schemas"
)

func TestOpenUnreachable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close() // nobody listens there now
	begin := time.Now()
	_, err = Open(testContext(t), Config{URL: "nats://alice:hunter2@" + addr, Logger: testLog(t)})
	if !errors.Is(err, ErrUnreachable) {
		t.Fatalf("error %v, want ErrUnreachable", err)
	}
	if text := err.Error(); !strings.Contains(text, addr) || strings.Contains(text, "hunter2") || strings.Contains(text, "alice") || strings.Contains(text, "\n") {
		t.Errorf("the error must be one line with the address and without credentials: %s", text)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
	if _, err := Open(testContext(t), Config{Logger: testLog(t)}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("without a URL: %v", err)
	}
}

// A server that takes connections and says nothing must not hold up Open.
func TestOpenSilentServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, Config{URL: "nats://" + l.Addr().String(), Logger: testLog(t)}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("error %v, want ErrUnreachable", err)
	}
}

func TestOpenRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options server.Options
		want    error
	}{
		"no JetStream": {server.Options{}, ErrNoJetStream},
		"password":     {server.Options{Username: "u", Password: "p"}, ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.options.Host, c.options.Port, c.options.NoSigs, c.options.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
			ns, err := server.NewServer(&c.options)
			if err != nil {
				t.Fatal(err)
			}
			ns.Start()
			t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
			if !ns.ReadyForConnections(patience) {
				t.Fatal("the server is not ready")
			}
			_, err = Open(testContext(t), Config{URL: ns.ClientURL(), Logger: testLog(t)})
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"nats://host:4222":                    "nats://host:4222",
		"nats://u:p@host:4222":                "nats://host:4222",
		"nats://token@host,tls://u:p@b:1":     "nats://host,tls://b:1",
		`dial "nats://u:p@host:1": no`:        `dial "nats://host:1": no`,
		"nats://u:p%zz@host:4222":             "nats://[redacted]",
		"connection refused by 127.0.0.1:422": "connection refused by 127.0.0.1:422",
	} {
		if got := redact(in); got != want {
			t.Errorf("redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestOpenTogether(t *testing.T) {
	t.Parallel()
	s := startServer(t, "127.0.0.1:0")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			cfg := quick(nil)
			cfg.URL, cfg.Logger = s.URL(), testLog(t)
			b, err := Open(testContext(t), cfg)
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			if err := b.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestStreamSettings(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	cfg := quick(s)
	b := open(t, cfg)
	jobs := streamConfig(t, b, interactiveStream)
	if jobs.Retention != jetstream.WorkQueuePolicy || jobs.Discard != jetstream.DiscardNew || jobs.MaxBytes != defaultMaxJobBytes {
		t.Errorf("JOBS: %+v", jobs)
	}
	if results := streamConfig(t, b, schemas.ResultStream(schemas.MainTenant)); results.Retention != jetstream.LimitsPolicy || results.MaxAge != 24*time.Hour {
		t.Errorf("RESULTS: %+v", results)
	}
	cfg.MaxJobBytes, cfg.ResultLifetime, cfg.BlobLifetime = 1<<20, time.Minute, time.Hour
	changed := open(t, cfg)
	open(t, quick(s)) // says nothing, so keeps what is there
	if got := streamConfig(t, b, interactiveStream).MaxBytes; got != 1<<20 {
		t.Errorf("JOBS holds %d bytes", got)
	}
	if got := streamConfig(t, b, schemas.ResultStream(schemas.MainTenant)).MaxAge; got != time.Minute {
		t.Errorf("RESULTS keeps %v", got)
	}
	if changed.blobs.lifetime != time.Hour {
		t.Errorf("blobs live for %v", changed.blobs.lifetime)
	}
}

func TestStreamConflict(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	b := open(t, quick(s))
	ctx := testContext(t)
	if err := b.js.DeleteStream(ctx, interactiveStream); err != nil {
		t.Fatal(err)
	}
	if _, err := b.js.CreateStream(ctx, jetstream.StreamConfig{Name: interactiveStream, Subjects: []string{"job.interactive.>"}}); err != nil {
		t.Fatal(err)
	}
	cfg := quick(s)
	cfg.Logger = testLog(t)
	_, err := Open(ctx, cfg)
	if !errors.Is(err, ErrStreamConflict) || !strings.Contains(err.Error(), interactiveStream) {
		t.Errorf("error %v, want ErrStreamConflict with the name of the stream", err)
	}
}

// TestStreamsOfTheFirstProtocol are removed from an embedded server, and named on another.
func TestStreamsOfTheFirstProtocol(t *testing.T) {
	t.Parallel()
	s := startServer(t, "127.0.0.1:0")
	b := open(t, quick(s))
	ctx := testContext(t)
	for name := range b.specs() {
		if err := b.js.DeleteStream(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	for name, subject := range map[string]string{"JOBS": "job.>", "RESULTS": "result.>", "BLOBS": "blob.>"} {
		if _, err := b.js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{subject}}); err != nil {
			t.Fatal(err)
		}
	}
	cfg := quick(nil)
	cfg.URL, cfg.Logger = s.URL(), testLog(t)
	if _, err := Open(ctx, cfg); !errors.Is(err, ErrStreamConflict) || !strings.Contains(err.Error(), "JOBS") {
		t.Errorf("on another's server: %v", err)
	}
	again := open(t, quick(s))
	if _, err := again.js.Stream(ctx, "JOBS"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the old stream is still there: %v", err)
	}
	publishJobs(t, again, testJob("run", "alice", 1))
}

func TestOpenWithoutStorage(t *testing.T) {
	t.Parallel()
	s, err := StartServer(ServerConfig{StoreDir: t.TempDir(), MaxStore: 1 << 20, Logger: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	cfg := quick(s)
	cfg.Logger = testLog(t)
	if _, err := Open(testContext(t), cfg); !errors.Is(err, ErrNoStorage) {
		t.Errorf("error %v, want ErrNoStorage", err)
	}
}

func TestCloseEndsWhatRuns(t *testing.T) {
	t.Parallel()
	s := startServer(t, "")
	cfg := quick(s)
	cfg.Logger = testLog(t)
	b, err := Open(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	jobs := consumeJobs(t, b, "one", 2, func(context.Context, *schemas.Job) error { return nil })
	results := background(t, func(ctx context.Context) error {
		return b.ResultSource(nil).Consume(ctx, 2, func(context.Context, *schemas.Result) error { return nil })
	})
	sub := background(t, func(ctx context.Context) error { return b.SubscribeResults(ctx, "run", nil) })
	eventually(t, "the worker", func() bool { w, err := b.liveWorkers(testContext(t)); return err == nil && len(w) == 1 })
	for range 2 { // the second Close finds nothing to do
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := jobs.wait(); err != nil {
		t.Errorf("jobs: %v", err)
	}
	if err := results.wait(); err != nil {
		t.Errorf("results: %v", err)
	}
	if err := sub.wait(); !errors.Is(err, ErrClosed) {
		t.Errorf("subscription: %v", err)
	}
	if err := b.PublishJob(testContext(t), testJob("run", "alice", 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("publish on a closed bus: %v", err)
	}
	src, err := b.JobSource(JobOptions{Worker: "one"})
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Consume(testContext(t), 1, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("consume on a closed bus: %v", err)
	}
}
