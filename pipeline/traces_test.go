package pipeline

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"stegomq/internal/keyring"
	"stegomq/internal/testrig"
	"stegomq/internal/testrig/collector"
	"stegomq/internal/tracing"
	"stegomq/producer"
	"stegomq/schemas"
)

// tracedOptions are options whose traces a collector takes.
func tracedOptions(t *testing.T, e Endpoints) (Options, *collector.Collector) {
	t.Helper()
	c := collector.Start(t)
	opts := options(e)
	opts.Traces = c.Traces.Tracer()
	return opts, c
}

// edges holds the pairs of a span and its parent against those wanted.
func edges(t *testing.T, spans []collector.Span, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := collector.Edges(spans); !slices.Equal(got, want) {
		t.Errorf("spans\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
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

// secretless fails where anything that was sent has the halves of keys, or what else must stay, in any form that a program would write.
func secretless(t *testing.T, c *collector.Collector, keys []keyring.Pair, more ...[]byte) {
	t.Helper()
	for _, p := range keys {
		more = append(more, p.Embed.Expose(), p.Recover.Expose())
	}
	var text [][]byte
	for _, secret := range more {
		if len(secret) < 16 {
			t.Fatalf("%d bytes are no secret", len(secret))
		}
		text = append(text, secret, []byte(hex.EncodeToString(secret)), []byte(base64.StdEncoding.EncodeToString(secret)), []byte(base64.RawURLEncoding.EncodeToString(secret)))
	}
	if len(c.Raw()) == 0 {
		t.Fatal("nothing was sent")
	}
	for _, sent := range c.Raw() {
		for _, secret := range text {
			if bytes.Contains(bytes.ToLower(sent), bytes.ToLower(secret)) {
				t.Errorf("%.16q... was sent", secret)
			}
		}
	}
}

// documented fails where a name or an attribute is not in docs/tracing.md.
func documented(t *testing.T, spans []collector.Span) {
	t.Helper()
	page, err := os.ReadFile("../docs/tracing.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range spans {
		for _, name := range append(keysOf(s.Attributes), s.Name) {
			if !bytes.Contains(page, []byte("`"+name+"`")) {
				t.Errorf("docs/tracing.md has nothing of %s", name)
			}
		}
	}
}

func keysOf(m map[string]string) (keys []string) {
	for key := range m {
		keys = append(keys, key)
	}
	return keys
}

// A run is one trace, from the request to the scores.
func TestTraceOfRun(t *testing.T) {
	t.Parallel()
	opts, c := tracedOptions(t, Endpoints{State: t.TempDir()})
	s := open(t, opts)
	req := request(t, 1)
	run, err := s.Evaluate(testrig.Context(t), req, Watch{})
	if err != nil {
		t.Fatal(err)
	}
	c.Traces.Flush(t.Context())
	spans := c.Spans()
	sameTrace(t, spans)
	work := []string{"look up", "fetch and decode", "wait for a place", "key patch", "inference", "encode and store", "cache write", "publish result", "publish job"}
	want := []string{
		" > evaluate", "evaluate > publish job", "publish job > queue", "publish job > process job", "publish result > queue", "publish result > process result",
		"process result > score", "process result > cache write", "score > fetch and decode",
	}
	for _, part := range work {
		want = append(want, "process job > "+part)
	}
	edges(t, spans, want...)
	byID := make(map[string]collector.Span)
	for _, one := range spans {
		byID[one.ID] = one
		if one.Failed || one.End < one.Start || one.Resource["service.name"] != "stegomq" || one.Resource["service.version"] != "test" {
			t.Errorf("span %+v", one)
		}
	}
	for _, one := range spans {
		if parent := byID[one.Parent]; one.Start < parent.Start {
			t.Errorf("%s begins before its parent %s", one.Name, parent.Name)
		}
		// What is published has waited before it is taken in hand.
		if one.Name == "queue" {
			i := slices.IndexFunc(spans, func(other collector.Span) bool { return other.Parent == one.Parent && other.Name != "queue" })
			if i < 0 || spans[i].Start < one.End {
				t.Errorf("the wait %+v does not end before the work begins", one)
			}
		}
	}
	if root := collector.Named(spans, "evaluate"); root[0].Attributes["stegomq.run"] != run.Spec.GetId() || root[0].Attributes["stegomq.model_name"] != tiny.Name ||
		root[0].Attributes["stegomq.model"] != tiny.Digest {
		t.Errorf("the run is %v", root[0].Attributes)
	}
	keys := make(map[string]bool)
	for _, job := range collector.Named(spans, "process job") {
		a := job.Attributes
		keys[a["stegomq.key"]] = true
		if a["stegomq.run"] != run.Spec.GetId() || a["stegomq.job"] == "" || a["stegomq.model"] != tiny.Digest || a["stegomq.class"] == "" || a["stegomq.tenant"] != "main" ||
			!slices.Contains([]string{"embed", "recover", "purify"}, a["stegomq.operation"]) || a["stegomq.items"] != "1" || a["stegomq.delivery"] != "1" {
			t.Errorf("a job is %v", a)
		}
	}
	for _, p := range req.Keys {
		if !keys[p.ID] {
			t.Errorf("no job of key %s", p.ID)
		}
	}
	var images [][]byte
	files, err := filepath.Glob(filepath.Join(req.Dataset.Data, "*.png"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, data[len(data)/2:len(data)/2+32])
	}
	secretless(t, c, req.Keys, images...)
	documented(t, spans)
}

// A run that was made before has no work, and its trace is the run alone.
func TestTraceOfFoundRun(t *testing.T) {
	t.Parallel()
	opts, c := tracedOptions(t, Endpoints{State: t.TempDir()})
	s := open(t, opts)
	req := request(t, 1)
	for range 2 {
		if _, err := s.Evaluate(testrig.Context(t), req, Watch{}); err != nil {
			t.Fatal(err)
		}
	}
	c.Traces.Flush(t.Context())
	runs := collector.Named(c.Spans(), "evaluate")
	if len(runs) != 2 {
		t.Fatalf("%d runs", len(runs))
	}
	last := slices.MaxFunc(runs, func(a, b collector.Span) int { return int(int64(a.Start) - int64(b.Start)) })
	for _, one := range c.Spans() {
		if one.Trace == last.Trace && one.ID != last.ID {
			t.Errorf("%s is in the trace of a run without work", one.Name)
		}
	}
}

// A request of embed is one trace, and so is one that dies: to the evaluator that records it.
func TestTraceOfRequests(t *testing.T) {
	t.Parallel()
	opts, c := tracedOptions(t, Endpoints{State: t.TempDir(), NATSListen: "127.0.0.1:0"})
	s := open(t, opts)
	if err := s.OpenBus(testrig.Context(t)); err != nil {
		t.Fatal(err)
	}
	s.works(testrig.Context(t), t)
	keys, err := DemoKeys(tiny.Model)
	if err != nil {
		t.Fatal(err)
	}
	dir := photographs(t, 2)
	one := func(key *schemas.KeyRef) producer.Reply {
		t.Helper()
		stream := producer.NewStream(producer.StreamConfig{
			Operation: schemas.Operation_OPERATION_EMBED, Model: tiny.Digest, Geometry: Square(side, schemas.ResizePolicy_RESIZE_POLICY_SQUASH),
			Run: streamName(), Logger: s.log,
		}, producer.StreamParts{
			Publisher: s.Bus, Blobs: s.Blobs, Results: s.Bus, Key: func(string) (*schemas.KeyRef, error) { return key, nil },
		})
		request := producer.Request{ID: "r", Cover: filepath.Join(dir, "a.png"), Secret: filepath.Join(dir, "b.png"), Key: "k", Out: filepath.Join(t.TempDir(), "o.png")}
		reply, err := stream.One(s.opts.Traces.With(testrig.Context(t)), request)
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	if reply := one(keyRef(keys[0])); !reply.OK {
		t.Fatal(reply.Error)
	}
	spans := c.Until(t, "the request", func(spans []collector.Span) bool { return len(collector.Named(spans, "process job")) == 1 })
	sameTrace(t, spans)
	want := []string{" > request", "request > publish job", "publish job > queue", "publish job > process job"}
	for _, part := range []string{"look up", "fetch and decode", "wait for a place", "key patch", "inference", "encode and store", "cache write", "publish result"} {
		want = append(want, "process job > "+part)
	}
	edges(t, spans, want...)

	wrong := proto.CloneOf(keyRef(keys[0]))
	wrong.Fingerprint = strings.Repeat("0", 32)
	if reply := one(wrong); reply.OK || reply.Reason != string(schemas.ReasonKeyMismatch) {
		t.Fatal(reply)
	}
	spans = c.Until(t, "the dead letter", func(spans []collector.Span) bool {
		return len(collector.Named(spans, "process dead letter")) == 1 && len(collector.Named(spans, "process job")) == 2
	})
	trace := collector.Named(spans, "process dead letter")[0].Trace
	died := slices.DeleteFunc(slices.Clone(spans), func(s collector.Span) bool { return s.Trace != trace })
	edges(t, died, " > request", "request > publish job", "publish job > queue", "publish job > process job", "process job > publish dead letter", "process job > publish result",
		"publish dead letter > queue", "publish dead letter > process dead letter")
	for _, name := range []string{"request", "process job", "publish dead letter"} {
		if got := collector.Named(died, name)[0].Attributes["stegomq.reason"]; got != string(schemas.ReasonKeyMismatch) {
			t.Errorf("%s: reason %q", name, got)
		}
	}
	secretless(t, c, keys)
	documented(t, spans)
}

// Processes that share Redis believe each other.
func TestTraceAcrossProcesses(t *testing.T) {
	t.Parallel()
	opts, c := tracedOptions(t, Endpoints{State: t.TempDir()})
	s := open(t, opts)
	other := collector.Start(t)
	key, err := s.Cache.TraceKey(testrig.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	other.Traces.Tracer().Sign(key)
	ctx, span := tracing.Start(c.Traces.Tracer().With(context.Background()), "evaluate")
	_, _, header := tracing.Publish(ctx, "publish job", "job.x")
	other.Traces.Tracer().Receive("process job", tracing.Message{Subject: "job.x", Header: header, Delivery: 2}).End(nil)
	span.End(nil)
	c.Traces.Flush(t.Context())
	other.Traces.Flush(t.Context())
	spans := c.Spans()
	edges(t, spans, " > evaluate")
	run := spans[0]
	if got := other.Spans(); len(got) != 1 || got[0].Trace != run.Trace || got[0].Parent == "" {
		t.Errorf("elsewhere: %+v", got)
	}
}

// Each job of a run of many comparisons begins a trace of its own, with a link to the run's.
func TestTracesOfLargeRun(t *testing.T) {
	t.Parallel()
	opts, c := tracedOptions(t, Endpoints{State: t.TempDir(), NATSListen: "127.0.0.1:0"})
	s := open(t, opts)
	req := request(t, 1)
	req.RandomKeys = 300
	run, err := s.Publish(testrig.Context(t), req, Watch{})
	if err != nil {
		t.Fatal(err)
	}
	if run.Plan.Missing <= 1000 {
		t.Fatalf("%d comparisons", run.Plan.Missing)
	}
	c.Traces.Flush(t.Context())
	spans := c.Spans()
	edges(t, spans, " > produce", " > batch", "batch > publish job")
	whole, traces := collector.Named(spans, "produce")[0], make(map[string]bool)
	for _, batch := range collector.Named(spans, "batch") {
		traces[batch.Trace] = true
		if !slices.Equal(batch.Links, []string{whole.Trace}) {
			t.Errorf("a batch has the links %v", batch.Links)
		}
	}
	if n := len(collector.Named(spans, "publish job")); n < 2 || len(traces) != n || traces[whole.Trace] {
		t.Errorf("%d jobs in %d traces", n, len(traces))
	}
	documented(t, spans)
}
