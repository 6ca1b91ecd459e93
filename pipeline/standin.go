package pipeline

import (
	"context"
	"errors"
	"strings"

	"stegomq/internal/bus"
)

// This file stands in for what the message queue does not say yet, and goes when it does.

// queue tells what of a run is in it.
type queue interface {
	// Outstanding counts the run's jobs, and its results that are to be scored, that wait or are in somebody's hands.
	Outstanding(ctx context.Context, run string) (uint64, error)
	// DropRun takes what waits of a run out of the queue.
	DropRun(ctx context.Context, run string) error
}

func (s *Services) queue() queue {
	if q, ok := any(s.Bus).(queue); ok {
		return q
	}
	return wholeQueue{s.Bus}
}

// wholeQueue counts what is there of all runs, and drops nothing.
type wholeQueue struct{ *bus.Bus }

func (q wholeQueue) Outstanding(ctx context.Context, _ string) (uint64, error) {
	st, err := q.Status(ctx)
	if err != nil {
		return 0, err
	}
	return st.JobsWaiting + st.JobsInFlight + st.ResultsWaiting + st.ResultsInFlight, nil
}

func (q wholeQueue) DropRun(context.Context, string) error { return nil }

// busAway says whether an error of the bus is of a server that does not answer.
func busAway(err error) bool {
	for _, e := range []error{
		bus.ErrBlobMissing, bus.ErrBlobCorrupt, bus.ErrBadDigest, bus.ErrTooLarge, bus.ErrFull, bus.ErrClosed, bus.ErrNoDeadLetter, bus.ErrBadFilter,
		bus.ErrStreamConflict, bus.ErrNoStorage, bus.ErrDenied, bus.ErrNoJetStream,
	} {
		if errors.Is(err, e) {
			return false
		}
	}
	return err != nil && strings.Contains(err.Error(), "nats: ") && !strings.Contains(err.Error(), "nats: connection closed")
}
