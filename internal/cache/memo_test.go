package cache

import (
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

func TestMemos(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		outputs := map[string]*schemas.Output{"work-1": {Image: strings.Repeat("a", 64)}, "work-2": {Image: "b", Noisy: "c"}, "empty": {}}
		metrics := map[string]*schemas.Metrics{"m-1": {Psnr: 38.25, Ssim: 0.5, Mae: 1.0 / 3, Rmse: 0.25}}
		for _, err := range []error{s.RememberOutputs(ctx, outputs), s.RememberMetrics(ctx, metrics), s.RememberInspected(ctx, []string{"d-1", "d-2"}, "limits")} {
			if err != nil {
				t.Fatal(err)
			}
		}
		other := s.open(Options{}) // what one process stores, another finds

		o, err := other.Outputs(ctx, []string{"work-2", "nothing", "work-1", "work-2", "empty"})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []*schemas.Output{outputs["work-2"], nil, outputs["work-1"], outputs["work-2"], outputs["empty"]} {
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
		if got, want := other.Stats(), (Stats{Outputs: Memo{4, 1}, Metrics: Memo{1, 1}, Inspections: Memo{2, 0}}); got != want {
			t.Errorf("stats = %+v, want %+v", got, want)
		}
		if got := s.Stats(); got != (Stats{}) {
			t.Errorf("stats of a process that looked for nothing = %+v", got)
		}
		if o, err := other.Outputs(ctx, nil); err != nil || len(o) != 0 {
			t.Errorf("no ids: %v, %v", o, err)
		}
		if err := s.RememberOutputs(ctx, nil); err != nil {
			t.Errorf("nothing to remember: %v", err)
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
		values, ids := make(map[string]*schemas.Output), make([]string, n)
		for i := range ids {
			ids[i] = fmt.Sprint("work-", i)
			values[ids[i]] = &schemas.Output{Image: fmt.Sprintf("%064x", i)}
		}
		if err := s.RememberOutputs(t.Context(), values); err != nil {
			t.Fatal(err)
		}
		got, err := s.Outputs(t.Context(), ids)
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
			if err := c.RememberOutputs(ctx, map[string]*schemas.Output{"w": {Image: fmt.Sprint(c.lifetime)}}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.Outputs(ctx, []string{"w"})
		if err != nil || got[0].GetImage() != "1h0m0s" {
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
		o, err1 := s.Outputs(ctx, []string{"x"})
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
			s.RememberOutputs(ctx, map[string]*schemas.Output{"the-id": nil}),
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
		_, err := s.Outputs(ctx, []string{"w"})
		_, errRun := s.Run(ctx, "r")
		for _, err := range []error{err, errRun, s.RememberOutputs(ctx, map[string]*schemas.Output{"w": {}}), s.FinishRun(ctx, "r")} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("with a cancelled context: %v", err)
			}
		}
	})
}
