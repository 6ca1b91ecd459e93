package service

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"stegomq/internal/keyring"
	"stegomq/internal/testrig/collector"
	"stegomq/internal/users"
	"stegomq/pipeline"
)

// tracedParts are a pipeline of its own, with one key, whose traces a collector takes.
func tracedParts(t *testing.T, key string) (Parts, keyring.Pair, *collector.Collector) {
	t.Helper()
	c := collector.Start(t)
	dir := t.TempDir()
	ring, models := filepath.Join(dir, "keyring.json"), filepath.Join(dir, "models")
	pair, err := keyring.Generate(key, time.Now())
	if err == nil {
		err = keyring.Update(ring, keyring.Protection{}, func(r *keyring.Keyring) error { return r.Add(pair) })
	}
	if err == nil {
		err = os.CopyFS(filepath.Join(models, "sealed"), os.DirFS("../models/sealed"))
	}
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	opts := pipeline.Options{
		Endpoints: pipeline.Endpoints{State: filepath.Join(dir, "state"), NATSListen: "127.0.0.1:0"}, Runtime: pipeline.Runtime{Slots: 1}, Logger: log, Traces: c.Traces.Tracer(),
	}
	library := &pipeline.Library{Folders: []string{models}, Keyrings: []string{ring}, Logger: log}
	ctx, cancel := context.WithCancel(context.Background())
	made, ready, ended := Parts{}, make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- pipeline.Serve(ctx, opts, library, pipeline.Role{
			Work: true, Evaluate: true,
			Front: func(s *pipeline.Services, stock pipeline.Stock) (func(context.Context) error, error) {
				made = Parts{Pipeline: s, Records: s.Cache, Users: parts.Users, Stock: stock}
				return func(ctx context.Context) error { <-ctx.Done(); return nil }, nil
			},
			Ready: func(string, string, string) { close(ready) },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return made, pair, c
}

// A request is one trace, from the request to the worker. What the client says of a trace is a link, or, where it is trusted, the trace.
func TestTraces(t *testing.T) {
	t.Parallel()
	p, pair, col := tracedParts(t, "traced")
	const outer = "0af7651916cd43dd8448eb211c80319c"
	plain := startWith(t, Config{}, p)
	c := plain.user(users.User{Name: "traced", Scopes: both, Keys: []string{"traced"}})
	trusting := &client{startWith(t, Config{TrustTraceparent: true}, p), c.token}
	cover, secret := picture(t, 1, 64), picture(t, 2, 64)
	embed := func(c *client, id string, header ...string) []collector.Span {
		t.Helper()
		a := c.post("/v1/embed", fields{"cover": cover, "secret": secret, "key": "traced"}, append(header, requestIDHeader, id)...)
		if a.status >= 300 {
			t.Fatalf("status %d: %s", a.status, a.body)
		}
		var mine []collector.Span
		col.Until(t, "the work of "+id, func(spans []collector.Span) bool {
			i := slices.IndexFunc(spans, func(s collector.Span) bool { return s.Attributes["stegomq.request"] == id })
			if i < 0 {
				return false
			}
			mine = slices.DeleteFunc(spans, func(s collector.Span) bool { return s.Trace != spans[i].Trace })
			return len(collector.Named(mine, "process job")) == 1 && len(collector.Named(mine, "request")) == 1
		})
		return mine
	}
	root := func(spans []collector.Span) collector.Span {
		t.Helper()
		list := collector.Named(spans, "POST /v1/embed")
		if len(list) != 1 || list[0].Kind != "SPAN_KIND_SERVER" || list[0].Failed {
			t.Fatalf("requests %+v", list)
		}
		return list[0]
	}
	want := []string{
		" > POST /v1/embed", "POST /v1/embed > request", "request > publish job", "publish job > queue", "publish job > process job", "process job > look up",
		"process job > fetch and decode", "process job > inference", "process job > encode and store", "process job > cache write", "process job > publish result",
	}
	slices.Sort(want)
	spans := embed(c, "alone")
	if got := collector.Edges(spans); !slices.Equal(got, want) {
		t.Errorf("spans\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if job := collector.Named(spans, "process job")[0].Attributes; job["stegomq.tenant"] != "traced" || job["stegomq.class"] != "interactive" || job["stegomq.key"] != "traced" {
		t.Errorf("the job is %v", job)
	}
	if s := root(spans); len(s.Links) > 0 || s.Attributes["stegomq.model_name"] != "sealed" {
		t.Errorf("the request is %+v", s)
	}
	parent := []string{"traceparent", "00-" + outer + "-b7ad6b7169203331-01", "tracestate", "rogue=1", "baggage", "rogue=1"}
	if s := root(embed(c, "linked", parent...)); s.Trace == outer || !slices.Equal(s.Links, []string{outer}) {
		t.Errorf("a client's trace: %+v", s)
	}
	if s := root(embed(c, "not-sampled", "traceparent", "00-"+outer+"-b7ad6b7169203331-00")); s.Trace == outer {
		t.Errorf("a client that wants no trace: %+v", s)
	}
	if s := root(embed(c, "later", "Prefer", "respond-async")); s.Trace == outer {
		t.Errorf("a request that is polled: %+v", s)
	}
	if s := root(embed(trusting, "trusted", parent...)); s.Trace != outer || s.Parent != "b7ad6b7169203331" {
		t.Errorf("a gateway's trace: %+v", s)
	}
	// Where the time went shows from the metrics, too.
	scraped, scrape := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil)
	scrape.Header.Set("Accept", "application/openmetrics-text")
	p.Metrics.Handler().ServeHTTP(scraped, scrape)
	for _, metric := range []string{"stegomq_job_seconds", "stegomq_queue_wait_seconds", "stegomq_end_to_end_seconds", "stegomq_http_request_seconds"} {
		if !regexp.MustCompile(`(?m)^` + metric + `_bucket\{.*(?:"embed"|"POST /v1/embed").* # \{trace_id="[0-9a-f]{32}"\}`).MatchString(scraped.Body.String()) {
			t.Errorf("%s has no exemplar", metric)
		}
	}

	// A request that is refused says so, and one without a token leaves nothing.
	c.post("/v1/embed", fields{"cover": cover, "secret": secret, "key": "bob"}, requestIDHeader, "refused").problem(codeUnknownKey)
	(&client{plain, c.token + "0"}).post("/v1/embed", fields{"cover": cover}, requestIDHeader, "unknown").problem(codeUnauthorized)
	all := col.Until(t, "the refusal", func(spans []collector.Span) bool {
		return slices.ContainsFunc(spans, func(s collector.Span) bool { return s.Attributes["stegomq.request"] == "refused" })
	})
	for _, s := range all {
		switch a := s.Attributes; a["stegomq.request"] {
		case "refused":
			if a["stegomq.reason"] != string(codeUnknownKey) || a["http.response.status_code"] != "404" || !s.Failed {
				t.Errorf("refused: %+v", s)
			}
		case "unknown":
			t.Errorf("without a token: %+v", s)
		}
	}
	hash := sha256.Sum256([]byte(c.token))
	for _, stays := range []string{
		c.token, hex.EncodeToString(hash[:]), "rogue", string(pair.Embed.Expose()), hex.EncodeToString(pair.Embed.Expose()), string(pair.Recover.Expose()),
		hex.EncodeToString(pair.Recover.Expose()), string(cover[len(cover)/2:][:32]), string(secret[len(secret)/2:][:32]), "uploaded",
	} {
		for _, sent := range col.Raw() {
			if bytes.Contains(sent, []byte(stays)) {
				t.Errorf("%.12q... was sent", stays)
			}
		}
	}
	page, err := os.ReadFile("../docs/tracing.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		names := []string{s.Name}
		for key := range s.Attributes {
			names = append(names, key)
		}
		for _, name := range names {
			if !bytes.Contains(page, []byte("`"+name+"`")) {
				t.Errorf("docs/tracing.md has nothing of %s", name)
			}
		}
	}
}

// A run that is asked for over HTTP is a trace of its own, which is linked to the request's.
func TestTracesOfRuns(t *testing.T) {
	t.Parallel()
	p, _, col := tracedParts(t, "traced-runs")
	a := startWith(t, Config{Datasets: datasets(t, 2)}, p)
	c := a.user(users.User{Name: "traced-runs", Scopes: []users.Scope{users.Evaluate}, Keys: []string{"traced-runs"}})
	const outer = "0af7651916cd43dd8448eb211c80319c"
	var run runView
	c.sendJSON(http.MethodPost, "/v1/runs", `{"dataset": "some", "model": "sealed", "keys": ["traced-runs"], "size": 64, "random_keys": 0}`,
		requestIDHeader, "run", "traceparent", "00-"+outer+"-b7ad6b7169203331-01").into(http.StatusCreated, &run)
	spans := col.Until(t, "the run", func(spans []collector.Span) bool {
		return len(collector.Named(spans, "evaluate")) == 1 && len(collector.Named(spans, "POST /v1/runs")) == 1
	})
	asked, made := collector.Named(spans, "POST /v1/runs"), collector.Named(spans, "evaluate")[0]
	if len(asked) != 1 || asked[0].Attributes["stegomq.request"] != "run" || asked[0].Trace == outer || !slices.Equal(asked[0].Links, []string{outer}) {
		t.Fatalf("the request is %+v", asked)
	}
	if made.Trace == asked[0].Trace || made.Parent != "" || made.Attributes["stegomq.run"] != run.ID || !slices.Equal(made.Links, []string{asked[0].Trace}) {
		t.Errorf("the run is %+v, the request %+v", made, asked[0])
	}
	if body := c.get("/v1/runs/" + run.ID).body; bytes.Contains(body, []byte(asked[0].Trace)) {
		t.Errorf("the trace is answered: %s", body)
	}
}
