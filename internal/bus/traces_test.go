package bus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"stegomq/internal/link"
	"stegomq/internal/streams"
	"stegomq/internal/testrig/collector"
	"stegomq/internal/testrig/natsrig"
	"stegomq/internal/tracing"
	"stegomq/schemas"
)

// traced is a bus whose messages are traced and signed.
func traced(t *testing.T, maxDeliver int) (*Bus, *collector.Collector) {
	t.Helper()
	c := collector.Start(t)
	c.Traces.Tracer().Sign([]byte("the operator's key"))
	cfg := quick(natsrig.Server(t, ""))
	cfg.MaxDeliver, cfg.Tracer = maxDeliver, c.Traces.Tracer()
	return open(t, cfg), c
}

// inTrace calls f within a trace of its own.
func inTrace(t *testing.T, c *collector.Collector, f func(ctx context.Context)) {
	t.Helper()
	ctx, span := tracing.Start(c.Traces.Tracer().With(natsrig.Context(t)), "request")
	f(ctx)
	span.End(nil)
}

func ended(names ...string) func([]collector.Span) bool {
	return func(spans []collector.Span) bool {
		for _, name := range names {
			if len(collector.Named(spans, name)) == 0 {
				return false
			}
		}
		return true
	}
}

func sameTrace(t *testing.T, spans []collector.Span) {
	t.Helper()
	for _, s := range spans {
		if s.Trace != spans[0].Trace {
			t.Errorf("%s is in another trace than %s", s.Name, spans[0].Name)
		}
	}
}

func edges(t *testing.T, spans []collector.Span, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := collector.Edges(spans); !slices.Equal(got, want) {
		t.Errorf("spans\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A redelivered message is in the same trace, with the number of its deliveries.
func TestTraceOfRedelivery(t *testing.T) {
	t.Parallel()
	b, c := traced(t, 5)
	inTrace(t, c, func(ctx context.Context) {
		if err := b.PublishJob(ctx, natsrig.Job("run", "alice", 1)); err != nil {
			t.Error(err)
		}
	})
	var tries atomic.Int64
	consumeJobs(t, b, "one", 1, func(ctx context.Context, _ *schemas.Job) error {
		_, span := tracing.Start(ctx, "inference")
		defer span.End(nil)
		if tries.Add(1) == 1 {
			return errors.New("once")
		}
		return nil
	})
	waitEmpty(t, b, natsrig.Interactive)
	spans := c.Until(t, "two tries", func(spans []collector.Span) bool { return len(collector.Named(spans, "process job")) == 2 })
	sameTrace(t, spans)
	edges(t, spans, " > request", "request > publish job", "publish job > queue", "publish job > process job", "process job > inference")
	if n := len(collector.Named(spans, "queue")); n != 1 {
		t.Errorf("%d waits in the queue, want that before the first try", n)
	}
	for _, s := range collector.Named(spans, "process job") {
		if first := s.Attributes["stegomq.delivery"] == "1"; first != s.Failed {
			t.Errorf("delivery %q failed: %v", s.Attributes["stegomq.delivery"], s.Failed)
		}
	}
}

// A dead letter, and the result that reports it, are in the trace of the dead message.
func TestTraceOfDeath(t *testing.T) {
	t.Parallel()
	b, c := traced(t, 5)
	inTrace(t, c, func(ctx context.Context) {
		if err := b.PublishJob(ctx, natsrig.Job("run", "alice", 1)); err != nil {
			t.Error(err)
		}
	})
	const secret = "a text that may name anything"
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error {
		return schemas.Permanent(schemas.ReasonBadImage, errors.New(secret))
	})
	natsrig.Background(t, func(ctx context.Context) error {
		return b.DeadSource(nil).Consume(ctx, 1, func(context.Context, *schemas.DeadLetter) error { return nil })
	})
	spans := c.Until(t, "the letter", ended("process job", "process dead letter"))
	sameTrace(t, spans)
	edges(t, spans, " > request", "request > publish job", "publish job > queue", "publish job > process job",
		"process job > publish dead letter", "process job > publish result", "publish dead letter > queue", "publish dead letter > process dead letter")
	for _, name := range []string{"process job", "publish dead letter"} {
		if s := collector.Named(spans, name)[0]; s.Attributes["stegomq.reason"] != "bad_image" {
			t.Errorf("%s has the reason %q", name, s.Attributes["stegomq.reason"])
		}
	}
	for _, sent := range c.Raw() {
		if strings.Contains(string(sent), secret) {
			t.Error("the text of an error was sent")
		}
	}
}

// A message without the operator's signature begins a new trace, by the receiver's sampler, whatever its headers say.
func TestForeignTraces(t *testing.T) {
	t.Parallel()
	const trace = "0af7651916cd43dd8448eb211c80319c"
	parent := func(flags string) string { return "00-" + trace + "-b7ad6b7169203331-" + flags }
	job := natsrig.Job("run", "alice", 1)
	subject := schemas.JobSubject(job)
	for name, c := range map[string]struct {
		header nats.Header
		linked bool
	}{
		"none":                    {nil, false},
		"unsigned":                {nats.Header{"traceparent": {parent("01")}}, true},
		"not sampled":             {nats.Header{"traceparent": {parent("00")}}, true},
		"forged":                  {nats.Header{"traceparent": {parent("01")}, "Stegomq-Trace": {strings.Repeat("00", 16)}}, true},
		"signed as nothing":       {nats.Header{"traceparent": {parent("01")}, "Stegomq-Trace": {""}}, true},
		"two":                     {nats.Header{"traceparent": {parent("01"), parent("01")}}, false},
		"no trace":                {nats.Header{"traceparent": {"00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01"}}, false},
		"another version":         {nats.Header{"traceparent": {"01" + parent("01")[2:]}}, false},
		"upper case":              {nats.Header{"traceparent": {strings.ToUpper(parent("01"))}}, false},
		"text":                    {nats.Header{"traceparent": {"; drop table"}}, false},
		"megabytes":               {nats.Header{"traceparent": {parent("01") + strings.Repeat("-a", 30<<10)}}, false},
		"what others keep for it": {nats.Header{"traceparent": {parent("01")}, "tracestate": {"rogue=" + strings.Repeat("x", 200)}, "baggage": {"rogue=1"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, col := traced(t, 5)
			if err := b.streams.Publishable(natsrig.Context(t), streams.Lane{Class: schemas.JobClass(job), Model: job.GetModel()}); err != nil {
				t.Fatal(err)
			}
			data, err := schemas.Encode(job)
			if err == nil {
				err = b.link.Once(natsrig.Context(t), link.Message{Subject: subject, Header: c.header, Data: data})
			}
			if err != nil {
				t.Fatal(err)
			}
			consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error { return nil })
			spans := col.Until(t, "the job", ended("process job"))
			edges(t, spans, " > process job", "process job > queue")
			s := collector.Named(spans, "process job")[0]
			if linked := slices.Equal(s.Links, []string{trace}); s.Trace == trace || linked != c.linked || !linked && len(s.Links) > 0 {
				t.Errorf("in the trace %s, with the links %v", s.Trace, s.Links)
			}
			for _, sent := range col.Raw() {
				if strings.Contains(string(sent), "rogue") {
					t.Error("the publisher's words were sent")
				}
			}
		})
	}
}

// A signature covers the subject: a tenant cannot reuse the signature of a result for a job.
func TestSeenSignature(t *testing.T) {
	t.Parallel()
	b, c := traced(t, 5)
	job := natsrig.Job("run", "alice", 1)
	seen := make(chan nats.Header, 1)
	sub, err := b.link.NC.Subscribe("result.>", func(m *nats.Msg) { seen <- m.Header })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	inTrace(t, c, func(ctx context.Context) {
		if err := b.PublishResult(ctx, natsrig.Result(job)); err != nil {
			t.Error(err)
		}
	})
	header := natsrig.Receive(t, seen, "a result")
	if header.Get("traceparent") == "" || header.Get("Stegomq-Trace") == "" {
		t.Fatalf("headers %v", header)
	}
	if err := b.streams.Publishable(natsrig.Context(t), streams.Lane{Class: schemas.JobClass(job), Model: job.GetModel()}); err != nil {
		t.Fatal(err)
	}
	data, err := schemas.Encode(job)
	if err == nil {
		err = b.link.Once(natsrig.Context(t), link.Message{Subject: schemas.JobSubject(job), Data: data, Header: nats.Header{
			"traceparent": header["traceparent"], "Stegomq-Trace": header["Stegomq-Trace"],
		}})
	}
	if err != nil {
		t.Fatal(err)
	}
	consumeJobs(t, b, "one", 1, func(context.Context, *schemas.Job) error { return nil })
	spans := c.Until(t, "the job", ended("process job"))
	if s := collector.Named(spans, "process job")[0]; s.Parent != "" || s.Trace == collector.Named(spans, "publish result")[0].Trace {
		t.Errorf("a job went on in the trace %s of the result", s.Trace)
	}
}

// Without a tracer there is no header, whatever the context is.
func TestNoTraces(t *testing.T) {
	t.Parallel()
	b := open(t, quick(natsrig.Server(t, "")))
	publishJobs(t, b, natsrig.Job("run", "alice", 1))
	headers := make(chan nats.Header, 1)
	consumeJobs(t, b, "one", 1, func(ctx context.Context, _ *schemas.Job) error {
		if tracing.Of(ctx) != (tracing.Span{}) {
			t.Error("there is a span")
		}
		ctx, span := tracing.Start(ctx, "inference")
		_, _, header := tracing.Publish(ctx, "publish result", "result.main.run")
		span.End(nil)
		headers <- header
		return nil
	})
	if h := natsrig.Receive(t, headers, "the job"); h != nil {
		t.Errorf("headers %v", h)
	}
}
