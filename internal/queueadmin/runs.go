package queueadmin

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/internal/bus"
	"stegomq/internal/streams"
	"stegomq/schemas"
)

// runFilters select the waiting and handled messages of a run: stream to subject.
func runFilters(run string) map[string]string {
	filters := map[string]string{schemas.StreamScoring: schemas.RunScoring(run)}
	for _, c := range schemas.Classes() {
		filters[schemas.JobStream(c)] = schemas.RunJobs(c, run)
	}
	return filters
}

// Outstanding counts the unfinished jobs of a run and its unfinished results to score: they wait, or a worker or an evaluator handles them.
func (a *Admin) Outstanding(ctx context.Context, run string) (n uint64, err error) {
	for name, filter := range runFilters(run) {
		err := a.link.Request(ctx, func(ctx context.Context) error {
			stream, err := a.link.JS.Stream(ctx, name)
			if err != nil || stream.CachedInfo().State.Msgs == 0 {
				return err
			}
			if err := streams.PurgeAcknowledged(ctx, stream); err != nil {
				return err
			}
			info, err := stream.Info(ctx, jetstream.WithSubjectFilter(filter))
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
	for name, filter := range runFilters(run) {
		err := a.link.Request(ctx, func(ctx context.Context) error {
			stream, err := a.link.JS.Stream(ctx, name)
			if err != nil {
				return err
			}
			return stream.Purge(ctx, jetstream.WithPurgeSubject(filter))
		})
		if err != nil {
			return fmt.Errorf("drop what waits of run %s in %s: %w", run, name, err)
		}
	}
	return nil
}
