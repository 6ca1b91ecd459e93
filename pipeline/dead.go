package pipeline

import (
	"context"

	"stegomq/evaluator"
	"stegomq/internal/bus"
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
func DeadLetters(ctx context.Context, b *bus.Bus, f DeadFilter) ([]bus.DeadEntry, error) {
	if f.Run == "" {
		return b.ListDead(ctx, f.Reason, f.Limit)
	}
	all, err := b.ListDead(ctx, f.Reason, 0)
	var list []bus.DeadEntry
	for _, d := range all {
		if job, _, err := evaluator.Bereaved(d.Letter); err == nil && job.GetRun() == f.Run && (f.Limit == 0 || len(list) < f.Limit) {
			list = append(list, d)
		}
	}
	return list, err
}
