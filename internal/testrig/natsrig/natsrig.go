// Package natsrig owns the shared parts of the message queue's tests: real servers, jobs, and bounded waits. Only tests import it.
package natsrig

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"stegomq/internal/link"
	"stegomq/internal/natsserver"
	"stegomq/internal/streams"
	"stegomq/internal/testrig/leaks"
	"stegomq/schemas"
)

// Patience bounds every wait of a test.
const Patience = 3 * time.Minute

// Again is where a server listens that is started again at the same address: elsewhere on loopback than all other tests, so that none of them is
// given its port in between.
const Again = "127.0.0.2:0"

// Secret is the secret of every test server that listens.
var Secret = strings.Repeat("5ec", 20)

// Main is the TestMain of a package that checks for leaked goroutines. A server that shuts down while it makes a stream forgets that stream's
// store (nats-server 2.15.2; seen once, under load): goroutines of the store and of the server's clock are ignored.
func Main(m *testing.M) {
	leaks.Main(m,
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

// Log writes to the test's log while the test runs.
func Log(t testing.TB) *slog.Logger {
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

// Context ends with the test, or when its patience does.
func Context(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Server runs an embedded server for the test; listen is "" for in process only.
func Server(t testing.TB, listen string) *natsserver.Server {
	t.Helper()
	return Start(t, natsserver.Config{Listen: listen})
}

// Start runs an embedded server for the test, in a folder of its own where none is given.
func Start(t testing.TB, c natsserver.Config) *natsserver.Server {
	t.Helper()
	if c.StoreDir == "" {
		c.StoreDir = t.TempDir()
	}
	if c.Logger == nil {
		c.Logger = Log(t)
	}
	c.Secret = Secret
	s, err := natsserver.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// Configured runs a nats-server with a configuration and a free address, and returns the address as host:port.
func Configured(t testing.TB, conf string) (address string) {
	t.Helper()
	conf = "listen: \"127.0.0.1:-1\"\n" + conf
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, conf)
	}
	opts.NoSigs, opts.NoLog = true, true
	opts.AuthTimeout, opts.TLSTimeout = Patience.Seconds(), Patience.Seconds()
	ns, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(Patience) {
		t.Fatal("the server is not ready")
	}
	return ns.Addr().String()
}

// Dial connects until the test ends.
func Dial(t testing.TB, cfg link.Config) *link.Link {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = Log(t)
	}
	l, err := link.Dial(Context(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

// Streams connects to a server and makes the streams.
func Streams(t testing.TB, to link.Config, cfg streams.Config) *streams.Streams {
	t.Helper()
	s, err := streams.Open(Context(t), Dial(t, to), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Messages is how many messages a stream has.
func Messages(t testing.TB, l *link.Link, stream string) uint64 {
	t.Helper()
	s, err := l.JS.Stream(Context(t), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

// WaitEmpty waits until a stream has no messages.
func WaitEmpty(t testing.TB, l *link.Link, stream string) {
	t.Helper()
	Eventually(t, stream+" to be empty", func() bool { return Messages(t, l, stream) == 0 })
}

// SHA is the digest of a text.
func SHA(text string) string { return schemas.Digest([]byte(text)) }

// Interactive is the stream in which the jobs of Job wait.
var Interactive = schemas.JobStream(schemas.Interactive)

// Job is the n-th job of a run under a key.
func Job(run, key string, n int) *schemas.Job {
	ref := func(what string) *schemas.ImageRef {
		return schemas.BlobRef(SHA(fmt.Sprintf("%s %d", what, n)), what)
	}
	j := &schemas.Job{
		Run: run, Operation: schemas.Operation_OPERATION_EMBED, Model: SHA("model"),
		Key:      &schemas.KeyRef{Id: key, Fingerprint: SHA(key)[:32]},
		Geometry: &schemas.Geometry{Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH},
		Items:    []*schemas.Item{{Id: fmt.Sprintf("item-%d", n), Cover: ref("cover"), Secret: ref("secret")}},
	}
	j.Id = schemas.JobID(j)
	return j
}

// Scored makes a job whose result is to be scored.
func Scored(j *schemas.Job) *schemas.Job {
	j.Score = true
	j.Id = schemas.JobID(j)
	return j
}

// OfClass makes the n-th job of a run a job of a class.
func OfClass(c schemas.Class, run string, n int) *schemas.Job {
	j := Job(run, "alice", n)
	switch c {
	case schemas.Bulk:
		return Scored(j)
	case schemas.FollowUpClass:
		j.DecodeKeys = []*schemas.KeyRef{{Id: "bob", Fingerprint: SHA("bob")[:32]}}
		next := schemas.FollowUpJobs(Scored(j), map[string]string{fmt.Sprintf("item-%d", n): SHA("stego")})[0]
		next.Attempt = int64(n)
		return next
	}
	return j
}

// Result is a result of a job in which every item succeeded.
func Result(j *schemas.Job) *schemas.Result {
	r := &schemas.Result{Job: j, Worker: "w"}
	for _, item := range j.GetItems() {
		r.Outcomes = append(r.Outcomes, &schemas.Outcome{Item: item.GetId(), Output: &schemas.Output{Image: SHA(item.GetId())}})
	}
	return r
}

// Task is a function that runs in the background of a test.
type Task struct {
	t      testing.TB
	Cancel context.CancelFunc
	done   chan error
}

// Background runs a function until the test ends.
func Background(t testing.TB, run func(context.Context) error) *Task {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Task{t: t, Cancel: cancel, done: make(chan error, 1)}
	go func() { c.done <- run(ctx) }()
	t.Cleanup(func() { cancel(); _ = c.Wait() })
	return c
}

// Stop cancels and waits for the end.
func (c *Task) Stop() error {
	c.Cancel()
	return c.Wait()
}

// Wait returns the error of run.
func (c *Task) Wait() error {
	select {
	case err := <-c.done:
		c.done <- err
		return err
	case <-time.After(2 * Patience):
		c.t.Error("what runs in the background does not return")
		return nil
	}
}

// Receive waits for a value.
func Receive[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(Patience):
		t.Fatalf("timed out waiting for %s", what)
		panic("unreachable")
	}
}

// Eventually polls for a condition that has no signal.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(Patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}
