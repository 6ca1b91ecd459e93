package paper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"stegomq/evaluator"
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
	figures, err := r.figures()
	if err != nil {
		return err
	}
	sections := r.sections(figures)
	page, err := r.html(sections)
	if err != nil {
		return fmt.Errorf("make report.html: %w", err)
	}
	whole, err := jsonOf(r)
	if err != nil {
		return fmt.Errorf("make report.json: %w", err)
	}
	files := []evaluator.File{
		{Name: "report.json", Data: whole}, {Name: "report.html", Data: page}, {Name: "report.md", Data: []byte(r.markdown(sections))},
	}
	for _, s := range sections {
		if s.id == "differences" {
			var out strings.Builder
			s.markdown(&out, 1)
			files = append(files, evaluator.File{Name: "differences.md", Data: []byte(strings.TrimLeft(out.String(), "\n"))})
		}
	}
	for _, part := range []struct {
		name, section, caption string
		value                  any
		rows                   [][]string
	}{
		{"table1", "table-1", "Table 1", r.Table1, r.Table1.rows()},
		{"fig5", "fig-5", "Fig. 5", r.Fig5, matrixRows(r.Fig5)},
		{"paired", "paired", r.Reference + " less the other method", r.Paired, pairedRows(r.Paired)},
		{"ablation", "ablation", "Gradient ablation", r.Ablation, r.Ablation.rows()},
	} {
		made, err := partFiles(part.name, part.section, part.caption, part.value, part.rows, sections, r.texTables(part.section, sections))
		if err != nil {
			return err
		}
		files = append(files, made...)
	}
	var gone []string
	for _, d := range figures {
		if d.why != "" {
			gone = append(gone, d.name+".svg", d.name+".png")
			continue
		}
		files = append(files, evaluator.File{Name: d.name + ".svg", Data: d.svg}, evaluator.File{Name: d.name + ".png", Data: d.png})
	}
	if err := evaluator.WriteFolder(dir, files); err != nil {
		return err
	}
	for _, name := range gone {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the old %s: %w", name, err)
		}
	}
	return nil
}

// partFiles are the four formats of a part of the report.
func partFiles(name, id, caption string, value any, rows [][]string, sections []section, tables []table) ([]evaluator.File, error) {
	asJSON, err := jsonOf(value)
	if err != nil {
		return nil, fmt.Errorf("make %s.json: %w", name, err)
	}
	asCSV, err := csvOf(rows)
	if err != nil {
		return nil, fmt.Errorf("make %s.csv: %w", name, err)
	}
	var text strings.Builder
	for _, s := range sections {
		if s.id == id {
			s.markdown(&text, 1)
		}
	}
	return []evaluator.File{
		{Name: name + ".json", Data: asJSON}, {Name: name + ".csv", Data: asCSV},
		{Name: name + ".md", Data: []byte(strings.TrimLeft(text.String(), "\n"))}, {Name: name + ".tex", Data: []byte(texDocument(caption, tables))},
	}, nil
}

// texTables are the tables of a section as LaTeX has them: Table 1 with a table for each data set, because a page is not wide.
func (r *Report) texTables(id string, sections []section) []table {
	var all []table
	if id == "table-1" {
		for i := range r.Table1.Blocks {
			b := &r.Table1.Blocks[i]
			for _, set := range r.Table1.setsOf(b) {
				t := r.Table1.grid(b, []DataSet{set})
				t.title += ", on " + set.Name
				all = append(all, t)
			}
		}
		return all
	}
	for _, s := range sections {
		if s.id == id {
			all = append(all, s.tables...)
		}
	}
	return all
}

// pairedRows is the long form of the paired comparisons: a row for each metric.
func pairedRows(all []Paired) [][]string {
	rows := [][]string{{"data_set", "block", "reference", "other", "metric", "reference_mean", "other_mean", "difference", "std", "ci95_low", "ci95_high", "won", "verdict", "worst", "worst_pair", "pairs", "why_not"}}
	for _, p := range all {
		for i, l := range []Less{p.PSNR, p.SSIM, p.MAE} {
			row := []string{p.DataSet, p.Block, p.Reference, p.Other, metrics[i].name}
			if p.Why != "" {
				row = append(row, "", "", "", "", "", "", "", "", "", "", "0", p.Why)
			} else {
				row = append(row, number(l.A), number(l.B))
				row = append(append(row, measured(&l.Moments)...), number(l.Won), string(l.Verdict), number(l.Worst), l.WorstOf, strconv.Itoa(p.N), "")
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
			seconds, steps = number(t.Seconds), strconv.Itoa(t.Steps)
		}
		for _, m := range l.figures() {
			row := append([]string{number(l.Alpha), strconv.Itoa(l.Seed), l.Gradient, l.DataSet, m.name}, measured(m.of)...)
			rows = append(rows, append(row, strconv.Itoa(l.N), l.Why, l.Model.Name, seconds, steps))
		}
	}
	for _, d := range ab.Differences {
		row := append([]string{number(d.Alpha), strconv.Itoa(d.Seed), "right less wrong", d.DataSet, d.Block}, pick(d.Why == "", measured(&d.PSNR.Moments), measured(nil))...)
		rows = append(rows, append(row, strconv.Itoa(d.N), d.Why, "", "", ""))
	}
	return rows
}
