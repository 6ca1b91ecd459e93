package bus

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"stegomq/schemas"
)

// JobSource gives a worker its jobs.
type JobSource struct {
	bus    *Bus
	worker string
}

// JobSource returns the source of jobs for a worker. The id must differ from that of every other
// worker; two with one id share its partitions, which is harmless but slow. It returns ErrBadWorker.
func (b *Bus) JobSource(worker string) (*JobSource, error) {
	if !workerForm.MatchString(worker) {
		return nil, fmt.Errorf("%w, got %q", ErrBadWorker, worker)
	}
	return &JobSource{bus: b, worker: worker}, nil
}

// Consume runs handle for jobs, slots at once, until ctx is cancelled or the bus is closed; then it
// stops as the package's comment says and returns nil, or ErrStuck when handlers do not return. How a
// job is settled follows from what handle returns:
//
//   - nil: acknowledged;
//   - a *schemas.Fault: dead letter with its reason;
//   - any other error, or a panic: tried again after a delay, in the end a dead letter with reason
//     retries_exhausted;
//   - any other error after a hard stop: back to the queue.
//
// The context of handle survives the cancellation of ctx by Config.Grace. The server's absence does not
// end Consume.
func (s *JobSource) Consume(ctx context.Context, slots int, handle func(ctx context.Context, job *schemas.Job) error) error {
	b := s.bus
	done, ok := b.enter()
	if !ok {
		return ErrClosed
	}
	defer done()
	ctx, cancel := b.bound(ctx)
	defer cancel()
	if slots < 1 {
		return fmt.Errorf("consume jobs: slots must be at least 1, got %d", slots)
	}

	settler := b.newSettler(decoding(schemas.DecodeJob, handle))
	settler.maxDeliver = uint64(or(b.cfg.MaxDeliver, defaultMaxDeliver))
	if err := b.adoptWorkers(ctx, settler); err != nil && ctx.Err() == nil {
		b.log.Warn("settings of the consumers are not known, assuming the configured ones", "err", err)
	}
	pull, err := newPuller(b.nc)
	if err != nil {
		return fmt.Errorf("consume jobs: %w", err)
	}
	d := &dispatcher{
		bus: b, pull: pull, settler: settler,
		members: newMembers(b, Worker{ID: s.worker, Slots: slots, Started: time.Now().UTC()}),
		free:    make(chan struct{}, slots), call: make(chan struct{}, 1), help: make(chan struct{}, 1),
	}
	for range slots {
		d.free <- struct{}{}
	}
	waker, err := b.nc.Subscribe(wakeFilter, d.woke)
	if err != nil {
		pull.close()
		return fmt.Errorf("consume jobs: %w", err)
	}
	var side sync.WaitGroup
	side.Go(func() { d.members.run(ctx) })
	side.Go(func() { b.reap(ctx) })

	d.run(ctx)

	_ = waker.Unsubscribe()
	pull.close()
	side.Wait()
	return settler.finish()
}

// dispatcher hands messages to free slots. One goroutine (run) decides; woke and the handlers only
// leave it word.
type dispatcher struct {
	bus     *Bus
	pull    *puller
	settler *settler
	members *members

	free  chan struct{} // a token per free slot
	call  chan struct{} // word that an own partition has work
	help  chan struct{} // word that another's partition has work
	woken atomic.Uint64 // partitions with a wake that was not followed yet

	late    partitionSet // to be asked by the sweep
	backlog partitionSet // had more pending when a job came from them
	recheck partitionSet // asked because of a wake; to be asked again at recheckAt
	helping bool         // wakes of others' partitions are to be followed now
	cursor  int

	recheckAt, helpAt time.Time // zero: not due
}

// helpAfter is how long a worker leaves a wake of another's partition to the owner. It also bounds how
// often idle workers ask for others' partitions: wakes within it are followed together.
const helpAfter = 20 * time.Millisecond

// recheckAfter is when a partition that was asked because of a wake is asked again. The server confirms
// a job to its publisher before it tells the consumer, so a pull that follows the wake at once may
// find nothing (4 of 1000 did), and the job would wait for the sweep.
const recheckAfter = 20 * time.Millisecond

// wakeFilter selects every wake; wakes are their partitions.
const wakeFilter = "wake.*"

var wakes = func() map[string]int {
	m := make(map[string]int, schemas.Partitions)
	for p := range schemas.Partitions {
		m[schemas.WakeSubject(p)] = p
	}
	return m
}()

func (d *dispatcher) woke(m *nats.Msg) {
	p, ok := wakes[m.Subject]
	if !ok {
		return
	}
	word := d.help
	if d.woken.Or(1 << p); d.members.owned.Load()&(1<<p) != 0 {
		word = d.call
	}
	select {
	case word <- struct{}{}:
	default:
	}
}

func (d *dispatcher) run(ctx context.Context) {
	sweep := time.NewTicker(d.bus.cfg.SweepEvery)
	defer sweep.Stop()
	d.sweep(ctx)
	for {
		select {
		case <-sweep.C:
			d.sweep(ctx)
		default:
		}
		n := d.take(ctx)
		if n == 0 {
			return
		}
		d.due()
		got, err := d.next(ctx, n)
		for range n - len(got) {
			d.free <- struct{}{}
		}
		for _, m := range got {
			d.settler.start(m, func() { d.free <- struct{}{} })
		}
		if err != nil && ctx.Err() == nil {
			d.bus.log.Debug("pull", "err", err)
			pause(ctx, 100*time.Millisecond)
		}
		if ctx.Err() != nil {
			return
		}
		if len(got) == 0 && err == nil {
			d.idle(ctx, sweep.C)
		}
	}
}

// take waits for a free slot and takes all that are free. It returns 0 when ctx has ended.
func (d *dispatcher) take(ctx context.Context) int {
	select {
	case <-ctx.Done():
		return 0
	case <-d.free:
	}
	n := 1
	for ctx.Err() == nil {
		select {
		case <-d.free:
			n++
			continue
		default:
		}
		return n
	}
	return 0
}

// due follows the clock: partitions to be asked again, and others' wakes that the owners left.
func (d *dispatcher) due() {
	now := time.Now()
	if !d.recheckAt.IsZero() && !now.Before(d.recheckAt) {
		d.late |= d.recheck & d.members.owned.Load()
		d.recheck, d.recheckAt = 0, time.Time{}
	}
	if !d.helpAt.IsZero() && !now.Before(d.helpAt) {
		d.helping, d.helpAt = true, time.Time{}
	}
}

// idle waits for word of work.
func (d *dispatcher) idle(ctx context.Context, sweep <-chan time.Time) {
	if d.helpAt.IsZero() && d.woken.Load()&^d.members.owned.Load() != 0 {
		d.helpAt = time.Now().Add(helpAfter)
	}
	for {
		next := d.recheckAt
		if next.IsZero() || !d.helpAt.IsZero() && d.helpAt.Before(next) {
			next = d.helpAt
		}
		var clock <-chan time.Time
		if !next.IsZero() {
			clock = time.After(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return
		case <-d.call:
			return
		case <-clock:
			return
		case <-sweep:
			d.sweep(ctx)
			if d.late != 0 {
				return
			}
		case <-d.help:
			if d.helpAt.IsZero() {
				d.helpAt = time.Now().Add(helpAfter)
			}
		}
	}
}

// fewSubjects is how many subjects of waiting jobs a sweep asks the server to name.
const fewSubjects = 256

// sweep marks the partitions that hold jobs, or with very many keys in the queue all of them.
func (d *dispatcher) sweep(ctx context.Context) {
	d.late = allPartitions
	err := d.bus.request(ctx, func(ctx context.Context) error {
		stream, err := d.bus.js.Stream(ctx, schemas.StreamJobs)
		if err != nil || stream.CachedInfo().State.NumSubjects > fewSubjects {
			return err
		}
		var held partitionSet
		if stream.CachedInfo().State.Msgs > 0 {
			info, err := stream.Info(ctx, jetstream.WithSubjectFilter(schemas.JobsFilter()))
			if err != nil {
				return err
			}
			for subject := range info.State.Subjects {
				held |= partitionOf(subject)
			}
		}
		d.late = held
		return nil
	})
	if err != nil && ctx.Err() == nil {
		d.bus.log.Debug("state of the queue", "err", err)
	}
}

// partitionOf is the set of the one partition of a job's subject, job.<operation>.<pp>.<key id>.
func partitionOf(subject string) partitionSet {
	tokens := strings.Split(subject, ".")
	if len(tokens) < 3 {
		return 0
	}
	p, err := strconv.ParseUint(tokens[2], 10, 8)
	if err != nil || p >= schemas.Partitions {
		return 0
	}
	return 1 << p
}

// next pulls for n free slots from the partitions worth asking until one has something: own ones first,
// then others' that are late, then others' with a backlog.
func (d *dispatcher) next(ctx context.Context, n int) ([]*nats.Msg, error) {
	for ctx.Err() == nil {
		own := d.members.owned.Load()
		woken := d.woken.Load()
		batch, minPending := n, 0
		set := (woken | d.late | d.backlog) & own
		if set == 0 {
			batch, set = 1, d.late&^own
		}
		if set == 0 {
			minPending, set = d.bus.cfg.HelpFrom, d.backlog&^own
			if d.helping {
				set |= woken &^ own
			}
		}
		if set == 0 {
			d.helping = false
			return nil, nil
		}
		p := d.turn(set)
		if woken&own&(1<<p) != 0 {
			d.recheck |= 1 << p
			d.recheckAt = time.Now().Add(recheckAfter)
		}
		// Cleared before the pull: a wake that comes during it must not get lost.
		d.woken.And(^partitionSet(1 << p))
		d.late &^= 1 << p
		d.backlog &^= 1 << p
		got, err := d.ask(ctx, p, batch, minPending)
		if err != nil {
			d.late |= 1 << p // nobody knows what is there
		}
		if len(got) > 0 {
			if meta, err := got[len(got)-1].Metadata(); err == nil && meta.NumPending > 0 {
				d.backlog |= 1 << p
			}
		}
		if len(got) > 0 || err != nil {
			return got, err
		}
	}
	return nil, nil
}

// turn chooses from set in a circle, so that no partition waits for ever behind a busy one.
func (d *dispatcher) turn(set partitionSet) int {
	p := (bits.TrailingZeros64(bits.RotateLeft64(set, -d.cursor)) + d.cursor) % schemas.Partitions
	d.cursor = (p + 1) % schemas.Partitions
	return p
}

// ask pulls from one partition, creating its consumer when it is missing.
func (d *dispatcher) ask(ctx context.Context, partition, batch, minPending int) ([]*nats.Msg, error) {
	r := pullRequest{Batch: batch, NoWait: true, Group: priorityGroup, MinPending: minPending}
	name := schemas.WorkerConsumer(partition)
	d.bus.stats.pulls.Add(1)
	got, err := d.pull.pull(ctx, schemas.StreamJobs, name, r)
	if errors.Is(err, errNoConsumer) {
		err = d.bus.request(ctx, func(ctx context.Context) error {
			_, err := d.bus.js.CreateConsumer(ctx, schemas.StreamJobs, d.settler.workerConfig(partition))
			return err
		})
		if err != nil && !errors.Is(err, jetstream.ErrConsumerExists) {
			return nil, fmt.Errorf("create consumer %s: %w", name, err)
		}
		got, err = d.pull.pull(ctx, schemas.StreamJobs, name, r)
	}
	if len(got) == 0 {
		d.bus.stats.emptyPulls.Add(1)
	}
	return got, err
}

// workerConfig is the consumer of a partition as it is created.
func (s *settler) workerConfig(partition int) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:        schemas.WorkerConsumer(partition),
		FilterSubject:  schemas.PartitionFilter(partition),
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        s.ackWait,
		MaxDeliver:     int(s.maxDeliver),
		MaxAckPending:  -1, // delayed retries count as pending and must not stop a partition
		PriorityPolicy: jetstream.PriorityPolicyOverflow,
		PriorityGroups: []string{priorityGroup},
	}
}

// adoptWorkers learns the settings of the consumers that exist, after changing those that were given
// explicitly. One request lists them all.
func (b *Bus) adoptWorkers(ctx context.Context, s *settler) error {
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	list := b.jobs.ListConsumers(ctx)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for info := range list.Info() {
		cfg := info.Config
		if want, changed := b.explicit(cfg, true); changed {
			cfg = want
			group.Go(func() error {
				_, err := b.js.UpdateConsumer(gctx, schemas.StreamJobs, want)
				return err
			})
		}
		s.adopt(cfg)
	}
	return errors.Join(list.Err(), group.Wait())
}

// explicit applies the settings that were given to a stored configuration. Deliveries are limited or not
// by the kind of consumer.
func (b *Bus) explicit(cfg jetstream.ConsumerConfig, limited bool) (_ jetstream.ConsumerConfig, changed bool) {
	if want := b.cfg.AckWait; want != 0 && cfg.AckWait != want {
		cfg.AckWait, changed = want, true
	}
	if want := b.cfg.MaxDeliver; limited && want != 0 && cfg.MaxDeliver != want {
		cfg.MaxDeliver, changed = want, true
	}
	return cfg, changed
}

// adopt takes over the stored settings of a consumer. Consumers of one stream differ only while they are
// being changed; then the shorter wait and the fewer tries are safe.
func (s *settler) adopt(cfg jetstream.ConsumerConfig) {
	tries := uint64(max(cfg.MaxDeliver, 0))
	if s.adopted {
		s.ackWait, s.maxDeliver = min(s.ackWait, cfg.AckWait), min(s.maxDeliver, tries)
		return
	}
	s.ackWait, s.maxDeliver, s.adopted = cfg.AckWait, tries, true
}
