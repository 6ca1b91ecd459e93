package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/schemas"
)

// Status is the state of the queue at one time.
type Status struct {
	// URL without credentials, or "the embedded server"; the server's name and version.
	URL, Server, Version string
	// MaxPayload is the server's limit on a message, in bytes.
	MaxPayload int64
	// Streams, by name.
	Streams []StreamStatus
	// Jobs and results that wait and that somebody works on (or that wait for another try).
	JobsWaiting, JobsInFlight, ResultsWaiting, ResultsInFlight uint64
	// DeadLetters that are kept.
	DeadLetters uint64
	// Workers that live, by id.
	Workers []Worker
}

// StreamStatus is the fill of one stream.
type StreamStatus struct {
	Name            string
	Messages, Bytes uint64
	// MaxBytes is the stream's bound, or -1 for none.
	MaxBytes int64
}

// Status asks the server for its state. That it answers means that JetStream works.
func (b *Bus) Status(ctx context.Context) (*Status, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	s := &Status{
		URL: b.where(), Server: b.nc.ConnectedServerName(), Version: b.nc.ConnectedServerVersion(),
		MaxPayload: b.nc.MaxPayload(),
	}
	byName := make(map[string]StreamStatus)
	for name := range b.specs() {
		stream, err := b.js.Stream(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("status of stream %s on %s: %w", name, b.where(), err)
		}
		info := stream.CachedInfo()
		byName[name] = StreamStatus{Name: name, Messages: info.State.Msgs, Bytes: info.State.Bytes, MaxBytes: info.Config.MaxBytes}
		s.Streams = append(s.Streams, byName[name])
	}
	slices.SortFunc(s.Streams, func(a, b StreamStatus) int { return strings.Compare(a.Name, b.Name) })

	list := b.jobs.ListConsumers(ctx)
	for info := range list.Info() {
		s.JobsInFlight += uint64(max(info.NumAckPending, 0))
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("status of the workers' consumers on %s: %w", b.where(), err)
	}
	// A partition without a consumer has jobs that no consumer counts, so the stream is asked.
	if n := byName[schemas.StreamJobs].Messages; n > s.JobsInFlight {
		s.JobsWaiting = n - s.JobsInFlight
	}
	evaluator, err := b.js.Consumer(ctx, schemas.StreamResults, consumerEvaluator)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		s.ResultsWaiting = byName[schemas.StreamResults].Messages
	case err != nil:
		return nil, fmt.Errorf("status of the evaluators' consumer on %s: %w", b.where(), err)
	default:
		s.ResultsWaiting = evaluator.CachedInfo().NumPending
		s.ResultsInFlight = uint64(max(evaluator.CachedInfo().NumAckPending, 0))
	}
	s.DeadLetters = byName[schemas.StreamDead].Messages
	s.Workers, err = b.liveWorkers(ctx)
	return s, err
}

func (b *Bus) liveWorkers(ctx context.Context) ([]Worker, error) {
	watch, err := b.workers.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	defer func() { _ = watch.Stop() }()
	var live []Worker
	for {
		select {
		case e, ok := <-watch.Updates():
			if !ok || e == nil {
				slices.SortFunc(live, func(a, b Worker) int { return strings.Compare(a.ID, b.ID) })
				return live, nil
			}
			var w Worker
			if json.Unmarshal(e.Value(), &w) == nil {
				live = append(live, w)
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("list workers: %w", ctx.Err())
		}
	}
}
