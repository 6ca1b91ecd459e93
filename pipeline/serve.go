package pipeline

import (
	"context"
	"errors"

	"stegomq/internal/telemetry"
)

// Role says what a process is.
type Role struct {
	Work, Evaluate bool
	// Metrics is the host:port at which numbers and health are served. Empty: nowhere.
	Metrics string
	// Ready is called once the roles run, with the address of the metrics, and those of the embedded servers where they listen.
	Ready func(metrics, nats, redis string)
}

// Serve runs a worker, an evaluator or both until ctx ends. Embedded servers that listen are announced to other commands on the state
// folder.
func Serve(ctx context.Context, opts Options, l *Library, role Role) (err error) {
	var eng *Engine
	if role.Work {
		if eng, err = l.engine(opts); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, eng.Close()) }()
	}
	s := New(opts)
	s.operator = true
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.OpenCache(ctx); err != nil {
		return err
	}
	if err := s.OpenBus(ctx); err != nil {
		return err
	}
	s.warn(ctx)
	metrics := s.metrics(eng)
	r := StartRoles(ctx)
	defer func() { err = errors.Join(err, r.Stop()) }()
	address := ""
	if role.Metrics != "" {
		server, err := telemetry.NewServer(role.Metrics, metrics, map[string]telemetry.Check{
			"nats":  func(ctx context.Context) error { _, err := s.Streams.List(ctx); return err },
			"redis": s.Cache.Ping,
		}, s.log)
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

// engine has every model and the user's keys.
func (l *Library) engine(opts Options) (*Engine, error) {
	models, err := l.Models()
	if err != nil {
		return nil, err
	}
	keys, err := l.WatchKeys(models...)
	if err != nil {
		return nil, err
	}
	return NewEngine(opts.Runtime, models, keys, l.Logger)
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
