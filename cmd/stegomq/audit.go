package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"stegomq/evaluator/audit"
	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/steganalysis"
)

// auditFlags describe an audit.
type auditFlags struct {
	data, covers, model, keys, resize, out, detector string
	attackers                                        []string
	size, limit, batch                               int
	randomKeys, randomPairs, nearKeys                int
	randomSeed                                       uint64
	asJSON                                           bool
}

func (a *app) auditCommand() *cobra.Command {
	var flags auditFlags
	cmd := &cobra.Command{
		Use:   "audit --data PLACE",
		Short: "Try to break a model: wrong keys of every kind, steganalysis, attacks on stego images",
		Long: `The sceptic's tests. Thousands of random keys, other users' keys, keys one bit off, with their halves exchanged, or right in
part, and no key at all try to see the secret; a classifier tries to tell stego images from covers; stego images are
compressed, resized, cropped and get noise before the matched key recovers. Everything goes through the queue; what was
done before is not done again, and after Ctrl-C the same command resumes.
The outcome is audit.md and audit.json with figures; the runs are below runs/. What a test finds is a result and no error:
the exit code is 0 when the audit was made, and 1 when some files or comparisons failed; they are named.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.audit(cmd.Context(), flags, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&flags.data, "data", "", "images, as in evaluate (required)")
	f.StringVar(&flags.covers, "covers", "", "where the covers are, as --data, whose images are then the secrets")
	f.StringVar(&flags.model, "model", defaultModel, "model name or directory")
	f.StringVar(&flags.keys, "keys", "2", "number of the model's demo keys, or a keyring file")
	f.IntVar(&flags.size, "size", 256, "width and height that every image is brought to, pixels")
	f.StringVar(&flags.resize, "resize", "squash", "squash or crop")
	f.IntVar(&flags.limit, "limit", 100, "largest number of pairs, the first ones (0: all)")
	f.IntVar(&flags.randomKeys, "random-keys", maxRandomKeys, "number of unregistered keys that try to decode what the first key embedded")
	f.IntVar(&flags.randomPairs, "random-pairs", 2, "number of pairs that they try, the first ones")
	f.Uint64Var(&flags.randomSeed, "random-seed", 1, "seed of the unregistered keys")
	f.IntVar(&flags.nearKeys, "near-keys", 32, fmt.Sprintf("number of keys one bit off each key, 0 to %d", keyring.KeyBits))
	f.StringArrayVar(&flags.attackers, "attacker", nil, "file that `python -m trainer attack` or `decode` wrote about an attacker with leaked pairs; may be repeated, one of each")
	f.StringVar(&flags.detector, "detector", "", "file that `python -m trainer detect` wrote about a network that looks for stego images")
	f.IntVar(&flags.batch, "batch", 8, "image pairs in one job, 1 to 64")
	f.StringVar(&flags.out, "out", filepath.Join("out", "audit"), "folder for the report, its figures and its runs")
	f.BoolVar(&flags.asJSON, "json", false, "print audit.json instead of the verdicts")
	a.workerFlags(f)
	must(cmd.MarkFlagRequired("data"))
	cmd.AddCommand(a.auditPublicCommand())
	return cmd
}

// attacks are what stego images go through, from mild to harsh.
var attacks = []string{
	"jpeg-95", "jpeg-90", "jpeg-85", "jpeg-75", "jpeg-65", "jpeg-50", "resize-75", "resize-50",
	"noise-1", "noise-2", "noise-5", "noise-10", "crop-5", "crop-10",
}

// partialShares are the shares of a key that are right, in percent; the whole key is the matched one.
var partialShares = []float64{0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99}

// auditRuns makes the runs of an audit.
type auditRuns struct {
	app      *app
	services *services
	flags    auditFlags
	all      *request // everything that is asked for
	stderr   io.Writer

	made   []*audit.Run
	failed []error
}

func (a *app) audit(ctx context.Context, flags auditFlags, stdout, stderr io.Writer) (err error) {
	r := &auditRuns{app: a, flags: flags, stderr: stderr}
	if err := r.check(); err != nil {
		return err
	}
	evidence := audit.Evidence{LeftOut: r.leftOut()}
	if err := r.readReports(&evidence); err != nil {
		return err
	}
	if r.services, err = a.open(ctx, ""); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.services.Close()) }()
	if err := r.make(ctx, &evidence); err != nil {
		return err
	}
	evidence.Runs = r.made
	report := audit.New(evidence)
	if err := report.WriteFiles(flags.out); err != nil {
		return err
	}
	if err := printReport(stdout, report, flags.asJSON); err != nil {
		return err
	}
	if !flags.asJSON {
		_, _ = fmt.Fprintf(stdout, "\naudit.md, audit.json and the figures are in %s\n", flags.out)
	}
	return errors.Join(r.failed...)
}

// readReports reads what the trainer's attackers wrote about the model.
func (r *auditRuns) readReports(e *audit.Evidence) error {
	for _, path := range r.flags.attackers {
		err := r.readReport("--attacker", path, func(data []byte) (name, digest string, err error) {
			if audit.ReportKind(data) == audit.KindDecoder {
				if e.Decoder != nil {
					return "", "", errors.New("there is another report of `python -m trainer decode`: give one, of all numbers of pairs")
				}
				if e.Decoder, err = audit.ReadDecoder(data); err != nil {
					return "", "", err
				}
				return e.Decoder.Model, e.Decoder.Digest, nil
			}
			if e.Attacker != nil {
				return "", "", errors.New("there is another report of `python -m trainer attack`: give one, of all numbers of pairs")
			}
			if e.Attacker, err = audit.ReadAttacker(data); err != nil {
				return "", "", err
			}
			return e.Attacker.Model, e.Attacker.Digest, nil
		})
		if err != nil {
			return err
		}
	}
	if r.flags.detector == "" {
		return nil
	}
	return r.readReport("--detector", r.flags.detector, func(data []byte) (name, digest string, err error) {
		if e.Detector, err = audit.ReadDetector(data); err != nil {
			return "", "", err
		}
		return e.Detector.Model, e.Detector.Digest, nil
	})
}

// readReport reads a file of a flag, which must be about this audit's model.
func (r *auditRuns) readReport(flag, path string, read func(data []byte) (name, digest string, err error)) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	name, digest, err := read(data)
	if err != nil {
		return fmt.Errorf("%s %s: %w", flag, path, err)
	}
	if m := r.all.model; digest != m.Digest {
		return fmt.Errorf("%s %s: it is about model %s (%.12s), and this audit about %s (%.12s): attack this one", flag, path, name, digest, m.Name, m.Digest)
	}
	return nil
}

// check finds what is wrong with the flags before anything is opened or written. A model with a network for each key has
// no keys that nobody was given.
func (r *auditRuns) check() error {
	if r.flags.randomPairs < 1 {
		return fmt.Errorf("--random-pairs %d: give 1 or more, or leave the random keys out with --random-keys 0", r.flags.randomPairs)
	}
	m, err := r.app.loadModel(r.flags.model)
	if err != nil {
		return err
	}
	flags := defaultRunFlags()
	flags.data, flags.covers, flags.model, flags.keys = r.flags.data, r.flags.covers, r.flags.model, r.flags.keys
	flags.size, flags.resize, flags.batch, flags.limit = r.flags.size, r.flags.resize, r.flags.batch, r.flags.limit
	flags.randomKeys, flags.randomSeed, flags.nearKeys = r.flags.randomKeys, r.flags.randomSeed, r.flags.nearKeys
	flags.trials = trials{attacks: attacks, noKey: m.Manifest.Does(model.OpPurify)}
	switch m.Manifest.Keying {
	case model.KeyingVariant:
		flags.randomKeys, flags.nearKeys = 0, 0
	case model.KeyingCipher, model.KeyingRotation:
		flags.swapped = true
	default:
		flags.swapped, flags.partial = true, partialShares
	}
	r.all, err = r.app.request(flags)
	return err
}

// part asks for the first pairs of all, embedded with the first key, and no more than that.
func (r *auditRuns) part(limit int) *request {
	req := *r.all
	req.keys = req.keys[:1]
	req.flags.limit, req.flags.nearKeys, req.flags.randomKeys, req.flags.trials = limit, 0, 0, trials{}
	return &req
}

// leftOut says which tests are not made, and why. Of the others those without scores have none for reasons of their own.
func (r *auditRuns) leftOut() map[string]string {
	why := make(map[string]string)
	switch {
	case hasVariants(r.all.model):
		for _, test := range []string{audit.TestRandom, audit.TestNear, audit.TestSwapped, audit.TestPartial} {
			why[test] = "the model has a network for each of its keys, and none for other keys"
		}
	case r.all.model.Manifest.Keying != model.KeyingWeights:
		why[audit.TestPartial] = "the model's keys fill no weights, so that no part of them can be right"
	}
	asked := func(test string, n int, flag string) {
		if n == 0 && why[test] == "" {
			why[test] = "none were asked for (" + flag + " 0)"
		}
	}
	asked(audit.TestRandom, r.flags.randomKeys, "--random-keys")
	asked(audit.TestNear, r.flags.nearKeys, "--near-keys")
	if len(r.all.keys) == 1 {
		why[audit.TestMismatched] = "there is one key (--keys)"
	}
	if !r.all.model.Manifest.Does(model.OpPurify) {
		why[audit.TestNoKey] = "the model does not purify: it has no network without a key"
	}
	why[audit.TestLeaked] = "--attacker names no outcome of `python -m trainer attack`"
	if k := r.all.model.Manifest.Keying; k != model.KeyingWeights && k != model.KeyingVariant {
		why[audit.TestLeaked] = "keys are no weights that somebody could train; what he decodes with a network of his own is another test"
	}
	why[audit.TestDecoder] = "--attacker names no outcome of `python -m trainer decode`"
	why[audit.TestDetector] = "--detector names no outcome of `python -m trainer detect`"
	return why
}

// make makes the runs: the quick ones first.
func (r *auditRuns) make(ctx context.Context, e *audit.Evidence) (err error) {
	if e.Attempts, err = r.attempts(ctx); err != nil {
		return err
	}
	images, err := r.images(ctx)
	if err != nil {
		return err
	}
	e.Detected, err = audit.Detect(ctx, images.Spec, images.Scores, r.services.source)
	if errors.Is(err, steganalysis.ErrPairs) {
		e.LeftOut[audit.TestDetect], e.LeftOut[audit.TestColour], err = err.Error(), err.Error(), nil
	}
	if err != nil || e.LeftOut[audit.TestRandom] != "" {
		return err
	}
	if e.Random, err = r.random(ctx); err != nil {
		return err
	}
	best := audit.BestGuess(e.Random)
	if best == nil {
		return nil
	}
	shown, err := r.bestGuess(ctx, best)
	if err != nil {
		return err
	}
	e.Guess, err = audit.ShowGuess(ctx, *best, shown.Spec, shown.Scores, r.services.source)
	return err
}

// run makes one run, whose files are below runs/.
func (r *auditRuns) run(ctx context.Context, name, what string, req *request) (*audit.Run, error) {
	_, _ = fmt.Fprintf(r.stderr, "%s: %s\n", name, what)
	done, err := r.app.makeRun(ctx, r.services, req, filepath.Join(r.flags.out, "runs", name), r.stderr)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	if err := done.failed(); err != nil {
		r.failed = append(r.failed, fmt.Errorf("run %s: %w", name, err))
	}
	run := &audit.Run{Name: name, Summary: done.summary, Spec: done.spec, Scores: done.scores}
	r.made = append(r.made, run)
	return run, nil
}

// attempts are what wrong keys that were not drawn at random show, no key, and what is left after attacks.
func (r *auditRuns) attempts(ctx context.Context) (*audit.Run, error) {
	req := *r.all
	req.flags.randomKeys = 0
	return r.run(ctx, "attempts", "wrong keys, no key, and attacks on the stego images", &req)
}

// images are the stego images of one key, as files: what is shown to the classifier.
func (r *auditRuns) images(ctx context.Context) (*audit.Run, error) {
	req := r.part(r.flags.limit)
	req.flags.saveImages = true
	return r.run(ctx, "images", "stego images of "+req.keys[0].ID+" for steganalysis", req)
}

func (r *auditRuns) random(ctx context.Context) (*audit.Run, error) {
	req := r.part(r.flags.randomPairs)
	req.flags.randomKeys = r.flags.randomKeys
	return r.run(ctx, "random", fmt.Sprintf("%d random keys", r.flags.randomKeys), req)
}

// bestGuess is a run of one random key, for its images: those of all are too many.
func (r *auditRuns) bestGuess(ctx context.Context, best *audit.Guess) (*audit.Run, error) {
	req := r.part(r.flags.randomPairs)
	req.flags.saveImages, req.flags.randomKeys = true, 1
	req.flags.randomSeed, req.flags.firstRandom, _ = keyring.ParseRandomID(best.DecodeKey)
	return r.run(ctx, "best-guess", "the images of "+best.DecodeKey, req)
}
