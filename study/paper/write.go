package paper

import (
	"fmt"
	"strconv"

	"stegomq/report"
	"stegomq/study"
)

// Write writes the report into dir, each file whole or not at all:
//
//   - report.md, report.json and report.html: everything; the HTML file is complete in itself;
//   - table1, fig5, paired and ablation, each as .md, .csv (long form), .json and .tex (a document that needs booktabs alone);
//   - differences.md: where ours differs from the paper, and why;
//   - fig1, fig3, fig4, fig5 as .svg and .png, where there is something to draw.
//
// A figure that is there from before and cannot be drawn any more is removed. Errors are those of files: of images that are there
// and cannot be read, and of the folder.
func (r *Report) Write(dir string) error {
	d, err := r.Document()
	if err != nil {
		return err
	}
	sections := make(map[string]*report.Section)
	for i := range d.Sections {
		s := &d.Sections[i]
		sections[s.ID] = s
		for j := range s.Tables {
			s.Tables[j].Class = class(&s.Tables[j])
		}
	}
	files := []report.File{{Name: "differences.md", Data: []byte(sections["differences"].Markdown())}}
	for _, part := range []struct {
		name, caption string
		section       *report.Section
		value         any
		rows          [][]string
		tables        []report.Table
	}{
		{"table1", "Table 1", sections["table-1"], r.Table1, r.Table1.rows(), r.table1ByDataSet()},
		{"fig5", "Fig. 5", sections["fig-5"], r.Fig5, matrixRows(r.Fig5), sections["fig-5"].Tables},
		{"paired", r.Reference + " less the other method", sections["paired"], r.Paired, pairedRows(r.Paired), sections["paired"].Tables},
		{"ablation", "Gradient ablation", sections["ablation"], r.Ablation, r.Ablation.rows(), sections["ablation"].Tables},
	} {
		value, err := report.JSON(part.value)
		if err != nil {
			return fmt.Errorf("make %s.json: %w", part.name, err)
		}
		rows, err := report.CSV(part.rows)
		if err != nil {
			return fmt.Errorf("make %s.csv: %w", part.name, err)
		}
		files = append(files, report.File{Name: part.name + ".json", Data: value}, report.File{Name: part.name + ".csv", Data: rows},
			report.File{Name: part.name + ".md", Data: []byte(part.section.Markdown())}, report.File{Name: part.name + ".tex", Data: []byte(report.TeX(part.caption, part.tables))})
	}
	return d.Write(dir, "report", r, study.ReadImage, files...)
}

// table1ByDataSet has a table for each block and data set, because a page of LaTeX is not wide.
func (r *Report) table1ByDataSet() (all []report.Table) {
	for i := range r.Table1.Blocks {
		b := &r.Table1.Blocks[i]
		for _, set := range r.Table1.setsOf(b) {
			t := r.Table1.grid(b, []DataSet{set})
			t.Title += ", on " + set.Name
			all = append(all, t)
		}
	}
	return all
}

// pairedRows is the long form of the paired comparisons: a row for each metric.
func pairedRows(all []Paired) [][]string {
	rows := [][]string{{"data_set", "block", "reference", "other", "metric", "reference_mean", "other_mean", "difference", "std", "ci95_low", "ci95_high", "won", "verdict", "worst", "worst_pair", "pairs", "why_not"}}
	for _, p := range all {
		for i, l := range []study.Difference{p.PSNR, p.SSIM, p.MAE} {
			row := []string{p.DataSet, p.Block, p.Reference, p.Other, metrics[i].name}
			if p.Why != "" {
				row = append(row, "", "", "", "", "", "", "", "", "", "", "0", p.Why)
			} else {
				row = append(row, report.Exact(l.A), report.Exact(l.B))
				row = append(append(row, measured(&l.Moments)...), report.Exact(l.Won), string(l.Verdict), report.Exact(l.Worst), l.WorstOf, strconv.Itoa(p.N), "")
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// rows is the long form of the ablation's models.
func (ab *Ablation) rows() [][]string {
	rows := [][]string{{"alpha", "seed", "gradient", "data_set", "what", "psnr_mean", "psnr_std", "ci95_low", "ci95_high", "n", "why_not", "model", "training_seconds", "training_steps"}}
	for _, l := range ab.Lines {
		seconds, steps := "", ""
		if t := l.Model.Training; t != nil {
			seconds, steps = report.Exact(t.Seconds), strconv.Itoa(t.Steps)
		}
		for _, m := range l.figures() {
			row := append([]string{report.Exact(l.Alpha), strconv.Itoa(l.Seed), l.Gradient, l.DataSet, m.name}, measured(m.of)...)
			rows = append(rows, append(row, strconv.Itoa(l.N), l.Why, l.Model.Name, seconds, steps))
		}
	}
	for _, d := range ab.Differences {
		row := append([]string{report.Exact(d.Alpha), strconv.Itoa(d.Seed), "right less wrong", d.DataSet, d.Block}, pick(d.Why == "", measured(&d.PSNR.Moments), measured(nil))...)
		rows = append(rows, append(row, strconv.Itoa(d.N), d.Why, "", "", ""))
	}
	return rows
}
