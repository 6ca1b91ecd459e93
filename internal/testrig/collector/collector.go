// Package collector owns an OTLP collector for tests: it receives and keeps the requests of the real exporter over HTTP. Only tests import it.
package collector

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"stegomq/internal/telemetry"
)

// Span is a span as it was sent.
type Span struct {
	Name, Kind        string
	Trace, ID, Parent string // hexadecimal digits; Parent is empty of a root
	Links             []string
	Attributes        map[string]string
	Start, End        uint64 // Unix time in nanoseconds
	Failed            bool
	Resource          map[string]string
}

// Collector keeps spans.
type Collector struct {
	// Address is a value for OTEL_EXPORTER_OTLP_ENDPOINT.
	Address string
	// Traces sends to the collector.
	Traces *telemetry.Traces

	server *httptest.Server
	mu     sync.Mutex
	spans  []Span
	raw    [][]byte
	faults []string
}

// Start starts a collector, which ends with the test.
func Start(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{}
	c.server = httptest.NewServer(http.HandlerFunc(c.take))
	c.Address = c.server.URL
	var err error
	c.Traces, err = telemetry.OpenTraces(t.Context(), telemetry.TracesConfig{
		Version: "test", Endpoint: c.Address + "/v1/traces", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Traces.Close()
		c.server.Close()
		for _, fault := range c.faults {
			t.Errorf("the collector: %s", fault)
		}
	})
	return c
}

func (c *Collector) take(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.read(r); err != nil {
		c.faults = append(c.faults, err.Error())
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *Collector) read(r *http.Request) error {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		return fmt.Errorf("%s %s with %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"))
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(r.Body); err != nil {
			return err
		}
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	var request coltracepb.ExportTraceServiceRequest
	if err := proto.Unmarshal(data, &request); err != nil {
		return err
	}
	c.raw = append(c.raw, data)
	for _, of := range request.GetResourceSpans() {
		about := values(of.GetResource().GetAttributes())
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				span := Span{
					Name: s.GetName(), Kind: s.GetKind().String(), Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()),
					Parent: hex.EncodeToString(s.GetParentSpanId()), Attributes: values(s.GetAttributes()), Start: s.GetStartTimeUnixNano(), End: s.GetEndTimeUnixNano(),
					Failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR, Resource: about,
				}
				for _, l := range s.GetLinks() {
					span.Links = append(span.Links, hex.EncodeToString(l.GetTraceId()))
				}
				c.spans = append(c.spans, span)
			}
		}
	}
	return nil
}

func values(list []*commonpb.KeyValue) map[string]string {
	m := make(map[string]string, len(list))
	for _, kv := range list {
		switch v := kv.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			m[kv.GetKey()] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			m[kv.GetKey()] = fmt.Sprint(v.IntValue)
		default:
			m[kv.GetKey()] = fmt.Sprint(kv.GetValue())
		}
	}
	return m
}

// patience bounds every wait.
const patience = 3 * time.Minute

// Until waits until enough spans were sent, and returns them.
func (c *Collector) Until(t testing.TB, what string, enough func([]Span) bool) []Span {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		c.Traces.Flush(t.Context())
		spans := c.Spans()
		if enough(spans) {
			return spans
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come; there are %v", what, Named(spans, ""))
		}
	}
}

// Named returns the spans of a name; all spans for "".
func Named(spans []Span, name string) []Span {
	var list []Span
	for _, s := range spans {
		if name == "" || s.Name == name {
			list = append(list, s)
		}
	}
	return list
}

// Edges returns the pairs "parent > child" of names, each once, sorted. A parent that was not sent is "?", that of a root is "".
func Edges(spans []Span) []string {
	names := map[string]string{"": ""}
	for _, s := range spans {
		names[s.ID] = s.Name
	}
	var list []string
	for _, s := range spans {
		parent, ok := names[s.Parent]
		if !ok {
			parent = "?"
		}
		list = append(list, parent+" > "+s.Name)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Spans returns the spans that were sent so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Span(nil), c.spans...)
}

// Raw returns the bodies that were sent so far, byte for byte.
func (c *Collector) Raw() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([][]byte(nil), c.raw...)
}
