package producer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/internal/cache"
	"stegomq/internal/testrig"
	"stegomq/producer"
	"stegomq/schemas"
)

// evaluation is a run over a folder of pictures, with a memo.
type evaluation struct {
	t       *testing.T
	cache   *cache.Cache
	spec    *schemas.RunSpec
	runtime string // what computes; the model has no network without one
	files   map[string]producer.File
	// refuses says which recover jobs remember has refused; nil: none.
	refuses func(*schemas.Job) bool
}

// newEvaluation pairs pictures, for some keys and a random one.
// fakeKey is a key that nobody has.
func fakeKey(id string) *schemas.KeyRef {
	return &schemas.KeyRef{Id: id, Fingerprint: sha([]byte(id))[:32]}
}

// readers are so many of a kind for each key, with the keys of ids.
func readers(r schemas.Reader, count uint32, ids ...string) *schemas.Readers {
	of := &schemas.Readers{Reader: r, Count: count}
	for _, id := range ids {
		of.Keys = append(of.Keys, fakeKey(id))
	}
	return of
}

func newEvaluation(t *testing.T, pairs int, keys ...string) *evaluation {
	t.Helper()
	var files []string
	for i := range pairs {
		files = append(files, fmt.Sprintf("%d-cover.png", i), fmt.Sprintf("%d-secret.png", i))
	}
	c := testrig.Cache(t)
	d, err := producer.ReadDataset(testrig.Context(t), producer.DatasetOptions{Data: pictures(t, files...)}, c)
	if err != nil {
		t.Fatal(err)
	}
	e := &evaluation{t: t, cache: c, files: d.Files, spec: &schemas.RunSpec{
		Id: "run", Model: sha([]byte("model")), NoiseSigma: 20,
		Geometry:       &schemas.Geometry{Width: 16, Height: 16, Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH},
		MetricsVersion: "1", Pairs: d.Pairs, Dataset: "photos",
	}}
	for _, k := range keys {
		e.spec.Keys = append(e.spec.Keys, fakeKey(k))
	}
	e.spec.Readers = append(e.spec.Readers, readers(schemas.Reader_READER_RANDOM, 1, "random-1-0"))
	if others := len(keys) - 1; others > 0 {
		e.spec.Readers = append(e.spec.Readers, readers(schemas.Reader_READER_MISMATCHED, uint32(others)))
	}
	if err := e.spec.Validate(); err != nil {
		t.Fatal(err)
	}
	return e
}

// made is the digest of what a job makes of an item.
func made(what string, j *schemas.Job, item *schemas.Item) string {
	return sha([]byte(strings.Join([]string{what, j.GetOperation().Token(), j.GetEmbedKey().GetId(), j.GetKey().GetId(), j.GetAttack(), item.GetId()}, " ")))
}

// remember fills the memo as if all work had been done, but for outputs and metrics that are forgotten. An
// output is named as "<operation> <embed key> <key><attack> <number of the pair>", metrics by their score.
func (e *evaluation) remember(forgotten ...string) {
	e.t.Helper()
	outcomes, metrics := make(map[string]*schemas.Outcome), make(map[string]*schemas.Metrics)
	note := func(j *schemas.Job) {
		for _, item := range j.GetItems() {
			number := item.GetId()[4:5]
			out := &schemas.Output{Image: made("image", j, item)}
			if j.GetNoiseSigma() > 0 {
				out.Noisy = made("noisy", j, item)
			}
			if j.GetFeatures() && j.GetOperation() == schemas.Operation_OPERATION_RECOVER {
				out.Features = []float32{float32(len(j.GetKey().GetId())), -0.5}
			}
			o := &schemas.Outcome{Output: out}
			if e.refuses != nil && j.GetOperation() == schemas.Operation_OPERATION_RECOVER && e.refuses(j) {
				o = &schemas.Outcome{Refusal: &schemas.Refusal{Detail: "authentication failed"}}
			}
			if name := strings.Join([]string{j.GetOperation().Token(), j.GetEmbedKey().GetId(), j.GetKey().GetId() + j.GetAttack(), number}, " "); !slices.Contains(forgotten, name) {
				outcomes[schemas.MemoID(schemas.ItemWorkID(j, item), e.runtime)] = o
			}
			for _, s := range schemas.Comparisons(j, item, o) {
				s.Item = number
				if o.End() == schemas.EndDone && !slices.Contains(forgotten, schemas.ScoreKey(s)) {
					id := schemas.MetricsID("1", s.GetReference(), s.GetTest(), e.spec.GetGeometry())
					metrics[id] = &schemas.Metrics{Psnr: 20, Ssim: 0.5, Mae: 0.25, Rmse: 0.125}
				}
			}
		}
	}
	for _, k := range e.spec.GetKeys() {
		embed := schemas.EmbedJob(e.spec, 1, k, schemas.FollowUps(e.spec, k), e.spec.GetPairs())
		note(embed)
		stego := make(map[string]string)
		for _, item := range embed.GetItems() {
			stego[item.GetId()] = made("image", embed, item)
		}
		for _, next := range schemas.FollowUpJobs(embed, stego) {
			note(next)
		}
	}
	note(schemas.PurifyJob(e.spec, 1, e.spec.GetPairs()))
	if err := errors.Join(e.cache.RememberOutcomes(testrig.Context(e.t), outcomes), e.cache.RememberMetrics(testrig.Context(e.t), metrics)); err != nil {
		e.t.Fatal(err)
	}
}

func (e *evaluation) plan(stored producer.Stored) *producer.Plan {
	e.t.Helper()
	p, err := producer.MakePlan(testrig.Context(e.t), e.spec, 5, e.runtime, e.cache, stored)
	if err != nil {
		e.t.Fatal(err)
	}
	return p
}

// queue publishes to the real queue and writes down what.
type queue struct {
	*testrig.Queue
	before func(*schemas.Job) error

	mu   sync.Mutex
	jobs []*schemas.Job
}

func (q *queue) PublishJob(ctx context.Context, j *schemas.Job) error {
	if q.before != nil {
		if err := q.before(j); err != nil {
			return err
		}
	}
	if err := q.Bus.PublishJob(ctx, j); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, j)
	return nil
}

// published are the jobs so far as "<operation> <key>: <numbers of the pairs>".
func (q *queue) published() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var all []string
	for _, j := range q.jobs {
		var numbers []string
		for _, item := range j.GetItems() {
			numbers = append(numbers, item.GetId()[4:5])
		}
		all = append(all, strings.TrimSpace(j.GetOperation().Token()+" "+j.GetKey().GetId())+": "+strings.Join(numbers, ","))
	}
	return all
}

// publish runs a producer on a plan and gives the jobs.
func (e *evaluation) publish(p *producer.Plan, batch int) *queue {
	e.t.Helper()
	if _, err := e.cache.PutScores(testrig.Context(e.t), "run", p.Found); err != nil {
		e.t.Fatal(err)
	}
	q := &queue{Queue: testrig.Bus(e.t, 0)}
	prod := producer.New(producer.Config{Batch: batch}, producer.Parts{Publisher: q, Blobs: q.Blobs, Progress: e.cache})
	if err := prod.Run(testrig.Context(e.t), p, e.files); err != nil {
		e.t.Fatal(err)
	}
	for _, j := range q.jobs {
		if err := j.Validate(); err != nil || j.GetAttempt() != 5 || !j.GetScore() {
			e.t.Errorf("%v: %v", j, err)
		}
		for _, item := range j.GetItems() {
			for _, ref := range []*schemas.ImageRef{item.GetCover(), item.GetSecret(), item.GetImage()} {
				if ref == nil {
					continue
				}
				if has, err := q.Blobs.Has(testrig.Context(e.t), ref.GetDigest()); err != nil || !has[0] {
					e.t.Errorf("%s of job %s is not in the blob store (%v)", ref.GetName(), j.GetId(), err)
				}
			}
		}
	}
	return q
}

// Three pairs and two keys: each key has an imperceptibility, a matched, two mismatched and two random
// comparisons of each pair; to that come a baseline and two of purification.
const threeByTwo = 3 * (2*6 + 1 + 2)

func TestPlanOfANewRun(t *testing.T) {
	t.Parallel()
	e := newEvaluation(t, 3, "alice", "bob")
	p := e.plan(nil)
	if p.Total != threeByTwo || p.Missing != threeByTwo || len(p.Found) != 0 || p.Spec != e.spec || p.Attempt != 5 {
		t.Errorf("%d missing of %d, %d found; want %d missing of as many", p.Missing, p.Total, len(p.Found), threeByTwo)
	}
	for batch, want := range map[int][]string{
		2: {"embed alice: 1,2", "embed bob: 1,2", "purify: 1,2", "embed alice: 3", "embed bob: 3", "purify: 3"},
		0: {"embed alice: 1,2,3", "embed bob: 1,2,3", "purify: 1,2,3"}, // the default
	} {
		if got := e.publish(p, batch).published(); !slices.Equal(got, want) {
			t.Errorf("batch %d: jobs %q, want %q", batch, got, want)
		}
	}
}

func TestPlanOfADoneRun(t *testing.T) {
	t.Parallel()
	e := newEvaluation(t, 3, "alice", "bob")
	e.remember()
	p := e.plan(nil)
	if p.Total != threeByTwo || p.Missing != 0 || len(p.Found) != threeByTwo {
		t.Errorf("%d missing of %d, %d found; want all %d found", p.Missing, p.Total, len(p.Found), threeByTwo)
	}
	seen := make(map[string]bool)
	for _, s := range p.Found {
		seen[schemas.ScoreKey(s)] = true
		if err := s.Validate(); err != nil || s.GetMetrics().GetPsnr() != 20 || !schemas.ValidDigest(s.GetReference()) || !schemas.ValidDigest(s.GetTest()) {
			t.Errorf("%v: %v", s, err)
		}
	}
	if len(seen) != threeByTwo {
		t.Errorf("%d different scores, want %d", len(seen), threeByTwo)
	}
	if got := e.publish(p, 2).published(); len(got) > 0 {
		t.Errorf("jobs %q, want none", got)
	}
}

// What was refused before is refused without work, whether the images are needed or not; what is not known is to be done.
func TestPlanOfARunThatWasRefused(t *testing.T) {
	t.Parallel()
	e := newEvaluation(t, 3, "alice", "bob")
	e.refuses = func(j *schemas.Job) bool { return j.GetKey().GetId() != j.GetEmbedKey().GetId() }
	e.remember("recover alice bob 2")
	there := func(_ context.Context, digests ...string) ([]bool, error) {
		return slices.Repeat([]bool{true}, len(digests)), nil
	}
	for _, stored := range []producer.Stored{nil, there} {
		p := e.plan(stored)
		if p.Total != threeByTwo || p.Missing != 2 || len(p.Found) != threeByTwo-2 {
			t.Errorf("%d missing of %d, %d found; want 2 missing", p.Missing, p.Total, len(p.Found))
		}
		refused := 0
		for _, s := range p.Found {
			wrong := s.GetDecodeKey() != "" && s.GetDecodeKey() != s.GetEmbedKey()
			if wrong != (s.End() == schemas.EndRefused) || s.Validate() != nil {
				t.Errorf("%v: %v", s, s.Validate())
			}
			if wrong {
				refused++
			}
		}
		if want := 3*2*4 - 2; refused != want {
			t.Errorf("%d are refused, want %d", refused, want)
		}
	}
	if got, want := e.publish(e.plan(nil), 2).published(), []string{"embed alice: 2"}; !slices.Equal(got, want) {
		t.Errorf("jobs %q, want %q", got, want)
	}
}

func TestPlanOfAnUnfinishedRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		forgotten []string
		missing   int
		want      []string
	}{
		"one comparison":               {[]string{"2|leakage_mismatched_cover|alice|bob"}, 1, []string{"embed alice: 2"}},
		"a stego image":                {[]string{"embed  bob 3"}, 6, []string{"embed bob: 3"}},
		"a recovered image":            {[]string{"recover bob random-1-0 1"}, 2, []string{"embed bob: 1"}},
		"a baseline, of the first key": {[]string{"3|baseline_cover_secret||"}, 1, []string{"embed alice: 3"}},
		"baselines and the rest of another key": {
			[]string{"1|baseline_cover_secret||", "1|recoverability|bob|bob"}, 2,
			[]string{"embed alice: 1", "embed bob: 1"},
		},
		"a purified image":           {[]string{"purify   2"}, 2, []string{"purify: 2"}},
		"the comparison with noise":  {[]string{"1|noise||"}, 1, []string{"purify: 1"}},
		"something of everybody":     {[]string{"embed  alice 1", "1|imperceptibility|bob|", "purify   1", "purify   3"}, 11, []string{"embed alice: 1", "embed bob: 1", "purify: 1,3"}},
		"every stego of one key":     {[]string{"embed  alice 1", "embed  alice 2", "embed  alice 3"}, 18, []string{"embed alice: 1,2", "embed alice: 3"}},
		"an output with its metrics": {[]string{"embed  alice 2", "2|imperceptibility|alice|"}, 6, []string{"embed alice: 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEvaluation(t, 3, "alice", "bob")
			e.remember(c.forgotten...)
			p := e.plan(nil)
			if p.Total != threeByTwo || p.Missing != c.missing || len(p.Found) != threeByTwo-c.missing {
				t.Errorf("%d missing of %d, %d found; want %d missing", p.Missing, p.Total, len(p.Found), c.missing)
			}
			if got := e.publish(p, 2).published(); !slices.Equal(got, c.want) {
				t.Errorf("jobs %q, want %q", got, c.want)
			}
		})
	}
}

// TestPlanThatNeedsTheImages counts an output only when the blob store has it.
func TestPlanThatNeedsTheImages(t *testing.T) {
	t.Parallel()
	e := newEvaluation(t, 3, "alice", "bob")
	e.remember()
	embed := schemas.EmbedJob(e.spec, 1, e.spec.GetKeys()[1], nil, e.spec.GetPairs())
	purify := schemas.PurifyJob(e.spec, 1, e.spec.GetPairs())
	gone := []string{made("image", embed, embed.GetItems()[0]), made("noisy", purify, purify.GetItems()[2])}
	p := e.plan(func(_ context.Context, digests ...string) ([]bool, error) {
		var has []bool
		for _, d := range digests {
			has = append(has, !slices.Contains(gone, d))
		}
		return has, nil
	})
	// All that comes of bob's first stego image, and the purification of the third cover.
	if p.Missing != 6+2 {
		t.Errorf("%d missing, want 8", p.Missing)
	}
	if got, want := e.publish(p, 8).published(), []string{"embed bob: 1", "purify: 3"}; !slices.Equal(got, want) {
		t.Errorf("jobs %q, want %q", got, want)
	}
	// Nothing is in the real blob store: only the baselines, which need no output, are left.
	if p := e.plan(testrig.Bus(t, 0).Blobs.Has); p.Missing != threeByTwo-3 {
		t.Errorf("%d missing, want all but the 3 baselines", p.Missing)
	}
	_, err := producer.MakePlan(testrig.Context(t), e.spec, 1, e.runtime, e.cache, func(context.Context, ...string) ([]bool, error) { return nil, errBroken })
	if !errors.Is(err, errBroken) {
		t.Errorf("%v, want the blob store's error", err)
	}
}

// What another runtime made is not this one's, and what no network made is everybody's.
func TestPlanOfAnotherRuntime(t *testing.T) {
	t.Parallel()
	e := newEvaluation(t, 3, "alice", "bob")
	e.runtime = "onnxruntime 1.24.1 cpu"
	e.remember()
	if p := e.plan(nil); p.Missing != 0 {
		t.Errorf("%d missing of what this runtime made", p.Missing)
	}
	for _, other := range []string{"onnxruntime 1.24.1 cuda", "onnxruntime 1.25.0 cpu", ""} {
		e.runtime = other
		if p := e.plan(nil); p.Missing != threeByTwo-3 { // the baselines compare files
			t.Errorf("%q finds all but %d of what another runtime made", other, p.Missing)
		}
	}
}

// brokenMemo fails at one of its functions.
type brokenMemo struct {
	*cache.Cache
	metrics bool
}

func (b brokenMemo) Outcomes(ctx context.Context, ids []string) ([]*schemas.Outcome, error) {
	if !b.metrics {
		return nil, errBroken
	}
	return b.Cache.Outcomes(ctx, ids)
}

func (b brokenMemo) Metrics(context.Context, []string) ([]*schemas.Metrics, error) {
	return nil, errBroken
}

func TestPlanWithoutAMemo(t *testing.T) {
	t.Parallel()
	e := newEvaluation(t, 1, "alice")
	for _, metrics := range []bool{false, true} {
		if _, err := producer.MakePlan(testrig.Context(t), e.spec, 1, e.runtime, brokenMemo{e.cache, metrics}, nil); !errors.Is(err, errBroken) {
			t.Errorf("%v, want the memo's error", err)
		}
	}
}

// TestWindow has room for one comparison: a job may only go out when all before it are done. Each job is done
// by giving all its comparisons a failure.
func TestWindow(t *testing.T) {
	t.Parallel()
	e := newEvaluation(t, 4, "alice", "bob", "carol")
	e.remember("embed  bob 1", "1|baseline_cover_secret||", "purify   2", "2|recoverability|carol|carol",
		"embed  alice 3", "3|baseline_cover_secret||", "3|imperceptibility|bob|", "4|baseline_cover_secret||")
	p := e.plan(nil)
	ctx := testrig.Context(t)
	if _, err := e.cache.PutScores(ctx, "run", p.Found); err != nil {
		t.Fatal(err)
	}
	q := &queue{Queue: testrig.Bus(t, 0)}
	var busy atomic.Bool // a job is under way
	out := make(chan *schemas.Job, 100)
	q.before = func(j *schemas.Job) error {
		if !busy.CompareAndSwap(false, true) {
			return errors.New("a job went out while another was under way")
		}
		out <- j
		return nil
	}
	ended := make(chan error, 1)
	go func() {
		prod := producer.New(producer.Config{Batch: 1, Window: 1, Poll: time.Millisecond}, producer.Parts{Publisher: q, Blobs: q.Blobs, Progress: e.cache})
		ended <- prod.Run(ctx, p, e.files)
	}()
	for running := true; running; {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		case j := <-out:
			var lost []*schemas.Score
			for _, item := range j.GetItems() {
				lost = append(lost, schemas.Lost(j, item, &schemas.Failure{Reason: "bad_output"})...)
			}
			busy.Store(false)
			if _, err := e.cache.PutFailures(ctx, "run", 0, lost); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := []string{"embed alice: 1", "embed bob: 1", "embed carol: 2", "purify: 2", "embed alice: 3", "embed bob: 3", "embed alice: 4"}
	got := q.published()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("jobs %q, want %q", got, want)
	}
}

// stuck is a run whose progress never moves; told hears of every look at it.
type stuck struct{ told chan struct{} }

func (s stuck) Progress(context.Context, string) (int64, int64, error) {
	select {
	case s.told <- struct{}{}:
	default:
	}
	return 0, 0, nil
}

func TestWaitingForRoomEnds(t *testing.T) {
	t.Parallel()
	e := newEvaluation(t, 3, "alice")
	ctx, cancel := context.WithCancel(testrig.Context(t))
	q := &queue{Queue: testrig.Bus(t, 0)}
	s := stuck{make(chan struct{})}
	ended := make(chan error, 1)
	prod := producer.New(producer.Config{Batch: 1, Window: 1, Poll: time.Millisecond}, producer.Parts{Publisher: q, Blobs: q.Blobs, Progress: s})
	p := e.plan(nil)
	go func() { ended <- prod.Run(ctx, p, e.files) }()
	for range 10 {
		<-s.told
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error", err)
	}
	if got := q.published(); len(got) != 1 {
		t.Errorf("jobs %q, want the first alone", got)
	}
}

func TestRunThatCannotGoOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		harm func(t *testing.T, e *evaluation, q *queue)
		says string
	}{
		"file is gone": {func(t *testing.T, e *evaluation, _ *queue) {
			if err := os.Remove(e.files[e.spec.GetPairs()[0].GetSecret().GetDigest()].Path); err != nil {
				t.Fatal(err)
			}
		}, "read 0-secret.png again"},
		"file has changed": {func(t *testing.T, e *evaluation, _ *queue) {
			testrig.WriteFile(t, []byte("other"), e.files[e.spec.GetPairs()[0].GetCover().GetDigest()].Path)
		}, "0-cover.png has changed"},
		"queue is broken": {func(_ *testing.T, _ *evaluation, q *queue) {
			q.before = func(*schemas.Job) error { return errBroken }
		}, "publish a job: broken on purpose"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEvaluation(t, 1, "alice")
			q := &queue{Queue: testrig.Bus(t, 0)}
			p := e.plan(nil)
			c.harm(t, e, q)
			prod := producer.New(producer.Config{}, producer.Parts{Publisher: q, Blobs: q.Blobs, Progress: e.cache})
			err := prod.Run(testrig.Context(t), p, e.files)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want an error that says %q", err, c.says)
			}
			if got := q.published(); len(got) != 0 {
				t.Errorf("jobs %q, want none", got)
			}
		})
	}
}

// TestRunAgain publishes a plan twice: what was published twice is stored once.
func TestRunAgain(t *testing.T) {
	t.Parallel()
	e := newEvaluation(t, 2, "alice")
	p := e.plan(nil)
	q := &queue{Queue: testrig.Bus(t, 0)}
	prod := producer.New(producer.Config{}, producer.Parts{Publisher: q, Blobs: q.Blobs, Progress: e.cache})
	for range 2 {
		if err := prod.Run(testrig.Context(t), p, e.files); err != nil {
			t.Fatal(err)
		}
	}
	st, err := q.Admin.Status(testrig.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	if st.JobsWaiting != 2 || len(q.jobs) != 4 || !proto.Equal(q.jobs[0], q.jobs[2]) {
		t.Errorf("%d jobs wait of %d that were published, want 2 of 4", st.JobsWaiting, len(q.jobs))
	}
}

// countedBlobs counts what is stored, by digest.
type countedBlobs struct {
	producer.BlobWriter
	mu   sync.Mutex
	puts map[string]int
}

func (b *countedBlobs) Put(ctx context.Context, data []byte) (string, error) {
	digest, err := b.BlobWriter.Put(ctx, data)
	b.mu.Lock()
	b.puts[digest]++
	b.mu.Unlock()
	return digest, err
}

// TestImagesAreStoredOnceForAllKeys: an image is read and stored for the first key, and again when the plan is published again.
func TestImagesAreStoredOnceForAllKeys(t *testing.T) {
	t.Parallel()
	e := newEvaluation(t, 3, "alice", "bob")
	p := e.plan(nil)
	q := &queue{Queue: testrig.Bus(t, 0)}
	blobs := &countedBlobs{BlobWriter: q.Blobs, puts: make(map[string]int)}
	prod := producer.New(producer.Config{Batch: 2}, producer.Parts{Publisher: q, Blobs: blobs, Progress: e.cache})
	for n := 1; n <= 2; n++ {
		if err := prod.Run(testrig.Context(t), p, e.files); err != nil {
			t.Fatal(err)
		}
		if len(blobs.puts) != 6 {
			t.Errorf("%d images are stored, want 6", len(blobs.puts))
		}
		for digest, puts := range blobs.puts {
			if puts != n {
				t.Errorf("%s was stored %d times after %d runs", digest, puts, n)
			}
		}
	}
}

// The keys of a run with more wrong keys than a job takes, and what comes of one pair: for each key 300 random keys and two near
// ones, two comparisons each, beside what there always is.
const (
	manyRandom = 300
	many       = 2*(1+1+2+2*manyRandom+2*2) + 1 + 2
)

// newLargeEvaluation has one pair and the keys alice and bob.
func newLargeEvaluation(t *testing.T) *evaluation {
	t.Helper()
	e := newEvaluation(t, 1, "alice", "bob")
	random := readers(schemas.Reader_READER_RANDOM, manyRandom)
	for n := range manyRandom {
		random.Keys = append(random.Keys, fakeKey(fmt.Sprintf("random-1-%d", n)))
	}
	e.spec.Readers = []*schemas.Readers{
		readers(schemas.Reader_READER_MISMATCHED, 1), random, readers(schemas.Reader_READER_NEAR, 2, "near-0-alice", "near-128-alice", "near-0-bob", "near-128-bob"),
	}
	if err := e.spec.Validate(); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestPlanWithManyDecodeKeys takes several jobs for an image, with every decode key in one of them. Only alice's
// images are decoded with the keys near hers.
func TestPlanWithManyDecodeKeys(t *testing.T) {
	t.Parallel()
	e := newLargeEvaluation(t)
	p := e.plan(nil)
	if p.Total != many || p.Missing != many {
		t.Errorf("%d missing of %d, want all of %d", p.Missing, p.Total, many)
	}
	q := e.publish(p, 8)
	if want := []string{
		"embed alice: 1", "embed alice: 1", "embed alice: 1", "embed bob: 1", "embed bob: 1", "embed bob: 1", "purify: 1",
	}; !slices.Equal(q.published(), want) {
		t.Errorf("jobs %q, want %q", q.published(), want)
	}
	decoded := make(map[string][]string)
	for _, j := range q.jobs {
		for _, k := range j.GetDecodeKeys() {
			decoded[j.GetKey().GetId()] = append(decoded[j.GetKey().GetId()], k.GetId())
		}
	}
	for _, key := range e.spec.GetKeys() {
		var want []string
		for _, k := range schemas.DecodeKeys(e.spec, key) {
			want = append(want, k.GetId())
		}
		if !slices.Equal(decoded[key.GetId()], want) {
			t.Errorf("%s: %d decode keys, want %d, each once", key.GetId(), len(decoded[key.GetId()]), len(want))
		}
	}
	if slices.Contains(decoded["bob"], "near-0-alice") {
		t.Error("bob's images are decoded with a key near alice's")
	}
}

// TestPlanOfAnUnfinishedRunWithManyDecodeKeys asks again for the part of the decode keys in which something lacks.
func TestPlanOfAnUnfinishedRunWithManyDecodeKeys(t *testing.T) {
	t.Parallel()
	e := newLargeEvaluation(t)
	e.remember("recover alice random-1-200 1", "recover alice near-128-alice 1", "1|leakage_random|bob|random-1-0")
	p := e.plan(nil)
	if p.Total != many || p.Missing != 5 || len(p.Found) != many-5 {
		t.Errorf("%d missing of %d, %d found; want 5 missing of %d", p.Missing, p.Total, len(p.Found), many)
	}
	q := e.publish(p, 8)
	if got, want := q.published(), []string{"embed alice: 1", "embed alice: 1", "embed bob: 1"}; !slices.Equal(got, want) {
		t.Fatalf("jobs %q, want %q", got, want)
	}
	for i, want := range []string{"random-1-200", "near-128-alice", "random-1-0"} {
		if !slices.ContainsFunc(q.jobs[i].GetDecodeKeys(), func(k *schemas.KeyRef) bool { return k.GetId() == want }) {
			t.Errorf("job %d does not ask for %s", i, want)
		}
	}
}
