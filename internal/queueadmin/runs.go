package queueadmin

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/internal/bus"
	"stegomq/internal/streams"
	"stegomq/schemas"
)

// runFilter selects the waiting and handled messages of a run in a stream.
type runFilter struct{ stream, subject string }

// runFilters select the messages of a run in all streams, in the order in which its work goes through them: what leaves a stream is in a later one
// before. So who looks at one after another misses nothing that goes on meanwhile.
func runFilters(run string) []runFilter {
	var filters []runFilter
	for _, c := range []schemas.Class{schemas.Interactive, schemas.Bulk, schemas.FollowUpClass} {
		filters = append(filters, runFilter{schemas.JobStream(c), schemas.RunJobs(c, run)})
	}
	return append(filters, runFilter{schemas.StreamScoring, schemas.RunScoring(run)})
}

// Outstanding counts the unfinished jobs of a run and its unfinished results to score: they wait, or a worker or an evaluator handles them.
func (a *Admin) Outstanding(ctx context.Context, run string) (n uint64, err error) {
	for _, f := range runFilters(run) {
		err := a.link.Request(ctx, func(ctx context.Context) error {
			stream, err := a.link.JS.Stream(ctx, f.stream)
			if err != nil || stream.CachedInfo().State.Msgs == 0 {
				return err
			}
			if err := streams.PurgeAcknowledged(ctx, stream); err != nil {
				return err
			}
			info, err := stream.Info(ctx, jetstream.WithSubjectFilter(f.subject))
			if err != nil {
				return err
			}
			for _, held := range info.State.Subjects {
				n += held
			}
			return nil
		})
		if err != nil {
			return 0, fmt.Errorf("count what waits of run %s: %w", run, err)
		}
	}
	return n, nil
}

// DropRun takes the waiting messages of a run out of the queues. A worker finishes the job that it handles; a later call drops its result.
func (a *Admin) DropRun(ctx context.Context, run string) error {
	if !schemas.ValidRunID(run) {
		return fmt.Errorf("drop a run: %w: %q cannot name one", bus.ErrBadFilter, run)
	}
	for _, f := range runFilters(run) {
		err := a.link.Request(ctx, func(ctx context.Context) error {
			stream, err := a.link.JS.Stream(ctx, f.stream)
			if err != nil {
				return err
			}
			return stream.Purge(ctx, jetstream.WithPurgeSubject(f.subject))
		})
		if err != nil {
			return fmt.Errorf("drop what waits of run %s in %s: %w", run, f.stream, err)
		}
	}
	return nil
}
