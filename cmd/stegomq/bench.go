package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stegomq/internal/load"
	"stegomq/pipeline"
	"stegomq/pipeline/reports"
)

// benchFlags describe a benchmark.
type benchFlags struct {
	pipeline.BenchRequest
	load.Offer
	load.SweepPlan

	model, memo, keyChoice string
	baseline               bool
	jsonFile, svgFile      string

	set *pflag.FlagSet
}

// work registers the flags that say what is measured.
func (fl *benchFlags) work(f *pflag.FlagSet) {
	f.StringVar(&fl.Operation, "operation", pipeline.BenchEmbed, "what a request does: embed; recover; evaluate: embed, recover with the key and score both; no-op: nothing, so that the queue is measured")
	f.StringVar(&fl.model, "model", defaultModel, "model name or directory")
	f.IntVar(&fl.Size, "size", pipeline.DefaultSide, "width and height of the images, pixels")
	f.IntVar(&fl.Batch, "batch", 1, "images, or pairs, in one request, 1 to 64; all of one key")
	f.IntVar(&fl.BenchRequest.Keys, "keys", 1, "number of keys; on given servers of your keyring's")
	f.StringVar(&fl.keyChoice, "key-choice", string(load.Uniform), "one, uniform or zipf: how often each key is asked for")
	f.StringVar(&fl.Data.Data, "data", "", "images as for evaluate, brought to the size before the measurement; without it they are drawn from the seed")
	f.BoolVar(&fl.Inline, "inline", true, "send images in the message where they fit (512 KiB); --inline=false stores them as blobs")
	f.StringVar(&fl.memo, "memo", "off", "on: outputs that were made before are used again, and counted as hits; off: no image comes twice")
	f.Uint64Var(&fl.BenchRequest.Seed, "seed", 1, "seed of drawn images, keys' order and intended starts")
}

// window registers the flags that say how long the measurement takes.
func (fl *benchFlags) window(f *pflag.FlagSet) {
	f.DurationVar(&fl.WarmUp, "warm-up", 2*time.Second, "time before what counts")
	f.DurationVar(&fl.Duration, "duration", 10*time.Second, "time that counts")
}

// benchFlagsOf registers the flags of a benchmark, with those of its load.
func (a *app) benchFlagsOf(cmd *cobra.Command, fl *benchFlags, load func(*pflag.FlagSet)) {
	f := cmd.Flags()
	fl.set = f
	group(groupMeasured, f, fl.work)
	group(groupLoad, f, load)
	group(groupWhere, f, func(f *pflag.FlagSet) {
		f.IntVar(&fl.Workers, "workers", 1, "workers in this process, each with its own engine and --slots")
	})
	group(groupMade, f, func(f *pflag.FlagSet) {
		f.StringVar(&fl.jsonFile, "json", "", "file for the whole report; -: standard output, in the place of the table")
		f.StringVar(&fl.svgFile, "svg", "", "file for the chart")
	})
	a.workerFlags(f)
	a.patienceFlag(f)
	cmd.Annotations = map[string]string{ownServers: ""}
}

func (a *app) benchCommand() *cobra.Command {
	fl := &benchFlags{}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put the pipeline under load, and say how long requests take and what they cost",
		Long: `Requests go the way of embed --stream: images into the message or the blob store, the job through the queue, the output back. In a closed
loop a fixed number of requests (--in-flight) is under way at a time. In an open loop (--rate) requests begin at the times of a Poisson process, and
their latency counts from when they should have begun. Without --nats and --redis the servers, the workers and the evaluator are in this process,
even while a stegomq up runs, and their data is gone afterwards. Exit code 1 says that some requests failed; the table has the reasons.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.bench(cmd, fl) },
	}
	a.benchFlagsOf(cmd, fl, func(f *pflag.FlagSet) {
		f.IntVar(&fl.InFlight, "in-flight", 0, "closed loop: requests under way (0: two for each slot of the workers)")
		f.Float64Var(&fl.Rate, "rate", 0, "open loop: requests a second")
		fl.window(f)
		f.IntVar(&fl.Requests, "requests", 0, "number of requests that count, in the place of --duration")
		f.BoolVar(&fl.baseline, "baseline", false, "run the bare runtime before and after, on the same graph, images and threads, with one key's weights as constants, and print the ratio")
	})
	cmd.AddCommand(a.benchSweepCommand(), benchCompareCommand())
	return cmd
}

func (a *app) benchSweepCommand() *cobra.Command {
	fl := &benchFlags{}
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: "Raise the offered rate until the pipeline does not keep up",
		Long: `Runs an open loop at one rate after another. A rate holds where the answers within the measured time are at least 95 % of the requests that
should have begun in it, none failed and, with --p99, the 99th percentile of the latency is below that bound. The knee is the highest rate that
holds, with all rates below it. One rate above the knee is measured too, to show how it goes on.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchSweep(cmd, fl) },
	}
	a.benchFlagsOf(cmd, fl, func(f *pflag.FlagSet) {
		f.Float64Var(&fl.From, "from", 0, "first rate, requests a second (0: a fifth of what a closed loop reaches)")
		f.Float64Var(&fl.Factor, "factor", 1.25, "ratio of each rate to the one before")
		f.IntVar(&fl.Most, "steps", 20, "largest number of rates")
		f.DurationVar(&fl.P99, "p99", 0, "bound that the 99th percentile of the latency must stay below (0: none)")
		fl.window(f)
	})
	return cmd
}

func benchCompareCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "compare A.json B.json",
		Short: "Put two reports of bench --json side by side, with their ratios",
		Long:  `Ratios are B over A. Both must be of the same operation, model and size; what else differs is named. No server is asked.`,
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := load.Read(args[0])
			if err != nil {
				return err
			}
			b, err := load.Read(args[1])
			if err != nil {
				return err
			}
			c, err := load.Compare(a, b)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), c)
			}
			printComparison(cmd, c)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON instead of a table")
	return cmd
}

// benchRequest makes the request and the load that the flags describe, and checks them.
func (a *app) benchRequest(fl *benchFlags) (*pipeline.BenchRequest, load.Offer, error) {
	req, offer := fl.BenchRequest, fl.Offer
	offer.Keys, offer.Choice, offer.Seed = req.Keys, load.Choice(fl.keyChoice), req.Seed
	req.Library = a.library()
	if offer.Requests > 0 && !fl.set.Changed("duration") {
		offer.Duration = 0
	}
	switch fl.memo {
	case "on", "off":
		req.Memo = fl.memo == "on"
	default:
		return nil, offer, fmt.Errorf("--memo %q: choose on or off", fl.memo)
	}
	if offer.Rate != 0 && fl.set.Changed("in-flight") {
		return nil, offer, errors.New("--rate and --in-flight exclude each other: leave one out")
	}
	if offer.Rate == 0 && offer.InFlight == 0 {
		slots := a.slots
		if slots <= 0 {
			slots = runtime.NumCPU()
		}
		offer.InFlight = 2 * slots * max(1, req.Workers)
	}
	if req.Operation != pipeline.BenchNoOp {
		var err error
		if req.Model, err = a.loadModel(fl.model); err != nil {
			return nil, offer, err
		}
	}
	for flag, file := range map[string]string{"json": fl.jsonFile, "svg": fl.svgFile} {
		if err := writable(file); err != nil {
			return nil, offer, fmt.Errorf("--%s: %w", flag, err)
		}
	}
	err := req.Check(a.at.Embedded(), a.minSide)
	if err == nil {
		err = pipeline.CheckOffer(offer)
	}
	if err == nil && fl.baseline {
		err = req.CheckBaseline(a.at.Embedded())
	}
	return &req, offer, asFlag(err)
}

// writable finds, before a measurement, whether its file can be written after it.
func writable(file string) error {
	if file == "" || file == toStdout {
		return nil
	}
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a folder: name a file in it", file)
	}
	pending, err := renameio.NewPendingFile(file, renameio.WithTempDir(filepath.Dir(file)))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is no folder %s: make it first", file, filepath.Dir(file))
	}
	if err != nil {
		return err
	}
	return pending.Cleanup()
}

// longestBare bounds each of the two bare loops.
const longestBare = 5 * time.Second

func (a *app) bench(cmd *cobra.Command, fl *benchFlags) error {
	req, offer, err := a.benchRequest(fl)
	if err != nil {
		return err
	}
	line := &benchLine{out: cmd.ErrOrStderr()}
	var report *load.Report
	err = pipeline.RunBench(cmd.Context(), a.options(), req, func(ctx context.Context, b *pipeline.Bench) error {
		bare := func() (found load.Bare, threads int, err error) {
			if !fl.baseline {
				return found, 0, nil
			}
			took := longestBare
			if offer.Duration > 0 {
				took = min(took, offer.Duration)
			}
			line.say("the bare runtime")
			return b.Bare(ctx, took, offer.InFlight)
		}
		before, threads, err := bare()
		if err != nil {
			return err
		}
		if report, err = b.Measure(ctx, versionText(), offer, line.watch(offer)); err != nil {
			return err
		}
		after, _, err := bare()
		if err == nil && fl.baseline {
			report.Against(before, after, threads)
		}
		return err
	})
	line.close()
	if err != nil {
		return asFlag(err)
	}
	if fl.jsonFile != toStdout {
		printBench(cmd, report)
	}
	if err := fl.write(cmd, report, report.Figure()); err != nil {
		return err
	}
	if n := report.Measured.FailedItems(); n > 0 {
		return fmt.Errorf("%w: %d images; the table has the reasons", reports.ErrSomeFailed, n)
	}
	return nil
}

func (a *app) benchSweep(cmd *cobra.Command, fl *benchFlags) error {
	req, offer, err := a.benchRequest(fl)
	if err != nil {
		return err
	}
	if err := pipeline.CheckSweep(fl.SweepPlan); err != nil {
		return asFlag(err)
	}
	line := &benchLine{out: cmd.ErrOrStderr()}
	var found *load.Sweep
	err = pipeline.RunBench(cmd.Context(), a.options(), req, func(ctx context.Context, b *pipeline.Bench) (err error) {
		plan := fl.SweepPlan
		if plan.From == 0 {
			line.say("a closed loop, to know where to begin")
			closed := offer
			closed.Duration = max(time.Second, offer.Duration/2)
			r, err := b.Measure(ctx, versionText(), closed, line.watch(closed))
			if err != nil {
				return err
			}
			plan.From = 0.2 * r.Measured.RequestsASecond()
		}
		found, err = plan.Sweep(ctx, func(ctx context.Context, rate float64) (*load.Report, error) {
			one := offer
			one.Rate = rate
			return b.Measure(ctx, versionText(), one, line.watch(one))
		})
		return err
	})
	line.close()
	if err != nil {
		return asFlag(err)
	}
	if fl.jsonFile != toStdout {
		printSweep(cmd, found)
	}
	return fl.write(cmd, found, found.Figure())
}

func versionText() string { return strings.TrimSpace("stegomq " + version + " " + revision) }

// figured is a result that has a chart.
type figured interface{ SVG() ([]byte, error) }

// toStdout is a file's name that means standard output.
const toStdout = "-"

// write writes the files that the flags name.
func (fl *benchFlags) write(cmd *cobra.Command, v any, chart figured) error {
	var err error
	switch fl.jsonFile {
	case "":
	case toStdout:
		err = printJSON(cmd.OutOrStdout(), v)
	default:
		err = load.Write(fl.jsonFile, v)
	}
	if err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	if fl.svgFile == "" {
		return nil
	}
	svg, err := chart.SVG()
	if err == nil {
		err = renameio.WriteFile(fl.svgFile, svg, 0o644)
	}
	if err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	return nil
}
