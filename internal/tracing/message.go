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

// signed says whether a message's word on its trace is that of somebody with the key.
func (t *Tracer) signed(m *Message, parent string) bool {
	want := t.signature(m.Subject, parent)
	return want != "" && hmac.Equal([]byte(m.header(signatureHeader)), []byte(want))
}

// Publish begins the publishing of a message, and gives the headers by which whoever takes it goes on in the trace.
func Publish(ctx context.Context, name, subject string) (context.Context, Span, map[string][]string) {
	ctx, s := Of(ctx).start(ctx, name, trace.WithSpanKind(trace.SpanKindProducer))
	if s.span == nil {
		return ctx, s, nil
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(ctx, s.span), carrier)
	header := map[string][]string{parentHeader: {carrier[parentHeader]}}
	if signature := s.tracer.signature(subject, carrier[parentHeader]); signature != "" {
		header[signatureHeader] = []string{signature}
	}
	return ctx, s, header
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
	text := m.header(parentHeader)
	from, now := parent(text), time.Now()
	wait := func(s Span) {
		if m.Delivery <= 1 {
			stored := m.Stored
			if stored.After(now) { // the server's clock is ahead
				stored = now
			}
			Interval(s.In(context.Background()), "queue", stored, now)
		}
	}
	consumer := trace.WithSpanKind(trace.SpanKindConsumer)
	var s Span
	if from.IsValid() && t.signed(&m, text) {
		sender := t.remote(from)
		wait(sender)
		_, s = sender.start(context.Background(), name, consumer)
	} else {
		_, s = Span{tracer: t}.start(context.Background(), name, consumer, linkTo(from))
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
	from, server := parent(traceparent), trace.WithSpanKind(trace.SpanKindServer)
	if trusted && from.IsValid() {
		return t.remote(from).start(ctx, name, server)
	}
	return Span{tracer: t}.start(ctx, name, server, linkTo(from))
}

// remote is a span elsewhere.
func (t *Tracer) remote(of trace.SpanContext) Span {
	return Span{t, trace.SpanFromContext(trace.ContextWithRemoteSpanContext(context.Background(), of))}
}

// linkTo makes nothing of a span that is none.
func linkTo(of trace.SpanContext) trace.SpanStartOption {
	if !of.IsValid() {
		return trace.WithLinks()
	}
	return trace.WithLinks(trace.Link{SpanContext: of})
}
