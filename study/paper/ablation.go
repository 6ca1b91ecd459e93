package paper

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"stegomq/report"
	"stegomq/report/stats"
	"stegomq/study"
)

// Ablation compares the gradient of the public code with the right one: the same method, trained with each.
type Ablation struct {
	Lines []AblationLine `json:"lines"`
	// Differences are the right gradient less the wrong one, on the same image pairs.
	Differences []AblationDifference `json:"differences"`
}

// AblationLine is one of the trained models, over the key pairs a and b. PSNR in dB.
type AblationLine struct {
	Ablated
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
	ab := Ablation{Lines: []AblationLine{}, Differences: []AblationDifference{}}
	models := slices.Clone(s.Ablation)
	slices.SortStableFunc(models, func(a, b Ablated) int {
		return cmp.Or(cmp.Compare(a.DataSet, b.DataSet), cmp.Compare(b.Alpha, a.Alpha), cmp.Compare(a.Seed, b.Seed), cmp.Compare(a.Gradient, b.Gradient))
	})
	for _, right := range models {
		ab.Lines = append(ab.Lines, ablationLine(right))
		if right.Gradient != GradientRight || !right.Run.Made() {
			continue
		}
		lines := []Paired{{DataSet: right.DataSet, Why: "no model with the wrong gradient was run"}}
		other := slices.IndexFunc(models, func(m Ablated) bool {
			return m.Gradient == GradientWrong && m.DataSet == right.DataSet && near(m.Alpha, right.Alpha) && m.Seed == right.Seed && m.Run.Made()
		})
		if other >= 0 {
			var err error
			if lines, err = comparePairs(right.DataSet, "right gradient", "wrong gradient", right.Run, models[other].Run); err != nil {
				return Ablation{}, err
			}
		}
		for _, l := range lines {
			ab.Differences = append(ab.Differences, AblationDifference{right.Alpha, right.Seed, l})
		}
	}
	return ab, nil
}

func ablationLine(m Ablated) AblationLine {
	l := AblationLine{Ablated: m}
	if !m.Run.Made() {
		l.Why = cmp.Or(l.Why, whyNotRun)
		return l
	}
	sum := m.Run.summary(m.Run.pairs()...)
	psnr := func(g study.Group) *stats.Moments {
		if g.N == 0 {
			return nil
		}
		return &g.PSNR.Moments
	}
	l.N = sum.Recoverability.N
	l.Stego, l.Recovered, l.Wrong = psnr(sum.Imperceptibility), psnr(sum.Recoverability), psnr(sum.LeakageMismatched)
	l.Excess = excessPSNR(sum.LeakageMismatched)
	return l
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
		Head: []string{"alpha", "seed", "data set", "block", "PSNR dB", "SSIM", "pairs", "right is"},
	}
	for _, d := range ab.Differences {
		row := []string{fmt.Sprintf("%g", d.Alpha), fmt.Sprint(d.Seed), d.DataSet, blockTitle(d.Block)}
		if d.Why != "" {
			row = append(row, "-", "-", "0", d.Why)
		} else {
			row = append(row, signed("%.2f", &d.PSNR.Moments), signed("%.3f", &d.SSIM.Moments), fmt.Sprint(d.N), string(d.PSNR.Verdict))
		}
		differences.Rows = append(differences.Rows, row)
	}
	return []report.Table{lines, differences}
}

// rows are ablation.csv: a row for each figure of each model, and for each difference.
func (ab *Ablation) rows() [][]string {
	rows := [][]string{{"alpha", "seed", "gradient", "data_set", "what", "psnr_mean", "psnr_std", "ci95_low", "ci95_high", "n", "why_not", "model", "training_seconds", "training_steps"}}
	add := func(alpha float64, seed int, gradient, set, what string, psnr *stats.Moments, n int, why, model string, trained *Training) {
		row := append([]string{report.Exact(alpha), strconv.Itoa(seed), gradient, set, what}, measured(psnr)...)
		rows = append(rows, append(append(row, strconv.Itoa(n), why, model), trained.cells()[:2]...))
	}
	for _, l := range ab.Lines {
		for _, m := range []struct {
			what string
			of   *stats.Moments
		}{{blockImperceptibility, l.Stego}, {blockRecoverability, l.Recovered}, {blockCross, l.Wrong}, {"excess", l.Excess}} {
			add(l.Alpha, l.Seed, l.Gradient, l.DataSet, m.what, m.of, l.N, l.Why, l.Model.Name, l.Model.Training)
		}
	}
	for _, d := range ab.Differences {
		psnr := &d.PSNR.Moments
		if d.Why != "" {
			psnr = nil
		}
		add(d.Alpha, d.Seed, "right less wrong", d.DataSet, d.Block, psnr, d.N, d.Why, "", nil)
	}
	return rows
}
