package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stegomq/schemas"
)

// lane is a consumer of jobs: of one class and one model, and of one run where a command has the server for itself.
type lane struct {
	class schemas.Class
	model string
	run   string // "": of every run
}

func (l lane) stream() string { return schemas.JobStream(l.class) }

// consumer is the durable name: the model's digest, with the run where there is one.
func (l lane) consumer() string {
	if l.run == "" {
		return l.model
	}
	return l.model + "-" + l.run
}

func (l lane) filter() string {
	if l.run == "" {
		return schemas.ModelFilter(l.class, l.model)
	}
	return schemas.RunFilter(l.class, l.model, l.run)
}

// laneLifetime is how long a consumer that nobody asks stays. Its jobs stay: a worker that finds them makes it again.
const laneLifetime = 24 * time.Hour

// ensureLane makes sure of a lane's consumer.
func (b *Bus) ensureLane(ctx context.Context, l lane) error {
	return b.ensureConsumer(ctx, l.stream(), jetstream.ConsumerConfig{
		Durable: l.consumer(), FilterSubject: l.filter(), InactiveThreshold: laneLifetime,
	})
}

// ensureConsumer creates a durable consumer where it is missing, with what all consumers have in common, or changes what was asked for
// explicitly.
func (b *Bus) ensureConsumer(ctx context.Context, stream string, fresh jetstream.ConsumerConfig) error {
	fresh.AckPolicy, fresh.AckWait = jetstream.AckExplicitPolicy, or(b.cfg.AckWait, defaultAckWait)
	fresh.MaxDeliver, fresh.MaxAckPending = -1, -1 // tries are counted elsewhere, and delayed ones must not stop the others
	return b.request(ctx, func(ctx context.Context) error {
		c, err := b.js.Consumer(ctx, stream, fresh.Durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			_, err = b.js.CreateOrUpdateConsumer(ctx, stream, fresh)
		} else if err == nil {
			stored := c.CachedInfo().Config
			b.adopt(stored.AckWait)
			if b.cfg.AckWait != 0 && stored.AckWait != b.cfg.AckWait {
				stored.AckWait = b.cfg.AckWait
				_, err = b.js.UpdateConsumer(ctx, stream, stored)
			}
		}
		if err != nil {
			return fmt.Errorf("consumer %s of %s: %w", fresh.Durable, stream, err)
		}
		return nil
	})
}

// adopt takes over the wait for acknowledgements that a consumer has stored. Where they differ, as they do only while they are being
// changed, the shorter one is safe.
func (b *Bus) adopt(wait time.Duration) {
	for {
		have := b.ackWait.Load()
		if wait <= 0 || have != 0 && have <= int64(wait) || b.ackWait.CompareAndSwap(have, int64(wait)) {
			return
		}
	}
}

// beat is how often a handler gives a sign of life.
func (b *Bus) beat() time.Duration {
	return max(or(time.Duration(b.ackWait.Load()), or(b.cfg.AckWait, defaultAckWait))/3, time.Millisecond)
}

// EnsureQueue makes sure that the jobs of a class for a model have a consumer, as publishing one does.
func (b *Bus) EnsureQueue(ctx context.Context, c schemas.Class, model string) error {
	return b.ensureLane(ctx, lane{class: c, model: model})
}

// knownLanes are those that this process has published for.
type knownLanes struct {
	mu  sync.Mutex
	all map[lane]time.Time
}

// publishable makes sure of the consumer of a job, now and then. A tenant has no right to: his grant has made it. An exclusive worker
// makes those of its run itself.
func (b *Bus) publishable(ctx context.Context, job *schemas.Job) error {
	if b.cfg.Tenant != "" || b.cfg.Exclusive {
		return nil
	}
	l := lane{class: schemas.JobClass(job), model: job.GetModel()}
	b.known.mu.Lock()
	fresh := time.Since(b.known.all[l]) < laneLifetime/4
	b.known.mu.Unlock()
	if fresh {
		return nil
	}
	if err := b.ensureLane(ctx, l); err != nil {
		return err
	}
	b.known.mu.Lock()
	b.known.all[l] = time.Now()
	b.known.mu.Unlock()
	return nil
}

// lanes keeps a worker's view of the consumers that it may pull from.
type lanes struct {
	bus *Bus
	JobOptions

	mu      sync.Mutex
	current map[schemas.Class][]lane
	changed chan struct{} // word that there are others
	lost    atomic.Bool   // a consumer is gone: its jobs may have none

	turn map[schemas.Class]int // who is asked first; of the dispatcher alone
}

func newLanes(b *Bus, o JobOptions) *lanes {
	return &lanes{
		bus: b, JobOptions: o, current: make(map[schemas.Class][]lane), changed: make(chan struct{}, 1), turn: make(map[schemas.Class]int),
	}
}

// of lists the lanes of a class, in a circle, so that no model waits behind a busy one.
func (l *lanes) of(c schemas.Class) []lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.current[c]
	if len(list) < 2 {
		return list
	}
	at := l.turn[c] % len(list)
	l.turn[c] = at + 1
	return slices.Concat(list[at:], list[:at])
}

func (l *lanes) all() []lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []lane
	for _, c := range schemas.Classes() {
		list = append(list, l.current[c]...)
	}
	return list
}

// lookEvery is how often a worker looks for consumers that it has no word of.
const lookEvery = time.Second

// watch looks for consumers until ctx ends: at once, every lookEvery, and when the server says that one was made.
func (l *lanes) watch(ctx context.Context) {
	if l.Run != "" {
		l.exclusive(ctx)
		return
	}
	word := make(chan *nats.Msg, 16)
	if sub, err := l.bus.nc.ChanSubscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED.>", word); err == nil {
		defer func() { _ = sub.Unsubscribe() }()
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		if err := l.look(ctx, n%30 == 0 || l.lost.Swap(false)); err != nil && ctx.Err() == nil {
			l.bus.log.Debug("look for consumers", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-word:
		}
	}
}

// look lists the consumers. With orphans it also makes those of waiting jobs that have none.
func (l *lanes) look(ctx context.Context, orphans bool) error {
	found := make(map[schemas.Class][]lane)
	for _, c := range schemas.Classes() {
		stream, err := l.bus.js.Stream(ctx, schemas.JobStream(c))
		if err != nil {
			return err
		}
		list := stream.ListConsumers(ctx)
		for info := range list.Info() {
			if name := info.Name; schemas.ValidDigest(name) && l.Serves(name) {
				found[c] = append(found[c], lane{class: c, model: name})
				l.bus.adopt(info.Config.AckWait)
			}
		}
		if err := list.Err(); err != nil {
			return err
		}
		if orphans && stream.CachedInfo().State.Msgs > 0 {
			if err := l.bus.purgeAcknowledged(ctx, stream); err != nil {
				return err
			}
			more, err := l.orphans(ctx, stream, c, found[c])
			if err != nil {
				return err
			}
			found[c] = append(found[c], more...)
		}
	}
	if err := l.complete(ctx, found); err != nil {
		return err
	}
	l.set(found)
	return nil
}

// complete makes the lanes of every class for a model that has one: the first job of a class must not wait for the next look.
func (l *lanes) complete(ctx context.Context, found map[schemas.Class][]lane) error {
	models := make(map[string]bool)
	for _, list := range found {
		for _, have := range list {
			models[have.model] = true
		}
	}
	for _, c := range schemas.Classes() {
		for model := range models {
			next := lane{class: c, model: model}
			if slices.Contains(found[c], next) {
				continue
			}
			if err := l.bus.ensureLane(ctx, next); err != nil {
				return err
			}
			found[c] = append(found[c], next)
		}
		slices.SortFunc(found[c], func(a, b lane) int { return strings.Compare(a.model, b.model) })
	}
	return nil
}

// orphans makes the lanes of jobs that nobody reads, of models that this worker serves. What no lane can have, as no job has such a
// subject, becomes a dead letter.
func (l *lanes) orphans(ctx context.Context, stream jetstream.Stream, c schemas.Class, have []lane) ([]lane, error) {
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(schemas.ClassFilter(c)))
	if err != nil {
		return nil, err
	}
	var made []lane
	for subject := range info.State.Subjects {
		next := lane{class: c, model: schemas.SubjectModel(subject)}
		if next.model == "" {
			if err := l.bus.buryForeign(ctx, stream, subject); err != nil {
				return made, err
			}
			continue
		}
		if !l.Serves(next.model) || slices.Contains(have, next) || slices.Contains(made, next) {
			continue
		}
		if err := l.bus.ensureLane(ctx, next); err != nil {
			return made, err
		}
		made = append(made, next)
	}
	return made, nil
}

func (l *lanes) set(found map[schemas.Class][]lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	same := true
	for _, c := range schemas.Classes() {
		same = same && slices.Equal(found[c], l.current[c])
	}
	if same {
		return
	}
	l.current = found
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// forget drops a lane whose consumer is gone; a look finds it again.
func (l *lanes) forget(gone lane) {
	l.lost.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current[gone.class] = slices.DeleteFunc(slices.Clone(l.current[gone.class]), func(have lane) bool { return have == gone })
}

// exclusive takes the jobs of one run alone. Open has deleted the consumers that take every run's, which must not overlap.
func (l *lanes) exclusive(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		err := l.claim(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		l.bus.log.Warn("the consumers of the run are not made yet, trying again", "run", l.Run, "err", err)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func (l *lanes) claim(ctx context.Context) error {
	found := make(map[schemas.Class][]lane)
	for _, c := range schemas.Classes() {
		mine := lane{class: c, model: l.Model, run: l.Run}
		if err := l.bus.ensureLane(ctx, mine); err != nil {
			return err
		}
		found[c] = []lane{mine}
	}
	l.set(found)
	return nil
}

// dropLanes deletes the consumers of jobs that would stand in the way: for an exclusive worker all, for others those of runs.
func (b *Bus) dropLanes(ctx context.Context) error {
	for _, c := range schemas.Classes() {
		stream, err := b.js.Stream(ctx, schemas.JobStream(c))
		if err != nil {
			return err
		}
		names := stream.ConsumerNames(ctx)
		for name := range names.Name() {
			if !b.cfg.Exclusive && schemas.ValidDigest(name) {
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
