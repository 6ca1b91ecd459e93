package reports

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"stegomq/internal/model"
	"stegomq/pipeline"
	"stegomq/producer"
	"stegomq/schemas"
	"stegomq/study/paper"
)

// Paper makes the runs of one study.
type Paper struct {
	Study *Study
	// Sets are the data sets; ReadSets makes them. Limit is the largest number of pairs of one, 0 for all; Sample the number of pairs
	// that are drawn from all by SampleSeed instead, 0 for none. SmallPairs is the largest number of pairs for Fig. 5 and the ablation.
	Sets                      []paper.DataSet
	Limit, Sample, SmallPairs int
	SampleSeed                uint64
	Geometry                  *schemas.Geometry
	MinSide                   int
	// Out is the folder of the report and the runs.
	Out string
	// Load loads a model, by its name or directory.
	Load func(nameOrDir string) (*model.Model, error)
	// Say is told of each run before it is made.
	Say   func(model, set string)
	Watch pipeline.Watch
	By    Program

	// Missing is what the report lacks, and why. Hits counts the comparisons found in the cache, Misses those that were made.
	Missing      []string
	Hits, Misses int

	services *pipeline.Services
	forecast func(*pipeline.Request) error // takes the place of making the runs
}

// ReadSets finds data sets, NAME=PLACE each. One whose place is empty or not there is not at hand, which is no error while another is.
func (p *Paper) ReadSets(given []string) error {
	atHand := false
	for _, data := range given {
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
		p.Sets = append(p.Sets, set)
	}
	if !atHand {
		return fmt.Errorf("--data: none of the data sets is there: %s", strings.Join(given, ", "))
	}
	return nil
}

func (p *Paper) miss(format string, args ...any) {
	p.Missing = append(p.Missing, fmt.Sprintf(format, args...))
}

// Make makes every run of the study and writes the report. What it lacks is in Missing.
func (p *Paper) Make(ctx context.Context, s *pipeline.Services) error {
	p.services = s
	whole, err := p.makeRuns(ctx)
	if err != nil {
		return err
	}
	report, err := paper.Build(*whole)
	if err != nil {
		return err
	}
	return report.Write(p.Out)
}

// Forecast says what every run of the study would do. What it would lack is in Missing.
func (p *Paper) Forecast(ctx context.Context, s *pipeline.Services) (all []*pipeline.Forecast, err error) {
	p.forecast = func(req *pipeline.Request) error {
		f, err := s.Forecast(ctx, req)
		all = append(all, f)
		return err
	}
	_, err = p.makeRuns(ctx)
	return all, err
}

// makeRuns makes every run of the study.
func (p *Paper) makeRuns(ctx context.Context) (whole *paper.Study, err error) {
	whole = &paper.Study{DataSets: p.Sets, Command: p.command(), Date: time.Now().UTC().Format(time.DateOnly)}
	for _, r := range p.Study.Table1 {
		row := paper.Row{Method: r.Method, Runs: make(map[string]paper.Run)}
		m, err := p.load(r.Model)
		if err != nil {
			row.Why = err.Error()
			p.miss("%s: %v", r.Method, err)
			whole.Rows = append(whole.Rows, row)
			continue
		}
		row.Model = paperModel(m)
		for _, set := range p.Sets {
			if !set.AtHand {
				continue
			}
			if row.Runs[set.Name], err = p.run(ctx, m, set, p.Limit, min(2, len(m.Keys()))); err != nil {
				return nil, err
			}
		}
		whole.Rows = append(whole.Rows, row)
	}
	for _, g := range p.Study.Fig5 {
		s := paper.Scalability{Keys: g.Keys, Alpha: g.Alpha, DataSet: p.first().Name}
		if s.Model, s.Run, s.Why, err = p.small(ctx, fmt.Sprintf("Fig. 5, K = %d, alpha %g", g.Keys, g.Alpha), g.Model, g.Keys); err != nil {
			return nil, err
		}
		whole.Grid = append(whole.Grid, s)
	}
	for _, g := range p.Study.Gradient {
		s := paper.Ablated{Gradient: g.Gradient, Alpha: g.Alpha, Seed: g.Seed, DataSet: p.first().Name}
		if s.Model, s.Run, s.Why, err = p.small(ctx, fmt.Sprintf("gradient %s, alpha %g", g.Gradient, g.Alpha), g.Model, 2); err != nil {
			return nil, err
		}
		whole.Ablation = append(whole.Ablation, s)
	}
	return whole, nil
}

// small makes a run of Fig. 5 or of the ablation, on few pairs of the first data set; or says why there is none.
func (p *Paper) small(ctx context.Context, what, name string, keys int) (paper.Model, paper.Run, string, error) {
	m, err := p.load(name)
	if err == nil && len(m.Keys()) < keys {
		err = fmt.Errorf("model %s has %d keys", m.Name, len(m.Keys()))
	}
	if err != nil {
		p.miss("%s: %v", what, err)
		return paper.Model{}, paper.Run{}, err.Error(), nil
	}
	limit := p.SmallPairs
	if p.Limit > 0 && (limit == 0 || p.Limit < limit) {
		limit = p.Limit
	}
	run, err := p.run(ctx, m, p.first(), limit, keys)
	return paperModel(m), run, "", err
}

func (p *Paper) load(name string) (*model.Model, error) {
	m, err := p.Load(p.Study.find(name))
	if errors.Is(err, model.ErrNotFound) {
		return nil, fmt.Errorf("the model %s is not there: make table1 fig5 trains those that do not ship", name)
	}
	return m, err
}

// first is the data set of Fig. 5 and of the ablation: the first at hand.
func (p *Paper) first() paper.DataSet {
	for _, set := range p.Sets {
		if set.AtHand {
			return set
		}
	}
	return paper.DataSet{} // readSets saw to it
}

// run makes one run of the study.
func (p *Paper) run(ctx context.Context, m *model.Model, set paper.DataSet, limit, keys int) (paper.Run, error) {
	all, err := pipeline.DemoKeys(m)
	if err != nil {
		return paper.Run{}, err
	}
	if len(all) < keys {
		return paper.Run{}, fmt.Errorf("model %s has %d demo keys, and %d are needed", m.Name, len(all), keys)
	}
	req := pipeline.NewRequest(m, all[:keys], set.Dir)
	req.Geometry, req.Dataset.Limit = p.Geometry, limit
	req.WrongKeys = 0 // its matrices are whole
	if p.Sample > 0 {
		req.Dataset.Sample, req.Dataset.Seed, req.Dataset.Limit = p.Sample, p.SampleSeed, 0
	}
	req.Images, req.Features = true, m.Manifest.Features > 0
	if err := req.Check(p.MinSide); err != nil {
		return paper.Run{}, err
	}
	if p.forecast != nil {
		return paper.Run{}, p.forecast(req)
	}
	dir := filepath.Join(p.Out, "runs", m.Name+"-"+strings.ToLower(set.Name)+"-"+strconv.Itoa(keys))
	p.Say(m.Name, set.Name)
	done, err := Make(ctx, p.services, p.By, req, dir, p.Watch)
	if err != nil {
		return paper.Run{}, fmt.Errorf("%s on %s: %w", m.Name, set.Name, err)
	}
	if err := done.Failed(); err != nil {
		p.miss("%s on %s: %v", m.Name, set.Name, err)
	}
	p.Hits += done.Summary.Cache.Hits
	p.Misses += done.Summary.Cache.Misses
	return paper.Run{Summary: done.Summary, Spec: done.Spec, Scores: done.Scores, Dir: dir}, nil
}

// command is the command of the report, as another would give it.
func (p *Paper) command() string {
	words := []string{"stegomq paper"}
	for _, set := range p.Sets {
		words = append(words, "--data "+set.Name+"="+filepath.Base(set.Dir))
	}
	words = append(words, fmt.Sprintf("--size %d --resize %s", p.Geometry.GetWidth(), schemas.ResizeWord(p.Geometry.GetResize())))
	if p.Sample > 0 {
		words = append(words, fmt.Sprintf("--sample %d --sample-seed %d", p.Sample, p.SampleSeed))
	} else if p.Limit > 0 {
		words = append(words, fmt.Sprintf("--limit %d", p.Limit))
	}
	words = append(words, fmt.Sprintf("--fig5-pairs %d", p.SmallPairs), "--out "+cmp.Or(filepath.Base(p.Out), "."))
	return strings.Join(words, " ")
}
