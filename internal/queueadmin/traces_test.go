package queueadmin_test

import (
	"context"
	"slices"
	"testing"

	"stegomq/internal/bus"
	"stegomq/internal/link"
	"stegomq/internal/queueadmin"
	"stegomq/internal/streams"
	"stegomq/internal/testrig/collector"
	"stegomq/internal/testrig/natsrig"
	"stegomq/schemas"
)

// A retry with the operator's key continues the trace of the dead letter. Without the key it is linked to that trace, and begins no trace of the
// retrying command.
func TestTraceOfRetry(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key    string // of who retries
		traced bool
		child  bool
	}{
		"the operator's service":   {"the operator's key", true, true},
		"a command without a key":  {"", true, false},
		"a command without traces": {"", false, false},
		"another's key":            {"another key", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			worker, admin := collector.Start(t), collector.Start(t)
			worker.Traces.Tracer().Sign([]byte("the operator's key"))
			if c.key != "" {
				admin.Traces.Tracer().Sign([]byte(c.key))
			}
			s := natsrig.Streams(t, link.Config{Server: natsrig.Server(t, "")}, streams.Config{})
			r := rig{queueadmin.New(s), bus.New(s, bus.Config{Grace: natsrig.Patience, Tracer: worker.Traces.Tracer()}), s.Link}
			r.die(t, natsrig.Job("run", "alice", 1), schemas.ReasonBadImage)
			list, err := r.ListDead(natsrig.Context(t), "", 0)
			if err != nil || len(list) != 1 {
				t.Fatalf("%v, %v", list, err)
			}
			ctx := natsrig.Context(t)
			if c.traced {
				ctx = admin.Traces.Tracer().With(ctx)
			}
			if err := r.RetryDead(ctx, list[0].Seq); err != nil {
				t.Fatal(err)
			}
			r.work(t, func(context.Context, *schemas.Job) error { return nil })
			jobs := func(spans []collector.Span) []collector.Span { return collector.Named(spans, "process job") }
			spans := worker.Until(t, "both tries", func(spans []collector.Span) bool { return len(jobs(spans)) == 2 })
			letter, again := collector.Named(spans, "publish dead letter")[0], jobs(spans)[1]
			if !c.child {
				if again.Parent != "" || again.Trace == letter.Trace || len(again.Links) != 1 {
					t.Errorf("%+v, and the letter is %+v", again, letter)
				}
				if c.key == "" && !slices.Equal(again.Links, []string{letter.Trace}) {
					t.Errorf("linked to %v, not to the letter's trace %s", again.Links, letter.Trace)
				}
				return
			}
			retries := collector.Named(admin.Until(t, "the retry", func(spans []collector.Span) bool { return len(spans) > 0 }), "")
			if r := retries[0]; len(retries) != 1 || r.Name != "retry dead letter" || r.Trace != letter.Trace || r.Parent != letter.ID || again.Trace != letter.Trace || again.Parent != r.ID {
				t.Errorf("the letter is %+v, the retry %+v, the job %+v", letter, retries, again)
			}
		})
	}
}
