package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stegomq/internal/telemetry"
	"stegomq/internal/testrig/collector"
	"stegomq/internal/tracing"
)

// environment sets the variables of OpenTelemetry, and no others of them.
func environment(t *testing.T, set map[string]string) {
	t.Helper()
	for _, name := range []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
		"OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES",
	} {
		t.Setenv(name, set[name])
	}
}

func TestTracesEnvironment(t *testing.T) {
	const address = "http://127.0.0.1:1"
	for name, c := range map[string]struct {
		set  map[string]string
		on   bool
		says string
	}{
		"nothing":         {nil, false, ""},
		"an endpoint":     {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": address}, true, ""},
		"of traces":       {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": address + "/v1/traces"}, true, ""},
		"disabled":        {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_SDK_DISABLED": "true"}, false, ""},
		"no exporter":     {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_TRACES_EXPORTER": "none"}, false, ""},
		"other exporter":  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_TRACES_EXPORTER": "zipkin"}, false, "zipkin"},
		"only a name":     {map[string]string{"OTEL_SERVICE_NAME": "mine"}, false, ""},
		"gRPC":            {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, false, "http/protobuf"},
		"gRPC of traces":  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, false, "http/protobuf"},
		"no scheme":       {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4318"}, false, "OTEL_EXPORTER_OTLP_ENDPOINT"},
		"another scheme":  {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "grpc://u:hunter2@a:4317"}, false, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"},
		"a sampler":       {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}, true, ""},
		"no such sampler": {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_TRACES_SAMPLER": "some"}, false, "always_on"},
		"no such share":   {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1%"}, false, "0 to 1"},
		"a share over 1":  {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, false, "0 to 1"},
		"a share NaN":     {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "NaN"}, false, "0 to 1"},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, c.set)
			traces, err := telemetry.OpenTraces(t.Context(), telemetry.TracesConfig{Logger: slog.New(slog.DiscardHandler)})
			t.Cleanup(traces.Close)
			if (traces != nil) != c.on || (traces.Tracer() != nil) != c.on {
				t.Errorf("on: %v", traces != nil)
			}
			if (err != nil) != (c.says != "") || err != nil && (!errors.Is(err, telemetry.ErrTraces) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2")) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
}

// The environment's settings of the service and of sampling apply.
func TestTracesAsTheEnvironmentSays(t *testing.T) {
	c := collector.Start(t)
	for sampler, want := range map[string]int{"always_on": 1, "always_off": 0} {
		environment(t, map[string]string{
			"OTEL_EXPORTER_OTLP_ENDPOINT": c.Address, "OTEL_SERVICE_NAME": "mine", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test", "OTEL_TRACES_SAMPLER": sampler,
		})
		traces, err := telemetry.OpenTraces(t.Context(), telemetry.TracesConfig{Version: "7", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		_, span := tracing.Start(traces.Tracer().With(context.Background()), sampler)
		span.Text("long", strings.Repeat("x", 1<<20))
		span.End(nil)
		traces.Close()
		spans := collector.Named(c.Spans(), sampler)
		if len(spans) != want {
			t.Fatalf("%s: %d spans, want %d", sampler, len(spans), want)
		}
		for _, s := range spans {
			if r := s.Resource; r["service.name"] != "mine" || r["service.version"] != "7" || r["deployment.environment.name"] != "test" {
				t.Errorf("the service is %v", r)
			}
			if n := len(s.Attributes["long"]); n != 128 {
				t.Errorf("a text of %d bytes", n)
			}
		}
	}
}

// An unreachable collector is logged once, and its return once.
func TestCollectorAway(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer server.Close()
	var log bytes.Buffer
	traces, err := telemetry.OpenTraces(t.Context(), telemetry.TracesConfig{Endpoint: server.URL + "/v1/traces", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for n, is := range []bool{false, true, true, false, false} {
		away.Store(is)
		_, span := tracing.Start(traces.Tracer().With(context.Background()), fmt.Sprint(n))
		span.End(nil)
		traces.Flush(t.Context())
	}
	traces.Close()
	if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "not sent") || !strings.Contains(text, "sent again") {
		t.Errorf("logged %s", text)
	}
}

// A duration has its trace as the exemplar, in OpenMetrics, if the trace is sampled.
func TestExemplars(t *testing.T) {
	t.Parallel()
	m, c := telemetry.NewMetrics(), collector.Start(t)
	ctx, span := tracing.Start(c.Traces.Tracer().With(t.Context()), "request")
	defer span.End(nil)
	dropped, gone := c.Traces.Tracer().Request(t.Context(), "POST /v1/embed", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true)
	defer gone.End(nil)
	for operation, ctx := range map[string]context.Context{"embed": ctx, "recover": dropped, "purify": t.Context()} {
		m.JobStarted(operation)
		m.JobDone(ctx, operation, "done", 1, 0, time.Second)
		m.Waited(ctx, operation, "bulk", time.Second)
		m.Ended(ctx, operation, "bulk", time.Second)
		m.Answered(ctx, "POST /v1/"+operation, http.StatusOK, time.Second)
	}
	scrape := func(accept string) (lines []string) {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept", accept)
		m.Handler().ServeHTTP(w, r)
		for line := range strings.Lines(w.Body.String()) {
			if strings.Contains(line, "trace_id") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	lines := scrape("application/openmetrics-text; version=1.0.0")
	id := tracing.SampledID(ctx)
	for _, metric := range []string{"stegomq_job_seconds", "stegomq_queue_wait_seconds", "stegomq_end_to_end_seconds", "stegomq_http_request_seconds"} {
		if !slices.ContainsFunc(lines, func(line string) bool {
			return strings.HasPrefix(line, metric+"_bucket{") && strings.Contains(line, "embed") && strings.Contains(line, ` # {trace_id="`+id+`"} 1`)
		}) {
			t.Errorf("%s has no exemplar of %q in\n%s", metric, id, strings.Join(lines, ""))
		}
	}
	if len(lines) != 4 || id == "" {
		t.Errorf("%d exemplars, of the trace %q", len(lines), id)
	}
	if lines := scrape("text/plain"); len(lines) > 0 {
		t.Errorf("as text:\n%s", strings.Join(lines, ""))
	}
}
