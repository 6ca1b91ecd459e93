package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/zeebo/xxh3"

	"stegomq/schemas"
)

// Worker is a live worker, as its heartbeat tells.
type Worker struct {
	ID      string    `json:"id"`
	Slots   int       `json:"slots"`
	Started time.Time `json:"started"`
}

var workerForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// A partitionSet has bit p set for partition p.
type partitionSet = uint64

const allPartitions partitionSet = 1<<schemas.Partitions - 1

// owned is the set of partitions that rendezvous hashing gives to self among the live workers: those for which
// self has the highest hash. When a worker comes or goes only its own partitions change hands.
func owned(self string, live []string) partitionSet {
	var set partitionSet
	for p := range schemas.Partitions {
		mine, wins := rank(self, p), true
		for _, other := range live {
			if other == self {
				continue
			}
			if r := rank(other, p); r > mine || r == mine && other > self {
				wins = false
				break
			}
		}
		if wins {
			set |= 1 << p
		}
	}
	return set
}

func rank(worker string, partition int) uint64 {
	return xxh3.HashString(fmt.Sprintf("%s/%02d", worker, partition))
}

// members keeps a worker's heartbeat and its view of the others.
type members struct {
	bus   *Bus
	self  Worker
	owned atomic.Uint64
	seen  map[string]time.Time // by this process's clock: clocks of other machines are not trusted
}

func newMembers(b *Bus, self Worker) *members {
	m := &members{bus: b, self: self, seen: make(map[string]time.Time)}
	m.owned.Store(allPartitions) // until others are seen: wrong ownership does no harm
	return m
}

// run beats until ctx ends, then deletes the heartbeat so that others take over at once.
func (m *members) run(ctx context.Context) {
	var watch jetstream.KeyWatcher
	var updates <-chan jetstream.KeyValueEntry
	beat := time.NewTicker(m.bus.cfg.BeatEvery)
	defer beat.Stop()
	for m.beat(ctx); ctx.Err() == nil; {
		if watch == nil {
			if w, err := m.bus.workers.WatchAll(ctx); err == nil {
				watch, updates = w, w.Updates()
			} // otherwise again after the next beat
		}
		select {
		case <-ctx.Done():
		case <-beat.C:
			m.beat(ctx)
			m.recompute()
		case e, ok := <-updates:
			if !ok {
				watch, updates = nil, nil
				continue
			}
			m.note(e)
		}
	}
	if watch != nil {
		_ = watch.Stop()
	}
	if !m.bus.nc.IsConnected() {
		return // the heartbeat ends by itself
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = m.bus.workers.Delete(ctx, m.self.ID)
}

func (m *members) beat(ctx context.Context) {
	data, err := json.Marshal(m.self)
	if err != nil {
		return
	}
	err = m.bus.request(ctx, func(ctx context.Context) error {
		_, err := m.bus.workers.Put(ctx, m.self.ID, data)
		return err
	})
	if err != nil && ctx.Err() == nil {
		m.bus.log.Debug("heartbeat not stored", "err", err)
	}
}

func (m *members) note(e jetstream.KeyValueEntry) {
	if e == nil { // the end of what was there before
		m.recompute()
		return
	}
	_, known := m.seen[e.Key()]
	if e.Operation() == jetstream.KeyValuePut {
		m.seen[e.Key()] = time.Now()
		if !known {
			m.recompute()
		}
	} else if known {
		delete(m.seen, e.Key())
		m.recompute()
	}
}

func (m *members) recompute() {
	live := make([]string, 0, len(m.seen))
	for id, at := range m.seen {
		if time.Since(at) > m.bus.workerLifetime {
			delete(m.seen, id)
			continue
		}
		live = append(live, id)
	}
	set := owned(m.self.ID, live)
	if m.owned.Swap(set) != set {
		m.bus.log.Debug("partitions changed hands", "worker", m.self.ID, "live", len(live))
	}
}
