package study_test

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"

	"stegomq/report/stats"
	"stegomq/schemas"
	"stegomq/study"
)

var coverageRuns = flag.Int("coverage-runs", 600, "simulated comparisons for each number of pairs (docs/statistics.md: 20000)")

// resamples of every bootstrap that is simulated.
const resamples = 399

// shape is how the differences of pairs are distributed: a draw, and its mean. Least is how often the interval must hold that mean at
// least, from VerdictPairs pairs on: 95 %, less what skew and 600 comparisons take.
type shape struct {
	name  string
	mean  float64
	draw  func(r *rand.Rand) float64
	least float64
}

// differences are as those of PSNR between models that ship. Twelve sets of them, of 200 pairs each, had a skewness of -1.1 to 1.7, 0.7 in
// the middle, and a kurtosis of 3.2 to 7.1.
func differences() []shape {
	gamma := func(alpha float64) func(r *rand.Rand) float64 { // of skewness 2/sqrt(alpha)
		return func(r *rand.Rand) float64 { return distuv.Gamma{Alpha: alpha, Beta: 1, Src: r}.Rand() }
	}
	return []shape{
		{"normal", 1, func(r *rand.Rand) float64 { return 1 + r.NormFloat64() }, 0.925},
		{"skewed by 0.7", 8.2, gamma(8.2), 0.915},
		{"skewed by 1.7", 1.4, gamma(1.4), 0.865},
		// Student's with 5 degrees of freedom: kurtosis 9.
		{"heavy-tailed", 0, func(r *rand.Rand) float64 { return distuv.StudentsT{Sigma: 1, Nu: 5, Src: r}.Rand() }, 0.925},
	}
}

// methods are the intervals that were tried.
var methods = []string{"percentile bootstrap", "BCa bootstrap", "studentised bootstrap", "t"}

// bounds gives the intervals of the mean of values, in the order of methods. The last is that of this package.
func bounds(t testing.TB, values []float64, r *rand.Rand) [4]stats.Interval {
	n := float64(len(values))
	mean, sd := meanAndDeviation(values)
	means, pivots := make([]float64, resamples), make([]float64, resamples)
	drawn := make([]float64, len(values))
	for b := range means {
		for i := range drawn {
			drawn[i] = values[r.IntN(len(values))]
		}
		m, s := meanAndDeviation(drawn)
		means[b], pivots[b] = m, (m-mean)/s*math.Sqrt(n)
		if s == 0 { // one value alone was drawn: nothing to divide by
			pivots[b] = math.Copysign(math.Inf(1), m-mean)
		}
	}
	slices.Sort(means)
	slices.Sort(pivots)
	between := func(sorted []float64, low, high float64) stats.Interval {
		return stats.Interval{Low: stats.Quantile(sorted, low), High: stats.Quantile(sorted, high)}
	}

	// Efron and Tibshirani 1993, section 14.3: bias from the share of means below, acceleration from the jackknife.
	below := 0
	for _, m := range means {
		if m < mean {
			below++
		}
	}
	bias := distuv.UnitNormal.Quantile((float64(below) + 0.5) / (resamples + 1))
	var squares, cubes float64
	for _, v := range values {
		d := (v - mean) / (n - 1)
		squares, cubes = squares+d*d, cubes+d*d*d
	}
	acceleration := cubes / (6 * math.Pow(squares, 1.5))
	corrected := func(z float64) float64 {
		return distuv.UnitNormal.CDF(bias + (bias+z)/(1-acceleration*(bias+z)))
	}
	// The same, section 12.5; for few values an end may be infinite.
	low, high := stats.Quantile(pivots, 0.025), stats.Quantile(pivots, 0.975)
	if math.IsNaN(low) {
		low = math.Inf(-1)
	}
	if math.IsNaN(high) {
		high = math.Inf(1)
	}
	return [4]stats.Interval{
		between(means, 0.025, 0.975),
		between(means, corrected(-1.96), corrected(1.96)),
		{Low: mean - high*sd/math.Sqrt(n), High: mean - low*sd/math.Sqrt(n)},
		compared(t, values).CI95,
	}
}

func meanAndDeviation(values []float64) (mean, deviation float64) {
	var s stats.Summary
	for _, v := range values {
		s.Add(v)
	}
	return s.Mean, s.Std()
}

// difference is what Compare makes of differences, of which each is of one pair.
type difference struct {
	CI95    stats.Interval
	Verdict study.Verdict
}

// compared compares two runs whose pairs differ in PSNR as they are told to.
func compared(t testing.TB, values []float64) difference {
	t.Helper()
	a, b := study.Measured{Summary: summaries[len(values)]}, study.Measured{Summary: summaries[len(values)]}
	for i, v := range values {
		a.Scores = append(a.Scores, row(fmt.Sprint(i), schemas.Recoverability, "alice", "alice", 30+v))
		b.Scores = append(b.Scores, row(fmt.Sprint(i), schemas.Recoverability, "alice", "alice", 30))
	}
	p, err := study.Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return difference{*p.Roles[0].PSNR.CI95, p.Roles[0].PSNR.Verdict}
}

// summaries are those of runs of so many pairs, without scores.
var summaries = func() map[int]*study.Summary {
	all := make(map[int]*study.Summary)
	for _, n := range []int{2, 4, 7, 8, 16, 32} {
		spec, _, _ := handmade()
		spec.Pairs = nil
		for i := range n {
			spec.Pairs = append(spec.Pairs, &schemas.Pair{Item: fmt.Sprint(i), Cover: schemas.BlobRef(sha(fmt.Sprint("c", i)), ""), Secret: schemas.BlobRef(sha(fmt.Sprint("s", i)), "")})
		}
		all[n] = study.Summarise(spec, nil, nil, study.Invocation{})
	}
	return all
}()

// TestCoverage draws comparisons whose true difference is known, and counts how often each kind of interval holds it. The table in
// docs/statistics.md is what it logs.
func TestCoverage(t *testing.T) {
	t.Parallel()
	const seed = 11
	var table strings.Builder
	for _, d := range differences() {
		held, wider := make(map[string]map[int]float64), make(map[int]float64)
		for _, m := range methods {
			held[m] = make(map[int]float64)
		}
		for _, n := range []int{2, 4, 8, 16, 32} {
			rng := rand.New(rand.NewPCG(seed, uint64(n)))
			var ratios []float64
			for range *coverageRuns {
				values := make([]float64, n)
				for i := range values {
					values[i] = d.draw(rng)
				}
				all := bounds(t, values, rng)
				ratios = append(ratios, (all[2].High-all[2].Low)/(all[3].High-all[3].Low))
				for m, in := range all {
					if in.Low <= d.mean && d.mean <= in.High {
						held[methods[m]][n] += 1 / float64(*coverageRuns)
					}
				}
			}
			slices.Sort(ratios)
			wider[n] = stats.Quantile(ratios, 0.9)
		}
		for _, m := range methods {
			fmt.Fprintf(&table, "| %s | %s |", d.name, m)
			for _, n := range []int{2, 4, 8, 16, 32} {
				fmt.Fprintf(&table, " %.3f |", held[m][n])
			}
			table.WriteString("\n")
		}
		fmt.Fprintf(&table, "(studentised bootstrap over t, the width that one in ten exceeds: %.1f with 4 pairs, %.1f with 8, %.1f with 16)\n", wider[4], wider[8], wider[16])
		for n, share := range held["t"] {
			if n >= study.VerdictPairs && share < d.least || share < 0.86 || share > 0.985 {
				t.Errorf("%s, %d pairs: the interval holds the difference in %.3f of the comparisons", d.name, n, share)
			}
		}
		if got := held["percentile bootstrap"][4]; got > 0.85 {
			t.Errorf("%s: the percentile bootstrap holds %.3f with 4 pairs: this simulation shows nothing", d.name, got)
		}
	}
	t.Logf("seed %d, %d comparisons:\n%s", seed, *coverageRuns, table.String())
}

// TestIntervalOfBelongingScores: the scores of an item under several keys belong together, and the interval knows it.
func TestIntervalOfBelongingScores(t *testing.T) {
	t.Parallel()
	const runs, items, keys, seed = 400, 40, 5, 11
	rng := rand.New(rand.NewPCG(seed, seed))
	held, naive := 0, 0
	for range runs {
		values := make([][]float64, items)
		for i := range values {
			base := 20 + 3*rng.NormFloat64()
			for range keys {
				values[i] = append(values[i], base+rng.NormFloat64())
			}
		}
		g := randomGroup(t, randoms(values...))
		if g.PSNR.CI95.Low <= 20 && 20 <= g.PSNR.CI95.High {
			held++
		}
		if math.Abs(g.PSNR.Mean-20) <= 1.96*g.PSNR.Std/math.Sqrt(items*keys) {
			naive++
		}
	}
	t.Logf("seed %d: the interval holds the mean in %d of %d runs; one that takes scores for independent, in %d", seed, held, runs, naive)
	if held < runs*91/100 || held > runs*98/100 {
		t.Errorf("the interval holds the mean in %d of %d runs", held, runs)
	}
	if naive > runs*80/100 {
		t.Errorf("the scores of an item do not belong together here: %d", naive)
	}
}

// TestVerdicts: by the direction of the metric and of the role, and none on few pairs.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		values []float64
		want   study.Verdict
	}{
		"seven pairs":     {[]float64{5, 6, 5, 6, 5, 6, 5}, study.CannotBeTold},
		"eight pairs":     {[]float64{5, 6, 5, 6, 5, 6, 5, 6}, study.Better},
		"eight worse":     {[]float64{-5, -6, -5, -6, -5, -6, -5, -6}, study.Worse},
		"eight that vary": {[]float64{5, -6, 5, -6, 5, -6, 5, 6}, study.CannotBeTold},
	} {
		if got := compared(t, c.values).Verdict; got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	run := func(psnr float64) (m study.Measured) {
		m.Summary = summaries[8]
		for i := range 8 {
			roles := []schemas.Role{schemas.Imperceptibility, schemas.Recoverability, schemas.Baseline, schemas.Purification, schemas.Noise}
			for r := schemas.Reader_READER_MISMATCHED; r <= schemas.Reader_READER_SWAPPED; r++ {
				roles = append(roles, schemas.Leakage(r), schemas.LeakageCover(r))
			}
			for _, role := range roles {
				m.Scores = append(m.Scores, row(fmt.Sprint(i), role, "alice", "bob", psnr+float64(i%2)))
			}
		}
		return m
	}
	p, err := study.Compare(run(30), run(20))
	if err != nil {
		t.Fatal(err)
	}
	text := p.Document().Text()
	for _, words := range []string{"A is better", "A is worse", "A is higher"} {
		if !strings.Contains(text, words) {
			t.Errorf("no row says %q:\n%s", words, text)
		}
	}
	for _, r := range p.Roles {
		want, errors := study.Worse, study.Better // a wrong key that shows more of the secret
		switch {
		case slices.Contains([]string{"imperceptibility", "recoverability", "purification"}, r.Role):
			want, errors = study.Better, study.Worse
		case strings.HasSuffix(r.Role, "_cover") || r.Role == "noise" || r.Role == "baseline_cover_secret":
			want, errors = study.Higher, study.Higher
		}
		// In these rows all four metrics are multiples of each other, so that A has the larger errors, too.
		if r.PSNR.Verdict != want || r.SSIM.Verdict != want || r.MAE.Verdict != errors || r.RMSE.Verdict != errors {
			t.Errorf("%s: %s, %s, %s, %s; want %s and, of errors, %s", r.Role, r.PSNR.Verdict, r.SSIM.Verdict, r.MAE.Verdict, r.RMSE.Verdict, want, errors)
		}
	}
}
