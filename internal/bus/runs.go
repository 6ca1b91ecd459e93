package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/schemas"
)

// runFilters select what waits, or is in somebody's hands, of a run: stream to subject.
func runFilters(run string) map[string]string {
	filters := map[string]string{schemas.StreamScoring: schemas.RunScoring(run)}
	for _, c := range schemas.Classes() {
		filters[schemas.JobStream(c)] = schemas.RunFilter(c, "*", run)
	}
	return filters
}

// Outstanding counts the jobs of a run, and its results that are to be scored, that nobody has finished: they wait, or a worker or
// an evaluator has them in hand.
func (b *Bus) Outstanding(ctx context.Context, run string) (n uint64, err error) {
	for name, filter := range runFilters(run) {
		err := b.request(ctx, func(ctx context.Context) error {
			stream, err := b.js.Stream(ctx, name)
			if err != nil || stream.CachedInfo().State.Msgs == 0 {
				return err
			}
			if err := b.purgeAcknowledged(ctx, stream); err != nil {
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

// purgeAcknowledged takes out of a work queue what its consumers have acknowledged. The server does so itself; but one that was killed may
// come back with a message whose acknowledgement it remembers (nats-server 2.15.2): nobody gets that message any more, and it stays for ever.
// Such are all that lie in a queue in which nothing waits and nothing is in anybody's hands, up to what each consumer has acknowledged.
func (b *Bus) purgeAcknowledged(ctx context.Context, stream jetstream.Stream) error {
	var open uint64
	floors := make(map[string]uint64) // by filter
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		open += info.NumPending + uint64(max(info.NumAckPending, 0))
		floors[info.Config.FilterSubject] = info.AckFloor.Stream
	}
	if err := list.Err(); err != nil || open > 0 {
		return err
	}
	for filter, floor := range floors {
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(filter), jetstream.WithPurgeSequence(floor+1)); err != nil {
			return err
		}
	}
	return nil
}

// DropRun takes what waits of a run out of the queues. What a worker has in hand it finishes; its result is dropped by a later call.
func (b *Bus) DropRun(ctx context.Context, run string) error {
	if !schemas.ValidRunID(run) {
		return fmt.Errorf("drop a run: %w: %q cannot name one", ErrBadFilter, run)
	}
	for name, filter := range runFilters(run) {
		err := b.request(ctx, func(ctx context.Context) error {
			stream, err := b.js.Stream(ctx, name)
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
