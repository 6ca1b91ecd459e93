package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settings are those of the flags.
type settings struct {
	programs
	seed     uint64
	jobs     int
	faults   int // on each cluster
	gap, end time.Duration
	only     string // a part of the names of kinds
	nodes    []int  // of each run
	asks     int    // requests of the latency's measurement; 0: it is left out
	dir      string
	log      io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

func command(ctx context.Context, args []string) error {
	c := settings{log: os.Stderr}
	f := flag.NewFlagSet("chaos", flag.ExitOnError)
	f.StringVar(&c.stegomq, "stegomq", ".bin/stegomq", "program under test (make build)")
	f.StringVar(&c.nats, "nats-server", ".bin/nats-server", "NATS server (make nats-server)")
	f.StringVar(&c.redis, "redis-server", "redis-server", "Redis server")
	f.StringVar(&c.ort, "ort-lib", ".cache/onnxruntime", "ONNX Runtime library (make ort)")
	f.StringVar(&c.models, "models", "internal/ort/testdata", "folder with the model "+model)
	f.Uint64Var(&c.seed, "seed", 0, "seed of pictures and schedules, to replay one (0: a new one)")
	f.IntVar(&c.jobs, "jobs", 10000, "jobs of a run")
	f.IntVar(&c.faults, "faults", 80, "faults on each cluster")
	f.DurationVar(&c.gap, "gap", 4*time.Second, "a fault waits for its share of the work, but no longer than this after the one before")
	f.DurationVar(&c.end, "end", 5*time.Minute, "how long a run may go on after the last fault")
	f.StringVar(&c.only, "only", "", "only faults whose name contains this: one kind, such as \"Redis killed\", or several")
	f.IntVar(&c.asks, "requests", 300, "requests to embed, idle and beside a bulk run (0: none)")
	f.StringVar(&c.dir, "out", "out/chaos", "folder of the report, and of the logs")
	nodes := f.String("nodes", "1,3", "sizes of the NATS clusters, with commas; empty: no runs with faults")
	if err := f.Parse(args); err != nil {
		return err
	}
	for _, word := range strings.FieldsFunc(*nodes, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return fmt.Errorf("-nodes %s: give numbers", *nodes)
		}
		c.nodes = append(c.nodes, n)
	}
	if c.seed == 0 {
		c.seed = rand.Uint64N(1e9) + 1
	}
	r, err := chaos(ctx, c)
	if err != nil {
		return err
	}
	if err := r.writeMarkdown(os.Stdout); err != nil {
		return err
	}
	if !r.whole() {
		return fmt.Errorf("a run was not whole; CHAOS_SEED=%d makes the same faults again, and the logs are in %s", r.Seed, c.dir)
	}
	return r.quick()
}

// chaos makes all runs and measurements, and writes chaos.json and chaos.md.
func chaos(ctx context.Context, c settings) (*report, error) {
	var err error
	for _, path := range []*string{&c.stegomq, &c.nats, &c.ort, &c.models, &c.dir} {
		if *path, err = filepath.Abs(*path); err != nil {
			return nil, err
		}
	}
	r := &report{Seed: c.seed, Cores: runtime.NumCPU()}
	version, err := exec.CommandContext(ctx, c.stegomq, "--version").Output() //nolint:gosec // the program that the user named
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", c.stegomq, err)
	}
	words := strings.Fields(string(version))
	r.Program = words[len(words)-1]
	c.say("seed %d, stegomq %s; everything is in %s", c.seed, r.Program, c.dir)
	if err := os.RemoveAll(c.dir); err != nil {
		return nil, err
	}
	failed := c.mixed(ctx, r)
	if failed == nil && c.asks > 0 {
		failed = c.interactive(ctx, r)
	}
	return r, errors.Join(failed, c.write(r))
}

func (c *settings) say(format string, args ...any) { _, _ = fmt.Fprintf(c.log, format+"\n", args...) }

// mixed makes every fault of the schedule happen, for every size of cluster, and stops at an incomplete run.
func (c *settings) mixed(ctx context.Context, r *report) error {
	if len(c.nodes) == 0 {
		return nil
	}
	data := filepath.Join(c.dir, "pictures")
	pairs := (c.jobs + jobsPerPair - 1) / jobsPerPair
	if err := pictures(data, pairs, c.seed); err != nil {
		return err
	}
	var want comparisons
	for _, nodes := range c.nodes {
		calm, err := c.one(ctx, r, nodes, fmt.Sprintf("calm-%d", nodes), order{data: data, want: want, end: c.end})
		if err != nil {
			return err
		}
		if !calm.whole() {
			return fmt.Errorf("the undisturbed run failed: exit code %d, %d lost, %d dead letters: %s", calm.ExitCode, calm.Lost, calm.DeadLetters, calm.LastLine)
		}
		want = calm.rows
		// A fast machine ends a run before every fault has begun: the others happen in further runs.
		faults := schedule(c.seed, nodes, c.faults, c.only)
		for round := 1; len(faults) > 0; round++ {
			name := fmt.Sprintf("chaos-%d-%d", nodes, round)
			o, err := c.one(ctx, r, nodes, name, order{data: data, want: want, faults: faults, gap: c.gap, end: c.end})
			if err != nil {
				return err
			}
			o.Jobs, o.Undisturbed = pairs*jobsPerPair, calm.Elapsed
			r.Runs = append(r.Runs, o)
			if !o.whole() {
				return nil
			}
			if len(o.Faults) == 0 {
				return fmt.Errorf("%s ended before a fault began: give it more jobs", name)
			}
			faults = faults[len(o.Faults):]
			spread(faults)
		}
	}
	return nil
}

// one makes one run on a system of its own.
func (c *settings) one(ctx context.Context, r *report, nodes int, name string, o order) (_ *outcome, err error) {
	sys, err := newSystem(ctx, c.programs, nodes, filepath.Join(c.dir, name))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sys.close()) }()
	if sys.disks.why != nil {
		r.NoDisk = sys.disks.why.Error()
	}
	o.name = name
	result, err := sys.run(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, f := range result.Faults {
		c.say("%v", f)
	}
	c.say("%s, %s: %d comparisons, %d faults, exit code %s after %s, lost %d, doubled %d, differing %d, dead letters %d, longest stall %s",
		name, cluster(nodes), result.Comparisons, len(result.Faults), result.exit(), seconds(result.Elapsed), result.Lost, result.Doubled, result.Differing+result.Unexpected,
		result.DeadLetters, seconds(result.Stall))
	return result, nil
}

// interactive measures requests, alone and beside a bulk run.
func (c *settings) interactive(ctx context.Context, r *report) (err error) {
	bulk := filepath.Join(c.dir, "bulk")
	pairs := (c.jobs + jobsPerPair - 1) / jobsPerPair
	if err := pictures(bulk, pairs, c.seed); err != nil {
		return err
	}
	sys, err := newSystem(ctx, c.programs, 1, filepath.Join(c.dir, "latency"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sys.close()) }()
	r.Latency, err = sys.latencies(ctx, bulk, pairs*jobsPerPair, c.asks)
	return err
}

// quick says whether interactive work overtakes bulk work. The bound is wide because the machine is shared: a request that
// waits for a bulk run is late by seconds, not by milliseconds.
func (r *report) quick() error {
	l := r.Latency
	if l == nil {
		return nil
	}
	if bound := max(3*l.bound(), time.Second); l.Beside.P99 > bound {
		return fmt.Errorf("interactive requests waited for a bulk run: p99 %v, idle %v", l.Beside.P99, l.Idle.P99)
	}
	return nil
}

func (c *settings) write(r *report) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(c.dir, "chaos.json"), append(data, '\n'), 0o600); err != nil {
		return err
	}
	var text strings.Builder
	if err := r.writeMarkdown(&text); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.dir, "chaos.md"), []byte(text.String()), 0o600)
}
