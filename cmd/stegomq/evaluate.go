package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stegomq/evaluator"
	"stegomq/internal/cache"
	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/internal/quality"
	"stegomq/producer"
	"stegomq/schemas"
)

// runFlags describe an evaluation.
type runFlags struct {
	data, covers, model, keys, resize, run string
	size, limit, sample, batch             int
	randomKeys, nearKeys                   int
	randomSeed, sampleSeed, firstRandom    uint64 // firstRandom is the number of the first unregistered key
	noise                                  float64
	saveImages                             bool
	trials

	given func(flag string) bool // whether the user, or the configuration, set a flag
}

func (r *runFlags) register(f *pflag.FlagSet) {
	r.given = f.Changed
	f.StringVar(&r.data, "data", "", "folder of images, at any depth; folder of tar archives (WebDataset), or one; or a list, .txt or .csv; consecutive images make a pair, the first the cover (required)")
	f.StringVar(&r.covers, "covers", "", "where the covers are, as --data, whose images are then the secrets")
	f.StringVar(&r.model, "model", defaultModel, "model name or directory")
	f.StringVar(&r.keys, "keys", "2", "number of the model's demo keys, or a keyring file")
	f.IntVar(&r.size, "size", 256, "width and height that every image is brought to, pixels")
	f.StringVar(&r.resize, "resize", "squash", "squash or crop")
	f.IntVar(&r.limit, "limit", 0, "largest number of pairs, the first ones (0: all)")
	f.IntVar(&r.sample, "sample", 0, "number of pairs drawn from all by --sample-seed, the same on every machine (0: none are drawn)")
	f.Uint64Var(&r.sampleSeed, "sample-seed", 1, "seed of --sample")
	f.IntVar(&r.randomKeys, "random-keys", 1, "number of unregistered keys that try to decode")
	f.IntVar(&r.nearKeys, "near-keys", 0, fmt.Sprintf("number of keys one bit off each key that try to decode what it embedded, 0 to %d; the bits are spread evenly", keyring.KeyBits))
	f.Uint64Var(&r.randomSeed, "random-seed", 1, "seed of the unregistered keys")
	f.Float64Var(&r.noise, "noise", 20, "standard deviation of the noise for purification, 0..255")
	f.StringVar(&r.run, "run", "", "name of the run (default: derived from its content, so that the same command resumes it)")
	f.IntVar(&r.batch, "batch", 8, "image pairs in one job, 1 to 64")
	r.trials.register(f)
}

// defaultRunFlags are those of a run that another command makes.
func defaultRunFlags() runFlags {
	var flags runFlags
	flags.register(pflag.NewFlagSet("", pflag.ContinueOnError))
	return flags
}

func (a *app) evaluateCommand() *cobra.Command {
	var flags runFlags
	var out string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "evaluate --data PLACE",
		Short: "Embed, recover and purify the images of a data set with several keys, and score the outcome",
		Long: `Every pair of images is embedded with every key, decoded with every key, with random ones and with ones that
are one bit off (--near-keys), and purified; --swapped, --partial, --no-key and --attacks try more. What a model does
not have is left out: a model with a network for each key knows no other keys, and few models purify.
The scores go to summary.json, items.csv and report.md. Work that was done before is not done again; after
Ctrl-C the same command resumes. A model whose recovery is authenticated refuses wrong keys and changed images: that is an
outcome of its own, counted as refused and in no mean. Exit code 1 says that some files or comparisons failed, or that the
matched key was refused what nobody had changed; they are named.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.evaluate(cmd.Context(), flags, out, asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	flags.register(f)
	f.StringVar(&out, "out", "", "folder for the files (default out/RUN)")
	f.BoolVar(&flags.saveImages, "save-images", false, "write the images that items.csv names, and grid.png with the first pairs")
	f.BoolVar(&asJSON, "json", false, "print summary.json instead of tables")
	a.workerFlags(f)
	must(cmd.MarkFlagRequired("data"))
	return cmd
}

// must is for what only a mistake in this program can break.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// evaluation is a run with what is needed to work on it.
type evaluation struct {
	model   *model.Model
	spec    *schemas.RunSpec
	dataset *producer.Dataset
	plan    *producer.Plan
	runtime *ort.Info // of the engine that worked on it in this process
}

// nameBad tells which files could not be used, and why.
func (ev *evaluation) nameBad(w io.Writer) {
	for _, bad := range ev.dataset.Bad {
		_, _ = fmt.Fprintf(w, "%s: %s\n", bad.GetName(), bad.GetReason())
	}
}

func (a *app) evaluate(ctx context.Context, flags runFlags, out string, asJSON bool, stdout, stderr io.Writer) (err error) {
	req, err := a.request(flags)
	if err != nil {
		return err
	}
	s, err := a.open(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	done, err := a.makeRun(ctx, s, req, out, stderr)
	if err != nil {
		return err
	}
	if flags.saveImages {
		if err := evaluator.WriteGrid(done.dir, done.spec, done.scores); err != nil {
			return err
		}
	}
	if err := printReport(stdout, done.summary, asJSON); err != nil {
		return err
	}
	if !asJSON {
		_, _ = fmt.Fprintf(stdout, "\nsummary.json, items.csv and report.md are in %s\n", done.dir)
	}
	return done.failed()
}

// request is a run that is asked for: its flags are checked, its model is loaded and its keys are found, before
// anything is opened or written.
type request struct {
	model *model.Model
	keys  []keyring.Pair
	flags runFlags
}

// evaluated is a run that has ended, with what reports are made of.
type evaluated struct {
	*evaluation
	scores, failures []*schemas.Score
	summary          *evaluator.Summary
	dir              string // where its files are
}

// failed is the error of a run that could not do everything, or whose images were refused to the keys that embedded them.
func (e *evaluated) failed() error {
	bad, failures, refused := len(e.dataset.Bad), len(e.failures), len(e.summary.RefusedItems)
	if bad+failures+refused == 0 {
		return nil
	}
	words := fmt.Sprintf("files that could not be used: %d, comparisons that could not be made: %d", bad, failures)
	if refused > 0 {
		words += fmt.Sprintf(", images refused to the key that embedded them: %d of %d", refused, e.summary.Recoverability.Of())
	}
	return fmt.Errorf("%w: %s; %s names them", errSomeFailed, words, filepath.Join(e.dir, "report.md"))
}

// makeRun makes what a run still needs, and writes its files into out (empty: out/RUN). Several runs may be made on the
// same services, one after another.
func (a *app) makeRun(ctx context.Context, s *services, req *request, out string, stderr io.Writer) (*evaluated, error) {
	start := time.Now()
	flags := req.flags
	// A server that is not there shows before the run is written down. The embedded one is only started
	// when it is needed.
	if flags.saveImages || a.at.NATS != "" {
		if err := s.openBus(ctx, ""); err != nil {
			return nil, err
		}
	}
	ev, err := a.prepareRun(ctx, s, req)
	if err != nil {
		return nil, err
	}
	ev.nameBad(stderr)
	if ev.plan.Missing > 0 {
		if err := a.work(ctx, s, ev, flags, stderr); err != nil {
			return nil, err
		}
	}
	if err := s.cache.FinishRun(ctx, ev.spec.GetId()); err != nil {
		return nil, err
	}
	done := &evaluated{evaluation: ev, dir: cmp.Or(out, filepath.Join("out", ev.spec.GetId()))}
	if done.scores, done.failures, err = s.cache.Scores(ctx, ev.spec.GetId()); err != nil {
		return nil, err
	}
	if flags.saveImages {
		if err := evaluator.SaveImages(ctx, done.dir, ev.spec, done.scores, s.source, s.blobs); err != nil {
			return nil, err
		}
	}
	elapsed := time.Since(start)
	provenance, err := s.keepMade(ctx, ev.spec.GetId(), a.made(ev, start, elapsed))
	if err != nil {
		return nil, err
	}
	done.summary = evaluator.Summarise(ev.spec, done.scores, done.failures, evaluator.Invocation{
		Hits: len(ev.plan.Found), Misses: ev.plan.Missing, Elapsed: elapsed, Provenance: provenance,
	})
	return done, evaluator.WriteFiles(done.dir, done.summary, done.scores)
}

// report is what is printed as tables or as JSON.
type report interface{ WriteText(w io.Writer) error }

func printReport(w io.Writer, r report, asJSON bool) error {
	if !asJSON {
		return r.WriteText(w)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// request checks the flags of a run.
func (a *app) request(flags runFlags) (*request, error) {
	m, err := a.loadModel(flags.model)
	if err != nil {
		return nil, err
	}
	if err := a.checkRun(flags, m); err != nil {
		return nil, err
	}
	pairs, err := a.registeredKeys(flags, m)
	if err != nil {
		return nil, err
	}
	for _, p := range pairs {
		if flags.nearKeys > 0 && len(p.ID) > keyring.MaxNearID {
			return nil, fmt.Errorf("--near-keys: the id %s is too long to name the keys near it: choose one of at most %d bytes", p.ID, keyring.MaxNearID)
		}
		if err := flags.checkID(p.ID); err != nil {
			return nil, err
		}
	}
	return &request{model: m, keys: pairs, flags: flags}, nil
}

// registeredKeys are those of the file that --keys names, or as many of the model's demo keys as it says.
func (a *app) registeredKeys(flags runFlags, m *model.Model) ([]keyring.Pair, error) {
	n, err := strconv.Atoi(flags.keys)
	if err != nil {
		ring, err := keyring.Open(flags.keys, a.protection())
		if err != nil {
			return nil, fmt.Errorf("--keys: %w", err)
		}
		a.keyrings = append(a.keyringFiles(), flags.keys)
		pairs := ring.List()
		if len(pairs) == 0 {
			return nil, fmt.Errorf("--keys: %s holds no keys", flags.keys)
		}
		for _, p := range pairs {
			if p.Recover.IsZero() {
				return nil, fmt.Errorf("--keys: %s: %w; a run recovers, too", p.ID, keyring.ErrEmbedOnly)
			}
			if hasVariants(m) && !trainedWith(m, p) {
				return nil, fmt.Errorf("--keys: model %s has a network for each of its keys and none for %s: its keys are %s", m.Name, p.ID, trainedKeys(m))
			}
			if m.Trained() && !trainedWith(m, p) {
				return nil, fmt.Errorf("--keys: model %s was not trained with key %s, so it would neither hide nor protect anything: its keys are %s",
					m.Name, p.ID, trainedKeys(m))
			}
			if !trainedWith(m, p) {
				a.log.Warn("the model was not trained with this key: expect neither recovery nor isolation", "key", p.ID, "model", m.Name)
			}
		}
		return pairs, nil
	}
	if m.Keyring() == "" {
		return nil, fmt.Errorf("--keys %d: model %s has no demo keyring; give a keyring file", n, m.Name)
	}
	ring, err := keyring.Open(m.Keyring(), a.protection())
	if err != nil {
		return nil, err
	}
	var pairs []keyring.Pair
	for _, k := range m.Keys() {
		p, err := ring.Resolve(k.ID, k.Fingerprint)
		if errors.Is(err, keyring.ErrUnknownKey) {
			continue // a user's own, whose key does not ship
		}
		if err != nil {
			return nil, fmt.Errorf("demo keyring of model %s: %w", m.Name, err)
		}
		pairs = append(pairs, p)
	}
	if n < 1 || n > len(pairs) {
		return nil, fmt.Errorf("--keys %d: model %s has %d demo keys; give 1 to %d, or a keyring file", n, m.Name, len(pairs), len(pairs))
	}
	return pairs[:n], nil
}

// maxRandomKeys bounds the specification of a run, which names every key, to half a megabyte.
const maxRandomKeys = 10000

// checkRun finds what is wrong with the flags of a run and with its folders, as far as names tell.
func (a *app) checkRun(flags runFlags, m *model.Model) error {
	if _, err := geometryOf(flags.size, flags.resize); err != nil {
		return err
	}
	if least := max(m.Manifest.MinSide, a.minSide); flags.size < least {
		return fmt.Errorf("--size %d: the model %s needs at least %d", flags.size, m.Name, least)
	}
	if flags.batch < 1 || flags.batch > schemas.MaxItems || flags.limit < 0 {
		return fmt.Errorf("--limit must not be negative, --batch must lie in 1..%d", schemas.MaxItems)
	}
	if flags.sample < 0 || flags.sample > 0 && flags.limit > 0 {
		return errors.New("--sample must not be negative, and takes the place of --limit: give one of them")
	}
	if flags.randomKeys < 0 || flags.randomKeys > maxRandomKeys || flags.nearKeys < 0 || flags.nearKeys > keyring.KeyBits {
		return fmt.Errorf("--random-keys must lie in 0..%d, --near-keys in 0..%d", maxRandomKeys, keyring.KeyBits)
	}
	if _, _, err := flags.strangers(m); err != nil {
		return err
	}
	if err := flags.trials.check(m); err != nil {
		return err
	}
	if !(flags.noise >= 0 && flags.noise <= 255) { // nor NaN
		return fmt.Errorf("--noise %v: choose 0 to 255", flags.noise)
	}
	if flags.run != "" && !schemas.ValidRunID(flags.run) {
		return fmt.Errorf("--run %q: a name has 1 to 63 letters, digits, '_' and '-', and begins with a letter or a digit", flags.run)
	}
	return producer.DatasetOptions{Data: flags.data, Covers: flags.covers}.Check()
}

// strangers are the numbers of random and of near keys. A model with a network for each key has none for such keys: to
// ask for some is an error, and the default is none.
func (r *runFlags) strangers(m *model.Model) (random, near int, err error) {
	if !hasVariants(m) {
		return r.randomKeys, r.nearKeys, nil
	}
	if r.nearKeys > 0 || r.randomKeys > 0 && r.given("random-keys") {
		return 0, 0, fmt.Errorf("--random-keys, --near-keys: model %s has a network for each of its keys and none for other keys; leave them out", m.Name)
	}
	return 0, 0, nil
}

// setModel says in the specification what the model can do, where it is not what models of keyed weights do.
func setModel(spec *schemas.RunSpec, m *model.Model) {
	if m.Manifest.Keying != model.KeyingWeights {
		spec.ModelKeying = m.Manifest.Keying
	}
	if m.Manifest.Does(model.OpPurify) {
		return
	}
	spec.ModelOperations = []schemas.Operation{schemas.Operation_OPERATION_EMBED, schemas.Operation_OPERATION_RECOVER}
}

// prepareRun reads the data set, begins the run and plans what it still needs.
func (a *app) prepareRun(ctx context.Context, s *services, req *request) (*evaluation, error) {
	spec, dataset, err := a.runSpec(ctx, s.cache, req)
	if err != nil {
		return nil, err
	}
	if _, err := s.cache.StartRun(ctx, spec); err != nil {
		return nil, err
	}
	// The count of attempts may be lost with the embedded Redis's last seconds, while the message queue still
	// remembers the jobs and results of an attempt by it. The time is never given twice.
	attempt := time.Now().UnixMilli()
	var stored producer.Stored
	if req.flags.saveImages {
		stored = s.blobs.Has
	}
	plan, err := producer.MakePlan(ctx, spec, attempt, s.cache, stored)
	if err != nil {
		return nil, err
	}
	if _, err := s.cache.PutScores(ctx, spec.GetId(), plan.Found); err != nil {
		return nil, err
	}
	return &evaluation{model: req.model, spec: spec, dataset: dataset, plan: plan}, nil
}

func (a *app) runSpec(ctx context.Context, memo *cache.Cache, req *request) (*schemas.RunSpec, *producer.Dataset, error) {
	m, flags := req.model, req.flags
	geometry, err := geometryOf(flags.size, flags.resize)
	if err != nil {
		return nil, nil, err
	}
	dataset, err := producer.ReadDataset(ctx, producer.DatasetOptions{
		Data: flags.data, Covers: flags.covers, Limit: flags.limit, Sample: flags.sample, Seed: flags.sampleSeed, Limits: a.limits(),
	}, memo)
	if err != nil {
		return nil, nil, err
	}
	spec := &schemas.RunSpec{
		Model: m.Digest, ModelName: m.Name, ModelTrained: m.Trained(), Geometry: geometry, NoiseSigma: flags.noise,
		Pairs: dataset.Pairs, Dataset: flags.data, Covers: flags.covers, Images: uint32(dataset.Images), Bad: dataset.Bad,
		MetricsVersion: quality.Version,
	}
	if flags.sample > 0 {
		spec.Sample = &schemas.Sample{Pairs: uint32(min(flags.sample, math.MaxUint32)), Of: uint32(dataset.Candidates), Seed: flags.sampleSeed}
	}
	setModel(spec, m)
	randomKeys, nearKeys, err := flags.strangers(m)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range req.keys {
		spec.Keys = append(spec.Keys, keyRef(p))
		if !trainedWith(m, p) {
			spec.UntrainedKeys = append(spec.UntrainedKeys, p.ID)
		}
	}
	for n := range uint64(randomKeys) {
		spec.RandomKeys = append(spec.RandomKeys, keyRef(keyring.Random(flags.randomSeed, flags.firstRandom+n)))
	}
	for _, p := range req.keys {
		for n := range nearKeys {
			spec.NearKeys = append(spec.NearKeys, keyRef(keyring.Near(p, n*keyring.KeyBits/nearKeys)))
		}
	}
	flags.trials.set(spec, req.keys)
	spec.Id = flags.run
	if spec.GetId() == "" {
		spec.Id = schemas.RunID(spec)
	}
	if len(dataset.Pairs) == 0 {
		for _, bad := range dataset.Bad {
			a.log.Error("file cannot be used", "file", bad.GetName(), "reason", bad.GetReason())
		}
		return nil, nil, fmt.Errorf("%w: %s has %d usable images and no pair: a pair needs two that differ", producer.ErrDataset, flags.data, dataset.Images)
	}
	return spec, dataset, spec.Validate()
}

func geometryOf(size int, resize string) (*schemas.Geometry, error) {
	g := &schemas.Geometry{Width: uint32(max(size, 0)), Height: uint32(max(size, 0))}
	switch resize {
	case "squash":
		g.Resize = schemas.ResizePolicy_RESIZE_POLICY_SQUASH
	case "crop":
		g.Resize = schemas.ResizePolicy_RESIZE_POLICY_CROP
	default:
		return nil, fmt.Errorf("--resize %s: choose squash or crop", resize)
	}
	if size < 0 || size > schemas.MaxSide {
		return nil, fmt.Errorf("--size %d: choose 0 to %d", size, schemas.MaxSide)
	}
	return g, nil
}

// work publishes what the plan needs and waits for the scores. Without external servers the roles run in
// this process.
func (a *app) work(ctx context.Context, s *services, ev *evaluation, flags runFlags, stderr io.Writer) (err error) {
	// A missing library shows before anything is queued.
	var eng *localEngine
	if a.at.NATS == "" {
		keys, err := a.watchKeys([]*model.Model{ev.model})
		if err != nil {
			return err
		}
		if eng, err = a.newEngine([]*model.Model{ev.model}, keys); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, eng.Close()) }()
		if eng.runtime != nil {
			info := eng.runtime.Info()
			ev.runtime = &info
		}
	}
	if err := s.openBus(ctx, ""); err != nil {
		return err
	}
	r := startRoles(ctx)
	defer func() { err = errors.Join(err, r.stop()) }()
	if eng != nil {
		if err := s.startWorker(r, eng, nil, ev.spec.GetId(), ev.model.Digest); err != nil {
			return err
		}
		s.startEvaluator(r, nil)
	}
	p := producer.New(producer.Config{Batch: flags.batch, Logger: a.log}, producer.Parts{Publisher: s.bus, Blobs: s.blobs, Progress: s.cache})
	r.start(func(ctx context.Context) error { return p.Run(ctx, ev.plan, ev.dataset.Files) })
	return a.await(r.ctx, ctx, s, ev, stderr)
}

// await returns when every comparison of the run has a score or a failure.
func (a *app) await(roles, ctx context.Context, s *services, ev *evaluation, stderr io.Writer) error {
	show := newProgress(stderr, ev.plan.Total, len(ev.plan.Found))
	defer show.close()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		scores, failures, err := s.cache.Progress(ctx, ev.spec.GetId())
		if err != nil {
			return err
		}
		show.set(int(scores), int(failures))
		if int(scores+failures) >= ev.plan.Total {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-roles.Done():
			// Interrupted, or a role failed, whose error is the group's.
			return ctx.Err()
		case <-tick.C:
		}
	}
}
