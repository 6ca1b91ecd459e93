package audit

import (
	"encoding/json"
	"fmt"

	"stegomq/report"
	"stegomq/report/figure"
)

// Attacker is the outcome of an attack by somebody who has the model and no key of the victim's. He has stego images with the secrets that the
// victim hid in them, and trains weights of his own on these pairs.
type Attacker struct {
	Head
	Victim    string   `json:"victim"`
	Mode      string   `json:"mode"`
	Start     string   `json:"start"`
	Results   []Leaked `json:"results"`
	Matched   Scored   `json:"matched"`
	Untrained Scored   `json:"untrained"`
	Baseline  Scored   `json:"baseline"`
}

// Leaked is the outcome with so many leaked pairs, on images that were not among them. With none he made pairs himself.
type Leaked struct {
	Pairs   int     `json:"pairs"`
	Steps   int     `json:"steps"`
	Seconds float64 `json:"seconds"`
	Scored
	Curve json.RawMessage `json:"curve"` // the states that he might have chosen
}

// Scored are the scores of recovered images against their secrets.
type Scored struct {
	PSNR Score `json:"psnr"`
	SSIM Score `json:"ssim"`
}

// ReadAttacker reads a report of `python -m trainer attack`. The error wraps ErrReport.
func ReadAttacker(data []byte) (*Attacker, error) {
	var a Attacker
	if err := readReport(data, KindAttacker, &a); err != nil {
		return nil, err
	}
	if len(a.Results) == 0 || !a.Baseline.measured() {
		return nil, wrong(KindAttacker, "it has %d results, or no baseline; %s", len(a.Results), again)
	}
	for i, r := range a.Results {
		if r.Pairs < 0 || !r.measured() {
			return nil, wrong(KindAttacker, "result %d has %d leaked pairs and %d tested images; %s", i+1, r.Pairs, r.SSIM.N, again)
		}
	}
	return &a, nil
}

func (s Scored) measured() bool { return s.PSNR.N > 0 && s.SSIM.N > 0 }

// excess is the mean SSIM over that of an unrelated image.
func (a *Attacker) excess(s Scored) float64 { return s.SSIM.Mean - a.Baseline.SSIM.Mean }

func (a *Attacker) judge() (Finding, string) {
	best := a.Results[0]
	for _, r := range a.Results {
		if a.excess(r.Scored) > thresholds.Shows {
			return Failed, fmt.Sprintf("LEAK: an attacker with %s trains weights in %.0f s (%s steps) that recover %.2f dB, SSIM %.3f of %s's other secrets: %+.3f over an unrelated image, more than %+g; %s's own key has %.2f dB, SSIM %.3f.",
				leaked(r.Pairs), r.Seconds, count(r.Steps), r.PSNR.Mean, r.SSIM.Mean, a.Victim, a.excess(r.Scored), thresholds.Shows, a.Victim, a.Matched.PSNR.Mean, a.Matched.SSIM.Mean)
		}
		if a.excess(r.Scored) > a.excess(best.Scored) {
			best = r
		}
	}
	return Passed, fmt.Sprintf("In %.0f s for each number of pairs, no attacker gets more than %+g SSIM over an unrelated image: the best, with %s, has %.2f dB, SSIM %.3f (%+.3f).",
		a.Seconds, thresholds.Shows, leaked(best.Pairs), best.PSNR.Mean, best.SSIM.Mean, a.excess(best.Scored))
}

func (a *Attacker) section() report.Section {
	about := fmt.Sprintf("An attacker has the model, no key of %s's, and so many of %s's stego images with their secrets. He trains the weights of recovery on them (mode %s, from %s; %s), and is tested on other images of %s, at %d pixels.",
		a.Victim, a.Victim, a.Mode, a.Start, a.Hardware, a.Data, a.Side)
	t := report.Table{Head: []string{"leaked pairs", "steps", "seconds", "PSNR dB", "SSIM", "SSIM excess", "n"}}
	add := func(what, steps, seconds string, s Scored) {
		t.Rows = append(t.Rows, []string{what, steps, seconds, s.PSNR.text("%.2f"), s.SSIM.text("%.3f"), fmt.Sprintf("%+.3f", a.excess(s)), fmt.Sprint(s.SSIM.N)})
	}
	for _, r := range a.Results {
		add(fmt.Sprint(r.Pairs), fmt.Sprint(r.Steps), fmt.Sprintf("%.0f", r.Seconds), r.Scored)
	}
	add("before training", "", "", a.Untrained)
	add("the victim's key", "", "", a.Matched)
	add("unrelated image", "", "", a.Baseline)
	return section("attacker", "Attacker with leaked pairs", about, t, draw("leaked-pairs", a.curve()))
}

// curve is over the number of leaked pairs; the result without one is a level, as the axis is logarithmic.
func (a *Attacker) curve() figure.Chart {
	s := figure.Series{Name: "attacker"}
	levels := []figure.Mark{{Name: "victim's key", At: a.Matched.SSIM.Mean}, {Name: "unrelated image", At: a.Baseline.SSIM.Mean}}
	for _, r := range a.Results {
		if r.Pairs == 0 {
			levels = append(levels, figure.Mark{Name: "attacker without leaked pairs", At: r.SSIM.Mean})
			continue
		}
		add(&s, float64(r.Pairs), r.SSIM.moments())
	}
	return figure.Chart{Panels: []figure.Panel{{
		XLabel: "leaked pairs", YLabel: "SSIM with the secret", LogX: true, Series: []figure.Series{s}, Levels: levels,
	}}}
}
