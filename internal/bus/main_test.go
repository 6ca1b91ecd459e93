package bus

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stegomq/internal/link"
	"stegomq/internal/natsserver"
	"stegomq/internal/streams"
	"stegomq/internal/testrig/natsrig"
	"stegomq/schemas"
)

func TestMain(m *testing.M) { natsrig.Main(m) }

// settings are those of a bus and of the packages below it.
type settings struct {
	Link    link.Config
	Streams streams.Config
	Config
}

// quick are settings with which a message is tried again at once. AckWait is long: on a busy machine a message that is slow to be acknowledged must
// not come again where a test counts. A test in which somebody dies with a message in hand sets its own.
func quick(s *natsserver.Server) settings {
	return settings{
		Link:    link.Config{Server: s, Secret: natsrig.Secret},
		Streams: streams.Config{AckWait: natsrig.Patience / 3},
		Config:  Config{RetryDelays: []time.Duration{10 * time.Millisecond}, Grace: natsrig.Patience, HardWait: natsrig.Patience},
	}
}

func open(t testing.TB, cfg settings) *Bus {
	t.Helper()
	return New(natsrig.Streams(t, cfg.Link, cfg.Streams), cfg.Config)
}

func publishJobs(t testing.TB, b *Bus, jobs ...*schemas.Job) {
	t.Helper()
	for _, j := range jobs {
		if err := b.PublishJob(natsrig.Context(t), j); err != nil {
			t.Fatal(err)
		}
	}
}

// jobHandler is what JobSource.Consume calls.
type jobHandler = func(context.Context, *schemas.Job) error

func consumeJobs(t testing.TB, b *Bus, worker string, slots int, h jobHandler) *natsrig.Task {
	t.Helper()
	s, err := b.JobSource(JobOptions{Worker: worker})
	if err != nil {
		t.Fatal(err)
	}
	return natsrig.Background(t, func(ctx context.Context) error { return s.Consume(ctx, slots, h) })
}

func messages(t testing.TB, b *Bus, stream string) uint64 {
	t.Helper()
	return natsrig.Messages(t, b.link, stream)
}

func waitEmpty(t testing.TB, b *Bus, stream string) {
	t.Helper()
	natsrig.WaitEmpty(t, b.link, stream)
}

// laneInfo is what the server knows of the consumer of natsrig.Job.
func laneInfo(t testing.TB, b *Bus) *jetstream.ConsumerInfo {
	t.Helper()
	c, err := b.link.JS.Consumer(natsrig.Context(t), natsrig.Interactive, natsrig.SHA("model"))
	if err != nil {
		t.Fatal(err)
	}
	return c.CachedInfo()
}

// answers says whether a worker answers. Where none listens the server says so.
func answers(t testing.TB, b *Bus) bool {
	t.Helper()
	var err error
	natsrig.Eventually(t, "an answer, or word that nobody listens", func() bool {
		// A worker that leaves between the question and its answer gives neither.
		_, err = b.link.NC.Request(PingSubject, nil, time.Second)
		return err == nil || errors.Is(err, nats.ErrNoResponders)
	})
	return err == nil
}

// waitPending waits until the lane of a class has so many jobs to give. The server confirms a job before its lane knows of it.
func waitPending(t testing.TB, b *Bus, c schemas.Class, n uint64) {
	t.Helper()
	natsrig.Eventually(t, "the lane to know its jobs", func() bool {
		lane, err := b.link.JS.Consumer(natsrig.Context(t), schemas.JobStream(c), natsrig.SHA("model"))
		return err == nil && lane.CachedInfo().NumPending == n
	})
}

// oneDead waits for the only dead letter.
func oneDead(t testing.TB, b *Bus) *schemas.DeadLetter {
	t.Helper()
	natsrig.Eventually(t, "a dead letter", func() bool { return messages(t, b, schemas.StreamDead) > 0 })
	var list []*schemas.DeadLetter
	err := b.link.Scan(natsrig.Context(t), schemas.StreamDead, schemas.DeadFilter(), func(m *link.Stored) bool {
		letter, err := schemas.DecodeDeadLetter(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, letter)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 {
		t.Fatalf("%d dead letters, want 1: %v", len(list), list)
	}
	return list[0]
}
