package paper

import (
	"cmp"
	"fmt"
	"strings"
)

// Report is report.json: the figures of a study.
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
	Differences []Deviation  `json:"differences"`
	Claims      []Claim      `json:"claims"`
	// Missing names everything that the report would have and has not, with the reason.
	Missing []string `json:"missing"`

	study *Study
}

// Build makes the report of a study. What is missing is named in it; the error wraps ErrStudy where the study contradicts itself.
func Build(study Study) (*Report, error) {
	if err := study.validate(); err != nil {
		return nil, err
	}
	r := &Report{
		Command: study.Command, Date: study.Date, Reference: reference,
		Table1: study.table1(), Fig1: study.separations(), Fig5: study.matrices(), study: &study,
	}
	var err error
	if r.Paired, err = study.paired(r.Reference); err != nil {
		return nil, err
	}
	if r.Ablation, err = study.ablation(); err != nil {
		return nil, err
	}
	r.Differences = r.Table1.deviations()
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
			if d.AtHand && !run.Made() {
				add("%s was not run on %s.", row.Method, d.Name)
			}
			if !d.AtHand || !run.Made() {
				continue
			}
			sum, on := run.Summary, row.Method+" on "+d.Name
			if n := len(sum.FailedItems); n > 0 {
				add("%s: %d comparisons failed; the first is %s (%s).", on, n, sum.FailedItems[0].Name, sum.FailedItems[0].Reason)
			}
			if n := len(sum.RefusedItems); n > 0 {
				add("%s: recovery refused %d of %d images to the key that embedded them; the first is %s.", on, n, sum.Recoverability.Of(), sum.RefusedItems[0].Name)
			}
			if n := len(sum.Dataset.Failed); n > 0 {
				add("%s: %d image files could not be used; the first is %s (%s).", on, n, sum.Dataset.Failed[0].Name, sum.Dataset.Failed[0].Reason)
			}
			if len(sum.Keys) < 2 {
				add("%s has one key: there is no key pair b and no cross decoding.", on)
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
