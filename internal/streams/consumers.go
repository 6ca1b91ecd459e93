package streams

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/schemas"
)

// Lane is a consumer of jobs of one class and one model, and of one run if a command has the server for itself.
type Lane struct {
	Class schemas.Class
	Model string
	Run   string // "": of every run
}

// Stream is where the lane's jobs wait.
func (l Lane) Stream() string { return schemas.JobStream(l.Class) }

// Consumer is the durable name: the model's digest, with the run where there is one.
func (l Lane) Consumer() string {
	if l.Run == "" {
		return l.Model
	}
	return l.Model + "-" + l.Run
}

func (l Lane) filter() string {
	if l.Run == "" {
		return schemas.ModelFilter(l.Class, l.Model)
	}
	return schemas.RunFilter(l.Class, l.Model, l.Run)
}

// laneLifetime is how long an unused consumer stays. Its jobs stay: a worker that finds them makes the consumer again.
const laneLifetime = 24 * time.Hour

// EnsureLane makes sure that a lane's consumer exists.
func (s *Streams) EnsureLane(ctx context.Context, l Lane) error {
	return s.EnsureConsumer(ctx, l.Stream(), jetstream.ConsumerConfig{
		Durable: l.Consumer(), FilterSubject: l.filter(), InactiveThreshold: laneLifetime,
	})
}

// EnsureConsumer creates a missing durable consumer with the common settings of all consumers, or changes the settings asked for explicitly.
func (s *Streams) EnsureConsumer(ctx context.Context, stream string, fresh jetstream.ConsumerConfig) error {
	fresh.AckPolicy, fresh.AckWait = jetstream.AckExplicitPolicy, cmp.Or(s.cfg.AckWait, defaultAckWait)
	fresh.MaxDeliver, fresh.MaxAckPending = -1, -1 // tries are counted elsewhere, and delayed ones must not stop the others
	return s.Link.Request(ctx, func(ctx context.Context) error {
		c, err := s.Link.JS.Consumer(ctx, stream, fresh.Durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			_, err = s.Link.JS.CreateOrUpdateConsumer(ctx, stream, fresh)
		} else if err == nil {
			stored := c.CachedInfo().Config
			s.Adopt(stored.AckWait)
			if s.cfg.AckWait != 0 && stored.AckWait != s.cfg.AckWait {
				stored.AckWait = s.cfg.AckWait
				_, err = s.Link.JS.UpdateConsumer(ctx, stream, stored)
			}
		}
		if err != nil {
			return fmt.Errorf("consumer %s of %s: %w", fresh.Durable, stream, err)
		}
		return nil
	})
}

// Adopt takes over the wait for acknowledgements that a consumer has stored. Consumers differ only while the wait is being changed; then the
// shorter one is safe.
func (s *Streams) Adopt(wait time.Duration) {
	for {
		have := s.ackWait.Load()
		if wait <= 0 || have != 0 && have <= int64(wait) || s.ackWait.CompareAndSwap(have, int64(wait)) {
			return
		}
	}
}

// Beat is the interval of signs of life while a message is being handled: a third of the wait for acknowledgements.
func (s *Streams) Beat() time.Duration {
	return max(cmp.Or(time.Duration(s.ackWait.Load()), s.cfg.AckWait, defaultAckWait)/3, time.Millisecond)
}

// Publishable makes sure, now and then, that published jobs have a consumer. A tenant has no right to make it: the grant has made it. An
// exclusive worker makes the consumers of its run itself.
func (s *Streams) Publishable(ctx context.Context, l Lane) error {
	if s.Link.Tenant() != "" || s.cfg.Exclusive {
		return nil
	}
	if sure, ok := s.known.Load(l); ok && time.Since(sure.(time.Time)) < laneLifetime/4 {
		return nil
	}
	if err := s.EnsureLane(ctx, l); err != nil {
		return err
	}
	s.known.Store(l, time.Now())
	return nil
}

// dropLanes deletes the consumers of jobs whose filters would overlap: for an exclusive worker all, for others those of runs.
func (s *Streams) dropLanes(ctx context.Context) error {
	for _, c := range schemas.Classes() {
		stream, err := s.Link.JS.Stream(ctx, schemas.JobStream(c))
		if err != nil {
			return err
		}
		names := stream.ConsumerNames(ctx)
		for name := range names.Name() {
			if !s.cfg.Exclusive && schemas.ValidDigest(name) {
				continue
			}
			if err := stream.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
				return err
			}
		}
		if err := names.Err(); err != nil {
			return err
		}
	}
	return nil
}

// PurgeAcknowledged removes acknowledged messages from a work queue. The server does so itself, except after it was killed: then it may come
// back with a message whose acknowledgement it remembers (nats-server 2.15.2). Nobody gets that message any more, and it stays for ever. If
// nothing in a queue waits or is being handled, all messages up to each consumer's last acknowledgement are such.
func PurgeAcknowledged(ctx context.Context, stream jetstream.Stream) error {
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
