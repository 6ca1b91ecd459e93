package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"stegomq/internal/testrig/collector"
)

// traced starts a role as a process of its own that sends its spans to a collector, under its own name.
func (h *home) traced(c *collector.Collector, args ...string) *process {
	h.t.Helper()
	mine := *h
	mine.env = append(slices.Clone(h.env), "OTEL_EXPORTER_OTLP_ENDPOINT="+c.Address, "OTEL_SERVICE_NAME="+args[0], "OTEL_RESOURCE_ATTRIBUTES=deployment=e2e",
		"OTEL_EXPORTER_OTLP_COMPRESSION=gzip", "OTEL_BSP_SCHEDULE_DELAY=100",
		"OTEL_EXPORTER_OTLP_TIMEOUT=180000", "OTEL_BSP_EXPORT_TIMEOUT=180000") // what is sent too late is lost
	return mine.start(args...)
}

// A request to a service is one trace through the processes that serve it, and a run is one trace through three of them. Each process gets the
// collector from its environment only.
func TestTraceThroughProcesses(t *testing.T) {
	t.Parallel()
	h := newUserHome(t)
	h.photographs("photos", 2, 64, 64)
	h.ok("keys", "new", "alice")
	must(t, os.CopyFS(h.path("models", "sealed"), os.DirFS(shippedModels()+"/sealed")))
	c := collector.Start(t)
	h.env = append(h.env, "STEGOMQ_MODELS="+h.path("models"))
	flags := servers(t)
	for _, role := range [][]string{{"evaluator"}, {"gpuworker", "--slots", "1"}} {
		h.traced(c, append(role, flags...)...).await("(?m)^ready$")
	}
	serve := h.traced(c, append([]string{"serve", "--http", "127.0.0.1:0", "--datasets", "photos=" + h.path("photos")}, flags...)...)
	url, token := serve.await(`HTTP at (http://\S+)`)[1], serve.await(`token (stegomq_\S+) `)[1]
	serve.await("(?m)^ready")

	status, body := ask(t, http.MethodPost, url+"/v1/embed", token, map[string][]byte{
		"key": []byte("alice"), "cover": encodePNG(t, picture(1, 90, 70)), "secret": encodePNG(t, picture(2, 90, 70)),
	})
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	run := h.askForRun(url, token, `{"dataset": "photos", "model": "sealed", "keys": ["alice"], "size": 64, "limit": 1, "random_keys": 0}`)

	// Each process sends its spans by itself, so that any of them can be the last to come.
	want := []string{
		"serve:POST /v1/embed > serve:request > serve:publish job > gpuworker:process job > gpuworker:publish result",
		"serve:POST /v1/runs",
		"serve:evaluate > serve:publish job > gpuworker:process job > gpuworker:inference",
		"serve:evaluate > serve:publish job > gpuworker:process job > gpuworker:publish result > evaluator:process result > evaluator:score",
		"serve:evaluate > serve:publish job > gpuworker:process job > gpuworker:publish job > gpuworker:process job > gpuworker:publish result > evaluator:process result > evaluator:score",
	}
	spans := c.Until(t, "the spans of all processes", func(spans []collector.Span) bool {
		for _, s := range spans {
			lineage := lineageOf(s, spans)
			want = slices.DeleteFunc(want, func(l string) bool { return l == lineage })
		}
		return len(want) == 0 && !slices.ContainsFunc(collector.Edges(spans), func(e string) bool { return strings.HasPrefix(e, "?") })
	})
	began := make(map[string]collector.Span)
	for _, s := range spans {
		began[s.ID] = s
	}
	for _, s := range spans {
		if parent, ok := began[s.Parent]; ok && (parent.Trace != s.Trace || parent.Start > s.Start) {
			t.Errorf("%s of the trace %s began at %d, and its parent %s of %s at %d", s.Name, s.Trace, s.Start, parent.Name, parent.Trace, parent.Start)
		}
	}
	made, asked := collector.Named(spans, "evaluate")[0], collector.Named(spans, "POST /v1/runs")[0]
	if made.Attributes["stegomq.run"] != run || !slices.Equal(made.Links, []string{asked.Trace}) {
		t.Errorf("the run %s is %+v, the request %+v", run, made, asked)
	}
	for _, s := range spans {
		if s.Resource["deployment"] != "e2e" || s.Resource["service.version"] != programVersion {
			t.Fatalf("%s is of %v", s.Name, s.Resource)
		}
	}
}

// askForRun asks a service for a run, and gives its id.
func (h *home) askForRun(url, token, body string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/runs", strings.NewReader(body))
	must(h.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	must(h.t, err)
	defer func() { _ = resp.Body.Close() }()
	var run struct{ ID, Detail string }
	must(h.t, json.NewDecoder(resp.Body).Decode(&run))
	if resp.StatusCode != http.StatusCreated {
		h.t.Fatalf("%d %s", resp.StatusCode, run.Detail)
	}
	return run.ID
}

// lineageOf is the path from a root to a span, as "process:name > process:name".
func lineageOf(s collector.Span, spans []collector.Span) string {
	way := s.Resource["service.name"] + ":" + s.Name
	if i := slices.IndexFunc(spans, func(parent collector.Span) bool { return parent.ID == s.Parent }); i >= 0 {
		return lineageOf(spans[i], spans) + " > " + way
	}
	return way
}
