package producer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stegomq/gpuworker"
	"stegomq/internal/bus"
	"stegomq/internal/pixel"
	"stegomq/internal/testrig"
	"stegomq/producer"
	"stegomq/schemas"
)

// replies takes what a stream writes and hands out one reply after another.
type replies struct {
	t    *testing.T
	mu   sync.Mutex
	text bytes.Buffer
	next chan producer.Reply
}

func newReplies(t *testing.T) *replies { return &replies{t: t, next: make(chan producer.Reply, 1000)} }

func (r *replies) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text.Write(p)
	for {
		line, err := r.text.ReadBytes('\n')
		if err != nil {
			r.text.Write(line)
			return len(p), nil
		}
		var reply producer.Reply
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&reply); err != nil {
			r.t.Errorf("the line %q is no reply: %v", line, err)
			continue
		}
		r.next <- reply
	}
}

func (r *replies) get() producer.Reply {
	r.t.Helper()
	select {
	case reply := <-r.next:
		return reply
	case <-time.After(testrig.Patience):
		r.t.Fatal("no reply came")
		return producer.Reply{}
	}
}

// all are the replies that have come, by request id.
func (r *replies) all() map[string]producer.Reply {
	r.t.Helper()
	m := make(map[string]producer.Reply)
	for {
		select {
		case reply := <-r.next:
			if _, twice := m[reply.ID]; twice {
				r.t.Errorf("request %q has two replies", reply.ID)
			}
			m[reply.ID] = reply
		default:
			return m
		}
	}
}

// streamRig is a queue with a stream's settings; a worker is started with work.
type streamRig struct {
	t       *testing.T
	bus     *testrig.Queue
	cfg     producer.StreamConfig
	parts   producer.StreamParts
	replies *replies
	dir     string
}

func newStreamRig(t *testing.T, op schemas.Operation) *streamRig {
	t.Helper()
	b := testrig.Bus(t, 0)
	return &streamRig{
		t: t, bus: b, replies: newReplies(t), dir: t.TempDir(),
		cfg: producer.StreamConfig{
			Operation: op, Model: tiny.Digest, Run: "stream", Geometry: &schemas.Geometry{Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH},
		},
		parts: producer.StreamParts{Publisher: b, Blobs: b.Blobs, Results: b, Key: func(id string) (*schemas.KeyRef, error) {
			pair, err := tiny.Keys.Get(id)
			if err != nil {
				return nil, err
			}
			return &schemas.KeyRef{Id: id, Fingerprint: pair.Fingerprint()}, nil
		}},
	}
}

func (r *streamRig) work() { work(r.t, r.bus, testrig.Cache(r.t)) }

func (r *streamRig) stream() *producer.Stream {
	return producer.NewStream(r.cfg, r.parts)
}

// serve runs the stream on lines and gives the replies.
func (r *streamRig) serve(lines ...string) (failed int, replies map[string]producer.Reply) {
	r.t.Helper()
	failed, err := r.stream().Run(testrig.Context(r.t), strings.NewReader(strings.Join(lines, "\n")), r.replies)
	if err != nil {
		r.t.Fatal(err)
	}
	return failed, r.replies.all()
}

func (r *streamRig) file(name string, data []byte) string {
	return testrig.WriteFile(r.t, data, r.dir, name)
}

func (r *streamRig) path(name string) string { return filepath.Join(r.dir, name) }

// line is a request in JSON: pairs of names and values.
func line(pairs ...string) string {
	m := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	data, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// expectOutput wants a good reply whose file is a PNG of a size.
func (r *streamRig) expectOutput(reply producer.Reply, out string, w, h int) {
	r.t.Helper()
	if !reply.OK || reply.Out != out || reply.Reason != "" || reply.Error != "" {
		r.t.Fatalf("reply %+v, want an output in %s", reply, out)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		r.t.Fatal(err)
	}
	if sha(data) != reply.Digest {
		r.t.Errorf("%s has the digest %s, the reply says %s", out, sha(data), reply.Digest)
	}
	img, _, err := pixel.Decode(data, pixel.Limits{})
	if err != nil || img.Rect.Dx() != w || img.Rect.Dy() != h {
		r.t.Errorf("%s is %v (%v), want %dx%d", out, img.Rect, err, w, h)
	}
}

func TestStreamThereAndBack(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_EMBED)
	r.work()
	secret := r.file("secret.png", picture(t, 1, 50, 40))
	var requests []string
	for i := range 3 {
		cover := r.file(fmt.Sprintf("cover-%d.png", i), picture(t, uint64(10+i), 30+i, 24))
		requests = append(requests, line("id", fmt.Sprint("e", i), "key", "demo-1", "cover", cover, "secret", secret, "out", r.path(fmt.Sprintf("stego-%d.png", i))), "", " ")
	}
	// Too large for a message: these go through the blob store.
	large := r.file("large.png", picture(t, 20, 420, 420))
	requests = append(requests, line("id", "large", "key", "demo-2", "cover", large, "secret", large, "out", r.path("stego-large.png")))
	failed, replies := r.serve(requests...)
	if failed != 0 || len(replies) != 4 {
		t.Fatalf("%d failed, replies %v", failed, replies)
	}
	for i := range 3 {
		r.expectOutput(replies[fmt.Sprint("e", i)], r.path(fmt.Sprintf("stego-%d.png", i)), 30+i, 24)
	}
	r.expectOutput(replies["large"], r.path("stego-large.png"), 420, 420)

	r.cfg.Operation, r.cfg.Run = schemas.Operation_OPERATION_RECOVER, "back"
	failed, replies = r.serve(
		line("key", "demo-1", "stego", r.path("stego-1.png"), "out", r.path("back.png")),
		line("key", "demo-2", "stego", r.path("stego-1.png"), "out", r.path("wrong.png")))
	if failed != 0 || len(replies) != 2 || replies["1"].Digest == replies["2"].Digest {
		t.Fatalf("%d failed, replies %v", failed, replies)
	}
	r.expectOutput(replies["1"], r.path("back.png"), 31, 24)

	// The requester may call a request what is no name of an item.
	for _, id := range []string{"../../evil", "with spaces", strings.Repeat("x", 201), "ü|*>"} {
		out := r.path("named.png")
		r.cfg.Run = "named-" + sha([]byte(id))[:8]
		_, replies = r.serve(line("id", id, "key", "demo-1", "stego", r.path("stego-1.png"), "out", out))
		r.expectOutput(replies[id], out, 31, 24)
	}

	r.cfg.Operation, r.cfg.Run = schemas.Operation_OPERATION_PURIFY, "pure"
	reply, err := r.stream().One(testrig.Context(t), producer.Request{ID: "one", Image: r.path("stego-0.png"), Out: r.path("pure.png")})
	if err != nil {
		t.Fatal(err)
	}
	r.expectOutput(reply, r.path("pure.png"), 30, 24)
}

func TestStreamBringsImagesToASize(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_PURIFY)
	r.work()
	r.cfg.Geometry.Width, r.cfg.Geometry.Height = 28, 18
	r.serve(line("id", "a", "image", r.file("a.png", picture(t, 1, 60, 60)), "out", r.path("b.png")))
	data, err := os.ReadFile(r.path("b.png"))
	if err != nil {
		t.Fatal(err)
	}
	if img, _, err := pixel.Decode(data, pixel.Limits{}); err != nil || img.Rect.Dx() != 28 || img.Rect.Dy() != 18 {
		t.Errorf("%v (%v), want 28x18", img.Rect, err)
	}
}

// TestBadRequests mixes requests that cannot be served with one that can.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_EMBED)
	r.work()
	r.cfg.Limits = pixel.Limits{MaxBytes: 10000, MaxPixels: 60 * 60}
	good, text := r.file("good.png", picture(t, 1, 24, 24)), r.file("text.png", []byte("not an image"))
	heavy, wide := r.file("heavy.png", picture(t, 2, 60, 60)), r.file("wide.png", flat(t, 61, 60))
	torn := r.file("torn.png", picture(t, 3, 24, 24)[:300]) // its header is whole
	out := r.path("out.png")
	request := func(id string, change ...string) string {
		return line(append([]string{"id", id, "key", "demo-1", "cover", good, "secret", good, "out", out}, change...)...)
	}
	cases := []struct {
		line, id, reason, says string
	}{
		{"this is not JSON", "1", "bad_message", "line 1 is not a request"},
		{`{"id":"unknown","colour":"blue"}`, "unknown", "bad_message", "colour"},
		{`{"id":5}`, "3", "bad_message", "line 3"},
		{request("two") + request("lines"), "two", "bad_message", "more follows"},
		{request("tail") + "]", "tail", "bad_message", "more follows"},
		{"[1,2]", "6", "bad_message", "line 6"},
		{request("no out", "out", ""), "no out", "bad_message", "out is missing"},
		{request("no cover", "cover", ""), "no cover", "bad_message", "cover is missing"},
		{request("no secret", "secret", ""), "no secret", "bad_message", "secret is missing"},
		{request("stranger", "key", "eve"), "stranger", "unknown_key", "eve"},
		{request("no key", "key", ""), "no key", "unknown_key", "unknown key"},
		{request("a random key", "key", "random-1-2"), "a random key", "bad_message", "random key"},
		{request("missing", "secret", r.path("nothing.png")), "missing", "bad_image", "secret"},
		{request("folder", "cover", r.dir), "folder", "bad_image", "not a regular file"},
		{request("text", "cover", text), "text", "bad_image", "unsupported"},
		{request("heavy", "cover", heavy), "heavy", "too_large", "cover " + heavy},
		{request("wide", "secret", wide), "wide", "too_large", "secret " + wide},
		{request("torn", "secret", torn), "torn", "bad_image", "torn.png"}, // only the worker finds that
		{request("nowhere", "out", r.path("no/such/folder/x.png")), "nowhere", "output", "there is no folder " + r.path("no/such/folder")},
		{request("a folder", "out", r.dir), "a folder", "output", "it is a folder"},
	}
	var lines []string
	for _, c := range cases {
		lines = append(lines, c.line)
	}
	failed, replies := r.serve(append(lines, request("good"))...)
	if failed != len(cases) || len(replies) != len(cases)+1 {
		t.Errorf("%d failed and %d replied, want %d and one more", failed, len(replies), len(cases))
	}
	for _, c := range cases {
		got, ok := replies[c.id]
		if !ok || got.OK || got.Reason != c.reason || !strings.Contains(got.Error, c.says) || got.Digest != "" && c.reason != "output" {
			t.Errorf("%.20q: reply %+v, want %s that says %q", c.id, got, c.reason, c.says)
		}
	}
	r.expectOutput(replies["good"], out, 24, 24)
}

// TestLongLineHasItsReply puts lines that are too long between requests, and at the end of the input.
func TestLongLineHasItsReply(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_PURIFY)
	r.work()
	image := r.file("a.png", picture(t, 1, 20, 20))
	request := func(n int) string {
		return line("id", fmt.Sprint("r", n), "image", image, "out", r.path(fmt.Sprint(n, ".png")))
	}
	// The longest line that is taken: spaces do not change a request.
	longest := request(0) + strings.Repeat(" ", 1<<20-len(request(0)))
	lines := []string{longest, longest + " ", strings.Repeat("x", 3<<20)}
	for n := 1; n <= 65; n++ {
		lines = append(lines, request(n))
	}
	failed, replies := r.serve(append(lines, longest+"  ")...)
	if failed != 3 || len(replies) != 66+3 {
		t.Fatalf("%d failed and %d replied, want 3 and 69", failed, len(replies))
	}
	for _, id := range []string{"2", "3", "69"} {
		if got := replies[id]; got.OK || got.Reason != "bad_message" || !strings.Contains(got.Error, "line "+id+" is not a request: it has more than 1048576 bytes") {
			t.Errorf("line %s: %+v", id, got)
		}
	}
	for n := range 66 {
		r.expectOutput(replies[fmt.Sprint("r", n)], r.path(fmt.Sprint(n, ".png")), 20, 20)
	}
}

// flat is a PNG file of one colour: many pixels in few bytes.
func flat(t *testing.T, w, h int) []byte {
	t.Helper()
	img, err := pixel.Fit(mustDecode(t, picture(t, 1, 16, 16)), pixel.Geometry{Width: w, Height: h})
	if err != nil {
		t.Fatal(err)
	}
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	data, err := pixel.EncodePNG(img)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRequestsWithOneID(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_PURIFY)
	in, requests := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := r.stream().Run(testrig.Context(t), in, r.replies)
		ended <- err
	}()
	send := func(image, out string) {
		if _, err := fmt.Fprintln(requests, line("id", "a", "image", r.path(image), "out", r.path(out))); err != nil {
			t.Error(err)
		}
	}
	r.file("1.png", picture(t, 1, 24, 24))
	r.file("2.png", picture(t, 2, 26, 24))
	// While one is under way another with its id is refused.
	send("1.png", "o1.png")
	send("2.png", "o2.png")
	if got := r.replies.get(); got.OK || got.Reason != "bad_message" || !strings.Contains(got.Error, "still under way") {
		t.Errorf("reply %+v, want a refusal", got)
	}
	r.work()
	r.expectOutput(r.replies.get(), r.path("o1.png"), 24, 24)
	// Afterwards the id is free, for another image and for the same one again.
	send("2.png", "o2.png")
	r.expectOutput(r.replies.get(), r.path("o2.png"), 26, 24)
	send("2.png", "o3.png")
	r.expectOutput(r.replies.get(), r.path("o3.png"), 26, 24)
	if err := requests.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// echo gives the first result once more before each later job is published.
type echo struct {
	*bus.Bus
	mu    sync.Mutex
	first *schemas.Result
	tell  func(*schemas.Result) error
}

func (e *echo) SubscribeResults(ctx context.Context, run string, onResult func(*schemas.Result) error) error {
	return e.Bus.SubscribeResults(ctx, run, func(r *schemas.Result) error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.first == nil {
			e.first, e.tell = r, onResult
		}
		return onResult(r)
	})
}

func (e *echo) PublishJob(ctx context.Context, j *schemas.Job) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.first != nil {
		if err := e.tell(e.first); err != nil {
			return err
		}
	}
	return e.Bus.PublishJob(ctx, j)
}

func TestLateResultIsNotTheAnswerOfAnother(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_PURIFY)
	e := &echo{Bus: r.bus.Bus}
	r.parts.Publisher, r.parts.Results = e, e
	r.work()
	in, requests := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		_, err := r.stream().Run(testrig.Context(t), in, r.replies)
		ended <- err
	}()
	for i, width := range []int{24, 26} {
		image := r.file(fmt.Sprint(i, ".png"), picture(t, uint64(i), width, 24))
		if _, err := fmt.Fprintln(requests, line("id", "a", "image", image, "out", r.path("out.png"))); err != nil {
			t.Fatal(err)
		}
		r.expectOutput(r.replies.get(), r.path("out.png"), width, 24)
	}
	_ = requests.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDeadLettersAreReplies(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_RECOVER)
	r.work()
	// The requester has a key that the worker does not have.
	r.parts.Key = func(id string) (*schemas.KeyRef, error) {
		return &schemas.KeyRef{Id: id, Fingerprint: sha([]byte(id))[:32]}, nil
	}
	stego := r.file("stego.png", picture(t, 1, 24, 24))
	failed, replies := r.serve(
		line("id", "a", "key", "eve", "stego", stego, "out", r.path("a.png")),
		line("id", "b", "key", "mallory", "stego", stego, "out", r.path("b.png")))
	if failed != 2 || len(replies) != 2 {
		t.Errorf("%d failed, %d replied", failed, len(replies))
	}
	for id, key := range map[string]string{"a": "eve", "b": "mallory"} {
		if got := replies[id]; got.OK || got.Reason != "unknown_key" || !strings.Contains(got.Error, key) {
			t.Errorf("%s: reply %+v, want unknown_key that names %s", id, got, key)
		}
	}
	if _, err := os.Stat(r.path("a.png")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an output is there: %v", err)
	}
}

// strict is an engine whose recovery refuses every key but one.
type strict struct {
	gpuworker.Engine
	key string
}

func (s strict) Run(ctx context.Context, digest string, op schemas.Operation, key *schemas.KeyRef, in ...pixel.Tensor) (pixel.Tensor, []*schemas.Refusal, error) {
	out, refused, err := s.Engine.Run(ctx, digest, op, key, in...)
	if op == schemas.Operation_OPERATION_RECOVER && key.GetId() != s.key {
		refused = slices.Repeat([]*schemas.Refusal{{Detail: "authentication failed: wrong key"}}, out.N)
	}
	return out, refused, err
}

func TestRefusalsAreReplies(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_RECOVER)
	workWith(t, r.bus, testrig.Cache(t), strict{tiny.Network(), "demo-1"})
	stego := r.file("stego.png", picture(t, 1, 24, 24))
	failed, replies := r.serve(
		line("id", "a", "key", "demo-1", "stego", stego, "out", r.path("a.png")),
		line("id", "b", "key", "demo-2", "stego", stego, "out", r.path("b.png")))
	if failed != 1 || len(replies) != 2 {
		t.Errorf("%d failed, %d replied", failed, len(replies))
	}
	r.expectOutput(replies["a"], r.path("a.png"), 24, 24)
	want := producer.Reply{ID: "b", Reason: "refused", Error: "authentication failed: wrong key"}
	if !reflect.DeepEqual(replies["b"], want) {
		t.Errorf("reply %+v, want %+v", replies["b"], want)
	}
	if _, err := os.Stat(r.path("b.png")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an output is there: %v", err)
	}
}

// deaf ends its subscription as soon as it is told to.
type deaf struct{ end chan struct{} }

func (d deaf) SubscribeResults(ctx context.Context, _ string, _ func(*schemas.Result) error) error {
	select {
	case <-d.end:
		return errBroken
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestStreamWithoutResults(t *testing.T) {
	t.Parallel()
	for name, requests := range map[string]int{"at the end of its input": 1, "with all slots taken": 2, "while it reads": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newStreamRig(t, schemas.Operation_OPERATION_PURIFY)
			d := deaf{make(chan struct{})}
			q := &queue{Queue: r.bus, before: func(*schemas.Job) error { close(d.end); return nil }}
			r.parts.Results, r.parts.Publisher, r.cfg.InFlight = d, q, 1
			image := r.file("a.png", picture(t, 1, 24, 24))
			var in io.Reader
			var text strings.Builder
			for i := range requests {
				fmt.Fprintln(&text, line("id", fmt.Sprint(i), "image", image, "out", r.path("out.png")))
			}
			in = strings.NewReader(text.String())
			if requests == 0 {
				pipe, end := io.Pipe()
				t.Cleanup(func() { _ = end.Close() })
				in = pipe
				close(d.end)
			}
			if _, err := r.stream().Run(testrig.Context(t), in, r.replies); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "results stopped coming") {
				t.Errorf("%v, want that the results stopped", err)
			}
		})
	}
}

func TestStreamIsInterrupted(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_PURIFY)
	q := &queue{Queue: r.bus}
	ctx, cancel := context.WithCancel(testrig.Context(t))
	q.before = func(*schemas.Job) error { cancel(); return nil }
	r.parts.Publisher = q
	in, requests := io.Pipe()
	t.Cleanup(func() { _ = requests.Close() })
	ended := make(chan error, 1)
	go func() {
		_, err := r.stream().Run(ctx, in, r.replies)
		ended <- err
	}()
	if _, err := fmt.Fprintln(requests, line("image", r.file("a.png", picture(t, 1, 24, 24)), "out", r.path("out.png"))); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) { // although the input is open and no worker is there
		t.Errorf("%v, want the context's error", err)
	}
}

func TestStreamThatCannotPublish(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_PURIFY)
	r.parts.Publisher = &queue{Queue: r.bus, before: func(*schemas.Job) error { return errBroken }}
	image := r.file("a.png", picture(t, 1, 24, 24))
	if _, err := r.stream().Run(testrig.Context(t), strings.NewReader(line("id", "x", "image", image, "out", "o")), r.replies); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "publish request x") {
		t.Errorf("%v, want the queue's error", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }

func TestStreamsThatBreak(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_PURIFY)
	failed, err := r.stream().Run(testrig.Context(t), strings.NewReader("nonsense\n"), brokenWriter{})
	if !errors.Is(err, errBroken) || failed != 1 || !strings.Contains(err.Error(), "write a reply") {
		t.Errorf("%d failed, %v; want the writer's error", failed, err)
	}
	if _, err := r.stream().Run(testrig.Context(t), brokenReader{}, r.replies); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "read requests") {
		t.Errorf("%v, want the reader's error", err)
	}
}

// warnings hands out the text of each warning.
type warnings struct {
	slog.Handler
	said chan string
}

func (w warnings) Handle(_ context.Context, rec slog.Record) error {
	if rec.Level == slog.LevelWarn {
		select {
		case w.said <- rec.Message:
		default:
		}
	}
	return nil
}

func (w warnings) Enabled(context.Context, slog.Level) bool { return true }

func TestSilenceIsNoticed(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_PURIFY)
	said := make(chan string)
	r.cfg.Patience, r.cfg.Logger = time.Millisecond, slog.New(warnings{slog.DiscardHandler, said})
	ctx, cancel := context.WithCancel(testrig.Context(t))
	defer cancel()
	ended := make(chan error, 1)
	image := r.file("a.png", picture(t, 1, 24, 24))
	go func() {
		_, err := r.stream().Run(ctx, strings.NewReader(line("image", image, "out", r.path("o.png"))), r.replies)
		ended <- err
	}()
	for {
		select {
		case text := <-said:
			if !strings.Contains(text, "is a gpuworker running?") {
				t.Errorf("it says %q", text)
			}
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want the context's error", err)
			}
			return
		case <-time.After(testrig.Patience):
			t.Error("nothing was said")
		}
		cancel()
	}
}

// TestRequestsUnderWayAreBounded counts the jobs that are published and have no result.
func TestRequestsUnderWayAreBounded(t *testing.T) {
	t.Parallel()
	r := newStreamRig(t, schemas.Operation_OPERATION_PURIFY)
	r.cfg.InFlight = 3
	full := make(chan struct{})
	q := &queue{Queue: r.bus}
	q.before = func(*schemas.Job) error {
		if len(q.published()) == 2 { // this is the third
			close(full)
		}
		return nil
	}
	r.parts.Publisher = q
	image := r.file("a.png", picture(t, 1, 24, 24))
	var lines []string
	for i := range 8 {
		lines = append(lines, line("id", fmt.Sprint("item", i), "image", image, "out", r.path(fmt.Sprint(i, ".png"))))
	}
	ended := make(chan error, 1)
	go func() {
		_, err := r.stream().Run(testrig.Context(t), strings.NewReader(strings.Join(lines, "\n")), r.replies)
		ended <- err
	}()
	<-full
	if n := len(q.published()); n > 3 {
		t.Errorf("%d jobs under way, want at most 3", n)
	}
	r.work()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	var ids []string
	for id, reply := range r.replies.all() {
		if !reply.OK {
			t.Errorf("%+v", reply)
		}
		ids = append(ids, id)
	}
	if len(ids) != 8 {
		slices.Sort(ids)
		t.Errorf("replies %q, want 8", ids)
	}
}
