package paper

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"math"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"stegomq/report"
	"stegomq/report/figure"
	"stegomq/study"
)

// figures draws all figures at once. A figure that cannot be drawn says why; errors are those of files that are there and cannot
// be read.
func (r *Report) figures() ([]report.Figure, error) {
	set, runs, left := r.shown()
	without := ""
	if len(left) > 0 {
		without = " Without images: " + strings.Join(left, ", ") + "."
	}
	jobs := []func() (report.Figure, error){
		func() (report.Figure, error) { return r.fig1(), nil },
		func() (report.Figure, error) {
			return drawImages("fig3", fmt.Sprintf("Key pair a on %s, the image pair whose recoverability is the median. In the corners: the absolute difference to the image before it, %d times as large.", set, study.ResidualGain)+without, runs, fig3Columns)
		},
		func() (report.Figure, error) {
			return drawImages("fig4", fmt.Sprintf("What each key shows on %s of the pair in Fig. 3: \"a by key b\" was embedded with the key pair a and decoded with b.", set)+without, runs, fig4Columns)
		},
	}
	var sets []string
	for _, m := range r.Fig5 {
		if !slices.Contains(sets, m.DataSet) {
			sets = append(sets, m.DataSet)
			name := "fig5"
			if n := len(sets); n > 1 {
				name = fmt.Sprintf("fig5-%d", n)
			}
			jobs = append(jobs, func() (report.Figure, error) { return r.fig5(name, m.DataSet), nil })
		}
	}
	all := make([]report.Figure, len(jobs))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, job := range jobs {
		g.Go(func() (err error) {
			all[i], err = job()
			return err
		})
	}
	return all, g.Wait()
}

// fig1 is a panel for each method that has features.
func (r *Report) fig1() report.Figure {
	chart := figure.Chart{Width: figure.Page}
	for _, s := range r.Fig1 {
		if s.Why != "" || s.Dimensions < 2 {
			continue
		}
		scores, shares := principal(slices.Concat(s.points[0], s.points[1], s.points[2]))
		if scores == nil {
			continue
		}
		panel := figure.Panel{Title: fmt.Sprintf("%s: %.2f spreads apart", s.Method, s.Mismatched.Distance)}
		panel.XLabel, panel.YLabel = fmt.Sprintf("PC1 (%.1f %%)", 100*shares[0]), fmt.Sprintf("PC2 (%.1f %%)", 100*shares[1])
		for kind, points := range s.points {
			n := len(points)
			panel.Series = append(panel.Series, figure.Series{Name: featureKinds[kind].name + " key", Points: scores[:n], Dots: true})
			scores = scores[n:]
		}
		chart.Panels = append(chart.Panels, panel)
	}
	if len(chart.Panels) == 0 {
		return report.Figure{Name: "fig1", Why: "no run has features; evaluate with features, with a model that gives them"}
	}
	return report.Draw("fig1", "Principal components of the recovery features, standardised for each model by itself, under the right key, another registered key and random keys.", chart)
}

// shownRun is the run of a method with the image pair that is shown of it.
type shownRun struct {
	method string
	run    Run
	item   string
}

// shown picks an image pair, and finds it in the run of every method. It is of the first data set that has saved images, and has the median of the
// reference's recoverability there.
func (r *Report) shown() (set string, found []shownRun, left []string) {
	rows := r.study.rows()
	for _, d := range r.Table1.DataSets {
		lead := r.study.run(r.Reference, d.Name)
		for _, row := range rows {
			if run := row.Runs[d.Name]; !withImages(lead) && withImages(run) {
				lead = run
			}
		}
		if !d.AtHand || !withImages(lead) {
			continue
		}
		for _, row := range rows {
			run := row.Runs[d.Name]
			if same := run.sameItem(lead, lead.typical()); withImages(run) && same != "" {
				found = append(found, shownRun{row.Method, run, same})
			} else {
				left = append(left, row.Method)
			}
		}
		return d.Name, found, left
	}
	return "", nil, nil
}

// withImages says whether a run has saved images of something that was recovered.
func withImages(run Run) bool { return run.Made() && run.Dir != "" && run.typical() != "" }

// imageColumn is a column of Fig. 3 or Fig. 4: an image by its kind and the keys that made it, "a", "b" or "random". In its corner stands the
// difference to the image of an earlier column, counted from 1; 0: none.
type imageColumn struct {
	title, kind string
	keys        []string
	against     int
}

var (
	fig3Columns = []imageColumn{
		{"cover", "cover", nil, 0}, {"stego", "stego", []string{"a"}, 1}, {"secret", "secret", nil, 0}, {"recovered", "recovered", []string{"a", "a"}, 3},
	}
	fig4Columns = []imageColumn{
		{"cover", "cover", nil, 0}, {"secret", "secret", nil, 0}, {"a by key a", "recovered", []string{"a", "a"}, 0}, {"a by key b", "recovered", []string{"a", "b"}, 0},
		{"a by a random key", "recovered", []string{"a", "random"}, 0}, {"b by key b", "recovered", []string{"b", "b"}, 0}, {"b by key a", "recovered", []string{"b", "a"}, 0},
	}
)

// gridSide is the longer side of the images of a grid in the page, in pixels.
const gridSide = 128

// drawImages draws a row for each run, and smaller images for the page.
func drawImages(name, caption string, runs []shownRun, columns []imageColumn) (report.Figure, error) {
	if len(runs) == 0 {
		return report.Figure{Name: name, Why: "no run has saved its images"}, nil
	}
	grid, small := figure.Grid{Width: figure.Page}, figure.Grid{Width: figure.Page}
	for _, c := range columns {
		grid.Columns = append(grid.Columns, c.title)
	}
	small.Columns = grid.Columns
	for _, s := range runs {
		row, err := s.pictures(columns)
		if err != nil {
			return report.Figure{}, fmt.Errorf("%s: %w", s.method, err)
		}
		grid.Rows = append(grid.Rows, figure.PictureRow{Label: s.method, Pictures: row})
		reduced := slices.Clone(row)
		for i := range reduced {
			for _, m := range []*image.Image{&reduced[i].Image, &reduced[i].Inset} {
				if *m != nil {
					*m = report.Shrunk(*m, gridSide)
				}
			}
		}
		small.Rows = append(small.Rows, figure.PictureRow{Label: s.method, Pictures: reduced})
	}
	d := report.Draw(name, caption, grid)
	if d.Why == "" {
		d.Small, _ = small.PNG() // it can be drawn if the large one can
	}
	return d, nil
}

// pictures are the cells of a row. An image that is not there is a cell that says why.
func (s shownRun) pictures(columns []imageColumn) (row []figure.Picture, err error) {
	keys := make(map[string]string)
	for _, p := range s.run.pairs() {
		keys[p.Name] = p.Embed
	}
	if random := s.run.Summary.RandomKeys; len(random) > 0 {
		keys["random"] = random[0]
	}
	images := make([]*image.NRGBA, len(columns))
	for i, c := range columns {
		var ids []string
		var p figure.Picture
		for _, k := range c.keys {
			ids = append(ids, keys[k])
			if keys[k] == "" {
				p.Caption = pick(k == "random", whyNoRandom, whyOneKey)
			}
		}
		if p.Caption == "" {
			images[i], err = study.ReadImage(s.run.imageFile(c.kind, s.item, ids...))
			switch {
			case err == nil:
				p.Image = images[i]
				if c.against > 0 && images[c.against-1] != nil {
					p.Inset = figure.Residual(images[i], images[c.against-1], study.ResidualGain)
				}
			case !errors.Is(err, fs.ErrNotExist):
				return nil, err
			case len(ids) == 2 && s.run.refused(s.item, ids[0], ids[1]):
				p.Caption = whyRefused
			default:
				p.Caption = "not saved"
			}
		}
		row = append(row, p)
	}
	return row, nil
}

// The ends of the colours of matrices, in dB: unrelated images measure less than the first, and above the last the eye sees no
// difference.
const (
	scaleLow  = 8
	scaleHigh = 36
)

// fig5 has the matrices of a data set: for every alpha a row of ours and one of the paper's.
func (r *Report) fig5(name, set string) report.Figure {
	of := slices.DeleteFunc(slices.Clone(r.Fig5), func(m Matrix) bool { return m.DataSet != set })
	out := figure.Matrix{RowsAre: "embedded with", ColumnsAre: "decoded with", Scale: figure.Scale{Label: "PSNR in dB", Min: scaleLow, Max: scaleHigh}}
	var keys []int
	for _, m := range of { // in ascending order
		if !slices.Contains(keys, m.Keys) {
			keys = append(keys, m.Keys)
			out.ColumnTitles = append(out.ColumnTitles, fmt.Sprintf("K = %d", m.Keys))
		}
	}
	slices.SortStableFunc(of, func(a, b Matrix) int { return cmp.Compare(b.Alpha, a.Alpha) })
	for len(of) > 0 {
		alpha := of[0].Alpha
		ours, paper := make([]figure.Heat, len(keys)), make([]figure.Heat, len(keys))
		for ; len(of) > 0 && near(of[0].Alpha, alpha); of = of[1:] {
			i := slices.Index(keys, of[0].Keys)
			ours[i], paper[i] = of[0].heat(), of[0].Paper
		}
		for _, row := range []struct {
			heats []figure.Heat
			whose string
		}{{ours, "ours"}, {paper, "paper"}} {
			if slices.ContainsFunc(row.heats, func(h figure.Heat) bool { return len(h) > 0 }) {
				out.Panels = append(out.Panels, row.heats)
				out.RowTitles = append(out.RowTitles, fmt.Sprintf("α %g %s", alpha, row.whose))
			}
		}
	}
	caption := "PSNR in dB above SSIM of what a key recovers, ours"
	if set != "" {
		caption += " on " + set
	}
	caption += " and the paper's. An empty frame is a matrix that was not measured, or is not in the paper."
	if slices.ContainsFunc(r.Fig5, func(m Matrix) bool { return m.DataSet == set && m.refuses() }) {
		caption += " A cell is also empty where recovery refused every image."
	}
	return report.Draw(name, caption, out)
}

// refuses says whether every image of a cell was refused.
func (m *Matrix) refuses() bool {
	return slices.ContainsFunc(slices.Concat(m.Ours...), func(c *study.Cell) bool { return c != nil && c.N == 0 })
}

// heat gives the cells of ours.
func (m *Matrix) heat() (ours figure.Heat) {
	for _, row := range m.Ours {
		var cells []figure.Cell
		for _, c := range row {
			cell := figure.Cell{PSNR: math.NaN(), SSIM: math.NaN()}
			if c != nil && c.N > 0 {
				cell = figure.Cell{PSNR: c.PSNR.Mean, SSIM: c.SSIM.Mean}
			}
			cells = append(cells, cell)
		}
		ours = append(ours, cells)
	}
	return ours
}
