package evaluator_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/evaluator"
	"stegomq/internal/bus"
	"stegomq/internal/cache"
	"stegomq/internal/pixel"
	"stegomq/internal/quality"
	"stegomq/internal/source"
	"stegomq/internal/testrig"
	"stegomq/internal/testrig/leaks"
	"stegomq/schemas"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func sha(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// picture is a PNG file of noise around a grey, another one for each seed.
func picture(t testing.TB, seed uint64, w, h int) []byte {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 3))
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range img.Pix {
		img.Pix[i] = byte(60 + seed*7%80 + uint64(rnd.IntN(60)))
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	data, err := pixel.EncodePNG(img)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// watched is the store of scores, the memo and the source of images of an evaluator, counted, and with faults
// where a test wants them.
type watched struct {
	*cache.Cache
	images *source.Source

	specs                        sync.Map // run to its specification; of other runs Redis has it
	reads, measured, found, asks atomic.Int64
	put                          chan int // what PutScores added, and -1 for each PutFailures
	fail                         func(what string) error
}

func (w *watched) check(what string) error {
	if w.fail == nil {
		return nil
	}
	return w.fail(what)
}

func (w *watched) Image(ctx context.Context, ref *schemas.ImageRef, g *schemas.Geometry) (*image.NRGBA, error) {
	w.reads.Add(1)
	if err := w.check("image"); err != nil {
		return nil, err
	}
	return w.images.Image(ctx, ref, g)
}

func (w *watched) Spec(ctx context.Context, run string) (*schemas.RunSpec, error) {
	w.asks.Add(1)
	if err := w.check("run"); err != nil {
		return nil, err
	}
	if spec, ok := w.specs.Load(run); ok {
		return spec.(*schemas.RunSpec), nil
	}
	return w.Cache.Spec(ctx, run)
}

func (w *watched) Metrics(ctx context.Context, ids []string) ([]*schemas.Metrics, error) {
	if err := w.check("metrics"); err != nil {
		return nil, err
	}
	known, err := w.Cache.Metrics(ctx, ids)
	for _, m := range known {
		if m != nil {
			w.found.Add(1)
		}
	}
	return known, err
}

func (w *watched) RememberMetrics(ctx context.Context, metrics map[string]*schemas.Metrics) error {
	if err := w.check("remember"); err != nil {
		return err
	}
	w.measured.Add(int64(len(metrics)))
	return w.Cache.RememberMetrics(ctx, metrics)
}

func (w *watched) PutScores(ctx context.Context, run string, rows []*schemas.Score) (int, error) {
	if err := w.check("scores"); err != nil {
		return 0, err
	}
	n, err := w.Cache.PutScores(ctx, run, rows)
	if err == nil {
		w.put <- n
	}
	return n, err
}

func (w *watched) PutFailures(ctx context.Context, run string, attempt int64, rows []*schemas.Score) (int, error) {
	if err := w.check("failures"); err != nil {
		return 0, err
	}
	n, err := w.Cache.PutFailures(ctx, run, attempt, rows)
	if err == nil {
		w.put <- -1
	}
	return n, err
}

// rig is a pipeline without workers: servers, stores and the parts of an evaluator.
type rig struct {
	t     testing.TB
	bus   *testrig.Queue
	parts *watched
	spec  *schemas.RunSpec
}

func newRig(t testing.TB) *rig {
	t.Helper()
	b, c := testrig.Bus(t, 10), testrig.Cache(t)
	images, err := source.New(b.Blobs, source.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, bus: b, parts: &watched{Cache: c, images: images, put: make(chan int, 100)}}
	r.spec = &schemas.RunSpec{
		Id: "run", Model: sha("model"), ModelName: "tiny", Keys: []*schemas.KeyRef{key("alice"), key("bob")},
		Readers:    []*schemas.Readers{readers(schemas.Reader_READER_MISMATCHED, 1), readers(schemas.Reader_READER_RANDOM, 1, "random-1-0")},
		NoiseSigma: 20, MetricsVersion: quality.Version,
		Geometry: &schemas.Geometry{Width: 32, Height: 24, Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH},
	}
	for i := range uint64(2) {
		r.spec.Pairs = append(r.spec.Pairs, &schemas.Pair{
			Item: fmt.Sprintf("item-%d", i), Cover: r.put(picture(t, 10+i, 40, 40)), Secret: r.put(picture(t, 20+i, 64, 32)),
		})
	}
	return r
}

func key(id string) *schemas.KeyRef { return &schemas.KeyRef{Id: id, Fingerprint: sha(id)[:32]} }

// readers are so many of a kind for each key, with the keys of ids.
func readers(r schemas.Reader, count uint32, ids ...string) *schemas.Readers {
	of := &schemas.Readers{Reader: r, Count: count}
	for _, id := range ids {
		of.Keys = append(of.Keys, key(id))
	}
	return of
}

func (r *rig) put(data []byte) *schemas.ImageRef {
	r.t.Helper()
	digest, err := r.bus.Blobs.Put(testrig.Context(r.t), data)
	if err != nil {
		r.t.Fatal(err)
	}
	return schemas.BlobRef(digest, "")
}

// know makes the specification known as it is now, under its id.
func (r *rig) know() { r.parts.specs.Store(r.spec.GetId(), proto.CloneOf(r.spec)) }

// run starts an evaluator, which stops with the test and knows the run.
func (r *rig) run(cfg evaluator.Config) {
	r.know()
	r.start(cfg)
}

// start starts an evaluator, which stops with the test.
func (r *rig) start(cfg evaluator.Config) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	e := evaluator.New(cfg, evaluator.Parts{
		Results: r.bus.ResultSource(nil), DeadLetters: r.bus.DeadSource(nil), Images: r.parts, Runs: r.parts, Scores: r.parts, Memo: r.parts,
	})
	go func() { done <- e.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("the evaluator ended with %v", err)
		}
	})
}

// wrote waits for the next n writes and gives what each added, -1 for failures.
func (r *rig) wrote(n int) []int {
	r.t.Helper()
	var all []int
	end := time.After(testrig.Patience)
	for range n {
		select {
		case added := <-r.parts.put:
			all = append(all, added)
		case <-end:
			r.t.Fatalf("%d writes, want %d", len(all), n)
		}
	}
	return all
}

func (r *rig) publish(results ...*schemas.Result) {
	r.t.Helper()
	for _, res := range results {
		if err := r.bus.PublishResult(testrig.Context(r.t), res); err != nil {
			r.t.Fatal(err)
		}
	}
}

// answer is a result of a job whose outputs are pictures of the run's size, from a seed on.
func (r *rig) answer(j *schemas.Job, seed uint64) *schemas.Result {
	r.t.Helper()
	res := &schemas.Result{Job: j, Worker: "w"}
	for _, item := range j.GetItems() {
		out := &schemas.Output{Image: r.put(picture(r.t, seed, 32, 24)).GetDigest()}
		if j.GetNoiseSigma() > 0 {
			out.Noisy = r.put(picture(r.t, seed+1000, 32, 24)).GetDigest()
		}
		if j.GetFeatures() && j.GetOperation() == schemas.Operation_OPERATION_RECOVER {
			out.Features = []float32{float32(seed), -0.5}
		}
		seed++
		res.Outcomes = append(res.Outcomes, &schemas.Outcome{Item: item.GetId(), Output: out})
	}
	return res
}

// full asks for all that can follow an embed job.
func (r *rig) full() {
	r.spec.Readers = append(r.spec.Readers,
		readers(schemas.Reader_READER_NEAR, 1, "near-7-alice", "near-7-bob"), readers(schemas.Reader_READER_SWAPPED, 1, "swapped-alice", "swapped-bob"),
		readers(schemas.Reader_READER_PARTIAL, 1, "partial-250-alice", "partial-250-bob"), readers(schemas.Reader_READER_UNKEYED, 1))
	r.spec.Features, r.spec.Attacks = true, []string{"noise-2.5", "jpeg-75"}
	if err := r.spec.Validate(); err != nil {
		r.t.Fatal(err)
	}
}

// results are those of alice's embed job, of the purify job, and of the jobs that follow the first.
func (r *rig) results() []*schemas.Result {
	r.t.Helper()
	embed := r.answer(r.embed(), 100)
	stego := make(map[string]string)
	for _, o := range embed.GetOutcomes() {
		stego[o.GetItem()] = o.GetOutput().GetImage()
	}
	all := []*schemas.Result{embed, r.answer(schemas.PurifyJob(r.spec, 1, r.spec.GetPairs()), 400)}
	for i, next := range schemas.FollowUpJobs(r.embed(), stego) {
		all = append(all, r.answer(next, uint64(200+10*i)))
	}
	return all
}

func (r *rig) embed() *schemas.Job {
	key := r.spec.GetKeys()[0]
	return schemas.EmbedJob(r.spec, 1, key, schemas.FollowUps(r.spec, key), r.spec.GetPairs())
}

// stored gives the scores and failures of the run, by their keys.
func (r *rig) stored() (scores, failures map[string]*schemas.Score) {
	r.t.Helper()
	done, failed, err := r.parts.Scores(testrig.Context(r.t), "run")
	if err != nil {
		r.t.Fatal(err)
	}
	by := func(list []*schemas.Score) map[string]*schemas.Score {
		m := make(map[string]*schemas.Score)
		for _, s := range list {
			m[schemas.ScoreKey(s)] = s
		}
		return m
	}
	return by(done), by(failed)
}

func (r *rig) expectCounts(scores, failures int) {
	r.t.Helper()
	s, f := r.stored()
	if len(s) != scores || len(f) != failures {
		r.t.Errorf("%d scores and %d failures are stored, want %d and %d", len(s), len(f), scores, failures)
	}
}

// directly measures two images of the blob store at the run's geometry.
func (r *rig) directly(reference, test string) *schemas.Metrics {
	r.t.Helper()
	var images []*image.NRGBA
	for _, digest := range []string{reference, test} {
		data, err := r.bus.Blobs.Get(testrig.Context(r.t), digest)
		if err != nil {
			r.t.Fatal(err)
		}
		img, _, err := pixel.Decode(data, pixel.Limits{})
		if err != nil {
			r.t.Fatal(err)
		}
		if img, err = pixel.Fit(img, source.PixelGeometry(r.spec.GetGeometry())); err != nil {
			r.t.Fatal(err)
		}
		images = append(images, img)
	}
	q, err := quality.Compare(images[0], images[1])
	if err != nil {
		r.t.Fatal(err)
	}
	return &schemas.Metrics{Psnr: q.PSNR, Ssim: q.SSIM, Mae: q.MAE, Rmse: q.RMSE}
}

// written counts what an evaluator tells its observer.
type written struct {
	mu         sync.Mutex
	scores     int
	dead       []string
	unexpected atomic.Int64
}

func (w *written) Unexpected() { w.unexpected.Add(1) }

func (w *written) ScoresWritten(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scores += n
}

func (w *written) DeadLetter(reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = append(w.dead, reason)
}

func TestResultsBecomeScores(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.full()
	results := r.results()
	want := make(map[string]*schemas.Score)
	for _, res := range results {
		for i, o := range res.GetOutcomes() {
			for _, s := range schemas.Comparisons(res.GetJob(), res.GetJob().GetItems()[i], o) {
				s.Metrics = r.directly(s.GetReference(), s.GetTest())
				want[schemas.ScoreKey(s)] = s
			}
		}
	}
	r.publish(results...)
	seen := &written{}
	r.run(evaluator.Config{Observer: seen})
	sum := 0
	for _, added := range r.wrote(len(results)) {
		sum += added
	}
	got, failures := r.stored()
	if len(got) != len(want) || len(failures) > 0 || sum != len(want) {
		t.Errorf("%d scores, %d failures, %d written; want %d scores", len(got), len(failures), sum, len(want))
	}
	for k, s := range want {
		if !proto.Equal(got[k], s) {
			t.Errorf("%s:\n got %v\nwant %v", k, got[k], s)
		}
	}
}

func TestResultThatComesTwiceIsScoredOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.answer(r.embed(), 100)
	second := proto.CloneOf(first)
	second.Job.Attempt = 2 // a message of its own
	r.run(evaluator.Config{Slots: 1})
	r.publish(first)
	if got := r.wrote(1); got[0] != 4 {
		t.Errorf("%d scores were added, want 4", got[0])
	}
	before, _ := r.stored()
	reads, measured := r.parts.reads.Load(), r.parts.measured.Load()
	if measured != 4 {
		t.Errorf("%d metrics were remembered, want 4", measured)
	}
	r.publish(second)
	if got := r.wrote(1); got[0] != 0 {
		t.Errorf("%d scores were added the second time", got[0])
	}
	after, _ := r.stored()
	if len(after) != 4 {
		t.Errorf("%d scores, want 4", len(after))
	}
	for k, s := range after {
		if !proto.Equal(before[k], s) {
			t.Errorf("%s changed from %v to %v", k, before[k], s)
		}
	}
	// The second time everything came from the memo.
	if n := r.parts.reads.Load() - reads; n != 0 {
		t.Errorf("%d images were read again", n)
	}
	if r.parts.found.Load() != 4 || r.parts.measured.Load() != measured {
		t.Errorf("%d metrics were found and %d measured again, want 4 found", r.parts.found.Load(), r.parts.measured.Load()-measured)
	}
}

func TestScoresOfAnotherRunComeFromTheMemo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.run(evaluator.Config{Slots: 1})
	r.publish(r.answer(r.embed(), 100))
	r.wrote(1)
	reads := r.parts.reads.Load()
	r.spec.Id = "other"
	r.know()
	// The baselines and one stego image are known, the other stego image is new.
	res := r.answer(r.embed(), 101)
	r.publish(res)
	if got := r.wrote(1); got[0] != 4 {
		t.Errorf("%d scores were added, want 4", got[0])
	}
	// The pairs differ, so that a known stego image against another cover is a new comparison.
	if n := r.parts.reads.Load() - reads; n != 4 {
		t.Errorf("%d images were read, want 4: two new comparisons", n)
	}
	scores, _, err := r.parts.Scores(testrig.Context(t), "other")
	if err != nil || len(scores) != 4 {
		t.Errorf("%d scores (%v), want 4", len(scores), err)
	}
}

func TestFailuresGiveWayToScores(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	good := r.answer(r.embed(), 100)
	bad := proto.CloneOf(good)
	why := &schemas.Failure{Reason: "bad_image", Detail: "truncated image"}
	bad.Outcomes[1] = &schemas.Outcome{Item: "item-1", Failure: why}
	r.run(evaluator.Config{Slots: 1})
	r.publish(bad)
	r.wrote(2)
	scores, failures := r.stored()
	if len(scores) != 2 {
		t.Errorf("scores %v, want those of the good item", scores)
	}
	// What the item loses: its own scores, and those of every recover job that cannot follow.
	var lost []string
	for k, s := range failures {
		lost = append(lost, k)
		if !proto.Equal(s.GetFailure(), why) {
			t.Errorf("%s failed with %v", k, s.GetFailure())
		}
	}
	slices.Sort(lost)
	want := []string{
		"item-1|baseline_cover_secret||", "item-1|imperceptibility|alice|",
		"item-1|leakage_mismatched_cover|alice|bob", "item-1|leakage_mismatched|alice|bob",
		"item-1|leakage_random_cover|alice|random-1-0", "item-1|leakage_random|alice|random-1-0",
		"item-1|recoverability|alice|alice",
	}
	if !slices.Equal(lost, want) {
		t.Errorf("lost %q\nwant %q", lost, want)
	}
	good.Job.Attempt = 2
	r.publish(good)
	r.wrote(1)
	r.expectCounts(4, 5)
	// A failure that comes late changes nothing.
	late := proto.CloneOf(bad)
	late.Job.Attempt = 3
	r.publish(late)
	r.wrote(2)
	r.expectCounts(4, 5)
}

// bury makes a dead letter of a job as a worker does.
func (r *rig) bury(j *schemas.Job, fault error) {
	r.t.Helper()
	if err := r.bus.PublishJob(testrig.Context(r.t), j); err != nil {
		r.t.Fatal(err)
	}
	jobs, err := r.bus.JobSource(bus.JobOptions{Worker: "worker"})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(testrig.Context(r.t))
	if err := jobs.Consume(ctx, 1, func(context.Context, *schemas.Job) error { cancel(); return fault }); err != nil {
		r.t.Fatal(err)
	}
}

func TestDeadJobsLoseTheirScores(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	fault := schemas.Permanent(schemas.ReasonKeyMismatch, errors.New("no keyring has alice"))
	plain := r.embed()
	plain.Score, plain.Run = false, "plain"
	plain.Id = schemas.JobID(plain)
	r.bury(plain, fault)
	r.bury(r.embed(), fault)
	seen := &written{}
	r.run(evaluator.Config{Slots: 1, Observer: seen})
	r.wrote(1)
	scores, failures := r.stored()
	if len(scores) != 0 || len(failures) != 14 {
		t.Errorf("%d scores and %d failures, want 7 failures for each of 2 items", len(scores), len(failures))
	}
	for k, s := range failures {
		if f := s.GetFailure(); f.GetReason() != "key_mismatch" || !strings.Contains(f.GetDetail(), "no keyring has alice") {
			t.Errorf("%s: %v", k, f)
		}
	}
	if s, f, err := r.parts.Progress(testrig.Context(t), "plain"); s+f != 0 || err != nil {
		t.Errorf("a job that is not scored has %d scores and %d failures (%v)", s, f, err)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if want := []string{"key_mismatch", "key_mismatch"}; !slices.Equal(seen.dead, want) {
		t.Errorf("dead letters %v, want %v", seen.dead, want)
	}
}

// TestDeadResultsLoseTheirScores has a store that never takes scores: the results die of it, and the run must
// still come to an end.
func TestDeadResultsLoseTheirScores(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.parts.fail = func(what string) error {
		if what == "scores" {
			return schemas.Permanent(schemas.ReasonBadMessage, errors.New("the store does not take them"))
		}
		return nil
	}
	res := r.answer(r.embed(), 100)
	res.Outcomes[1] = &schemas.Outcome{Item: "item-1", Failure: &schemas.Failure{Reason: "bad_image", Detail: "truncated image"}}
	r.publish(res)
	r.run(evaluator.Config{})
	r.wrote(1)
	_, failures := r.stored()
	// Of the good item its own two: the recover jobs are on their way. Of the bad one all seven.
	if len(failures) != 9 {
		t.Errorf("%d failures, want 9", len(failures))
	}
	for k, want := range map[string]string{
		"item-0|imperceptibility|alice|": "bad_message", "item-0|baseline_cover_secret||": "bad_message",
		"item-1|imperceptibility|alice|": "bad_image", "item-1|recoverability|alice|alice": "bad_image",
	} {
		if got := failures[k].GetFailure().GetReason(); got != want {
			t.Errorf("%s failed with %q, want %q", k, got, want)
		}
	}
}

// letters gives dead letters that no worker could have made.
type letters struct {
	list []*schemas.DeadLetter
	done chan error
}

func (l letters) Consume(ctx context.Context, _ int, handle func(context.Context, *schemas.DeadLetter) error) error {
	for _, d := range l.list {
		l.done <- handle(ctx, d)
	}
	<-ctx.Done()
	return nil
}

func TestDeadLettersThatNobodyCanRead(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	job, err := schemas.Encode(r.embed())
	if err != nil {
		t.Fatal(err)
	}
	l := letters{done: make(chan error, 3), list: []*schemas.DeadLetter{
		{Reason: "bad_message", Stream: schemas.JobStream(schemas.Bulk), Subject: "job.x", Message: []byte("garbage")},
		{Reason: "bad_message", Stream: schemas.StreamScoring, Subject: "result.x", Message: job},
		{Reason: "bad_message", Stream: schemas.JobStream(schemas.Bulk), Subject: "job.x"},
	}}
	e := evaluator.New(evaluator.Config{}, evaluator.Parts{
		Results: r.bus.ResultSource(nil), DeadLetters: l, Images: r.parts, Runs: r.parts, Scores: r.parts, Memo: r.parts,
	})
	ctx, cancel := context.WithCancel(testrig.Context(t))
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	for range l.list {
		if err := <-l.done; err != nil {
			t.Errorf("a dead letter was not taken: %v", err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	r.expectCounts(0, 0)
}

func TestComparisonsThatCannotBeMade(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	res := r.answer(r.embed(), 100)
	res.Outcomes[1].Output.Image = sha("an output that is gone")
	r.publish(res)
	r.run(evaluator.Config{})
	r.wrote(2)
	scores, failures := r.stored()
	if len(scores) != 3 || scores["item-1|baseline_cover_secret||"] == nil {
		t.Errorf("scores %v, want all but the one that needs the lost image", scores)
	}
	f := failures["item-1|imperceptibility|alice|"].GetFailure()
	if len(failures) != 1 || f.GetReason() != string(schemas.ReasonMissingBlob) {
		t.Errorf("failures %v, want one with %s", failures, schemas.ReasonMissingBlob)
	}
}

func TestImagesThatCannotBeCompared(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.spec.Geometry.Width, r.spec.Geometry.Height = 8, 8 // smaller than the window of SSIM
	r.publish(r.answer(r.embed(), 100))
	r.run(evaluator.Config{})
	r.wrote(1)
	_, failures := r.stored()
	if len(failures) != 4 {
		t.Errorf("%d failures, want 4", len(failures))
	}
	for k, s := range failures {
		if s.GetFailure().GetReason() != string(schemas.ReasonBadImage) || !strings.Contains(s.GetFailure().GetDetail(), "cannot be compared") {
			t.Errorf("%s: %v", k, s.GetFailure())
		}
	}
}

func TestEveryPartMayFailForAMoment(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var mu sync.Mutex
	var seen []string
	r.parts.fail = func(what string) error {
		mu.Lock()
		defer mu.Unlock()
		if slices.Contains(seen, what) {
			return nil
		}
		seen = append(seen, what)
		return fmt.Errorf("%s is away for a moment", what)
	}
	res := r.answer(r.embed(), 100)
	res.Outcomes[1] = &schemas.Outcome{Item: "item-1", Failure: &schemas.Failure{Reason: "bad_image"}}
	r.publish(res)
	r.run(evaluator.Config{})
	// The scores are stored a second time when the failures were not stored the first time.
	if got := r.wrote(3); !slices.Equal(got, []int{2, 0, -1}) {
		t.Errorf("wrote %v, want 2 scores, none again, the failures", got)
	}
	r.expectCounts(2, 7)
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(seen)
	if want := []string{"failures", "image", "metrics", "remember", "run", "scores"}; !slices.Equal(seen, want) {
		t.Errorf("%q failed, want %q", seen, want)
	}
}

func TestResultsThatAreNotScored(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	plain := r.embed()
	plain.Score, plain.Run = false, "plain"
	plain.Id = schemas.JobID(plain)
	r.publish(r.answer(plain, 100), r.answer(r.embed(), 100))
	r.run(evaluator.Config{Slots: 1})
	if got := r.wrote(1); got[0] != 4 {
		t.Errorf("%d scores were added, want 4", got[0])
	}
	if s, f, err := r.parts.Progress(testrig.Context(t), "plain"); s+f != 0 || err != nil {
		t.Errorf("%d scores and %d failures (%v), want none", s, f, err)
	}
}
