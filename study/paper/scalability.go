package paper

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"stegomq/report"
	"stegomq/report/figure"
	"stegomq/report/stats"
	"stegomq/study"
)

// Matrix is a confusion matrix of Fig. 5 with its means: row = the key that embedded, column = the key that decoded.
type Matrix struct {
	Scalability
	Names []string `json:"names,omitempty"` // the ids of the keys
	// Ours is null where there is none, and a cell where it has no scores.
	Ours [][]*study.Cell `json:"ours"`
	// Paper is null where the paper has no such matrix (K = 8); rows that its text does not have are missing at the end.
	Paper figure.Heat `json:"paper"`

	// Of the means in the cells, PSNR in dB.
	Diagonal         *Spread `json:"diagonal"`
	OffDiagonal      *Spread `json:"off_diagonal"`
	PaperDiagonal    *Spread `json:"paper_diagonal"`
	PaperOffDiagonal *Spread `json:"paper_off_diagonal"`
	// Unrelated is the PSNR of cover against secret; Excess what the wrong keys have more than it, pair by pair.
	Unrelated *stats.Moments `json:"unrelated"`
	Excess    *stats.Moments `json:"excess_psnr"`
}

// Spread is the mean of some cells, and the least and the largest of them.
type Spread struct {
	Mean float64 `json:"mean"`
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
}

// The matrices that are expected: those of the paper, and K = 8.
var (
	gridKeys   = []int{2, 3, 4, 8}
	gridAlphas = []float64{0.9, 0.7, 0.5}
)

// matrices are those of the study and, for each of its data sets, the expected ones that are missing. They are sorted by data set, by K, and by
// alpha from the largest down, as in the paper.
func (s *Study) matrices() []Matrix {
	all := []Matrix{}
	var sets []string
	for _, g := range s.Grid {
		all = append(all, matrix(g))
		if g.DataSet != "" && !slices.Contains(sets, g.DataSet) {
			sets = append(sets, g.DataSet)
		}
	}
	if len(sets) == 0 {
		sets = []string{""} // the paper's matrices stand by themselves
	}
	for _, set := range sets {
		for _, keys := range gridKeys {
			for _, alpha := range gridAlphas {
				there := slices.ContainsFunc(s.Grid, func(g Scalability) bool {
					return g.Keys == keys && near(g.Alpha, alpha) && (g.DataSet == set || g.DataSet == "")
				})
				if !there {
					all = append(all, matrix(Scalability{Keys: keys, Alpha: alpha, DataSet: set, Why: "no model was given"}))
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Matrix) int {
		return cmp.Or(cmp.Compare(slices.Index(sets, a.DataSet), slices.Index(sets, b.DataSet)), cmp.Compare(a.Keys, b.Keys), cmp.Compare(b.Alpha, a.Alpha))
	})
	return all
}

func matrix(g Scalability) Matrix {
	m := Matrix{Scalability: g, Paper: printedMatrixAt(g.Keys, g.Alpha)}
	var diagonal, off stats.Summary
	for i, row := range m.Paper {
		for j, c := range row {
			pick(i == j, &diagonal, &off).Add(c.PSNR)
		}
	}
	m.PaperDiagonal, m.PaperOffDiagonal = spread(diagonal), spread(off)
	if !g.Run.Made() {
		m.Why = cmp.Or(m.Why, whyNotRun)
		return m
	}
	sum := g.Run.Summary
	m.Names, m.Ours = sum.Keys, sum.Confusion.Cells
	diagonal, off = stats.Summary{}, stats.Summary{}
	for i, row := range m.Ours {
		for j, c := range row {
			if c != nil && c.N > 0 {
				pick(i == j, &diagonal, &off).Add(c.PSNR.Mean)
			}
		}
	}
	m.Diagonal, m.OffDiagonal = spread(diagonal), spread(off)
	if b := sum.BaselineCoverSecret; b.N > 0 {
		m.Unrelated = &b.PSNR.Moments
	}
	m.Excess = excessPSNR(sum.LeakageMismatched)
	return m
}

// spread is nil where there were no cells.
func spread(s stats.Summary) *Spread {
	if s.N == 0 {
		return nil
	}
	return &Spread{s.Mean, s.Min, s.Max}
}

// excessPSNR is what a group has more than unrelated images, in dB; nil where it has none.
func excessPSNR(g study.Group) *stats.Moments {
	if g.Excess == nil {
		return nil
	}
	return &g.Excess.PSNR.Moments
}

func pick[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

// name says which matrix it is.
func (m *Matrix) name() string {
	name := fmt.Sprintf("K = %d, alpha = %g", m.Keys, m.Alpha)
	if m.DataSet != "" {
		name += ", " + m.DataSet
	}
	return name
}

// key names a row or a column: by the id of the key, or by its number where there is no run.
func (m *Matrix) key(i int) string {
	if i < len(m.Names) {
		return m.Names[i]
	}
	return strconv.Itoa(i + 1)
}

// side is the number of rows of the matrix.
func (m *Matrix) side() int { return max(m.Keys, len(m.Names)) }

// oursAt is a cell of ours; nil where there is none.
func (m *Matrix) oursAt(i, j int) *study.Cell {
	if i < len(m.Ours) && j < len(m.Ours[i]) {
		return m.Ours[i][j]
	}
	return nil
}

const pairFormat = "%.2f / %.3f" // PSNR and SSIM

// table writes the matrix, ours and then the paper's.
func (m *Matrix) table() report.Table {
	if m.Why != "" && m.Paper == nil {
		return report.Table{Title: m.name(), Words: 2, Head: []string{"ours", "paper"}, Rows: [][]string{{m.Why, "not in the paper"}}}
	}
	t := report.Table{Title: m.name(), Words: 1, Head: []string{"embedded with"}, Rows: make([][]string, m.side())}
	for i := range t.Rows {
		t.Rows[i] = []string{m.key(i)}
	}
	column := func(head string, cell func(i int) string) {
		t.Head = append(t.Head, head)
		for i := range t.Rows {
			t.Rows[i] = append(t.Rows[i], cell(i))
		}
	}
	for j := 0; m.Why == "" && j < m.side(); j++ {
		column("decoded with "+m.key(j), func(i int) string {
			switch c := m.oursAt(i, j); {
			case c == nil:
				return "-"
			case c.N == 0:
				return whyRefused
			default:
				return fmt.Sprintf(pairFormat, c.PSNR.Mean, c.SSIM.Mean)
			}
		})
	}
	for j := 0; m.Paper != nil && j < len(m.Paper[0]); j++ {
		column(fmt.Sprintf("paper, key %d", j+1), func(i int) string {
			if i >= len(m.Paper) {
				return "not in the text"
			}
			return fmt.Sprintf(pairFormat, m.Paper[i][j].PSNR, m.Paper[i][j].SSIM)
		})
	}
	if m.Why != "" {
		t.Notes = append(t.Notes, "Ours: "+m.Why+".")
	}
	if m.Paper == nil {
		t.Notes = append(t.Notes, "Not in the paper.")
	}
	return t
}

// text writes a spread as its mean and its ends.
func (s *Spread) text() string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", s.Mean, s.Min, s.Max)
}

// scalability is one line for each matrix.
func scalability(all []Matrix) report.Table {
	t := report.Table{
		Title: "Fig. 5 in one table: PSNR in dB, mean (least to largest) over the cells", Words: 3,
		Head: []string{"K, alpha, data set", "training", "parameters", "diagonal", "off-diagonal", "unrelated", "excess", "paper, diagonal", "paper, off-diagonal"},
		Notes: []string{
			"Unrelated: cover against secret. Excess: what wrong keys have more than it, pair by pair, with the 95 % interval of the mean.",
			"The paper does not say on which data set Fig. 5 was measured.",
		},
	}
	for i := range all {
		m := &all[i]
		row := []string{m.name(), cmp.Or(m.Why, m.Model.budget()), m.Model.size(), m.Diagonal.text(), m.OffDiagonal.text(), "-", signed("%.2f", m.Excess), m.PaperDiagonal.text(), m.PaperOffDiagonal.text()}
		if m.Unrelated != nil {
			row[5] = fmt.Sprintf("%.2f", m.Unrelated.Mean)
		}
		if m.Paper == nil {
			row[7], row[8] = "not in the paper", "not in the paper"
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

var fig5Head = []string{
	"data_set", "keys", "alpha", "embed_key", "decode_key", "n",
	"psnr_mean", "psnr_std", "psnr_ci95_low", "psnr_ci95_high", "ssim_mean", "ssim_std", "ssim_ci95_low", "ssim_ci95_high",
	"paper_psnr", "paper_ssim", "why_not", "model", "parameters", "training_seconds", "training_steps",
}

// matrixRows are fig5.csv: a row for each cell.
func matrixRows(all []Matrix) [][]string {
	rows := [][]string{fig5Head}
	for i := range all {
		m := &all[i]
		model := append([]string{m.Model.Name, whole(m.Model.Parameters)}, m.Model.Training.cells()[:2]...)
		for r := range m.side() {
			for c := range m.side() {
				n, why := "0", m.Why
				ours, paper := slices.Concat(measured(nil), measured(nil)), []string{"", ""}
				switch cell := m.oursAt(r, c); {
				case cell == nil:
				case cell.N == 0:
					why = whyRefused
				default:
					n, ours = strconv.Itoa(cell.N), slices.Concat(measured(&cell.PSNR), measured(&cell.SSIM))
				}
				if r < len(m.Paper) && c < len(m.Paper[r]) {
					paper = []string{report.Exact(m.Paper[r][c].PSNR), report.Exact(m.Paper[r][c].SSIM)}
				}
				rows = append(rows, slices.Concat([]string{m.DataSet, strconv.Itoa(m.Keys), report.Exact(m.Alpha), m.key(r), m.key(c), n}, ours, paper, []string{why}, model))
			}
		}
	}
	return rows
}
