package pipeline

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"stegomq/internal/load"
	"stegomq/internal/model"
	"stegomq/internal/testrig"
	"stegomq/producer"
	"stegomq/schemas"
)

func benchRequest(operation string) *BenchRequest {
	return &BenchRequest{
		Operation: operation, Model: tiny.Model, Keys: 2, Size: side, Batch: 1, Seed: 1, Inline: true, Workers: 1,
		Library: &Library{Logger: options(Endpoints{}).Logger},
	}
}

// bench measures some requests on embedded servers of their own.
func bench(t *testing.T, req *BenchRequest, requests, inFlight int) *load.Report {
	t.Helper()
	opts := options(Endpoints{State: t.TempDir()})
	if err := req.Check(true, opts.Limits.MinSide); err != nil {
		t.Fatal(err)
	}
	var report *load.Report
	err := RunBench(testrig.Context(t), opts, req, func(ctx context.Context, b *Bench) (err error) {
		report, err = b.Measure(ctx, "test", load.Offer{InFlight: inFlight, Choice: load.Uniform, Requests: requests}, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(opts.State); err != nil || len(left) > 0 {
		t.Errorf("the state folder still has %v, %v", left, err)
	}
	return report
}

func TestBench(t *testing.T) {
	t.Parallel()
	parts := []load.Part{load.Send, load.Queue, load.Fetch, load.Infer, load.Store}
	for _, c := range []struct {
		name    string
		request func(*BenchRequest)
		parts   []load.Part
	}{
		{BenchEmbed, func(*BenchRequest) {}, append(parts, load.Collect, load.Patch)},
		{BenchRecover, func(r *BenchRequest) { r.Batch = 3 }, append(parts, load.Collect)},
		{BenchEvaluate, func(r *BenchRequest) { r.Batch = 2 }, append(parts, load.Score)},
		{BenchNoOp, func(r *BenchRequest) { r.Model = nil }, append(parts, load.Collect)},
		{"blobs, many keys, two workers", func(r *BenchRequest) {
			r.Operation, r.Inline, r.Keys, r.Workers = BenchEmbed, false, 9, 2
		}, parts},
		{"a data set", func(r *BenchRequest) {
			r.Operation, r.Data = BenchEmbed, producer.DatasetOptions{Data: photographs(t, 4)}
		}, parts},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const requests = 12
			req := benchRequest(c.name)
			c.request(req)
			r := bench(t, req, requests, 3)
			m := r.Measured
			if m.Requests != requests || m.Items != requests*req.Batch || m.Ended != m.Items || m.Hits != 0 || len(m.Failed) != 0 {
				t.Errorf("%d requests, %d items, %d ended, %d hits, failed: %s", m.Requests, m.Items, m.Ended, m.Hits, m.FailedText())
			}
			for _, part := range c.parts {
				if h, ok := m.Parts[part]; !ok || h.Count() != requests {
					t.Errorf("%s has no durations", part)
				}
			}
			// The parts are the whole: none is counted twice, and none is left out.
			sum := time.Duration(0)
			for _, h := range m.Parts {
				sum += h.Mean()
			}
			if mean := m.Latency.Mean(); sum < mean/2 || sum > mean*3/2 {
				t.Errorf("the parts are %v in the mean, the latency %v", sum, mean)
			}
			if r.Measured.Usage.CPU() <= 0 || r.Measured.In == 0 {
				t.Errorf("%v of CPU, %d bytes in", r.Measured.Usage.CPU(), r.Measured.In)
			}
			if want := int64(0); req.Operation != BenchNoOp && int64(m.Usage.WeightHits+m.Usage.WeightMisses) == want {
				t.Error("no run asked for the weights of a key")
			}
		})
	}
}

// TestBenchMemo: what was made before is no work.
func TestBenchMemo(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{BenchEmbed, BenchEvaluate} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			req := benchRequest(operation)
			req.Keys, req.Memo, req.Batch = 1, true, schemas.MaxItems
			// One at a time: what is still being made for another request is not remembered yet.
			m := bench(t, req, 10, 1).Measured
			// 32 pairs, or 256, and one request of 64 before what is measured.
			fresh := map[string]int{BenchEmbed: 0, BenchEvaluate: evaluationItems - schemas.MaxItems}[operation]
			if m.Items > fresh || m.Hits < 10*schemas.MaxItems-fresh || m.Items+m.Hits != 10*schemas.MaxItems {
				t.Errorf("%d items and %d hits, want at most %d items", m.Items, m.Hits, fresh)
			}
			if m.Latency.Count()+m.HitLatency.Count() != 10 || m.HitLatency.Count() == 0 {
				t.Errorf("%d requests were work and %d were not", m.Latency.Count(), m.HitLatency.Count())
			}
		})
	}
}

// TestBenchTwice: a second load finds nothing of the first one.
func TestBenchTwice(t *testing.T) {
	t.Parallel()
	err := RunBench(testrig.Context(t), options(Endpoints{State: t.TempDir()}), benchRequest(BenchEmbed), func(ctx context.Context, b *Bench) error {
		for _, offer := range []load.Offer{{InFlight: 2, Choice: load.One, Requests: 5}, {Rate: 200, Choice: load.One, Requests: 5}} {
			r, err := b.Measure(ctx, "test", offer, nil)
			if err != nil {
				return err
			}
			if r.Measured.Items != 5 || r.Measured.Hits != 0 {
				t.Errorf("%s loop: %d items, %d hits", offer.Loop(), r.Measured.Items, r.Measured.Hits)
			}
		}
		_, err := b.Measure(ctx, "test", load.Offer{}, nil)
		var wrong *FieldError
		if !errors.As(err, &wrong) {
			t.Errorf("a load of nothing: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBenchBaseline(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{BenchEmbed, BenchEvaluate} {
		req := benchRequest(operation)
		req.Batch = 2
		err := RunBench(testrig.Context(t), options(Endpoints{State: t.TempDir()}), req, func(ctx context.Context, b *Bench) error {
			for range 2 {
				found, threads, err := b.Bare(ctx, time.Millisecond, 1)
				if err != nil {
					return err
				}
				if found.ItemsASecond <= 0 || found.CPUAnItem <= 0 || threads != 1 {
					t.Errorf("%+v on %d threads", found, threads)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestBenchOnAService uses the workers that are there.
func TestBenchOnAService(t *testing.T) {
	t.Parallel()
	s := open(t, options(Endpoints{State: t.TempDir(), NATSListen: "127.0.0.1:0", RedisListen: "127.0.0.1:0"}))
	ctx := t.Context() // each benchmark has a test's patience: with the race detector they take minutes on a busy machine
	if err := s.OpenBus(ctx); err != nil {
		t.Fatal(err)
	}
	r := s.worker(ctx, t)
	defer func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	}()
	at := Endpoints{State: s.opts.State, NATS: s.Server.URL(), Redis: s.Cache.URL()}
	told, err := s.opts.Announce(at.NATS, at.Redis)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := told.Withdraw(); err != nil {
			t.Error(err)
		}
	}()
	if err := at.Locate(); err != nil {
		t.Fatal(err)
	}
	for _, operation := range []string{BenchEmbed, BenchRecover, BenchEvaluate} {
		req := benchRequest(operation)
		req.Batch = 8
		if operation == BenchEvaluate {
			req.Batch = 50 // of 256 in a run: six requests are of two
		}
		if err := req.Check(false, 0); err != nil {
			t.Fatal(err)
		}
		part := load.Infer
		if operation == BenchEvaluate {
			part = load.Queue
		}
		before := s.Cache.Stats().Outputs.Hits
		err := RunBench(testrig.Context(t), options(at), req, func(ctx context.Context, b *Bench) error {
			r, err := b.Measure(ctx, "test", load.Offer{InFlight: 2, Choice: load.Uniform, Requests: 6}, nil)
			if err == nil && (r.Measured.Items != 6*req.Batch || r.Subject.Servers != "given" || r.Measured.Parts[part].Count() != 6) {
				t.Errorf("%s: %d items on %s servers", operation, r.Measured.Items, r.Subject.Servers)
			}
			return err
		})
		if err != nil {
			t.Fatalf("%s: %v", operation, err)
		}
		if hits := s.Cache.Stats().Outputs.Hits - before; hits > 0 {
			t.Errorf("%s: the workers had made %d images before", operation, hits)
		}
	}
	if runs, err := s.Runs(ctx, true); err != nil || len(runs) > 0 {
		t.Errorf("%d runs are left, %v", len(runs), err)
	}
	req := benchRequest(BenchEmbed)
	req.Keys = 100
	var wrong *FieldError
	if err := RunBench(ctx, options(at), req, nil); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "keys 100") {
		t.Errorf("more keys than there are: %v", err)
	}
}

// TestNoOpIsOfBenchmarksAlone: no worker of a service does it, and a worker of a benchmark of the queue does nothing else.
func TestNoOpIsOfBenchmarksAlone(t *testing.T) {
	t.Parallel()
	eng, err := NewEngine(Runtime{}, []*model.Model{tiny.Model}, tiny.Keys, options(Endpoints{}).Logger)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := eng.Close(); err != nil {
			t.Error(err)
		}
	}()
	key := keyRef(tiny.Keys.List()[0])
	if eng.Serves(noModel) {
		t.Error("a worker of a service takes its jobs")
	}
	var fault *schemas.Fault
	if err := eng.Check(t.Context(), noModel, schemas.Operation_OPERATION_EMBED, key); !errors.As(err, &fault) || fault.Reason != schemas.ReasonUnknownModel {
		t.Errorf("a worker of a service says %v", err)
	}
	if err := (noOp{}).Check(t.Context(), tiny.Digest, schemas.Operation_OPERATION_EMBED, key); !errors.As(err, &fault) || fault.Reason != schemas.ReasonUnknownModel {
		t.Errorf("a worker of a benchmark says of a model %v", err)
	}
}

func TestBenchRequestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		embedded bool
		spoil    func(*BenchRequest)
		want     string
	}{
		{true, func(r *BenchRequest) { r.Operation = "purify" }, "operation"},
		{false, func(r *BenchRequest) { r.Operation = BenchNoOp }, "workers of a service do not know it"},
		{false, func(r *BenchRequest) { r.Operation, r.Memo = BenchEvaluate, true }, "memo"},
		{true, func(r *BenchRequest) { r.Keys = 0 }, "keys 0"},
		{true, func(r *BenchRequest) { r.Batch = 65 }, "batch 65"},
		{true, func(r *BenchRequest) { r.Size = 1 }, "size 1"},
		{true, func(r *BenchRequest) { r.Size = 10000 }, "size 10000"},
		{true, func(r *BenchRequest) { r.Workers = 0 }, "workers 0"},
		{false, func(r *BenchRequest) { r.Workers = 2 }, "workers 2"},
	} {
		req := benchRequest(BenchEmbed)
		c.spoil(req)
		var wrong *FieldError
		if err := req.Check(c.embedded, 16); !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
	req := benchRequest(BenchNoOp)
	if req.CheckBaseline(true) == nil || benchRequest(BenchEmbed).CheckBaseline(false) == nil || benchRequest(BenchEmbed).CheckBaseline(true) != nil {
		t.Error("a bare loop needs a network in this process")
	}
	req = benchRequest(BenchEmbed)
	req.Data.Data = "nowhere"
	if err := req.Check(true, 16); !errors.Is(err, producer.ErrDataset) {
		t.Errorf("no such folder: %v", err)
	}
}

// TestBenchEvaluateCountsFailures: an item that cannot be embedded has failed, and the others of its request go on.
func TestBenchEvaluateCountsFailures(t *testing.T) {
	t.Parallel()
	e := &evaluations{Bench: &Bench{}, waiting: map[int64]*scoring{7: {done: make(chan struct{})}}}
	w := e.waiting[7]
	result := func(id string, recovered bool, outcomes ...*schemas.Outcome) *schemas.Result {
		job := &schemas.Job{Id: id, Attempt: 7}
		if recovered {
			job.EmbedKey = &schemas.KeyRef{Id: "demo-1"}
		}
		return &schemas.Result{Job: job, Outcomes: outcomes, Durations: &schemas.Durations{Total: 1}}
	}
	done, failed := &schemas.Outcome{Output: &schemas.Output{}}, &schemas.Outcome{Failure: &schemas.Failure{Reason: "bad_image"}}
	embedded := result("embed", false, done, failed)
	// What is recovered may be scored first, and a result may come twice.
	e.scored(result("recover", true, done), time.Second)
	if w.ended() {
		t.Fatal("it ended before what was embedded is scored")
	}
	e.scored(result("recover", true, done), time.Second)
	if w.ended() {
		t.Fatal("one result that came twice ended it")
	}
	e.scored(embedded, time.Second)
	if !w.ended() || w.results[0] != embedded || w.score != 2*time.Second {
		t.Fatalf("ended: %v, scored for %v", w.ended(), w.score)
	}
	var a load.Answer
	w.count(&a, 2)
	if a.Items != 1 || a.Failed["bad_image"] != 1 {
		t.Errorf("%d items, failed %v", a.Items, a.Failed)
	}
	// Where nothing is embedded nothing follows.
	e.waiting[7] = &scoring{done: make(chan struct{})}
	e.scored(result("embed", false, failed), time.Second)
	if !e.waiting[7].ended() {
		t.Error("it waits for what does not follow")
	}
	e.waiting[7] = &scoring{done: make(chan struct{})}
	e.died(&schemas.Job{Attempt: 7}, "stuck")
	if w := e.waiting[7]; !w.ended() || w.dead != "stuck" {
		t.Errorf("it died of %q", w.dead)
	}
}
