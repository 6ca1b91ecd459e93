package paper

import (
	"cmp"
	"fmt"
	"strings"

	"stegomq/report"
	"stegomq/study"
)

// Report is the study, worked out: report.json.
type Report struct {
	Command   string `json:"command,omitempty"`
	Date      string `json:"date,omitempty"`
	Reference string `json:"reference"`
	Table1    Table1 `json:"table1"`
	// Paired is the reference against every other method, in PSNR, SSIM and MAE.
	Paired      []Paired     `json:"paired"`
	Fig1        []Separation `json:"fig1"`
	Fig5        []Matrix     `json:"fig5"`
	Ablation    Ablation     `json:"ablation"`
	Differences []Differing  `json:"differences"`
	Claims      []Claim      `json:"claims"`
	// Missing names everything that the report would have and has not, with the reason.
	Missing []string `json:"missing"`

	study *Study
}

// Build works a study out. What is missing is named in the report; the error wraps ErrStudy where the study contradicts
// itself.
func Build(study Study) (*Report, error) {
	if err := study.validate(); err != nil {
		return nil, err
	}
	r := &Report{
		Command: study.Command, Date: study.Date, Reference: study.reference(),
		Table1: study.table1(), Fig1: study.separations(), Fig5: study.matrices(), study: &study,
	}
	var err error
	if r.Paired, err = study.paired(); err != nil {
		return nil, err
	}
	if r.Ablation, err = study.ablation(); err != nil {
		return nil, err
	}
	r.Differences = r.Table1.differing()
	if r.Claims, err = r.claims(); err != nil {
		return nil, err
	}
	r.Missing = r.missing()
	return r, nil
}

// missing lists what is not there.
func (r *Report) missing() []string {
	list := []string{}
	add := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for _, d := range r.Table1.DataSets {
		if !d.AtHand {
			add("Data set %s is not at hand: %s.", d.Name, d.Why)
		}
	}
	for _, row := range r.study.rows() {
		if len(row.Runs) == 0 {
			add("%s was not run: %s.", row.Method, cmp.Or(row.Why, "no run was given"))
			continue
		}
		for _, d := range r.Table1.DataSets {
			run := row.Runs[d.Name]
			switch {
			case !d.AtHand:
			case !run.Made():
				add("%s was not run on %s.", row.Method, d.Name)
			default:
				if n := len(run.Summary.FailedItems); n > 0 {
					add("%s on %s: %d comparisons failed; the first is %s (%s).", row.Method, d.Name, n, run.Summary.FailedItems[0].Name, run.Summary.FailedItems[0].Reason)
				}
				if n := len(run.Summary.RefusedItems); n > 0 {
					add("%s on %s: recovery refused %d of %d images to the key that embedded them; the first is %s.", row.Method, d.Name, n, run.Summary.Recoverability.Of(), run.Summary.RefusedItems[0].Name)
				}
				if n := len(run.Summary.Dataset.Failed); n > 0 {
					add("%s on %s: %d image files could not be used; the first is %s (%s).", row.Method, d.Name, n, run.Summary.Dataset.Failed[0].Name, run.Summary.Dataset.Failed[0].Reason)
				}
				if len(run.Summary.Keys) < 2 {
					add("%s on %s has one key: there is no key pair b and no cross decoding.", row.Method, d.Name)
				}
			}
		}
	}
	for _, s := range r.Fig1 {
		if s.Why != "" {
			add("Fig. 1 has no %s: %s.", s.Method, s.Why)
		}
	}
	var reasons []string
	without := make(map[string][]string)
	for _, m := range r.Fig5 {
		if m.Why == "" {
			continue
		}
		if without[m.Why] == nil {
			reasons = append(reasons, m.Why)
		}
		without[m.Why] = append(without[m.Why], m.name())
	}
	for _, why := range reasons {
		add("Fig. 5 has no matrix of ours (%s) for %s.", why, strings.Join(without[why], "; "))
	}
	if len(r.study.Ablation) == 0 {
		add("There is no gradient ablation: no models were given.")
	}
	for _, l := range r.Ablation.Lines {
		if l.Why != "" {
			add("The ablation has no %s gradient at alpha %g: %s.", l.Gradient, l.Alpha, l.Why)
		}
	}
	return list
}

// pairedTable is the paired comparisons of a data set.
func pairedTable(all []Paired, set string) report.Table {
	t := report.Table{
		Title: set, Words: 2,
		Head: []string{"against", "block", "PSNR dB", "won", "SSIM", "won", "MAE", "won", "worst PSNR (pair)", "pairs", "by PSNR"},
	}
	for _, p := range all {
		if p.DataSet != set {
			continue
		}
		row := []string{p.Other, blockTitle(p.Block)}
		if p.Why != "" {
			row = append(row, p.Why, "-", "-", "-", "-", "-", "-", "-", "-")
		} else {
			for _, m := range []struct {
				format string
				of     study.Difference
			}{{"%.2f", p.PSNR}, {"%.3f", p.SSIM}, {"%.4f", p.MAE}} {
				row = append(row, signed(m.format, &m.of.Moments), fmt.Sprintf("%.0f %%", 100*m.of.Won))
			}
			row = append(row, fmt.Sprintf("%+.2f (%s)", p.PSNR.Worst, p.PSNR.WorstOf), fmt.Sprint(p.N), string(p.PSNR.Verdict))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
