package e2e

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"stegomq/study"
)

func TestModels(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	root := h.mkdir("models")
	for _, name := range []string{"good", "bad"} {
		must(t, os.CopyFS(filepath.Join(root, name), os.DirFS(filepath.Join(tinyModels(), "tiny"))))
	}
	if list := h.ok("models", "list", "--models", root).stdout; !strings.Contains(list, "good") || !strings.Contains(list, "bad") || !strings.Contains(list, "no ") {
		t.Errorf("models list:\n%s", list)
	}
	h.ok("models", "verify", "--models", root)
	if out := h.ok("models", "verify").stdout; !strings.Contains(out, "tiny: ok") {
		t.Errorf("models verify:\n%s", out)
	}
	graph := filepath.Join(root, "bad", "recover.onnx")
	must(t, os.Truncate(graph, 100))
	h.run("models", "verify", "--models", root).wantError(t, 2, "recover.onnx")
	h.run("models", "verify", "nosuch").wantError(t, 2, "nosuch", "tiny")
	must(t, os.WriteFile(filepath.Join(root, "bad", "manifest.json"), []byte("{"), 0o644))
	if list := h.ok("models", "list", "--models", root).stdout; !strings.Contains(list, "unreadable") || !strings.Contains(list, "good") {
		t.Errorf("models list:\n%s", list)
	}
}

// wantError checks the exit code and the words of the last line.
func (r result) wantError(t *testing.T, code int, words ...string) {
	t.Helper()
	r.want(t, code)
	for _, word := range words {
		if !strings.Contains(r.stderr, word) {
			t.Errorf("the error does not say %q:\n%s", word, r.stderr)
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 48, 48)
	h.ok("evaluate", "--data", "photos", "--size", "32", "--run", "first", "--out", "one")
	h.ok("evaluate", "--data", "photos", "--size", "24", "--run", "second", "--out", "two")
	r := h.ok("report", "first", "--json", "--out", "three")
	want, got := h.summary("one"), strictSummary(t, []byte(r.stdout))
	// What is of the command and not of the run.
	want.Cache, want.ElapsedSeconds, want.ItemsPerSecond = study.CacheUse{}, 0, 0
	got.Cache, got.ElapsedSeconds, got.ItemsPerSecond = study.CacheUse{}, 0, 0
	if !reflect.DeepEqual(want, got) {
		t.Errorf("report %+v\nevaluate %+v", got, want)
	}
	if string(read(t, h.path("one", "items.csv"))) != string(read(t, h.path("three", "items.csv"))) {
		t.Error("items.csv of the report differs")
	}
	if out := h.ok("report", "second").stdout; !strings.Contains(out, "run second") || !strings.Contains(out, "Recoverability") {
		t.Errorf("report second:\n%s", out)
	}
	if out := h.ok("report").stdout; !strings.Contains(out, "first") || !strings.Contains(out, "second") {
		t.Errorf("the list of runs:\n%s", out)
	}
	h.run("report", "secund").wantError(t, 2, "secund", "second")
	// One name, one specification.
	h.run("evaluate", "--data", "photos", "--size", "40", "--run", "first").wantError(t, 2, "first", "geometry", "--run")
}

func TestDoctorAndVersion(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	out := h.ok("doctor").stdout
	for _, word := range []string{"ONNX Runtime", "cpu: available", "tiny", "redis", "nats", "GiB free", "embedded", "all is well"} {
		if !strings.Contains(out, word) {
			t.Errorf("doctor does not say %q:\n%s", word, out)
		}
	}
	if strings.Contains(out, "PROBLEM") {
		t.Errorf("doctor found a problem:\n%s", out)
	}
	sick := h.run("doctor", "--ort-lib", "nowhere.so", "--nats", closedPort("nats"), "--redis", closedPort("redis"))
	sick.wantError(t, 1, "problems: 3")
	if n := strings.Count(sick.stdout, "PROBLEM"); n != 3 || !strings.Contains(sick.stdout, "nowhere.so") || !strings.Contains(sick.stdout, "tiny") {
		t.Errorf("doctor names %d problems, want 3 and what is well:\n%s", n, sick.stdout)
	}
	if r := h.run("doctor", "--ort-lib", "nowhere.so"); r.code != 1 || !strings.Contains(r.stdout, "nowhere.so") {
		t.Errorf("doctor without a library: exit code %d\n%s", r.code, r.stdout)
	}

	if out := h.ok("version").stdout; strings.TrimSpace(out) != "stegomq "+programVersion {
		t.Errorf("version: %q", out)
	}
	if out := h.ok("--version").stdout; !strings.Contains(out, programVersion) {
		t.Errorf("--version: %q", out)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out := h.ok("completion", shell).stdout; !strings.Contains(out, "stegomq") {
			t.Errorf("completion %s:\n%.200s", shell, out)
		}
	}
	help := h.ok("--help").stdout
	for _, command := range []string{"evaluate", "embed", "recover", "purify", "up", "producer", "gpuworker", "evaluator", "keys", "models", "report", "runs", "dead", "tail", "serve", "users", "doctor", "version", "completion"} {
		if !strings.Contains(help, "\n  "+command+" ") {
			t.Errorf("the help has no %s", command)
		}
	}
}

// Flags come from the command, the environment and the configuration file, in this order.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 2, 48, 48)
	size := func(args ...string) int {
		t.Helper()
		r := h.ok(append([]string{"evaluate", "--data", "photos", "--json"}, args...)...)
		return strictSummary(t, []byte(r.stdout)).Geometry.Width
	}
	h.write("stegomq.yaml", []byte("size: 20\nkeys: 1\nmodels: ["+tinyModels()+"]\nlog-level: error\nnats-listen: 127.0.0.1:0\n"))
	if got := size("--config", "stegomq.yaml"); got != 20 {
		t.Errorf("the size of the configuration file is not used: %d", got)
	}
	h.env = append(h.env, "STEGOMQ_SIZE=24")
	if got := size("--config", "stegomq.yaml"); got != 24 {
		t.Errorf("the size of the environment is not used: %d", got)
	}
	if got := size("--config", "stegomq.yaml", "--size", "28"); got != 28 {
		t.Errorf("the size of the command is not used: %d", got)
	}
	h.env = append(h.env, "STEGOMQ_SIZE=large")
	h.run("evaluate", "--data", "photos").wantError(t, 2, "STEGOMQ_SIZE", "large")
	h.env = h.env[:len(h.env)-2]

	h.write("bad.yaml", []byte("size: 20\ncolour: red\n"))
	h.run("evaluate", "--data", "photos", "--config", "bad.yaml").wantError(t, 2, "bad.yaml", "colour")
	h.write("bad.yaml", []byte("size: [\n"))
	h.run("evaluate", "--data", "photos", "--config", "bad.yaml").wantError(t, 2, "bad.yaml")
	h.write("bad.yaml", []byte("size: {width: 3}\n"))
	h.run("evaluate", "--data", "photos", "--config", "bad.yaml").wantError(t, 2, "bad.yaml", "size")
	h.write("bad.yaml", []byte("size: tiny\n"))
	h.run("evaluate", "--data", "photos", "--config", "bad.yaml").wantError(t, 2, "bad.yaml", "size", "tiny")
	h.run("evaluate", "--data", "photos", "--config", "nowhere.yaml").wantError(t, 2, "nowhere.yaml")
	// Required flags may come from there as well.
	h.write("whole.yaml", []byte("data: photos\nsize: 20\nout: from-config\n"))
	h.ok("evaluate", "--config", "whole.yaml")
	wantCounts(t, h.summary("from-config"), h.items("from-config"), 1, 2, 1, 0)
}

// tail shows messages as they are sent, and ends without an error.
func TestTail(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 2, 48, 48)
	up := h.start("up", "--nats-listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0")
	ready := up.await(`ready: --nats (\S+) --redis (\S+)`)
	tail := h.start("tail", "--nats", ready[1])
	seen := func(result) bool {
		return strings.Contains(tail.log.String(), "job.interactive.main.") && strings.Contains(tail.log.String(), "result.main.")
	}
	// It shows what is sent after it has come up, and nobody is told when that is.
	h.eventually("a job and a result", seen, "embed", "--key", "demo-1", "--cover", "photos/00.jpg", "--secret", "photos/01.png", "-o", "stego.png", "--nats", ready[1], "--redis", ready[2])
	tail.signal(os.Interrupt)
	if code := tail.end(); code != 0 {
		t.Errorf("exit code of tail: %d\n%s", code, tail.log)
	}
	up.signal(syscall.SIGINT)
	if code := up.end(); code != 0 {
		t.Errorf("exit code of up after SIGINT: %d\n%s", code, up.log)
	}
}
