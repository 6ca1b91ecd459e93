//go:build !race

// The documents' commands do not test concurrency, and a cold process under the race detector takes many times as long.

package e2e

import (
	"context"
	"fmt"
	"net/http"
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

// lines are the lines of a block to type: without remarks, with continued lines joined.
func lines(text string) []string {
	var all []string
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		if line = strings.TrimSpace(remark.ReplaceAllString(strings.TrimSuffix(line, "\n"), "")); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// The tutorial works line by line. A block without a command is the output of the line before it, and that line fails.
func TestTutorial(t *testing.T) {
	t.Parallel()
	h := newUserHome(t)
	h.env = append(h.env, "STEGOMQ_ORT_LIB="+ortLibrary, "STEGOMQ_STATE="+h.path("state"))
	must(t, os.MkdirAll(h.path(".cache"), 0o755))
	must(t, os.Symlink(samples(t), h.path(".cache", "photos")))
	h.typed(filepath.Join(repository, "docs", "tutorial.md"))
	h.has("stego.png", "secret.png", "for-alice.png", "results/report.md", "results/items.csv", "results-modulo/summary.json")
	if _, err := os.Stat(h.path("nothing.png")); err == nil {
		t.Error("bob has an image")
	}
}

// newReader makes a home of somebody who reads a document, with settings that it leaves open: c.jpg and s.jpg, and a folder photos that has both.
func newReader(t *testing.T, settings ...string) *home {
	t.Helper()
	h := newUserHome(t)
	h.env = append(append(h.env, "STEGOMQ_ORT_LIB="+ortLibrary), settings...)
	h.twoPhotographs()
	return h
}

func (h *home) twoPhotographs() {
	h.t.Helper()
	for name, photograph := range map[string]string{"c.jpg": "black-canyon.jpg", "s.jpg": "acanthus-mollis.jpg"} {
		h.write(name, read(h.t, filepath.Join(samples(h.t), photograph)))
		h.write("photos/"+name, read(h.t, filepath.Join(samples(h.t), photograph)))
	}
}

// anyPorts are the settings of servers at ports that are free, since tests run beside each other.
func anyPorts() []string {
	return []string{"STEGOMQ_NATS_LISTEN=127.0.0.1:0", "STEGOMQ_REDIS_LISTEN=127.0.0.1:0"}
}

// readme returns the lines of the first block of README after a heading sentence.
func readme(t *testing.T, after string) []string {
	t.Helper()
	return blockOf(t, "README.md", after)
}

// blockOf returns the lines of the first block of a document after a line.
func blockOf(t *testing.T, document, after string) []string {
	t.Helper()
	_, text, found := strings.Cut("\n"+string(read(t, filepath.Join(repository, document))), "\n"+after+"\n")
	m := block.FindStringSubmatch(text)
	if !found || m == nil {
		t.Fatalf("%s has no block after %q", document, after)
	}
	return lines(m[1])
}

// does runs lines as a user types them; all of them must succeed.
func (h *home) does(typed []string) {
	h.t.Helper()
	for _, line := range typed {
		if out, err := h.shell(line); err != nil {
			h.t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
}

// has wants files, or folders, to be there.
func (h *home) has(names ...string) {
	h.t.Helper()
	for _, name := range names {
		if _, err := os.Stat(h.path(name)); err != nil {
			h.t.Error(err)
		}
	}
}

// README's first use: evaluate, paper and audit, on one pair of photographs.
func TestReadmeEvaluates(t *testing.T) {
	t.Parallel()
	h := newReader(t)
	h.does(readme(t, "Evaluate a hiding method over a data set:"))
	h.has("results/summary.json", "results/items.csv", "results/report.html", "report/table1.csv", "report/report.html", "audit/audit.md", "audit/report.html")
}

// README's second use: embed and recover.
func TestReadmeEmbeds(t *testing.T) {
	t.Parallel()
	h := newUserHome(t)
	h.twoPhotographs()
	h.does(readme(t, "Embed and recover images:"))
	h.has("secret.png")
}

// How to embed and recover: single requests, and a stream of them.
func TestHowToEmbed(t *testing.T) {
	t.Parallel()
	h := newUserHome(t)
	h.twoPhotographs()
	h.write("requests.jsonl", []byte(`{"id":"1","key":"alice","cover":"c.jpg","secret":"s.jpg","out":"streamed.png"}`+"\n"))
	h.does(blockOf(t, "docs/embed.md", "# Embed and recover"))
	h.has("stego.png", "secret.png", "alice.json", "streamed.png")
}

// How to benchmark, with short measurements of small images. A first rate is given: on a busy machine a fifth of the fastest may begin no request.
func TestHowToBenchmark(t *testing.T) {
	t.Parallel()
	h := newUserHome(t)
	h.env = append(h.env, "STEGOMQ_ORT_LIB="+ortLibrary, "STEGOMQ_DURATION=1s", "STEGOMQ_WARM_UP=200ms", "STEGOMQ_STEPS=2", "STEGOMQ_SIZE=32",
		"STEGOMQ_FROM=20")
	typed := blockOf(t, "docs/benchmarks.md", "## Measure yours: `stegomq bench`")
	if !slices.ContainsFunc(typed, func(line string) bool { return strings.HasPrefix(line, "stegomq bench compare") }) {
		t.Fatal("docs/benchmarks.md compares nothing")
	}
	// The second report to compare is of a second benchmark. Both are of a number of requests: in a second a busy machine may begin none.
	first := []string{typed[0], strings.ReplaceAll(typed[0], " a.", " b.")}
	counted := *h
	counted.env = append(slices.DeleteFunc(slices.Clone(h.env), func(e string) bool { return strings.HasPrefix(e, "STEGOMQ_DURATION=") }), "STEGOMQ_REQUESTS=10")
	counted.does(first)
	h.does(typed[1:])
	h.has("a.json", "a.svg", "sweep.json", "sweep.svg")
}

// README's third use: a service, a user of it, a benchmark. The ports are any that are free, since tests run beside each other, and the
// benchmark is short: on a slow machine the requests of a long one would pile up for minutes.
func TestReadmeServes(t *testing.T) {
	t.Parallel()
	h := newReader(t, append(anyPorts(), "STEGOMQ_DURATION=3s", "STEGOMQ_WARM_UP=1s")...)
	h.ok("keys", "new", "alice")
	typed := readme(t, "Run a service for many users, and measure it:")
	const first = "stegomq up --http 127.0.0.1:8080"
	if typed[0] != first {
		t.Fatalf("README.md begins a service with %q, and this test with %q", typed[0], first)
	}
	up := h.start(strings.Fields(strings.Replace(first, "8080", "0", 1))[1:]...)
	url := up.await(`HTTP at (http://\S+)`)[1]
	up.await(`ready`)
	token, err := h.shell(typed[1])
	if err != nil {
		t.Fatalf("%s: %v\n%s", typed[1], err, token)
	}
	if status, body := ask(t, http.MethodGet, url+"/v1/keys", strings.TrimSpace(token), nil); status != http.StatusOK || !strings.Contains(string(body), "alice") {
		t.Errorf("the keys of the user: %d %s", status, body)
	}
	h.does(typed[2:])
	up.terminate()
}

// typed runs the commands that a document tells to type, except `make` and `export`.
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
