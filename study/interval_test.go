package study_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"stegomq/report/stats"
	"stegomq/schemas"
	"stegomq/study"
)

// randoms are scores of many wrong keys on items: values[i] are the PSNR of item i under each key.
func randoms(values ...[]float64) []*schemas.Score {
	var scores []*schemas.Score
	for i, item := range values {
		for k, v := range item {
			scores = append(scores, row(fmt.Sprintf("item-%03d", i), schemas.Leakage(schemas.Reader_READER_RANDOM), "alice", fmt.Sprintf("random-1-%d", k), v))
		}
	}
	return scores
}

func randomGroup(t testing.TB, scores []*schemas.Score) study.Group {
	t.Helper()
	spec, _, _ := handmade()
	return study.Summarise(spec, scores, nil, study.Invocation{}).LeakageRandom
}

// TestIntervals compares with intervals that were worked out by hand, with Student's t from a printed table.
func TestIntervals(t *testing.T) {
	t.Parallel()
	const t1, t2, t3 = 12.7062, 4.30265, 3.18245 // of 1, 2 and 3 degrees of freedom
	for name, c := range map[string]struct {
		values     [][]float64
		mean, half float64
		none       bool
	}{
		"no item":    {nil, 0, 0, true},
		"one item":   {[][]float64{{10, 20, 30}}, 0, 0, true},
		"two items":  {[][]float64{{10}, {14}}, 12, t1 * 2, false},
		"four items": {[][]float64{{10}, {14}, {12}, {16}}, 13, t3 * math.Sqrt(20./3/4), false},
		"all alike":  {[][]float64{{16}, {16}, {16}}, 16, 0, false},
		// Scores of one item belong together: single scores would give a wider interval.
		"items and not scores": {[][]float64{{0, 32}, {8, 24}, {16, 16}}, 16, 0, false},
		// An item counts by its scores: e is -30 and 30, of four scores.
		"items of different size": {[][]float64{{10}, {50, 50, 50}}, 40, t1 * math.Sqrt(2*1800) / 4, false},
		"three items":             {[][]float64{{8, 8}, {16, 16}, {24, 24}}, 16, t2 * 8 / math.Sqrt(3), false},
	} {
		g := randomGroup(t, randoms(c.values...))
		for metric, m := range map[string]struct {
			got   *stats.Interval
			scale float64
		}{"psnr": {g.PSNR.CI95, 1}, "ssim": {g.SSIM.CI95, 64}, "mae": {g.MAE.CI95, 1024}, "rmse": {g.RMSE.CI95, 512}} {
			switch {
			case c.none && m.got != nil:
				t.Errorf("%s, %s: %+v, want none", name, metric, *m.got)
			case !c.none && (m.got == nil || math.Abs(m.got.Low*m.scale-c.mean+c.half) > 1e-4 || math.Abs(m.got.High*m.scale-c.mean-c.half) > 1e-4):
				t.Errorf("%s, %s: %+v, want %v ± %v", name, metric, m.got, c.mean/m.scale, c.half/m.scale)
			}
		}
		if g.Items != len(c.values) {
			t.Errorf("%s: %d items", name, g.Items)
		}
	}
}

// TestIntervalsOfManyItems compares with the interval of normal theory, which holds for many items of one score.
func TestIntervalsOfManyItems(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 3))
	values := make([][]float64, 400)
	for i := range values {
		values[i] = []float64{30 + 4*rng.NormFloat64()}
	}
	g := randomGroup(t, randoms(values...))
	half := 1.96 * g.PSNR.Std / math.Sqrt(400)
	for _, d := range []float64{g.PSNR.Mean - g.PSNR.CI95.Low, g.PSNR.CI95.High - g.PSNR.Mean} {
		if math.Abs(d-half) > 0.1*half {
			t.Errorf("the interval %+v goes %v from the mean, normal theory %v", *g.PSNR.CI95, d, half)
		}
	}
}

func TestIntervalsAreReproducible(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 5))
	values := make([][]float64, 30)
	for i := range values {
		values[i] = []float64{math.Round(rng.Float64() * 50), math.Round(rng.Float64() * 50)}
	}
	scores := randoms(values...)
	want := randomGroup(t, scores)
	rng.Shuffle(len(scores), func(i, j int) { scores[i], scores[j] = scores[j], scores[i] })
	got := randomGroup(t, scores)
	if !reflect.DeepEqual(got.PSNR.CI95, want.PSNR.CI95) || !reflect.DeepEqual(got.SSIM.CI95, want.SSIM.CI95) {
		t.Errorf("intervals %+v, %+v in another order, want %+v, %+v", *got.PSNR.CI95, *got.SSIM.CI95, *want.PSNR.CI95, *want.SSIM.CI95)
	}
}

// TestEveryMeanHasAnInterval looks at every mean of the summary of a run in which every role has two items.
func TestEveryMeanHasAnInterval(t *testing.T) {
	t.Parallel()
	spec, scores := manyScores(2, 2, 1, true)
	sum := study.Summarise(spec, scores, nil, study.Invocation{})
	seen := 0
	var look func(path string, v reflect.Value)
	look = func(path string, v reflect.Value) {
		switch {
		case v.Kind() == reflect.Pointer:
			if !v.IsNil() {
				look(path, v.Elem())
			}
		case v.Type() == reflect.TypeFor[stats.Moments]():
			seen++
			m := v.Interface().(stats.Moments)
			if m.CI95 == nil || m.CI95.Low > m.Mean || m.Mean > m.CI95.High {
				t.Errorf("%s: mean %v, interval %+v", path, m.Mean, m.CI95)
			}
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				if name := v.Type().Field(i).Name; name != "Dataset" {
					look(path+"."+name, v.Field(i))
				}
			}
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				look(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
		}
	}
	look("summary", reflect.ValueOf(sum))
	// 21 groups with four metrics, of which two are against partial keys and two after attacks; seven excesses and four
	// cells with two.
	if want := 21*4 + 7*2 + 4*2; seen != want {
		t.Errorf("%d means, want %d", seen, want)
	}
	for i, cells := range sum.Confusion.Cells {
		for j, c := range cells {
			if c.N != 2 || c.PSNR.Mean != *sum.Confusion.PSNR[i][j] || c.SSIM.Mean != *sum.Confusion.SSIM[i][j] {
				t.Errorf("cell %d,%d is %+v", i, j, *c)
			}
		}
	}
}

// manyScores is a run in which nothing failed; a full one has all that can follow an embed job.
func manyScores(pairs, keys, random int, full bool) (*schemas.RunSpec, []*schemas.Score) {
	spec, _, _ := handmade()
	spec.Keys, spec.Pairs, spec.Sample = nil, nil, nil
	strangers := readers(schemas.Reader_READER_RANDOM, uint32(random))
	spec.Readers = []*schemas.Readers{readers(schemas.Reader_READER_MISMATCHED, uint32(keys-1)), strangers}
	oneOff, swapped, partial := readers(schemas.Reader_READER_NEAR, 1), readers(schemas.Reader_READER_SWAPPED, 1), readers(schemas.Reader_READER_PARTIAL, 2)
	for k := range keys {
		spec.Keys = append(spec.Keys, key(fmt.Sprintf("key-%d", k)))
		oneOff.Keys = append(oneOff.Keys, key(fmt.Sprintf("near-0-key-%d", k)))
		swapped.Keys = append(swapped.Keys, key(fmt.Sprintf("swapped-key-%d", k)))
		partial.Keys = append(partial.Keys, key(fmt.Sprintf("partial-900-key-%d", k)), key(fmt.Sprintf("partial-50-key-%d", k)))
	}
	if full {
		spec.Readers = append(spec.Readers, oneOff, swapped, partial, readers(schemas.Reader_READER_UNKEYED, 1))
		spec.Attacks = []string{"resize-50", "jpeg-75"}
	}
	for k := range random {
		strangers.Keys = append(strangers.Keys, key(fmt.Sprintf("random-1-%d", k)))
	}
	for i := range pairs {
		item := fmt.Sprintf("%05d-x", i)
		spec.Pairs = append(spec.Pairs, &schemas.Pair{Item: item, Cover: schemas.BlobRef(sha("c"+item), ""), Secret: schemas.BlobRef(sha("s"+item), "")})
	}
	rng := rand.New(rand.NewPCG(9, 9))
	var scores []*schemas.Score
	for _, p := range spec.GetPairs() {
		add := func(job *schemas.Job) {
			item := job.GetItems()[0]
			for _, s := range schemas.Comparisons(job, item, &schemas.Outcome{Output: &schemas.Output{Image: sha("out"), Noisy: sha("noisy")}}) {
				made := row(s.GetItem(), s.Role(), s.GetEmbedKey(), s.GetDecodeKey(), 10+rng.Float64())
				made.Attack = s.GetAttack()
				scores = append(scores, made)
			}
		}
		for k, embed := range spec.GetKeys() {
			job := schemas.EmbedJob(spec, 1, embed, schemas.FollowUps(spec, embed), []*schemas.Pair{p})
			if k > 0 {
				job.Items[0].Secret = p.GetSecret()
			}
			for _, next := range schemas.FollowUpJobs(job, map[string]string{p.GetItem(): sha("stego")}) {
				add(next)
			}
			add(job)
		}
		add(schemas.PurifyJob(spec, 1, []*schemas.Pair{p}))
	}
	// A run has one baseline of each pair, however many keys embed it.
	had := make(map[string]bool)
	return spec, slices.DeleteFunc(scores, func(s *schemas.Score) bool {
		name := schemas.ScoreKey(s)
		twice := had[name]
		had[name] = true
		return twice
	})
}

// shapes are runs of some 40,000 comparisons each.
var shapes = map[string]struct{ pairs, keys, random int }{
	"many pairs": {5700, 1, 1}, "many random keys": {20, 1, 1000}, "many keys": {5, 64, 1}, "some of each": {400, 6, 4},
}

func BenchmarkSummarise(b *testing.B) {
	for name, c := range shapes {
		b.Run(name, func(b *testing.B) {
			spec, scores := manyScores(c.pairs, c.keys, c.random, false)
			b.ReportMetric(float64(len(scores)), "scores")
			for b.Loop() {
				study.Summarise(spec, scores, nil, study.Invocation{})
			}
		})
	}
}
