package e2e

import (
	"os"
	"strings"
	"testing"

	"stegomq/internal/load"
)

// benchReport reads the report of a bench.
func (h *home) benchReport(name string) *load.Report {
	h.t.Helper()
	r, err := load.Read(h.path(name))
	must(h.t, err)
	return r
}

func TestBenchAndCompare(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 48, 48)
	quick := []string{"bench", "--size", "32", "--requests", "10", "--warm-up", "0s"}
	with := func(more ...string) []string { return append(append([]string(nil), quick...), more...) }

	out := h.ok(with("--data", "photos", "--keys", "3", "--key-choice", "zipf", "--baseline", "--json", h.path("embed.json"), "--svg", h.path("embed.svg"))...).stdout
	for _, word := range []string{"embed tiny 32x32", "keys: 3, zipf", "images/s", "pipeline / bare", "latency", "infer"} {
		if !strings.Contains(out, word) {
			t.Errorf("bench does not say %q:\n%s", word, out)
		}
	}
	r := h.benchReport("embed.json")
	if r.Measured.Items != 10 || r.Baseline == nil || r.Baseline.Ratio <= 0 || r.Subject.Runtime == "" {
		t.Errorf("the report is %+v", r)
	}
	svg, err := os.ReadFile(h.path("embed.svg"))
	must(t, err)
	if !strings.HasPrefix(string(svg), "<svg") {
		t.Errorf("the chart begins with %.20s", svg)
	}
	if _, err := os.Stat(h.path("state", "stegomq")); err == nil {
		left, err := os.ReadDir(h.path("state", "stegomq"))
		must(t, err)
		if len(left) > 0 {
			t.Errorf("bench left %v", left)
		}
	}

	h.ok(with("--operation", "recover", "--in-flight", "1", "--json", h.path("recover.json"))...)
	h.ok(with("--operation", "no-op", "--rate", "200", "--json", h.path("no-op.json"))...)
	h.ok(with("--operation", "evaluate", "--batch", "2", "--memo", "on")...)
	if out := h.ok("bench", "compare", h.path("embed.json"), h.path("embed.json")).stdout; !strings.Contains(out, "1.000") {
		t.Errorf("compare:\n%s", out)
	}
	h.run("bench", "compare", h.path("embed.json"), h.path("recover.json")).wantError(t, 2, "operation", "embed", "recover")
	h.run("bench", "compare", h.path("embed.json"), h.path("embed.svg")).wantError(t, 2, "embed.svg", "not a report")
	if help := h.ok("bench", "--help").stdout; !strings.Contains(help, "What is measured:") || !strings.Contains(help, "\n  compare ") {
		t.Errorf("help:\n%s", help)
	}
}

func TestBenchSweep(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	out := h.ok("bench", "sweep", "--operation", "no-op", "--size", "16", "--from", "20", "--steps", "2", "--duration", "300ms", "--warm-up", "50ms",
		"--json", h.path("s.json"), "--svg", h.path("s.svg")).stdout
	if !strings.Contains(out, "knee") && !strings.Contains(out, "begin lower") {
		t.Errorf("sweep:\n%s", out)
	}
	for _, name := range []string{"s.json", "s.svg"} {
		if _, err := os.Stat(h.path(name)); err != nil {
			t.Error(err)
		}
	}
}

func TestBenchErrors(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	for _, c := range []struct {
		args  string
		words []string
	}{
		{"--operation purify", []string{"--operation", "embed"}},
		{"--operation no-op --nats nats://127.0.0.1:1 --redis redis://127.0.0.1:1", []string{"no-op", "leave out --nats"}},
		{"--operation no-op --baseline", []string{"--baseline", "no network"}},
		{"--memo maybe", []string{"--memo", "on or off"}},
		{"--rate 5 --in-flight 2", []string{"--rate and --in-flight"}},
		{"--requests 5 --duration 2s", []string{"--duration and --requests"}},
		{"--key-choice some", []string{"--key-choice", "zipf"}},
		{"--data nowhere", []string{"nowhere"}},
		{"--model nosuch", []string{"nosuch"}},
		{"sweep --factor 1", []string{"--factor 1"}},
	} {
		h.run(append([]string{"bench"}, strings.Fields(c.args)...)...).wantError(t, 2, c.words...)
	}
	// Images that are too small for the cipher: each fails, with its reason.
	r := h.run("bench", "--models", shippedModels(), "--model", "sealed", "--size", "16", "--requests", "3", "--warm-up", "0s")
	r.wantError(t, 1, "3 images")
	if !strings.Contains(r.stdout, "bad_image 3") {
		t.Errorf("the table does not say why:\n%s", r.stdout)
	}
}
