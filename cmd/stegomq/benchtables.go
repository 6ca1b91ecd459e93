package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"stegomq/internal/load"
)

// msText is a duration in milliseconds, to three digits.
func msText(d time.Duration) string {
	ms := float64(d.Microseconds()) / 1e3
	if ms >= 1000 {
		return fmt.Sprintf("%.0f", ms)
	}
	return fmt.Sprintf("%.3g", ms)
}

// fewRequests are too few for reliable figures: the requests that the beginning and the end cut off are a large part of them.
const fewRequests = 30

// printBench prints a report: what was measured, what came of it, and how long the parts took.
func printBench(cmd *cobra.Command, r *load.Report) {
	s, m := r.Subject, r.Measured
	out := cmd.OutOrStdout()
	say := func(what, format string, args ...any) {
		_, _ = fmt.Fprintf(out, "%-12s %s\n", what, fmt.Sprintf(format, args...))
	}
	say("measured", "%s, batch %d; keys: %d, %s; images: %s", s, s.Batch, r.Load.Keys, r.Load.Choice, s.Images)
	say("load", "%s, for %.1f s", r.Load, m.Window.Seconds())
	where := s.Servers + " servers"
	if s.Workers > 0 {
		where += fmt.Sprintf(", workers: %d of %d slots", s.Workers, s.Slots)
	}
	if s.Runtime != "" {
		where += ", " + s.Runtime
	}
	say("where", "%s; %d cores", where, s.Cores)
	say("throughput", "%.4g images/s, %.4g requests/s", r.ItemsASecond, m.RequestsASecond())
	if r.Load.Loop == "open" {
		say("kept up", "%.1f %% of what was offered", 100*m.KeptUp())
	}
	say("made", "%d images in %d requests; found made before: %d; failed: %s", m.Items, m.Requests, m.Hits, orDash(len(m.Failed) == 0, m.FailedText()))
	say("bytes", "%.1f MB in, %.1f MB out", float64(m.In)/1e6, float64(m.Out)/1e6)
	for _, p := range m.Usage.Processes {
		say("process", "%s: %.2f s of CPU, %s ms an image; %d MiB", p.Name, p.CPU, orDash(m.Ended == 0, fmt.Sprintf("%.3g", 1e3*p.CPU/float64(m.Ended))), p.RSS>>20)
	}
	if s.Workers == 0 {
		say("", "the CPU time of NATS and of the workers is not known here")
	}
	if n := m.Usage.WeightHits + m.Usage.WeightMisses; n > 0 {
		say("weights", "%d runs had the key's weights at hand, %d made them", m.Usage.WeightHits, m.Usage.WeightMisses)
	}
	if b := r.Baseline; b != nil {
		say("bare", "%.4g and %.4g images/s before and after, on %d threads; CPU %.3g and %.3g ms an image",
			b.Before.ItemsASecond, b.After.ItemsASecond, b.Threads, 1e3*b.Before.CPUAnItem, 1e3*b.After.CPUAnItem)
		say("ratio", "pipeline / bare %.3f by throughput, %.3f by CPU (1: as fast)", b.Ratio, b.CPURatio)
	}
	if m.EndedRequests < fewRequests {
		say("", "only %d requests ended in that time: the figures are rough; raise --duration", m.EndedRequests)
	}
	w := newTable(cmd, "ms", "n", "mean", "p50", "p90", "p99", "p99.9", "max")
	row := func(name string, h load.Histogram) {
		if h.Count() > 0 {
			w.AppendRow([]any{name, h.Count(), msText(h.Mean()), msText(h.At(50)), msText(h.At(90)), msText(h.At(99)), msText(h.At(99.9)), msText(h.Max())})
		}
	}
	row("latency", m.Latency)
	for _, part := range load.Parts() {
		if h, ok := m.Parts[part]; ok {
			row("  "+string(part), h)
		}
	}
	row("found made before", m.HitLatency)
	w.Render()
}

func printSweep(cmd *cobra.Command, s *load.Sweep) {
	w := newTable(cmd, "requests/s", "answered/s", "kept up", "p50 ms", "p99 ms", "failed", "holds")
	for _, step := range s.Steps {
		m := step.Report.Measured
		w.AppendRow([]any{
			fmt.Sprintf("%.4g", step.Report.Load.Rate), fmt.Sprintf("%.4g", m.RequestsASecond()), fmt.Sprintf("%.1f %%", 100*m.KeptUp()),
			msText(m.Latency.At(50)), msText(m.Latency.At(99)), orDash(len(m.Failed) == 0, m.FailedText()), yesNo(step.Held),
		})
	}
	w.Render()
	text := fmt.Sprintf("the knee is at %.4g requests a second", s.Knee)
	switch {
	case !s.Reached:
		text = fmt.Sprintf("no knee up to %.4g requests a second: --steps or --factor go further", s.Knee)
	case s.Knee == 0:
		text = "not even the first rate held: begin lower with --from"
	}
	_, _ = fmt.Fprintln(cmd.OutOrStdout(), text)
}

func printComparison(cmd *cobra.Command, c *load.Comparison) {
	w := newTable(cmd, "", "A", "B", "B / A")
	for _, r := range c.Rows {
		name := r.Name
		if r.Unit != "" {
			name += ", " + r.Unit
		}
		w.AppendRow([]any{name, fmt.Sprintf("%.4g", r.A), fmt.Sprintf("%.4g", r.B), orDash(r.Ratio == 0, fmt.Sprintf("%.3f", r.Ratio))})
	}
	w.Render()
	for _, d := range c.Differs {
		_, _ = fmt.Fprintf(cmd.OutOrStdout(), "not the same: %s\n", d)
	}
}

// benchLine is the live line of a benchmark on a terminal; elsewhere it says nothing.
type benchLine struct {
	out   io.Writer
	shown bool
}

func (l *benchLine) say(text string) {
	if terminal(l.out) != nil {
		l.shown = true
		_, _ = fmt.Fprintf(l.out, "\r\x1b[K%s", text)
	}
}

// watch shows the progress of a load.
func (l *benchLine) watch(o load.Offer) func(load.Progress) {
	if terminal(l.out) == nil {
		return nil
	}
	return func(p load.Progress) {
		what := "warming up"
		if p.Warm {
			what = "measuring"
		}
		if o.Rate > 0 {
			what += fmt.Sprintf(" at %.4g/s", o.Rate)
		}
		l.say(fmt.Sprintf("%s, %.0f s: %d done, %d failed, %d under way, p50 %s ms, p99 %s ms", what, p.Elapsed.Seconds(), p.Done, p.Failed, p.InFlight, msText(p.Median), msText(p.P99)))
	}
}

func (l *benchLine) close() {
	if l.shown {
		_, _ = fmt.Fprint(l.out, "\r\x1b[K")
	}
}
