package tracing

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Headers of a message. The first is that of W3C Trace Context; the second is the signature of the first by a holder of the key.
const (
	parentHeader    = "traceparent"
	signatureHeader = "Stegomq-Trace"
)

// parentLength is the length of a traceparent of version 00, the only version that is read.
const parentLength = 55

// parent reads a traceparent. An invalid one counts as none.
func parent(text string) trace.SpanContext {
	if len(text) != parentLength || text[:2] != "00" {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{parentHeader: text})
	return trace.SpanContextFromContext(ctx)
}

// signature signs the traceparent of a message on a subject: 32 hexadecimal digits; "" without a key. A tenant reads and writes different
// subjects, so a tenant cannot reuse a signature that it has seen.
func (t *Tracer) signature(subject, parent string) string {
	key := t.key.Load()
	if key == nil {
		return ""
	}
	h := hmac.New(sha256.New, *key)
	_, _ = h.Write([]byte(subject + "\n" + parent))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// sender is the span that a message was published in, if the signature is valid. Otherwise it is one in which a trace may begin, with a link
// to the message's traceparent.
func (t *Tracer) sender(m *Message) Span {
	text := m.header(parentHeader)
	from, want := parent(text), t.signature(m.Subject, text)
	if from.IsValid() && want != "" && hmac.Equal([]byte(m.header(signatureHeader)), []byte(want)) {
		return t.remote(from)
	}
	return Span{tracer: t, link: text}
}

// Publish begins the publishing of a message, and returns the headers by which its receiver continues the trace.
func Publish(ctx context.Context, name, subject string) (context.Context, Span, map[string][]string) {
	ctx, s := Of(ctx).start(ctx, name, trace.WithSpanKind(trace.SpanKindProducer))
	if s.span == nil {
		return ctx, s, nil
	}
	return ctx, s, s.header(subject)
}

// header returns the trace headers of a message published on a subject.
func (s Span) header(subject string) map[string][]string {
	text := s.Traceparent()
	header := map[string][]string{parentHeader: {text}}
	if signature := s.tracer.signature(subject, text); signature != "" {
		header[signatureHeader] = []string{signature}
	}
	return header
}

// Resend begins to publish a message again, on a subject, that another message kept, and returns the headers. If the other's signature is
// valid, its trace is continued, with a link to the caller's. A process that cannot check the signature, because it has no key or sends no
// traces, passes on the other's traceparent unsigned, so that it becomes a link.
func Resend(ctx context.Context, name, subject string, from Message) (Span, map[string][]string) {
	asks, text := Of(ctx), from.header(parentHeader)
	switch of := parent(text); {
	case !of.IsValid() && asks.tracer == nil:
		return Span{}, nil
	case asks.tracer == nil || asks.tracer.key.Load() == nil:
		return Span{}, map[string][]string{parentHeader: {text}}
	}
	_, s := asks.tracer.sender(&from).start(ctx, name, trace.WithSpanKind(trace.SpanKindProducer), linkTo(asks.Traceparent()))
	return s, s.header(subject)
}

// Message is a message that was delivered.
type Message struct {
	Subject string
	Header  map[string][]string
	// Stored is when the queue had it, and Delivery how often it was delivered, including this time.
	Stored   time.Time
	Delivery uint64
}

func (m *Message) header(name string) string {
	if values := m.Header[name]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// Receive begins the processing of a message: in the publisher's trace, if that is signed. For a first delivery it records how long the
// message waited.
func (t *Tracer) Receive(name string, m Message) Span {
	if t == nil {
		return Span{}
	}
	now := time.Now()
	wait := func(s Span) {
		if m.Delivery <= 1 {
			stored := m.Stored
			if stored.After(now) { // the server's clock may be ahead
				stored = now
			}
			Interval(s.In(context.Background()), "queue", stored, now)
		}
	}
	sender := t.sender(&m)
	_, s := sender.start(context.Background(), name, trace.WithSpanKind(trace.SpanKindConsumer))
	if sender.span != nil {
		wait(sender)
	} else {
		wait(s)
	}
	s.Int("stegomq.delivery", int(m.Delivery))
	return s
}

// Request begins the handling of an HTTP request with a traceparent, or "". A trusted traceparent is the operator's own, such as that of a
// gateway: the request continues that trace. Otherwise it begins a new trace with a link.
func (t *Tracer) Request(ctx context.Context, name, traceparent string, trusted bool) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	server := trace.WithSpanKind(trace.SpanKindServer)
	if from := parent(traceparent); trusted && from.IsValid() {
		return t.remote(from).start(ctx, name, server)
	}
	return Span{tracer: t, link: traceparent}.start(ctx, name, server)
}

// remote is a span of another process.
func (t *Tracer) remote(of trace.SpanContext) Span {
	return Span{tracer: t, span: trace.SpanFromContext(trace.ContextWithRemoteSpanContext(context.Background(), of))}
}

// linkTo ignores an invalid traceparent.
func linkTo(traceparent string) trace.SpanStartOption {
	of := parent(traceparent)
	if !of.IsValid() {
		return trace.WithLinks()
	}
	return trace.WithLinks(trace.Link{SpanContext: of})
}
