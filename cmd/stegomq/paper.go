package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stegomq/pipeline"
	"stegomq/pipeline/reports"
)

// paperFlags describe a study.
type paperFlags struct {
	reports.Paper
	data  []string
	study string
	geometryFlags
}

func (a *app) paperCommand() *cobra.Command {
	var flags paperFlags
	var asJSON, dry bool
	cmd := &cobra.Command{
		Use:   "paper --data NAME=PLACE... --out DIR",
		Short: "Repeat the evaluation of the paper: its Table 1 and its figures, beside what it printed",
		Long: `Every model of the study (models/study.json, or --study) is evaluated on every data set through the queue, with two
key pairs. Then come the models of Fig. 5 and of the gradient's ablation, on the first data set. The report is Markdown,
CSV, JSON, LaTeX, figures, and report.html, which is one file with everything in it. The report names every data set and
model that is missing. Work that was done before is not done again; after Ctrl-C the same command resumes. Exit code 1
says that something is missing or failed; it is named.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.paper(cmd, &flags, asJSON, dry)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&flags.data, "data", nil, "a data set: its name (the paper's for one of the paper's), and where its images are (as in evaluate); may be repeated (required)")
	f.StringVar(&flags.Out, "out", "", "folder for the report, its figures and its runs (required)")
	f.StringVar(&flags.study, "study", "", "file that says which model stands for what (default: study.json beside the models)")
	flags.register(f, pipeline.DefaultSide, "width and height that every image is brought to, pixels; the paper's is 512")
	f.IntVar(&flags.Limit, "limit", 0, "largest number of pairs of a data set, the first ones (0: all)")
	f.IntVar(&flags.Sample, "sample", 0, "number of pairs drawn from all by --sample-seed, the same on every machine (0: none are drawn)")
	f.Uint64Var(&flags.SampleSeed, "sample-seed", 1, "seed of --sample")
	f.IntVar(&flags.SmallPairs, "fig5-pairs", 16, "largest number of pairs for Fig. 5 and the gradient's ablation (0: all)")
	jsonFlag(cmd, &asJSON)
	group(groupMade, f, func(f *pflag.FlagSet) { f.BoolVar(&dry, "dry-run", false, dryRunUsage) })
	a.patienceFlag(f)
	a.workerFlags(f)
	must(cmd.MarkFlagRequired("data"))
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

// paperMade is what paper --json prints.
type paperMade struct {
	Found   int      `json:"found"`
	Made    int      `json:"made"`
	Seconds float64  `json:"elapsed_seconds"`
	Report  string   `json:"report"`
	Missing []string `json:"missing"`
}

func (a *app) paper(cmd *cobra.Command, flags *paperFlags, asJSON, dry bool) (err error) {
	start := time.Now()
	p := &flags.Paper
	if p.Study, err = reports.ReadStudy(flags.study, a.models); err != nil {
		return err
	}
	if err := p.ReadSets(flags.data); err != nil {
		return err
	}
	if p.Geometry, err = flags.geometry(); err != nil {
		return err
	}
	p.Load, p.MinSide = a.loadModel, a.minSide
	if dry {
		p.Say = func(string, string) {}
		return a.withServices(func(s *pipeline.Services) error {
			runs, err := p.Forecast(cmd.Context(), s)
			if err != nil {
				return asFlag(err)
			}
			all := sumOf(runs)
			all.Lacking = p.Missing
			return all.print(cmd, asJSON)
		})
	}
	stderr := cmd.ErrOrStderr()
	return a.withCache(cmd.Context(), func(s *pipeline.Services) error {
		show := &progress{out: stderr}
		defer show.close()
		p.Watch, p.By = show.watch(), thisProgram()
		p.Say = func(model, set string) { _, _ = fmt.Fprintf(stderr, "%s on %s\n", model, set) }
		if err := p.Make(cmd.Context(), s); err != nil {
			return asFlag(err)
		}
		made := paperMade{p.Hits, p.Misses, time.Since(start).Seconds(), filepath.Join(p.Out, "report.html"), p.Missing}
		if asJSON {
			if err := printJSON(cmd.OutOrStdout(), made); err != nil {
				return err
			}
		} else {
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%d comparisons found in the cache, %d made, %.1f s\nThe report is %s, in other formats beside it\n",
				made.Found, made.Made, made.Seconds, made.Report)
		}
		if len(p.Missing) == 0 {
			return nil
		}
		for _, m := range p.Missing {
			_, _ = fmt.Fprintln(stderr, m)
		}
		return fmt.Errorf("%w: %d parts of the report are missing or not whole; it says which", reports.ErrSomeFailed, len(p.Missing))
	})
}
