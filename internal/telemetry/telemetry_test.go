package telemetry

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stegomq/internal/testrig/leaks"
)

// write makes the test write the reference again: make generate.
var write = flag.Bool("write", false, "write docs/metrics.md")

func TestMain(m *testing.M) { leaks.Main(m) }

// patience bounds every wait.
const patience = 3 * time.Minute

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// serve runs a server until the test ends, and returns its base URL.
func serve(t *testing.T, m *Metrics, checks map[string]Check) string {
	t.Helper()
	s, err := NewServer("127.0.0.1:0", m, checks, quietLog())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return "http://" + s.Addr()
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	status, body, err := fetch(url)
	if err != nil {
		t.Fatal(err)
	}
	return status, body
}

func fetch(url string) (status int, body string, err error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	r, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r.StatusCode, string(b), err
}

// samples reads the text format: the name with its labels, and the value.
func samples(t *testing.T, url string) map[string]float64 {
	t.Helper()
	status, body := get(t, url+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics: status %d: %s", status, body)
	}
	values := make(map[string]float64)
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || at < 0 {
			continue
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		values[line[:at]] = v
	}
	return values
}

// count has every metric count something.
func count(m *Metrics) {
	m.JobStarted("embed")
	m.JobStarted("embed")
	m.JobDone(context.Background(), "embed", "done", 64, 0, 30*time.Millisecond)
	m.JobStarted("recover")
	m.JobDone(context.Background(), "recover", "dead", 3, 0, 2*time.Second)
	m.JobStarted("recover")
	m.JobDone(context.Background(), "recover", "done", 5, 4, time.Second)
	m.Waited(context.Background(), "embed", "interactive", 3*time.Millisecond)
	m.Waited(context.Background(), "score", "bulk", 24*time.Hour)
	m.Ended(context.Background(), "embed", "interactive", 40*time.Millisecond)
	m.ScoresWritten(7)
	m.ScoresWritten(5)
	m.DeadLetter("bad_image")
	m.Unexpected()
	m.Answered(context.Background(), "GET /v1/jobs/{id}", 404, 20*time.Millisecond)
	m.WatchWeights(func() WeightsStats { return WeightsStats{Hits: 10, Misses: 2, Bytes: 4096} })
	m.WatchMemos("outputs", func() (int64, int64) { return 21, 22 })
	m.WatchMemos("images", func() (int64, int64) { return 31, 32 })
}

// The reference has every metric that the program registers.
func TestReference(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	count(m)
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString(`# Metrics

Every role serves these at /metrics with ` + "`--metrics HOST:PORT`" + `. ` + "`make generate`" + ` writes this file from the registered metrics; a test fails
when it is stale. The metrics of the Go runtime (go_...) and of the process (process_...) are those of
[client_golang](https://pkg.go.dev/github.com/prometheus/client_golang/prometheus/collectors). No label has a value for
each key, image, run or user. Histograms have _bucket, _sum and _count. [Dashboard](../ops/grafana/stegomq.json),
[alerts](../ops/prometheus/alerts.yaml).

| metric | type | labels | what it is |
|---|---|---|---|
`)
	listed := make(map[string]bool)
	for _, family := range families {
		name := family.GetName()
		if !strings.HasPrefix(name, "stegomq_") {
			continue
		}
		listed[name] = true
		var labels []string
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, label.GetName())
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, strings.ToLower(family.GetType().String()), strings.Join(labels, ", "), family.GetHelp())
	}
	// What nobody counted is gathered as nothing.
	descriptions := make(chan *prometheus.Desc)
	go func() { defer close(descriptions); m.registry.Describe(descriptions) }()
	named := regexp.MustCompile(`fqName: "(stegomq_[a-z_]+)"`)
	described := make(map[string]bool)
	for d := range descriptions {
		if found := named.FindStringSubmatch(d.String()); found != nil {
			described[found[1]] = true
		}
	}
	if !maps.Equal(listed, described) {
		t.Errorf("the reference has %v, and the program registers %v", slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(described)))
	}
	const path = "../../docs/metrics.md"
	if *write {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if committed, err := os.ReadFile(path); err != nil || !bytes.Equal(committed, b.Bytes()) {
		t.Errorf("docs/metrics.md is stale: run make generate (%v)", err)
	}
}

func TestMetricsCount(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	url := serve(t, m, nil)
	count(m)
	got := samples(t, url)
	for name, want := range map[string]float64{
		`stegomq_jobs_in_flight{operation="embed"}`:                                            1,
		`stegomq_jobs_in_flight{operation="recover"}`:                                          0,
		`stegomq_jobs_total{operation="embed",outcome="done"}`:                                 1,
		`stegomq_jobs_total{operation="recover",outcome="dead"}`:                               1,
		`stegomq_items_total{operation="embed",outcome="done"}`:                                64,
		`stegomq_items_total{operation="recover",outcome="dead"}`:                              3,
		`stegomq_items_total{operation="recover",outcome="done"}`:                              1,
		`stegomq_items_total{operation="recover",outcome="refused"}`:                           4,
		`stegomq_job_seconds_count{operation="embed"}`:                                         1,
		`stegomq_job_seconds_sum{operation="recover"}`:                                         3,
		`stegomq_job_seconds_bucket{operation="embed",le="0.025"}`:                             0,
		`stegomq_job_seconds_bucket{operation="embed",le="0.05"}`:                              1,
		`stegomq_job_seconds_bucket{operation="recover",le="+Inf"}`:                            2,
		`stegomq_queue_wait_seconds_bucket{class="interactive",operation="embed",le="0.0025"}`: 0,
		`stegomq_queue_wait_seconds_bucket{class="interactive",operation="embed",le="0.005"}`:  1,
		`stegomq_queue_wait_seconds_bucket{class="bulk",operation="score",le="7200"}`:          0,
		`stegomq_queue_wait_seconds_bucket{class="bulk",operation="score",le="86400"}`:         1,
		`stegomq_end_to_end_seconds_count{class="interactive",operation="embed"}`:              1,
		`stegomq_end_to_end_seconds_sum{class="interactive",operation="embed"}`:                0.04,
		`stegomq_scores_written_total`:                                                         12,
		`stegomq_dead_letters_total{reason="bad_image"}`:                                       1,
		`stegomq_unexpected_total`:                                                             1,
		`stegomq_http_requests_total{route="GET /v1/jobs/{id}",status="404"}`:                  1,
		`stegomq_http_request_seconds_sum{route="GET /v1/jobs/{id}"}`:                          0.02,
		`stegomq_weights_cache_hits_total`:                                                     10,
		`stegomq_weights_cache_misses_total`:                                                   2,
		`stegomq_weights_cache_bytes`:                                                          4096,
		`stegomq_memo_hits_total{kind="outputs"}`:                                              21,
		`stegomq_memo_misses_total{kind="outputs"}`:                                            22,
		`stegomq_memo_hits_total{kind="images"}`:                                               31,
		`stegomq_memo_misses_total{kind="images"}`:                                             32,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s = %v (there: %v), want %v", name, v, ok, want)
		}
	}
	if got["go_goroutines"] == 0 {
		t.Error("the Go runtime's metrics are missing")
	}
}

// If a caller passes a value per key, or per file, these must not become time series.
func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	url := serve(t, m, nil)
	var wg sync.WaitGroup
	for i := range 4 * maxValues {
		wg.Go(func() {
			operation := fmt.Sprint("key-", i)
			m.JobStarted(operation)
			m.JobDone(context.Background(), operation, fmt.Sprint("image-", i), 1, 0, time.Second)
			m.DeadLetter(fmt.Sprint("run-", i))
		})
	}
	wg.Wait()
	for i := range 4 * maxValues {
		m.Waited(context.Background(), "key-0", fmt.Sprint("class-", i), time.Second)
		m.Ended(context.Background(), "key-0", fmt.Sprint("class-", i), time.Second)
	}
	series := make(map[string]int)
	var jobs, inFlight, dead float64
	for name, v := range samples(t, url) {
		metric, _, _ := strings.Cut(name, "{")
		series[metric]++
		switch metric {
		case "stegomq_jobs_total":
			jobs += v
		case "stegomq_jobs_in_flight":
			inFlight += v
		case "stegomq_dead_letters_total":
			dead += v
		}
	}
	if n := series["stegomq_jobs_in_flight"]; n != maxValues+1 {
		t.Errorf("%d operations, want %d", n, maxValues+1)
	}
	for _, name := range []string{"stegomq_queue_wait_seconds_count", "stegomq_end_to_end_seconds_count"} {
		if n := series[name]; n != maxValues+1 {
			t.Errorf("%s: %d classes, want %d", name, n, maxValues+1)
		}
	}
	if n := series["stegomq_dead_letters_total"]; n != maxValues+1 {
		t.Errorf("%d reasons, want %d", n, maxValues+1)
	}
	if jobs != 4*maxValues || inFlight != 0 || dead != 4*maxValues {
		t.Errorf("%v jobs, %v in flight, %v dead letters, want %d, 0, %[4]d", jobs, inFlight, dead, 4*maxValues)
	}
}

func TestNilMetricsDoNothing(t *testing.T) {
	t.Parallel()
	var m *Metrics
	m.JobStarted("embed")
	m.JobDone(context.Background(), "embed", "done", 1, 0, time.Second)
	m.Waited(context.Background(), "embed", "bulk", time.Second)
	m.Ended(context.Background(), "embed", "bulk", time.Second)
	m.ScoresWritten(1)
	m.DeadLetter("bad_image")
	m.Unexpected()
	m.Answered(context.Background(), "GET /", 200, time.Second)
	m.WatchWeights(func() WeightsStats { t.Error("asked"); return WeightsStats{} })
	m.WatchMemos("outputs", func() (int64, int64) { t.Error("asked"); return 0, 0 })
}

func TestHealth(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var broken error
	url := serve(t, NewMetrics(), map[string]Check{
		"nats": func(context.Context) error { mu.Lock(); defer mu.Unlock(); return broken },
		"redis": func(ctx context.Context) error {
			if _, ok := ctx.Deadline(); !ok {
				return errors.New("no deadline")
			}
			return nil
		},
	})
	if status, body := get(t, url+"/readyz"); status != http.StatusOK || body != "ready\n" {
		t.Errorf("/readyz: %d %q", status, body)
	}
	mu.Lock()
	broken = errors.New("no servers available")
	mu.Unlock()
	if status, body := get(t, url+"/readyz"); status != http.StatusServiceUnavailable || body != "nats: no servers available\n" {
		t.Errorf("/readyz with a failing check: %d %q", status, body)
	}
	if status, body := get(t, url+"/healthz"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz: %d %q", status, body)
	}
	if status, _ := get(t, url+"/"); status != http.StatusNotFound {
		t.Errorf("/: status %d", status)
	}
	if _, body := get(t, url+"/metrics"); !strings.Contains(body, "go_sched_latencies_seconds_bucket") || !strings.Contains(body, "go_gc_") {
		t.Error("/metrics has nothing of the scheduler and the garbage collector")
	}
	for _, profile := range []string{"goroutine", "heap", "allocs", "mutex", "block"} {
		if status, body := get(t, url+"/debug/pprof/"+profile+"?debug=1"); status != http.StatusOK || body == "" {
			t.Errorf("profile %s: status %d, %d bytes", profile, status, len(body))
		}
	}
	if status, _ := get(t, url+"/debug/pprof/cmdline"); status != http.StatusNotFound {
		t.Errorf("the command line is served: status %d", status)
	}
}

// A request in progress gets its answer although the server stops.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	s, err := NewServer("127.0.0.1:0", NewMetrics(), map[string]Check{
		"slow": func(context.Context) error { close(entered); <-leave; return nil },
	}, quietLog())
	if err != nil {
		t.Fatal(err)
	}
	s.stop = patience // the request is in progress for as long as this test looks at it
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	answer := make(chan string, 1)
	go func() {
		_, body, err := fetch("http://" + s.Addr() + "/readyz")
		answer <- fmt.Sprint(body, err)
	}()
	<-entered
	cancel()
	// Once new connections are refused the server is stopping, with the request still in progress.
	for deadline := time.Now().Add(patience); ; {
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			break
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("the server still takes connections")
		}
	}
	select {
	case err := <-done:
		t.Fatalf("Run returned %v with a request in progress", err)
	default:
	}
	close(leave)
	if body := <-answer; body != "ready\n<nil>" {
		t.Errorf("the request in progress got %q", body)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestTakenAddress(t *testing.T) {
	t.Parallel()
	url := serve(t, NewMetrics(), nil)
	addr := strings.TrimPrefix(url, "http://")
	if _, err := NewServer(addr, NewMetrics(), nil, quietLog()); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("a taken address: %v", err)
	}
}

func TestLogger(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	log, err := NewLogger(&b, "warn", "json")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("not shown")
	log.Warn("shown", "jobs", 3)
	var line struct {
		Level, Msg string
		Jobs       int
	}
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatalf("%q: %v", b.String(), err)
	}
	if line.Level != "WARN" || line.Msg != "shown" || line.Jobs != 3 {
		t.Errorf("logged %+v", line)
	}

	for _, format := range []string{"", "auto", "text", "TEXT"} { // a buffer is no terminal
		b.Reset()
		log, err := NewLogger(&b, "", format)
		if err != nil {
			t.Fatal(err)
		}
		log.Debug("not shown")
		log.Info("shown", "jobs", 3)
		if got := b.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `level=INFO msg=shown jobs=3`) {
			t.Errorf("format %q wrote %q", format, got)
		}
	}
}

func TestTerminalLog(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		var b bytes.Buffer
		log := slog.New(terminalHandler(&b, slog.LevelInfo, plain))
		log.Debug("not shown")
		log.Info("shown", "jobs", 3)
		got := b.String()
		if strings.Contains(got, "not shown") || !strings.Contains(got, "shown") {
			t.Errorf("plain %v: wrote %q", plain, got)
		}
		if coloured := strings.Contains(got, "\x1b["); coloured == plain {
			t.Errorf("plain %v: wrote %q", plain, got)
		}
	}
}

func TestLoggerRefuses(t *testing.T) {
	t.Parallel()
	if _, err := NewLogger(io.Discard, "loud", ""); !errors.Is(err, ErrLevel) || !strings.Contains(err.Error(), "debug, info, warn or error") {
		t.Errorf("level loud: %v", err)
	}
	if _, err := NewLogger(io.Discard, "", "xml"); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "auto, text or json") {
		t.Errorf("format xml: %v", err)
	}
	if _, err := NewLogger(io.Discard, "info+2", ""); err != nil {
		t.Errorf("level info+2: %v", err)
	}
}
