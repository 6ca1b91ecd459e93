package study

import (
	"fmt"
	"strings"
	"time"
)

// Provenance says what made the figures of a run: the first command that completed it. Later commands, which find everything in the
// cache, do not change it.
type Provenance struct {
	// Version is the program's, Revision that of its source where the build knew it, with "+changes" where it was changed.
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	// Command is what was typed, without passwords.
	Command string `json:"command"`
	// Date is when it began, ElapsedSeconds how long it took.
	Date           time.Time `json:"date"`
	ElapsedSeconds float64   `json:"elapsed_seconds"`
	// Found counts the comparisons that were in the cache then, as other runs had made them; Made those that it made.
	Found int `json:"found"`
	Made  int `json:"made"`

	// Where is where the images were made.
	Where Where `json:"where"`
	// Runtime is the version of ONNX Runtime in this process, Provider what it computed with, as cpu or cuda. Both are empty where no
	// network ran here: the model is none, or the images were made elsewhere.
	Runtime  string `json:"onnx_runtime,omitempty"`
	Provider string `json:"provider,omitempty"`
	// Processor is the name of what computed, a CPU or a GPU; empty for images that were made elsewhere.
	Processor string `json:"processor,omitempty"`
	// Decoder names what makes pixels of image files.
	Decoder string `json:"decoder"`
	// Metrics is the version of the definitions of PSNR, SSIM, MAE and RMSE.
	Metrics string `json:"metrics"`
}

// Where says where images were made.
type Where string

// The places.
const (
	Here       Where = "here"    // in the process of the command
	AtWorkers  Where = "workers" // by processes that the command did not start, and does not know
	InTheCache Where = "cache"   // nowhere: everything was remembered from other runs
)

// Lines are the provenance in two lines; none where there is none.
func (p *Provenance) Lines() []string {
	if p == nil {
		return nil
	}
	version := p.Version
	if p.Revision != "" && !strings.Contains(version, p.Revision) {
		version += fmt.Sprintf(" (%.12s)", p.Revision)
		if strings.HasSuffix(p.Revision, "+changes") {
			version = strings.TrimSuffix(version, ")") + ", with changes)"
		}
	}
	by := ""
	switch p.Where {
	case AtWorkers:
		by = ", by workers that run elsewhere, whose versions and processors are not known"
	case InTheCache:
		by = ", from outputs that other runs had made"
	default:
		if p.Runtime != "" {
			by = fmt.Sprintf(", ONNX Runtime %s (%s)", p.Runtime, p.Provider)
		}
		if p.Processor != "" {
			by += ", on " + p.Processor
		}
	}
	return []string{
		fmt.Sprintf("made on %s by stegomq %s%s; decoder: %s; metrics: version %s", p.Date.UTC().Format("2006-01-02 15:04 MST"), version, by, p.Decoder, p.Metrics),
		"command: " + p.Command,
	}
}
