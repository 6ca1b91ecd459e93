package main

import (
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stegomq/pipeline"
	"stegomq/pipeline/reports"
)

// auditFlags describe an audit.
type auditFlags struct {
	runFlags
	reports.Audit
}

// register registers the flags of a run, with the defaults of an audit.
func (r *auditFlags) register(f *pflag.FlagSet) {
	r.runFlags.register(f)
	for name, value := range map[string]string{"limit": "100", "random-keys": strconv.Itoa(pipeline.MaxRandomKeys), "near-keys": "32"} {
		flag := f.Lookup(name)
		flag.DefValue = value
		must(flag.Value.Set(value))
	}
}

func (a *app) auditCommand() *cobra.Command {
	var flags auditFlags
	var asJSON, dry bool
	cmd := &cobra.Command{
		Use:   "audit --data PLACE",
		Short: "Try to break a model: wrong keys of every kind, steganalysis, attacks on stego images",
		Long: `The sceptic's tests. Wrong keys try to see the secret: thousands of random keys, other users' keys, keys one bit off, keys with their
halves exchanged or right in part, and no key at all. A classifier tries to tell stego images from covers. Stego images are compressed, resized,
cropped and get noise before the matched key recovers. Everything goes through the queue. Work that was done before is not done again, and
after Ctrl-C the same command resumes.
The outcome is audit.md and audit.json with figures; the runs are below runs/. What a test finds is a result and no error:
the exit code is 0 when the audit was made, and 1 when some files or comparisons failed; they are named.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.audit(cmd, &flags, asJSON, dry)
		},
	}
	f := cmd.Flags()
	flags.register(f)
	f.IntVar(&flags.RandomPairs, "random-pairs", 2, "number of pairs that the random keys try, the first ones")
	f.StringArrayVar(&flags.Attackers, "attacker", nil, "file that python -m trainer attack (or decode) wrote about an attacker with leaked pairs; may be repeated, one of each")
	f.StringVar(&flags.Detector, "detector", "", "file that python -m trainer detect wrote about a network that looks for stego images")
	f.StringVar(&flags.Out, "out", filepath.Join("out", "audit"), "folder for the report, its figures and its runs")
	f.BoolVar(&asJSON, "json", false, "print audit.json instead of the verdicts")
	f.BoolVar(&dry, "dry-run", false, dryRunUsage)
	a.patienceFlag(f)
	a.workerFlags(f)
	must(cmd.MarkFlagRequired("data"))
	cmd.AddCommand(a.auditPublicCommand())
	return cmd
}

func (a *app) audit(cmd *cobra.Command, flags *auditFlags, asJSON, dry bool) error {
	req, err := a.request(&flags.runFlags)
	if err != nil {
		return err
	}
	req.Noise = pipeline.DefaultNoise
	reports.TryAll(req)
	if err := asFlag(req.Check(a.minSide)); err != nil {
		return err
	}
	audit := &flags.Audit
	audit.Request = req
	if err := audit.Read(); err != nil {
		return err
	}
	if dry {
		return a.withServices(func(s *pipeline.Services) error {
			runs, err := audit.Forecast(cmd.Context(), s)
			if err != nil {
				return err
			}
			return sumOf(runs).print(cmd, asJSON)
		})
	}
	return a.withCache(cmd.Context(), func(s *pipeline.Services) error {
		show := &progress{out: cmd.ErrOrStderr()}
		defer show.close()
		audit.Watch, audit.By = show.watch(), thisProgram()
		audit.Say = func(name, what string) { _, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", name, what) }
		found, failed := audit.Make(cmd.Context(), s)
		if found == nil {
			return failed
		}
		if err := found.WriteFiles(audit.Out); err != nil {
			return err
		}
		if err := printReport(cmd.OutOrStdout(), found.Brief(), found, asJSON); err != nil {
			return err
		}
		if !asJSON {
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "\naudit.md, audit.json, report.html and the figures are in %s\n", audit.Out)
		}
		return failed
	})
}

func (a *app) auditPublicCommand() *cobra.Command {
	var name, folder string
	cmd := &cobra.Command{
		Use:   "public --model MODEL --images FOLDER",
		Short: "Write what anybody can compute from stego images without a key, for an attacker",
		Long: `Reads the stego images in FOLDER/stego, and writes a file NAME.npy (float32) of each to FOLDER/public. The attacker of
` + "`python -m trainer decode`" + ` takes it as input beside the image. For a modulo model it is the rotated secret, 768 x height/16 x width/16:
what the receiver has before the key turns it back. FOLDER is the folder images of a run of ` + "`stegomq evaluate --save-images`" + `.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := a.loadModel(name)
			if err != nil {
				return err
			}
			n, out, err := reports.WritePublic(m, folder)
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d arrays\n", out, n)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "model", "modulo", "model name or directory")
	f.StringVar(&folder, "images", "", "folder that has stego (required)")
	must(cmd.MarkFlagRequired("images"))
	return cmd
}
