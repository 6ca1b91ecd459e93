package tracing_test

import (
	"context"
	"testing"
	"time"

	"stegomq/internal/testrig/collector"
	"stegomq/internal/tracing"
	"stegomq/schemas"
)

// BenchmarkJob measures the spans of one job, without a tracer, and with one whose spans are sent.
func BenchmarkJob(b *testing.B) {
	job := &schemas.Job{Id: "0123456789abcdef0123456789abcdef", Run: "run", Operation: schemas.Operation_OPERATION_EMBED, Key: &schemas.KeyRef{Id: "alice"}}
	c := collector.Start(b)
	c.Traces.Tracer().Sign(make([]byte, 32))
	for name, tracer := range map[string]*tracing.Tracer{"off": nil, "on": c.Traces.Tracer()} {
		b.Run(name, func(b *testing.B) {
			ctx, cancel := context.WithCancel(schemas.WithTenant(context.Background(), "main"))
			defer cancel()
			b.ReportAllocs()
			for b.Loop() {
				ctx, request := tracing.Start(tracer.With(ctx), "request")
				ctx, publish, header := tracing.Publish(ctx, "publish job", "job.interactive.main.m.embed.alice.run")
				publish.Job(job)
				publish.End(nil)
				span := tracer.Receive("process job", tracing.Message{Subject: "job.interactive.main.m.embed.alice.run", Header: header, Stored: time.Time{}, Delivery: 1})
				ctx = span.In(ctx)
				tracing.Of(ctx).Job(job)
				for range 4 {
					_, part := tracing.Start(ctx, "fetch and decode")
					part.End(nil)
				}
				_, result, _ := tracing.Publish(ctx, "publish result", "result.main.run")
				result.End(nil)
				span.End(nil)
				request.End(nil)
			}
		})
	}
}
