package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"stegomq/pipeline"
)

// dryRunUsage is for commands that can say what they would do.
const dryRunUsage = "do nothing, and say what would be done: pairs, bytes, jobs, what the cache has, and how long the rest would take by earlier measurements"

// printForecast prints what one run would do, a line for each figure.
func printForecast(w io.Writer, f *pipeline.Forecast) error {
	bad := ""
	if f.Bad > 0 {
		bad = fmt.Sprintf(", and %d files that cannot be used", f.Bad)
	}
	_, err := fmt.Fprintf(w, `run          %s
model        %s
data         %s: %d pairs, %.1f MB%s
keys         %d
jobs         %d, and %d that follow from them
comparisons  %d: %d in the cache, %d to make
time         %s: %s
`, f.Run, f.Model, f.Data, f.Pairs, float64(f.Bytes)/1e6, bad, f.Keys, f.Jobs, f.FollowUps, f.Comparisons, f.Found, f.Missing, expected(f.Seconds), f.From)
	return err
}

// expected is the text of a time that may not be known.
func expected(seconds *float64) string {
	if seconds == nil {
		return "not known"
	}
	return time.Duration(*seconds * float64(time.Second)).Round(time.Second / 10).String()
}

// forecasts say what several runs would do.
type forecasts struct {
	Runs []*pipeline.Forecast `json:"runs"`
	// The sums of all; Seconds is null where it is not known of one.
	Jobs        int      `json:"jobs"`
	FollowUps   int      `json:"follow_ups"`
	Comparisons int      `json:"comparisons"`
	Found       int      `json:"found"`
	Missing     int      `json:"missing"`
	Seconds     *float64 `json:"seconds"`
	// Lacking names the data sets and models that are missing, and so get no run.
	Lacking []string `json:"lacking,omitempty"`
}

func sumOf(runs []*pipeline.Forecast) *forecasts {
	seconds, unknown := 0.0, false
	all := &forecasts{Runs: runs}
	for _, f := range runs {
		all.Jobs += f.Jobs
		all.FollowUps += f.FollowUps
		all.Comparisons += f.Comparisons
		all.Found += f.Found
		all.Missing += f.Missing
		if f.Seconds == nil {
			unknown = true
			continue
		}
		seconds += *f.Seconds
	}
	if !unknown {
		all.Seconds = &seconds
	}
	return all
}

// print prints a table with a line for each run.
func (all *forecasts) print(cmd *cobra.Command, asJSON bool) error {
	if asJSON {
		return printJSON(cmd.OutOrStdout(), all)
	}
	w := newTable(cmd, "model", "data", "pairs", "MB", "keys", "jobs", "follow-ups", "comparisons", "in the cache", "to make", "time")
	for _, f := range all.Runs {
		w.AppendRow(table.Row{f.Model, f.Data, f.Pairs, fmt.Sprintf("%.1f", float64(f.Bytes)/1e6), f.Keys, f.Jobs, f.FollowUps, f.Comparisons, f.Found, f.Missing, expected(f.Seconds)})
	}
	w.AppendFooter(table.Row{"all", "", "", "", "", all.Jobs, all.FollowUps, all.Comparisons, all.Found, all.Missing, expected(all.Seconds)})
	w.Render()
	var notes []string
	for _, f := range all.Runs {
		if note := fmt.Sprintf("time of %s: %s", f.Model, f.From); f.Missing > 0 && !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	for _, note := range append(notes, all.Lacking...) {
		_, _ = fmt.Fprintln(cmd.OutOrStdout(), note)
	}
	return nil
}

// forecast says what evaluate would do.
func (a *app) forecast(cmd *cobra.Command, flags *runFlags, asJSON bool) error {
	req, err := a.checked(flags)
	if err != nil {
		return err
	}
	return a.withServices(func(s *pipeline.Services) error {
		f, err := s.Forecast(cmd.Context(), req)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), f)
		}
		return printForecast(cmd.OutOrStdout(), f)
	})
}
