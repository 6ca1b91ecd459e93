package producer

import (
	"context"
	"fmt"
	"slices"

	"stegomq/schemas"
)

// Memo is what was made and measured before, by schemas.MemoID and schemas.MetricsID; nil stands for what is not known.
type Memo interface {
	Outcomes(ctx context.Context, ids []string) ([]*schemas.Outcome, error)
	Metrics(ctx context.Context, ids []string) ([]*schemas.Metrics, error)
}

// Stored says which digests the blob store holds.
type Stored func(ctx context.Context, digests ...string) ([]bool, error)

// Plan is what a run still needs.
type Plan struct {
	Spec    *schemas.RunSpec
	Attempt int64
	// Found are the scores that the cache gives, with the digests of their images. Scores of images that were refused before have no digest of a
	// test image.
	Found []*schemas.Score
	// Missing counts the comparisons that are still to be made; Total counts all.
	Missing, Total int

	parts []part
}

// part is work of one kind: embedding with one key and some of the jobs that follow, at most as many as a job takes, or purifying.
type part struct {
	job   func(pairs []*schemas.Pair) *schemas.Job
	owned map[string][]string // item to the keys of its scores; nil in a plan that is made
	todo  []todo
}

// todo is a pair with work left, and the number of comparisons that come of it and of no work before it.
type todo struct {
	pair   *schemas.Pair
	scores int64
}

// planner follows every comparison of a run through the memo: from an embed job to the stego image, from there to the images of the jobs that
// follow, and from two digests to the metrics. Where something is missing, the comparison is work to do, and so is what depends on it.
type planner struct {
	spec    *schemas.RunSpec
	runtime string
	memo    Memo
	stored  Stored

	scores map[string]*schemas.Score // by score key
	order  []string                  // score keys in the order in which they were first met
}

// MakePlan finds out what of a run the memo already has, made by the runtime that will make the rest; empty for a model without a
// network. With a stored function, an output only counts when the blob store still holds it, as saving the images needs.
func MakePlan(ctx context.Context, spec *schemas.RunSpec, attempt int64, runtime string, memo Memo, stored Stored) (*Plan, error) {
	p := &planner{spec: spec, runtime: runtime, memo: memo, stored: stored, scores: make(map[string]*schemas.Score)}
	plan := &Plan{Spec: spec, Attempt: attempt}
	for _, key := range spec.GetKeys() {
		if err := p.embedding(ctx, plan, key); err != nil {
			return nil, err
		}
	}
	if schemas.Purifies(spec) {
		purify := func(pairs []*schemas.Pair) *schemas.Job { return schemas.PurifyJob(spec, attempt, pairs) }
		owned, _, err := p.note(ctx, purify(spec.GetPairs()))
		if err != nil {
			return nil, err
		}
		plan.parts = append(plan.parts, part{job: purify, owned: owned})
	}
	if err := p.measure(ctx); err != nil {
		return nil, err
	}

	// Scores that some job will make. Several parts have the same ones: the baseline belongs to every key, and what an embed job measures itself
	// to every part of its key.
	covered := make(map[string]bool)
	open := func(owned map[string][]string) (list []todo) {
		for _, pair := range spec.GetPairs() {
			t := todo{pair: pair}
			for _, k := range owned[pair.GetItem()] {
				if p.scores[k].End() == schemas.EndNone && !covered[k] {
					covered[k] = true
					t.scores++
				}
			}
			if t.scores > 0 {
				list = append(list, t)
			}
		}
		return list
	}
	for i := range plan.parts {
		k := &plan.parts[i]
		k.todo, k.owned = open(k.owned), nil // which may be large
	}
	for _, k := range p.order {
		if s := p.scores[k]; s.End() != schemas.EndNone {
			plan.Found = append(plan.Found, s)
		}
	}
	plan.Total = len(p.order)
	plan.Missing = plan.Total - len(plan.Found)
	return plan, nil
}

// embedding adds to a plan what one key embeds, with all jobs that come of it, in parts of as many as a job takes.
func (p *planner) embedding(ctx context.Context, plan *Plan, key *schemas.KeyRef) error {
	embedded, outcomes, err := p.note(ctx, schemas.EmbedJob(p.spec, plan.Attempt, key, nil, p.spec.GetPairs()))
	if err != nil {
		return err
	}
	stego := make(map[string]string, len(outcomes))
	for i, pair := range p.spec.GetPairs() {
		stego[pair.GetItem()] = outcomes[i].GetOutput().GetImage()
	}
	for follow := range slices.Chunk(schemas.FollowUps(p.spec, key), schemas.MaxFollowUps) {
		embed := func(pairs []*schemas.Pair) *schemas.Job {
			return schemas.EmbedJob(p.spec, plan.Attempt, key, follow, pairs)
		}
		owned := make(map[string][]string, len(embedded))
		for item, scores := range embedded {
			owned[item] = slices.Clone(scores)
		}
		for _, next := range schemas.FollowUpJobs(embed(p.spec.GetPairs()), stego) {
			more, _, err := p.note(ctx, next)
			if err != nil {
				return err
			}
			for item, scores := range more {
				owned[item] = append(owned[item], scores...)
			}
		}
		plan.parts = append(plan.parts, part{job: embed, owned: owned})
	}
	return nil
}

// outcomes looks up what a job would make, or be refused; an item whose own input is not known has none.
func (p *planner) outcomes(ctx context.Context, job *schemas.Job) ([]*schemas.Outcome, error) {
	ids := make([]string, len(job.GetItems()))
	for i, item := range job.GetItems() {
		ids[i] = schemas.MemoID(schemas.ItemWorkID(job, item), p.runtime)
	}
	outcomes, err := p.memo.Outcomes(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("look up earlier outputs: %w", err)
	}
	for i, item := range job.GetItems() {
		for _, name := range job.GetOperation().Describe().Images {
			if item.Ref(name).GetDigest() == "" {
				outcomes[i] = nil
			}
		}
	}
	return outcomes, p.dropLost(ctx, outcomes)
}

// dropLost forgets outputs that the blob store no longer holds.
func (p *planner) dropLost(ctx context.Context, outcomes []*schemas.Outcome) error {
	if p.stored == nil {
		return nil
	}
	var digests []string
	var owner []int // of each digest, the output
	for i, o := range outcomes {
		for _, digest := range []string{o.GetOutput().GetImage(), o.GetOutput().GetNoisy()} {
			if digest != "" {
				digests, owner = append(digests, digest), append(owner, i)
			}
		}
	}
	has, err := p.stored(ctx, digests...)
	if err != nil {
		return fmt.Errorf("look for earlier outputs in the blob store: %w", err)
	}
	for n, ok := range has {
		if !ok {
			outcomes[owner[n]] = nil
		}
	}
	return nil
}

// note adds the comparisons of a job. It gives the score keys of each item, and what the job would make.
func (p *planner) note(ctx context.Context, job *schemas.Job) (owned map[string][]string, outcomes []*schemas.Outcome, err error) {
	if outcomes, err = p.outcomes(ctx, job); err != nil {
		return nil, nil, err
	}
	owned = make(map[string][]string)
	for i, item := range job.GetItems() {
		for _, s := range schemas.Comparisons(job, item, outcomes[i]) {
			k := schemas.ScoreKey(s)
			if _, there := p.scores[k]; !there {
				p.scores[k] = s
				p.order = append(p.order, k)
			}
			owned[item.GetId()] = append(owned[item.GetId()], k)
		}
	}
	return owned, outcomes, nil
}

// measure looks up the metrics of every comparison whose two images are known.
func (p *planner) measure(ctx context.Context) error {
	var known []*schemas.Score
	var ids []string
	for _, k := range p.order {
		if s := p.scores[k]; s.GetTest() != "" {
			known = append(known, s)
			ids = append(ids, schemas.MetricsID(p.spec.GetMetricsVersion(), s.GetReference(), s.GetTest(), p.spec.GetGeometry()))
		}
	}
	metrics, err := p.memo.Metrics(ctx, ids)
	if err != nil {
		return fmt.Errorf("look up metrics: %w", err)
	}
	for i, m := range metrics {
		known[i].Metrics = m
	}
	return nil
}

// Jobs counts the jobs of a plan, of so many pairs at most, and those that workers publish after them.
func (p *Plan) Jobs(size int) (jobs, followUps int) {
	all := p.batches(size)
	for _, b := range all {
		followUps += len(b.job.GetDecodeKeys()) + len(b.job.GetAttacks())
		if b.job.GetUnkeyed() {
			followUps++
		}
	}
	return len(all), followUps
}

// batch is a job with the pairs that it needs in the blob store, and the number of comparisons that come of it.
type batch struct {
	job    *schemas.Job
	pairs  []*schemas.Pair
	scores int64
}

// batches cuts the open work into jobs, pairs outermost, so that the images of a pair are used by all keys
// while they are still decoded.
func (p *Plan) batches(size int) []batch {
	var all []batch
	rest := slices.Clone(p.parts)
	for before := -1; before < len(all); {
		before = len(all)
		for i := range rest {
			list := rest[i].todo
			n := min(size, len(list))
			if n == 0 {
				continue
			}
			var b batch
			for _, t := range list[:n] {
				b.pairs = append(b.pairs, t.pair)
				b.scores += t.scores
			}
			b.job = rest[i].job(b.pairs)
			all = append(all, b)
			rest[i].todo = list[n:]
		}
	}
	return all
}
