package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"stegomq/pipeline"
	"stegomq/pipeline/reports"
)

func (a *app) watchCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "watch RUN", Short: "Show the progress of a run until it ends, whoever makes it", Args: cobra.ExactArgs(1),
		Long: `Shows the progress of a run until every comparison has been made or has failed, and then prints the run as runs show does. The exit code is
that of the run: 1 where something failed, was refused to the key that embedded it, or the run was cancelled, else 0. Ctrl-C ends the watching
and leaves the run alone.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withCache(cmd.Context(), func(s *pipeline.Services) error { return watch(cmd, s, args[0], asJSON) })
		},
	}
	jsonFlag(cmd, &asJSON)
	a.patienceFlag(cmd.Flags())
	a.serviceFlags(cmd.Flags())
	return cmd
}

func watch(cmd *cobra.Command, s *pipeline.Services, id string, asJSON bool) error {
	ctx := cmd.Context()
	if _, err := s.Cache.Run(ctx, id); err != nil { // before the message queue is asked
		return err
	}
	if !s.Embedded() {
		if err := s.OpenBus(ctx); err != nil {
			return err
		}
	}
	show := &progress{out: cmd.ErrOrStderr(), start: time.Now(), last: time.Now(), shown: -1}
	err := s.Follow(ctx, id, show.show)
	show.close()
	if err != nil {
		return err
	}
	found, err := s.Results(ctx, id, true)
	if err != nil {
		return err
	}
	run, err := s.Run(ctx, id)
	if err != nil {
		return err
	}
	if err := printRuns(cmd, []pipeline.RunRow{run}, asJSON); err != nil {
		return err
	}
	bad, failed, refused := len(found.Spec.GetBad()), len(found.Failures), len(found.Summary.RefusedItems)
	if bad+failed+refused == 0 {
		return nil
	}
	return fmt.Errorf("%w: files that could not be used: %d, comparisons that could not be made: %d, images refused to the key that embedded them: %d (stegomq report %s names them)",
		reports.ErrSomeFailed, bad, failed, refused, id)
}
