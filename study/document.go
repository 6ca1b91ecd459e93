package study

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"stegomq/internal/quality"
	"stegomq/report"
	"stegomq/schemas"
)

// broken puts the interval of a mean on a line of its own, and the pair of a worst case.
func broken(s string) string {
	if i := strings.IndexAny(s, "[("); i > 0 {
		return s[:i-1] + "\n" + s[i:]
	}
	return s
}

// worst is how a table of groups shows the worst case of each, by its PSNR: the least, or the largest where wrong keys are measured.
type worst struct {
	word string
	of   func(Distribution, string) string
}

var (
	least   = worst{"least", Distribution.Least}
	largest = worst{"largest", Distribution.Largest}
)

// groups is a table of groups, with a column for each metric that any of them has. Refused images have no metrics: they are counted.
func (w worst) groups(notes []string, groups ...named) report.Table {
	t := report.Table{Head: []string{""}, Notes: notes, Rows: make([][]string, len(groups))}
	add := func(head string, cell func(g named) string) {
		t.Head = append(t.Head, head)
		for i, g := range groups {
			if g.N == 0 && head != "n" {
				t.Rows[i] = append(t.Rows[i], "-")
			} else {
				t.Rows[i] = append(t.Rows[i], cell(g))
			}
		}
	}
	for i, g := range groups {
		t.Rows[i] = []string{g.name}
	}
	for _, m := range quality.Metrics {
		if !slices.ContainsFunc(groups, func(g named) bool { _, has := g.Metric(m.Name); return has }) {
			continue
		}
		add(m.Heading(), func(g named) string {
			if d, has := g.Metric(m.Name); has {
				return broken(d.Text(m.Format()))
			}
			return "-"
		})
		if m.Name == "psnr" {
			add(w.word+" (pair)", func(g named) string { return broken(w.of(g.PSNR, m.Format())) })
		}
	}
	add("n", func(g named) string {
		if g.N == 0 {
			return "0"
		}
		return counted(g.N, g.RefusedText())
	})
	for i, g := range groups {
		if g.N == 0 && g.Refused > 0 {
			t.Rows[i][1] = g.RefusedText()
		}
	}
	return t
}

// named is a group with its name.
type named struct {
	name string
	*Group
}

// counted is a number of scores, with what was refused beside them on a line of its own.
func counted(n int, refused string) string {
	if refused == "" {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,\n%s", n, refused)
}

// sections are the tables of a run: the three blocks of the paper's Table 1, then what they are compared with, and at the end what
// failed.
func (s *Summary) sections() []report.Section {
	var all []report.Section
	add := func(id, title string, t report.Table) {
		if len(t.Rows) > 0 {
			all = append(all, report.Section{ID: id, Title: title, Tables: []report.Table{t}})
		}
	}
	untrained := s.untrainedNote()
	add("imperceptibility", "Imperceptibility (cover against stego)", least.groups(untrained, named{"stego", &s.Imperceptibility}))
	add("recoverability", "Recoverability (secret against recovered, matched key)", least.groups(untrained, named{"recovered", &s.Recoverability}))
	add("cross-decoding", "Cross decoding (what a wrong key recovers; against the secret, lower is better; the row \"baseline\" is an unrelated image)", s.crossDecoding())
	add("leakage", "Leakage (against the secret; excess: the score less the baseline of the same pair)", s.leakage())
	if len(s.Robustness) > 0 {
		rows := []named{{"none", &s.Recoverability}}
		for i := range s.Robustness {
			rows = append(rows, named{s.Robustness[i].Attack, &s.Robustness[i].Group})
		}
		add("robustness", "Robustness (secret against recovered, matched key, after an attack on the stego image)", least.groups(untrained, rows...))
	}
	if s.Noise.N+s.Purification.N > 0 { // a model may not purify
		add("purification", fmt.Sprintf("Purification (Gaussian noise, sigma %g of 255)", s.NoiseSigma), least.groups(nil, named{"noisy", &s.Noise}, named{"purified", &s.Purification}))
	}
	add("worst-pairs", "Worst pairs (the least PSNR of each pair, over the keys)", s.worstPairs())
	if d := s.Confusion.Drawn; d != nil {
		add("keys", "Recovered PSNR in dB of the keys that recover worst, and what wrong keys show of their images", d.table(len(s.Keys)))
	} else {
		psnr := s.matrix("%.2f", func(c *Cell) float64 { return c.PSNR.Mean })
		ssim := s.matrix("%.3f", func(c *Cell) float64 { return c.SSIM.Mean })
		psnr.Notes = s.matrixExtremes("%.2f dB", func(g Group) Distribution { return g.PSNR })
		ssim.Notes = append(s.matrixExtremes("%.3f", func(g Group) Distribution { return g.SSIM }), "summary.json has the deviation, the number of scores and the interval of every cell (confusion.cells)")
		add("keys-psnr", "Recovered PSNR in dB: row = embedding key, column = decoding key", psnr)
		add("keys-ssim", "Recovered SSIM: row = embedding key, column = decoding key", ssim)
	}
	all = append(all, s.distributions()...)
	for _, f := range []struct {
		id, title string
		list      []Failed
	}{
		{"failed-files", "Files that could not be used", s.Dataset.Failed},
		{"failed-comparisons", "Comparisons that failed", s.FailedItems},
		{"refused", "Images that were refused to the key that embedded them", s.RefusedItems},
	} {
		if len(f.list) == 0 {
			continue
		}
		section := report.Section{ID: f.id, Title: f.title}
		for _, item := range f.list {
			section.Points = append(section.Points, item.Name+": "+item.Reason)
		}
		all = append(all, section)
	}
	return all
}

// crossDecoding is what wrong keys show.
func (s *Summary) crossDecoding() report.Table {
	var secrets, covers []named
	for _, k := range s.wrongKeys() {
		secrets = append(secrets, named{k.name + ", against the secret", &k.secret})
		covers = append(covers, named{k.name + ", against the cover", &k.cover})
	}
	secrets = append(secrets, named{"baseline: cover against secret", &s.BaselineCoverSecret})
	return largest.groups(s.untrainedNote(), append(secrets, covers...)...)
}

// wrong is a kind of wrong keys.
type wrong struct {
	name          string
	secret, cover Group
	drawn         bool // the report draws the distribution of its excess
}

// wrongKeys are the kinds of wrong keys of the run, and no key. Mismatched keys are always among them.
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

// Text names the image pair and the keys of a recovered image.
func (c Comparison) Text() string {
	if c.DecodeKey == "" {
		return fmt.Sprintf("%s, %s without a key", c.Item, c.EmbedKey)
	}
	return fmt.Sprintf("%s, %s decoded with %s", c.Item, c.EmbedKey, c.DecodeKey)
}

// drawnRows is how many keys a table names of a run that draws its wrong keys.
const drawnRows = 20

// table names the keys that recover worst of their own images, and what wrong keys recovered of them.
func (d *Drawn) table(keys int) report.Table {
	b := report.Table{
		Head:  []string{"key", "matched", "wrong keys", "mean", "largest mean", "by"},
		Notes: []string{fmt.Sprintf("%d wrong keys were drawn for each of %d keys, by seed %d; summary.json has every cell (confusion.drawn)", d.WrongKeys, keys, d.Seed)},
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
		b.Rows = append(b.Rows, r.cells())
	}
	if n := len(rows) - drawnRows; n > 0 {
		b.Notes = append(b.Notes, fmt.Sprintf("%d more keys", n))
	}
	return b
}

// cells are the row of a table.
func (r DrawnRow) cells() []string {
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
	row := []string{r.EmbedKey, "-", counted(n, refusedText(refused, n+refused)), "-", "-", by}
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
		notes = append(notes, fmt.Sprintf("least on the diagonal: "+format+" at %s", d.Min, d.MinOf.Text()))
	}
	if d := of(s.LeakageMismatched); s.LeakageMismatched.N > 0 {
		notes = append(notes, fmt.Sprintf("largest off the diagonal: "+format+" at %s", d.Max, d.MaxOf.Text()))
	}
	return notes
}

// worstPairs are the pairs of least PSNR.
func (s *Summary) worstPairs() report.Table {
	b := report.Table{Words: 5, Head: []string{"", "pair", "cover", "secret", "key", "PSNR dB", "SSIM"}}
	for _, w := range s.WorstPairs {
		b.Rows = append(b.Rows, []string{worstWords[w.Role], w.Item, w.Cover, w.Secret, cmp.Or(w.EmbedKey, "-"), fmt.Sprintf("%.2f", w.PSNR), fmt.Sprintf("%.3f", w.SSIM)})
	}
	return b
}

// worstWords say what image a role is about.
var worstWords = map[string]string{
	schemas.Imperceptibility.Token(): "stego", schemas.Recoverability.Token(): "recovered", schemas.Purification.Token(): "purified",
}

// leakage is the largest likeness to the secret under wrong keys, and the excess over the baseline. It has a row for each kind that has
// scores.
func (s *Summary) leakage() report.Table {
	b := report.Table{
		Head: []string{"", "PSNR max", "excess mean", "p99", "max", "SSIM max", "excess mean", "p99", "max", "n"},
	}
	for _, k := range s.wrongKeys() {
		e := k.secret.Excess
		if e == nil && k.secret.N == 0 && k.secret.Refused > 0 {
			b.Rows = append(b.Rows, []string{k.name, k.secret.RefusedText(), "-", "-", "-", "-", "-", "-", "-", "0"})
		}
		if e == nil {
			continue
		}
		row := []string{k.name}
		for _, m := range []struct {
			format string
			max    float64
			excess Tail
		}{{"%.2f", k.secret.PSNR.Max, e.PSNR}, {"%.3f", k.secret.SSIM.Max, e.SSIM}} {
			row = append(row, fmt.Sprintf(m.format, m.max))
			signed := "%+" + m.format[1:]
			row = append(row, broken(fmt.Sprintf(signed, m.excess.Mean)+m.excess.CI95.Text(signed)),
				fmt.Sprintf(signed, m.excess.P99), fmt.Sprintf(signed, m.excess.Max))
		}
		b.Rows = append(b.Rows, append(row, counted(e.N, k.secret.RefusedText())))
		b.Notes = append(b.Notes, fmt.Sprintf("%s, largest excess: PSNR at %s; SSIM at %s", k.name, e.PSNR.Worst.Text(), e.SSIM.Worst.Text()))
	}
	return b
}

func (s *Summary) matrix(format string, mean func(*Cell) float64) report.Table {
	b := report.Table{Head: []string{"embed \\ decode"}}
	name := func(key string) string {
		if slices.Contains(s.UntrainedKeys, key) {
			return key + " (not trained with)"
		}
		return key
	}
	for _, k := range s.Keys {
		b.Head = append(b.Head, name(k))
	}
	for i, k := range s.Keys {
		row := []string{name(k)}
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
		b.Rows = append(b.Rows, row)
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

// facts are the lines above the tables.
func (s *Summary) facts() []string {
	lines := []string{
		fmt.Sprintf("run %s, model %s (%.12s)", s.Run, s.Model.Name, s.Model.Digest),
		fmt.Sprintf("%s: %d images, %d pairs, at %s; keys: %d, random keys: %d, keys one bit off: %d",
			s.Dataset.From(), s.Dataset.Images, s.Dataset.Pairs, s.Geometry.Text(),
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

// untrainedNote is for a table whose means are over such keys, too.
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

// From is where the images are.
func (d Dataset) From() string {
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

// Document is the report of the run.
func (s *Summary) Document() *report.Document {
	return &report.Document{
		Title: "Run " + s.Run, Facts: report.Lines(s.facts()), Sections: s.sections(),
		Paragraphs: []string{"Means ± standard deviations over all pairs and keys. PSNR in dB (at most 100), MAE and RMSE on [0,1]. " + intervalNote},
	}
}

// distributions draw the excesses of unregistered keys. There are many of these, and the largest excess counts as much as the mean.
func (s *Summary) distributions() (all []report.Section) {
	for _, k := range s.wrongKeys() {
		e := k.secret.Excess
		if !k.drawn || e == nil || e.N < 2 {
			continue
		}
		all = append(all, report.Section{
			ID: "excess-" + strings.ReplaceAll(k.name, " ", "-"), Title: "Distribution of the excess: " + k.name,
			Paragraphs: []string{fmt.Sprintf("A line for each bin with its lower bound, %d comparisons.", e.N)},
			Drawings:   []string{"PSNR in dB\n" + e.PSNR.Histogram.Text() + "SSIM\n" + e.SSIM.Histogram.Text()},
		})
	}
	return all
}
