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

// Headers of a message. The first is that of W3C Trace Context; in the second somebody with the key says that the first is his.
const (
	parentHeader    = "traceparent"
	signatureHeader = "Stegomq-Trace"
)

// parentLength is that of a traceparent of version 00, the only one that is read.
const parentLength = 55

// parent reads a traceparent. What is not one is none.
func parent(text string) trace.SpanContext {
	if len(text) != parentLength || text[:2] != "00" {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{parentHeader: text})
	return trace.SpanContextFromContext(ctx)
}

// signature of what a message on a subject says of its trace, 32 hexadecimal digits; "" without a key. A subject that a tenant reads is another than one
// that the tenant writes, so that a signature is of no use to who has seen it.
func (t *Tracer) signature(subject, parent string) string {
	key := t.key.Load()
	if key == nil {
		return ""
	}
	h := hmac.New(sha256.New, *key)
	_, _ = h.Write([]byte(subject + "\n" + parent))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// sender is the span that a message was published in, where that is signed by somebody with the key. Elsewhere it is where a trace may begin,
// with a link to what the message says.
func (t *Tracer) sender(m *Message) Span {
	text := m.header(parentHeader)
	from, want := parent(text), t.signature(m.Subject, text)
	if from.IsValid() && want != "" && hmac.Equal([]byte(m.header(signatureHeader)), []byte(want)) {
		return t.remote(from)
	}
	return Span{tracer: t, link: text}
}

// Publish begins the publishing of a message, and gives the headers by which whoever takes it goes on in the trace.
func Publish(ctx context.Context, name, subject string) (context.Context, Span, map[string][]string) {
	ctx, s := Of(ctx).start(ctx, name, trace.WithSpanKind(trace.SpanKindProducer))
	if s.span == nil {
		return ctx, s, nil
	}
	return ctx, s, s.header(subject)
}

// header has what a message on a subject says of the span that it is published in.
func (s Span) header(subject string) map[string][]string {
	text := s.Traceparent()
	header := map[string][]string{parentHeader: {text}}
	if signature := s.tracer.signature(subject, text); signature != "" {
		header[signatureHeader] = []string{signature}
	}
	return header
}

// Resend begins to publish a message again, on a subject, that was kept in another one, and gives the headers. It goes on in the trace of that
// other one where the signature says that this is the operator's, with a link to who asks for it. Who cannot check that, since it has no key or
// sends no traces, gives the other's traceparent on as it is: unsigned, so that it becomes a link.
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
	// Stored is when the queue had it, and Delivery how often it was delivered, this time among them.
	Stored   time.Time
	Delivery uint64
}

func (m *Message) header(name string) string {
	if values := m.Header[name]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// Receive begins the processing of a message: in the trace of who published it, if that is signed. Of a first delivery it notes how long
// the message waited.
func (t *Tracer) Receive(name string, m Message) Span {
	if t == nil {
		return Span{}
	}
	now := time.Now()
	wait := func(s Span) {
		if m.Delivery <= 1 {
			stored := m.Stored
			if stored.After(now) { // the server's clock is ahead
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

// Request begins the answering of an HTTP request with a traceparent, or "". Trusted says that it is the operator's own, such as that of a
// gateway: then the request goes on in that trace, and otherwise it has a link to it.
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

// remote is a span elsewhere.
func (t *Tracer) remote(of trace.SpanContext) Span {
	return Span{tracer: t, span: trace.SpanFromContext(trace.ContextWithRemoteSpanContext(context.Background(), of))}
}

// linkTo makes nothing of what is no traceparent.
func linkTo(traceparent string) trace.SpanStartOption {
	of := parent(traceparent)
	if !of.IsValid() {
		return trace.WithLinks()
	}
	return trace.WithLinks(trace.Link{SpanContext: of})
}
