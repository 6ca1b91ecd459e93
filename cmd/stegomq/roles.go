package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"stegomq/internal/bus"
	"stegomq/internal/telemetry"
	"stegomq/producer"
)

var errNeedServers = errors.New("this role works with others: name the servers with --nats and --redis (stegomq up starts both)")

func (a *app) upCommand() *cobra.Command {
	var natsListen, redisListen string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run every role in one process, on embedded servers that other commands can use",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.at.NATS != "" {
				return errors.New("up starts its own servers; with --nats and --redis run gpuworker and evaluator")
			}
			return a.serve(cmd, natsListen, redisListen, true, true)
		},
	}
	f := cmd.Flags()
	f.StringVar(&natsListen, "nats-listen", "127.0.0.1:4222", "loopback address of the embedded NATS server")
	f.StringVar(&redisListen, "redis-listen", "127.0.0.1:6379", "loopback address of the embedded Redis")
	a.workerFlags(f)
	a.metricsFlag(f)
	return cmd
}

func (a *app) gpuworkerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gpuworker --nats URL --redis URL",
		Short: "Run one worker: jobs to images",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.at.NATS == "" {
				return errNeedServers
			}
			return a.serve(cmd, "", "", true, false)
		},
	}
	a.workerFlags(cmd.Flags())
	a.metricsFlag(cmd.Flags())
	return cmd
}

func (a *app) evaluatorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evaluator --nats URL --redis URL",
		Short: "Run one evaluator: images to scores",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.at.NATS == "" {
				return errNeedServers
			}
			return a.serve(cmd, "", "", false, true)
		},
	}
	f := cmd.Flags()
	a.serviceFlags(f)
	a.imageFlags(f)
	a.metricsFlag(f)
	f.IntVar(&a.slots, "slots", 0, "results scored at once (0: one per core)")
	f.StringSliceVar(&a.allow, "allow", nil, "folders that jobs may name images in by file://")
	return cmd
}

// serve runs the worker, the evaluator or both until the context ends.
func (a *app) serve(cmd *cobra.Command, natsListen, redisListen string, work, evaluate bool) (err error) {
	ctx := cmd.Context()
	var eng *localEngine
	if work {
		models, err := a.loadModels()
		if err != nil {
			return err
		}
		keys, err := a.watchKeys(models)
		if err != nil {
			return err
		}
		if eng, err = a.newEngine(models, keys); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, eng.Close()) }()
	}
	s, err := a.open(ctx, redisListen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.openBus(ctx, natsListen); err != nil {
		return err
	}
	metrics := a.metrics(s, eng)
	r := startRoles(ctx)
	defer func() { err = errors.Join(err, r.stop()) }()
	if a.metricsAddr != "" {
		server, err := telemetry.NewServer(a.metricsAddr, metrics, map[string]telemetry.Check{
			"nats":  func(ctx context.Context) error { _, err := s.bus.Status(ctx); return err },
			"redis": func(ctx context.Context) error { _, err := s.cache.Status(ctx); return err },
		}, a.log)
		if err != nil {
			return err
		}
		r.start(server.Run)
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "metrics at http://%s/metrics\n", server.Addr())
	}
	if folder, ok := s.blobs.(*bus.Directory); ok {
		r.start(folder.Run)
	}
	if work {
		if err := s.startWorker(r, eng, metrics, "", ""); err != nil {
			return err
		}
	}
	if evaluate {
		s.startEvaluator(r, metrics)
	}
	if s.server != nil && s.server.URL() != "" && s.cache.URL() != "" {
		told, failed := a.at.Announce(s.server.URL(), s.cache.URL())
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, told.Withdraw()) }()
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "ready: --nats %s --redis %s\n", s.server.URL(), s.cache.URL())
	} else {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "ready")
	}
	return r.wait()
}

func (a *app) metrics(s *services, eng *localEngine) *telemetry.Metrics {
	m := telemetry.NewMetrics()
	if eng != nil {
		m.WatchWeights(eng.weightsStats)
	}
	stats := s.cache.Stats
	m.WatchMemos("outputs", func() (hits, misses int64) { st := stats(); return st.Outputs.Hits, st.Outputs.Misses })
	m.WatchMemos("metrics", func() (hits, misses int64) { st := stats(); return st.Metrics.Hits, st.Metrics.Misses })
	return m
}

func (a *app) producerCommand() *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use:   "producer --data DIR --nats URL --redis URL",
		Short: "Publish the jobs of an evaluation and leave the rest to the workers; prints the run's name",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.at.NATS == "" {
				return errNeedServers
			}
			return a.produce(cmd, flags)
		},
	}
	f := cmd.Flags()
	flags.register(f)
	a.serviceFlags(f)
	a.modelFlags(f)
	a.imageFlags(f)
	must(cmd.MarkFlagRequired("data"))
	return cmd
}

func (a *app) produce(cmd *cobra.Command, flags runFlags) (err error) {
	ctx := cmd.Context()
	req, err := a.request(flags)
	if err != nil {
		return err
	}
	s, err := a.open(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.openBus(ctx, ""); err != nil {
		return err
	}
	ev, err := a.prepareRun(ctx, s, req)
	if err != nil {
		return err
	}
	p := producer.New(producer.Config{Batch: flags.batch, Logger: a.log}, producer.Parts{Publisher: s.bus, Blobs: s.blobs, Progress: s.cache})
	if err := p.Run(ctx, ev.plan, ev.dataset.Files); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(cmd.OutOrStdout(), ev.spec.GetId()); err != nil {
		return err
	}
	if len(ev.dataset.Bad) > 0 {
		ev.nameBad(cmd.ErrOrStderr())
		return fmt.Errorf("%w: files that could not be used: %d", errSomeFailed, len(ev.dataset.Bad))
	}
	return nil
}
