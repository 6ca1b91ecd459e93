package study

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"stegomq/internal/quality"
	"stegomq/report"
	"stegomq/report/stats"
	"stegomq/schemas"
)

// ErrIncomparable is the class of runs of which no item can be compared with one of the other.
var ErrIncomparable = errors.New("these runs cannot be compared")

// Measured is a run with its scores.
type Measured struct {
	Summary *Summary
	Scores  []*schemas.Score
}

// Side names one of two runs that are compared.
type Side struct {
	Run   string `json:"run"`
	Model Model  `json:"model"`
	Keys  int    `json:"keys"`
	// UntrainedKeys are those that the model was not trained with, though it needs to be.
	UntrainedKeys []string `json:"untrained_keys,omitempty"`
}

// Paired is the comparison of two runs, image pair by image pair.
type Paired struct {
	A        Side         `json:"a"`
	B        Side         `json:"b"`
	Dataset  string       `json:"dataset"` // its digest
	Geometry Geometry     `json:"geometry"`
	Pairs    int          `json:"pairs"`
	Roles    []PairedRole `json:"roles"`
	// LeftOut names the roles that only one of the runs has, those that one refused, and those that cannot be compared, with the
	// reason.
	LeftOut []Failed `json:"left_out"`
}

// PairedRole holds the differences of one role.
type PairedRole struct {
	Role string `json:"role"`
	// Permille is the share of partial keys that is right; null of other roles.
	Permille *int `json:"permille,omitempty"`
	// Attack is what was done to the stego images; empty of other roles than robustness.
	Attack string `json:"attack,omitempty"`
	// N counts the image pairs that both runs have scores of; the scores of a pair under several keys count as
	// one, their mean.
	N int `json:"n"`
	// RefusedA and RefusedB count the images that recovery refused in each run. They have no part in the rest.
	RefusedA int `json:"refused_a,omitempty"`
	RefusedB int `json:"refused_b,omitempty"`
	ByMetric[Difference]
}

// Verdict is what a difference says of A.
type Verdict string

// The verdicts.
const (
	Better Verdict = "better"
	Worse  Verdict = "worse"
	// Higher and Lower are of roles in which neither is better, such as the likeness of a wrong key's output to the cover.
	Higher Verdict = "higher"
	Lower  Verdict = "lower"
	// CannotBeTold: the interval holds 0, or there are fewer than VerdictPairs pairs.
	CannotBeTold Verdict = "cannot be told"
)

// VerdictPairs is the least number of image pairs that a verdict needs: fewer images do not represent a data set, and the interval of
// very skewed differences is least reliable there (docs/statistics.md).
const VerdictPairs = 8

// Difference is the difference of two runs in a metric, A less B.
type Difference struct {
	// A and B are the means over the image pairs that both have.
	A float64 `json:"a"`
	B float64 `json:"b"`
	// Mean and deviation of the differences of the pairs; the interval is that of their mean.
	stats.Moments
	// HoldsZero says that the interval holds 0: these pairs do not show which of the two is higher. It is also true
	// where there is no interval.
	HoldsZero bool `json:"holds_zero"`
	// Verdict is of A, by the metric's and the role's direction.
	Verdict Verdict `json:"verdict"`
	// Worst is the difference of the pair on which A does worst beside B, by the same direction, and the least where there is none;
	// WorstOf is what A calls that pair.
	Worst   float64 `json:"worst"`
	WorstOf string  `json:"worst_of"`
	// Won is the share of the pairs on which A is better, on [0,1], by the same direction.
	Won float64 `json:"won"`
}

// Compare compares two runs of the same image pairs at the same geometry. Pairs are the same when their images
// are, whatever their names. Models and keys may differ: that is what is compared. The error wraps ErrIncomparable.
//
// A difference is taken within each pair: what makes some images easier than others for both runs drops out. Intervals are those of
// stats.Clusters over pairs. There is no verdict on fewer than VerdictPairs.
func Compare(a, b Measured) (*Paired, error) {
	if err := sameConditions(a.Summary, b.Summary); err != nil {
		return nil, err
	}
	side := func(s *Summary) Side {
		return Side{Run: s.Run, Model: s.Model, Keys: len(s.Keys), UntrainedKeys: s.UntrainedKeys}
	}
	p := &Paired{
		A: side(a.Summary), B: side(b.Summary), Dataset: a.Summary.Dataset.Digest, Geometry: a.Summary.Geometry,
		Pairs: len(a.Summary.Pairs), Roles: []PairedRole{}, LeftOut: []Failed{},
	}
	inA, inB := itemMeans(a), itemMeans(b)
	refusedA, refusedB := refusals(a), refusals(b)
	both := maps.Clone(inA)
	maps.Copy(both, inB)
	for _, c := range sortedRoles(both) {
		d := differ(c, inA[c], inB[c])
		leave := func(why string) { p.LeftOut = append(p.LeftOut, Failed{Name: d.name(), Reason: why}) }
		noisy := c.Against == schemas.Against_AGAINST_CLEAN
		d.RefusedA, d.RefusedB = refusedA[c], refusedB[c]
		allA, allB := len(inA[c]) == 0 && refusedA[c] > 0, len(inB[c]) == 0 && refusedB[c] > 0
		switch {
		case allA && allB:
			leave("both refused it: there are no images to compare")
		case allA:
			leave(p.A.refusedAll(d.RefusedA))
		case allB:
			leave(p.B.refusedAll(d.RefusedB))
		case len(inA[c]) == 0:
			leave("only " + p.B.Run + " has it")
		case len(inB[c]) == 0:
			leave("only " + p.A.Run + " has it")
		case noisy && a.Summary.NoiseSigma != b.Summary.NoiseSigma:
			leave(fmt.Sprintf("the noise differs: sigma %g and %g", a.Summary.NoiseSigma, b.Summary.NoiseSigma))
		case d.N == 0:
			leave("no image pair has scores in both runs")
		default:
			p.Roles = append(p.Roles, d)
		}
	}
	slices.SortFunc(p.LeftOut, func(a, b Failed) int { return cmp.Compare(a.Name, b.Name) })
	return p, nil
}

func (s Side) refusedAll(n int) string {
	return fmt.Sprintf("%s refused it, %d of %d: there are no images to compare", s.Run, n, n)
}

// sameConditions says why two runs are not of the same images, brought to the same size, with the same metrics.
func sameConditions(a, b *Summary) error {
	if a.Geometry != b.Geometry {
		return fmt.Errorf("%w: %s is at %s, %s at %s; evaluate both with the same --size and --resize", ErrIncomparable, a.Run, a.Geometry.Text(), b.Run, b.Geometry.Text())
	}
	if va, vb := quality.Definitions(a.MetricsVersion), quality.Definitions(b.MetricsVersion); va != vb {
		return fmt.Errorf("%w: %s has version %s of the metrics, %s version %s; evaluate both again", ErrIncomparable, a.Run, va, b.Run, vb)
	}
	if va, vb := a.DecoderVersion, b.DecoderVersion; va != vb {
		return fmt.Errorf("%w: version %d of the decoder read the images of %s, and version %d those of %s, so that their pixels differ (0: one before it was noted); "+
			"evaluate the older one again", ErrIncomparable, va, a.Run, vb, b.Run)
	}
	missing := func(from, in *Summary) (items []string) {
		there := make(map[string]bool)
		for _, name := range pairNames(in) {
			there[name] = true
		}
		for i, name := range pairNames(from) {
			if !there[name] {
				items = append(items, from.Pairs[i].Item)
			}
		}
		return items
	}
	onlyA, onlyB := missing(a, b), missing(b, a)
	if len(onlyA)+len(onlyB) == 0 {
		return nil
	}
	return fmt.Errorf("%w: their image pairs differ: %d of the %d of %s are not in %s, and %d of the %d of %s not in %s (the first is %s); evaluate both on the same --data with the same --limit or --sample",
		ErrIncomparable, len(onlyA), len(a.Pairs), a.Run, b.Run, len(onlyB), len(b.Pairs), b.Run, a.Run, append(onlyA, onlyB...)[0])
}

// pairNames names each pair of a run by its images, and by its number among those of the same images.
func pairNames(s *Summary) []string {
	seen := make(map[string]int)
	names := make([]string, 0, len(s.Pairs))
	for _, p := range s.Pairs {
		name := p.CoverDigest + " " + p.SecretDigest
		seen[name]++
		names = append(names, fmt.Sprintf("%s %d", name, seen[name]))
	}
	return names
}

// means are the sums of the metrics of an item in a role, and their numbers, in the order of quality.Metrics.
type means struct {
	item string
	n    []float64
	sums []float64
}

// refusals counts the images that recovery refused in a run, by role.
func refusals(run Measured) map[schemas.Role]int {
	all := make(map[schemas.Role]int)
	for _, s := range run.Scores {
		if s.End() == schemas.EndRefused {
			all[s.Role()]++
		}
	}
	return all
}

// itemMeans sums the scores of a run by role and pair. A role of which every image was refused has no pairs.
func itemMeans(run Measured) map[schemas.Role]map[string]*means {
	name := make(map[string]string) // of each item
	for i, n := range pairNames(run.Summary) {
		name[run.Summary.Pairs[i].Item] = n
	}
	all := make(map[schemas.Role]map[string]*means)
	for _, s := range run.Scores {
		c := s.Role()
		if all[c] == nil {
			all[c] = make(map[string]*means)
		}
		if s.End() == schemas.EndRefused {
			continue
		}
		m := of(all[c], name[s.GetItem()])
		if m.n == nil {
			*m = means{s.GetItem(), make([]float64, len(quality.Metrics)), make([]float64, len(quality.Metrics))}
		}
		for i, metric := range quality.Metrics {
			if v, measured := s.GetMetrics().Value(metric.Name); measured {
				m.n[i]++
				m.sums[i] += v
			}
		}
	}
	return all
}

// differ makes the differences of a role; there are none where no pair has scores in both runs.
func differ(c schemas.Role, a, b map[string]*means) PairedRole {
	role := paired(c)
	var both []string
	for name := range a {
		if b[name] != nil {
			both = append(both, name)
		}
	}
	slices.Sort(both)
	for i, metric := range quality.Metrics {
		sign := float64(metric.More) * better(c)
		var d Difference
		var of [2]stats.Summary
		var difference stats.Summary
		var items stats.Clusters
		for _, name := range both {
			x, y := a[name], b[name]
			if x.n[i] == 0 || y.n[i] == 0 {
				continue
			}
			va, vb := x.sums[i]/x.n[i], y.sums[i]/y.n[i]
			if worst := (va - vb) * cmp.Or(sign, 1); difference.N == 0 || worst < d.Worst*cmp.Or(sign, 1) {
				d.Worst, d.WorstOf = va-vb, x.item
			}
			of[0].Add(va)
			of[1].Add(vb)
			difference.Add(va - vb)
			items.Add(name, va-vb)
			if (va-vb)*sign > 0 {
				d.Won++
			}
		}
		if difference.N == 0 {
			continue
		}
		ci := items.Interval()
		d.A, d.B, d.Moments, d.HoldsZero = of[0].Mean, of[1].Mean, difference.Moments(ci), ci == nil || ci.Holds(0)
		d.Verdict, d.Won = d.verdict(difference.N, sign), d.Won/float64(difference.N)
		role.set(metric.Name, d)
		if !metric.Optional() {
			role.N = difference.N
		}
	}
	return role
}

// paired names a role.
func paired(c schemas.Role) PairedRole {
	r := PairedRole{Role: c.Token(), Attack: c.Attack}
	if c.Reader == schemas.Reader_READER_PARTIAL {
		r.Permille = &c.Permille
	}
	return r
}

// name is the role, and which of its keys or attacks.
func (r PairedRole) name() string {
	switch {
	case r.Permille != nil:
		return r.Role + " " + percent(*r.Permille)
	case r.Attack != "":
		return r.Role + " " + r.Attack
	}
	return r.Role
}

// verdict says what a difference over n pairs shows of A. Sign is +1 where more is better, -1 where less is, 0 where neither is.
func (d Difference) verdict(n int, sign float64) Verdict {
	switch {
	case d.HoldsZero || n < VerdictPairs:
		return CannotBeTold
	case d.Mean*sign > 0:
		return Better
	case d.Mean*sign < 0:
		return Worse
	case d.Mean > 0:
		return Higher
	}
	return Lower
}

// words are the verdict on n pairs for a table.
func (d Difference) words(n int) string {
	switch {
	case n < VerdictPairs:
		return fmt.Sprintf("no verdict on fewer than %d pairs", VerdictPairs)
	case d.Verdict == CannotBeTold:
		return "holds 0: no difference shown"
	}
	return "A is " + string(d.Verdict)
}

// sections are a table for each metric.
func (p *Paired) sections() []report.Section {
	var all []report.Section
	for _, m := range quality.Metrics {
		t := report.Table{Head: []string{"", "A", "B", "A - B", "worst for A (pair)", "n", "in words"}}
		for _, r := range p.Roles {
			if d, there := r.Metric(m.Name); there {
				t.Rows = append(t.Rows, []string{r.name(), fmt.Sprintf(m.Format(), d.A), fmt.Sprintf(m.Format(), d.B), broken(d.Text(m.Signed())),
					fmt.Sprintf(m.Signed()+"\n(%s)", d.Worst, d.WorstOf), fmt.Sprint(r.N), d.words(r.N)})
			}
		}
		if len(t.Rows) > 0 || !m.Optional() {
			all = append(all, report.Section{ID: strings.ReplaceAll(m.Name, "_", "-"), Title: m.Heading(), Tables: []report.Table{t}})
		}
	}
	return all
}

// facts are the lines that stand over the tables.
func (p *Paired) facts() []string {
	side := func(name string, s Side) string {
		line := fmt.Sprintf("%s: run %s, model %s (%.12s), keys: %d", name, s.Run, s.Model.Name, s.Model.Digest, s.Keys)
		if !s.Model.Trained {
			line += "; the model is NOT TRAINED"
		}
		if words := UntrainedWords(s.UntrainedKeys, s.Keys); words != "" {
			line += ". " + words
		}
		return line
	}
	lines := []string{
		side("A", p.A), side("B", p.B),
		fmt.Sprintf("data set %.12s, %d pairs, at %s", p.Dataset, p.Pairs, p.Geometry.Text()),
		"Differences are taken within each image pair: mean ± standard deviation, n pairs, in brackets the 95 % interval of the mean (Student's t on the pairs).",
	}
	n := 4 * len(p.Roles)
	for _, r := range p.Roles {
		n += len(r.More)
	}
	if n >= 20 {
		lines = append(lines, fmt.Sprintf("Of %d intervals, about one in twenty does not hold the true mean, by chance alone.", n))
	}
	for _, r := range p.Roles {
		if r.RefusedA+r.RefusedB > 0 {
			lines = append(lines, fmt.Sprintf("refused, and so in no mean of %s: %d of A, %d of B", r.name(), r.RefusedA, r.RefusedB))
		}
	}
	for _, l := range p.LeftOut {
		lines = append(lines, fmt.Sprintf("left out: %s (%s)", l.Name, l.Reason))
	}
	return lines
}

// Document is the report of the comparison.
func (p *Paired) Document() *report.Document {
	return &report.Document{Title: "Run " + p.A.Run + " against run " + p.B.Run, Facts: report.Lines(p.facts()), Sections: p.sections()}
}

// WriteFiles writes comparison.json and comparison.md into dir, each whole or not at all.
func (p *Paired) WriteFiles(dir string) error { return p.Document().Write(dir, "comparison", p, nil) }
