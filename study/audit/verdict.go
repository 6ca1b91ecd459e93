package audit

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"stegomq/internal/steganalysis"
	"stegomq/study"
)

// Thresholds decide verdicts. They are conventions, and every verdict names its numbers.
type Thresholds struct {
	// Shows and Clearly bound the SSIM of an output with the secret, less that of the cover of the same pair. Above Shows outlines of
	// the secret can be seen, above Clearly the secret is recognised.
	Shows   float64 `json:"shows"`
	Clearly float64 `json:"clearly"`
	// Partial is the largest share of a key that must not show a secret.
	Partial float64 `json:"partial"`
	// Kept is the least share of the matched key's excess that must be left after an attack.
	Kept float64 `json:"kept"`
	// Null is how far the AUC of the null control may lie from 0.5.
	Null float64 `json:"null"`
	// Decoded is the most SSIM that a decoder trained on leaked pairs may have over an output that does not depend on the stego image.
	Decoded float64 `json:"decoded"`
}

var thresholds = Thresholds{Shows: 0.1, Clearly: 0.2, Partial: 0.5, Kept: 0.5, Null: 0.15, Decoded: 0.02}

// Finding is the outcome of a test.
type Finding string

// The findings.
const (
	Passed  Finding = "passed"
	Failed  Finding = "FAILED"
	Unclear Finding = "unclear" // the numbers cannot decide
	LeftOut Finding = "left out"
)

// Verdict says in words what a test found.
type Verdict struct {
	Test    string  `json:"test"`
	Title   string  `json:"title"`
	Finding Finding `json:"finding"`
	Text    string  `json:"text"`
}

// The names of the tests, in the order of the report.
const (
	TestMatched    = "matched_key"
	TestRandom     = "random_keys"
	TestMismatched = "mismatched_keys"
	TestNear       = "near_keys"
	TestSwapped    = "swapped_keys"
	TestNoKey      = "no_key"
	TestPartial    = "partial_keys"
	TestLeaked     = "leaked_pairs"
	TestDecoder    = "leaked_pairs_decoder"
	TestDetect     = "detectability"
	TestColour     = "detectability_colour"
	TestDetector   = "learned_detector"
	TestRobust     = "robustness"
)

// judge makes the verdicts. A test of wrong keys is passed only where the matched key recovers.
func (a *Audit) judge(leftOut map[string]string) {
	matched := a.matchedKey()
	add := func(test, title string, made bool, finding func() (Finding, string)) {
		v := Verdict{Test: test, Title: title, Finding: LeftOut, Text: leftOut[test]}
		switch {
		case made:
			v.Finding, v.Text = finding()
		case v.Text == "":
			v.Text = "there are no scores of it"
		}
		wrongKeys := !slices.Contains([]string{TestDetect, TestColour, TestDetector, TestRobust}, test)
		if wrongKeys && v.Finding == Passed && matched != Passed {
			v.Finding, v.Text = Unclear, v.Text+" As the matched key does not recover either, this proves nothing."
		}
		a.Verdicts = append(a.Verdicts, v)
	}
	leaks := func(w *WrongKeys, who string, drawn bool) func() (Finding, string) {
		return func() (Finding, string) { return w.judge(who, drawn) }
	}
	add(TestMatched, "Matched key", a.Recoverability.Of() > 0, a.judgeMatched)
	add(TestRandom, "Random keys", a.RandomKeys != nil, a.RandomKeys.judge)
	add(TestMismatched, "Other users' keys", a.MismatchedKeys != nil, leaks(a.MismatchedKeys, "another user's key", false))
	add(TestNear, "Keys one bit off", a.NearKeys != nil, leaks(a.NearKeys, "a key one bit off", true))
	add(TestSwapped, "Keys exchanged (k_e for k_r)", a.SwappedKeys != nil, leaks(a.SwappedKeys, "the pair with its keys exchanged", false))
	add(TestNoKey, "No key (purification of the stego image)", a.NoKey != nil, leaks(a.NoKey, "the network without a key", false))
	add(TestPartial, "Keys of which a part is right", a.PartialKeys != nil, a.judgePartial)
	add(TestLeaked, "Attacker with leaked pairs", a.Attacker != nil, a.Attacker.judge)
	add(TestDecoder, "Decoder trained on leaked pairs", a.Decoder != nil, a.Decoder.judge)
	add(TestDetect, "Detectability", a.Detectability != nil, func() (Finding, string) {
		return a.Detectability.judge("SPAM features", a.Detectability.Told)
	})
	add(TestColour, "Detectability with colour", a.Detectability != nil, func() (Finding, string) {
		return a.Detectability.judge("SPAM features of channels and of their differences", a.Detectability.Colour)
	})
	add(TestDetector, "Learned detector", a.Detector != nil, a.Detector.judge)
	add(TestRobust, "Robustness", a.Robustness != nil, a.judgeRobustness)
}

// matchedKey passes where the key that embedded recovers, and is never refused.
func (a *Audit) matchedKey() Finding {
	if a.Recoverability.N > 0 && a.Recoverability.Refused == 0 && a.over(a.Recoverability) > thresholds.Clearly {
		return Passed
	}
	return Failed
}

func (a *Audit) judgeMatched() (Finding, string) {
	r, b := a.Recoverability, a.Baseline
	if r.N == 0 {
		return Failed, fmt.Sprintf("THE MATCHED KEY IS REFUSED: recovery refused %s images to the key that embedded them.", refusedOf(r))
	}
	numbers := fmt.Sprintf("the key that embedded recovers %.2f dB, SSIM %.3f; an unrelated image measures %.2f dB, SSIM %.3f", r.PSNR.Mean, r.SSIM.Mean, b.PSNR.Mean, b.SSIM.Mean)
	if r.Refused > 0 {
		return Failed, sentence(numbers + fmt.Sprintf(". THE MATCHED KEY IS REFUSED: recovery refused it %s images, which nobody had changed.", refusedOf(r)))
	}
	if a.matchedKey() == Passed {
		return Passed, sentence(numbers + fmt.Sprintf(": %+.3f, more than %+g.", a.over(r), thresholds.Clearly))
	}
	return Failed, sentence(numbers + fmt.Sprintf(": %+.3f, which is not more than %+g. THE MATCHED KEY DOES NOT RECOVER.", a.over(r), thresholds.Clearly))
}

// refusedOf is "3 of 48".
func refusedOf(g study.Group) string { return count(g.Refused) + " of " + count(g.Of()) }

// accepted is the verdict on an authenticated recovery that did not refuse a wrong key.
func (w *WrongKeys) accepted(who string) (Finding, string) {
	words := fmt.Sprintf("ACCEPTED: recovery is authenticated, and yet %s gives an image in %s of %s attempts", who, count(w.Secret.N), count(w.Secret.Of()))
	if e := w.Secret.Excess; e != nil {
		words += fmt.Sprintf("; against the secret on average %+.3f SSIM over an unrelated image, at most %+.3f (%s)", e.SSIM.Mean, e.SSIM.Max, e.SSIM.Worst.Text())
	}
	return Failed, words + "."
}

// judge says whether any comparison shows more than Shows. For keys that are drawn from many, it bounds the share that may show more.
func (w *WrongKeys) judge(who string, drawn bool) (Finding, string) {
	if w.refused() {
		words := fmt.Sprintf("Recovery refuses %s, every time: %s attempts. It is authenticated, and gives no image.", who, refusedOf(w.Secret))
		if drawn {
			words += fmt.Sprintf(" These were %s: at 95 %% fewer than %s of all such keys are not refused.", plural(w.Keys, "key"), percent(w.Showing[0].High))
		}
		return Passed, words
	}
	if w.Secret.Refused > 0 {
		return w.accepted(who)
	}
	e := w.Secret.Excess.SSIM
	most := fmt.Sprintf("on average %+.3f, at most %+.3f (%s)", e.Mean, e.Max, e.Worst.Text())
	if shows := w.Above[0]; shows.Count > 0 {
		return Failed, fmt.Sprintf("LEAK: in %s of %s comparisons (%s) %s shows more of the secret than %+g SSIM over an unrelated image, in %s (%s) more than %+g; %s.",
			count(shows.Count), count(shows.Of), percent(shows.Share), who, shows.SSIM, count(w.Above[1].Count), percent(w.Above[1].Share), w.Above[1].SSIM, most)
	}
	passed := fmt.Sprintf("In none of %s comparisons does %s show more of the secret than %+g SSIM over an unrelated image: %s.",
		count(w.Secret.Excess.N), who, thresholds.Shows, most)
	if drawn {
		passed += fmt.Sprintf(" These were %s: at 95 %% fewer than %s of all such keys show more.", plural(w.Keys, "key"), percent(w.Showing[0].High))
	}
	return Passed, passed
}

func (r *RandomKeys) judge() (Finding, string) {
	shows, clearly := r.Showing[0], r.Showing[1]
	where := "on " + plural(r.Stegos, "stego image")
	if r.refused() {
		return Passed, fmt.Sprintf("Every wrong key of %s was refused, %s (%s attempts): recovery is authenticated, and gives no image. At 95 %% fewer than %s of all keys are not refused.",
			count(r.Keys), where, refusedOf(r.Secret), percent(shows.High))
	}
	if r.Secret.Refused > 0 {
		return r.accepted("a random key")
	}
	best := fmt.Sprintf("the best guess has %+.3f (%s; %.2f dB, SSIM %.3f)", r.Best.SSIMExcess, r.Best.Comparison.Text(), r.Best.PSNR, r.Best.SSIM)
	if shows.Keys == 0 {
		return Passed, fmt.Sprintf("No key of %s shows more than %+g SSIM over an unrelated image, %s: at 95 %% fewer than %s of all keys do; %s.",
			count(shows.Of), shows.SSIM, where, percent(shows.High), best)
	}
	hope := ""
	for _, b := range r.BestOf {
		if b.SSIM.Mean > thresholds.Shows {
			hope = fmt.Sprintf(" The best of %s is expected to have %+.3f.", plural(b.Keys, "random key"), b.SSIM.Mean)
			break
		}
	}
	return Failed, fmt.Sprintf("LEAK: %s of %s random keys (%s; of all keys %s to %s at 95 %%) show more than %+g SSIM over an unrelated image, %s (%s) more than %+g, %s; %s.%s",
		count(shows.Keys), count(shows.Of), percent(shows.Share), percent(shows.Low), percent(shows.High), shows.SSIM,
		count(clearly.Keys), percent(clearly.Share), clearly.SSIM, where, best, hope)
}

func (a *Audit) judgePartial() (Finding, string) {
	from, early := 2.0, false
	for _, p := range a.PartialKeys {
		if a.over(p.Secret) > thresholds.Shows {
			from = min(from, p.Right)
			early = early || p.Right <= thresholds.Partial
		}
	}
	var last Partial // the largest share that shows nothing by itself or below
	for _, p := range a.PartialKeys {
		if p.Right < from {
			last = p
		}
	}
	switch {
	case from > 1:
		return Passed, fmt.Sprintf("At no share does the mean lie more than %+g SSIM over an unrelated image.", thresholds.Shows)
	case early:
		return Failed, fmt.Sprintf("LEAK: a key of which %s is right shows %+.3f SSIM over an unrelated image on average, more than %+g; no key of which %s or less is right should.",
			percent(from), a.over(a.partialAt(from).Secret), thresholds.Shows, percent(thresholds.Partial))
	}
	return Passed, fmt.Sprintf("The secret begins to show, by more than %+g SSIM over an unrelated image on average, between %s of the keyed values right (%+.3f) and %s (%+.3f).",
		thresholds.Shows, percent(last.Right), a.over(last.Secret), percent(from), a.over(a.partialAt(from).Secret))
}

func (a *Audit) partialAt(right float64) Partial {
	for _, p := range a.PartialKeys {
		if p.Right == right {
			return p
		}
	}
	return Partial{}
}

// judge is the verdict on what some features tell.
func (d *Detectability) judge(features string, told Told) (Finding, string) {
	words := func(s steganalysis.Detection) string {
		return fmt.Sprintf("AUC %.3f [%.3f, %.3f], P_E %.3f (guessing: %.3f)", s.AUC.Mean, s.AUC.Low, s.AUC.High, s.PE.Mean, s.Guessing)
	}
	what := fmt.Sprintf("%s and a Fisher discriminant, %s tested", features, plural(told.Stego.Pairs, "pair"))
	switch {
	case math.Abs(told.Null.AUC.Mean-0.5) > thresholds.Null:
		return Unclear, fmt.Sprintf("The null control has %s, where there is nothing to find: too few images. Stego images: %s.", words(told.Null), words(told.Stego))
	case told.Stego.AUC.Low > 0.5:
		return Failed, fmt.Sprintf("DETECTABLE: %s tell stego images from covers: %s. LSB matching at %g bits a sample: %s.", what, words(told.Stego), d.MatchingRate, words(told.Matching))
	case told.Matching.AUC.Low <= 0.5:
		return Unclear, fmt.Sprintf("Not even LSB matching at %g bits a sample is found (%s): too few images. Stego images: %s.", d.MatchingRate, words(told.Matching), words(told.Stego))
	}
	return Passed, fmt.Sprintf("%s do not tell stego images from covers: %s. LSB matching at %g bits a sample is found: %s. A trained network may find more.",
		what, words(told.Stego), d.MatchingRate, words(told.Matching))
}

func (a *Audit) judgeRobustness() (Finding, string) {
	if a.over(a.Recoverability) <= thresholds.Clearly {
		return Unclear, "The matched key does not recover, so that nothing can be lost by an attack."
	}
	var survived, lost []string
	for _, s := range a.Robustness {
		name := fmt.Sprintf("%s (%s)", attackWords(s.Attack), percent(s.Kept))
		if s.Secret.Refused > 0 {
			name = fmt.Sprintf("%s (refused %s)", attackWords(s.Attack), refusedOf(s.Secret))
		}
		if s.Kept >= thresholds.Kept {
			survived = append(survived, name)
		} else {
			lost = append(lost, name)
		}
	}
	rule := fmt.Sprintf("An attack is survived where at least %s is left of the SSIM that recovery has over an unrelated image. ", percent(thresholds.Kept))
	list := func(names []string) string {
		if len(names) == 0 {
			return "none"
		}
		return strings.Join(names, ", ")
	}
	words := rule + "Survived: " + list(survived) + ". Not survived: " + list(lost) + "."
	if a.refusesAttacks() {
		words += " Where it is refused, recovery noticed that the stego image was changed: it is authenticated, and gives no image."
	}
	if len(lost) > 0 {
		return Failed, words
	}
	return Passed, words
}

// refusesAttacks says whether recovery refused an image that was attacked.
func (a *Audit) refusesAttacks() bool {
	return slices.ContainsFunc(a.Robustness, func(s Survival) bool { return s.Secret.Refused > 0 })
}

// attackWords names an attack in a report.
func attackWords(name string) string {
	kind, amount, _ := strings.Cut(name, "-")
	switch kind {
	case "jpeg":
		return "JPEG quality " + amount
	case "resize":
		return "resizing to " + amount + " % and back"
	case "noise":
		return "noise of sigma " + amount
	case "crop":
		return "cropping " + amount + " % at each edge"
	}
	return name
}

// sentence begins with a capital.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// percent writes a share with two significant digits or more.
func percent(share float64) string {
	p := 100 * share
	decimals := 0
	if p != math.Trunc(p) {
		decimals = max(0, 1-int(math.Floor(math.Log10(math.Abs(p)))))
	}
	return fmt.Sprintf("%.*f %%", decimals, p)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

// count writes a number with commas between thousands.
func count(n int) string {
	s := fmt.Sprint(n)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}
