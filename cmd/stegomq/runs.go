package main

import (
	"fmt"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"stegomq/pipeline"
)

func (a *app) runsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "runs", Short: "List, show, cancel and remove evaluations"}
	a.serviceFlags(cmd.PersistentFlags())
	var asJSON bool
	list := &cobra.Command{
		Use: "list", Short: "List the runs, the latest started first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withCache(cmd.Context(), func(s *pipeline.Services) error { return listRuns(cmd, s, asJSON) })
		},
	}
	show := &cobra.Command{
		Use: "show RUN", Short: "Show the progress of a run, and how much of it waits in the queue", Args: cobra.ExactArgs(1),
		RunE: a.onRun(func(cmd *cobra.Command, s *pipeline.Services, id string) error {
			run, err := s.Run(cmd.Context(), id)
			if err != nil {
				return err
			}
			return printRuns(cmd, []pipeline.RunRow{run}, asJSON)
		}),
	}
	jsonFlag(list, &asJSON)
	jsonFlag(show, &asJSON)
	cancel := &cobra.Command{
		Use: "cancel RUN", Short: "Take the waiting jobs of a run out of the queue; its scores stay, and the same evaluate resumes it", Args: cobra.ExactArgs(1),
		RunE: a.onRun(func(cmd *cobra.Command, s *pipeline.Services, id string) error { return s.CancelRun(cmd.Context(), id) }),
	}
	remove := &cobra.Command{
		Use: "rm RUN", Short: "Cancel a run and delete it with its scores", Args: cobra.ExactArgs(1),
		RunE: a.onRun(func(cmd *cobra.Command, s *pipeline.Services, id string) error { return s.RemoveRun(cmd.Context(), id) }),
	}
	cmd.AddCommand(list, show, cancel, remove)
	return cmd
}

// onRun calls f with the run that is named. An unknown name is an error before the message queue is asked.
func (a *app) onRun(f func(*cobra.Command, *pipeline.Services, string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		return a.withCache(ctx, func(s *pipeline.Services) error {
			if _, err := s.Cache.Run(ctx, args[0]); err != nil {
				return err
			}
			if err := s.OpenBus(ctx); err != nil {
				return err
			}
			return f(cmd, s, args[0])
		})
	}
}

func listRuns(cmd *cobra.Command, s *pipeline.Services, asJSON bool) error {
	runs, err := s.Runs(cmd.Context(), true)
	if err != nil {
		return err
	}
	return printRuns(cmd, runs, asJSON)
}

func printRuns(cmd *cobra.Command, rows []pipeline.RunRow, asJSON bool) error {
	return printRows(cmd, rows, asJSON, func(r pipeline.RunRow) table.Row {
		return table.Row{
			r.Run, r.State, r.Started.Format(time.DateTime), orDash(r.Finished.IsZero(), r.Finished.Format(time.DateTime)), r.Model, r.Data,
			r.Pairs, r.Keys, r.Scores, r.Failed, orDash(r.Waiting == 0, fmt.Sprint(r.Waiting)),
		}
	}, "run", "state", "started", "finished", "model", "data", "pairs", "keys", "scores", "failed", "waiting")
}
