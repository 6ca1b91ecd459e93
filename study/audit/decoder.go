package audit

import (
	"encoding/json"
	"fmt"

	"stegomq/report"
)

// Decoder is the outcome of an attack by somebody who has stego images of one key with the secrets in them. He trains a network of his own on
// these pairs to read other stego images.
type Decoder struct {
	Head
	Public   bool      `json:"public"` // he sees what anybody can compute from a stego image, too
	Results  []Decoded `json:"results"`
	Baseline Measures  `json:"baseline"` // an unrelated image
}

// Measures are those of images against their secrets.
type Measures struct {
	PSNR        Score `json:"psnr"`
	SSIM        Score `json:"ssim"`
	Correlation Score `json:"correlation"`
}

// Decoded is the outcome with so many leaked pairs, on images that were not among them. With none he made pairs with his own key.
type Decoded struct {
	Pairs   int     `json:"pairs"`
	Made    int     `json:"made"`
	Budget  float64 `json:"budget"` // in seconds; 0: the report's
	Steps   int     `json:"steps"`
	Seconds float64 `json:"seconds"`
	Measures
	Guess         Measures        `json:"guess"` // the mean of the secrets that he has
	OverGuess     Score           `json:"over_guess"`
	OverUnrelated Score           `json:"over_unrelated"`
	Own           Score           `json:"own"`
	Curve         json.RawMessage `json:"curve"` // the states that he might have chosen
}

// ReadDecoder reads a report of `python -m trainer decode`. The error wraps ErrReport.
func ReadDecoder(data []byte) (*Decoder, error) {
	var d Decoder
	if err := readReport(data, KindDecoder, &d); err != nil {
		return nil, err
	}
	if len(d.Results) == 0 || d.Baseline.SSIM.N == 0 {
		return nil, wrong(KindDecoder, "it has %d results, or no baseline; %s", len(d.Results), again)
	}
	for i := range d.Results {
		r := &d.Results[i]
		if r.Budget == 0 {
			r.Budget = d.Seconds
		}
		// The verdict goes by the interval.
		if r.Pairs < 0 || r.SSIM.N < 2 || !r.OverGuess.bounded() || !r.OverUnrelated.bounded() {
			return nil, wrong(KindDecoder, "result %d has %d leaked pairs and %d tested images, and needs 2 or more; test on more", i+1, r.Pairs, r.SSIM.N)
		}
	}
	return &d, nil
}

// over is the SSIM over the better of two outputs that do not depend on the stego image: an unrelated image, and the best constant
// guess, which a decoder can always learn to give.
func (r Decoded) over() (Score, string) {
	if r.OverUnrelated.Mean < r.OverGuess.Mean {
		return r.OverUnrelated, "an unrelated image"
	}
	return r.OverGuess, "the mean of the secrets that he has"
}

func (d *Decoder) judge() (Finding, string) {
	worst, finding := d.Results[0], Passed
	for _, r := range d.Results {
		over, _ := r.over()
		switch found := judgeOver(over); {
		case found == Failed && finding != Failed, found == Unclear && finding == Passed:
			worst, finding = r, found
		case found == finding:
			if most, _ := worst.over(); over.Mean > most.Mean {
				worst = r
			}
		}
	}
	over, what := worst.over()
	numbers := fmt.Sprintf("with %s, chosen after %.0f of %.0f s (%s steps; %s), SSIM %.3f, which is %+.4f [%+.4f, %+.4f] over %s; PSNR %.2f dB, correlation %.3f; with its own secret an output has %+.4f%s SSIM more than with others",
		leaked(worst.Pairs), worst.Seconds, worst.Budget, count(worst.Steps), d.Hardware, worst.SSIM.Mean, over.Mean, *over.Low, *over.High, what,
		worst.PSNR.Mean, worst.Correlation.Mean, worst.Own.Mean, worst.Own.moments().CI95.Text("%+.4f"))
	switch finding {
	case Failed:
		return finding, fmt.Sprintf("LEAK: a network trained on leaked pairs reads other secrets: %s. More than %+g is a leak.", numbers, thresholds.Decoded)
	case Unclear:
		return finding, fmt.Sprintf("The interval does not decide whether a network trained on leaked pairs has more than %+g SSIM over an output that does not depend on the stego image: %s. Test on more images.", thresholds.Decoded, numbers)
	}
	return finding, fmt.Sprintf("No network trained on leaked pairs has more than %+g SSIM over an output that does not depend on the stego image: the best, %s.", thresholds.Decoded, numbers)
}

// judgeOver goes by the interval: Passed says that it lies below what may be, Failed above.
func judgeOver(over Score) Finding {
	switch {
	case *over.Low > thresholds.Decoded:
		return Failed
	case *over.High > thresholds.Decoded:
		return Unclear
	}
	return Passed
}

func (d *Decoder) section() report.Section {
	sees := "the stego image"
	if d.Public {
		sees += " and what anybody computes from it without a key"
	}
	about := fmt.Sprintf("An attacker has so many stego images of one key with their secrets. He trains a network of %s parameters that sees %s (the budget is of %s), and is tested on other images of %s, at %d pixels. With no leaked pair he has pairs of a key of his own. The guess is the mean of the secrets that he has: it does not depend on the stego image. Own: SSIM with an image's own secret over that with other secrets of the test.",
		count(d.Parameters), sees, d.Hardware, d.Data, d.Side)
	t := report.Table{Head: []string{"leaked pairs", "budget s", "steps of the chosen state", "PSNR dB", "SSIM", "correlation", "SSIM of the guess", "SSIM over the guess", "SSIM over an unrelated image", "own", "n"}}
	add := func(what, budget, steps string, m Measures, more ...string) {
		row := []string{what, budget, steps, m.PSNR.text("%.2f"), m.SSIM.text("%.3f"), m.Correlation.text("%.3f")}
		t.Rows = append(t.Rows, append(append(row, more...), fmt.Sprint(m.SSIM.N)))
	}
	for _, r := range d.Results {
		add(fmt.Sprint(r.Pairs), fmt.Sprintf("%.0f", r.Budget), fmt.Sprint(r.Steps), r.Measures, r.Guess.SSIM.text("%.3f"), r.OverGuess.text("%+.4f"), r.OverUnrelated.text("%+.4f"), r.Own.text("%+.4f"))
	}
	add("unrelated image", "", "", d.Baseline, "", "", "", "")
	return section("leaked-pairs-decoder", "Decoder trained on leaked pairs", about, t)
}
