package audit

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"stegomq/evaluator"
	"stegomq/internal/steganalysis"
	"stegomq/schemas"
)

// section is one table of the report with what belongs to it.
type section struct {
	title   string
	about   string // a line or two above the table
	head    table.Row
	rows    []table.Row
	notes   []string
	figures []string // names of figures without the ending
}

// sections are the tables of the tests that were made.
func (a *Audit) sections() []section {
	all := []section{a.wrongKeysSection()}
	if r := a.RandomKeys; r != nil && len(r.found) > 0 {
		all = append(all, r.distribution())
		if len(r.BestOf) > 0 {
			all = append(all, r.section())
		}
	}
	if a.PartialKeys != nil {
		all = append(all, a.partialSection())
	}
	if a.Attacker != nil {
		all = append(all, a.Attacker.section())
	}
	if a.Decoder != nil {
		all = append(all, a.Decoder.section())
	}
	if a.Detectability != nil {
		all = append(all, a.Detectability.section())
	}
	if a.Detector != nil {
		all = append(all, a.Detector.section())
	}
	if a.Robustness != nil {
		all = append(all, a.robustnessSection())
	}
	return all
}

// cell is a mean with its deviation and its interval.
func cell(format string, m evaluator.Moments) string {
	return fmt.Sprintf(format+" ± "+strings.Replace(format, "+", "", 1), m.Mean, m.Std) + m.CI95.Text(format)
}

// number is how a group says how many scores it has, of how many pairs, and how many were refused.
func number(g evaluator.Group) string {
	n := fmt.Sprintf("%d of %s", g.N, plural(g.Items, "pair"))
	switch {
	case g.Refused == 0:
		return n
	case g.N == 0:
		return "refused " + refusedOf(g)
	}
	return n + ", refused " + refusedOf(g)
}

// of is the cell of a group's mean; where all was refused it says so.
func of(g evaluator.Group, format string, mean func(evaluator.Group) evaluator.Moments) string {
	switch {
	case g.Of() == 0:
		return "-"
	case g.N == 0:
		return string(schemas.EndRefused)
	}
	return cell(format, mean(g))
}

func psnrOf(g evaluator.Group) string {
	return of(g, "%.2f", func(g evaluator.Group) evaluator.Moments { return g.PSNR.Moments })
}

func ssimOf(g evaluator.Group) string {
	return of(g, "%.3f", func(g evaluator.Group) evaluator.Moments { return g.SSIM.Moments })
}

// least and largest are the score of a group's worst pair, the largest where a wrong key should show nothing.
func least(g evaluator.Group) string   { return extreme(g, g.PSNR.Least) }
func largest(g evaluator.Group) string { return extreme(g, g.PSNR.Largest) }

func extreme(g evaluator.Group, of func(format string) string) string {
	if g.N == 0 {
		return "-"
	}
	return of("%.2f")
}

// overOf is what a group has over unrelated images on average.
func (a *Audit) overOf(g evaluator.Group) string {
	if g.N == 0 {
		return "-"
	}
	return fmt.Sprintf("%+.3f", a.over(g))
}

func (a *Audit) wrongKeysSection() section {
	s := section{
		title: "Keys",
		about: "What a decoder shows of the secret. The excess is its SSIM less that of the cover, an unrelated image, of the same pair.",
		head:  table.Row{"", "PSNR dB", "worst (pair)", "SSIM", "SSIM excess", "largest (pair)", fmt.Sprintf("above %+g", thresholds.Shows), fmt.Sprintf("above %+g", thresholds.Clearly), "SSIM with the cover", "n"},
		rows: []table.Row{
			{"matched key", psnrOf(a.Recoverability), least(a.Recoverability), ssimOf(a.Recoverability), a.overOf(a.Recoverability), "", "", "", "", number(a.Recoverability)},
		},
	}
	for _, k := range []struct {
		name string
		keys *WrongKeys
	}{{"random keys", a.RandomKeys.wrong()}, {"other users' keys", a.MismatchedKeys}, {"keys one bit off", a.NearKeys}, {"keys exchanged", a.SwappedKeys}, {"no key", a.NoKey}} {
		if k.keys == nil {
			continue
		}
		g, excess, most := k.keys.Secret, "-", "-"
		if g.Excess != nil {
			excess, most = cell("%+.3f", g.Excess.SSIM.Moments), fmt.Sprintf("%+.3f (%s)", g.Excess.SSIM.Max, g.Excess.SSIM.Worst.Item)
		}
		s.rows = append(s.rows, table.Row{
			k.name, psnrOf(g), largest(g), ssimOf(g), excess, most,
			percent(k.keys.Above[0].Share), percent(k.keys.Above[1].Share), ssimOf(k.keys.Cover), number(g),
		})
	}
	s.rows = append(s.rows, table.Row{"unrelated: cover and secret", cell("%.2f", a.Baseline.PSNR.Moments), largest(a.Baseline), cell("%.3f", a.Baseline.SSIM.Moments), "", "", "", "", "", number(a.Baseline)})
	return s
}

// wrong is nil without random keys.
func (r *RandomKeys) wrong() *WrongKeys {
	if r == nil {
		return nil
	}
	return &r.WrongKeys
}

func (r *RandomKeys) distribution() section {
	s := section{
		title:   "Random keys: distribution",
		about:   fmt.Sprintf("Quantiles over the outputs of %s on %s.", plural(r.Keys, "key"), plural(r.Stegos, "stego image")),
		head:    table.Row{"share of the outputs", "PSNR dB", "excess", "SSIM", "excess"},
		figures: []string{figureRandomSSIM, figureRandomPSNR},
	}
	for _, q := range r.Quantiles {
		name := exact(q.Share)
		switch q.Share {
		case 0:
			name = "smallest"
		case 1:
			name = "largest"
		}
		s.rows = append(s.rows, table.Row{name, fmt.Sprintf("%.2f", q.PSNR), fmt.Sprintf("%+.2f", q.PSNRExcess), fmt.Sprintf("%.3f", q.SSIM), fmt.Sprintf("%+.3f", q.SSIMExcess)})
	}
	if r.Secret.Refused > 0 {
		s.notes = append(s.notes, fmt.Sprintf("refused, and so in no quantile and no chart: %s comparisons", refusedOf(r.Secret)))
	}
	for _, k := range r.Showing {
		s.notes = append(s.notes, fmt.Sprintf("above %+g SSIM: %s of %s keys, %s; of all keys %s to %s (95 %%, exact binomial over keys)", k.SSIM, count(k.Keys), count(k.Of), percent(k.Share), percent(k.Low), percent(k.High)))
	}
	return s
}

func (r *RandomKeys) section() section {
	s := section{
		title: "Random keys: who guesses",
		about: fmt.Sprintf("%s on %s. Expected largest excess of so many keys, drawn without replacement, on one stego image: mean ± deviation over the stego images.", plural(r.Keys, "key"), plural(r.Stegos, "stego image")),
		head:  table.Row{"keys tried", "SSIM excess", "PSNR excess dB", "stego images"},
		notes: []string{
			fmt.Sprintf("best guess: %s: %.2f dB (%+.2f), SSIM %.3f (%+.3f); the matched key has %.2f dB, SSIM %.3f", place(r.Best.Comparison), r.Best.PSNR, r.Best.PSNRExcess, r.Best.SSIM, r.Best.SSIMExcess, r.Best.MatchedPSNR, r.Best.MatchedSSIM),
		},
		figures: []string{figureBestOf, figureBestGuess},
	}
	for _, b := range r.BestOf {
		s.rows = append(s.rows, table.Row{count(b.Keys), cell("%+.3f", b.SSIM), cell("%+.2f", b.PSNR), b.Stegos})
	}
	return s
}

// exact writes a share without rounding it.
func exact(share float64) string { return fmt.Sprintf("%.6g %%", 100*share) }

func (a *Audit) partialSection() section {
	s := section{
		title:   "Keys of which a part is right",
		about:   "So much of what a key fills in is right, the rest is that of a wrong key.",
		head:    table.Row{"right", "PSNR dB", "largest (pair)", "SSIM", "SSIM excess of the mean", "n"},
		figures: []string{figurePartial},
	}
	for _, p := range a.PartialKeys {
		s.rows = append(s.rows, table.Row{exact(p.Right), psnrOf(p.Secret), largest(p.Secret), ssimOf(p.Secret), a.overOf(p.Secret), number(p.Secret)})
	}
	return s
}

func (d *Detectability) section() section {
	s := section{
		title: "Detectability",
		about: fmt.Sprintf("SPAM features of the 8-bit images, without and with those of R-G, G-B and R-B, and a regularised Fisher discriminant, %d splits of %s embedded with %s, half to learn and half to test. AUC: 0.5 is guessing, 1 certainty. P_E, the least error over thresholds: 0 is certainty; its threshold is the best one for the tested images, so that guessing gives less than 0.5. Mean ± deviation over the splits; in brackets 95 %% over the tested pairs, as the discriminants were learnt.", d.Stego.AUC.N, plural(d.Pairs, "pair"), d.Key),
		head:  table.Row{"covers against", "features", "AUC", "P_E", "P_E of guessing", "pairs tested"},
	}
	for _, features := range []struct {
		name string
		told Told
	}{{"plain", d.Told}, {"with colour", d.Colour}} {
		for _, r := range []struct {
			name string
			of   steganalysis.Detection
		}{{"stego images", features.told.Stego}, {"nothing hidden (cover or secret, by a coin)", features.told.Null}, {fmt.Sprintf("LSB matching, %g bits a sample", d.MatchingRate), features.told.Matching}} {
			bounds := func(e steganalysis.Estimate) string {
				return fmt.Sprintf("%.3f ± %.3f [%.3f, %.3f]", e.Mean, e.Std, e.Low, e.High)
			}
			s.rows = append(s.rows, table.Row{r.name, features.name, bounds(r.of.AUC), bounds(r.of.PE), fmt.Sprintf("%.3f", r.of.Guessing), r.of.Pairs})
		}
	}
	return s
}

func (a *Audit) robustnessSection() section {
	s := section{
		title:   "Robustness: the matched key after an attack on the stego image",
		about:   "Kept: the share that is left of what recovery without an attack has more SSIM than an unrelated image.",
		head:    table.Row{"attack", "PSNR dB", "least (pair)", "SSIM", "kept", "n"},
		rows:    []table.Row{{"none", psnrOf(a.Recoverability), least(a.Recoverability), ssimOf(a.Recoverability), "100 %", number(a.Recoverability)}},
		figures: []string{figureRobust},
	}
	for _, v := range a.Robustness {
		s.rows = append(s.rows, table.Row{attackWords(v.Attack), psnrOf(v.Secret), least(v.Secret), ssimOf(v.Secret), percent(v.Kept), number(v.Secret)})
	}
	if a.refusesAttacks() {
		s.notes = append(s.notes, "refused: recovery is authenticated and gives no image; it is in no mean and in no chart")
	}
	return s
}

// facts are the lines that stand over the tables.
func (a *Audit) facts() []string {
	from := a.Dataset.Path
	if a.Dataset.Covers != "" {
		from += " (covers from " + a.Dataset.Covers + ")"
	}
	lines := []string{
		fmt.Sprintf("model %s (%.12s)", a.Model.Name, a.Model.Digest),
		fmt.Sprintf("data set %s (%.12s), at %dx%d (%s); keys: %s", from, a.Dataset.Digest, a.Geometry.Width, a.Geometry.Height, a.Geometry.Resize, strings.Join(a.Keys, ", ")),
		fmt.Sprintf("stego images: %s dB, SSIM %s; the worst %s", cell("%.2f", a.Imperceptibility.PSNR.Moments), cell("%.3f", a.Imperceptibility.SSIM.Moments), a.Imperceptibility.PSNR.Least("%.2f dB")),
	}
	switch a.Model.Keying {
	case schemas.KeyingVariant:
		lines = append(lines, "The model has a network for each key: there are none for other keys.")
	case schemas.KeyingRotation:
		lines = append(lines, "The model's keys rotate the secret, freshly for every image.")
	case schemas.KeyingCipher:
		line := "The model is a cipher, not a network."
		if a.refuses() {
			line = "The model is a cipher, not a network, and its recovery is authenticated: what it refuses is counted, is in no mean, and the charts leave it out."
		}
		lines = append(lines, line)
	}
	if !a.Model.Trained {
		lines = append(lines, "The model is NOT TRAINED: the figures say nothing about the method.")
	}
	if words := evaluator.UntrainedWords(a.UntrainedKeys, len(a.Keys)); words != "" {
		lines = append(lines, words)
	}
	lines = append(lines, a.Provenance.Lines()...)
	for _, r := range a.Runs {
		line := fmt.Sprintf("run %s (%s): %s, %s, %s; %s comparisons found in the cache, %s made, %.1f s", r.Name, r.Run,
			plural(r.Pairs, "pair"), plural(r.Keys, "key"), plural(r.RandomKeys, "random key"), count(r.Cache.Hits), count(r.Cache.Misses), r.Seconds)
		if r.Failed > 0 {
			line += fmt.Sprintf("; %s FAILED (runs/%s/report.md names them)", plural(r.Failed, "comparison"), r.Name)
		}
		lines = append(lines, line)
	}
	return lines
}

// refuses says whether anything was refused.
func (a *Audit) refuses() bool {
	refused := a.Recoverability.Refused
	for _, w := range []*WrongKeys{a.RandomKeys.wrong(), a.MismatchedKeys, a.NearKeys, a.SwappedKeys} {
		if w != nil {
			refused += w.Secret.Refused
		}
	}
	return refused > 0 || a.refusesAttacks()
}

const note = "Mean ± standard deviation; in brackets the 95 % interval of the mean, Student's t on the image pairs."

// WriteText writes the verdicts for a terminal.
func (a *Audit) WriteText(w io.Writer) error {
	var out strings.Builder
	for _, line := range a.facts() {
		fmt.Fprintln(&out, line)
	}
	out.WriteByte('\n')
	for _, v := range a.Verdicts {
		fmt.Fprintf(&out, "%-8s  %s\n", v.Finding, v.Title)
		for _, line := range wrapped(v.Text, 110) {
			fmt.Fprintf(&out, "          %s\n", line)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// writeMarkdown writes audit.md with the figures that are there.
func (a *Audit) writeMarkdown(w io.Writer, figures map[string]bool) error {
	var out strings.Builder
	fmt.Fprintf(&out, "# Audit of %s\n\n", a.Model.Name)
	for _, line := range a.facts() {
		fmt.Fprintf(&out, "- %s\n", line)
	}
	out.WriteString("\n## Verdicts\n\n| test | finding | |\n|---|---|---|\n")
	for _, v := range a.Verdicts {
		fmt.Fprintf(&out, "| %s | **%s** | %s |\n", v.Title, v.Finding, strings.ReplaceAll(v.Text, "|", `\|`))
	}
	fmt.Fprintf(&out, "\nThe thresholds are conventions: an output shows something of a secret above %+g SSIM over an unrelated image, and clearly above %+g; a key of which %s or less is right must not; an attack is survived where %s are kept.\n",
		thresholds.Shows, thresholds.Clearly, percent(thresholds.Partial), percent(thresholds.Kept))
	fmt.Fprintf(&out, "\n%s\n", note)
	for _, s := range a.sections() {
		fmt.Fprintf(&out, "\n## %s\n\n%s\n\n%s\n", s.title, s.about, evaluator.NewTable(s.head, s.rows).RenderMarkdown())
		for i, n := range s.notes {
			if i == 0 {
				out.WriteByte('\n')
			}
			fmt.Fprintf(&out, "- %s\n", n)
		}
		for _, f := range s.figures {
			if figures[f] {
				fmt.Fprintf(&out, "\n![%s](%s.png)\n", strings.ReplaceAll(f, "-", " "), f)
			}
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}
