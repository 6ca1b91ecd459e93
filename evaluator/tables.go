package evaluator

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"stegomq/schemas"
)

// block is one table of a report.
type block struct {
	title string
	head  table.Row
	rows  []table.Row
	notes []string // lines below the table
}

// NewTable is a table of a report: its first column are words, the others numbers.
func NewTable(head table.Row, rows []table.Row) table.Writer {
	w := table.NewWriter()
	w.AppendHeader(head)
	w.AppendRows(rows)
	style := table.StyleLight
	style.Format.Header = text.FormatDefault
	w.SetStyle(style)
	var columns []table.ColumnConfig
	for i := 2; i <= len(head); i++ {
		columns = append(columns, table.ColumnConfig{Number: i, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	w.SetColumnConfigs(columns)
	return w
}

// text renders the table for a terminal.
func (b block) text() string { return NewTable(b.head, b.rows).Render() }

// markdown renders the table with every row on one line.
func (b block) markdown() string {
	flat := b
	flat.rows = make([]table.Row, len(b.rows))
	for i, row := range b.rows {
		for _, cell := range row {
			if s, ok := cell.(string); ok {
				cell = strings.ReplaceAll(s, "\n", " ")
			}
			flat.rows[i] = append(flat.rows[i], cell)
		}
	}
	return NewTable(flat.head, flat.rows).RenderMarkdown()
}

// write writes the table with its notes.
func (b block) write(out *strings.Builder) {
	fmt.Fprintf(out, "\n%s\n%s\n", b.title, b.text())
	for _, note := range b.notes {
		fmt.Fprintf(out, "  %s\n", note)
	}
}

func (b block) writeMarkdown(out *strings.Builder) {
	fmt.Fprintf(out, "\n## %s\n\n%s\n", b.title, b.markdown())
	for i, note := range b.notes {
		if i == 0 {
			out.WriteString("\n")
		}
		fmt.Fprintf(out, "- %s\n", note)
	}
}

// bounds is an interval on a line of its own, in the format of its mean; nothing where there is none.
func bounds(format string, i *Interval) string {
	return strings.Replace(i.Text(format), " ", "\n", 1)
}

// extreme is the worst case that a table of groups shows of each, by its PSNR: the least, or the largest where wrong keys are measured.
type extreme struct {
	word string
	of   func(Distribution, string) string
}

var (
	least   = extreme{"least", Distribution.Least}
	largest = extreme{"largest", Distribution.Largest}
)

// groups is a table of groups without rows.
func (e extreme) groups(title string) block {
	return block{title: title, head: table.Row{"", "PSNR dB", e.word + " (pair)", "SSIM", "MAE", "RMSE", "n"}}
}

// row is a group in a table of groups. What was refused has no metrics, and is counted beside those that have.
func (e extreme) row(name string, g Group) table.Row {
	if g.N == 0 {
		return table.Row{name, cmp.Or(g.RefusedText(), "-"), "-", "-", "-", "-", 0}
	}
	cell := func(format string, m Moments) string {
		return fmt.Sprintf(format+" ± "+format, m.Mean, m.Std) + bounds(format, m.CI95)
	}
	worst := strings.Replace(e.of(g.PSNR, "%.2f"), " ", "\n", 1)
	return table.Row{name, cell("%.2f", g.PSNR.Moments), worst, cell("%.3f", g.SSIM.Moments), cell("%.4f", g.MAE), cell("%.4f", g.RMSE), counted(g.N, g.RefusedText())}
}

// counted is a number of scores, with what was refused beside them on a line of its own.
func counted(n int, refused string) any {
	if refused == "" {
		return n
	}
	return fmt.Sprintf("%d,\n%s", n, refused)
}

// blocks are the tables of a run: the three blocks of the paper's Table 1, then what they are to be read
// against.
func (s *Summary) blocks() []block {
	stego := least.groups("Imperceptibility (cover against stego)")
	stego.rows, stego.notes = []table.Row{least.row("stego", s.Imperceptibility)}, s.untrainedNote()
	recovered := least.groups("Recoverability (secret against recovered, matched key)")
	recovered.rows, recovered.notes = []table.Row{least.row("recovered", s.Recoverability)}, s.untrainedNote()
	all := []block{stego, recovered, s.crossDecoding()}
	if b := s.leakage(); len(b.rows) > 0 {
		all = append(all, b)
	}
	if len(s.Robustness) > 0 {
		all = append(all, s.robustness())
	}
	if s.Noise.N+s.Purification.N > 0 { // a model may not purify
		b := least.groups(fmt.Sprintf("Purification (Gaussian noise, sigma %g of 255)", s.NoiseSigma))
		b.rows = []table.Row{least.row("noisy", s.Noise), least.row("purified", s.Purification)}
		all = append(all, b)
	}
	if b := s.worstPairs(); len(b.rows) > 0 {
		all = append(all, b)
	}
	if d := s.Confusion.Drawn; d != nil {
		return append(all, d.block(len(s.Keys)))
	}
	psnr := s.matrix("Recovered PSNR in dB: row = embedding key, column = decoding key", "%.2f", func(c *Cell) float64 { return c.PSNR.Mean })
	ssim := s.matrix("Recovered SSIM: row = embedding key, column = decoding key", "%.3f", func(c *Cell) float64 { return c.SSIM.Mean })
	psnr.notes = s.matrixExtremes("%.2f dB", func(g Group) Distribution { return g.PSNR })
	ssim.notes = append(s.matrixExtremes("%.3f", func(g Group) Distribution { return g.SSIM }), "summary.json has the deviation, the number of scores and the interval of every cell (confusion.cells)")
	return append(all, psnr, ssim)
}

// crossDecoding is what wrong keys show.
func (s *Summary) crossDecoding() block {
	b := largest.groups("Cross decoding (what a wrong key shows; lower is better, the baseline is nothing at all)")
	for _, k := range s.wrongKeys() {
		b.rows = append(b.rows, largest.row(k.name+", against the secret", k.secret))
	}
	b.rows = append(b.rows, largest.row("baseline: cover against secret", s.BaselineCoverSecret))
	for _, k := range s.wrongKeys() {
		b.rows = append(b.rows, largest.row(k.name+", against the cover", k.cover))
	}
	b.notes = s.untrainedNote()
	return b
}

// wrong is a kind of wrong keys.
type wrong struct {
	name          string
	secret, cover Group
	drawn         bool // its distribution is worth a picture
}

// wrongKeys are the kinds of wrong keys, and no key; all but the mismatched ones only in a run that has some.
func (s *Summary) wrongKeys() []wrong {
	kinds := []wrong{{"mismatched key", s.LeakageMismatched, s.LeakageMismatchedCover, false}}
	if len(s.RandomKeys) > 0 {
		kinds = append(kinds, wrong{"random key", s.LeakageRandom, s.LeakageRandomCover, true})
	}
	if len(s.NearKeys) > 0 {
		kinds = append(kinds, wrong{"key one bit off", s.LeakageNear, s.LeakageNearCover, true})
	}
	if s.LeakageSwapped.Of() > 0 {
		kinds = append(kinds, wrong{"k_e and k_r exchanged", s.LeakageSwapped, s.LeakageSwappedCover, false})
	}
	for _, p := range s.LeakagePartial {
		k := wrong{name: percent(p.Permille) + " of the fill right", secret: p.Group}
		for _, c := range s.LeakagePartialCover {
			if c.Permille == p.Permille {
				k.cover = c.Group
			}
		}
		kinds = append(kinds, k)
	}
	if s.LeakageUnkeyed.Of() > 0 {
		kinds = append(kinds, wrong{"no key", s.LeakageUnkeyed, s.LeakageUnkeyedCover, false})
	}
	return kinds
}

// robustness is what the matched key recovers after each attack, below what it recovers without one.
func (s *Summary) robustness() block {
	b := least.groups("Robustness (secret against recovered, matched key, after an attack on the stego image)")
	b.rows = []table.Row{least.row("none", s.Recoverability)}
	for _, a := range s.Robustness {
		b.rows = append(b.rows, least.row(a.Attack, a.Group))
	}
	b.notes = s.untrainedNote()
	return b
}

// text names a comparison of what was recovered.
func (c Comparison) text() string {
	if c.DecodeKey == "" {
		return fmt.Sprintf("%s, %s without a key", c.Item, c.EmbedKey)
	}
	return fmt.Sprintf("%s, %s decoded with %s", c.Item, c.EmbedKey, c.DecodeKey)
}

// drawnRows is how many keys a table names of a run that draws its wrong keys.
const drawnRows = 20

// block names the keys that recover worst of their own images, and what wrong keys recovered of them.
func (d *Drawn) block(keys int) block {
	b := block{
		title: "Recovered PSNR in dB of the keys that recover worst, and what wrong keys show of their images",
		head:  table.Row{"key", "matched", "wrong keys", "mean", "largest mean", "by"},
		notes: []string{fmt.Sprintf("%d wrong keys were drawn for each of %d keys, by seed %d; summary.json has every cell (confusion.drawn)", d.WrongKeys, keys, d.Seed)},
	}
	rows := slices.Clone(d.Rows)
	matched := func(r DrawnRow) float64 {
		if c := r.Matched(); c != nil && c.N > 0 {
			return c.PSNR.Mean
		}
		return math.Inf(1)
	}
	slices.SortStableFunc(rows, func(a, b DrawnRow) int { return cmp.Compare(matched(a), matched(b)) })
	for _, r := range rows[:min(len(rows), drawnRows)] {
		b.rows = append(b.rows, r.cells())
	}
	if n := len(rows) - drawnRows; n > 0 {
		b.notes = append(b.notes, fmt.Sprintf("%d more keys", n))
	}
	return b
}

// cells are the row of a table.
func (r DrawnRow) cells() table.Row {
	var sum, most float64
	var n, refused int
	by := "-"
	for i, c := range r.Cells {
		switch {
		case r.DecodeKeys[i] == r.EmbedKey || c == nil:
		case c.N == 0:
			refused++
		default:
			sum += c.PSNR.Mean
			n++
			if n == 1 || c.PSNR.Mean > most {
				most, by = c.PSNR.Mean, r.DecodeKeys[i]
			}
		}
	}
	row := table.Row{r.EmbedKey, "-", counted(n, refusedText(refused, n+refused)), "-", "-", by}
	if c := r.Matched(); c != nil && c.N > 0 {
		row[1] = fmt.Sprintf("%.2f", c.PSNR.Mean)
	}
	if n > 0 {
		row[3], row[4] = fmt.Sprintf("%.2f", sum/float64(n)), fmt.Sprintf("%.2f", most)
	}
	return row
}

// matrixExtremes are the worst cases of a matrix: of the cells on its diagonal, and of the others.
func (s *Summary) matrixExtremes(format string, of func(Group) Distribution) (notes []string) {
	if d := of(s.Recoverability); s.Recoverability.N > 0 {
		notes = append(notes, fmt.Sprintf("least on the diagonal: "+format+" at %s", d.Min, d.MinOf.text()))
	}
	if d := of(s.LeakageMismatched); s.LeakageMismatched.N > 0 {
		notes = append(notes, fmt.Sprintf("largest beside it: "+format+" at %s", d.Max, d.MaxOf.text()))
	}
	return notes
}

// worstPairs are the pairs to look at first.
func (s *Summary) worstPairs() block {
	b := block{title: "Worst pairs (the least PSNR of each pair, over the keys)", head: table.Row{"", "pair", "cover", "secret", "key", "PSNR dB", "SSIM"}}
	for _, w := range s.WorstPairs {
		b.rows = append(b.rows, table.Row{worstWords[w.Role], w.Item, w.Cover, w.Secret, cmp.Or(w.EmbedKey, "-"), fmt.Sprintf("%.2f", w.PSNR), fmt.Sprintf("%.3f", w.SSIM)})
	}
	return b
}

// worstWords say what image a role is about.
var worstWords = map[string]string{
	schemas.Role_ROLE_IMPERCEPTIBILITY.Token(): "stego", schemas.Role_ROLE_RECOVERABILITY.Token(): "recovered", schemas.Role_ROLE_PURIFICATION.Token(): "purified",
}

// leakage is what wrong keys show of the secret at most, and beyond the baseline. It has a row for each kind of
// which there are scores.
func (s *Summary) leakage() block {
	b := block{
		title: "Leakage (against the secret; excess: what the score has more than the baseline of the same pair)",
		head:  table.Row{"", "PSNR max", "excess mean", "p99", "max", "SSIM max", "excess mean", "p99", "max", "n"},
	}
	for _, k := range s.wrongKeys() {
		e := k.secret.Excess
		if e == nil && k.secret.N == 0 && k.secret.Refused > 0 {
			b.rows = append(b.rows, table.Row{k.name, k.secret.RefusedText(), "-", "-", "-", "-", "-", "-", "-", 0})
		}
		if e == nil {
			continue
		}
		row := table.Row{k.name}
		for _, m := range []struct {
			format string
			max    float64
			excess Tail
		}{{"%.2f", k.secret.PSNR.Max, e.PSNR}, {"%.3f", k.secret.SSIM.Max, e.SSIM}} {
			row = append(row, fmt.Sprintf(m.format, m.max))
			signed := "%+" + m.format[1:]
			row = append(row, fmt.Sprintf(signed, m.excess.Mean)+bounds(signed, m.excess.CI95),
				fmt.Sprintf(signed, m.excess.P99), fmt.Sprintf(signed, m.excess.Max))
		}
		b.rows = append(b.rows, append(row, counted(e.N, k.secret.RefusedText())))
		b.notes = append(b.notes, fmt.Sprintf("%s, largest excess: PSNR at %s; SSIM at %s", k.name, e.PSNR.Worst.text(), e.SSIM.Worst.text()))
	}
	return b
}

func (s *Summary) matrix(title, format string, mean func(*Cell) float64) block {
	b := block{title: title, head: table.Row{"embed \\ decode"}}
	name := func(key string) string {
		if slices.Contains(s.UntrainedKeys, key) {
			return key + " (not trained with)"
		}
		return key
	}
	for _, k := range s.Keys {
		b.head = append(b.head, name(k))
	}
	for i, k := range s.Keys {
		row := table.Row{name(k)}
		for _, c := range s.Confusion.Cells[i] {
			switch {
			case c == nil:
				row = append(row, "-")
			case c.N == 0:
				row = append(row, string(schemas.EndRefused))
			case c.Refused > 0:
				row = append(row, fmt.Sprintf(format+"\n%s", mean(c), c.RefusedText()))
			default:
				row = append(row, fmt.Sprintf(format, mean(c)))
			}
		}
		b.rows = append(b.rows, row)
	}
	return b
}

// intervalNote says what the intervals in the tables are.
const intervalNote = "In brackets: the 95 % interval of the mean, Student's t on the image pairs."

// text says, after the numbers of keys, how many were drawn.
func (d *Drawn) text() string {
	if d == nil {
		return ""
	}
	return fmt.Sprintf(", wrong keys drawn for each: %d (seed %d)", d.WrongKeys, d.Seed)
}

// facts are the lines that stand over the tables.
func (s *Summary) facts() []string {
	lines := []string{
		fmt.Sprintf("run %s, model %s (%.12s)", s.Run, s.Model.Name, s.Model.Digest),
		fmt.Sprintf("%s: %d images, %d pairs, at %s; keys: %d, random keys: %d, keys one bit off: %d",
			s.Dataset.from(), s.Dataset.Images, s.Dataset.Pairs, s.Geometry.text(),
			len(s.Keys), len(s.RandomKeys), len(s.NearKeys)) + s.Confusion.Drawn.text(),
		fmt.Sprintf("data set %.12s (SHA-256 of the sorted digests of its images)%s", s.Dataset.Digest, s.Dataset.Sample.text()),
		s.times(),
	}
	lines = append(lines, s.Provenance.Lines()...)
	switch s.Model.Keying {
	case schemas.KeyingVariant:
		lines = append(lines, "The model has a network for each key: a wrong key is another user's network. There are none for random keys or keys one bit off.")
	case schemas.KeyingRotation:
		lines = append(lines, "The model's keys rotate the secret, freshly for every image: what a wrong key shows is noise.")
	case schemas.KeyingCipher:
		line := "The model is a cipher, not a network: what a wrong key shows is noise."
		if s.refuses() {
			line = "The model is a cipher, not a network, and its recovery is authenticated: it refuses wrong keys, and images that were changed. " +
				"What was refused is counted, and in no mean."
		}
		lines = append(lines, line)
	}
	if !s.Model.Trained {
		lines = append(lines, "The model is NOT TRAINED (its weights are seed-initialised): the figures say nothing about the method.")
	}
	if line := UntrainedWords(s.UntrainedKeys, len(s.Keys)); line != "" {
		lines = append(lines, line)
	}
	if n := len(s.Dataset.Failed); n > 0 {
		lines = append(lines, fmt.Sprintf("files that could not be used: %d (named at the end)", n))
	}
	if n := len(s.FailedItems); n > 0 {
		lines = append(lines, fmt.Sprintf("comparisons that FAILED: %d (named at the end)", n))
	}
	if n := len(s.RefusedItems); n > 0 {
		lines = append(lines, fmt.Sprintf("images that were REFUSED to the key that embedded them: %d of %d (named at the end)", n, s.Recoverability.Of()))
	}
	return lines
}

// times are those of this command, or of the first where this one had nothing to make.
func (s *Summary) times() string {
	if s.Provenance != nil && s.Cache.Misses == 0 {
		return fmt.Sprintf("%d comparisons, all found in the cache; when the run was made first it took %.2f s, %.1f comparisons a second",
			s.Cache.Hits, s.ElapsedSeconds, s.ItemsPerSecond)
	}
	return fmt.Sprintf("%d comparisons found in the cache, %d made, %.2f s, %.1f comparisons a second", s.Cache.Hits, s.Cache.Misses, s.ElapsedSeconds, s.ItemsPerSecond)
}

// UntrainedWords say that a model was not trained with some of its keys; nothing where there are none.
func UntrainedWords(untrained []string, of int) string {
	if len(untrained) == 0 {
		return ""
	}
	return fmt.Sprintf("The model was NOT TRAINED WITH %d of the %d keys (%s): the figures of these say nothing about the method. Expect neither recovery nor isolation.",
		len(untrained), of, strings.Join(untrained, ", "))
}

// untrainedNote stands below a table whose means are over such keys, too.
func (s *Summary) untrainedNote() []string {
	if len(s.UntrainedKeys) == 0 {
		return nil
	}
	return []string{"of keys that the model was not trained with, too: " + strings.Join(s.UntrainedKeys, ", ")}
}

// refuses says whether anything was refused in the run.
func (s *Summary) refuses() bool {
	refused := s.Recoverability.Refused
	for _, k := range s.wrongKeys() {
		refused += k.secret.Refused
	}
	for _, a := range s.Robustness {
		refused += a.Refused
	}
	return refused > 0
}

func (d Dataset) from() string {
	if d.Covers == "" {
		return d.Path
	}
	return fmt.Sprintf("%s (covers from %s)", d.Path, d.Covers)
}

// text says how pairs were drawn, where they were.
func (s *Sample) text() string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("; a sample of %d of %d pairs, seed %d", s.Pairs, s.Of, s.Seed)
}

// WriteText writes the tables for a terminal.
func (s *Summary) WriteText(w io.Writer) error {
	var out strings.Builder
	for _, line := range s.facts() {
		fmt.Fprintln(&out, line)
	}
	fmt.Fprintln(&out, intervalNote)
	for _, b := range s.blocks() {
		b.write(&out)
	}
	writeFailed(&out, "Files that could not be used", "  %s: %s\n", s.Dataset.Failed)
	writeFailed(&out, "Comparisons that failed", "  %s: %s\n", s.FailedItems)
	writeFailed(&out, "Images that were refused to the key that embedded them", "  %s: %s\n", s.RefusedItems)
	_, err := io.WriteString(w, out.String())
	return err
}

// WriteMarkdown writes report.md.
func (s *Summary) WriteMarkdown(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "# Run %s\n\n", s.Run)
	for _, line := range s.facts() {
		fmt.Fprintf(&out, "- %s\n", line)
	}
	fmt.Fprintf(&out, "\nMeans ± standard deviations over all pairs and keys. PSNR in dB (at most 100), MAE and RMSE on [0,1].\n%s\n", intervalNote)
	for _, b := range s.blocks() {
		b.writeMarkdown(&out)
	}
	s.writeHistograms(&out)
	writeFailed(&out, "## Files that could not be used\n", "- `%s`: %s\n", s.Dataset.Failed)
	writeFailed(&out, "## Comparisons that failed\n", "- `%s`: %s\n", s.FailedItems)
	writeFailed(&out, "## Images that were refused to the key that embedded them\n", "- `%s`: %s\n", s.RefusedItems)
	_, err := io.WriteString(w, out.String())
	return err
}

// writeHistograms draws the excesses of the keys that nobody is given: their number is large, and the largest
// of them counts as much as their mean.
func (s *Summary) writeHistograms(out *strings.Builder) {
	for _, k := range s.wrongKeys() {
		e := k.secret.Excess
		if !k.drawn || e == nil || e.N < 2 {
			continue
		}
		fmt.Fprintf(out, "\n## Distribution of the excess: %s\n\nA line for each bin with its lower bound, %d comparisons.\n", k.name, e.N)
		fmt.Fprintf(out, "\n```\nPSNR in dB\n%sSSIM\n%s```\n", e.PSNR.Histogram.text(), e.SSIM.Histogram.text())
	}
}

func writeFailed(out *strings.Builder, title, format string, list []Failed) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s\n", title)
	for _, f := range list {
		fmt.Fprintf(out, format, f.Name, f.Reason)
	}
}
