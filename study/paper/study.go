// Package paper owns the study that repeats the paper's evaluation: its Table 1, its Fig. 1, 3, 4 and 5, and the differences, from the
// summaries and scores of runs. docs/results.md says why they differ.
//
// Invariants. Nothing here measures: every figure comes from scores, through study.Summarise and study.Compare, or
// is printed in the paper (printed.json). Every verdict follows from an interval. What is missing - a method, a data set, features, a
// second key - is named in the report with the reason. The package uses no queue and no cache; it reads the images of a run from the folder
// that study.SaveImages wrote, and can do without them.
package paper

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"stegomq/schemas"
	"stegomq/study"
)

// The methods of the paper's Table 1, in its order, and the classical row that ours adds.
const (
	MethodHiDDeN   = "HiDDeN"
	MethodBaluja   = "Baluja"
	MethodUDH      = "UDH"
	MethodHiNet    = "HiNet"
	MethodPUSNet   = "PUSNet"
	MethodPUSNetMK = "PUSNet-MK"
	MethodLSB      = "LSB-4+ChaCha20"
)

// Methods are all of them in the order of the table.
func Methods() []string {
	return []string{MethodHiDDeN, MethodBaluja, MethodUDH, MethodHiNet, MethodPUSNet, MethodPUSNetMK, MethodLSB}
}

// reference is the method that the others are compared with.
const reference = MethodPUSNetMK

// The gradients of an Ablated.
const (
	GradientRight = "right"
	GradientWrong = "wrong"
)

// Study is what a report is made of.
type Study struct {
	// Rows of Table 1. Methods of the paper that have none get a line that says so; others follow in the order given.
	Rows     []Row
	Grid     []Scalability
	Ablation []Ablated
	// DataSets are those asked for. The paper's others are added, as not at hand.
	DataSets []DataSet
	// Command and Date say how and when the report was made; either may be empty.
	Command string
	Date    string
}

// DataSet is a set of images that the methods are measured on.
type DataSet struct {
	Name   string `json:"name"`
	AtHand bool   `json:"at_hand"`
	// Why says why it is not at hand.
	Why string `json:"why,omitempty"`
	Dir string `json:"dir,omitempty"`
	// Digest and Pairs may be left empty: they are then those of the first run.
	Digest string        `json:"digest,omitempty"`
	Pairs  int           `json:"pairs,omitempty"`
	Sample *study.Sample `json:"sample,omitempty"`
}

// Row is a method of Table 1 with its runs.
type Row struct {
	Method string `json:"method"` // as in the paper
	Model  Model  `json:"model"`
	// Why says why there are no runs.
	Why string `json:"why,omitempty"`
	// Runs by the name of the data set.
	Runs map[string]Run `json:"-"`
}

// Model says what was measured, and what it cost to make.
type Model struct {
	Name       string  `json:"name"`
	Digest     string  `json:"digest"`
	Backbone   string  `json:"backbone,omitempty"`
	Keying     string  `json:"keying,omitempty"` // as in the manifest; empty: weights
	Parameters int     `json:"parameters"`
	Alpha      float64 `json:"alpha,omitempty"` // share of the weights that are shared; 0: none of it
	// Training is nil for an untrained model, and for one that needs none.
	Training *Training `json:"training,omitempty"`
}

// Training is the budget of a model, as in its manifest.
type Training struct {
	Seconds  float64 `json:"seconds"`
	Steps    int     `json:"steps"`
	Images   int     `json:"images"`
	Hardware string  `json:"hardware"`
	Recipe   string  `json:"recipe"`
	Revision string  `json:"revision"`
}

// budget is what a model's training took.
func (m Model) budget() string {
	switch t := m.Training; {
	case m.Keying == schemas.KeyingCipher, t == nil && m.Keying == schemas.KeyingRotation:
		return "none needed"
	case t == nil:
		return "not trained"
	default:
		return fmt.Sprintf("%.0f s, %d steps", t.Seconds, t.Steps)
	}
}

// size says how many parameters a model has.
func (m Model) size() string { return size(m.Parameters) }

func size(n int) string {
	switch {
	case n == 0:
		return "-"
	case n < 1e6:
		return fmt.Sprintf("%.0f k", float64(n)/1e3)
	default:
		return fmt.Sprintf("%.2f M", float64(n)/1e6)
	}
}

// Run is one evaluation. The zero value is one that was not made.
type Run struct {
	Summary *study.Summary
	Spec    *schemas.RunSpec
	Scores  []*schemas.Score
	// Dir is the folder with the run's images; empty where they were not saved.
	Dir string
}

// Made says whether there is something to report.
func (r Run) Made() bool { return r.Summary != nil && r.Spec != nil }

// Scalability is a run of a model that was trained for K keys at a share alpha: a matrix of Fig. 5.
type Scalability struct {
	Keys    int     `json:"keys"`
	Alpha   float64 `json:"alpha"`
	DataSet string  `json:"data_set,omitempty"`
	Model   Model   `json:"model"`
	// Why says why there is no run.
	Why string `json:"why,omitempty"`
	Run Run    `json:"-"`
}

// Ablated is a run of a model that was trained with the right gradient or with the one of the public code.
type Ablated struct {
	Gradient string  `json:"gradient"` // GradientRight or GradientWrong
	Alpha    float64 `json:"alpha"`
	// Seed of the training: models that differ in nothing else are repetitions.
	Seed    int    `json:"seed"`
	DataSet string `json:"data_set"`
	Model   Model  `json:"model"`
	// Why says why there is no run.
	Why string `json:"why,omitempty"`
	Run Run    `json:"-"`
}

// ErrStudy is the class of studies that contradict themselves.
var ErrStudy = errors.New("this study cannot be reported")

// validate names what contradicts itself, all at once.
func (s *Study) validate() error {
	var broken []error
	fail := func(format string, args ...any) {
		broken = append(broken, fmt.Errorf("%w: "+format, append([]any{ErrStudy}, args...)...))
	}
	sets, methods := make(map[string]bool), make(map[string]bool)
	for _, d := range s.DataSets {
		name := strings.ToLower(d.Name)
		if d.Name == "" {
			fail("a data set has no name")
		} else if sets[name] {
			fail("data set %s is there twice", d.Name)
		}
		sets[name] = true
	}
	known := func(of, name string) {
		if !slices.ContainsFunc(s.DataSets, func(d DataSet) bool { return d.Name == name }) {
			fail("%s has a run on %q, which is not among the data sets", of, name)
		}
	}
	for _, r := range s.Rows {
		switch {
		case r.Method == "":
			fail("a row has no method")
		case methods[r.Method]:
			fail("method %s is there twice", r.Method)
		case r.Method == methodUnrelated:
			fail("no method can be called %q: a line of the table is", r.Method)
		}
		methods[r.Method] = true
		for name := range r.Runs {
			known(r.Method, name)
		}
	}
	for _, g := range s.Grid {
		if g.Keys < 1 || g.Alpha <= 0 || g.Alpha >= 1 {
			fail("the grid has %d keys at alpha %g", g.Keys, g.Alpha)
		}
		if g.Run.Made() {
			known(fmt.Sprintf("the grid (K %d, alpha %g)", g.Keys, g.Alpha), g.DataSet)
		}
	}
	for _, a := range s.Ablation {
		if a.Gradient != GradientRight && a.Gradient != GradientWrong {
			fail("the ablation has a gradient %q: want %q or %q", a.Gradient, GradientRight, GradientWrong)
		}
		if a.Run.Made() {
			known(fmt.Sprintf("the ablation (%s gradient, alpha %g)", a.Gradient, a.Alpha), a.DataSet)
		}
	}
	return errors.Join(broken...)
}

// rows are those of the study with the paper's methods that have none, in the order of the table.
func (s *Study) rows() []Row {
	rows := slices.Clone(s.Rows)
	for _, m := range Methods() {
		if !slices.ContainsFunc(rows, func(r Row) bool { return r.Method == m }) {
			rows = append(rows, Row{Method: m, Why: "no model was given"})
		}
	}
	place := func(method string) int {
		if i := slices.Index(Methods(), method); i >= 0 {
			return i
		}
		return len(Methods())
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return place(a.Method) - place(b.Method) })
	return rows
}

// dataSets are those of the study, what is known of them filled in from the runs, and the paper's others.
func (s *Study) dataSets() []DataSet {
	sets := slices.Clone(s.DataSets)
	for i := range sets {
		d := &sets[i]
		if !d.AtHand && d.Why == "" {
			d.Why = "not given"
		}
		for _, run := range s.runsOn(d.Name) {
			known := run.Summary.Dataset
			d.Digest, d.Pairs, d.Sample = cmp.Or(d.Digest, known.Digest), cmp.Or(d.Pairs, known.Pairs), cmp.Or(d.Sample, known.Sample)
		}
	}
	for _, name := range printedSets {
		if !slices.ContainsFunc(sets, func(d DataSet) bool { return strings.EqualFold(d.Name, name) }) {
			sets = append(sets, DataSet{Name: name, Why: "not given"})
		}
	}
	return sets
}

// runsOn lists the runs of the table on a data set.
func (s *Study) runsOn(set string) []Run {
	var runs []Run
	for _, r := range s.Rows {
		if run := r.Runs[set]; run.Made() {
			runs = append(runs, run)
		}
	}
	return runs
}

// run is that of a method on a data set, the zero value where there is none.
func (s *Study) run(method, set string) Run {
	for _, r := range s.Rows {
		if r.Method == method {
			return r.Runs[set]
		}
	}
	return Run{}
}

// pair is a key pair of a run with the wrong one of the table: a is the first of a run's keys, b the second.
type pair struct {
	Name  string // "a" or "b"
	Embed string
	Wrong string // "" in a run with one key
}

func (r Run) pairs() []pair {
	switch keys := r.Summary.Keys; len(keys) {
	case 0:
		return nil
	case 1:
		return []pair{{Name: "a", Embed: keys[0]}}
	default:
		return []pair{{"a", keys[0], keys[1]}, {"b", keys[1], keys[0]}}
	}
}

// of keeps the scores of the table's key pairs: what they embed, decoded by themselves, by each other and by random keys.
func (r Run) of(pairs ...pair) []*schemas.Score {
	var kept []*schemas.Score
	for _, s := range r.Scores {
		keep := s.GetEmbedKey() == "" // the baseline and what no key has a part in
		for _, p := range pairs {
			switch s.Role() {
			case schemas.Imperceptibility, schemas.Recoverability,
				schemas.Leakage(schemas.Reader_READER_RANDOM), schemas.LeakageCover(schemas.Reader_READER_RANDOM):
				keep = keep || s.GetEmbedKey() == p.Embed
			case schemas.Leakage(schemas.Reader_READER_MISMATCHED), schemas.LeakageCover(schemas.Reader_READER_MISMATCHED):
				keep = keep || s.GetEmbedKey() == p.Embed && s.GetDecodeKey() == p.Wrong
			}
		}
		if keep {
			kept = append(kept, s)
		}
	}
	return kept
}

// summary is that of some key pairs of a run.
func (r Run) summary(pairs ...pair) *study.Summary {
	return study.Summarise(r.Spec, r.of(pairs...), nil, study.Invocation{})
}

// byPair are the summaries of the key pairs a and b; nil where there is none.
func (r Run) byPair() (of [2]*study.Summary) {
	if r.Made() {
		for i, p := range r.pairs() {
			of[i] = r.summary(p)
		}
	}
	return of
}
