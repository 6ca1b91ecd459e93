package producer_test

import (
	"fmt"
	"slices"
	"testing"

	"stegomq/internal/testrig"
	"stegomq/schemas"
)

// newFullEvaluation asks for all that can follow what a key embeds, of one pair.
func newFullEvaluation(t *testing.T, keys ...string) *evaluation {
	t.Helper()
	e := newEvaluation(t, 1, keys...)
	swapped, partial := readers(schemas.Reader_READER_SWAPPED, 1), readers(schemas.Reader_READER_PARTIAL, 1)
	for _, k := range keys {
		swapped.Keys = append(swapped.Keys, fakeKey("swapped-"+k))
		partial.Keys = append(partial.Keys, fakeKey("partial-500-"+k))
	}
	e.spec.Readers = append(e.spec.Readers, swapped, partial, readers(schemas.Reader_READER_UNKEYED, 1))
	e.spec.Features, e.spec.Attacks = true, []string{"jpeg-75", "noise-5"}
	if err := e.spec.Validate(); err != nil {
		t.Fatal(err)
	}
	return e
}

// full is the number of comparisons of newFullEvaluation with alice and bob: of each key the stego image, what is
// recovered, 2 of each of the mismatched, the random, the swapped and the partial key, 2 attacks and 2 without a key;
// the baseline, and 2 of purification.
const full = 2*(1+1+4*2+2+2) + 1 + 2

// TestPlanOfAllThatCanFollow finds every comparison in the memo, with its features, or none of them.
func TestPlanOfAllThatCanFollow(t *testing.T) {
	t.Parallel()
	e := newFullEvaluation(t, "alice", "bob")
	if p := e.plan(nil); p.Total != full || p.Missing != full {
		t.Errorf("%d missing of %d, want all of %d", p.Missing, p.Total, full)
	}
	e.remember()
	p := e.plan(nil)
	if p.Total != full || p.Missing != 0 {
		t.Errorf("%d missing of %d, want none of %d", p.Missing, p.Total, full)
	}
	roles := make(map[string]int)
	for _, s := range p.Found {
		roles[s.Role().Token()]++
		secret := s.GetAttack() == "" && s.GetDecodeKey() != "" && s.GetReference() == e.spec.GetPairs()[0].GetSecret().GetDigest()
		if secret != (len(s.GetFeatures()) == 2) {
			t.Errorf("%s has %d features", schemas.ScoreKey(s), len(s.GetFeatures()))
		}
	}
	for role, want := range map[string]int{
		"leakage_swapped": 2, "leakage_swapped_cover": 2, "leakage_partial": 2, "leakage_partial_cover": 2,
		"leakage_unkeyed": 2, "leakage_unkeyed_cover": 2, "robustness": 4,
	} {
		if roles[role] != want {
			t.Errorf("%d scores of %s, want %d", roles[role], role, want)
		}
	}
}

// TestPlanWantsFeatures does not take an output without features for one that has them, nor an attacked image for
// another; what needs neither is found all the same.
func TestPlanWantsFeatures(t *testing.T) {
	t.Parallel()
	e := newFullEvaluation(t, "alice", "bob")
	e.spec.Features, e.spec.Attacks = false, []string{"jpeg-75"}
	e.remember()
	if p := e.plan(nil); p.Missing != 0 {
		t.Fatalf("%d missing of the run that was made", p.Missing)
	}
	e.spec.Attacks = []string{"jpeg-75", "jpeg-50"}
	if p := e.plan(nil); p.Missing != 2 {
		t.Errorf("%d missing, want the second attack on either stego image", p.Missing)
	}
	e.spec.Attacks, e.spec.Features = []string{"jpeg-75"}, true
	// All that is recovered without an attack: with the matched key, and twice with each of four others.
	p := e.plan(nil)
	if want := 2 * (1 + 4*2); p.Missing != want {
		t.Errorf("%d missing, want %d", p.Missing, want)
	}
	q := e.publish(p, 8)
	if got := q.published(); !slices.Equal(got, []string{"embed alice: 1", "embed bob: 1"}) {
		t.Errorf("jobs %q", got)
	}
	for _, j := range q.jobs {
		if !j.GetFeatures() {
			t.Errorf("a job does not ask for features: %v", j)
		}
	}
}

func TestPlanOfUnfinishedFollowUps(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		forgotten []string
		missing   int
		jobs      []string
	}{
		"an attack":            {[]string{"recover alice alicejpeg-75 1"}, 1, []string{"embed alice: 1"}},
		"what came without":    {[]string{"purify bob  1"}, 2, []string{"embed bob: 1"}},
		"a swapped key":        {[]string{"recover bob swapped-bob 1"}, 2, []string{"embed bob: 1"}},
		"the stego image":      {[]string{"embed  alice 1"}, 1 + 1 + 4*2 + 2 + 2, []string{"embed alice: 1"}},
		"a score of an attack": {[]string{"1|robustness|bob|bob|noise-5"}, 1, []string{"embed bob: 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newFullEvaluation(t, "alice", "bob")
			e.remember(c.forgotten...)
			p := e.plan(nil)
			if p.Missing != c.missing {
				t.Errorf("%d missing, want %d", p.Missing, c.missing)
			}
			if got := e.publish(p, 8).published(); !slices.Equal(got, c.jobs) {
				t.Errorf("jobs %q, want %q", got, c.jobs)
			}
		})
	}
}

// TestPlanWithManyFollowUps spreads all that follows over jobs, each with as much as a job takes, and asks for all of
// it once.
func TestPlanWithManyFollowUps(t *testing.T) {
	t.Parallel()
	e := newFullEvaluation(t, "alice")
	random := e.spec.ReadersOf(schemas.Reader_READER_RANDOM)
	random.Keys = nil
	for i := range schemas.MaxFollowUps - 4 { // with her own, the swapped and the partial key, and one attack, a job is full
		random.Keys = append(random.Keys, fakeKey(fmt.Sprintf("random-2-%d", i)))
	}
	random.Count = uint32(len(random.Keys))
	p := e.plan(nil)
	q := e.publish(p, 8)
	if got, want := q.published(), []string{"embed alice: 1", "embed alice: 1", "purify: 1"}; !slices.Equal(got, want) {
		t.Fatalf("jobs %q, want %q", got, want)
	}
	for i, want := range []struct {
		keys    int
		attacks []string
		unkeyed bool
	}{{schemas.MaxFollowUps - 1, []string{"jpeg-75"}, false}, {0, []string{"noise-5"}, true}} {
		j := q.jobs[i]
		if err := j.Validate(); err != nil {
			t.Error(err)
		}
		if len(j.GetDecodeKeys()) != want.keys || !slices.Equal(j.GetAttacks(), want.attacks) || j.GetUnkeyed() != want.unkeyed {
			t.Errorf("job %d has %d decode keys, attacks %q, unkeyed %v; want %v", i, len(j.GetDecodeKeys()), j.GetAttacks(), j.GetUnkeyed(), want)
		}
	}
	// What the blob store has lost is not there: this one is empty.
	e.remember()
	if p := e.plan(testrig.Bus(t, 0).Blobs.Has); p.Missing != p.Total-1 {
		t.Errorf("%d missing of %d, want all but the baseline", p.Missing, p.Total)
	}
}
