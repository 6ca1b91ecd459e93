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
	// Found are the scores that the cache gives, and with them the digests of their images; those of what was refused before
	// have none.
	Found []*schemas.Score
	// Missing counts the comparisons that are still to be made; Total counts all.
	Missing, Total int

	// What to embed for each key, and what to purify.
	embed  []keyed
	purify []todo
}

// keyed is the work of one embed key with some of what follows, at most as much as a job takes.
type keyed struct {
	key    *schemas.KeyRef
	follow []schemas.FollowUp
	owned  map[string][]string // item to the keys of its scores; nil in a plan that is made
	todo   []todo
}

// todo is a pair with work left, and the number of comparisons that come of it and of no work before it.
type todo struct {
	pair   *schemas.Pair
	scores int64
}

// planner follows every comparison of a run through the memo: from an embed job to the stego image, from
// there to what follows, such as the recovered image, from the pair of digests to the metrics. A link that is missing makes the
// comparison, and what comes after it, work to do.
type planner struct {
	spec    *schemas.RunSpec
	runtime string
	memo    Memo
	stored  Stored

	scores map[string]*schemas.Score // by score key
	order  []string                  // score keys in the order in which they were first met
}

// MakePlan finds out what of a run the memo already has, made by the runtime that will make the rest; empty for a model without a network. With a stored function, an output only counts when
// the blob store still holds it, as saving the images needs.
func MakePlan(ctx context.Context, spec *schemas.RunSpec, attempt int64, runtime string, memo Memo, stored Stored) (*Plan, error) {
	p := &planner{spec: spec, runtime: runtime, memo: memo, stored: stored, scores: make(map[string]*schemas.Score)}
	plan := &Plan{Spec: spec, Attempt: attempt}
	for _, key := range spec.GetKeys() {
		work, err := p.embedding(ctx, attempt, key)
		if err != nil {
			return nil, err
		}
		plan.embed = append(plan.embed, work...)
	}
	purified, err := p.purification(ctx, attempt)
	if err != nil {
		return nil, err
	}
	if err := p.measure(ctx); err != nil {
		return nil, err
	}

	// Scores that some job will make: the baseline belongs to every key, what an embed job measures itself to
	// every part of what follows.
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
	for i := range plan.embed {
		k := &plan.embed[i]
		k.todo, k.owned = open(k.owned), nil // which may be large
	}
	plan.purify = open(purified)
	for _, k := range p.order {
		if s := p.scores[k]; s.End() != schemas.EndNone {
			plan.Found = append(plan.Found, s)
		}
	}
	plan.Total = len(p.order)
	plan.Missing = plan.Total - len(plan.Found)
	return plan, nil
}

// embedding follows what one key embeds, with all jobs that come of it, in parts of as many as a job takes.
func (p *planner) embedding(ctx context.Context, attempt int64, key *schemas.KeyRef) ([]keyed, error) {
	job := schemas.EmbedJob(p.spec, attempt, key, nil, p.spec.GetPairs())
	outcomes, err := p.outcomes(ctx, job)
	if err != nil {
		return nil, err
	}
	embedded := p.note(job, outcomes)
	stego := make(map[string]string, len(outcomes))
	for i, item := range job.GetItems() {
		stego[item.GetId()] = outcomes[i].GetOutput().GetImage()
	}
	var parts []keyed
	for follow := range slices.Chunk(schemas.FollowUps(p.spec, key), schemas.MaxFollowUps) {
		part := keyed{key: key, follow: follow, owned: make(map[string][]string, len(embedded))}
		for item, scores := range embedded {
			part.owned[item] = slices.Clone(scores)
		}
		for _, next := range schemas.FollowUpJobs(schemas.EmbedJob(p.spec, attempt, key, follow, p.spec.GetPairs()), stego) {
			outcomes, err := p.outcomes(ctx, next)
			if err != nil {
				return nil, err
			}
			for item, scores := range p.note(next, outcomes) {
				part.owned[item] = append(part.owned[item], scores...)
			}
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// purification follows what a model that can purify makes of the covers.
func (p *planner) purification(ctx context.Context, attempt int64) (map[string][]string, error) {
	if !schemas.Purifies(p.spec) {
		return nil, nil
	}
	job := schemas.PurifyJob(p.spec, attempt, p.spec.GetPairs())
	outcomes, err := p.outcomes(ctx, job)
	if err != nil {
		return nil, err
	}
	return p.note(job, outcomes), nil
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

// note adds the comparisons of a job. It gives the score keys of each item.
func (p *planner) note(job *schemas.Job, outcomes []*schemas.Outcome) map[string][]string {
	owned := make(map[string][]string)
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
	return owned
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
	// cut takes a batch off the front of a list; job makes the job of its pairs.
	cut := func(list []todo, job func([]*schemas.Pair) *schemas.Job) []todo {
		n := min(size, len(list))
		if n == 0 {
			return nil
		}
		var b batch
		for _, t := range list[:n] {
			b.pairs = append(b.pairs, t.pair)
			b.scores += t.scores
		}
		b.job = job(b.pairs)
		all = append(all, b)
		return list[n:]
	}
	embed := func(k keyed) func([]*schemas.Pair) *schemas.Job {
		return func(pairs []*schemas.Pair) *schemas.Job {
			return schemas.EmbedJob(p.Spec, p.Attempt, k.key, k.follow, pairs)
		}
	}
	purify := func(pairs []*schemas.Pair) *schemas.Job { return schemas.PurifyJob(p.Spec, p.Attempt, pairs) }
	rest, clean := append([]keyed(nil), p.embed...), p.purify
	for before := -1; before < len(all); {
		before = len(all)
		for i := range rest {
			rest[i].todo = cut(rest[i].todo, embed(rest[i]))
		}
		clean = cut(clean, purify)
	}
	return all
}
