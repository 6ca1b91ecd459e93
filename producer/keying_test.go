package producer_test

import (
	"slices"
	"strings"
	"testing"

	"stegomq/producer"
	"stegomq/schemas"
)

// A model that does not purify: no job says so, and no comparison is waited for.
func TestPlanWithoutPurification(t *testing.T) {
	t.Parallel()
	plan := func(change func(*evaluation)) (*producer.Plan, []string) {
		e := newEvaluation(t, 2, "alice", "bob")
		change(e)
		p := e.plan(nil)
		return p, e.publish(p, 2).published()
	}
	whole, all := plan(func(*evaluation) {})
	part, jobs := plan(func(e *evaluation) {
		e.spec.ModelOperations = []schemas.Operation{schemas.Operation_OPERATION_EMBED, schemas.Operation_OPERATION_RECOVER}
	})
	purifies := func(job string) bool { return strings.Contains(job, "purify") }
	if !slices.ContainsFunc(all, purifies) || slices.ContainsFunc(jobs, purifies) {
		t.Errorf("jobs of a model that purifies: %q; of one that does not: %q", all, jobs)
	}
	// Two pairs, each purified and compared with its noisy image.
	if whole.Total-part.Total != 4 || part.Missing != part.Total {
		t.Errorf("%d comparisons with purification, %d without, of which %d are missing", whole.Total, part.Total, part.Missing)
	}
}
