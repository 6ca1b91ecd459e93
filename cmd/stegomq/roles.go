package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"stegomq/internal/telemetry"
	"stegomq/pipeline"
	"stegomq/pipeline/reports"
)

var errNeedServers = errors.New("this role works with others: name the servers with --nats and --redis (stegomq up starts both)")

func (a *app) upCommand() *cobra.Command {
	var natsListen, redisListen string // the servers of other commands do not listen
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run every role in one process, on embedded servers that other commands can use",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !a.at.Embedded() {
				return errors.New("up starts its own servers; with --nats and --redis run gpuworker and evaluator")
			}
			a.at.NATSListen, a.at.RedisListen = natsListen, redisListen
			return a.serve(cmd, true, true)
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
			if a.at.Embedded() {
				return errNeedServers
			}
			return a.serve(cmd, true, false)
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
			if a.at.Embedded() {
				return errNeedServers
			}
			return a.serve(cmd, false, true)
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
func (a *app) serve(cmd *cobra.Command, work, evaluate bool) (err error) {
	ctx := cmd.Context()
	var eng *pipeline.Engine
	if work {
		models, err := a.loadModels()
		if err != nil {
			return err
		}
		keys, err := a.watchKeys(models...)
		if err != nil {
			return err
		}
		if eng, err = pipeline.NewEngine(a.runtime(), models, keys, a.log); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, eng.Close()) }()
	}
	return a.withCache(ctx, func(s *pipeline.Services) (err error) {
		if err := s.OpenBus(ctx); err != nil {
			return err
		}
		s.WarnOfEviction(ctx)
		metrics := a.metrics(s, eng)
		r := pipeline.StartRoles(ctx)
		defer func() { err = errors.Join(err, r.Stop()) }()
		if a.metricsAddr != "" {
			server, err := telemetry.NewServer(a.metricsAddr, metrics, map[string]telemetry.Check{
				"nats":  func(ctx context.Context) error { _, err := s.Bus.Status(ctx); return err },
				"redis": func(ctx context.Context) error { _, err := s.Cache.Status(ctx); return err },
			}, a.log)
			if err != nil {
				return err
			}
			r.Go(server.Run)
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "metrics at http://%s/metrics\n", server.Addr())
		}
		s.StartSweeper(r)
		if work {
			if err := s.StartWorker(r, eng, metrics); err != nil {
				return err
			}
		}
		if evaluate {
			s.StartEvaluator(r, metrics)
		}
		where := ""
		if s.Server != nil && s.Server.URL() != "" && s.Cache.URL() != "" {
			told, failed := a.at.Announce(s.Server.URL(), s.Cache.URL())
			if failed != nil {
				return failed
			}
			defer func() { err = errors.Join(err, told.Withdraw()) }()
			where = fmt.Sprintf(": --nats %s --redis %s", s.Server.URL(), s.Cache.URL())
		}
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "ready%s\n", where)
		return r.Wait()
	})
}

func (a *app) metrics(s *pipeline.Services, eng *pipeline.Engine) *telemetry.Metrics {
	m := telemetry.NewMetrics()
	if eng != nil {
		m.WatchWeights(eng.WeightsStats)
	}
	stats := s.Cache.Stats
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
			if a.at.Embedded() {
				return errNeedServers
			}
			return a.produce(cmd, &flags)
		},
	}
	f := cmd.Flags()
	flags.register(f)
	flags.registerTrials(f)
	a.patienceFlag(f)
	a.serviceFlags(f)
	a.modelFlags(f)
	a.imageFlags(f)
	must(cmd.MarkFlagRequired("data"))
	return cmd
}

func (a *app) produce(cmd *cobra.Command, flags *runFlags) error {
	req, err := a.checked(flags)
	if err != nil {
		return err
	}
	return a.withCache(cmd.Context(), func(s *pipeline.Services) error {
		run, err := s.Publish(cmd.Context(), req, pipeline.Watch{Planned: func(run *pipeline.Run) { nameBad(cmd.ErrOrStderr(), run) }})
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), run.Spec.GetId()); err != nil {
			return err
		}
		if n := len(run.Dataset.Bad); n > 0 {
			return fmt.Errorf("%w: files that could not be used: %d", reports.ErrSomeFailed, n)
		}
		return nil
	})
}
