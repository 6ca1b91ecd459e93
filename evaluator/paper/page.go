package paper

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"stegomq/evaluator"
	"stegomq/evaluator/htmlreport"
	"stegomq/schemas"
)

// html is report.html.
func (r *Report) html(sections []section) ([]byte, error) {
	a := newAlbum()
	if _, err := r.page(sections, a); err != nil {
		return nil, err
	}
	if err := a.make(); err != nil {
		return nil, err
	}
	a.page = new(htmlreport.Page)
	page, err := r.page(sections, a)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := htmlreport.Write(&out, page); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// page makes the page with the pictures of the album.
func (r *Report) page(sections []section, a *album) (*htmlreport.Page, error) {
	page := a.page
	if page == nil {
		page = new(htmlreport.Page)
	}
	page.Title = "The paper's evaluation, repeated"
	page.Subtitle = "Table 1, Fig. 1, 3, 4 and 5, paired comparisons and what differs"
	page.Generated = strings.Trim(r.Date+" "+r.Command, " ")
	for _, f := range r.facts() {
		page.Facts = append(page.Facts, htmlreport.Fact{Name: f[0], Value: f[1]})
	}
	for _, s := range sections {
		out := s.html()
		var err error
		switch s.id {
		case "table-1":
			out.Matrices, err = r.table1Matrices(a)
		case "fig-5":
			out.Matrices, err = r.fig5Matrices(a)
		}
		if err != nil {
			return nil, err
		}
		if len(out.Matrices) > 0 {
			out.Paragraphs = append(out.Paragraphs, "The matrices below: PSNR in dB, SSIM. A cell opens the worst, the median and the best of its image pairs; with a wrong key the worst is the one that shows most.")
		}
		page.Sections = append(page.Sections, out)
	}
	items, err := r.items(a)
	if err != nil {
		return nil, err
	}
	page.Sections = append(page.Sections, items)
	return page, nil
}

// html turns a section over to package htmlreport.
func (s *section) html() htmlreport.Section {
	out := htmlreport.Section{ID: s.id, Title: s.title, Paragraphs: slices.Clone(s.paragraphs), Points: s.points}
	for _, d := range s.figures {
		if d.why != "" {
			out.Paragraphs = append(out.Paragraphs, "Not drawn: "+d.why+".")
			continue
		}
		out.Figures = append(out.Figures, htmlreport.Figure{Name: d.name, Caption: d.caption, SVG: d.svg, PNG: d.png})
		if d.small != nil {
			last := &out.Figures[len(out.Figures)-1]
			last.SVG, last.PNG = nil, d.small
		}
	}
	for _, t := range s.tables {
		out.Tables = append(out.Tables, t.html())
	}
	return out
}

// notMeasured are the texts of cells without a figure.
var notMeasured = []string{whyNotAtHand, whyNotRun, whyOneKey, whyNoRandom, whyNoScores, "none", "-", "not in the paper", "not in the text"}

func (t table) html() htmlreport.Table {
	out := htmlreport.Table{Caption: t.title, Head: t.head, Notes: t.notes}
	for _, row := range t.rows {
		var cells []htmlreport.Cell
		for i, text := range row {
			c := htmlreport.Cell{Text: text}
			switch {
			case slices.Contains(notMeasured, text):
				c.Class = htmlreport.Missing
			case len(row) > 1 && row[1] == "paper" || strings.HasPrefix(t.head[i], "paper, "):
				c.Class = htmlreport.Paper
			}
			cells = append(cells, c)
		}
		out.Rows = append(out.Rows, cells)
	}
	return out
}

// table1Matrices are the confusion matrices of every run of the table.
func (r *Report) table1Matrices(a *album) ([]htmlreport.Matrix, error) {
	var all []htmlreport.Matrix
	for _, row := range r.study.rows() {
		for _, set := range r.Table1.DataSets {
			run := row.Runs[set.Name]
			if !run.Made() {
				continue
			}
			m, err := confusion(a, fmt.Sprintf("%s on %s", row.Method, set.Name), run)
			if err != nil {
				return nil, err
			}
			all = append(all, m)
		}
	}
	return all, nil
}

func (r *Report) fig5Matrices(a *album) ([]htmlreport.Matrix, error) {
	var all []htmlreport.Matrix
	for i := range r.Fig5 {
		m := &r.Fig5[i]
		if m.Why != "" {
			continue
		}
		shown, err := confusion(a, m.name(), m.run)
		if err != nil {
			return nil, err
		}
		if m.PaperDiagonal != nil {
			shown.Note += fmt.Sprintf(" The paper: diagonal %s, beside it %s dB.", m.PaperDiagonal.text(), m.PaperOffDiagonal.text())
		} else {
			shown.Note += " Not in the paper."
		}
		all = append(all, shown)
	}
	return all, nil
}

// confusion is the confusion matrix of a run. Its cells open the worst, the median and the best pair of images.
func confusion(a *album, title string, run Run) (htmlreport.Matrix, error) {
	keys := run.Summary.Keys
	m := htmlreport.Matrix{
		Title: title, Note: fmt.Sprintf("%d image pairs.", run.Summary.Dataset.Pairs),
		RowAxis: "embedded with", ColumnAxis: "decoded with", Rows: keys, Columns: keys, Measures: []string{"PSNR dB", "SSIM"},
	}
	side := cellSide
	if len(keys) > 4 {
		side = itemSide
	}
	for i, row := range run.Summary.Confusion.Cells {
		var cells []htmlreport.MatrixCell
		for j, c := range row {
			if c == nil || c.N == 0 {
				cells = append(cells, htmlreport.MatrixCell{Lines: []string{pick(c == nil, "-", whyRefused)}, Level: math.NaN()})
				continue
			}
			if c.Refused > 0 {
				m.Note += fmt.Sprintf(" %s decoded with %s: %s, which is in no mean.", keys[i], keys[j], c.RefusedText())
			}
			cell := htmlreport.MatrixCell{
				Lines: []string{fmt.Sprintf("%.2f", c.PSNR.Mean), fmt.Sprintf("%.3f", c.SSIM.Mean)},
				Level: min(max((c.PSNR.Mean-scaleLow)/(scaleHigh-scaleLow), 0), 1),
			}
			var err error
			if cell.Pictures, err = cellPictures(a, run, keys[i], keys[j], side); err != nil {
				return htmlreport.Matrix{}, err
			}
			cells = append(cells, cell)
		}
		m.Cells = append(m.Cells, cells)
	}
	return m, nil
}

// cellPictures are those of the worst, the median and the best item of a cell.
func cellPictures(a *album, run Run, embed, decode string, side int) ([]htmlreport.Shown, error) {
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
	var all []htmlreport.Shown
	for i, at := range places {
		s := ranked[at]
		pictures, err := a.pictures(run, s.GetItem(), embed, decode, side, names[i]+": ",
			fmt.Sprintf("%.2f dB, SSIM %.3f", s.GetMetrics().GetPsnr(), s.GetMetrics().GetSsim()))
		if err != nil {
			return nil, err
		}
		all = append(all, pictures...)
	}
	return all, nil
}

// pictures are cover, secret, stego and recovered image of an item.
func (a *album) pictures(run Run, item, embed, decode string, side int, prefix, note string) ([]htmlreport.Shown, error) {
	if run.Dir == "" {
		return nil, nil
	}
	recovered := pick(embed == decode, "recovered", "shown by "+decode)
	var all []htmlreport.Shown
	for _, p := range []struct{ file, title, note string }{
		{a.source(run, coverImage, item), "cover", item},
		{a.source(run, secretImage, item), "secret", ""},
		{run.imageFile(stegoImage, item, embed), "stego", "embedded with " + embed},
		{run.imageFile(recoveredImage, item, embed, decode), recovered, note},
	} {
		shown, ok, err := a.shown(thumbnail{p.file, side}, prefix+p.title, p.note)
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, shown)
		}
	}
	return all, nil
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
	baselines := evaluator.Baselines(run.Scores)
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
func (r *Report) items(a *album) (htmlreport.Section, error) {
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
	out := htmlreport.Section{
		ID: "items", Title: "Every image pair",
		Paragraphs: []string{"One row for each image pair and embedding key of the runs of Table 1, the worst recovered first. Wrong key, random key: the PSNR of the one that shows most, less that of cover against secret."},
	}
	if len(rows) == 0 {
		out.Paragraphs = []string{"There are no runs."}
		return out, nil
	}
	items := &htmlreport.Items{
		Worst: "recovered", Elsewhere: "items.csv of each run",
		Columns: []htmlreport.Column{
			{Name: "method", Title: "method", Kind: htmlreport.Choice}, {Name: "data-set", Title: "data set", Kind: htmlreport.Choice},
			{Name: "item", Title: "image pair"}, {Name: "key", Title: "key", Kind: htmlreport.Choice},
			{Name: "recovered", Title: "recovered, dB", Kind: htmlreport.Number, Decimals: 2, Better: htmlreport.Higher},
			{Name: "recovered-ssim", Title: "SSIM", Kind: htmlreport.Number, Decimals: 3, Better: htmlreport.Higher},
			{Name: "stego", Title: "stego, dB", Kind: htmlreport.Number, Decimals: 2, Better: htmlreport.Higher},
			{Name: "stego-ssim", Title: "SSIM", Kind: htmlreport.Number, Decimals: 3, Better: htmlreport.Higher},
			{Name: "wrong-key", Title: "wrong key, excess dB", Kind: htmlreport.Number, Decimals: 2, Better: htmlreport.Lower},
			{Name: "random-key", Title: "random key, excess dB", Kind: htmlreport.Number, Decimals: 2, Better: htmlreport.Lower},
		},
	}
	for _, row := range rows {
		shown, err := a.pictures(row.run, row.item, row.key, row.key, itemSide, "", fmt.Sprintf("%.2f dB", row.recovered))
		if err != nil {
			return htmlreport.Section{}, err
		}
		number := func(v float64) htmlreport.Value { return htmlreport.Value{Number: v} }
		// of recovery, which may have refused: a number where it gave an image to one of the keys, or else the word
		of := func(v float64, role schemas.Role) htmlreport.Value {
			if math.IsNaN(v) && row.refused[role] {
				return htmlreport.Value{Text: whyRefused, Number: v}
			}
			return number(v)
		}
		const recovery, wrong, random = schemas.Role_ROLE_RECOVERABILITY, schemas.Role_ROLE_LEAKAGE_MISMATCHED, schemas.Role_ROLE_LEAKAGE_RANDOM
		items.Rows = append(items.Rows, htmlreport.ItemRow{
			Values: []htmlreport.Value{
				{Text: row.method}, {Text: row.set}, {Text: row.item}, {Text: row.key},
				of(row.recovered, recovery), of(row.recoveredSSIM, recovery), number(row.stego), number(row.stegoSSIM), of(row.wrong, wrong), of(row.random, random),
			},
			Pictures: shown,
		})
	}
	if a.left > 0 {
		out.Paragraphs = append(out.Paragraphs, fmt.Sprintf("%d thumbnails were left out to keep this file small enough to open; the runs' folders have all images.", a.left))
	}
	out.Items = items
	return out, nil
}
