package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/internal/blob"
	"stegomq/internal/cache"
	"stegomq/internal/keyring"
	"stegomq/internal/link"
	"stegomq/internal/testrig"
	"stegomq/producer"
	"stegomq/schemas"
)

// noMemo knows nothing.
type noMemo struct{}

func (noMemo) Inspected(_ context.Context, digests []string, _ string) ([]bool, error) {
	return make([]bool, len(digests)), nil
}
func (noMemo) RememberInspected(context.Context, []string, string) error { return nil }

// A run on embedded servers is whole, and the second time it is all found.
func TestEvaluate(t *testing.T) {
	t.Parallel()
	s := open(t, options(Endpoints{State: t.TempDir()}))
	req := request(t, 2)
	var last Progress
	planned := 0
	watch := Watch{Planned: func(*Run) { planned++ }, Progress: func(p Progress) { last = p }}
	run, err := s.Evaluate(testrig.Context(t), req, watch)
	if err != nil {
		t.Fatal(err)
	}
	if len(run.Failures) != 0 || len(run.Scores) != run.Plan.Total || run.Plan.Missing != run.Plan.Total || run.Runtime == nil {
		t.Errorf("%d scores, %d failures of %d", len(run.Scores), len(run.Failures), run.Plan.Total)
	}
	if name := run.Spec.GetRuntime(); name != "onnxruntime "+run.Runtime.Version+" cpu" {
		t.Errorf("the run was made by %q", name)
	}
	if planned != 1 || last.Scores != run.Plan.Total || last.Total != run.Plan.Total || last.Waiting != "" {
		t.Errorf("planned %d times, the last progress was %+v of %d", planned, last, run.Plan.Total)
	}
	again, err := s.Evaluate(testrig.Context(t), req, Watch{})
	if err != nil {
		t.Fatal(err)
	}
	if again.Plan.Missing != 0 || len(again.Scores) != len(run.Scores) {
		t.Errorf("again: %d missing, %d scores", again.Plan.Missing, len(again.Scores))
	}
	if st, err := s.Run(testrig.Context(t), run.Spec.GetId()); err != nil || st.Finished.IsZero() || st.Scores != run.Plan.Total || st.Waiting != 0 {
		t.Errorf("its status is %+v, %v", st, err)
	}
}

// once calls f at the first progress that right accepts.
func once(right func(Progress) bool, f func()) Watch {
	var done sync.Once
	return Watch{Progress: func(p Progress) {
		if right(p) {
			done.Do(f)
		}
	}}
}

// external has the services act as if the message queue were another process's.
func (s *Services) external() *Services {
	other := *s
	other.opts.NATS = s.Server.URL()
	other.closers = nil
	return &other
}

// Who has no worker of his own finds what the workers' runtime made, and what another one made is made again.
func TestRuntimeOfWorkers(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx := testrig.Context(t)
	s.works(ctx, t)
	req := request(t, 1)
	for i, c := range []struct {
		last  string // the runtime of the worker that started last, where it is another one
		found bool
	}{{"", false}, {"", true}, {"onnxruntime 0 cuda", false}} {
		if c.last != "" {
			if err := s.Cache.NoteRuntime(ctx, c.last); err != nil {
				t.Fatal(err)
			}
		}
		run, err := s.external().Evaluate(ctx, req, Watch{})
		if err != nil {
			t.Fatal(err)
		}
		if found := run.Plan.Missing == 0; found != c.found || len(run.Scores) != run.Plan.Total || run.Spec.GetRuntime() != "" {
			t.Errorf("%d: %d of %d missing, %d scores, made by %q", i, run.Plan.Missing, run.Plan.Total, len(run.Scores), run.Spec.GetRuntime())
		}
	}
}

// What is taken out of the queue during a run, or of Redis, is published again, and the cause is said.
func TestLostWorkIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lose  func(*Services, string) error
		cause string
	}{
		"jobs": {func(s *Services, run string) error { return s.Queue.DropRun(context.Background(), run) }, causeQueue},
		"the run": {func(s *Services, run string) error {
			return errors.Join(s.Cache.RemoveRun(context.Background(), run), s.Queue.DropRun(context.Background(), run))
		}, causeSpec},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := shared(t)
			var log bytes.Buffer
			e := s.external()
			e.log = slog.New(slog.NewTextHandler(&log, nil))
			req := request(t, 2)
			req.Run = "lost"
			ctx := testrig.Context(t)
			published := func(Progress) bool {
				n, err := s.Queue.Outstanding(ctx, req.Run)
				return err == nil && n >= 2*2 // jobs of two pairs and two keys
			}
			var roles *Roles
			watch := once(published, func() {
				// Nobody works yet, so that all of it is lost; then somebody does.
				if err := c.lose(s, req.Run); err != nil {
					t.Error(err)
				}
				roles = s.worker(ctx, t)
			})
			run, err := e.Evaluate(ctx, req, watch)
			if roles != nil {
				if err := roles.Stop(); err != nil {
					t.Error(err)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(run.Failures) != 0 || len(run.Scores) != run.Plan.Total {
				t.Errorf("%d scores, %d failures of %d", len(run.Scores), len(run.Failures), run.Plan.Total)
			}
			if !strings.Contains(log.String(), c.cause) {
				t.Errorf("the cause %q is not said:\n%s", c.cause, &log)
			}
		})
	}
}

// slow is a blob store that takes nothing before it is told to.
type slow struct {
	blob.Store
	begin chan struct{}
}

func (s slow) Put(ctx context.Context, data []byte) (string, error) {
	select {
	case <-s.begin:
		return s.Store.Put(ctx, data)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// What takes long to be uploaded is not lost, though nothing of the run is in the queue meanwhile.
func TestSlowUploadIsNotLost(t *testing.T) {
	t.Parallel()
	s := shared(t)
	ctx := testrig.Context(t)
	s.works(ctx, t)
	var log bytes.Buffer
	e, store := s.external(), slow{s.Blobs, make(chan struct{})}
	e.log, e.Blobs = slog.New(slog.NewTextHandler(&log, nil)), store
	told := 0
	watch := once(func(Progress) bool { told++; return told == 20 }, func() { close(store.begin) }) // many looks later
	run, err := e.Evaluate(ctx, request(t, 1), watch)
	if err != nil {
		t.Fatal(err)
	}
	if len(run.Failures) != 0 || len(run.Scores) != run.Plan.Total || strings.Contains(log.String(), "published again") {
		t.Errorf("%d scores, %d failures of %d:\n%s", len(run.Scores), len(run.Failures), run.Plan.Total, &log)
	}
}

// A tenant's dead letters are not a run's: neither a job of the run that the tenant sends on a subject of its own, nor the tenant's own job in a run
// of that name.
func TestTenantsLettersAreNotTheRuns(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func(*schemas.Job) *schemas.Job{
		"the run's jobs": func(j *schemas.Job) *schemas.Job { return j },
		"the tenant's job": func(j *schemas.Job) *schemas.Job {
			j.Tenant, j.Score, j.DecodeKeys = "mallory", false, nil
			j.Key.Fingerprint = strings.Repeat("0", 32)
			for i := range schemas.MaxItems - len(j.GetItems()) {
				item := proto.CloneOf(j.GetItems()[0])
				item.Id = fmt.Sprintf("forged-%d", i)
				j.Items = append(j.Items, item)
			}
			j.Id = schemas.JobID(j)
			return j
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := shared(t)
			ctx := testrig.Context(t)
			if err := s.EnsureUser(ctx, "mallory"); err != nil {
				t.Fatal(err)
			}
			req := request(t, 1)
			req.Run = "lost"
			published := func(Progress) bool {
				n, err := s.Queue.Outstanding(ctx, req.Run)
				return err == nil && n >= 2 // a job for each key
			}
			var roles *Roles
			watch := once(published, func() {
				err := s.Streams.Link.Scan(ctx, schemas.JobStream(schemas.Bulk), schemas.JobsFilter(), func(m *link.Stored) bool {
					j, err := schemas.DecodeJob(m.Data)
					if err != nil {
						t.Error(err)
						return false
					}
					if j.GetKey() == nil {
						return true
					}
					subject := fmt.Sprintf("job.interactive.mallory.%s.embed.%s.%s", j.GetModel(), j.GetKey().GetId(), req.Run)
					data, err := schemas.Encode(forge(j))
					if err == nil {
						err = s.Streams.Link.PublishOnce(ctx, subject, "", data)
					}
					if err != nil {
						t.Error(err)
					}
					return true
				})
				if err != nil {
					t.Error(err)
				}
				// The run's own jobs are lost, so that only the letters are left.
				for _, c := range []schemas.Class{schemas.Bulk, schemas.FollowUpClass} {
					stream, err := s.Streams.Link.JS.Stream(ctx, schemas.JobStream(c))
					if err == nil {
						err = stream.Purge(ctx)
					}
					if err != nil {
						t.Error(err)
					}
				}
				roles = s.worker(ctx, t)
			})
			run, err := s.external().Evaluate(ctx, req, watch)
			if roles != nil {
				if err := roles.Stop(); err != nil {
					t.Error(err)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if letters, err := s.DeadLetters(ctx, DeadFilter{}); err != nil || len(letters) == 0 {
				t.Errorf("%d letters, %v", len(letters), err)
			}
			if len(run.Failures) != 0 || len(run.Scores) != run.Plan.Total {
				t.Errorf("%d scores, %d failures of %d: %v", len(run.Scores), len(run.Failures), run.Plan.Total, run.Failures[:min(1, len(run.Failures))])
			}
		})
	}
}

// What is lost every time ends the run.
func TestLostForEver(t *testing.T) {
	t.Parallel()
	s := shared(t)
	e := s.external()
	req := request(t, 1)
	req.Run = "lost"
	ctx := testrig.Context(t)
	watch := Watch{Progress: func(Progress) { _ = s.Queue.DropRun(ctx, req.Run) }}
	if _, err := e.Evaluate(ctx, req, watch); !errors.Is(err, ErrLost) {
		t.Errorf("the error is %v", err)
	}
}

// A cancelled run is not published again; an interrupted one takes its jobs back, unless it is told not to.
func TestCancelAndInterrupt(t *testing.T) {
	t.Parallel()
	s := shared(t)
	e := s.external()
	ctx := testrig.Context(t)
	for name, detach := range map[string]bool{"taken": false, "left": true} {
		req := request(t, 1)
		req.Run, req.Detach = name, detach
		inner, cancel := context.WithCancel(ctx)
		waiting := func(Progress) bool { n, err := s.Queue.Outstanding(ctx, name); return err == nil && n > 0 }
		if _, err := e.Evaluate(inner, req, once(waiting, cancel)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the error is %v", name, err)
		}
		cancel()
		if n, err := s.Queue.Outstanding(ctx, name); err != nil || n > 0 != detach {
			t.Errorf("%s: %d messages wait, %v", name, n, err)
		}
	}
	req := request(t, 1)
	req.Run = "cancelled"
	waiting := func(Progress) bool { n, err := s.Queue.Outstanding(ctx, req.Run); return err == nil && n > 0 }
	watch := once(waiting, func() {
		if err := e.CancelRun(ctx, req.Run); err != nil {
			t.Error(err)
		}
	})
	if _, err := e.Evaluate(ctx, req, watch); !errors.Is(err, ErrCancelled) {
		t.Errorf("the error is %v", err)
	}
	// It was still publishing when it was cancelled.
	if n, err := s.Queue.Outstanding(ctx, req.Run); err != nil || n > 0 {
		t.Errorf("%d messages of a cancelled run wait, %v", n, err)
	}
	if err := e.RemoveRun(ctx, req.Run); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(ctx, req.Run); !errors.Is(err, cache.ErrUnknownRun) {
		t.Errorf("a removed run: %v", err)
	}
	if runs, err := e.Runs(ctx, true); err != nil || len(runs) != 2 {
		t.Errorf("%d runs, %v", len(runs), err)
	}
}

func TestPatience(t *testing.T) {
	t.Parallel()
	ctx := testrig.Context(t)
	away := errors.Join(schemas.ErrAway, errors.New("connection refused"))
	p := newPatience(time.Hour)
	calls := 0
	err := p.try(ctx, redisServer, func(context.Context) error {
		if calls++; calls < 3 {
			return away
		}
		if !strings.Contains(p.waiting(), "waiting for Redis") {
			t.Errorf("it says %q", p.waiting())
		}
		return nil
	})
	if err != nil || calls != 3 || p.waiting() != "" {
		t.Errorf("%v after %d calls, it says %q", err, calls, p.waiting())
	}
	if err := newPatience(-1).try(ctx, natsServer, func(context.Context) error { return away }); !errors.Is(err, schemas.ErrAway) || !strings.Contains(err.Error(), natsServer) {
		t.Errorf("without patience: %v", err)
	}
	other := errors.New("wrong")
	if err := p.try(ctx, natsServer, func(context.Context) error { return other }); !errors.Is(err, other) || p.waiting() != "" {
		t.Errorf("another error: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	if err := p.try(ended, natsServer, func(context.Context) error { cancel(); return away }); err == nil {
		t.Error("no error after the context")
	}
}

// One request, and a stream of them, on embedded servers.
func TestOneAndStream(t *testing.T) {
	t.Parallel()
	dir, out := photographs(t, 2), t.TempDir()
	keys, err := keyring.Watch(keyring.Protection{}, tiny.Keyring())
	if err != nil {
		t.Fatal(err)
	}
	req := &OperationRequest{
		Operation: schemas.Operation_OPERATION_EMBED, Model: tiny.Model, Keys: keys, Geometry: Square(0, schemas.ResizePolicy_RESIZE_POLICY_SQUASH),
	}
	if err := req.Check(); err != nil {
		t.Fatal(err)
	}
	opts := options(Endpoints{State: t.TempDir()})
	one := producer.Request{ID: "1", Key: tiny.Model.Keys()[0].ID, Cover: filepath.Join(dir, "a.png"), Secret: filepath.Join(dir, "b.png"), Out: filepath.Join(out, "one.png")}
	reply, err := open(t, opts).One(testrig.Context(t), req, one, nil, nil)
	if err != nil || !reply.OK {
		t.Fatalf("%+v, %v", reply, err)
	}
	line, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	var replies bytes.Buffer
	opts.State = t.TempDir()
	failed, err := open(t, opts).Stream(testrig.Context(t), req, strings.NewReader(string(line)+"\nnot a request\n"), &replies)
	if err != nil || failed != 1 || strings.Count(replies.String(), "\n") != 2 {
		t.Errorf("%d failed, %v:\n%s", failed, err, &replies)
	}
	if _, err := os.Stat(one.Out); err != nil {
		t.Error(err)
	}
	req.Operation = schemas.Operation_OPERATION_UNSPECIFIED
	if err := req.Check(); err == nil {
		t.Error("an unknown operation passes")
	}
}

// The examination creates nothing, and finds what is not there.
func TestExamine(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	l := &Library{Folders: []string{filepath.Dir(tiny.Dir)}, Logger: slog.New(slog.DiscardHandler)}
	for _, found := range Examine(testrig.Context(t), options(Endpoints{State: state}), l) {
		if found.Level != Fine {
			t.Errorf("%+v", found)
		}
	}
	if _, err := os.Stat(state); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state folder is there: %v", err)
	}
	problems := 0
	for _, found := range Examine(testrig.Context(t), options(Endpoints{State: state, NATS: "nats://127.0.0.1:1", Redis: "redis://127.0.0.1:1"}), l) {
		if found.Level == Problem {
			problems++
		}
	}
	if problems != 2 {
		t.Errorf("%d problems, want 2", problems)
	}
	if evicts(cache.Status{Policy: "allkeys-lru"}) == nil || evicts(cache.Status{Policy: "volatile-lru"}) != nil || evicts(cache.Status{}) != nil {
		t.Error("eviction is judged wrongly")
	}
}
