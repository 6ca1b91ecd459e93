package cache

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/schemas"
)

func digest(c string) string { return strings.Repeat(c, 64) }

// testSpec is a valid specification.
func testSpec(id string) *schemas.RunSpec {
	return &schemas.RunSpec{
		Id: id, Model: digest("a"), ModelName: "invertible-mk", ModelTrained: true,
		Keys:     []*schemas.KeyRef{{Id: "alice", Fingerprint: strings.Repeat("1", 32)}, {Id: "bob", Fingerprint: strings.Repeat("2", 32)}},
		Geometry: &schemas.Geometry{Width: 128, Height: 96, Resize: schemas.ResizePolicy_RESIZE_POLICY_CROP},
		Pairs: []*schemas.Pair{{
			Item:  "0001",
			Cover: schemas.BlobRef(digest("c"), "cover.png"), Secret: schemas.BlobRef(digest("d"), "secret.png"),
		}},
		Dataset: "photographs", Images: 2, Bad: []*schemas.BadImage{{Name: "x.png", Reason: "bad_image"}},
	}
}

// clock makes a cache see a time of the test's.
func (s store) clock(at time.Time) { s.now = func() time.Time { return at } }

func TestRunLife(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		spec := testSpec("run-1")
		day := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

		s.clock(day)
		if n, err := s.StartRun(ctx, spec); n != 1 || err != nil {
			t.Fatalf("first start: %d, %v", n, err)
		}
		expect := func(attempt int64, started, finished time.Time) {
			t.Helper()
			r, err := s.open(Options{}).Run(ctx, "run-1")
			if err != nil {
				t.Fatal(err)
			}
			if alone, err := s.Spec(ctx, "run-1"); err != nil || !proto.Equal(alone, spec) {
				t.Errorf("the specification alone is %v (%v)", alone, err)
			}
			if !proto.Equal(r.Spec, spec) || r.Attempt != attempt || !r.Started.Equal(started) || !r.Finished.Equal(finished) {
				t.Errorf("run = %+v, want attempt %d, %v to %v", r, attempt, started, finished)
			}
		}
		expect(1, day, time.Time{})

		s.clock(day.Add(time.Minute))
		if err := s.FinishRun(ctx, "run-1"); err != nil {
			t.Fatal(err)
		}
		expect(1, day, day.Add(time.Minute))

		s.clock(day.Add(time.Hour))
		if n, err := s.open(Options{}).StartRun(ctx, spec); n != 2 || err != nil {
			t.Fatalf("resume: %d, %v", n, err)
		}
		s.clock(day.Add(2 * time.Hour))
		if n, err := s.StartRun(ctx, spec); n != 3 || err != nil {
			t.Fatalf("resume: %d, %v", n, err)
		}
		expect(3, day.Add(2*time.Hour), time.Time{})
	})
}

// The first provenance of a run is kept through every attempt.
func TestProvenanceIsTheFirst(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		if _, err := s.StartRun(ctx, testSpec("run-1")); err != nil {
			t.Fatal(err)
		}
		expect := func(want string) {
			t.Helper()
			if r, err := s.open(Options{}).Run(ctx, "run-1"); err != nil || string(r.Provenance) != want || (r.Provenance == nil) != (want == "") {
				t.Errorf("kept %q (%v), want %q", r.Provenance, err, want)
			}
		}
		expect("")
		for _, said := range []string{"first", "second"} {
			if first, err := s.KeepProvenance(ctx, "run-1", []byte(said)); err != nil || string(first) != "first" {
				t.Errorf("%s: kept %q (%v)", said, first, err)
			}
			if _, err := s.StartRun(ctx, testSpec("run-1")); err != nil {
				t.Fatal(err)
			}
			expect("first")
		}
	})
}

// A failed comparison may succeed in the next attempt; a made one stays. A late failure of the first attempt
// does not count against the second.
func TestResumeForgetsFailures(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		fill(t, s.Cache)
		start := testTime.Add(time.Hour)
		s.clock(start)
		if _, err := s.StartRun(t.Context(), testSpec("run-1")); err != nil {
			t.Fatal(err)
		}
		expectProgress(t, s.Cache, "run-1", 2, 0)
		for attempt, want := range map[int64]int{start.UnixMilli() - 1: 0, start.UnixMilli(): 1} {
			n, err := s.PutFailures(t.Context(), "run-1", attempt, []*schemas.Score{failed("i2", "gone")})
			if n != want || err != nil {
				t.Errorf("attempt %d: stored %d failures, %v; want %d", attempt, n, err, want)
			}
		}
		expectProgress(t, s.Cache, "run-1", 2, 1)
	})
}

func TestRunDiffers(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		if _, err := s.StartRun(ctx, testSpec("run-1")); err != nil {
			t.Fatal(err)
		}
		other := testSpec("run-1")
		other.Geometry.Width, other.ModelName = 256, "pusnet"
		_, err := s.StartRun(ctx, other)
		if !errors.Is(err, ErrRunDiffers) {
			t.Fatalf("another specification: %v", err)
		}
		if text := err.Error(); !strings.Contains(text, "another model name, geometry;") || !strings.Contains(text, "--run") {
			t.Errorf("the error does not say what differs and what to do: %v", err)
		}
		r, err := s.Run(ctx, "run-1")
		if err != nil || !proto.Equal(r.Spec, testSpec("run-1")) || r.Attempt != 1 {
			t.Errorf("after the refusal: %+v, %v", r, err)
		}
	})
}

// Protobuf promises no stable bytes, so the same specification may lie there in another encoding.
func TestRunInAnotherEncoding(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		if _, err := s.StartRun(ctx, testSpec("run-1")); err != nil {
			t.Fatal(err)
		}
		stored := s.rdb.Get(ctx, specKey("run-1")).Val()
		if err := s.rdb.Set(ctx, specKey("run-1"), "\x0a\x03old"+stored, 0).Err(); err != nil { // the later id counts
			t.Fatal(err)
		}
		if n, err := s.StartRun(ctx, testSpec("run-1")); n != 2 || err != nil {
			t.Errorf("resume: %d, %v", n, err)
		}
	})
}

func TestInvalidSpec(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		spec := testSpec("run-1")
		spec.Keys = nil
		if _, err := s.StartRun(t.Context(), spec); !errors.Is(err, schemas.ErrInvalid) {
			t.Errorf("a run without keys: %v", err)
		}
		if runs, err := s.Runs(t.Context()); err != nil || len(runs) != 0 {
			t.Errorf("runs = %v, %v", runs, err)
		}
	})
}

func TestRunsNewestFirst(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		if runs, err := s.Runs(ctx); err != nil || len(runs) != 0 {
			t.Fatalf("no runs: %v, %v", runs, err)
		}
		for i, id := range []string{"b", "c", "a", "b"} { // b is resumed
			s.clock(time.Date(2026, 11, 23, 9, i, 0, 0, time.UTC))
			if _, err := s.StartRun(ctx, testSpec(id)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.rdb.ZAdd(ctx, runsKey, zmember("gone")).Err(); err != nil { // listed, but its keys were evicted
			t.Fatal(err)
		}
		runs, err := s.Runs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range runs {
			got = append(got, fmt.Sprint(r.Spec.GetId(), r.Attempt))
		}
		if want := []string{"b2", "a1", "c1"}; !slices.Equal(got, want) {
			t.Errorf("runs = %v, want %v", got, want)
		}
	})
}

func TestUnknownRun(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		check := func(id, want string) {
			t.Helper()
			_, err := s.Run(ctx, id)
			for _, err := range []error{err, s.FinishRun(ctx, id)} {
				if !errors.Is(err, ErrUnknownRun) || !strings.Contains(err.Error(), want) {
					t.Errorf("run %q: %v, want %q in it", id, err, want)
				}
			}
		}
		check("night", "there are no runs")
		if spec, err := s.Spec(ctx, "night"); spec != nil || err != nil {
			t.Errorf("the specification of a run that is not there: %v, %v", spec, err)
		}
		for i, id := range []string{"nightly-1", "nightly-2", "smoke", "full", "x1", "x2"} {
			s.clock(time.Unix(int64(i), 0))
			if _, err := s.StartRun(ctx, testSpec(id)); err != nil {
				t.Fatal(err)
			}
		}
		check("nigthly-1", "did you mean nightly-1")
		check("nightly", "did you mean nightly-2, nightly-1?")
		check("something-else", "the newest are x2, x1, full, smoke, nightly-2")
		if r, err := s.Runs(ctx); err != nil || len(r) != 6 {
			t.Errorf("asking for unknown runs made some: %d, %v", len(r), err)
		}
	})
}

func TestConcurrentStarts(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		const n = 8
		attempts := make([]int64, n)
		var wg sync.WaitGroup
		for i := range n {
			c := s.Cache
			if i%2 == 1 {
				c = s.open(Options{})
			}
			wg.Go(func() {
				var err error
				if attempts[i], err = c.StartRun(t.Context(), testSpec("run-1")); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		slices.Sort(attempts)
		for i, a := range attempts {
			if a != int64(i+1) {
				t.Fatalf("attempts = %v", attempts)
			}
		}
	})
}

func TestEditDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"ab", "ba", 2}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
