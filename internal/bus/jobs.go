package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"stegomq/internal/link"
	"stegomq/internal/streams"
	"stegomq/internal/tracing"
	"stegomq/schemas"
)

// JobOptions say which jobs a worker takes.
type JobOptions struct {
	// Worker tells workers apart: 1 to 128 letters, digits, '_' and '-'.
	Worker string
	// Serves says whether the worker has a model, by its digest. Nil: every model.
	Serves func(model string) bool
	// Run and Model, on an exclusive bus: the jobs of that run with that model, and no others.
	Run, Model string
	// Gate is called while a server that handlers need is away (schemas.ErrAway): nothing is pulled until it returns nil. Nil: a
	// pause of one second.
	Gate func(ctx context.Context) error
	// Observer is told how long jobs take. Nil: nobody.
	Observer Observer
}

// JobSource gives a worker its jobs.
type JobSource struct {
	bus *Bus
	JobOptions
}

var workerForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// JobSource returns the source of jobs for a worker, or ErrBadWorker.
func (b *Bus) JobSource(o JobOptions) (*JobSource, error) {
	if !workerForm.MatchString(o.Worker) {
		return nil, fmt.Errorf("%w, got %q", ErrBadWorker, o.Worker)
	}
	if b.streams.Exclusive() && (o.Run == "" || o.Model == "") {
		return nil, errors.New("a worker on an exclusive bus takes the jobs of one run and one model: name both")
	}
	if o.Serves == nil {
		o.Serves = func(string) bool { return true }
	}
	return &JobSource{bus: b, JobOptions: o}, nil
}

// Consume runs handle for jobs, slots at once, until ctx is cancelled or the bus is closed; then it
// stops as the package's comment says and returns nil. The package's comment says how a job is settled.
//
// The context of handle has the job's tenant, and outlives ctx by Config.Grace. An unreachable server does not end Consume.
func (s *JobSource) Consume(ctx context.Context, slots int, handle func(ctx context.Context, job *schemas.Job) error) error {
	b := s.bus
	ctx, done, err := b.link.Begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if slots < 1 {
		return fmt.Errorf("consume jobs: slots must be at least 1, got %d", slots)
	}
	settler := b.newSettler(func(ctx context.Context, m *delivery) error {
		job, err := schemas.DecodeJob(m.Data)
		if err == nil && schemas.JobSubject(job) != m.Subject {
			err = fmt.Errorf("the job belongs to subject %s", schemas.JobSubject(job))
		}
		if err != nil {
			return schemas.Permanent(schemas.ReasonBadMessage, err)
		}
		tracing.Of(ctx).Job(job)
		return observed(ctx, s.Observer, m, job.GetOperation().Token(), schemas.JobClass(job), func() error {
			return handle(schemas.WithTenant(ctx, job.GetTenant()), job)
		})
	})
	settler.gate = s.Gate
	pull, err := newPuller(b.link.NC)
	if err != nil {
		return fmt.Errorf("consume jobs: %w", err)
	}
	d := &dispatcher{bus: b, pull: pull, settler: settler, lanes: newLanes(b, s.JobOptions), free: make(chan struct{}, slots)}
	for range slots {
		d.free <- struct{}{}
	}
	ping, err := b.answerPings(Worker{ID: s.Worker, Slots: slots, Started: time.Now().UTC()})
	if err != nil {
		pull.close()
		return fmt.Errorf("consume jobs: %w", err)
	}
	var side sync.WaitGroup
	side.Go(func() { d.lanes.watch(ctx) })
	d.run(ctx)
	_ = ping.Unsubscribe()
	pull.close()
	side.Wait()
	settler.finish()
	return nil
}

// dispatcher hands messages to free slots. One goroutine (run) decides.
type dispatcher struct {
	bus     *Bus
	pull    *puller
	settler *settler
	lanes   *lanes
	free    chan struct{} // a token per free slot
}

func (d *dispatcher) run(ctx context.Context) {
	for {
		n := d.take(ctx)
		if n == 0 {
			return
		}
		got, err := d.next(ctx, n)
		if len(got) == 0 && err == nil {
			got, err = d.wait(ctx, n)
		}
		for range n - len(got) {
			d.free <- struct{}{}
		}
		for _, m := range got {
			d.settler.start(m, func() { d.free <- struct{}{} })
		}
		if err != nil && ctx.Err() == nil {
			d.bus.log.Debug("pull", "err", err)
			link.Pause(ctx, 100*time.Millisecond)
		}
	}
}

// take waits for a free slot and for the servers that handlers need, and takes all free slots. It returns 0 when ctx has ended.
func (d *dispatcher) take(ctx context.Context) int {
	select {
	case <-ctx.Done():
		return 0
	case <-d.free:
	}
	if !d.settler.open(ctx) {
		return 0
	}
	n := 1
	for ; len(d.free) > 0; n++ {
		<-d.free // nobody else takes them
	}
	return n
}

// next pulls messages for n free slots from the first class that has any.
func (d *dispatcher) next(ctx context.Context, n int) ([]*nats.Msg, error) {
	for _, class := range schemas.Classes() {
		for _, l := range d.lanes.of(class) {
			got, err := d.ask(ctx, l, n)
			if len(got) > 0 || err != nil {
				return got, err
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	return nil, nil
}

func (d *dispatcher) ask(ctx context.Context, l streams.Lane, n int) ([]*nats.Msg, error) {
	got, err := d.pull.pull(ctx, l.Stream(), l.Consumer(), pullRequest{Batch: n, NoWait: true})
	if errors.Is(err, errNoConsumer) {
		d.lanes.forget(l)
		return got, nil
	}
	return got, err
}

// wait has one pull wait at each lane and returns the first messages: at most n, those of the first classes. The others go back.
func (d *dispatcher) wait(ctx context.Context, n int) ([]*nats.Msg, error) {
	list := d.lanes.all()
	if len(list) == 0 {
		select {
		case <-ctx.Done():
		case <-d.lanes.changed:
		case <-time.After(waitPull):
		}
		return nil, nil
	}
	if !d.bus.link.NC.IsConnected() {
		return nil, nats.ErrConnectionReconnecting
	}
	inbox := d.bus.link.NC.NewInbox()
	arrived := make(chan *nats.Msg, 4*len(list))
	sub, err := d.bus.link.NC.ChanSubscribe(inbox+".*", arrived)
	if err != nil {
		return nil, err
	}
	for i, l := range list {
		if err = requestPull(d.bus.link.NC, l.Stream(), l.Consumer(), inbox+"."+strconv.Itoa(i), pullRequest{Batch: 1, Expires: waitPull}); err != nil {
			break
		}
	}
	var got []*nats.Msg
	if err == nil {
		got = d.first(ctx, list, arrived)
	}
	// The server removes waiting pulls when nobody listens any more, and answers the flush after all messages that it had sent. Until then
	// the client must listen: a subscription that is ended at once drops messages, which the server gives to nobody else for AckWait.
	_ = sub.Drain()
	flush(d.bus.link.NC) // without an answer, what has come is taken
	got = append(got, deliveries(arrived)...)
	slices.SortStableFunc(got, func(a, b *nats.Msg) int { return cmp.Compare(rank(a.Subject), rank(b.Subject)) })
	for _, m := range got[min(n, len(got)):] {
		_ = m.Nak()
	}
	return got[:min(n, len(got))], err
}

// first waits for a message, for other lanes or for the end of the pulls.
func (d *dispatcher) first(ctx context.Context, list []streams.Lane, arrived <-chan *nats.Msg) []*nats.Msg {
	timeout := time.NewTimer(waitPull + time.Second)
	defer timeout.Stop()
	for ended := 0; ended < len(list); {
		select {
		case <-ctx.Done():
			return nil
		case <-d.lanes.changed:
			return nil
		case <-timeout.C:
			return nil
		case m := <-arrived:
			if isDelivery(m) {
				return []*nats.Msg{m}
			}
			status := m.Header.Get("Status")
			if status == "100" { // idle heartbeat
				continue
			}
			ended++
			if status == "503" || status == "409" { // no such consumer, or it was deleted
				if i, err := strconv.Atoi(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]); err == nil && i < len(list) {
					d.lanes.forget(list[i])
				}
			}
		}
	}
	return nil
}

// deliveries returns the messages that a channel holds now.
func deliveries(arrived <-chan *nats.Msg) []*nats.Msg {
	var got []*nats.Msg
	for {
		select {
		case m := <-arrived:
			if isDelivery(m) {
				got = append(got, m)
			}
		default:
			return got
		}
	}
}

// rank is the place of a job's class in the order of service.
func rank(subject string) int {
	_, rest, _ := strings.Cut(subject, ".")
	class, _, _ := strings.Cut(rest, ".")
	return slices.Index(schemas.Classes(), schemas.Class(class))
}

// Worker is a live worker, as it answers.
type Worker struct {
	ID      string    `json:"id"`
	Slots   int       `json:"slots"`
	Started time.Time `json:"started"`
}

// PingSubject asks every worker to describe itself: a Worker as JSON.
const PingSubject = "worker.ping"

func (b *Bus) answerPings(w Worker) (*nats.Subscription, error) {
	data, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	return b.link.NC.Subscribe(PingSubject, func(m *nats.Msg) {
		if m.Reply != "" {
			_ = m.Respond(data)
		}
	})
}
