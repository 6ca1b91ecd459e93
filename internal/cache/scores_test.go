package cache

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"stegomq/schemas"
)

func zmember(id string) redis.Z { return redis.Z{Score: 1e15, Member: id} }

// measured is a score of an item whose every metric is v.
func measured(item string, v float64) *schemas.Score {
	s := schemas.NewScore(schemas.Recoverability, item, "alice", "alice")
	s.Reference, s.Test, s.Metrics = digest("c"), digest("d"), &schemas.Metrics{Psnr: v, Ssim: v, Mae: v, Rmse: v}
	return s
}

// failed is the same comparison as measured, which could not be made.
func failed(item, detail string) *schemas.Score {
	s := measured(item, 0)
	s.Metrics, s.Failure = nil, &schemas.Failure{Reason: string(schemas.ReasonMissingBlob), Detail: detail}
	return s
}

// refusedScore is the same comparison as measured, whose image recovery refused.
func refusedScore(item string) *schemas.Score {
	s := measured(item, 0)
	s.Metrics, s.Test, s.Refusal = nil, "", &schemas.Refusal{Detail: "authentication failed"}
	return s
}

func expectProgress(t *testing.T, c *Cache, run string, scores, failures int64) {
	t.Helper()
	s, f, err := c.Progress(t.Context(), run)
	if err != nil || s != scores || f != failures {
		t.Errorf("progress of %s = %d scores, %d failures, %v; want %d and %d", run, s, f, err, scores, failures)
	}
}

func TestScoresAreStoredOnce(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		put := func(run string, want int, rows ...*schemas.Score) {
			t.Helper()
			if n, err := s.PutScores(ctx, run, rows); n != want || err != nil {
				t.Errorf("stored %d, %v; want %d", n, err, want)
			}
		}
		put("r", 2, measured("i1", 1), measured("i2", 2))
		put("r", 0, measured("i1", 1), measured("i2", 2))
		put("r", 1, measured("i1", 9), measured("i3", 3), measured("i3", 8)) // other values change nothing
		put("other", 1, measured("i1", 7))
		put("r", 0)
		expectProgress(t, s.open(Options{}), "r", 3, 0)
		expectProgress(t, s.Cache, "other", 1, 0)
		expectProgress(t, s.Cache, "nothing", 0, 0)
		got, failures, err := s.open(Options{}).Scores(ctx, "r")
		if err != nil || len(failures) != 0 || len(got) != 3 {
			t.Fatalf("scores = %v, %v, %v", got, failures, err)
		}
		for i, want := range []*schemas.Score{measured("i1", 1), measured("i2", 2), measured("i3", 3)} {
			if !proto.Equal(got[i], want) {
				t.Errorf("score %d = %v, want %v", i, got[i], want)
			}
		}
	})
}

func TestFailures(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		fail := func(want int, rows ...*schemas.Score) {
			t.Helper()
			if n, err := s.PutFailures(ctx, "r", 0, rows); n != want || err != nil {
				t.Errorf("stored %d failures, %v; want %d", n, err, want)
			}
		}
		fail(2, failed("i1", "first"), failed("i2", "first"))
		fail(0, failed("i1", "second"))
		expectProgress(t, s.Cache, "r", 0, 2)
		if n, err := s.PutScores(ctx, "r", []*schemas.Score{measured("i2", 2)}); n != 1 || err != nil { // made after all
			t.Errorf("stored %d, %v", n, err)
		}
		fail(0, failed("i2", "late")) // there is a score
		expectProgress(t, s.Cache, "r", 1, 1)
		scores, failures, err := s.Scores(ctx, "r")
		if err != nil || len(scores) != 1 || len(failures) != 1 {
			t.Fatalf("scores = %v, %v, %v", scores, failures, err)
		}
		if !proto.Equal(scores[0], measured("i2", 2)) || !proto.Equal(failures[0], failed("i1", "second")) {
			t.Errorf("scores = %v, failures = %v", scores, failures)
		}
	})
}

// A refused comparison is finished: it counts as a score, removes a failure and is kept.
func TestEnded(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		done, lost, refused := measured("i1", 1), failed("i2", "gone"), refusedScore("i3")
		if _, err := s.PutScores(ctx, "r", []*schemas.Score{done, refused}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.PutFailures(ctx, "r", 0, []*schemas.Score{lost}); err != nil {
			t.Fatal(err)
		}
		open := schemas.ScoreKey(measured("i4", 1))
		got, err := s.Ended(ctx, "r", []string{schemas.ScoreKey(lost), open, schemas.ScoreKey(done), schemas.ScoreKey(refused)})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []*schemas.Score{lost, nil, done, refused} {
			if !proto.Equal(got[i], want) {
				t.Errorf("score %d is %v, want %v", i, got[i], want)
			}
		}
		if got, err := s.Ended(ctx, "other", []string{open}); err != nil || got[0] != nil {
			t.Errorf("of no run: %v, %v", got, err)
		}
		if got, err := s.Ended(ctx, "r", nil); err != nil || got != nil {
			t.Errorf("no keys: %v, %v", got, err)
		}
		if err := s.rdb.HSet(ctx, scoresKey("r"), open, "x").Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Ended(ctx, "r", []string{open}); !errors.Is(err, schemas.ErrInvalid) {
			t.Errorf("a score that does not decode: %v", err)
		}
	})
}

// TestUsed: a real server reports its resource use, an embedded one does not know it.
func TestUsed(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		used, err := s.Used(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if knows := st.Server != "miniredis"; knows != (used.CPU > 0 && used.RSS > 0) {
			t.Errorf("%s used %+v", st.Server, used)
		}
	})
}

func TestRefusedScores(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		if _, err := s.PutFailures(ctx, "r", 0, []*schemas.Score{failed("i1", "gone"), failed("i2", "gone")}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{2, 0} { // the second time is the same result again
			if n, err := s.PutScores(ctx, "r", []*schemas.Score{refusedScore("i1"), measured("i3", 3)}); n != want || err != nil {
				t.Errorf("stored %d, %v; want %d", n, err, want)
			}
		}
		if n, err := s.PutScores(ctx, "r", []*schemas.Score{measured("i1", 9)}); n != 0 || err != nil {
			t.Errorf("a score replaced a refusal: %d, %v", n, err)
		}
		if n, err := s.PutFailures(ctx, "r", 0, []*schemas.Score{failed("i1", "late")}); n != 0 || err != nil {
			t.Errorf("a failure replaced a refusal: %d, %v", n, err)
		}
		if _, err := s.PutFailures(ctx, "r", 0, []*schemas.Score{refusedScore("i4")}); !errors.Is(err, schemas.ErrInvalid) {
			t.Errorf("a refusal as a failure: %v", err)
		}
		expectProgress(t, s.Cache, "r", 2, 1)
		scores, failures, err := s.open(Options{}).Scores(ctx, "r")
		if err != nil || len(scores) != 2 || len(failures) != 1 || !proto.Equal(scores[0], refusedScore("i1")) || !proto.Equal(scores[1], measured("i3", 3)) {
			t.Errorf("scores = %v, failures = %v, %v", scores, failures, err)
		}
	})
}

func TestInvalidScores(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		ctx := t.Context()
		unnamed := measured("", 1)
		for name, bad := range map[string]*schemas.Score{"unnamed": unnamed, "failed": failed("i", ""), "nil": nil} {
			if _, err := s.PutScores(ctx, "r", []*schemas.Score{measured("good", 1), bad}); !errors.Is(err, schemas.ErrInvalid) {
				t.Errorf("%s as a score: %v", name, err)
			}
		}
		if _, err := s.PutFailures(ctx, "r", 0, []*schemas.Score{failed("good", ""), measured("i", 1)}); !errors.Is(err, schemas.ErrInvalid) {
			t.Errorf("a score as a failure: %v", err)
		}
		expectProgress(t, s.Cache, "r", 0, 0)

		if err := s.rdb.HSet(ctx, scoresKey("r"), "f", "\xff").Err(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Scores(ctx, "r"); err == nil || !strings.Contains(err.Error(), "1 of 1 do not decode") {
			t.Errorf("a score that does not decode: %v", err)
		}
	})
}

func TestScoresAreSorted(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		var want []*schemas.Score
		for _, item := range []string{"a", "a1", "b"} {
			for _, role := range []schemas.Role{
				schemas.Imperceptibility, schemas.Recoverability, schemas.Robustness("crop-5"), schemas.Robustness("jpeg-75"), schemas.Leakage(schemas.Reader_READER_RANDOM),
			} {
				for _, e := range []string{"", "alice", "bob"} {
					for _, d := range []string{"alice", "bob"} {
						row := schemas.NewScore(role, item, e, d)
						row.Test, row.Metrics = digest("d"), &schemas.Metrics{Psnr: 1}
						want = append(want, row)
					}
				}
			}
		}
		shuffled := slices.Clone(want)
		slices.Reverse(shuffled)
		if n, err := s.PutScores(t.Context(), "r", shuffled); n != len(want) || err != nil {
			t.Fatalf("stored %d, %v; want %d", n, err, len(want))
		}
		got, _, err := s.Scores(t.Context(), "r")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, want, func(a, b *schemas.Score) bool { return proto.Equal(a, b) }) {
			t.Errorf("scores = %v", got)
		}
	})
}

// More than a pipe or a socket holds, in both directions.
func TestManyScores(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		rows := make([]*schemas.Score, 6*chunk+1)
		for i := range rows {
			rows[i] = measured(fmt.Sprintf("item-%05d", i), float64(i))
		}
		if n, err := s.PutScores(t.Context(), "r", rows); n != len(rows) || err != nil {
			t.Fatalf("stored %d, %v", n, err)
		}
		got, _, err := s.Scores(t.Context(), "r")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, rows, func(a, b *schemas.Score) bool { return proto.Equal(a, b) }) {
			t.Errorf("%d scores came back different", len(got))
		}
	})
}

// Evaluators that score the same items at the same time store each score once, and whole.
func TestConcurrentScores(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		const writers, items = 8, 100
		var wg sync.WaitGroup
		added := make([]int, writers)
		for w := range writers {
			c := s.open(Options{})
			wg.Go(func() {
				for i := range items {
					item := fmt.Sprintf("%03d", (i*7+w*13)%items)
					n, err := c.PutScores(t.Context(), "r", []*schemas.Score{measured(item, float64(w))})
					if err != nil {
						t.Error(err)
						return
					}
					added[w] += n
					if _, err := c.PutFailures(t.Context(), "r", 0, []*schemas.Score{failed(item, "late")}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		total := 0
		for _, n := range added {
			total += n
		}
		if total != items {
			t.Errorf("%d scores counted as new, want %d", total, items)
		}
		expectProgress(t, s.Cache, "r", items, 0)
		scores, _, err := s.Scores(t.Context(), "r")
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range scores {
			if !proto.Equal(row, measured(row.GetItem(), row.GetMetrics().GetPsnr())) {
				t.Errorf("mixed score %v", row)
			}
		}
	})
}

// Any sequence of scores and failures gives the same result as a map.
func TestScoresAgainstModel(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		runs := 0
		rapid.Check(t, func(rt *rapid.T) {
			runs++
			run := fmt.Sprint("run-", runs)
			scores, failures := make(map[string]*schemas.Score), make(map[string]*schemas.Score)
			items := rapid.SampledFrom([]string{"a", "b", "c", "d.x"})
			rt.Repeat(map[string]func(*rapid.T){
				"score": func(rt *rapid.T) {
					row := measured(items.Draw(rt, "item"), rapid.Float64Range(0, 100).Draw(rt, "value"))
					want := 0
					if scores[row.Item] == nil {
						scores[row.Item], want = row, 1
					}
					delete(failures, row.Item)
					if n, err := s.PutScores(t.Context(), run, []*schemas.Score{row}); n != want || err != nil {
						rt.Fatalf("stored %d, %v; want %d", n, err, want)
					}
				},
				"failure": func(rt *rapid.T) {
					row := failed(items.Draw(rt, "item"), rapid.StringN(0, 5, 20).Draw(rt, "detail"))
					want := 0
					if scores[row.Item] == nil {
						if failures[row.Item] == nil {
							want = 1
						}
						failures[row.Item] = row
					}
					if n, err := s.PutFailures(t.Context(), run, 0, []*schemas.Score{row}); n != want || err != nil {
						rt.Fatalf("stored %d, %v; want %d", n, err, want)
					}
				},
				"": func(rt *rapid.T) {
					gotScores, gotFailures, err := s.Scores(t.Context(), run)
					if err != nil {
						rt.Fatal(err)
					}
					for _, c := range []struct {
						got  []*schemas.Score
						want map[string]*schemas.Score
					}{{gotScores, scores}, {gotFailures, failures}} {
						var want []*schemas.Score
						for _, item := range slices.Sorted(maps.Keys(c.want)) {
							want = append(want, c.want[item])
						}
						if !slices.EqualFunc(c.got, want, func(a, b *schemas.Score) bool { return proto.Equal(a, b) }) {
							rt.Fatalf("got %v, want %v", c.got, want)
						}
					}
				},
			})
		})
	})
}
