package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"stegomq/schemas"
)

// A server that shuts down while it makes a stream forgets that stream's store (nats-server 2.15.2; seen once, under
// load): what the store and the server's clock run then is not ours.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

// interactiveStream is where the jobs of testJob wait.
var interactiveStream = schemas.JobStream(schemas.Interactive)

// patience bounds every wait of a test.
const patience = 20 * time.Second

// testLog writes to the test's log while the test runs.
func testLog(t testing.TB) *slog.Logger {
	w := &logWriter{t: t}
	t.Cleanup(func() { w.mu.Lock(); w.t = nil; w.mu.Unlock() })
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type logWriter struct {
	mu sync.Mutex
	t  testing.TB
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t != nil {
		w.t.Log(string(p))
	}
	return len(p), nil
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// testSecret is that of every test's server that listens.
var testSecret = strings.Repeat("5ec", 20)

// startServer runs a server for the test; listen is "" for in process only.
func startServer(t testing.TB, listen string) *Server {
	t.Helper()
	s, err := StartServer(ServerConfig{StoreDir: t.TempDir(), Listen: listen, Secret: testSecret, Logger: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// quick is a configuration whose waits are short.
func quick(s *Server) Config {
	return Config{
		Server: s, Secret: testSecret, AckWait: 2 * time.Second, RetryDelays: []time.Duration{10 * time.Millisecond},
		Grace: patience, HardWait: patience,
	}
}

func open(t testing.TB, cfg Config) *Bus {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = testLog(t)
	}
	b, err := Open(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

func sha(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// testJob is the n-th job of a run under a key.
func testJob(run, key string, n int) *schemas.Job {
	ref := func(what string) *schemas.ImageRef {
		return schemas.BlobRef(sha(fmt.Sprintf("%s %d", what, n)), what)
	}
	j := &schemas.Job{
		Run: run, Operation: schemas.Operation_OPERATION_EMBED, Model: sha("model"),
		Key:      &schemas.KeyRef{Id: key, Fingerprint: sha(key)[:32]},
		Geometry: &schemas.Geometry{Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH},
		Items:    []*schemas.Item{{Id: fmt.Sprintf("item-%d", n), Cover: ref("cover"), Secret: ref("secret")}},
	}
	j.Id = schemas.JobID(j)
	return j
}

func testResult(j *schemas.Job) *schemas.Result {
	r := &schemas.Result{Job: j, Worker: "w"}
	for _, item := range j.GetItems() {
		r.Outcomes = append(r.Outcomes, &schemas.Outcome{Item: item.GetId(), Output: &schemas.Output{Image: sha(item.GetId())}})
	}
	return r
}

// scored is a job with a result that is to be scored.
func scored(j *schemas.Job) *schemas.Job {
	j.Score = true
	j.Id = schemas.JobID(j)
	return j
}

func publishJobs(t testing.TB, b *Bus, jobs ...*schemas.Job) {
	t.Helper()
	for _, j := range jobs {
		if err := b.PublishJob(testContext(t), j); err != nil {
			t.Fatal(err)
		}
	}
}

// jobHandler is what JobSource.Consume calls.
type jobHandler = func(context.Context, *schemas.Job) error

// consumer is a Consume that runs in the background of a test.
type consumer struct {
	t      testing.TB
	cancel context.CancelFunc
	done   chan error
}

func background(t testing.TB, run func(context.Context) error) *consumer {
	ctx, cancel := context.WithCancel(context.Background())
	c := &consumer{t: t, cancel: cancel, done: make(chan error, 1)}
	go func() { c.done <- run(ctx) }()
	t.Cleanup(func() { cancel(); _ = c.wait() })
	return c
}

// stop cancels and waits for the end.
func (c *consumer) stop() error {
	c.cancel()
	return c.wait()
}

func (c *consumer) wait() error {
	select {
	case err := <-c.done:
		c.done <- err
		return err
	case <-time.After(2 * patience):
		c.t.Error("Consume does not return")
		return nil
	}
}

func consumeJobs(t testing.TB, b *Bus, worker string, slots int, h jobHandler) *consumer {
	t.Helper()
	s, err := b.JobSource(JobOptions{Worker: worker})
	if err != nil {
		t.Fatal(err)
	}
	return background(t, func(ctx context.Context) error { return s.Consume(ctx, slots, h) })
}

// receive waits for a value.
func receive[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("timed out waiting for %s", what)
		panic("unreachable")
	}
}

// eventually polls for a condition that no signal tells.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func messages(t testing.TB, b *Bus, stream string) uint64 {
	t.Helper()
	s, err := b.js.Stream(testContext(t), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func waitEmpty(t testing.TB, b *Bus, stream string) {
	t.Helper()
	eventually(t, stream+" to be empty", func() bool { return messages(t, b, stream) == 0 })
}

// oneDead waits for the only dead letter.
func oneDead(t testing.TB, b *Bus) DeadEntry {
	t.Helper()
	eventually(t, "a dead letter", func() bool { return messages(t, b, schemas.StreamDead) > 0 })
	list, err := b.ListDead(testContext(t), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 {
		t.Fatalf("%d dead letters, want 1: %v", len(list), list)
	}
	return list[0]
}

func streamConfig(t testing.TB, b *Bus, stream string) jetstream.StreamConfig {
	t.Helper()
	s, err := b.js.Stream(testContext(t), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().Config
}
