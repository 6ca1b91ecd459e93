package queueadmin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/internal/bus"
	"stegomq/internal/link"
	"stegomq/internal/streams"
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
	Streams []streams.Status
	// Jobs and results that wait, and those in flight (being handled, or waiting for another try).
	JobsWaiting, JobsInFlight, ResultsWaiting, ResultsInFlight uint64
	// DeadLetters that are kept.
	DeadLetters uint64
	// Live workers, by id.
	Workers []bus.Worker
}

// ErrNoStreams: nobody has used the server yet.
var ErrNoStreams = errors.New("the server has no streams of stegomq yet")

// Inspect is Admin.Status without opened streams: it creates nothing. It returns ErrNoStreams if they do not exist, and the errors of
// link.Dial.
func Inspect(ctx context.Context, cfg link.Config) (*Status, error) {
	l, err := link.Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	st, err := New(streams.New(l, streams.Config{})).Status(ctx)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, fmt.Errorf("%w (%s)", ErrNoStreams, l.Where())
	case link.NoJetStream(err):
		return nil, fmt.Errorf("%w (at %s)", link.ErrNoJetStream, l.Where())
	}
	return st, err
}

// Status asks the server for its state, and all workers to answer within a quarter of a second.
func (a *Admin) Status(ctx context.Context) (*Status, error) {
	ctx, done, err := a.link.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	s := &Status{
		URL: a.link.Where(), Server: a.link.NC.ConnectedServerName(), Version: a.link.NC.ConnectedServerVersion(),
		MaxPayload: a.link.NC.MaxPayload(), ClusterSize: a.link.ClusterSize(),
	}
	if s.Streams, err = a.streams.List(ctx); err != nil {
		return nil, err
	}
	byName := make(map[string]streams.Status)
	for _, stream := range s.Streams {
		byName[stream.Name] = stream
	}
	// No consumer counts a job without a consumer, so the streams are asked.
	for _, class := range schemas.Classes() {
		name := schemas.JobStream(class)
		inFlight, err := a.inFlight(ctx, name)
		if err != nil {
			return nil, err
		}
		s.JobsInFlight += inFlight
		s.JobsWaiting += max(byName[name].Messages, inFlight) - inFlight
	}
	if s.ResultsInFlight, err = a.inFlight(ctx, schemas.StreamScoring); err != nil {
		return nil, err
	}
	s.ResultsWaiting = max(byName[schemas.StreamScoring].Messages, s.ResultsInFlight) - s.ResultsInFlight
	s.DeadLetters = byName[schemas.StreamDead].Messages
	s.Workers, err = a.liveWorkers(ctx)
	return s, err
}

// inFlight counts what was delivered from a work queue and not acknowledged.
func (a *Admin) inFlight(ctx context.Context, stream string) (n uint64, err error) {
	handle, err := a.link.JS.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("status of stream %s on %s: %w", stream, a.link.Where(), err)
	}
	list := handle.ListConsumers(ctx)
	for info := range list.Info() {
		n += uint64(max(info.NumAckPending, 0))
	}
	if err := list.Err(); err != nil {
		return 0, fmt.Errorf("status of the consumers of %s on %s: %w", stream, a.link.Where(), err)
	}
	return n, nil
}

// workersAnswer is how long workers have to answer.
const workersAnswer = 250 * time.Millisecond

// liveWorkers asks all workers and returns those that answer within workersAnswer.
func (a *Admin) liveWorkers(ctx context.Context) ([]bus.Worker, error) {
	inbox := a.link.NC.NewInbox()
	sub, err := a.link.NC.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := a.link.NC.PublishRequest(bus.PingSubject, inbox, nil); err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, workersAnswer)
	defer cancel()
	var live []bus.Worker
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil { // the time is over, or nobody listens
			slices.SortFunc(live, func(a, b bus.Worker) int { return strings.Compare(a.ID, b.ID) })
			return live, nil
		}
		var w bus.Worker
		if json.Unmarshal(m.Data, &w) == nil && w.ID != "" {
			live = append(live, w)
		}
	}
}
