//go:build !race

// What documents say is not a matter of concurrency, and a cold process under the race detector takes many times as long.

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	block  = regexp.MustCompile("(?ms)^```(?:sh)?\n(.*?)^```$")
	remark = regexp.MustCompile(`\s+#\s.*$`)
)

// lines are what a block tells to type: without remarks, with continued lines joined.
func lines(text string) []string {
	var all []string
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		if line = strings.TrimSpace(remark.ReplaceAllString(strings.TrimSuffix(line, "\n"), "")); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// The tutorial does what it says, line by line. A block without a command is what the line before it printed, and that line fails.
func TestTutorial(t *testing.T) {
	t.Parallel()
	h := newUserHome(t)
	h.env = append(h.env, "STEGOMQ_ORT_LIB="+ortLibrary, "STEGOMQ_STATE="+h.path("state"))
	must(t, os.MkdirAll(h.path(".cache"), 0o755))
	must(t, os.Symlink(samples(t), h.path(".cache", "photos")))
	h.typed(filepath.Join(repository, "docs", "tutorial.md"))
	for _, name := range []string{"stego.png", "secret.png", "for-alice.png", "results/report.md", "results/items.csv", "results-modulo/summary.json"} {
		if _, err := os.Stat(h.path(name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(h.path("nothing.png")); err == nil {
		t.Error("bob has an image")
	}
}

// The commands of README's second use are run as they stand there.
func TestReadmeEmbeds(t *testing.T) {
	t.Parallel()
	h := newUserHome(t)
	for name, photograph := range map[string]string{"c.jpg": "black-canyon.jpg", "s.jpg": "acanthus-mollis.jpg"} {
		h.write(name, read(t, filepath.Join(samples(t), photograph)))
	}
	text := string(read(t, filepath.Join(repository, "README.md")))
	_, text, _ = strings.Cut(text, "\nEmbed and recover images:\n")
	text, _, _ = strings.Cut(text, "\nRun a service")
	for _, line := range lines(block.FindStringSubmatch(text)[1]) {
		if out, err := h.shell(line); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	if _, err := os.Stat(h.path("secret.png")); err != nil {
		t.Error(err)
	}
}

// typed runs what a document tells to type, but for `make` and `export`.
func (h *home) typed(file string) {
	h.t.Helper()
	var last, output string
	var failed error
	n := 0
	end := func(want string) {
		h.t.Helper()
		switch {
		case want == "" && failed != nil:
			h.t.Fatalf("%s: %v\n%s", last, failed, output)
		case want != "" && (failed == nil || !strings.Contains(output, strings.TrimSpace(want))):
			h.t.Fatalf("%s: %v, and printed %q; the document says %q", last, failed, output, want)
		}
		failed = nil
	}
	for _, m := range block.FindAllStringSubmatch(string(read(h.t, file)), -1) {
		typed := lines(m[1])
		if !slices.ContainsFunc(typed, func(l string) bool { return regexp.MustCompile(`^(stegomq|make|cp) `).MatchString(l) }) {
			end(m[1])
			continue
		}
		for _, line := range typed {
			end("")
			if strings.HasPrefix(line, "make ") || strings.HasPrefix(line, "export ") {
				continue
			}
			last = line
			output, failed = h.shell(line)
			n++
		}
	}
	end("")
	if n < 8 {
		h.t.Fatalf("%s: %d lines were run", file, n)
	}
}

// shell runs a line as a user types it, with the program on the PATH.
func (h *home) shell(line string) (output string, err error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Dir = h.dir
	cmd.Env = append(slices.Clone(h.env), fmt.Sprintf("PATH=%s:%s", filepath.Dir(program), os.Getenv("PATH")))
	out, err := cmd.CombinedOutput()
	return string(out), err
}
