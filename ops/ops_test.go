// Package ops_test keeps the files of deployment true: they parse, the servers that they configure take them, and
// the flags and metrics that they name exist.
package ops_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"stegomq/internal/access"
	"stegomq/internal/telemetry"
)

// patience bounds every wait.
const patience = 3 * time.Minute

// program is the path of a program that make builds.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", ".bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run the tests by make test, or make build nats-server first", err)
	}
	return path
}

// files are the files below ops, but for the tools' module and what .gitignore names, with their texts.
func files(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path == "tools" || path == "keys" {
				return fs.SkipDir
			}
			return nil
		}
		if path == "ops_test.go" || path == "compose.env" {
			return nil
		}
		text, err := os.ReadFile(path)
		found[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 10 {
		t.Fatalf("only %d files of deployment found", len(found))
	}
	return found
}

func TestYAMLAndJSONParse(t *testing.T) {
	t.Parallel()
	for name, text := range files(t) {
		switch filepath.Ext(name) {
		case ".json":
			var v any
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case ".yaml":
			for i, doc := range documents(t, name, text) {
				if dir := filepath.Dir(name); dir == "." || dir == "prometheus" {
					continue // Kubernetes' have a kind
				}
				if doc["apiVersion"] == nil || doc["kind"] == nil {
					t.Errorf("%s: document %d has no apiVersion or kind", name, i+1)
				}
			}
		}
	}
}

func documents(t *testing.T, name, text string) []map[string]any {
	t.Helper()
	var docs []map[string]any
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var doc map[string]any
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		docs = append(docs, doc)
	}
}

// TestFlagsExist looks for every variable STEGOMQ_X and every --flag after a command's name in the help of the commands.
func TestFlagsExist(t *testing.T) {
	t.Parallel()
	flags := make(map[string]string)
	for _, role := range []string{"gpuworker", "evaluator", "serve", "users add"} {
		help, err := exec.Command(program(t, "stegomq"), append(strings.Fields(role), "--help")...).CombinedOutput()
		if err != nil {
			t.Fatalf("stegomq %s --help: %v\n%s", role, err, help)
		}
		flags[role] = string(help)
	}
	// Variables without a flag: the passphrase must not be an argument, and the others are those of the servers' configurations.
	others := []string{"STEGOMQ_KEYRING_PASSPHRASE", "STEGOMQ_NATS_PASSWORD", "STEGOMQ_NATS_PASSWORD_ALICE", "STEGOMQ_NATS_PASSWORD_BOB"}
	variable := regexp.MustCompile(`\bSTEGOMQ_[A-Z_]+\b`)
	command := regexp.MustCompile(`(?m)(?:\bstegomq |(?:command|args): \[)(gpuworker|evaluator|serve|users add)\b(.*)$`)
	flag := regexp.MustCompile(`--[a-z-]+`)
	checked := 0
	for name, text := range files(t) {
		for _, v := range variable.FindAllString(text, -1) {
			f := "--" + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(v, "STEGOMQ_"), "_", "-")) + " "
			if !slices.Contains(others, v) && !strings.Contains(flags["gpuworker"]+flags["evaluator"]+flags["serve"], f) {
				t.Errorf("%s names %s, and no role has the flag %s", name, v, f)
			}
			checked++
		}
		for _, c := range command.FindAllStringSubmatch(text, -1) {
			for _, f := range flag.FindAllString(c[2], -1) {
				if !strings.Contains(flags[c[1]], f+" ") {
					t.Errorf("%s gives %s the flag %s, which it does not have", name, c[1], f)
				}
				checked++
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d flags and variables found", checked)
	}
}

// exported are the series that the program's metrics have.
func exported() map[string]bool {
	m := telemetry.NewMetrics()
	m.JobStarted("embed")
	m.JobDone(context.Background(), "embed", "done", 1, 0, time.Second)
	m.ScoresWritten(1)
	m.DeadLetter("bad_image")
	m.Answered(context.Background(), "GET /v1/keys", http.StatusOK, time.Second)
	m.WatchWeights(func() telemetry.WeightsStats { return telemetry.WeightsStats{} })
	m.WatchMemos("outputs", func() (hits, misses int64) { return 0, 0 })
	m.Waited(context.Background(), "embed", "bulk", time.Second)
	m.Ended(context.Background(), "embed", "bulk", time.Second)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	names := make(map[string]bool)
	for line := range strings.Lines(w.Body.String()) {
		if end := strings.IndexAny(line, "{ "); end > 0 && line[0] != '#' {
			names[line[:end]] = true
		}
	}
	return names
}

// ours is the name of one of the program's metrics in an expression; not of a stream's, nor of a job.
var ours = regexp.MustCompile(`\bstegomq_[a-z_]+`)

func TestDashboardShowsMetricsThatExist(t *testing.T) {
	t.Parallel()
	exported := exported()
	text, err := os.ReadFile("grafana/stegomq.json")
	if err != nil {
		t.Fatal(err)
	}
	shown := ours.FindAllString(string(text), -1)
	for _, name := range shown {
		if !exported[name] {
			t.Errorf("the dashboard shows %s, which is no metric", name)
		}
	}
	for name := range exported {
		if strings.HasPrefix(name, "stegomq_") && !strings.HasSuffix(name, "_sum") && !strings.HasSuffix(name, "_count") && !slices.Contains(shown, name) {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// promtool runs Prometheus's own tool in a folder.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		path = program(t, "promtool")
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// The rules parse and do what they say on the series of their tests; the metrics and the sections of the runbook that they name exist.
func TestAlerts(t *testing.T) {
	t.Parallel()
	promtool(t, "prometheus", "check", "rules", "alerts.yaml")
	promtool(t, "prometheus", "test", "rules", "alerts_test.yaml")
	text, err := os.ReadFile("prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr string
				Annotations struct{ Summary, Runbook string }
			}
		}
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	runbook, err := os.ReadFile("runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := make(map[string]bool)
	for _, heading := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(string(runbook), -1) {
		anchor := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		sections["ops/runbook.md#"+strings.ReplaceAll(anchor, " ", "-")] = true
	}
	exported, seen := exported(), 0
	for _, group := range rules.Groups {
		for _, r := range group.Rules {
			seen++
			for _, name := range ours.FindAllString(r.Expr, -1) {
				if !exported[name] {
					t.Errorf("%s watches %s, which is no metric", r.Alert, name)
				}
			}
			if r.Annotations.Summary == "" || !sections[r.Annotations.Runbook] {
				t.Errorf("%s leads to %q, which is no section of the runbook", r.Alert, r.Annotations.Runbook)
			}
		}
	}
	if seen < 5 {
		t.Errorf("%d alerts", seen)
	}
}

// Every expression of the dashboard parses: as a rule, with what Grafana puts in.
func TestDashboardParses(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("grafana/stegomq.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	type group struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	}
	all := group{Name: "dashboard"}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*").Replace(target.Expr)
			all.Rules = append(all.Rules, rule{fmt.Sprintf("panel:%d", len(all.Rules)), expr})
		}
	}
	if len(all.Rules) < 20 {
		t.Fatalf("%d expressions", len(all.Rules))
	}
	rules, err := yaml.Marshal(map[string][]group{"groups": {all}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), rules, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, dir, "check", "rules", "rules.yaml")
}

func TestNATSTakesItsConfiguration(t *testing.T) {
	t.Parallel()
	check := func(env ...string) (string, error) {
		cmd := exec.Command(program(t, "nats-server"), "-t", "-c", "nats/nats.conf")
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := check("STEGOMQ_NATS_PASSWORD=secret"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := check(); err == nil {
		t.Errorf("the server takes the configuration without a password:\n%s", out)
	}
}

// What the operator's account offers is what grants import, in the configuration and in the example with users. The example's users have
// what access grant prints: package e2e compares them, and logs in.
func TestNATSExports(t *testing.T) {
	t.Parallel()
	words := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	for _, file := range []string{"nats/nats.conf", "nats/tenants.conf"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(words(string(text)), words(access.ExportsConfig())) {
			t.Errorf("%s has not these exports:\n%s", file, access.ExportsConfig())
		}
	}
}

// TestRedisTakesItsConfiguration starts the server on a socket and asks for the policies that scores rely on.
func TestRedisTakesItsConfiguration(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "redis") // t.TempDir's paths can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "redis.sock")
	cmd := exec.Command("redis-server", "redis/redis.conf", "--port", "0", "--unixsocket", socket, "--dir", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: make redis installs it", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })

	var log bytes.Buffer
	ready := make(chan bool, 1)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			fmt.Fprintln(&log, lines.Text())
			if strings.Contains(lines.Text(), "ready to accept connections") || strings.Contains(lines.Text(), "The server is now ready") {
				ready <- true
				_, _ = io.Copy(io.Discard, out)
				return
			}
		}
		ready <- false
	}()
	select {
	case ok := <-ready:
		if !ok {
			t.Fatalf("redis-server ended:\n%s", log.String())
		}
	case <-time.After(patience):
		t.Fatalf("redis-server is not ready after %v", patience)
	}

	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	for setting, want := range map[string]string{
		"maxmemory": "2147483648", "maxmemory-policy": "volatile-lru", "appendonly": "yes", "protected-mode": "yes",
	} {
		if _, err := fmt.Fprintf(conn, "CONFIG GET %s\r\n", setting); err != nil {
			t.Fatal(err)
		}
		var got string // the answer is *2, $n, the setting, $n, its value
		for range 5 {
			if got, err = answers.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if got = strings.TrimSpace(got); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
}
