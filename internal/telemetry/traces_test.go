package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

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

// What the environment says of the service and of sampling is done.
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

// A collector that is away is told once, and so is that it is back.
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
