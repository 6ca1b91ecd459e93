package paper

import (
	"fmt"

	"stegomq/report"
	"stegomq/study"
)

// Write writes the report into dir, each file whole or not at all:
//
//   - report.md, report.json and report.html: everything; the HTML file is complete in itself;
//   - table1, fig5, paired and ablation, each as .md, .csv (long form), .json and .tex (a document that needs booktabs alone);
//   - differences.md: where ours differs from the paper;
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
	table1, fig5, paired, ablation := sections["table-1"], sections["fig-5"], sections["paired"], sections["ablation"]
	for _, part := range []struct {
		name, caption string
		section       *report.Section
		value         any
		rows          [][]string
		tables        []report.Table
	}{
		{"table1", "Table 1", table1, r.Table1, r.Table1.rows(), r.table1ByDataSet()},
		{"fig5", "Fig. 5", fig5, r.Fig5, matrixRows(r.Fig5), fig5.Tables},
		{"paired", r.Reference + " less the other method", paired, r.Paired, pairedRows(r.Paired), paired.Tables},
		{"ablation", "Gradient ablation", ablation, r.Ablation, r.Ablation.rows(), ablation.Tables},
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
