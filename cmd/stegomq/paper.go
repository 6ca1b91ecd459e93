package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stegomq/evaluator/paper"
	"stegomq/internal/model"
	"stegomq/producer"
	"stegomq/schemas"
)

// paperFlags describe a study.
type paperFlags struct {
	data       []string
	study, out string
	resize     string
	size       int
	limit      int
	sample     int
	sampleSeed uint64
	fig5Pairs  int
}

func (a *app) paperCommand() *cobra.Command {
	var flags paperFlags
	cmd := &cobra.Command{
		Use:   "paper --data NAME=PLACE... --out DIR",
		Short: "Repeat the evaluation of the paper: its Table 1 and its figures, beside what it printed",
		Long: `Every model of the study (models/study.json, or --study) is evaluated on every data set through the queue, with two
key pairs; then come the models of Fig. 5 and of the gradient's ablation, on the first data set. The report is Markdown,
CSV, JSON, LaTeX, figures, and report.html, which needs nothing else. A data set or a model that is not at hand is named
in the report. Work that was done before is not done again; after Ctrl-C the same command resumes. Exit code 1 says that
something is missing or failed; it is named.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.paper(cmd.Context(), flags, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&flags.data, "data", nil, "a data set: its name, as in the paper where it is the paper's, and where its images are (as in evaluate); may be repeated (required)")
	f.StringVar(&flags.out, "out", "", "folder for the report, its figures and its runs (required)")
	f.StringVar(&flags.study, "study", "", "file that says which model stands for what (default: study.json beside the models)")
	f.IntVar(&flags.size, "size", 256, "width and height that every image is brought to, pixels; the paper's is 512")
	f.StringVar(&flags.resize, "resize", "squash", "squash or crop")
	f.IntVar(&flags.limit, "limit", 0, "largest number of pairs of a data set, the first ones (0: all)")
	f.IntVar(&flags.sample, "sample", 0, "number of pairs drawn from all by --sample-seed, the same on every machine (0: none are drawn)")
	f.Uint64Var(&flags.sampleSeed, "sample-seed", 1, "seed of --sample")
	f.IntVar(&flags.fig5Pairs, "fig5-pairs", 16, "largest number of pairs for Fig. 5 and the gradient's ablation (0: all)")
	a.workerFlags(f)
	must(cmd.MarkFlagRequired("data"))
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

// paperRun makes the runs of one study.
type paperRun struct {
	app      *app
	services *services
	flags    paperFlags
	study    *study
	sets     []paper.DataSet
	stderr   io.Writer

	missing []string // what the report lacks, and why
	hits    int      // comparisons found in the cache, and made
	misses  int
}

func (a *app) paper(ctx context.Context, flags paperFlags, stdout, stderr io.Writer) (err error) {
	start := time.Now()
	p := &paperRun{app: a, flags: flags, stderr: stderr}
	if p.study, err = readStudy(flags.study, a.models); err != nil {
		return err
	}
	if err := p.readSets(); err != nil {
		return err
	}
	if p.services, err = a.open(ctx, ""); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.services.Close()) }()
	whole, err := p.make(ctx)
	if err != nil {
		return err
	}
	report, err := paper.Build(*whole)
	if err != nil {
		return err
	}
	if err := report.Write(flags.out); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(stdout, "%d comparisons found in the cache, %d made, %.1f s\nThe report is %s, in other formats beside it\n",
		p.hits, p.misses, time.Since(start).Seconds(), filepath.Join(flags.out, "report.html"))
	if len(p.missing) > 0 {
		for _, m := range p.missing {
			_, _ = fmt.Fprintln(stderr, m)
		}
		return fmt.Errorf("%w: %d parts of the report are missing or not whole; it says which", errSomeFailed, len(p.missing))
	}
	return nil
}

// readSets finds the data sets. One whose place is empty or not there is not at hand, which is no error while another is.
func (p *paperRun) readSets() error {
	atHand := false
	for _, data := range p.flags.data {
		name, place, ok := strings.Cut(data, "=")
		if !ok || !schemas.ValidRunID(name) {
			return fmt.Errorf("--data %s: give NAME=PLACE, such as ImageNet=photographs; a name has letters, digits, '_' and '-'", data)
		}
		set := paper.DataSet{Name: name, Dir: place, AtHand: true}
		if !exists(place) {
			set.AtHand, set.Why = false, place+" is not there"
			p.miss("data set %s is not at hand: %s", name, set.Why)
		} else if err := (producer.DatasetOptions{Data: place}).Check(); err != nil {
			return fmt.Errorf("--data %s: %w", name, err)
		}
		atHand = atHand || set.AtHand
		p.sets = append(p.sets, set)
	}
	if !atHand {
		return fmt.Errorf("--data: none of the data sets is there: %s", strings.Join(p.flags.data, ", "))
	}
	return nil
}

func (p *paperRun) miss(format string, args ...any) {
	p.missing = append(p.missing, fmt.Sprintf(format, args...))
}

// make makes every run of the study.
func (p *paperRun) make(ctx context.Context) (*paper.Study, error) {
	whole := &paper.Study{DataSets: p.sets, Command: p.command(), Date: time.Now().UTC().Format(time.DateOnly)}
	for _, r := range p.study.Table1 {
		row := paper.Row{Method: r.Method, Runs: make(map[string]paper.Run)}
		m, err := p.load(r.Model)
		if err != nil {
			row.Why = err.Error()
			p.miss("%s: %v", r.Method, err)
			whole.Rows = append(whole.Rows, row)
			continue
		}
		row.Model = paperModel(m)
		for _, set := range p.sets {
			if !set.AtHand {
				continue
			}
			if row.Runs[set.Name], err = p.run(ctx, m, set, p.flags.limit, min(2, len(m.Keys()))); err != nil {
				return nil, err
			}
		}
		whole.Rows = append(whole.Rows, row)
	}
	for _, g := range p.study.Fig5 {
		s := paper.Scalability{Keys: g.Keys, Alpha: g.Alpha, DataSet: p.first().Name}
		m, run, why, err := p.small(ctx, fmt.Sprintf("Fig. 5, K = %d, alpha %g", g.Keys, g.Alpha), g.Model, g.Keys)
		if err != nil {
			return nil, err
		}
		s.Model, s.Run, s.Why = m, run, why
		whole.Grid = append(whole.Grid, s)
	}
	for _, g := range p.study.Gradient {
		s := paper.Ablated{Gradient: g.Gradient, Alpha: g.Alpha, Seed: g.Seed, DataSet: p.first().Name}
		m, run, why, err := p.small(ctx, fmt.Sprintf("gradient %s, alpha %g", g.Gradient, g.Alpha), g.Model, 2)
		if err != nil {
			return nil, err
		}
		s.Model, s.Run, s.Why = m, run, why
		whole.Ablation = append(whole.Ablation, s)
	}
	return whole, nil
}

// small makes a run of Fig. 5 or of the ablation, on few pairs of the first data set; or says why there is none.
func (p *paperRun) small(ctx context.Context, what, name string, keys int) (paper.Model, paper.Run, string, error) {
	m, err := p.load(name)
	if err == nil && len(m.Keys()) < keys {
		err = fmt.Errorf("model %s has %d keys", m.Name, len(m.Keys()))
	}
	if err != nil {
		p.miss("%s: %v", what, err)
		return paper.Model{}, paper.Run{}, err.Error(), nil
	}
	limit := p.flags.fig5Pairs
	if p.flags.limit > 0 && (limit == 0 || p.flags.limit < limit) {
		limit = p.flags.limit
	}
	run, err := p.run(ctx, m, p.first(), limit, keys)
	return paperModel(m), run, "", err
}

func (p *paperRun) load(name string) (*model.Model, error) {
	m, err := p.app.loadModel(p.study.find(name))
	if errors.Is(err, model.ErrNotFound) {
		return nil, fmt.Errorf("the model %s is not there: make table1 fig5 trains those that do not ship", name)
	}
	return m, err
}

// first is the data set of Fig. 5 and of the ablation: the first at hand.
func (p *paperRun) first() paper.DataSet {
	for _, set := range p.sets {
		if set.AtHand {
			return set
		}
	}
	return paper.DataSet{} // readSets saw to it
}

// run makes one run of the study.
func (p *paperRun) run(ctx context.Context, m *model.Model, set paper.DataSet, limit, keys int) (paper.Run, error) {
	flags := defaultRunFlags()
	flags.data, flags.model, flags.keys = set.Dir, m.Dir, strconv.Itoa(keys)
	flags.size, flags.resize, flags.limit = p.flags.size, p.flags.resize, limit
	if p.flags.sample > 0 {
		flags.sample, flags.sampleSeed, flags.limit = p.flags.sample, p.flags.sampleSeed, 0
	}
	flags.saveImages = true
	flags.features = m.Manifest.Features > 0
	req, err := p.app.request(flags)
	if err != nil {
		return paper.Run{}, err
	}
	dir := filepath.Join(p.flags.out, "runs", m.Name+"-"+strings.ToLower(set.Name)+"-"+strconv.Itoa(keys))
	_, _ = fmt.Fprintf(p.stderr, "%s on %s\n", m.Name, set.Name)
	done, err := p.app.makeRun(ctx, p.services, req, dir, p.stderr)
	if err != nil {
		return paper.Run{}, fmt.Errorf("%s on %s: %w", m.Name, set.Name, err)
	}
	if err := done.failed(); err != nil {
		p.miss("%s on %s: %v", m.Name, set.Name, err)
	}
	p.hits += done.summary.Cache.Hits
	p.misses += done.summary.Cache.Misses
	return paper.Run{Summary: done.summary, Spec: done.spec, Scores: done.scores, Dir: dir}, nil
}

// command is the command of the report, as another would give it.
func (p *paperRun) command() string {
	words := []string{"stegomq paper"}
	for _, set := range p.sets {
		words = append(words, "--data "+set.Name+"="+filepath.Base(set.Dir))
	}
	words = append(words, fmt.Sprintf("--size %d --resize %s", p.flags.size, p.flags.resize))
	if p.flags.sample > 0 {
		words = append(words, fmt.Sprintf("--sample %d --sample-seed %d", p.flags.sample, p.flags.sampleSeed))
	} else if p.flags.limit > 0 {
		words = append(words, fmt.Sprintf("--limit %d", p.flags.limit))
	}
	words = append(words, fmt.Sprintf("--fig5-pairs %d", p.flags.fig5Pairs), "--out "+cmp.Or(filepath.Base(p.flags.out), "."))
	return strings.Join(words, " ")
}
