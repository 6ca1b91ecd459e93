package bus

import (
	"context"
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
	// ClusterSize is the number of servers of the cluster, 1 without one.
	ClusterSize int
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
	// Replicas that the stream has.
	Replicas int
}

func streamStatus(info *jetstream.StreamInfo) StreamStatus {
	return StreamStatus{
		Name: info.Config.Name, Messages: info.State.Msgs, Bytes: info.State.Bytes, MaxBytes: info.Config.MaxBytes, Replicas: max(info.Config.Replicas, 1),
	}
}

// Streams asks for the fill of every stream, by name. That the server answers means that JetStream works.
func (b *Bus) Streams(ctx context.Context) ([]StreamStatus, error) {
	var list []StreamStatus
	for name := range b.specs() {
		stream, err := b.js.Stream(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("status of stream %s on %s: %w", name, b.where(), err)
		}
		list = append(list, streamStatus(stream.CachedInfo()))
	}
	slices.SortFunc(list, func(a, b StreamStatus) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Status asks the server for its state, and the workers for a word, for which it waits a quarter of a second.
func (b *Bus) Status(ctx context.Context) (*Status, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	s := &Status{
		URL: b.where(), Server: b.nc.ConnectedServerName(), Version: b.nc.ConnectedServerVersion(),
		MaxPayload: b.nc.MaxPayload(), ClusterSize: b.ClusterSize(),
	}
	var err error
	if s.Streams, err = b.Streams(ctx); err != nil {
		return nil, err
	}
	byName := make(map[string]StreamStatus)
	for _, stream := range s.Streams {
		byName[stream.Name] = stream
	}
	// A job without a consumer is in no consumer's count, so the streams are asked.
	for _, class := range schemas.Classes() {
		name := schemas.JobStream(class)
		inFlight, err := b.inFlight(ctx, name)
		if err != nil {
			return nil, err
		}
		s.JobsInFlight += inFlight
		s.JobsWaiting += max(byName[name].Messages, inFlight) - inFlight
	}
	if s.ResultsInFlight, err = b.inFlight(ctx, schemas.StreamScoring); err != nil {
		return nil, err
	}
	s.ResultsWaiting = max(byName[schemas.StreamScoring].Messages, s.ResultsInFlight) - s.ResultsInFlight
	s.DeadLetters = byName[schemas.StreamDead].Messages
	s.Workers, err = b.liveWorkers(ctx)
	return s, err
}

// inFlight counts what was delivered from a work queue and not acknowledged.
func (b *Bus) inFlight(ctx context.Context, stream string) (n uint64, err error) {
	handle, err := b.js.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("status of stream %s on %s: %w", stream, b.where(), err)
	}
	list := handle.ListConsumers(ctx)
	for info := range list.Info() {
		n += uint64(max(info.NumAckPending, 0))
	}
	if err := list.Err(); err != nil {
		return 0, fmt.Errorf("status of the consumers of %s on %s: %w", stream, b.where(), err)
	}
	return n, nil
}
