package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stegomq/internal/keyring"
	"stegomq/internal/pixel"
	"stegomq/internal/quality"
	"stegomq/pipeline"
	"stegomq/pipeline/reports"
	"stegomq/schemas"
	"stegomq/study"
)

// runFlags describe an evaluation. The method request turns the flags that are no fields of a pipeline.Request into some.
type runFlags struct {
	pipeline.Request
	model, keys string
	geometryFlags

	set *pflag.FlagSet // knows which flags the user, or the configuration, gave
}

func (r *runFlags) register(f *pflag.FlagSet) {
	r.set = f
	group(groupData, f, func(f *pflag.FlagSet) {
		f.StringVar(&r.Dataset.Data, "data", "", "folder of images, at any depth; folder of tar archives (WebDataset), or one archive; or a list, .txt or .csv; consecutive images make a pair, the first is the cover (required)")
		f.StringVar(&r.Dataset.Covers, "covers", "", "where the covers are, in the form of --data; the images of --data are then the secrets")
		r.geometryFlags.register(f, pipeline.DefaultSide, "width and height that every image is brought to, pixels")
		f.IntVar(&r.Dataset.Limit, "limit", 0, "largest number of pairs, the first ones (0: all)")
	})
	f.StringVar(&r.model, "model", defaultModel, "model name or directory")
	f.StringVar(&r.keys, "keys", "2", "number of the model's demo keys; ids of keys, as in demo-1,alice; or a keyring file, all of it")
	group(groupTrials, f, func(f *pflag.FlagSet) {
		f.IntVar(&r.RandomKeys, "random-keys", 1, "number of unregistered keys that try to decode")
		f.IntVar(&r.NearKeys, "near-keys", 0, fmt.Sprintf("number of keys one bit off each key that try to decode what it embedded, 0 to %d; the bits are spread evenly", keyring.KeyBits))
		f.Uint64Var(&r.RandomSeed, "random-seed", 1, "seed of the unregistered keys")
		f.IntVar(&r.WrongKeys, "wrong-keys", pipeline.DefaultWrongKeys, "largest number of other keys that try to decode what a key embedded, drawn by --wrong-seed where there are more (0: all)")
		f.Uint64Var(&r.WrongSeed, "wrong-seed", 1, "seed of --wrong-keys")
	})
	f.IntVar(&r.Batch, "batch", pipeline.DefaultBatch, "image pairs in one job, 1 to 64")
}

// registerTrials registers the flags of evaluate and producer that an audit does not have.
func (r *runFlags) registerTrials(f *pflag.FlagSet) {
	group(groupData, f, func(f *pflag.FlagSet) {
		f.IntVar(&r.Dataset.Sample, "sample", 0, "number of pairs drawn from all by --sample-seed, the same on every machine (0: none are drawn)")
		f.Uint64Var(&r.Dataset.Seed, "sample-seed", 1, "seed of --sample")
	})
	f.Float64Var(&r.Noise, "noise", pipeline.DefaultNoise, "standard deviation of the noise for purification, 0..255")
	f.StringVar(&r.Run, "run", "", "name of the run (default: derived from its content, so that the same command resumes it)")
	group(groupTrials, f, func(f *pflag.FlagSet) {
		f.BoolVar(&r.Swapped, "swapped", false, "also decode what each key embedded with its k_e and k_r exchanged")
		f.Float64SliceVar(&r.Partial, "partial", nil, "also decode what each key embedded with keys whose fill is right in only this much, in percent, such as 25,50,99.5")
		f.BoolVar(&r.NoKey, "no-key", false, "also give every stego image to the network that needs no key, which purifies")
		f.StringSliceVar(&r.MoreMetrics, "more-metrics", nil, "also measure these metrics, which takes longer: "+strings.Join(quality.Optional(), ", "))
		f.StringSliceVar(&r.Attacks, "attacks", nil, "recover once more after each of these happened to the stego image: "+pixel.AttackHelp())
	})
	f.BoolVar(&r.Features, "features", false, "keep the input of recovery's last layer with every score, for figures of the keys' separation")
}

// geometryFlags are --size and --resize.
type geometryFlags struct {
	size   int
	resize string
}

func (g *geometryFlags) register(f *pflag.FlagSet, size int, usage string) {
	f.IntVar(&g.size, "size", size, usage)
	f.StringVar(&g.resize, "resize", "squash", "squash or crop")
}

func (g *geometryFlags) geometry() (*schemas.Geometry, error) {
	made, err := pipeline.Geometry(g.size, g.resize)
	return made, asFlag(err)
}

// request makes the request that the flags describe, loads its model and finds its keys. It does not check the request.
func (a *app) request(flags *runFlags) (*pipeline.Request, error) {
	req := flags.Request
	var err error
	if req.Model, err = a.loadModel(flags.model); err != nil {
		return nil, err
	}
	if req.Geometry, err = flags.geometry(); err != nil {
		return nil, err
	}
	if req.Keys, err = a.registeredKeys(flags.keys, req.Model); err != nil {
		return nil, asFlag(err)
	}
	if pipeline.HasVariants(req.Model) && !flags.set.Changed("random-keys") {
		req.RandomKeys = 0
	}
	return &req, nil
}

// checked makes the request that the flags describe, and checks it.
func (a *app) checked(flags *runFlags) (*pipeline.Request, error) {
	req, err := a.request(flags)
	if err != nil {
		return nil, err
	}
	return req, asFlag(req.Check(a.minSide))
}

// asFlag has the error of a wrong field name its flag.
func asFlag(err error) error {
	var field *pipeline.FieldError
	if errors.As(err, &field) {
		return fmt.Errorf("--%w", err)
	}
	return err
}

func (a *app) evaluateCommand() *cobra.Command {
	var flags runFlags
	var out string
	var asJSON, dry bool
	cmd := &cobra.Command{
		Use:   "evaluate --data PLACE",
		Short: "Embed, recover and purify the images of a data set with several keys, and score the outcome",
		Long: `Every pair of images is embedded with every key. It is decoded with every key, with random keys and with keys one bit off
(--near-keys), and purified; --swapped, --partial, --no-key and --attacks try more. What a model cannot do is left out:
a model with a network for each key knows no other keys, and few models purify.
The scores go to summary.json, items.csv, report.md and report.html. Work that was done before is not done again; after
Ctrl-C the same command resumes. Ctrl-C takes the waiting jobs of the run out of the queue (--detach leaves them there); a
second one ends the command at once. A model whose recovery is authenticated refuses wrong keys and changed images: that is an
outcome of its own, which is counted as refused and is in no mean. Exit code 1 says that some files or comparisons failed, or that
the matched key was refused an image that nobody had changed; they are named.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dry {
				return a.forecast(cmd, &flags, asJSON)
			}
			return a.evaluate(cmd, &flags, out, asJSON)
		},
	}
	f := cmd.Flags()
	flags.register(f)
	flags.registerTrials(f)
	f.BoolVar(&flags.Detach, "detach", false, "leave the waiting jobs in the queue when the command is interrupted")
	a.patienceFlag(f)
	group(groupMade, f, func(f *pflag.FlagSet) {
		f.StringVar(&out, "out", "", "folder for the files (default out/RUN)")
		f.BoolVar(&flags.Images, "save-images", false, "write the images that items.csv names, and grid.png with the first pairs")
		f.BoolVar(&asJSON, "json", false, "print summary.json instead of tables")
		f.BoolVar(&dry, "dry-run", false, dryRunUsage)
	})
	a.workerFlags(f)
	must(cmd.MarkFlagRequired("data"))
	return cmd
}

// must panics where this program has a mistake.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (a *app) evaluate(cmd *cobra.Command, flags *runFlags, out string, asJSON bool) (err error) {
	req, err := a.checked(flags)
	if err != nil {
		return err
	}
	return a.withCache(cmd.Context(), func(s *pipeline.Services) error {
		show := &progress{out: cmd.ErrOrStderr()}
		defer show.close()
		made, err := reports.Make(cmd.Context(), s, thisProgram(), req, out, show.watch())
		if err != nil {
			return err
		}
		if req.Images {
			if err := study.WriteGrid(made.Dir, made.Spec, made.Scores); err != nil {
				return err
			}
		}
		if err := printReport(cmd.OutOrStdout(), made.Summary.Document(), made.Summary, asJSON); err != nil {
			return err
		}
		if !asJSON {
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "\nsummary.json, items.csv, report.md and report.html are in %s\n", made.Dir)
		}
		return made.Failed()
	})
}
