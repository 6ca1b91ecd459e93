package producer_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/evaluator"
	"stegomq/internal/cache"
	"stegomq/internal/quality"
	"stegomq/internal/source"
	"stegomq/internal/testrig"
	"stegomq/producer"
	"stegomq/schemas"
)

// pipeline is every role on one queue and one cache.
type pipeline struct {
	t     *testing.T
	bus   *testrig.Queue
	cache *cache.Cache
	data  *producer.Dataset
	wrote chan struct{} // after each write of scores or failures
}

// noisyScores says when something was written.
type noisyScores struct {
	*cache.Cache
	wrote chan struct{}
}

func (s noisyScores) PutScores(ctx context.Context, run string, rows []*schemas.Score) (int, error) {
	n, err := s.Cache.PutScores(ctx, run, rows)
	s.wrote <- struct{}{}
	return n, err
}

func (s noisyScores) PutFailures(ctx context.Context, run string, attempt int64, rows []*schemas.Score) (int, error) {
	n, err := s.Cache.PutFailures(ctx, run, attempt, rows)
	s.wrote <- struct{}{}
	return n, err
}

// newPipeline starts a worker and an evaluator, for pairs of small pictures.
func newPipeline(t *testing.T, pairs int) *pipeline {
	t.Helper()
	files := make([]string, 2*pairs)
	for i := range files {
		files[i] = string(rune('a'+i)) + ".png"
	}
	p := &pipeline{t: t, bus: testrig.Bus(t, 0), cache: testrig.Cache(t), wrote: make(chan struct{}, 1000)}
	var err error
	if p.data, err = producer.ReadDataset(testrig.Context(t), producer.DatasetOptions{Data: pictures(t, files...)}, p.cache); err != nil {
		t.Fatal(err)
	}
	work(t, p.bus, p.cache)
	images, err := source.New(p.bus.Blobs, source.Config{})
	if err != nil {
		t.Fatal(err)
	}
	scores := noisyScores{p.cache, p.wrote}
	e := evaluator.New(evaluator.Config{}, evaluator.Parts{
		Results: p.bus.ResultSource(nil), DeadLetters: p.bus.DeadSource(nil), Images: images, Runs: p.cache, Scores: scores, Memo: p.cache,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the evaluator ended with %v", err)
		}
	})
	return p
}

// spec is a run with two of the tiny model's keys, and what a test adds.
func (p *pipeline) spec(add func(*schemas.RunSpec)) *schemas.RunSpec {
	p.t.Helper()
	s := &schemas.RunSpec{
		Model: tiny.Digest, ModelName: "tiny", NoiseSigma: 20, MetricsVersion: quality.Version, Pairs: p.data.Pairs, Dataset: "photos",
		Geometry: &schemas.Geometry{Width: 24, Height: 24, Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH},
	}
	s.Keys = p.keys("demo-1", "demo-2")
	s.Readers = []*schemas.Readers{readers(schemas.Reader_READER_MISMATCHED, 1), p.readers(schemas.Reader_READER_RANDOM, "random-1-0")}
	add(s)
	s.Id = schemas.RunID(s)
	if err := s.Validate(); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// readers are one of a kind for each key, with the keys of ids.
func (p *pipeline) readers(r schemas.Reader, ids ...string) *schemas.Readers {
	p.t.Helper()
	return &schemas.Readers{Reader: r, Count: 1, Keys: p.keys(ids...)}
}

func (p *pipeline) keys(ids ...string) (refs []*schemas.KeyRef) {
	p.t.Helper()
	for _, id := range ids {
		pair, err := tiny.Keys.Get(id)
		if err != nil {
			p.t.Fatal(err)
		}
		refs = append(refs, &schemas.KeyRef{Id: id, Fingerprint: pair.Fingerprint()})
	}
	return refs
}

// make does what a run still needs and returns when every comparison has a score or a failure.
func (p *pipeline) make(spec *schemas.RunSpec) (plan *producer.Plan, scores, failures []*schemas.Score) {
	p.t.Helper()
	ctx := testrig.Context(p.t)
	_, err := p.cache.StartRun(ctx, spec)
	if err == nil {
		plan, err = producer.MakePlan(ctx, spec, time.Now().UnixMilli(), tiny.Network().Runtime(tiny.Digest), p.cache, p.bus.Blobs.Has)
	}
	if err == nil {
		_, err = p.cache.PutScores(ctx, spec.GetId(), plan.Found)
	}
	if err == nil {
		prod := producer.New(producer.Config{}, producer.Parts{Publisher: p.bus, Blobs: p.bus.Blobs, Progress: p.cache})
		err = prod.Run(ctx, plan, p.data.Files)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	for {
		if scores, failures, err = p.cache.Scores(ctx, spec.GetId()); err != nil {
			p.t.Fatal(err)
		}
		if len(scores)+len(failures) >= plan.Total {
			return plan, scores, failures
		}
		select {
		case <-p.wrote:
		case <-ctx.Done():
			p.t.Fatalf("%d scores and %d failures of %d came", len(scores), len(failures), plan.Total)
		}
	}
}

// run is make of a run in which nothing may fail; the scores are by their keys.
func (p *pipeline) run(spec *schemas.RunSpec) (*producer.Plan, map[string]*schemas.Score) {
	p.t.Helper()
	plan, list, failures := p.make(spec)
	if len(failures) > 0 {
		p.t.Fatalf("failures %v", failures)
	}
	scores := make(map[string]*schemas.Score)
	for _, s := range list {
		scores[schemas.ScoreKey(s)] = s
	}
	return plan, scores
}

// TestRunOfAllThatCanFollow makes a plain run, then one that asks for all that can follow an embed job, each twice.
func TestRunOfAllThatCanFollow(t *testing.T) {
	t.Parallel()
	const pairs, keys = 2, 2
	p := newPipeline(t, pairs)
	plain := p.spec(func(*schemas.RunSpec) {})
	_, before := p.run(plain)
	full := p.spec(func(s *schemas.RunSpec) {
		s.Readers = append(s.Readers, p.readers(schemas.Reader_READER_NEAR, "near-3-demo-1", "near-3-demo-2"),
			p.readers(schemas.Reader_READER_SWAPPED, "swapped-demo-1", "swapped-demo-2"),
			p.readers(schemas.Reader_READER_PARTIAL, "partial-500-demo-1", "partial-500-demo-2"), readers(schemas.Reader_READER_UNKEYED, 1))
		s.Features, s.Attacks = true, []string{"jpeg-50", "noise-5", "resize-50", "crop-10"}
	})
	plan, scores := p.run(full)

	counts := make(map[string]int)
	for _, s := range scores {
		counts[s.Role().Token()]++
	}
	for role, want := range map[string]int{
		"imperceptibility": pairs * keys, "recoverability": pairs * keys, "leakage_mismatched": pairs * keys, "leakage_random": pairs * keys,
		"leakage_near": pairs * keys, "leakage_near_cover": pairs * keys, "leakage_swapped": pairs * keys, "leakage_swapped_cover": pairs * keys,
		"leakage_partial": pairs * keys, "leakage_partial_cover": pairs * keys, "leakage_unkeyed": pairs * keys, "leakage_unkeyed_cover": pairs * keys,
		"robustness": 4 * pairs * keys, "baseline_cover_secret": pairs, "purification": pairs, "noise": pairs,
	} {
		if counts[role] != want {
			t.Errorf("%d scores of %s, want %d", counts[role], role, want)
		}
	}
	if plan.Total != len(scores) {
		t.Errorf("%d scores came, the plan has %d", len(scores), plan.Total)
	}
	for key, s := range scores {
		secret := s.GetDecodeKey() != "" && s.GetAttack() == "" && s.GetAgainst() == schemas.Against_AGAINST_SECRET
		if got := len(s.GetFeatures()); got != tiny.Manifest.Features && secret || got > 0 && !secret {
			t.Errorf("%s has %d features", key, got)
		}
		// What is recovered without an attack is as in the plain run; after one it is not.
		if was := before[key]; was != nil && (was.GetTest() != s.GetTest() || !proto.Equal(was.GetMetrics(), s.GetMetrics()) || len(was.GetFeatures()) > 0) {
			t.Errorf("%s was\n%v, is\n%v", key, was, s)
		}
		if s.GetAttack() != "" {
			unharmed := scores[s.GetItem()+"|recoverability|"+s.GetEmbedKey()+"|"+s.GetDecodeKey()]
			if unharmed == nil || unharmed.GetTest() == s.GetTest() {
				t.Errorf("%s is what is recovered without the attack", key)
			}
		}
	}
	for key := range before {
		if scores[key] == nil {
			t.Errorf("%s is in the plain run alone", key)
		}
	}

	// Both again, under other names, and the plain one without the features that are now remembered too.
	for _, spec := range []*schemas.RunSpec{plain, full} {
		again := proto.CloneOf(spec)
		again.Id += "-again"
		plan, made := p.run(again)
		if plan.Missing != 0 {
			t.Errorf("%s: %d comparisons of %d are made again", again.GetId(), plan.Missing, plan.Total)
		}
		want := before
		if spec == full {
			want = scores
		}
		if len(made) != len(want) {
			t.Errorf("%s: %d scores, want %d", again.GetId(), len(made), len(want))
		}
		for key, s := range made {
			if !proto.Equal(s, want[key]) {
				t.Errorf("%s again is\n%v, was\n%v", key, s, want[key])
			}
		}
	}
	if plain.GetId() == full.GetId() {
		t.Error("two runs have one name")
	}
}

// TestRunWithAKeyThatNobodyHas ends, with the failures of all that would have followed.
func TestRunWithAKeyThatNobodyHas(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, 1)
	spec := p.spec(func(s *schemas.RunSpec) {
		s.Keys[1] = &schemas.KeyRef{Id: "stranger", Fingerprint: sha([]byte("stranger"))[:32]}
		swapped := p.readers(schemas.Reader_READER_SWAPPED, "swapped-demo-1")
		swapped.Keys = append(swapped.Keys, fakeKey("swapped-stranger"))
		s.Readers, s.Attacks = append(s.Readers, swapped, readers(schemas.Reader_READER_UNKEYED, 1)), []string{"jpeg-50"}
	})
	_, _, failures := p.make(spec)
	// Of the stranger: the stego image, what is recovered, 2 of each of demo-1, random-1-0 and the swapped key, the attack
	// and 2 without a key; and 2 of what demo-1 hid and the stranger's key shows.
	if want := 1 + 1 + 3*2 + 1 + 2 + 2; len(failures) != want {
		t.Errorf("%d failures, want %d: %v", len(failures), want, failures)
	}
}
