package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"stegomq/report"
	"stegomq/report/figure"
	"stegomq/report/stats"
)

// ErrAttacker is the class of files that do not say what the trainer's attacker found.
var ErrAttacker = errors.New("not a file of `python -m trainer attack`")

// attackerVersion is that of the trainer's files.
const attackerVersion = 1

// Attacker is what somebody found who has the model, no key of the victim's, and pairs of stego images with the secrets
// that the victim hid in them, and who trained weights of his own on these. trainer/attack.py says what every field is.
type Attacker struct {
	Version   int      `json:"version"`
	Model     string   `json:"model"`
	Digest    string   `json:"digest"`
	Victim    string   `json:"victim"`
	Mode      string   `json:"mode"`
	Start     string   `json:"start"`
	Data      string   `json:"data"`
	Side      int      `json:"side"`
	Seconds   float64  `json:"seconds"`
	Steps     int      `json:"steps"`
	Hardware  string   `json:"hardware"`
	Rate      float64  `json:"rate"`
	Crop      int      `json:"crop"`
	Batch     int      `json:"batch"`
	Seed      uint64   `json:"seed"`
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
	Curve []Point `json:"curve"`
}

// Scored are the scores of recovered images against their secrets.
type Scored struct {
	PSNR Score `json:"psnr"`
	SSIM Score `json:"ssim"`
}

// Score is a mean over n images with its 95 % interval; null for one image.
type Score struct {
	Mean float64  `json:"mean"`
	Std  float64  `json:"std"`
	N    int      `json:"n"`
	Low  *float64 `json:"low"`
	High *float64 `json:"high"`
}

// Point is a state that the attacker might have chosen.
type Point struct {
	Steps   int     `json:"steps"`
	Seconds float64 `json:"seconds"`
	PSNR    float64 `json:"psnr"`
	SSIM    float64 `json:"ssim"`
}

// ReadAttacker reads what the trainer wrote. The error wraps ErrAttacker.
func ReadAttacker(data []byte) (*Attacker, error) {
	var a Attacker
	if err := readReport(data, &a, ErrAttacker); err != nil {
		return nil, err
	}
	if a.Version != attackerVersion || a.Model == "" || a.Digest == "" || len(a.Results) == 0 {
		return nil, fmt.Errorf("%w: version %d of model %q with %d results; %s", ErrAttacker, a.Version, a.Model, len(a.Results), again)
	}
	if !a.Baseline.measured() {
		return nil, fmt.Errorf("%w: it has no baseline; %s", ErrAttacker, again)
	}
	for i, r := range a.Results {
		if r.Pairs < 0 || !r.measured() {
			return nil, fmt.Errorf("%w: result %d has %d leaked pairs and %d tested images; %s", ErrAttacker, i+1, r.Pairs, r.SSIM.N, again)
		}
	}
	return &a, nil
}

// again is what to do about a report that does not fit.
const again = "make it again with the trainer of this version"

// readReport reads a report of the trainer, which has no field that is not known. The error wraps class.
func readReport(data []byte, into any, class error) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%w: %w; %s", class, err, again)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: there is more after the first value", class)
	}
	return nil
}

// ReportKind is the kind that a report of the trainer names: empty for that of `python -m trainer attack`, or of what is none.
func ReportKind(data []byte) string {
	var report struct {
		Kind string `json:"kind"`
	}
	_ = json.Unmarshal(data, &report) // who reads the report as its kind says what is wrong with it
	return report.Kind
}

func (s Scored) measured() bool { return s.PSNR.N > 0 && s.SSIM.N > 0 }

func (a *Attacker) excess(r Leaked) float64 { return r.SSIM.Mean - a.Baseline.SSIM.Mean }

// leaked says how many pairs leaked.
func leaked(pairs int) string {
	if pairs == 0 {
		return "no leaked pairs"
	}
	return plural(pairs, "leaked pair")
}

func (a *Attacker) judge() (Finding, string) {
	best := a.Results[0]
	for _, r := range a.Results {
		if a.excess(r) > thresholds.Shows {
			return Failed, fmt.Sprintf("LEAK: an attacker with %s trains weights in %.0f s (%s steps) that recover %.2f dB, SSIM %.3f of %s's other secrets: %+.3f over an unrelated image, more than %+g; %s's own key has %.2f dB, SSIM %.3f.",
				leaked(r.Pairs), r.Seconds, count(r.Steps), r.PSNR.Mean, r.SSIM.Mean, a.Victim, a.excess(r), thresholds.Shows, a.Victim, a.Matched.PSNR.Mean, a.Matched.SSIM.Mean)
		}
		if a.excess(r) > a.excess(best) {
			best = r
		}
	}
	return Passed, fmt.Sprintf("In %.0f s for each number of pairs, no attacker gets more than %+g SSIM over an unrelated image: the best, with %s, has %.2f dB, SSIM %.3f (%+.3f).",
		a.Seconds, thresholds.Shows, leaked(best.Pairs), best.PSNR.Mean, best.SSIM.Mean, a.excess(best))
}

func (a *Attacker) section() report.Section {
	const title = "Attacker with leaked pairs"
	about := fmt.Sprintf("Who has the model, no key of %s's, and so many of %s's stego images with their secrets, trains the weights of recovery on them (mode %s, from %s; %s), and is tested on other images of %s, at %d pixels.",
		a.Victim, a.Victim, a.Mode, a.Start, a.Hardware, a.Data, a.Side)
	t := report.Table{Head: []string{"leaked pairs", "steps", "seconds", "PSNR dB", "SSIM", "SSIM excess", "n"}}
	for _, r := range a.Results {
		t.Rows = append(t.Rows, []string{fmt.Sprint(r.Pairs), fmt.Sprint(r.Steps), fmt.Sprintf("%.0f", r.Seconds), r.PSNR.moments().Text("%.2f"), r.SSIM.moments().Text("%.3f"), fmt.Sprintf("%+.3f", a.excess(r)), fmt.Sprint(r.SSIM.N)})
	}
	for _, o := range []struct {
		name string
		of   Scored
	}{{"where he starts", a.Untrained}, {"the victim's key", a.Matched}, {"unrelated image", a.Baseline}} {
		t.Rows = append(t.Rows, []string{o.name, "", "", o.of.PSNR.moments().Text("%.2f"), o.of.SSIM.moments().Text("%.3f"), fmt.Sprintf("%+.3f", o.of.SSIM.Mean-a.Baseline.SSIM.Mean), fmt.Sprint(o.of.SSIM.N)})
	}
	return section("attacker", title, about, t, draw("leaked-pairs", a.curve()))
}

func (s Score) moments() stats.Moments {
	m := stats.Moments{Mean: s.Mean, Std: s.Std}
	if s.Low != nil && s.High != nil {
		m.CI95 = &stats.Interval{Low: *s.Low, High: *s.High}
	}
	return m
}

// curve is over the number of leaked pairs; what he gets without one is a level, as the axis is logarithmic.
func (a *Attacker) curve() figure.Lines {
	s := figure.Series{Name: "attacker"}
	levels := []figure.Mark{{Name: "victim's key", At: a.Matched.SSIM.Mean}, {Name: "unrelated image", At: a.Baseline.SSIM.Mean}}
	for _, r := range a.Results {
		if r.Pairs == 0 {
			levels = append(levels, figure.Mark{Name: "attacker without leaked pairs", At: r.SSIM.Mean})
			continue
		}
		add(&s, float64(r.Pairs), r.SSIM.moments())
	}
	return figure.Lines{Panels: []figure.LinePanel{{
		XLabel: "leaked pairs", YLabel: "SSIM with the secret", LogX: true, Series: []figure.Series{s}, Levels: levels,
	}}}
}
