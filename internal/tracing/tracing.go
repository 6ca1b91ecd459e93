// Package tracing owns what a trace is: how it begins, how it goes on in what is called and in messages, and whose word on it is taken.
// Where the spans go is package telemetry's. It is the only other importer of OpenTelemetry.
//
// The context carries the trace, so that roles need nothing but Start. In a context without one everything here does nothing, and costs the
// look at the context.
//
// Invariants:
//   - A span has names, ids, counts and a reason (schemas.Reason): never the text of an error, the bytes of a key or an image, or a token.
//   - A message goes on in a trace if it is signed by somebody who has the key of the operator's processes. Any other begins a trace of its
//     own, whether it is kept is this process's sampler's to say, and what the message said of a trace is a link.
//   - Of a foreign trace 25 bytes are kept: the ids and the flags. There is no tracestate and no baggage.
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

// Sign has messages signed, from now on, with a key that the operator's processes share, and those with its signature believed. Without a key
// nothing is signed, nor believed.
func (t *Tracer) Sign(key []byte) { t.key.Store(&key) }

// Span is a piece of work, or nothing: its zero value.
type Span struct {
	tracer *Tracer
	span   trace.Span // nil where a trace may begin
	link   string     // where span is nil: the traceparent of what the trace is linked to that begins
}

type spanKey struct{}

// Of is the span of a context.
func Of(ctx context.Context) Span {
	s, _ := ctx.Value(spanKey{}).(Span)
	return s
}

// In gives a context whose span is s. Nothing is in ctx as it is.
func (s Span) In(ctx context.Context) context.Context {
	if s.tracer == nil {
		return ctx
	}
	return context.WithValue(ctx, spanKey{}, s)
}

// With gives a context in which Start begins a trace, unless ctx has one.
func (t *Tracer) With(ctx context.Context) context.Context {
	if t == nil || Of(ctx).tracer != nil {
		return ctx
	}
	return Span{tracer: t}.In(ctx)
}

// After gives a context in which Start begins a trace that is linked to a span of the operator's, which Traceparent named.
func (t *Tracer) After(ctx context.Context, traceparent string) context.Context {
	return Span{tracer: t, link: traceparent}.In(ctx)
}

// Start begins a part of the span of a context. The names are in docs/tracing.md.
func Start(ctx context.Context, name string) (context.Context, Span) {
	return Of(ctx).start(ctx, name)
}

// Linked begins a trace of its own, with a link to the context's.
func Linked(ctx context.Context, name string) (context.Context, Span) {
	s := Of(ctx)
	return Span{tracer: s.tracer, link: s.Traceparent()}.start(ctx, name)
}

// Interval notes a part of the span of a context that is over.
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
	// The parent is always our own: what others have put into the context is nobody's word.
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

// SampledID is the id of the trace of a context, 32 hexadecimal digits, where the trace is kept; "" elsewhere.
func SampledID(ctx context.Context) string {
	if s := Of(ctx).orNone().SpanContext(); s.IsSampled() {
		return s.TraceID().String()
	}
	return ""
}

// recording says whether anybody will see what is noted.
func (s Span) recording() bool { return s.span != nil && s.span.IsRecording() }

// End ends the span. Of an error it says only what kind it is.
func (s Span) End(err error) {
	if s.span == nil {
		return
	}
	if err != nil {
		s.Fail(reason(err))
	}
	s.span.End()
}

// Fail notes why the span failed, in a word that is one of a few.
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

// maxText bounds a text, in bytes: every one that has a place in a span is a shorter name or id.
const maxText = 128

// Text notes a name or an id.
func (s Span) Text(key, value string) {
	if !s.recording() || value == "" {
		return
	}
	if len(value) > maxText {
		value = value[:maxText]
	}
	s.span.SetAttributes(attribute.String(key, value))
}

// Int notes a number.
func (s Span) Int(key string, value int) {
	if s.recording() {
		s.span.SetAttributes(attribute.Int(key, value))
	}
}

// Name names the span otherwise than it was when it began.
func (s Span) Name(name string) {
	if s.recording() {
		s.span.SetName(name)
	}
}

// Job notes what a valid job is.
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
