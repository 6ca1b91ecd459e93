package paper

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"stegomq/report"
	"stegomq/schemas"
	"stegomq/study"
)

// Paired is the reference against another method on the same image pairs of a data set, in one of the paper's blocks. The
// scores are those of Table 1: the key pairs a and b.
type Paired struct {
	DataSet   string `json:"data_set"`
	Block     string `json:"block"`
	Reference string `json:"reference"`
	Other     string `json:"other"`
	// Why says why the two cannot be compared; the rest is then empty.
	Why string `json:"why,omitempty"`
	// N counts the image pairs.
	N    int              `json:"n"`
	PSNR study.Difference `json:"psnr"`
	SSIM study.Difference `json:"ssim"`
	MAE  study.Difference `json:"mae"`
}

// paired compares a method with every other one.
func (s *Study) paired(method string) ([]Paired, error) {
	all := []Paired{}
	for _, set := range s.dataSets() {
		mine := s.run(method, set.Name)
		if !set.AtHand || !mine.Made() {
			continue
		}
		for _, row := range s.rows() {
			if row.Method == method || !row.Runs[set.Name].Made() {
				continue
			}
			lines, err := comparePairs(set.Name, method, row.Method, mine, row.Runs[set.Name])
			if err != nil {
				return nil, err
			}
			all = append(all, lines...)
		}
	}
	return all, nil
}

// comparePairs compares two runs in the paper's three blocks. Runs that cannot be compared give one line that says why.
func comparePairs(set, nameA, nameB string, a, b Run) ([]Paired, error) {
	inA := study.Measured{Summary: a.Summary, Scores: a.of(a.pairs()...)}
	inB := study.Measured{Summary: b.Summary, Scores: b.of(b.pairs()...)}
	found, err := study.Compare(inA, inB)
	line := Paired{DataSet: set, Reference: nameA, Other: nameB}
	if errors.Is(err, study.ErrIncomparable) {
		line.Why = err.Error()
		return []Paired{line}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("compare %s with %s on %s: %w", nameA, nameB, set, err)
	}
	var lines []Paired
	for _, kind := range paperBlocks {
		line.Block, line.Why = kind.name, whyNoScores
		is := func(name string) bool { return name == kind.role.Token() }
		if i := slices.IndexFunc(found.LeftOut, func(l study.Failed) bool { return is(l.Name) }); i >= 0 {
			line.Why = found.LeftOut[i].Reason
		}
		switch {
		case allRefused(inA, kind.role):
			line.Why = nameA + " refused every image"
		case allRefused(inB, kind.role):
			line.Why = nameB + " refused every image"
		}
		compared := line
		if i := slices.IndexFunc(found.Roles, func(r study.PairedRole) bool { return is(r.Role) }); i >= 0 {
			r := found.Roles[i]
			compared.Why, compared.N, compared.PSNR, compared.SSIM, compared.MAE = "", r.N, r.PSNR, r.SSIM, r.MAE
		}
		lines = append(lines, compared)
	}
	return lines, nil
}

// allRefused says whether recovery refused every image of a role.
func allRefused(run study.Measured, role schemas.Role) bool {
	of := slices.DeleteFunc(slices.Clone(run.Scores), func(s *schemas.Score) bool { return s.Role() != role })
	return len(of) > 0 && !slices.ContainsFunc(of, func(s *schemas.Score) bool { return s.End() == schemas.EndDone })
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
		row := []string{p.Other, blockTitle(p.Block), p.Why, "-", "-", "-", "-", "-", "-", "-", "-"}
		if p.Why == "" {
			row = row[:2]
			for i, d := range p.differences() {
				row = append(row, signed([]string{"%.2f", "%.3f", "%.4f"}[i], &d.Moments), fmt.Sprintf("%.0f %%", 100*d.Won))
			}
			row = append(row, fmt.Sprintf("%+.2f (%s)", p.PSNR.Worst, p.PSNR.WorstOf), fmt.Sprint(p.N), string(p.PSNR.Verdict))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// differences are in the order of metrics.
func (p *Paired) differences() []study.Difference { return []study.Difference{p.PSNR, p.SSIM, p.MAE} }

// pairedRows are paired.csv: a row for each metric of each comparison.
func pairedRows(all []Paired) [][]string {
	rows := [][]string{{"data_set", "block", "reference", "other", "metric", "reference_mean", "other_mean", "difference", "std", "ci95_low", "ci95_high", "won", "verdict", "worst", "worst_pair", "pairs", "why_not"}}
	for _, p := range all {
		for i, d := range p.differences() {
			row := []string{p.DataSet, p.Block, p.Reference, p.Other, metrics[i].name}
			if p.Why != "" {
				row = append(row, "", "", "", "", "", "", "", "", "", "", "0", p.Why)
			} else {
				row = slices.Concat(row, []string{report.Exact(d.A), report.Exact(d.B)}, measured(&d.Moments),
					[]string{report.Exact(d.Won), string(d.Verdict), report.Exact(d.Worst), d.WorstOf, strconv.Itoa(p.N), ""})
			}
			rows = append(rows, row)
		}
	}
	return rows
}
