package audit

import (
	"fmt"

	"stegomq/report"
)

// Detector is how well a network that was trained on other images tells stego images from covers.
type Detector struct {
	Head
	Matching float64         `json:"matching"` // bits a sample, of the control; 0: the model's own stego images
	Trained  int             `json:"trained"`  // pairs
	Tested   int             `json:"tested"`
	Spent    Spent           `json:"spent"`
	AUC      Bounded         `json:"auc"`
	PE       Bounded         `json:"p_e"`
	HeldOut  float64         `json:"held_out"`
	Curve    []DetectorPoint `json:"curve"`
}

// Spent is what training had taken at the chosen state.
type Spent struct {
	Steps   int     `json:"steps"`
	Seconds float64 `json:"seconds"`
}

// Bounded is a figure with its 95 % interval over the tested pairs.
type Bounded struct {
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// DetectorPoint is a state that might have been chosen.
type DetectorPoint struct {
	Steps   int     `json:"steps"`
	Seconds float64 `json:"seconds"`
	AUC     float64 `json:"auc"`
}

// ReadDetector reads a report of `python -m trainer detect`. The error wraps ErrReport.
func ReadDetector(data []byte) (*Detector, error) {
	var d Detector
	if err := readReport(data, KindDetector, &d); err != nil {
		return nil, err
	}
	switch {
	case d.Tested < 1:
		return nil, wrong(KindDetector, "it has %d tested pairs; %s", d.Tested, again)
	case d.Matching != 0:
		return nil, wrong(KindDetector, "it is the control, LSB matching at %g bits a sample; train without --matching", d.Matching)
	}
	return &d, nil
}

func (b Bounded) text() string { return fmt.Sprintf("%.3f [%.3f, %.3f]", b.Mean, b.Low, b.High) }

func (d *Detector) judge() (Finding, string) {
	numbers := fmt.Sprintf("a network trained on %s, chosen after %.0f of %.0f s (%s), has an AUC of %s, P_E %.3f, on %s of %s at %d pixels",
		plural(d.Trained, "pair"), d.Spent.Seconds, d.Seconds, d.Hardware, d.AUC.text(), d.PE.Mean, plural(d.Tested, "pair"), d.Data, d.Side)
	if d.AUC.Low > 0.5 {
		return Failed, "DETECTABLE: " + numbers + "."
	}
	return Passed, sentence(numbers) + ": it does not tell stego images from covers. One that is trained for longer, on more pairs, may."
}

func (d *Detector) section() report.Section {
	about := fmt.Sprintf("A convolutional network of %s parameters, trained on %s (%s), tells stego images from covers of %s, at %d pixels. In brackets 95 %% over the tested pairs.",
		count(d.Parameters), plural(d.Trained, "pair"), d.Hardware, d.Data, d.Side)
	t := report.Table{Head: []string{"steps", "seconds", "AUC", "P_E", "pairs tested"}}
	for _, p := range d.Curve {
		row := []string{count(p.Steps), fmt.Sprintf("%.0f", p.Seconds), fmt.Sprintf("%.3f", p.AUC), "", fmt.Sprint(d.Tested)}
		if p.Steps == d.Spent.Steps {
			row[2], row[3] = d.AUC.text()+" (chosen)", d.PE.text()
		}
		t.Rows = append(t.Rows, row)
	}
	return section("learned-detector", "Learned detector", about, t)
}
