// Package tracing owns traces: how they begin, how they continue in calls and messages, and which trace headers are trusted. Package telemetry,
// the only other importer of OpenTelemetry, exports the spans.
//
// The context carries the trace, so that roles need only Start. In a context without a trace every function does nothing, and only looks at
// the context.
//
// Invariants:
//   - A span has names, ids, counts and a reason (schemas.Reason): never the text of an error, the bytes of a key or an image, or a token.
//   - A message's trace is continued if the message is signed with the key of the operator's processes. Any other message begins a new trace,
//     which this process's sampler keeps or drops, with a link to the trace in its header.
//   - Only 25 bytes of a foreign trace are kept: the ids and the flags. There is no tracestate and no baggage.
package tracing

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"stegomq/schemas"
)

// Tracer begins traces. A nil one begins none.
type Tracer struct {
	spans trace.Tracer
	key   atomic.Pointer[[]byte]
}

// New makes a tracer whose spans go to a provider.
func New(p trace.TracerProvider) *Tracer { return &Tracer{spans: p.Tracer("stegomq")} }

// Sign sets the key that the operator's processes share: from now on messages are signed, and messages with a valid signature are trusted.
// Without a key nothing is signed or trusted.
func (t *Tracer) Sign(key []byte) { t.key.Store(&key) }

// Span is a piece of work, or nothing: its zero value.
type Span struct {
	tracer *Tracer
	span   trace.Span // nil where a trace may begin
	link   string     // if span is nil: the traceparent that a new trace links to
}

type spanKey struct{}

// Of returns the span of a context.
func Of(ctx context.Context) Span {
	s, _ := ctx.Value(spanKey{}).(Span)
	return s
}

// In returns a context whose span is s. For the zero Span it returns ctx.
func (s Span) In(ctx context.Context) context.Context {
	if s.tracer == nil {
		return ctx
	}
	return context.WithValue(ctx, spanKey{}, s)
}

// With returns a context in which Start begins a trace, unless ctx has one.
func (t *Tracer) With(ctx context.Context) context.Context {
	if t == nil || Of(ctx).tracer != nil {
		return ctx
	}
	return Span{tracer: t}.In(ctx)
}

// After returns a context in which Start begins a trace with a link to a span of the operator's, named by Traceparent.
func (t *Tracer) After(ctx context.Context, traceparent string) context.Context {
	return Span{tracer: t, link: traceparent}.In(ctx)
}

// Start begins a child of the context's span. The names are in docs/tracing.md.
func Start(ctx context.Context, name string) (context.Context, Span) {
	return Of(ctx).start(ctx, name)
}

// Linked begins a new trace, with a link to the context's.
func Linked(ctx context.Context, name string) (context.Context, Span) {
	s := Of(ctx)
	return Span{tracer: s.tracer, link: s.Traceparent()}.start(ctx, name)
}

// Interval records a child of the context's span that has already ended.
func Interval(ctx context.Context, name string, from, to time.Time) {
	_, s := Of(ctx).start(ctx, name, trace.WithTimestamp(from))
	if s.span != nil {
		s.span.End(trace.WithTimestamp(to))
	}
}

func (s Span) start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, Span) {
	if s.tracer == nil {
		return ctx, Span{}
	}
	opts = append(opts, linkTo(s.link))
	// The parent is always our own span: spans that others have put into the context are not trusted.
	_, span := s.tracer.spans.Start(trace.ContextWithSpan(ctx, s.orNone()), name, opts...)
	child := Span{tracer: s.tracer, span: span}
	return child.In(ctx), child
}

func (s Span) orNone() trace.Span {
	if s.span == nil {
		return trace.SpanFromContext(context.Background())
	}
	return s.span
}

// Traceparent names the span as W3C Trace Context does; "" where there is none.
func (s Span) Traceparent() string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), s.orNone()), carrier)
	return carrier[parentHeader]
}

// SampledID is the id of the context's trace, 32 hexadecimal digits, if the trace is sampled; otherwise "".
func SampledID(ctx context.Context) string {
	if s := Of(ctx).orNone().SpanContext(); s.IsSampled() {
		return s.TraceID().String()
	}
	return ""
}

// recording says whether attributes are recorded.
func (s Span) recording() bool { return s.span != nil && s.span.IsRecording() }

// End ends the span. It records only the kind of an error.
func (s Span) End(err error) {
	if s.span == nil {
		return
	}
	if err != nil {
		s.Fail(reason(err))
	}
	s.span.End()
}

// Fail records why the span failed, as one of a few words.
func (s Span) Fail(why string) {
	if s.recording() {
		s.Text("stegomq.reason", why)
		s.span.SetStatus(codes.Error, why)
	}
}

// reason is a word for an error.
func reason(err error) string {
	var fault *schemas.Fault
	switch {
	case errors.As(err, &fault):
		return string(fault.Reason)
	case errors.Is(err, schemas.ErrAway):
		return "away"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "cancelled"
	}
	return "error"
}

// maxText bounds a text, in bytes: all names and ids that belong in a span are shorter.
const maxText = 128

// Text records a name or an id.
func (s Span) Text(key, value string) {
	if !s.recording() || value == "" {
		return
	}
	if len(value) > maxText {
		value = value[:maxText]
	}
	s.span.SetAttributes(attribute.String(key, value))
}

// Int records a number.
func (s Span) Int(key string, value int) {
	if s.recording() {
		s.span.SetAttributes(attribute.Int(key, value))
	}
}

// Name renames the span.
func (s Span) Name(name string) {
	if s.recording() {
		s.span.SetName(name)
	}
}

// Job records the attributes of a valid job.
func (s Span) Job(job *schemas.Job) {
	if !s.recording() {
		return
	}
	s.Text("stegomq.job", job.GetId())
	s.Text("stegomq.run", job.GetRun())
	s.Text("stegomq.operation", job.GetOperation().Token())
	s.Text("stegomq.class", string(schemas.JobClass(job)))
	s.Text("stegomq.tenant", schemas.TenantName(job.GetTenant()))
	s.Text("stegomq.model", job.GetModel())
	s.Text("stegomq.key", job.GetKey().GetId())
	s.Text("stegomq.key_fingerprint", job.GetKey().GetFingerprint())
	s.Int("stegomq.items", len(job.GetItems()))
}
