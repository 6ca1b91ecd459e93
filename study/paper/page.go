package paper

import (
	"cmp"
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
	role := pick(embed == decode, schemas.Role_ROLE_RECOVERABILITY, schemas.Role_ROLE_LEAKAGE_MISMATCHED)
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
		all = append(all, run.pictures(ranked[at].GetItem(), embed, decode, side, names[i]+": ", fmt.Sprintf("%.2f dB, SSIM %.3f", m.GetPsnr(), m.GetSsim()))...)
	}
	return all
}

// pictures are cover, secret, stego and recovered image of an item.
func (r Run) pictures(item, embed, decode string, side int, prefix, note string) []report.Picture {
	if r.Dir == "" {
		return nil
	}
	return []report.Picture{
		{File: r.imageFile(coverImage, item), Side: side, Title: prefix + "cover", Note: item},
		{File: r.imageFile(secretImage, item), Side: side, Title: prefix + "secret"},
		{File: r.imageFile(stegoImage, item, embed), Side: side, Title: prefix + "stego", Note: "embedded with " + embed},
		{File: r.imageFile(recoveredImage, item, embed, decode), Side: side, Title: prefix + pick(embed == decode, "recovered", "shown by "+decode), Note: note},
	}
}

// itemRow is an image pair that a key embedded, in one of the table's runs.
type itemRow struct {
	method, set string
	run         Run
	item, key   string
	// of embedding and recovery, and the largest of wrong and random keys less the baseline, in dB; NaN where there is none.
	stego, stegoSSIM, recovered, recoveredSSIM, wrong, random float64
	refused                                                   map[schemas.Role]bool // where recovery refused an image
}

// itemRows lists those of a run.
func itemRows(method, set string, run Run) []itemRow {
	type name struct{ item, key string }
	found := make(map[name]*itemRow)
	baselines := study.Baselines(run.Scores)
	for _, s := range run.Scores {
		if s.GetEmbedKey() == "" {
			continue
		}
		n := name{s.GetItem(), s.GetEmbedKey()}
		row := found[n]
		if row == nil {
			nan := math.NaN()
			row = &itemRow{method, set, run, n.item, n.key, nan, nan, nan, nan, nan, nan, make(map[schemas.Role]bool)}
			found[n] = row
		}
		if s.End() == schemas.EndRefused {
			row.refused[s.GetRole()] = true
			continue
		}
		psnr, ssim := s.GetMetrics().GetPsnr(), s.GetMetrics().GetSsim()
		excess := math.NaN()
		if b := baselines[n.item]; b != nil {
			excess = psnr - b.GetPsnr()
		}
		switch s.GetRole() {
		case schemas.Role_ROLE_IMPERCEPTIBILITY:
			row.stego, row.stegoSSIM = psnr, ssim
		case schemas.Role_ROLE_RECOVERABILITY:
			row.recovered, row.recoveredSSIM = psnr, ssim
		case schemas.Role_ROLE_LEAKAGE_MISMATCHED:
			row.wrong = largest(row.wrong, excess)
		case schemas.Role_ROLE_LEAKAGE_RANDOM:
			row.random = largest(row.random, excess)
		}
	}
	rows := make([]itemRow, 0, len(found))
	for _, row := range found {
		rows = append(rows, *row)
	}
	return rows
}

// largest is the larger of two values, of which the first may be missing.
func largest(a, b float64) float64 {
	if math.IsNaN(a) {
		return b
	}
	return max(a, b)
}

// items is the table of all image pairs of all runs of Table 1. Pictures go to the worst first, while there is room.
func (r *Report) items() report.Section {
	var rows []itemRow
	for _, row := range r.study.rows() {
		for _, set := range r.Table1.DataSets {
			if run := row.Runs[set.Name]; run.Made() {
				rows = append(rows, itemRows(row.Method, set.Name, run)...)
			}
		}
	}
	slices.SortFunc(rows, func(x, y itemRow) int {
		return cmp.Or(cmp.Compare(x.recovered, y.recovered), cmp.Compare(x.method, y.method), cmp.Compare(x.set, y.set),
			cmp.Compare(x.item, y.item), cmp.Compare(x.key, y.key))
	})
	out := report.Section{
		ID: "items", Title: "Every image pair",
		Paragraphs: []string{"One row for each image pair and embedding key of the runs of Table 1, the worst recovered first. Wrong key, random key: the PSNR of the one that shows most, less that of cover against secret."},
	}
	if len(rows) == 0 {
		out.Paragraphs = []string{"There are no runs."}
		return out
	}
	items := &report.Items{
		Worst: "recovered", Elsewhere: "items.csv of each run",
		Columns: []report.Column{
			{Name: "method", Title: "method", Kind: report.Choice}, {Name: "data-set", Title: "data set", Kind: report.Choice},
			{Name: "item", Title: "image pair"}, {Name: "key", Title: "key", Kind: report.Choice},
			{Name: "recovered", Title: "recovered, dB", Kind: report.Number, Decimals: 2, Better: report.Higher},
			{Name: "recovered-ssim", Title: "SSIM", Kind: report.Number, Decimals: 3, Better: report.Higher},
			{Name: "stego", Title: "stego, dB", Kind: report.Number, Decimals: 2, Better: report.Higher},
			{Name: "stego-ssim", Title: "SSIM", Kind: report.Number, Decimals: 3, Better: report.Higher},
			{Name: "wrong-key", Title: "wrong key, excess dB", Kind: report.Number, Decimals: 2, Better: report.Lower},
			{Name: "random-key", Title: "random key, excess dB", Kind: report.Number, Decimals: 2, Better: report.Lower},
		},
	}
	for _, row := range rows {
		number := func(v float64) report.Value { return report.Value{Number: v} }
		// of recovery, which may have refused: a number where it gave an image to one of the keys, or else the word
		of := func(v float64, role schemas.Role) report.Value {
			if math.IsNaN(v) && row.refused[role] {
				return report.Value{Text: whyRefused, Number: v}
			}
			return number(v)
		}
		const recovery, wrong, random = schemas.Role_ROLE_RECOVERABILITY, schemas.Role_ROLE_LEAKAGE_MISMATCHED, schemas.Role_ROLE_LEAKAGE_RANDOM
		items.Rows = append(items.Rows, report.ItemRow{
			Values: []report.Value{
				{Text: row.method}, {Text: row.set}, {Text: row.item}, {Text: row.key},
				of(row.recovered, recovery), of(row.recoveredSSIM, recovery), number(row.stego), number(row.stegoSSIM), of(row.wrong, wrong), of(row.random, random),
			},
			Pictures: row.run.pictures(row.item, row.key, row.key, itemSide, "", fmt.Sprintf("%.2f dB", row.recovered)),
		})
	}
	out.Items = items
	return out
}

// Sides of thumbnails, in pixels.
const (
	cellSide = 160 // of what a cell of a small matrix opens
	itemSide = 96
)

// maxPictures bounds the bytes of all thumbnails: a page stays under some 45 MB.
const maxPictures = 24 << 20

// class sets apart what the paper prints, and figures that there are none of.
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
