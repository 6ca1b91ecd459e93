package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/schemas"
)

func output(out *schemas.Output) *schemas.Outcome { return &schemas.Outcome{Output: out} }

func refused(detail string) *schemas.Outcome {
	return &schemas.Outcome{Refusal: &schemas.Refusal{Detail: detail}}
}

// Memos from before refusals existed are plain Outputs.
func TestOutputsOfOldReadAsEver(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		want := &schemas.Output{Image: digest("a"), Noisy: digest("b"), Features: []float32{0.5, -1}}
		data, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.rdb.Set(t.Context(), outputKey("old"), data, 0).Err(); err != nil {
			t.Fatal(err)
		}
		got, err := s.Outcomes(t.Context(), []string{"old"})
		if err != nil || !proto.Equal(got[0], output(want)) {
			t.Errorf("got %v, %v; want the output", got, err)
		}
	})
}

func TestRuntime(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		for _, want := range []string{"", "onnxruntime 1 cpu", "onnxruntime 2 cpu"} {
			if want != "" {
				if err := s.NoteRuntime(t.Context(), want); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := s.Runtime(t.Context()); got != want || err != nil {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
		}
	})
}

// Everybody gets the one key, and it stays.
func TestTraceKey(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		first, err := s.TraceKey(t.Context())
		if err != nil || len(first) != 32 {
			t.Fatal(first, err)
		}
		if again, err := s.TraceKey(t.Context()); err != nil || !bytes.Equal(again, first) {
			t.Errorf("another key, %v", err)
		}
		if s.rdb.TTL(t.Context(), traceKey).Val() > 0 {
			t.Error("the key ends")
		}
	})
}

// FuzzOutcome: decoded data is an output or a refusal, and stays the same when it is encoded again.
func FuzzOutcome(f *testing.F) {
	for _, o := range []*schemas.Outcome{output(&schemas.Output{Image: digest("a"), Features: []float32{1}}), output(&schemas.Output{}), refused("no"), refused("")} {
		data, err := encodeOutcome(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(append(data, 0xff))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := decodeOutcome(data)
		if err != nil {
			return
		}
		again, err := encodeOutcome(o)
		if err != nil {
			t.Fatalf("%x decoded to %v, which is not remembered: %v", data, o, err)
		}
		if back, err := decodeOutcome(again); err != nil || o.End() != back.End() || !bytes.Equal(again, must(encodeOutcome(back))) {
			t.Errorf("%x decoded to %v and then to %v (%v)", data, o, back, err)
		}
	})
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

func TestMemos(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		outputs := map[string]*schemas.Outcome{
			"work-1": output(&schemas.Output{Image: strings.Repeat("a", 64)}), "work-2": output(&schemas.Output{Image: "b", Noisy: "c"}),
			"empty": output(&schemas.Output{}), "refused": refused("authentication failed"), "in silence": refused(""),
		}
		metrics := map[string]*schemas.Metrics{"m-1": {Psnr: 38.25, Ssim: 0.5, Mae: 1.0 / 3, Rmse: 0.25}}
		for _, err := range []error{s.RememberOutcomes(ctx, outputs), s.RememberMetrics(ctx, metrics), s.RememberInspected(ctx, []string{"d-1", "d-2"}, "limits")} {
			if err != nil {
				t.Fatal(err)
			}
		}
		other := s.open(Options{}) // what one process stores, another finds

		o, err := other.Outcomes(ctx, []string{"work-2", "nothing", "work-1", "work-2", "empty", "refused", "in silence"})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []*schemas.Outcome{
			outputs["work-2"], nil, outputs["work-1"], outputs["work-2"], outputs["empty"], outputs["refused"], outputs["in silence"],
		} {
			if (o[i] == nil) != (want == nil) || !proto.Equal(o[i], want) {
				t.Errorf("output %d = %v, want %v", i, o[i], want)
			}
		}
		m, err := other.Metrics(ctx, []string{"m-1", "work-1"})
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(m[0], metrics["m-1"]) || m[1] != nil {
			t.Errorf("metrics = %v", m)
		}
		good, err := other.Inspected(ctx, []string{"d-2", "d-1"}, "limits")
		if err != nil {
			t.Fatal(err)
		}
		if !good[0] || !good[1] {
			t.Errorf("inspected = %v", good)
		}
		if got, want := other.Stats(), (Stats{Outputs: Memo{6, 1}, Metrics: Memo{1, 1}, Inspections: Memo{2, 0}}); got != want {
			t.Errorf("stats = %+v, want %+v", got, want)
		}
		if got := s.Stats(); got != (Stats{}) {
			t.Errorf("stats of a process that looked for nothing = %+v", got)
		}
		if o, err := other.Outcomes(ctx, nil); err != nil || len(o) != 0 {
			t.Errorf("no ids: %v, %v", o, err)
		}
		if err := s.RememberOutcomes(ctx, nil); err != nil {
			t.Errorf("nothing to remember: %v", err)
		}
	})
}

// If several workers do the same work, the first one wins, and the others get its outcome.
func TestFirstOutcomes(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		mine := map[string]*schemas.Outcome{"a": output(&schemas.Output{Image: digest("a")}), "b": refused("no")}
		if before, err := s.FirstOutcomes(ctx, mine); err != nil || len(before) != 0 {
			t.Errorf("the first: %v, %v", before, err)
		}
		if err := s.rdb.Set(ctx, outputKey("broken"), "\xff\xff", 0).Err(); err != nil {
			t.Fatal(err)
		}
		other := s.open(Options{})
		before, err := other.FirstOutcomes(ctx, map[string]*schemas.Outcome{
			"a": output(&schemas.Output{Image: digest("b")}), "b": output(&schemas.Output{}), "c": refused("too late"), "broken": refused(""),
		})
		if err != nil || len(before) != 3 || !proto.Equal(before["a"], mine["a"]) || !proto.Equal(before["b"], mine["b"]) || before["broken"].End() == schemas.EndDone {
			t.Errorf("the second: %v, %v", before, err)
		}
		got, err := s.Outcomes(ctx, []string{"a", "b", "c"})
		if err != nil || !proto.Equal(got[0], mine["a"]) || !proto.Equal(got[1], mine["b"]) || got[2].GetRefusal().GetDetail() != "too late" {
			t.Errorf("remembered: %v, %v", got, err)
		}
		if ttl := s.rdb.PTTL(ctx, outputKey("c")).Val(); ttl <= DefaultLifetime-time.Minute || ttl > DefaultLifetime {
			t.Errorf("lifetime = %v, want %v", ttl, DefaultLifetime)
		}
		if before, err := s.FirstOutcomes(ctx, nil); err != nil || len(before) != 0 {
			t.Errorf("nothing: %v, %v", before, err)
		}
		if _, err := s.FirstOutcomes(ctx, map[string]*schemas.Outcome{"the-id": nil}); err == nil || !strings.Contains(err.Error(), "the-id") {
			t.Errorf("a nil value: %v", err)
		}
	})
}

func TestInspected(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		if err := s.RememberInspected(ctx, []string{"d-1", "d-2"}, "narrow"); err != nil {
			t.Fatal(err)
		}
		if err := s.RememberInspected(ctx, nil, "narrow"); err != nil {
			t.Errorf("nothing to remember: %v", err)
		}
		for limits, want := range map[string][]bool{"narrow": {true, false, true}, "wide": {false, false, false}} {
			got, err := s.open(Options{}).Inspected(ctx, []string{"d-2", "d-3", "d-1"}, limits)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("inspected under %s limits = %v, %v; want %v", limits, got, err, want)
			}
		}
		if got, err := s.Inspected(ctx, nil, "narrow"); err != nil || len(got) != 0 {
			t.Errorf("no digests: %v, %v", got, err)
		}
	})
}

func TestManyMemos(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		const n = 2*chunk + 7
		values, ids := make(map[string]*schemas.Outcome), make([]string, n)
		for i := range ids {
			ids[i] = fmt.Sprint("work-", i)
			values[ids[i]] = output(&schemas.Output{Image: fmt.Sprintf("%064x", i)})
		}
		if err := s.RememberOutcomes(t.Context(), values); err != nil {
			t.Fatal(err)
		}
		got, err := s.Outcomes(t.Context(), ids)
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range ids {
			if !proto.Equal(got[i], values[id]) {
				t.Fatalf("%s = %v, want %v", id, got[i], values[id])
			}
		}
	})
}

func TestMemosReplaceAndExpire(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		short := s.open(Options{Lifetime: time.Hour})
		for _, c := range []*Cache{s.Cache, short} { // the later value and lifetime count
			if err := c.RememberOutcomes(ctx, map[string]*schemas.Outcome{"w": output(&schemas.Output{Image: fmt.Sprint(c.lifetime)})}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.Outcomes(ctx, []string{"w"})
		if err != nil || got[0].GetOutput().GetImage() != "1h0m0s" {
			t.Errorf("replaced output = %v, %v", got, err)
		}
		if ttl := s.rdb.PTTL(ctx, outputKey("w")).Val(); ttl <= 59*time.Minute || ttl > time.Hour {
			t.Errorf("lifetime = %v, want an hour", ttl)
		}
		if err := s.RememberInspected(ctx, []string{"d"}, "limits"); err != nil {
			t.Fatal(err)
		}
		if ttl := s.rdb.PTTL(ctx, inspectedKey("limits")("d")).Val(); ttl <= DefaultLifetime-time.Minute || ttl > DefaultLifetime {
			t.Errorf("lifetime = %v, want %v", ttl, DefaultLifetime)
		}
	})
}

func TestUnreadableMemoIsAMiss(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		for _, key := range []string{outputKey("x"), metricsKey("x")} {
			if err := s.rdb.Set(ctx, key, "\xff\xff", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		o, err1 := s.Outcomes(ctx, []string{"x"})
		m, err2 := s.Metrics(ctx, []string{"x"})
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if o[0] != nil || m[0] != nil {
			t.Errorf("found %v, %v", o[0], m[0])
		}
		if got, miss := s.Stats(), (Memo{0, 1}); got != (Stats{Outputs: miss, Metrics: miss}) {
			t.Errorf("stats = %+v", got)
		}
	})
}

func TestNilIsNotRemembered(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		for _, err := range []error{
			s.RememberOutcomes(ctx, map[string]*schemas.Outcome{"the-id": nil}),
			s.RememberOutcomes(ctx, map[string]*schemas.Outcome{"the-id": {Failure: &schemas.Failure{Reason: "bad_image"}}}),
			s.RememberMetrics(ctx, map[string]*schemas.Metrics{"the-id": nil}),
		} {
			if err == nil || !strings.Contains(err.Error(), "the-id") {
				t.Errorf("a nil value: %v", err)
			}
		}
	})
}

func TestCancelled(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.Outcomes(ctx, []string{"w"})
		_, errRun := s.Run(ctx, "r")
		for _, err := range []error{err, errRun, s.RememberOutcomes(ctx, map[string]*schemas.Outcome{"w": output(&schemas.Output{})}), s.FinishRun(ctx, "r")} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("with a cancelled context: %v", err)
			}
		}
	})
}
