package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// kind is a way to break the pipeline.
type kind struct {
	name        string
	least, most time.Duration // how long it lasts
	// once is the most that it happens in a run; 0: no bound. A fault that loses data undoes work, and a run with many of
	// them would never end.
	once int
	// cluster: it needs several nodes; single: it needs one.
	cluster, single bool
	do              action
}

// action breaks something, waits and mends it. It says what it broke. pick chooses the target.
type action func(ctx context.Context, s *system, pick int, hold time.Duration) (target string, err error)

// kinds are all kinds. Their order is part of a schedule: add new ones at the end.
func kinds() []kind {
	const ms, s = time.Millisecond, time.Second
	return []kind{
		{name: "worker killed", least: 100 * ms, most: 2 * s, do: on(aWorker, restart(syscall.SIGKILL))},
		{name: "worker paused", least: s, most: 8 * s, do: on(aWorker, pause)},
		{name: "worker stopped", least: 100 * ms, most: 2 * s, do: on(aWorker, restart(syscall.SIGTERM))},
		{name: "evaluator killed", least: 100 * ms, most: 2 * s, do: on(anEvaluator, restart(syscall.SIGKILL))},
		{name: "evaluator paused", least: s, most: 8 * s, do: on(anEvaluator, pause)},
		{name: "evaluator stopped", least: 100 * ms, most: 2 * s, do: on(anEvaluator, restart(syscall.SIGTERM))},
		{name: "command paused", least: s, most: 6 * s, do: on(theCommand, pause)},
		{name: "Redis killed", least: 100 * ms, most: 4 * s, do: on(theRedis, restart(syscall.SIGKILL))},
		{name: "Redis paused", least: s, most: 6 * s, do: on(theRedis, pause)},
		{name: "Redis stopped", least: 100 * ms, most: 4 * s, do: on(theRedis, restart(syscall.SIGTERM))},
		{name: "Redis flushed", once: 1, do: flush},
		{name: "Redis restarted empty", least: 500 * ms, most: 2 * s, once: 1, do: emptyRedis},
		{name: "Redis' disk full", least: 2 * s, most: 5 * s, once: 1, do: fillRedis},
		{name: "NATS killed", least: 100 * ms, most: 4 * s, do: on(aNode, restart(syscall.SIGKILL))},
		{name: "NATS paused", least: s, most: 8 * s, do: on(aNode, pause)},
		{name: "NATS stopped", least: 100 * ms, most: 4 * s, do: on(aNode, restart(syscall.SIGTERM))},
		{name: "NATS restarted empty", least: 500 * ms, most: 2 * s, once: 2, do: emptyNode},
		{name: "NATS' disk full", least: 2 * s, most: 5 * s, once: 1, single: true, do: fillNode},
		{name: "stream's leader killed", least: 500 * ms, most: 4 * s, cluster: true, do: on(aLeader, restart(syscall.SIGKILL))},
		{name: "stream's leader paused", least: 2 * s, most: 10 * s, cluster: true, do: on(aLeader, pause)},
		{name: "connections to Redis cut", least: 10 * ms, most: 4 * s, do: disturb(toRedis, cut)},
		{name: "connections to Redis stalled", least: s, most: 8 * s, do: disturb(toRedis, stalled)},
		{name: "connections to Redis slow", least: 2 * s, most: 6 * s, do: disturb(toRedis, slow)},
		{name: "connections to NATS cut", least: 10 * ms, most: 4 * s, do: disturb(toNATS, cut)},
		{name: "connections to NATS stalled", least: s, most: 8 * s, do: disturb(toNATS, stalled)},
		{name: "connections to NATS slow", least: 2 * s, most: 6 * s, do: disturb(toNATS, slow)},
		{name: "all but the command killed", least: 100 * ms, most: 3 * s, once: 2, do: killAll},
	}
}

func (k kind) fits(nodes int) bool { return !(k.cluster && nodes == 1) && !(k.single && nodes > 1) }

// fault is an entry of a schedule.
type fault struct {
	Kind string `json:"kind"`
	// At is the share of the run's comparisons at which it is due.
	At   float64       `json:"at"`
	Hold time.Duration `json:"hold"`
	Pick int           `json:"pick"`
	kind kind
}

// schedule draws n faults: every kind about equally often, in random order, and those that lose data in the first half. only
// selects kinds by a part of their names.
func schedule(seed uint64, nodes, n int, only string) []fault {
	random := rand.New(rand.NewPCG(seed, uint64(nodes)))
	var rare, common, deck []kind
	for _, k := range kinds() {
		switch {
		case !k.fits(nodes) || !strings.Contains(k.name, only):
		case k.once > 0:
			rare = append(rare, slices.Repeat([]kind{k}, k.once)...)
		default:
			common = append(common, k)
		}
	}
	shuffle := func(kinds []kind) {
		random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	}
	// Rare kinds get at most half of the faults, unless there are no others.
	shuffle(rare)
	if len(common) > 0 {
		rare = rare[:min(len(rare), (n+1)/2)]
	}
	for len(common) > 0 && len(deck)+len(rare) < n {
		shuffle(common)
		deck = append(deck, common[:min(len(common), n-len(deck)-len(rare))]...)
	}
	half := len(deck) / 2
	early := append(slices.Clone(deck[:half]), rare...)
	shuffle(early)
	deck = append(early, deck[half:]...)
	var faults []fault
	for _, k := range deck[:min(n, len(deck))] {
		f := fault{Kind: k.name, Hold: k.least, Pick: random.IntN(1 << 16), kind: k}
		if k.most > k.least {
			f.Hold += time.Duration(random.Int64N(int64(k.most - k.least)))
		}
		f.Hold = f.Hold.Round(time.Millisecond)
		faults = append(faults, f)
	}
	spread(faults)
	return faults
}

// spread sets the share of the work at which each fault is due: evenly, and none so late that the run has ended.
func spread(faults []fault) {
	for i := range faults {
		faults[i].At = 0.95 * float64(i+1) / float64(len(faults)+1)
	}
}

// on applies a fault to a chosen part. No other fault touches that part meanwhile.
func on(choose func(ctx context.Context, s *system, pick int) (p *part, target string), hit func(context.Context, *part, time.Duration) error) action {
	return func(ctx context.Context, s *system, pick int, hold time.Duration) (string, error) {
		p, target := choose(ctx, s, pick)
		p.busy.Lock()
		defer p.busy.Unlock()
		return target, hit(ctx, p, hold)
	}
}

func named(p *part) (*part, string) { return p, p.name }

func aWorker(_ context.Context, s *system, pick int) (*part, string) {
	return named(s.workers[pick%len(s.workers)])
}

func anEvaluator(_ context.Context, s *system, pick int) (*part, string) {
	return named(s.evaluators[pick%len(s.evaluators)])
}

func aNode(_ context.Context, s *system, pick int) (*part, string) {
	return named(&s.nodes[pick%len(s.nodes)].part)
}

func theRedis(_ context.Context, s *system, _ int) (*part, string)   { return named(&s.redis.part) }
func theCommand(_ context.Context, s *system, _ int) (*part, string) { return named(s.command) }

// aLeader is the node that leads a job stream, or any node if no stream has a leader.
func aLeader(ctx context.Context, s *system, pick int) (*part, string) {
	for _, asked := range s.nodes {
		all, err := asked.streams(ctx)
		all = slices.DeleteFunc(all, func(st stream) bool { return !strings.HasPrefix(st.Name, "JOBS") || st.Cluster.Leader == "" })
		if err != nil || len(all) == 0 {
			continue
		}
		slices.SortFunc(all, func(a, b stream) int { return strings.Compare(a.Name, b.Name) })
		st := all[pick%len(all)]
		for _, nd := range s.nodes {
			if nd.name == st.Cluster.Leader {
				return &nd.part, nd.name + ", " + st.Name
			}
		}
	}
	p, name := aNode(ctx, s, pick)
	return p, name + ", no leader"
}

// stopPatience is how long a part that is asked to stop may take before it is killed.
const stopPatience = 10 * time.Second

// restart ends a part and starts it again after a while.
func restart(with syscall.Signal) func(context.Context, *part, time.Duration) error {
	return func(ctx context.Context, p *part, hold time.Duration) error {
		p.stop(with, stopPatience)
		sleep(ctx, hold)
		return p.start()
	}
}

// pause stops a part for a while.
func pause(ctx context.Context, p *part, hold time.Duration) error {
	p.signal(syscall.SIGSTOP)
	sleep(ctx, hold)
	p.signal(syscall.SIGCONT)
	return nil
}

// killAll ends every part but the command at once, like a power cut of the servers' machines.
func killAll(ctx context.Context, s *system, _ int, hold time.Duration) (string, error) {
	all := append(s.servers(), s.roles()...)
	for _, p := range all {
		p.busy.Lock()
		defer p.busy.Unlock()
	}
	for _, p := range all {
		p.stop(syscall.SIGKILL, stopPatience)
	}
	sleep(ctx, hold)
	var failed []error
	for _, p := range all {
		failed = append(failed, p.start())
	}
	return "everything", errors.Join(failed...)
}

func flush(ctx context.Context, s *system, _ int, _ time.Duration) (string, error) {
	s.redis.busy.Lock()
	defer s.redis.busy.Unlock()
	err := eventually(ctx, func() bool { return s.redis.serves(ctx) })
	if err == nil {
		_, err = s.redis.ask(ctx, "FLUSHALL")
	}
	return s.redis.name, err
}

func emptyRedis(ctx context.Context, s *system, _ int, hold time.Duration) (string, error) {
	s.redis.busy.Lock()
	defer s.redis.busy.Unlock()
	return s.redis.name, s.redis.lose(ctx, hold)
}

// emptyNode deletes a node's store. In a cluster the other nodes are left alone until it has everything again: no cluster,
// NATS's included, detects that a majority has lost its stores.
func emptyNode(ctx context.Context, s *system, pick int, hold time.Duration) (string, error) {
	for _, nd := range s.nodes {
		nd.busy.Lock()
		defer nd.busy.Unlock()
	}
	nd := s.nodes[pick%len(s.nodes)]
	if len(s.nodes) == 1 {
		return nd.name, nd.lose(ctx, hold)
	}
	err := s.nodesReady(ctx)
	if err == nil {
		err = nd.lose(ctx, hold)
	}
	if err == nil {
		err = s.nodesReady(ctx)
	}
	return nd.name, err
}

func fillRedis(ctx context.Context, s *system, _ int, hold time.Duration) (string, error) {
	s.redis.busy.Lock()
	defer s.redis.busy.Unlock()
	return s.redis.name, s.redis.fill(ctx, hold)
}

// fillNode restarts the node when there is room again, as the runbook says: JetStream switches itself off on a full disk.
func fillNode(ctx context.Context, s *system, pick int, hold time.Duration) (string, error) {
	nd := s.nodes[pick%len(s.nodes)]
	nd.busy.Lock()
	defer nd.busy.Unlock()
	err := nd.fill(ctx, hold)
	if errors.Is(err, errNoDisk) {
		return nd.name, err
	}
	return nd.name, errors.Join(err, restart(syscall.SIGTERM)(ctx, &nd.part, 0))
}

func toRedis(links []*link) []*link { return links[:1] }
func toNATS(links []*link) []*link  { return links[1:] }

// conditionLock keeps two faults of connections from ending each other. They are short.
var conditionLock sync.Mutex

// disturb changes the condition of the links of one client, or of all of them, to Redis or to NATS.
func disturb(to func([]*link) []*link, state condition) action {
	return func(ctx context.Context, s *system, pick int, hold time.Duration) (string, error) {
		names := []string{s.command.name}
		for _, p := range s.roles() {
			names = append(names, p.name)
		}
		target := "everybody"
		if i := pick % (len(names) + 2); i < len(names) {
			names = names[i : i+1]
			target = names[0]
		}
		conditionLock.Lock()
		defer conditionLock.Unlock()
		late := time.Duration(5+pick%45) * time.Millisecond
		change := func(state condition) {
			for _, name := range names {
				for _, l := range to(s.links[name]) {
					l.set(state, late)
				}
			}
		}
		change(state)
		sleep(ctx, hold)
		change(normal)
		return target, nil
	}
}
