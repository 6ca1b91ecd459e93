package e2e

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// study writes the file of a study of tiny models.
func (h *home) study(name string, rows map[string]string, more string) string {
	h.t.Helper()
	type row struct {
		Method string `json:"method"`
		Model  string `json:"model"`
	}
	var table []row
	for method, model := range rows {
		table = append(table, row{method, model})
	}
	data, err := json.Marshal(table)
	must(h.t, err)
	return h.write(name, []byte(`{"table1":`+string(data)+more+`}`))
}

// The evaluation of the paper goes through the queue, leaves a report in every format, and comes from the cache the
// second time.
func TestPaper(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 60, 40)
	h.photographs("others", 2, 50, 50)
	tiny := filepath.Join(tinyModels(), "tiny")
	study := h.study("study.json", map[string]string{"PUSNet-MK": tiny, "HiNet": variantModel(), "LSB-4+ChaCha20": cipherModel()},
		`,"fig5":[{"keys":2,"alpha":0.9,"model":"`+tiny+`"}],"gradient":[
		{"gradient":"right","alpha":0.9,"model":"`+tiny+`"},{"gradient":"wrong","alpha":0.9,"model":"`+tiny+`"}]`)
	args := []string{"paper", "--data", "ImageNet=photos", "--data", "Mine=others", "--study", study, "--size", "33", "--fig5-pairs", "1", "--out", "report"}
	h.ok(args...)
	first := read(t, h.path("report", "table1.csv"))
	table, err := csv.NewReader(bytes.NewReader(first)).ReadAll()
	must(t, err)
	seen := make(map[string]bool)
	for _, row := range table {
		for _, cell := range row {
			seen[cell] = true
		}
	}
	for _, want := range []string{"PUSNet-MK", "HiNet", "LSB-4+ChaCha20", "ImageNet", "Mine"} {
		if !seen[want] {
			t.Errorf("table1.csv does not have %s", want)
		}
	}
	md := string(read(t, h.path("report", "report.md")))
	for _, want := range []string{"DIV2K", "not at hand", "--data ImageNet=photos"} {
		if !strings.Contains(md, want) {
			t.Errorf("report.md does not say %q", want)
		}
	}
	for _, name := range []string{"report.html", "report.json", "table1.md", "table1.json", "table1.tex", "fig5.svg", "fig5.png", "fig3.png", "fig4.png"} {
		if len(read(t, h.path("report", name))) == 0 {
			t.Errorf("%s is empty", name)
		}
	}
	browse(t, h.path("report", "report.html"))

	again := h.ok(args...)
	if !strings.Contains(again.stdout, " 0 made") {
		t.Errorf("the second time:\n%s", again.stdout)
	}
	if !bytes.Equal(read(t, h.path("report", "table1.csv")), first) {
		t.Error("from the cache, table1.csv is another")
	}
}

// A study that is stopped resumes in the middle of a run, and writes the same report as an undisturbed one.
func TestPaperInterrupted(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 8, 60, 40)
	study := h.study("study.json", map[string]string{"PUSNet-MK": filepath.Join(tinyModels(), "tiny"), "HiNet": variantModel()}, "")
	args := []string{"paper", "--data", "Mine=photos", "--study", study, "--size", "32", "--out", "report"}
	const part = `(?s)(msg="job settled".*){6}`
	first := h.startHeld(part, append(args, "--slots", "1", "--log-level", "debug")...)
	first.await(part)
	first.signal(os.Interrupt)
	first.release()
	if code := first.end(); code != 130 {
		t.Errorf("exit code %d\n%s", code, first.log)
	}
	if _, err := os.Stat(h.path("report", "report.html")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unfinished study wrote its report: %v", err)
	}
	resumed := h.ok(args...)
	if strings.HasPrefix(resumed.stdout, "0 comparisons found") || strings.Contains(resumed.stdout, " 0 made") {
		t.Errorf("it did not go on where it was:\n%s", resumed.stdout)
	}
	h.ok(append(args[:len(args)-1], "whole", "--state", h.path("another"))...)
	if !bytes.Equal(read(t, h.path("report", "table1.csv")), read(t, h.path("whole", "table1.csv"))) {
		t.Error("the table of the resumed study is not that of a whole one")
	}
}

// Missing data sets and models are named in the report and set the exit code; the rest is made.
func TestPaperNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 2, 60, 40)
	study := h.study("study.json", map[string]string{"UDH": "nosuch", "LSB-4+ChaCha20": cipherModel()}, "")
	r := h.run("paper", "--data", "ImageNet=photos", "--data", "COCO=nowhere", "--study", study, "--size", "32", "--out", "report")
	r.want(t, 1)
	md := string(read(t, h.path("report", "report.md")))
	for _, want := range []string{"COCO", "nosuch", "make table1"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("the command does not say %q:\n%s", want, r.stderr)
		}
		if !strings.Contains(md, want) {
			t.Errorf("report.md does not say %q", want)
		}
	}
}

func TestPaperErrors(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 2, 60, 40)
	h.write("bad.json", []byte(`{"table9":[]}`))
	h.write("empty.json", []byte(`{}`))
	good := h.study("study.json", map[string]string{"LSB-4+ChaCha20": cipherModel()}, "")
	before := h.tree()
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"no name":        {[]string{"--data", "photos", "--study", good}, []string{"NAME=PLACE"}},
		"nothing there":  {[]string{"--data", "COCO=nowhere", "--study", good}, []string{"none of the data sets is there", "nowhere"}},
		"no study":       {[]string{"--data", "A=photos"}, []string{"study.json", "--study"}},
		"unknown field":  {[]string{"--data", "A=photos", "--study", "bad.json"}, []string{"bad.json", "table9"}},
		"an empty study": {[]string{"--data", "A=photos", "--study", "empty.json"}, []string{"empty.json", "names no models"}},
		"no such file":   {[]string{"--data", "A=photos", "--study", "none.json"}, []string{"none.json"}},
	} {
		r := h.run(append([]string{"paper", "--out", "report"}, c.args...)...)
		if r.code != 2 {
			t.Errorf("%s: exit code %d", name, r.code)
		}
		for _, want := range c.want {
			if !strings.Contains(r.stderr, want) {
				t.Errorf("%s: no %q in\n%s", name, want, r.stderr)
			}
		}
	}
	h.wantUnchanged(before, "a study that cannot be made")
}
