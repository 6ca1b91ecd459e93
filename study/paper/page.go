package paper

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"stegomq/report"
	"stegomq/schemas"
	"stegomq/study"
)

// confusion is the confusion matrix of a run. Its cells open the worst, the median and the best pair of images; with a wrong key the worst
// is the one that shows most.
func confusion(title string, run Run) report.Matrix {
	keys := run.Summary.Keys
	m := report.Matrix{
		Title: title, Note: fmt.Sprintf("%d image pairs. PSNR in dB above SSIM; a cell opens the worst, the median and the best pair, with a wrong key the one that shows most first.", run.Summary.Dataset.Pairs),
		RowAxis: "embedded with", ColumnAxis: "decoded with", Rows: keys, Columns: keys, Measures: []string{"PSNR dB", "SSIM"},
	}
	side := cellSide
	if len(keys) > 4 {
		side = itemSide
	}
	for i, row := range run.Summary.Confusion.Cells {
		var cells []report.MatrixCell
		for j, c := range row {
			if c == nil || c.N == 0 {
				cells = append(cells, report.MatrixCell{Lines: []string{pick(c == nil, "-", whyRefused)}, Level: math.NaN()})
				continue
			}
			if c.Refused > 0 {
				m.Note += fmt.Sprintf(" %s decoded with %s: %s, which is in no mean.", keys[i], keys[j], c.RefusedText())
			}
			cell := report.MatrixCell{
				Lines: []string{fmt.Sprintf("%.2f", c.PSNR.Mean), fmt.Sprintf("%.3f", c.SSIM.Mean)},
				Level: min(max((c.PSNR.Mean-scaleLow)/(scaleHigh-scaleLow), 0), 1),
			}
			cell.Pictures = cellPictures(run, keys[i], keys[j], side)
			cells = append(cells, cell)
		}
		m.Cells = append(m.Cells, cells)
	}
	return m
}

// cellPictures are those of the worst, the median and the best item of a cell.
func cellPictures(run Run, embed, decode string, side int) (all []report.Picture) {
	role := pick(embed == decode, schemas.Recoverability, schemas.Leakage(schemas.Reader_READER_MISMATCHED))
	ranked := run.ranked(role, embed, decode)
	if embed != decode {
		slices.Reverse(ranked)
	}
	var places []int
	var names []string
	for i, at := range []int{0, len(ranked) / 2, len(ranked) - 1} {
		if len(ranked) > 0 && !slices.Contains(places, at) {
			places, names = append(places, at), append(names, []string{"worst", "median", "best"}[i])
		}
	}
	for i, at := range places {
		m := ranked[at].GetMetrics()
		all = append(all, study.Pictures(run.Dir, ranked[at].GetItem(), embed, decode, side, names[i]+": ", fmt.Sprintf("%.2f dB, SSIM %.3f", m.GetPsnr(), m.GetSsim()))...)
	}
	return all
}

// items is the table of all image pairs of all runs of Table 1.
func (r *Report) items() report.Section {
	runs := r.study.runs()
	var scores []*schemas.Score
	for _, of := range runs {
		scores = append(scores, of.run.Scores...)
	}
	items := study.NewItems(scores, report.Column{Name: "method", Title: "method", Kind: report.Choice}, report.Column{Name: "data-set", Title: "data set", Kind: report.Choice})
	items.Elsewhere = "items.csv of each run"
	for _, of := range runs {
		items.Add(of.run.Scores, of.run.Dir, of.method, of.set)
	}
	return items.Section()
}

// methodRun is a run with what it is of.
type methodRun struct {
	method, set string
	run         Run
}

// runs are those of the table, in its order.
func (s *Study) runs() (all []methodRun) {
	for _, row := range s.rows() {
		for _, set := range s.dataSets() {
			if run := row.Runs[set.Name]; run.Made() {
				all = append(all, methodRun{row.Method, set.Name, run})
			}
		}
	}
	return all
}

// Sides of thumbnails, in pixels.
const (
	cellSide = 160 // of what a cell of a small matrix opens
	itemSide = 96  // of a large one
)

// maxPictures bounds the bytes of all thumbnails: a page stays under some 45 MB.
const maxPictures = 24 << 20

// class sets apart figures that the paper prints, and those that are missing.
func class(t *report.Table) func(row []string, column int) report.Class {
	missing := []string{whyNotAtHand, whyNotRun, whyOneKey, whyNoRandom, whyNoScores, "none", "-", "not in the paper", "not in the text"}
	return func(row []string, column int) report.Class {
		switch {
		case slices.Contains(missing, row[column]):
			return report.Missing
		case len(row) > 1 && row[1] == "paper" || strings.HasPrefix(t.Head[column], "paper, "):
			return report.Printed
		}
		return report.Plain
	}
}
