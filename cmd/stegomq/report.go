package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"stegomq/pipeline"
	"stegomq/pipeline/reports"
	"stegomq/study"
)

func (a *app) reportCommand() *cobra.Command {
	var out string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "report [RUN]",
		Short: "Make the tables and files of a run from its stored scores; without a name, list the runs",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withCache(ctx, func(s *pipeline.Services) error {
				if len(args) == 0 {
					return listRuns(cmd, s, asJSON)
				}
				found, err := s.Results(ctx, args[0], true)
				if err != nil {
					return err
				}
				sum := found.Summary
				if out != "" {
					if err := study.WriteFiles(out, sum, found.Scores); err != nil {
						return err
					}
				}
				if err := printReport(cmd.OutOrStdout(), sum.Document(), sum, asJSON); err != nil {
					return err
				}
				if n := len(sum.FailedItems) + len(sum.RefusedItems); n > 0 {
					return fmt.Errorf("%w: %d comparisons", reports.ErrSomeFailed, n)
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "", "folder for summary.json, items.csv, report.md and report.html")
	f.BoolVar(&asJSON, "json", false, "print summary.json instead of tables")
	a.cacheFlags(f)
	cmd.AddCommand(a.compareCommand(), overviewCommand())
	return cmd
}

func overviewCommand() *cobra.Command {
	var markdown, asJSON bool
	cmd := &cobra.Command{
		Use:   "table SUMMARY...",
		Short: "Put several runs into one table, a row for each",
		Long:  `Each SUMMARY is a summary.json of evaluate, or the folder that it is in. No server and no cache is asked.`,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			overview, err := study.ReadOverview(args...)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), overview)
			}
			text := overview.Table().Text()
			if markdown {
				text = overview.Table().Markdown()
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "as Markdown")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) compareCommand() *cobra.Command {
	var out string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "compare RUN_A RUN_B",
		Short: "Compare two runs of the same image pairs, pair by pair",
		Long: `The differences in every metric and role, RUN_A less RUN_B, with the 95 % interval of their mean, and whether that makes
RUN_A better or worse, which is not said of fewer than 8 pairs. A run is its id, or the folder that evaluate wrote. Both runs must
be of the same images at the same size; their models and keys may differ.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			runs, err := reports.Measured(cmd.Context(), a.options(), args)
			if err != nil {
				return err
			}
			paired, err := study.Compare(runs[0], runs[1])
			if err != nil {
				return err
			}
			if out != "" {
				if err := paired.WriteFiles(out); err != nil {
					return err
				}
			}
			return printReport(cmd.OutOrStdout(), paired.Document(), paired, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "", "folder for comparison.json and comparison.md")
	f.BoolVar(&asJSON, "json", false, "print comparison.json instead of tables")
	a.cacheFlags(f)
	return cmd
}
