package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"stegomq/internal/steganalysis"
	"stegomq/report"
	"stegomq/schemas"
	"stegomq/study"
)

// Brief is the report for a terminal: the verdicts.
func (a *Audit) Brief() *report.Document {
	verdicts := report.Section{ID: "verdicts"}
	for _, v := range a.Verdicts {
		verdicts.Findings = append(verdicts.Findings, report.Finding{Title: v.Title, Outcome: string(v.Finding), Text: v.Text})
	}
	return &report.Document{Title: "Audit of " + a.Model.Name, Facts: a.facts(), Sections: []report.Section{verdicts}}
}

// Document is the whole report.
func (a *Audit) Document() *report.Document {
	d := a.Brief()
	d.Sections[0].Title = "Verdicts"
	d.Sections[0].Paragraphs = []string{
		fmt.Sprintf("The thresholds are conventions: an output shows something of a secret above %+g SSIM over an unrelated image, and clearly above %+g; a key of which %s or less is right must not; an attack is survived where %s are kept.",
			thresholds.Shows, thresholds.Clearly, percent(thresholds.Partial), percent(thresholds.Kept)),
		"Mean ± standard deviation; in brackets the 95 % interval of the mean, Student's t on the image pairs.",
	}
	d.Sections = append(append(d.Sections, a.sections()...), a.items.Section())
	return d
}

// WriteFiles writes audit.json, audit.md, report.html and the figures as SVG and PNG into dir, each file whole or not at all.
func (a *Audit) WriteFiles(dir string) error {
	return a.Document().Write(dir, "audit", a, study.ReadImage)
}

// section is one table with what belongs to it.
func section(id, title, about string, t report.Table, figures ...report.Figure) report.Section {
	return report.Section{ID: id, Title: title, Paragraphs: []string{about}, Tables: []report.Table{t}, Figures: figures}
}

// draw draws a figure whose name is its caption.
func draw(name string, f report.Drawer) report.Figure {
	return report.Draw(name, strings.ReplaceAll(name, "-", " "), f)
}

// sections are the tables of the tests that were made.
func (a *Audit) sections() []report.Section {
	all := []report.Section{a.wrongKeysSection()}
	if r := a.RandomKeys; r != nil && len(r.found) > 0 {
		all = append(all, a.distribution(r))
		if len(r.BestOf) > 0 {
			all = append(all, a.guesses(r))
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

// number is how a group says how many scores it has, of how many pairs, and how many were refused.
func number(g study.Group) string {
	n := fmt.Sprintf("%d of %s", g.N, plural(g.Items, "pair"))
	switch {
	case g.Refused == 0:
		return n
	case g.N == 0:
		return "refused " + refusedOf(g)
	}
	return n + ", refused " + refusedOf(g)
}

// cells are the PSNR of a group, that of its worst pair, and its SSIM. Where all was refused they say so.
func cells(g study.Group, worst func(study.Distribution, string) string) []string {
	switch {
	case g.Of() == 0:
		return []string{"-", "-", "-"}
	case g.N == 0:
		return []string{string(schemas.EndRefused), "-", string(schemas.EndRefused)}
	}
	return []string{g.PSNR.Text("%.2f"), worst(g.PSNR, "%.2f"), g.SSIM.Text("%.3f")}
}

var (
	least   = study.Distribution.Least
	largest = study.Distribution.Largest // the worst where a wrong key should show nothing
)

// overOf is what a group has over unrelated images on average.
func (a *Audit) overOf(g study.Group) string {
	if g.N == 0 {
		return "-"
	}
	return fmt.Sprintf("%+.3f", a.over(g))
}

func (a *Audit) wrongKeysSection() report.Section {
	about := "What a decoder shows of the secret. The excess is its SSIM less that of the cover, an unrelated image, of the same pair."
	t := report.Table{
		Head: []string{"", "PSNR dB", "worst (pair)", "SSIM", "SSIM excess", "largest (pair)", fmt.Sprintf("above %+g", thresholds.Shows), fmt.Sprintf("above %+g", thresholds.Clearly), "SSIM with the cover", "n"},
	}
	add := func(name string, g study.Group, worst func(study.Distribution, string) string, more ...string) {
		t.Rows = append(t.Rows, slices.Concat([]string{name}, cells(g, worst), more, []string{number(g)}))
	}
	add("matched key", a.Recoverability, least, a.overOf(a.Recoverability), "", "", "", "")
	for _, k := range []struct {
		name string
		keys *WrongKeys
	}{{"random keys", a.RandomKeys.wrong()}, {"other users' keys", a.MismatchedKeys}, {"keys one bit off", a.NearKeys}, {"keys exchanged", a.SwappedKeys}, {"no key", a.NoKey}} {
		if k.keys == nil {
			continue
		}
		g, excess, most := k.keys.Secret, "-", "-"
		if g.Excess != nil {
			excess, most = g.Excess.SSIM.Moments.Text("%+.3f"), fmt.Sprintf("%+.3f (%s)", g.Excess.SSIM.Max, g.Excess.SSIM.Worst.Item)
		}
		add(k.name, g, largest, excess, most, percent(k.keys.Above[0].Share), percent(k.keys.Above[1].Share), cells(k.keys.Cover, largest)[2])
	}
	add("unrelated: cover and secret", a.Baseline, largest, "", "", "", "", "")
	return section("keys", "Keys", about, t)
}

// wrong is nil without random keys.
func (r *RandomKeys) wrong() *WrongKeys {
	if r == nil {
		return nil
	}
	return &r.WrongKeys
}

func (a *Audit) distribution(r *RandomKeys) report.Section {
	about := fmt.Sprintf("Quantiles over the outputs of %s on %s.", plural(r.Keys, "key"), plural(r.Stegos, "stego image"))
	t := report.Table{
		Head: []string{"share of the outputs", "PSNR dB", "excess", "SSIM", "excess"},
	}
	for _, q := range r.Quantiles {
		name := exact(q.Share)
		switch q.Share {
		case 0:
			name = "smallest"
		case 1:
			name = "largest"
		}
		t.Rows = append(t.Rows, []string{name, fmt.Sprintf("%.2f", q.PSNR), fmt.Sprintf("%+.2f", q.PSNRExcess), fmt.Sprintf("%.3f", q.SSIM), fmt.Sprintf("%+.3f", q.SSIMExcess)})
	}
	if r.Secret.Refused > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("refused: %s comparisons, which are in no quantile and no chart", refusedOf(r.Secret)))
	}
	for _, k := range r.Showing {
		t.Notes = append(t.Notes, fmt.Sprintf("above %+g SSIM: %s of %s keys, %s; of all keys %s to %s (95 %%, exact binomial over keys)", k.SSIM, count(k.Keys), count(k.Of), percent(k.Share), percent(k.Low), percent(k.High)))
	}
	return section("random", "Random keys: distribution", about, t, a.randomFigures()...)
}

func (a *Audit) guesses(r *RandomKeys) report.Section {
	figures := []report.Figure{draw("random-keys-best-of", r.curve())}
	if a.guess != nil {
		figures = append(figures, draw("best-guess", a.guess))
	}
	about := fmt.Sprintf("%s on %s. Expected largest excess of so many keys, drawn without replacement, on one stego image: mean ± deviation over the stego images.", plural(r.Keys, "key"), plural(r.Stegos, "stego image"))
	t := report.Table{
		Head: []string{"keys tried", "SSIM excess", "PSNR excess dB", "stego images"},
		Notes: []string{
			fmt.Sprintf("best guess: %s: %.2f dB (%+.2f), SSIM %.3f (%+.3f); the matched key has %.2f dB, SSIM %.3f", r.Best.Comparison.Text(), r.Best.PSNR, r.Best.PSNRExcess, r.Best.SSIM, r.Best.SSIMExcess, r.Best.MatchedPSNR, r.Best.MatchedSSIM),
		},
	}
	for _, b := range r.BestOf {
		t.Rows = append(t.Rows, []string{count(b.Keys), b.SSIM.Text("%+.3f"), b.PSNR.Text("%+.2f"), fmt.Sprint(b.Stegos)})
	}
	return section("guesses", "Random keys: the best of several", about, t, figures...)
}

// exact writes a share without rounding it.
func exact(share float64) string { return fmt.Sprintf("%.6g %%", 100*share) }

func (a *Audit) partialSection() report.Section {
	about := "This share of the key's values is right; the rest is that of a wrong key."
	t := report.Table{
		Head: []string{"right", "PSNR dB", "largest (pair)", "SSIM", "SSIM excess of the mean", "n"},
	}
	for _, p := range a.PartialKeys {
		t.Rows = append(t.Rows, slices.Concat([]string{exact(p.Right)}, cells(p.Secret, largest), []string{a.overOf(p.Secret), number(p.Secret)}))
	}
	return section("partial", "Keys of which a part is right", about, t, draw("partial-keys", a.partialCurve()))
}

func (d *Detectability) section() report.Section {
	about := fmt.Sprintf("SPAM features of the 8-bit images, without and with those of R-G, G-B and R-B, and a regularised Fisher discriminant, %d splits of %s embedded with %s, half to learn and half to test. AUC: 0.5 is guessing, 1 certainty. P_E, the least error over thresholds: 0 is certainty; its threshold is the best one for the tested images, so that guessing gives less than 0.5. Mean ± deviation over the splits; in brackets 95 %% over the tested pairs, as the discriminants were learnt.", d.Stego.AUC.N, plural(d.Pairs, "pair"), d.Key)
	t := report.Table{
		Head: []string{"covers against", "features", "AUC", "P_E", "P_E of guessing", "pairs tested"},
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
			t.Rows = append(t.Rows, []string{r.name, features.name, bounds(r.of.AUC), bounds(r.of.PE), fmt.Sprintf("%.3f", r.of.Guessing), fmt.Sprint(r.of.Pairs)})
		}
	}
	return section("detectability", "Detectability", about, t)
}

func (a *Audit) robustnessSection() report.Section {
	about := "Kept: of the SSIM that recovery has over an unrelated image, the share that is left after the attack."
	t := report.Table{
		Head: []string{"attack", "PSNR dB", "least (pair)", "SSIM", "kept", "n"},
	}
	for _, v := range append([]Survival{{Secret: a.Recoverability, Kept: 1}}, a.Robustness...) {
		t.Rows = append(t.Rows, slices.Concat([]string{cmp.Or(attackWords(v.Attack), "none")}, cells(v.Secret, least), []string{percent(v.Kept), number(v.Secret)}))
	}
	if a.refusesAttacks() {
		t.Notes = append(t.Notes, "refused: recovery is authenticated and gives no image; such images are in no mean and in no chart")
	}
	return section("attacks", "Robustness: the matched key after an attack on the stego image", about, t, draw("robustness", a.robustnessCurves()))
}

// facts are the lines that stand over the tables.
func (a *Audit) facts() []report.Fact {
	lines := []string{
		fmt.Sprintf("model %s (%.12s)", a.Model.Name, a.Model.Digest),
		fmt.Sprintf("data set %s (%.12s), at %s; keys: %s", a.Dataset.From(), a.Dataset.Digest, a.Geometry.Text(), strings.Join(a.Keys, ", ")),
		fmt.Sprintf("stego images: %s dB, SSIM %s; the worst %s", a.Imperceptibility.PSNR.Moments.Text("%.2f"), a.Imperceptibility.SSIM.Moments.Text("%.3f"), a.Imperceptibility.PSNR.Least("%.2f dB")),
	}
	switch a.Model.Keying {
	case schemas.KeyingVariant:
		lines = append(lines, "The model has a network for each key: there are none for other keys.")
	case schemas.KeyingRotation:
		lines = append(lines, "The model's keys rotate the secret, freshly for every image.")
	case schemas.KeyingCipher:
		line := "The model is a cipher, not a network."
		if a.refuses() {
			line = "The model is a cipher, not a network, and its recovery is authenticated: what it refuses is counted, and is in no mean and in no chart."
		}
		lines = append(lines, line)
	}
	if !a.Model.Trained {
		lines = append(lines, "The model is NOT TRAINED: the figures say nothing about the method.")
	}
	if words := study.UntrainedWords(a.UntrainedKeys, len(a.Keys)); words != "" {
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
	return report.Lines(lines)
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
