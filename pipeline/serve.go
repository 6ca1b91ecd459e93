package pipeline

import (
	"context"
	"errors"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/telemetry"
	"stegomq/internal/tracing"
)

// Role says what a process is.
type Role struct {
	Work, Evaluate bool
	// Metrics is the host:port at which numbers and health are served. Empty: nowhere.
	Metrics string
	// Front, where there is one, makes what else serves in this process, on its connections. It ends when its context does, and the roles work
	// until it has: what it has begun needs them. A process may be a front alone.
	Front func(*Services, Stock) (func(context.Context) error, error)
	// Ready is called once the roles run, with the address of the metrics, and those of the embedded servers where they listen.
	Ready func(metrics, nats, redis string)
}

// Stock is what a process has beside its connections.
type Stock struct {
	Models  []*model.Model
	Keys    *keyring.Watched
	Metrics *telemetry.Metrics
	Traces  *tracing.Tracer
}

// Serve runs a worker, an evaluator or both until ctx ends. Embedded servers that listen are announced to other commands on the state
// folder.
func Serve(ctx context.Context, opts Options, l *Library, role Role) (err error) {
	var eng *Engine
	var stock Stock
	if role.Work || role.Front != nil {
		if stock.Models, err = l.Models(); err != nil {
			return err
		}
		if stock.Keys, err = l.WatchKeys(stock.Models...); err != nil {
			return err
		}
	}
	if role.Work {
		if eng, err = NewEngine(opts.Runtime, stock.Models, stock.Keys, l.Logger); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, eng.Close()) }()
	}
	s := New(opts)
	s.operator, s.working = true, role.Work && role.Evaluate
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.OpenCache(ctx); err != nil {
		return err
	}
	if err := s.OpenBus(ctx); err != nil {
		return err
	}
	s.warn(ctx)
	metrics := s.metrics(eng)
	stock.Metrics, stock.Traces = metrics, s.opts.Traces
	rolesCtx := ctx
	if role.Front != nil {
		rolesCtx = context.WithoutCancel(ctx)
	}
	r := StartRoles(rolesCtx)
	defer func() { err = errors.Join(err, r.Stop()) }()
	address := ""
	if role.Metrics != "" {
		server, err := telemetry.NewServer(role.Metrics, metrics, map[string]telemetry.Check{"nats": s.checkBus, "redis": s.Cache.Ping}, s.log)
		if err != nil {
			return err
		}
		r.Go(server.Run)
		address = server.Addr()
	}
	s.startSweeper(r)
	if role.Work {
		if err := s.startWorker(r, eng, metrics, lane{}); err != nil {
			return err
		}
	}
	if role.Evaluate {
		s.startEvaluator(r, metrics)
	}
	if role.Front != nil {
		front, err := role.Front(s, stock)
		if err != nil {
			return err
		}
		r.Go(func(roles context.Context) error {
			defer r.cancel()
			until, stop := context.WithCancel(ctx)
			defer stop()
			defer context.AfterFunc(roles, stop)()
			return front(until)
		})
	}
	nats, redis := "", ""
	if s.Server != nil && s.Server.URL() != "" && s.Cache.URL() != "" {
		nats, redis = s.Server.URL(), s.Cache.URL()
		told, failed := s.opts.Announce(nats, redis)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, told.Withdraw()) }()
	}
	role.Ready(address, nats, redis)
	return r.Wait()
}

func (s *Services) checkBus(ctx context.Context) error {
	_, err := s.Streams.List(ctx)
	return err
}

// Check says whether the servers answer.
func (s *Services) Check(ctx context.Context) error {
	return errors.Join(s.checkBus(ctx), s.Cache.Ping(ctx))
}

func (s *Services) metrics(eng *Engine) *telemetry.Metrics {
	m := telemetry.NewMetrics()
	if eng != nil {
		m.WatchWeights(eng.weightsStats)
	}
	stats := s.Cache.Stats
	m.WatchMemos("outputs", func() (hits, misses int64) { st := stats(); return st.Outputs.Hits, st.Outputs.Misses })
	m.WatchMemos("metrics", func() (hits, misses int64) { st := stats(); return st.Metrics.Hits, st.Metrics.Misses })
	return m
}
