package paper

import (
	"fmt"
	"image"
	"math"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"stegomq/report"
	"stegomq/report/figure"
	"stegomq/study"
)

// figures draws what can be drawn, all of it at once. What cannot says why; errors are those of files that are there and cannot
// be read.
func (r *Report) figures() ([]report.Figure, error) {
	jobs := append([]func() (report.Figure, error){r.fig1, r.fig3, r.fig4}, r.fig5()...)
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

// drawGrid renders a grid of images, and a smaller one for the page.
func drawGrid(name, caption string, grid figure.Grid) report.Figure {
	d := report.Draw(name, caption, grid)
	if d.Why != "" {
		return d
	}
	less := grid
	less.Rows = nil
	for _, row := range grid.Rows {
		small := figure.PictureRow{Label: row.Label}
		for _, p := range row.Pictures {
			p.Image, p.Inset = reduced(p.Image), reduced(p.Inset)
			small.Pictures = append(small.Pictures, p)
		}
		less.Rows = append(less.Rows, small)
	}
	var err error
	if d.Small, err = less.PNG(); err != nil {
		return report.Figure{Name: name, Why: err.Error()}
	}
	return d
}

// gridSide is the longer side of the images of a grid in the page, in pixels.
const gridSide = 128

// reduced is an image for the page, nil where there is none.
func reduced(m image.Image) image.Image {
	if m == nil {
		return nil
	}
	return report.Shrunk(m, gridSide)
}

func (r *Report) fig1() (report.Figure, error) {
	var panels []figure.ScatterPanel
	for _, s := range r.Fig1 {
		if s.Why != "" {
			continue
		}
		rows := slices.Concat(s.points[0], s.points[1], s.points[2])
		if s.Dimensions < 2 {
			continue
		}
		projection, err := figure.PCA(rows, 2)
		if err != nil {
			return report.Figure{Name: "fig1", Why: err.Error()}, nil //nolint:nilerr // a figure that cannot be drawn says so
		}
		panel := figure.ScatterPanel{
			Title:  fmt.Sprintf("%s: %.2f spreads apart", s.Method, s.Mismatched.Distance),
			XLabel: projection.Label(0), YLabel: projection.Label(1),
		}
		at := 0
		for kind, points := range s.points {
			g := figure.Group{Name: featureKinds[kind].name + " key"}
			for range points {
				g.Points = append(g.Points, [2]float64{projection.Scores[at][0], projection.Scores[at][1]})
				at++
			}
			panel.Groups = append(panel.Groups, g)
		}
		panels = append(panels, panel)
	}
	if len(panels) == 0 {
		return report.Figure{Name: "fig1", Why: "no run has features; evaluate with features, with a model that gives them"}, nil
	}
	return report.Draw("fig1", "Principal components of the recovery features, standardised for each model by itself, under the right key, another registered key and random keys.",
		figure.Scatter{Panels: panels, Width: figure.Page}), nil
}

// shownRun is a method's run with the item that is shown of it.
type shownRun struct {
	method string
	run    Run
	item   string
	pair   pair
}

// shown picks a pair of images, and finds it in the run of every method: on the first data set that has saved images, the
// pair that is the median of the reference's recoverability.
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
		item := lead.typical()
		for _, row := range rows {
			run := row.Runs[d.Name]
			var same string
			if withImages(run) {
				same = run.sameItem(lead, item)
			}
			if same == "" {
				left = append(left, row.Method)
				continue
			}
			found = append(found, shownRun{row.Method, run, same, run.pairs()[0]})
		}
		return d.Name, found, left
	}
	return "", nil, nil
}

// withImages says whether a run has saved images of something that was recovered.
func withImages(run Run) bool { return run.Made() && run.Dir != "" && run.typical() != "" }

// optionalImage reads an image, nil where it was not saved.
func (s shownRun) optionalImage(kind string, keys ...string) (*image.NRGBA, error) {
	m, err := s.run.image(kind, s.item, keys...)
	if missingImage(err) {
		return nil, nil //nolint:nilnil // an image that is not there is an empty cell
	}
	return m, err
}

// cell is an image with the residual to another.
func cellOf(m, other *image.NRGBA) figure.Picture {
	if m == nil {
		return figure.Picture{Caption: "not saved"}
	}
	p := figure.Picture{Image: m}
	if other != nil {
		p.Inset = figure.Residual(m, other, study.ResidualGain)
	}
	return p
}

// recovered is the cell of an image that was recovered, which may have been refused.
func (s shownRun) recovered(m, secret *image.NRGBA, embed, decode string) figure.Picture {
	if m == nil && s.run.refused(s.item, embed, decode) {
		return figure.Picture{Caption: whyRefused}
	}
	return cellOf(m, secret)
}

const whyNoPictures = "no run has saved its images"

func (r *Report) fig3() (report.Figure, error) {
	set, runs, left := r.shown()
	if len(runs) == 0 {
		return report.Figure{Name: "fig3", Why: whyNoPictures}, nil
	}
	grid := figure.Grid{Columns: []string{"cover", "stego", "secret", "recovered"}, Width: figure.Page}
	for _, s := range runs {
		images, err := s.images(shownImage{kind: coverImage}, shownImage{stegoImage, []string{s.pair.Embed}},
			shownImage{kind: secretImage}, shownImage{recoveredImage, []string{s.pair.Embed, s.pair.Embed}})
		if err != nil {
			return report.Figure{}, err
		}
		grid.Rows = append(grid.Rows, figure.PictureRow{Label: s.method, Pictures: []figure.Picture{
			cellOf(images[0], nil), cellOf(images[1], images[0]), cellOf(images[2], nil),
			s.recovered(images[3], images[2], s.pair.Embed, s.pair.Embed),
		}})
	}
	caption := fmt.Sprintf("Key pair a on %s, the image pair whose recoverability is the median. In the corners: the absolute difference to the image before it, %d times as large.", set, study.ResidualGain)
	return drawGrid("fig3", caption+leftOut(left), grid), nil
}

func (r *Report) fig4() (report.Figure, error) {
	set, runs, left := r.shown()
	if len(runs) == 0 {
		return report.Figure{Name: "fig4", Why: whyNoPictures}, nil
	}
	grid := figure.Grid{
		Columns: []string{"cover", "secret", "a by key a", "a by key b", "a by a random key", "b by key b", "b by key a"}, Width: figure.Page,
	}
	for _, s := range runs {
		wanted := []shownImage{{kind: coverImage}, {kind: secretImage}, {recoveredImage, []string{s.pair.Embed, s.pair.Embed}}}
		names := []string{"", "", "", whyOneKey, whyNoRandom, whyOneKey, whyOneKey}
		random := s.run.Summary.RandomKeys
		decode := func(embed, key string, there bool) {
			if there {
				names[len(wanted)] = ""
			}
			wanted = append(wanted, shownImage{recoveredImage, []string{embed, key}})
		}
		decode(s.pair.Embed, s.pair.Wrong, s.pair.Wrong != "")
		decode(s.pair.Embed, strings.Join(random[:min(1, len(random))], ""), len(random) > 0)
		decode(s.pair.Wrong, s.pair.Wrong, s.pair.Wrong != "")
		decode(s.pair.Wrong, s.pair.Embed, s.pair.Wrong != "")
		images, err := s.images(wanted...)
		if err != nil {
			return report.Figure{}, err
		}
		row := figure.PictureRow{Label: s.method}
		for i, m := range images {
			p := cellOf(m, nil)
			switch keys := wanted[i].keys; {
			case names[i] != "":
				p = figure.Picture{Caption: names[i]}
			case len(keys) > 0:
				p = s.recovered(m, nil, keys[0], keys[1])
			}
			row.Pictures = append(row.Pictures, p)
		}
		grid.Rows = append(grid.Rows, row)
	}
	caption := fmt.Sprintf("What each key shows on %s of the pair in Fig. 3: \"a by key b\" was embedded with the key pair a and decoded with b.", set)
	return drawGrid("fig4", caption+leftOut(left), grid), nil
}

// shownImage names an image of the shown item.
type shownImage struct {
	kind string
	keys []string
}

func (s shownRun) images(wanted ...shownImage) ([]*image.NRGBA, error) {
	var all []*image.NRGBA
	for _, w := range wanted {
		m, err := s.optionalImage(w.kind, w.keys...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.method, err)
		}
		all = append(all, m)
	}
	return all, nil
}

func leftOut(methods []string) string {
	if len(methods) == 0 {
		return ""
	}
	return " Without images: " + strings.Join(methods, ", ") + "."
}

// fig5 is a figure for each data set of the grid: for every alpha a row of ours and one of the paper's.
func (r *Report) fig5() []func() (report.Figure, error) {
	var sets []string
	for _, m := range r.Fig5 {
		if !slices.Contains(sets, m.DataSet) {
			sets = append(sets, m.DataSet)
		}
	}
	var all []func() (report.Figure, error)
	for i, set := range sets {
		name := "fig5"
		if i > 0 {
			name = fmt.Sprintf("fig5-%d", i+1)
		}
		all = append(all, func() (report.Figure, error) { return r.heatMaps(name, set), nil })
	}
	return all
}

func (r *Report) heatMaps(name, set string) report.Figure {
	var keys []int
	var alphas []float64
	for _, m := range r.Fig5 {
		if m.DataSet == set && !slices.Contains(keys, m.Keys) {
			keys = append(keys, m.Keys)
		}
		if m.DataSet == set && !slices.ContainsFunc(alphas, func(a float64) bool { return near(a, m.Alpha) }) {
			alphas = append(alphas, m.Alpha)
		}
	}
	slices.Sort(keys)
	slices.SortFunc(alphas, func(a, b float64) int { return pick(a > b, -1, 1) })
	out := figure.Matrix{RowsAre: "embedded with", ColumnsAre: "decoded with", Scale: figure.Scale{Label: "PSNR in dB", Min: scaleLow, Max: scaleHigh}}
	for _, k := range keys {
		out.ColumnTitles = append(out.ColumnTitles, fmt.Sprintf("K = %d", k))
	}
	for _, alpha := range alphas {
		ours, paper := make([]figure.Heat, len(keys)), make([]figure.Heat, len(keys))
		for i, k := range keys {
			for j := range r.Fig5 {
				m := &r.Fig5[j]
				if m.DataSet == set && m.Keys == k && near(m.Alpha, alpha) {
					ours[i].Cells, paper[i].Cells = m.heat()
				}
			}
		}
		for _, row := range []struct {
			heats []figure.Heat
			whose string
		}{{ours, "ours"}, {paper, "paper"}} {
			if slices.ContainsFunc(row.heats, func(h figure.Heat) bool { return len(h.Cells) > 0 }) {
				out.Panels = append(out.Panels, row.heats)
				out.RowTitles = append(out.RowTitles, fmt.Sprintf("α %g %s", alpha, row.whose))
			}
		}
	}
	caption := "PSNR in dB above SSIM of what a key recovers, ours"
	if set != "" {
		caption += " on " + set
	}
	caption += " and the paper's. Nothing of ours, or not in the paper, where there is none."
	if slices.ContainsFunc(r.Fig5, func(m Matrix) bool { return m.DataSet == set && m.refuses() }) {
		caption += " A cell is also empty where recovery refused every image."
	}
	return report.Draw(name, caption, out)
}

// The ends of the colours of matrices, in dB: below the first lies what unrelated images measure, above the last what the eye
// cannot tell.
const (
	scaleLow  = 8
	scaleHigh = 36
)

// refuses says whether every image of a cell was refused.
func (m *Matrix) refuses() bool {
	return slices.ContainsFunc(m.Ours, func(row []*study.Cell) bool {
		return slices.ContainsFunc(row, func(c *study.Cell) bool { return c != nil && c.N == 0 })
	})
}

// heat gives the cells of ours and of the paper.
func (m *Matrix) heat() (ours, paper [][]figure.Cell) {
	for _, row := range m.Ours {
		var cells []figure.Cell
		for _, c := range row {
			if c == nil || c.N == 0 {
				cells = append(cells, figure.Pair(math.NaN(), math.NaN()))
				continue
			}
			cells = append(cells, figure.Pair(c.PSNR.Mean, c.SSIM.Mean))
		}
		ours = append(ours, cells)
	}
	for _, row := range m.Paper {
		var cells []figure.Cell
		for _, c := range row {
			cells = append(cells, figure.Pair(c.PSNR, c.SSIM))
		}
		paper = append(paper, cells)
	}
	return ours, paper
}
