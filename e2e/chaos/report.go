package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is everything that was measured.
type report struct {
	Seed    uint64 `json:"seed"`
	Program string `json:"program"` // its version
	Cores   int    `json:"cores"`
	// NoDisk says why no disk was full.
	NoDisk  string     `json:"no_disk,omitempty"`
	Runs    []*outcome `json:"runs"`
	Latency *latency   `json:"latency,omitempty"`
}

// whole says whether every run was.
func (r *report) whole() bool {
	return !slices.ContainsFunc(r.Runs, func(o *outcome) bool { return !o.whole() })
}

// writeMarkdown writes the tables.
func (r *report) writeMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Seed %d, stegomq %s, %d cores, Go %s, ack-wait %v.\n", r.Seed, r.Program, r.Cores, strings.TrimPrefix(runtime.Version(), "go"), ackWait)
	if r.NoDisk != "" {
		fmt.Fprintf(&b, "No disk was full: %s.\n", r.NoDisk)
	}
	if len(r.Runs) > 0 {
		table(&b, []string{"servers", "jobs", "comparisons", "faults", "exit code", "lost", "doubled", "differing", "dead letters", "time", "undisturbed", "longest stall"})
		for _, o := range r.Runs {
			row(&b, o.Servers, o.Jobs, o.Comparisons, fmt.Sprintf("%d of %d", len(o.Faults), o.Planned), o.exit(), o.Lost, o.Doubled, o.Differing+o.Unexpected, o.DeadLetters,
				seconds(o.Elapsed), seconds(o.Undisturbed), fmt.Sprintf("%s at %s", seconds(o.Stall), seconds(o.StallAt)))
		}
		r.writeKinds(&b)
		r.writeMemory(&b)
	}
	if l := r.Latency; l != nil {
		table(&b, []string{"`bench --operation embed`", "requests", "p50", "p99"})
		row(&b, "idle", l.Idle.N, milliseconds(l.Idle.P50), milliseconds(l.Idle.P99))
		row(&b, fmt.Sprintf("beside a bulk run of %d jobs", l.Jobs), l.Beside.N, milliseconds(l.Beside.P50), milliseconds(l.Beside.P99))
		fmt.Fprintf(&b, "\nOne job of the bulk run: %s (p99). Three times the idle p99 and one job: %s. The bulk run was %.0f %% done at the end.\n",
			milliseconds(l.Job), milliseconds(l.bound()), 100*l.Progress)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (o *outcome) exit() string {
	if o.Hung {
		return "never ended"
	}
	return fmt.Sprint(o.ExitCode)
}

// writeKinds writes the delays by each kind of fault in the mixed runs.
func (r *report) writeKinds(b *strings.Builder) {
	kinds := make(map[string][]faultResult)
	for _, o := range r.Runs {
		for _, f := range o.Faults {
			kinds[f.Kind] = append(kinds[f.Kind], f)
		}
	}
	if len(kinds) == 0 {
		return
	}
	table(b, []string{"fault", "times", "lasted, median", "nothing moved, median", "longest", "moved after it was mended, median", "longest"})
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		var held, stalled, recovered []time.Duration
		for _, f := range kinds[kind] {
			held, stalled = append(held, f.Hold), append(stalled, f.Stalled)
			if f.Recovered >= 0 {
				recovered = append(recovered, f.Recovered)
			}
		}
		row(b, kind, len(held), middle(held), middle(stalled), largest(stalled), middle(recovered), largest(recovered))
	}
}

// middle is the median, the lower one of two; 0 of none.
func middle(times []time.Duration) string {
	slices.Sort(times)
	if len(times) == 0 {
		return seconds(0)
	}
	return seconds(times[(len(times)-1)/2])
}

func largest(times []time.Duration) string { return seconds(slices.Max(append(times, 0))) }

// writeMemory writes the largest of each role.
func (r *report) writeMemory(b *strings.Builder) {
	table(b, []string{"process", "servers", "most memory", "ended by itself"})
	for _, o := range r.Runs {
		for _, m := range slices.SortedFunc(slices.Values(o.Memory), func(x, y memory) int { return cmp.Compare(x.Part, y.Part) }) {
			row(b, m.Part, o.Servers, fmt.Sprintf("%d MiB", m.PeakRSS>>20), len(m.Exits))
		}
	}
}

func table(b *strings.Builder, head []string) {
	b.WriteString("\n| " + strings.Join(head, " | ") + " |\n|" + strings.Repeat("---|", len(head)) + "\n")
}

func row(b *strings.Builder, cells ...any) {
	for _, c := range cells {
		fmt.Fprintf(b, "| %v ", c)
	}
	b.WriteString("|\n")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
