package bus

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stegomq/internal/streams"
	"stegomq/schemas"
)

// lanes keeps a worker's view of the consumers that it may pull from.
type lanes struct {
	bus *Bus
	JobOptions

	mu      sync.Mutex
	current map[schemas.Class][]streams.Lane
	changed chan struct{} // signals that the lanes have changed
	lost    atomic.Bool   // a consumer is gone: its jobs may have no consumer

	turn map[schemas.Class]int // which lane is asked first; the dispatcher's goroutine owns it
}

func newLanes(b *Bus, o JobOptions) *lanes {
	return &lanes{
		bus: b, JobOptions: o, current: make(map[schemas.Class][]streams.Lane), changed: make(chan struct{}, 1), turn: make(map[schemas.Class]int),
	}
}

// of lists the lanes of a class, starting with another one each time, so that no model waits behind a busy one.
func (l *lanes) of(c schemas.Class) []streams.Lane {
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

func (l *lanes) all() []streams.Lane {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []streams.Lane
	for _, c := range schemas.Classes() {
		list = append(list, l.current[c]...)
	}
	return list
}

// lookEvery is how often a worker looks for consumers that no advisory announced.
const lookEvery = time.Second

// watch looks for consumers until ctx ends: at once, every lookEvery, and when the server says that one was made. A worker of one run only makes its own.
func (l *lanes) watch(ctx context.Context) {
	word := make(chan *nats.Msg, 16)
	if sub, err := l.bus.link.NC.ChanSubscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED.>", word); err == nil {
		defer func() { _ = sub.Unsubscribe() }()
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		if l.Run != "" {
			err := l.claim(ctx)
			if err == nil || ctx.Err() != nil {
				return
			}
			l.bus.log.Warn("the consumers of the run are not made yet, trying again", "run", l.Run, "err", err)
		} else if err := l.look(ctx, n%30 == 0 || l.lost.Swap(false)); err != nil && ctx.Err() == nil {
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
	found := make(map[schemas.Class][]streams.Lane)
	for _, c := range schemas.Classes() {
		stream, err := l.bus.link.JS.Stream(ctx, schemas.JobStream(c))
		if err != nil {
			return err
		}
		list := stream.ListConsumers(ctx)
		for info := range list.Info() {
			if name := info.Name; schemas.ValidDigest(name) && l.Serves(name) {
				found[c] = append(found[c], streams.Lane{Class: c, Model: name})
				l.bus.streams.Adopt(info.Config.AckWait)
			}
		}
		if err := list.Err(); err != nil {
			return err
		}
		if orphans && stream.CachedInfo().State.Msgs > 0 {
			if err := streams.PurgeAcknowledged(ctx, stream); err != nil {
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
func (l *lanes) complete(ctx context.Context, found map[schemas.Class][]streams.Lane) error {
	models := make(map[string]bool)
	for _, list := range found {
		for _, have := range list {
			models[have.Model] = true
		}
	}
	for _, c := range schemas.Classes() {
		for model := range models {
			next := streams.Lane{Class: c, Model: model}
			if slices.Contains(found[c], next) {
				continue
			}
			if err := l.bus.streams.EnsureLane(ctx, next); err != nil {
				return err
			}
			found[c] = append(found[c], next)
		}
		slices.SortFunc(found[c], func(a, b streams.Lane) int { return strings.Compare(a.Model, b.Model) })
	}
	return nil
}

// orphans makes lanes for waiting jobs without one, of models that this worker serves. A message with a subject that no job has, and so no
// lane, becomes a dead letter.
func (l *lanes) orphans(ctx context.Context, stream jetstream.Stream, c schemas.Class, have []streams.Lane) ([]streams.Lane, error) {
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(schemas.ClassFilter(c)))
	if err != nil {
		return nil, err
	}
	var made []streams.Lane
	for subject := range info.State.Subjects {
		next := streams.Lane{Class: c, Model: schemas.SubjectModel(subject)}
		if next.Model == "" {
			if err := l.bus.buryForeign(ctx, stream, subject); err != nil {
				return made, err
			}
			continue
		}
		if !l.Serves(next.Model) || slices.Contains(have, next) || slices.Contains(made, next) {
			continue
		}
		if err := l.bus.streams.EnsureLane(ctx, next); err != nil {
			return made, err
		}
		made = append(made, next)
	}
	return made, nil
}

func (l *lanes) set(found map[schemas.Class][]streams.Lane) {
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
func (l *lanes) forget(gone streams.Lane) {
	l.lost.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current[gone.Class] = slices.DeleteFunc(slices.Clone(l.current[gone.Class]), func(have streams.Lane) bool { return have == gone })
}

// claim makes the lanes of one run. Open has deleted the consumers of all runs, because filters must not overlap.
func (l *lanes) claim(ctx context.Context) error {
	found := make(map[schemas.Class][]streams.Lane)
	for _, c := range schemas.Classes() {
		mine := streams.Lane{Class: c, Model: l.Model, Run: l.Run}
		if err := l.bus.streams.EnsureLane(ctx, mine); err != nil {
			return err
		}
		found[c] = []streams.Lane{mine}
	}
	l.set(found)
	return nil
}
