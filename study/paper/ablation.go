package paper

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"stegomq/report"
	"stegomq/report/stats"
	"stegomq/study"
)

// Ablation is what the gradient of the public code costs: the same method trained with it and with the right one.
type Ablation struct {
	Lines []AblationLine `json:"lines"`
	// Differences are the right gradient less the wrong one, on the same image pairs.
	Differences []AblationDifference `json:"differences"`
	// Words follow from the intervals of the differences.
	Words []string `json:"words"`
}

// AblationLine is one of the trained models, over the key pairs a and b. PSNR in dB.
type AblationLine struct {
	Gradient string  `json:"gradient"`
	Alpha    float64 `json:"alpha"`
	Seed     int     `json:"seed"`
	DataSet  string  `json:"data_set"`
	Model    Model   `json:"model"`
	// Why says why there are no figures.
	Why       string         `json:"why,omitempty"`
	N         int            `json:"n"`
	Stego     *stats.Moments `json:"stego"`
	Recovered *stats.Moments `json:"recovered"`
	Wrong     *stats.Moments `json:"mismatched"`
	Excess    *stats.Moments `json:"excess"`
}

// AblationDifference is the right gradient less the wrong one in one of the paper's blocks.
type AblationDifference struct {
	Alpha float64 `json:"alpha"`
	Seed  int     `json:"seed"`
	Paired
}

func (s *Study) ablation() (Ablation, error) {
	ab := Ablation{Lines: []AblationLine{}, Differences: []AblationDifference{}, Words: []string{}}
	models := slices.Clone(s.Ablation)
	slices.SortStableFunc(models, func(a, b Ablated) int {
		return cmp.Or(cmp.Compare(a.DataSet, b.DataSet), cmp.Compare(b.Alpha, a.Alpha), cmp.Compare(a.Seed, b.Seed), cmp.Compare(a.Gradient, b.Gradient))
	})
	for _, m := range models {
		ab.Lines = append(ab.Lines, ablationLine(m))
	}
	for i, right := range models {
		if right.Gradient != GradientRight || !right.Run.Made() {
			continue
		}
		other := slices.IndexFunc(models, func(m Ablated) bool {
			return m.Gradient == GradientWrong && m.DataSet == right.DataSet && near(m.Alpha, right.Alpha) && m.Seed == right.Seed && m.Run.Made()
		})
		if other < 0 {
			ab.Words = append(ab.Words, fmt.Sprintf("At alpha %g, seed %d, there is no run of a model with the wrong gradient: nothing can be told.", right.Alpha, right.Seed))
			continue
		}
		lines, err := comparePairs(right.DataSet, "right gradient", "wrong gradient", right.Run, models[other].Run)
		if err != nil {
			return Ablation{}, err
		}
		for _, l := range lines {
			ab.Differences = append(ab.Differences, AblationDifference{right.Alpha, right.Seed, l})
			ab.Words = append(ab.Words, gradientSentence(right.Alpha, right.Seed, l))
		}
		if a, b := ab.Lines[i].Model.Training, ab.Lines[other].Model.Training; a != nil && b != nil && far(a.Seconds, b.Seconds) && far(float64(a.Steps), float64(b.Steps)) {
			ab.Words = append(ab.Words, fmt.Sprintf("The budgets at alpha %g, seed %d, differ by more than a tenth (%s; %s), which is part of that difference.",
				right.Alpha, right.Seed, models[i].Model.budget(), models[other].Model.budget()))
		}
	}
	ab.Words = append(ab.Words, ab.acrossAlphas()...)
	ab.Words = append(ab.Words, ab.acrossSeeds()...)
	if len(ab.Differences) > 0 {
		ab.Words = append(ab.Words, "The intervals say what other images would give, not what another training would.")
	} else if len(models) == 0 {
		ab.Words = append(ab.Words, "No models of the gradient ablation were given.")
	}
	return ab, nil
}

// far says whether two budgets differ by more than a tenth.
func far(a, b float64) bool { return max(a, b) > 1.1*min(a, b) }

func ablationLine(m Ablated) AblationLine {
	l := AblationLine{Gradient: m.Gradient, Alpha: m.Alpha, Seed: m.Seed, DataSet: m.DataSet, Model: m.Model, Why: m.Why}
	if !m.Run.Made() {
		l.Why = cmp.Or(l.Why, whyNotRun)
		return l
	}
	sum := m.Run.summary(m.Run.pairs()...)
	l.N = sum.Recoverability.N
	for _, g := range []struct {
		to   **stats.Moments
		from study.Group
	}{{&l.Stego, sum.Imperceptibility}, {&l.Recovered, sum.Recoverability}, {&l.Wrong, sum.LeakageMismatched}} {
		if g.from.N > 0 {
			*g.to = &g.from.PSNR.Moments
		}
	}
	if e := sum.LeakageMismatched.Excess; e != nil {
		l.Excess = &e.PSNR.Moments
	}
	return l
}

// namedMoments is a mean with what it is of.
type namedMoments struct {
	name string
	of   *stats.Moments
}

func (l *AblationLine) figures() []namedMoments {
	return []namedMoments{{blockImperceptibility, l.Stego}, {blockRecoverability, l.Recovered}, {blockCross, l.Wrong}, {"excess", l.Excess}}
}

// blockWords name a block in a sentence.
var blockWords = map[string]string{
	blockImperceptibility: "the stego images' PSNR",
	blockRecoverability:   "the recovered images' PSNR",
	blockCross:            "the wrong key's PSNR",
}

// direction says which way a difference lies.
func direction(d study.Difference) string {
	switch {
	case d.Verdict == study.CannotBeTold:
		return "no difference that can be told"
	case d.Mean > 0:
		return "higher"
	}
	return "lower"
}

func gradientSentence(alpha float64, seed int, l Paired) string {
	where := fmt.Sprintf("At alpha %g, seed %d, on %s", alpha, seed, l.DataSet)
	if l.Why != "" {
		return fmt.Sprintf("%s the two gradients cannot be compared: %s.", where, l.Why)
	}
	d := l.PSNR
	verdict := direction(d)
	if d.Verdict != study.CannotBeTold {
		verdict += " with the right gradient"
	}
	return fmt.Sprintf("%s, %s: %s (right less wrong %s dB, %d pairs).", where, blockWords[l.Block], verdict, signed("%.2f", &d.Moments), l.N)
}

// acrossAlphas says whether the wrong gradient costs more recovery where fewer weights are shared, as its angle to the right
// one would have it.
func (ab *Ablation) acrossAlphas() []string {
	var words []string
	for i, most := range ab.Differences {
		for _, least := range ab.Differences[i+1:] {
			if most.Block != blockRecoverability || least.Block != blockRecoverability || most.DataSet != least.DataSet || most.Seed != least.Seed || least.Alpha >= most.Alpha {
				continue
			}
			a, b := most.PSNR.CI95, least.PSNR.CI95
			if a == nil || b == nil {
				continue
			}
			verdict := "costs no more and no less, as far as can be told,"
			switch {
			case b.Low > a.High:
				verdict = "costs more"
			case b.High < a.Low:
				verdict = "costs less"
			}
			words = append(words, fmt.Sprintf("The wrong gradient %s at alpha %g than at alpha %g in recovery on %s, seed %d: %s against %s dB.",
				verdict, least.Alpha, most.Alpha, most.DataSet, most.Seed, signed("%.2f", &least.PSNR.Moments), signed("%.2f", &most.PSNR.Moments)))
		}
	}
	return words
}

// acrossSeeds says whether trainings that differ in their seed alone agree.
func (ab *Ablation) acrossSeeds() []string {
	type question struct {
		alpha      float64
		set, block string
	}
	var asked []question
	answers := make(map[question][]AblationDifference)
	for _, d := range ab.Differences {
		if d.Why != "" {
			continue
		}
		q := question{d.Alpha, d.DataSet, d.Block}
		if answers[q] == nil {
			asked = append(asked, q)
		}
		answers[q] = append(answers[q], d)
	}
	var words []string
	once := false
	for _, q := range asked {
		seeds := answers[q]
		if len(seeds) == 1 {
			once = true
			continue
		}
		verdict := direction(seeds[0].PSNR)
		var means []string
		for _, d := range seeds {
			means = append(means, fmt.Sprintf("%+.2f", d.PSNR.Mean))
			if direction(d.PSNR) != verdict {
				verdict = "the seeds do not agree, so that another training changes as much as the gradient does"
			}
		}
		words = append(words, fmt.Sprintf("Of %d trainings each at alpha %g on %s, %s, right less wrong: %s (%s dB).",
			len(seeds), q.alpha, q.set, blockWords[q.block], verdict, strings.Join(means, ", ")))
	}
	if once {
		words = append(words, "Models with one seed were trained once.")
	}
	return words
}

func (ab *Ablation) tables() []report.Table {
	lines := report.Table{
		Title: "Gradient ablation: PSNR in dB with the 95 % interval of the mean", Words: 5,
		Head: []string{"alpha", "seed", "gradient", "data set", "training", "stego", "recovered", "wrong key", "its excess", "n"},
	}
	for _, l := range ab.Lines {
		row := []string{fmt.Sprintf("%g", l.Alpha), fmt.Sprint(l.Seed), l.Gradient, l.DataSet, l.Model.budget()}
		if l.Why != "" {
			row = append(row, l.Why, "-", "-", "-", "0")
		} else {
			row = append(row, interval("%.2f", l.Stego), interval("%.2f", l.Recovered), interval("%.2f", l.Wrong), signed("%.2f", l.Excess), fmt.Sprint(l.N))
		}
		lines.Rows = append(lines.Rows, row)
	}
	differences := report.Table{
		Title: "Right gradient less wrong gradient, on the same image pairs", Words: 4,
		Head: []string{"alpha", "seed", "data set", "block", "PSNR dB", "SSIM", "pairs", "in words"},
	}
	for _, d := range ab.Differences {
		row := []string{fmt.Sprintf("%g", d.Alpha), fmt.Sprint(d.Seed), d.DataSet, blockTitle(d.Block)}
		if d.Why != "" {
			row = append(row, "-", "-", "0", d.Why)
		} else {
			row = append(row, signed("%.2f", &d.PSNR.Moments), signed("%.3f", &d.SSIM.Moments), fmt.Sprint(d.N), direction(d.PSNR))
		}
		differences.Rows = append(differences.Rows, row)
	}
	return []report.Table{lines, differences}
}

// interval writes a mean with its interval.
func interval(format string, m *stats.Moments) string {
	if m == nil {
		return "-"
	}
	return fmt.Sprintf(format, m.Mean) + m.CI95.Text(format)
}
