package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"stegomq/report/stats"
)

// ErrReport is the class of files that are not the report of an attack by the trainer.
var ErrReport = errors.New("not a report of")

// wrong is an ErrReport on a file that should be of a kind.
func wrong(kind, format string, args ...any) error {
	command := map[string]string{KindAttacker: "attack", KindDecoder: "decode", KindDetector: "detect"}[kind]
	return fmt.Errorf("%w `python -m trainer %s`: "+format, append([]any{ErrReport, command}, args...)...)
}

// Kinds of reports. That of `python -m trainer attack` names none.
const (
	KindAttacker = ""
	KindDecoder  = "decoder"  // of `python -m trainer decode`
	KindDetector = "detector" // of `python -m trainer detect`
)

const reportVersion = 1

// Head is what every report says of the network that was trained. trainer/attack.py, decoder.py and detector.py say what the fields are.
type Head struct {
	Kind       string  `json:"kind,omitempty"`
	Version    int     `json:"version"`
	Model      string  `json:"model"`
	Digest     string  `json:"digest"`
	Data       string  `json:"data"`
	Side       int     `json:"side"`
	Seconds    float64 `json:"seconds"` // the largest budget
	Steps      int     `json:"steps"`
	Hardware   string  `json:"hardware"`
	Parameters int     `json:"parameters,omitempty"`
	Width      int     `json:"width,omitempty"`
	Rate       float64 `json:"rate"`
	Crop       int     `json:"crop,omitempty"`
	Batch      int     `json:"batch"`
	Seed       uint64  `json:"seed"`
}

func (h *Head) head() *Head { return h }

// readReport reads a report of a kind, which has no field that is not known. The error wraps ErrReport.
func readReport(data []byte, kind string, into interface{ head() *Head }) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return wrong(kind, "%w; %s", err, again)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return wrong(kind, "there is more after the first value")
	}
	if h := into.head(); h.Kind != kind || h.Version != reportVersion || h.Model == "" || h.Digest == "" {
		return wrong(kind, "kind %q, version %d of model %q (%.12s); %s", h.Kind, h.Version, h.Model, h.Digest, again)
	}
	return nil
}

// again is what to do about a report that does not fit.
const again = "make it again with the trainer of this version"

// ReportKind is the kind that a report names, empty where it names none.
func ReportKind(data []byte) string {
	var h struct {
		Kind string `json:"kind"`
	}
	_ = json.Unmarshal(data, &h) // who reads the report as its kind says what is wrong with it
	return h.Kind
}

// Score is a mean over n images with its 95 % interval; null for one image.
type Score struct {
	Mean float64  `json:"mean"`
	Std  float64  `json:"std"`
	N    int      `json:"n"`
	Low  *float64 `json:"low"`
	High *float64 `json:"high"`
}

func (s Score) moments() stats.Moments {
	m := stats.Moments{Mean: s.Mean, Std: s.Std}
	if s.bounded() {
		m.CI95 = &stats.Interval{Low: *s.Low, High: *s.High}
	}
	return m
}

func (s Score) bounded() bool { return s.Low != nil && s.High != nil }

func (s Score) text(format string) string { return s.moments().Text(format) }

// leaked says how many pairs leaked.
func leaked(pairs int) string {
	if pairs == 0 {
		return "no leaked pairs"
	}
	return plural(pairs, "leaked pair")
}
