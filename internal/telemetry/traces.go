package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"stegomq/internal/tracing"
)

// ErrTraces: a variable of OpenTelemetry has an invalid value.
var ErrTraces = errors.New("traces cannot be sent")

// Variables of OpenTelemetry that this package reads; OpenTelemetry's own packages read the others.
const (
	envEndpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	envTracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	envProtocol       = "OTEL_EXPORTER_OTLP_PROTOCOL"
	envTracesProtocol = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	envExporter       = "OTEL_TRACES_EXPORTER"
	envDisabled       = "OTEL_SDK_DISABLED"
	envSampler        = "OTEL_TRACES_SAMPLER"
	envSamplerArg     = "OTEL_TRACES_SAMPLER_ARG"
)

// Traces exports the spans of a process. A nil *Traces exports nothing.
type Traces struct {
	provider *sdktrace.TracerProvider
	tracer   *tracing.Tracer
}

// TracesConfig has the settings that are not in the environment.
type TracesConfig struct {
	// Version of the program.
	Version string
	// Endpoint is the whole URL that spans are posted to, instead of the environment's.
	Endpoint string
	Logger   *slog.Logger
}

// OpenTraces sends spans to the endpoint of OpenTelemetry's standard variables (docs/tracing.md); it returns nil if there is none. It opens no
// connection. An invalid variable is ErrTraces.
func OpenTraces(ctx context.Context, cfg TracesConfig) (*Traces, error) {
	var opts []otlptracehttp.Option
	if cfg.Endpoint != "" {
		opts = append(opts, otlptracehttp.WithEndpointURL(cfg.Endpoint))
	} else if on, err := wanted(); !on || err != nil {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTraces, err)
	}
	// The last one wins: the user's attributes.
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "stegomq"), attribute.String("service.version", cfg.Version)),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("%w: OTEL_RESOURCE_ATTRIBUTES: %w", ErrTraces, err)
	}
	p := sdktrace.NewTracerProvider(sdktrace.WithResource(about), sdktrace.WithBatcher(&told{SpanExporter: exporter, log: cfg.Logger}))
	return &Traces{p, tracing.New(p)}, nil
}

// wanted says whether the environment asks for traces.
func wanted() (bool, error) {
	disabled, _ := strconv.ParseBool(os.Getenv(envDisabled))
	name := envTracesEndpoint
	if os.Getenv(name) == "" {
		name = envEndpoint
	}
	endpoint := os.Getenv(name)
	if disabled || endpoint == "" {
		return false, nil
	}
	switch exporter := os.Getenv(envExporter); exporter {
	case "none":
		return false, nil
	case "", "otlp":
	default:
		return false, fmt.Errorf("%w: %s=%s: only otlp and none are known", ErrTraces, envExporter, exporter)
	}
	for _, name := range []string{envProtocol, envTracesProtocol} {
		if protocol := os.Getenv(name); !slices.Contains([]string{"", "http/protobuf", "http/json"}, protocol) {
			return false, fmt.Errorf("%w: %s=%s: choose http/protobuf, whose port is mostly 4318", ErrTraces, name, protocol)
		}
	}
	// The value may have a password in it.
	if u, err := url.Parse(endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return false, fmt.Errorf("%w: %s is no address: write http://host:4318", ErrTraces, name)
	}
	return true, checkSampler()
}

// checkSampler refuses values that the SDK would read as "everything".
func checkSampler() error {
	sampler, share := os.Getenv(envSampler), os.Getenv(envSamplerArg)
	if !slices.Contains([]string{
		"", "always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
	}, strings.ToLower(strings.TrimSpace(sampler))) {
		return fmt.Errorf("%w: %s=%s: choose parentbased_always_on, parentbased_traceidratio, parentbased_always_off, always_on, traceidratio or always_off",
			ErrTraces, envSampler, sampler)
	}
	if part, err := strconv.ParseFloat(strings.TrimSpace(share), 64); share != "" && (err != nil || !(part >= 0 && part <= 1)) { // nor NaN
		return fmt.Errorf("%w: %s=%s: choose 0 to 1", ErrTraces, envSamplerArg, share)
	}
	return nil
}

// Tracer begins the traces.
func (t *Traces) Tracer() *tracing.Tracer {
	if t == nil {
		return nil
	}
	return t.tracer
}

// Flush sends the spans that have ended so far.
func (t *Traces) Flush(ctx context.Context) { _ = t.provider.ForceFlush(ctx) }

// closeTraces bounds how long the end of a process waits for the last spans to be sent.
const closeTraces = 3 * time.Second

// Close sends the remaining spans. A failure was logged.
func (t *Traces) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTraces)
	defer cancel()
	_ = t.provider.Shutdown(ctx)
}

// told is an exporter that logs once when spans are lost, and once when they are sent again.
type told struct {
	sdktrace.SpanExporter
	log     *slog.Logger
	failing atomic.Bool
}

// ExportSpans sends a batch.
func (e *told) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if was := e.failing.Swap(err != nil); was != (err != nil) {
		if err != nil {
			e.log.Warn("traces are not sent, and are lost until they are", "error", err)
		} else {
			e.log.Warn("traces are sent again")
		}
	}
	return nil // it was logged
}
