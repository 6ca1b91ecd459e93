package pipeline

import (
	"context"

	"stegomq/evaluator"
	"stegomq/internal/queueadmin"
	"stegomq/schemas"
)

// DeadFilter selects dead letters; its zero value all of them.
type DeadFilter struct {
	Reason schemas.Reason
	Run    string
	// Limit is the largest number of letters, the oldest ones; 0: no limit.
	Limit int
}

// DeadLetters lists dead letters, the oldest first.
func DeadLetters(ctx context.Context, q *queueadmin.Admin, f DeadFilter) ([]queueadmin.DeadEntry, error) {
	if f.Run == "" {
		return q.ListDead(ctx, f.Reason, f.Limit)
	}
	all, err := q.ListDead(ctx, f.Reason, 0)
	var list []queueadmin.DeadEntry
	for _, d := range all {
		if job, _, err := evaluator.Bereaved(d.Letter); err == nil && job.GetRun() == f.Run && (f.Limit == 0 || len(list) < f.Limit) {
			list = append(list, d)
		}
	}
	return list, err
}
