package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stegomq/pipeline"
	"stegomq/pipeline/reports"
)

var errNeedServers = errors.New("this role works with others: name the servers with --nats and --redis (stegomq up starts both)")

func (a *app) upCommand() *cobra.Command {
	var h httpFlags
	var natsListen, redisListen string // not in a.at: the embedded servers of other commands do not listen
	cmd := &cobra.Command{
		Use:         "up",
		Short:       "Run every role in one process, on embedded servers that other commands can use",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{ownServers: ""},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !a.at.Embedded() {
				return errors.New("up starts its own servers; with --nats and --redis run gpuworker and evaluator")
			}
			a.at.NATSListen, a.at.RedisListen = natsListen, redisListen
			return a.serve(cmd, true, true, &h)
		},
	}
	f := cmd.Flags()
	group(groupHTTP, f, func(f *pflag.FlagSet) {
		h.register(f, "", "serve the HTTP API at host:port, such as 127.0.0.1:8080 (docs/http.md)")
	})
	f.StringVar(&natsListen, "nats-listen", "127.0.0.1:4222", "loopback address of the embedded NATS server")
	f.StringVar(&redisListen, "redis-listen", "127.0.0.1:6379", "loopback address of the embedded Redis")
	a.workerFlags(f)
	a.metricsFlag(f)
	return cmd
}

func (a *app) gpuworkerCommand() *cobra.Command {
	cmd := a.roleCommand("gpuworker", "Run one worker: jobs to images", true, false)
	a.workerFlags(cmd.Flags())
	return cmd
}

func (a *app) evaluatorCommand() *cobra.Command {
	cmd := a.roleCommand("evaluator", "Run one evaluator: images to scores", false, true)
	f := cmd.Flags()
	a.serviceFlags(f)
	a.imageFlags(f)
	f.IntVar(&a.slots, "slots", 0, "results scored at once (0: one per core)")
	a.allowFlag(f)
	return cmd
}

// roleCommand runs one role on servers that it shares with others.
func (a *app) roleCommand(name, short string, work, evaluate bool) *cobra.Command {
	cmd := &cobra.Command{
		Use: name + " --nats URL --redis URL", Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.at.Embedded() {
				return errNeedServers
			}
			return a.serve(cmd, work, evaluate, &httpFlags{})
		},
	}
	a.metricsFlag(cmd.Flags())
	return cmd
}

// serve runs the worker, the evaluator and the HTTP service, as far as they are asked for, until the context ends.
func (a *app) serve(cmd *cobra.Command, work, evaluate bool, h *httpFlags) error {
	stderr := cmd.ErrOrStderr()
	role := pipeline.Role{
		Work: work, Evaluate: evaluate, Metrics: a.metricsAddr,
		Ready: func(metrics, nats, redis string) {
			if metrics != "" {
				_, _ = fmt.Fprintf(stderr, "metrics at http://%s/metrics\n", metrics)
			}
			where := ""
			if nats != "" {
				where = fmt.Sprintf(": --nats %s --redis %s", nats, redis)
			}
			_, _ = fmt.Fprintf(stderr, "ready%s\n", where)
		},
	}
	if h.Address != "" {
		if err := h.check(); err != nil {
			return err
		}
		role.Front = a.front(h, stderr)
	}
	return pipeline.Serve(cmd.Context(), a.options(), a.library(), role)
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
