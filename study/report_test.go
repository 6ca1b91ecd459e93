package study_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stegomq/internal/testrig/browser"
	"stegomq/report/stats"
	"stegomq/schemas"
	"stegomq/study"
)

var update = flag.Bool("update", false, "rewrite the golden files of testdata")

func sha(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func key(id string) *schemas.KeyRef { return &schemas.KeyRef{Id: id, Fingerprint: sha(id)[:32]} }

// readers are so many of a kind for each key, with the keys of ids.
func readers(r schemas.Reader, count uint32, ids ...string) *schemas.Readers {
	of := &schemas.Readers{Reader: r, Count: count}
	for _, id := range ids {
		of.Keys = append(of.Keys, key(id))
	}
	return of
}

// row is a score of which the PSNR is v, the SSIM v/64, the MAE v/1024 and the RMSE v/512: every platform
// computes the same means of these.
func row(item string, role schemas.Role, embed, decode string, v float64) *schemas.Score {
	s := schemas.NewScore(role, item, embed, decode)
	s.Reference, s.Test = sha("reference"), sha("test")
	s.Metrics = &schemas.Metrics{Psnr: v, Ssim: v / 64, Mae: v / 1024, Rmse: v / 512}
	return s
}

// handmade is a run whose figures anyone can work out: two pairs, two keys, one cell of the matrix without a
// score, no purification.
func handmade() (*schemas.RunSpec, []*schemas.Score, []*schemas.Score) {
	spec := &schemas.RunSpec{
		Id: "run-1", Model: sha("model"), ModelName: "tiny", Keys: []*schemas.KeyRef{key("alice"), key("bob")},
		Readers: []*schemas.Readers{
			readers(schemas.Reader_READER_MISMATCHED, 1), readers(schemas.Reader_READER_RANDOM, 1, "random-1-0"),
			readers(schemas.Reader_READER_NEAR, 2, "near-0-alice", "near-128-alice"),
		},
		NoiseSigma: 20, MetricsVersion: "1", Dataset: "photos", Images: 5,
		Geometry: &schemas.Geometry{Width: 64, Height: 48, Resize: schemas.ResizePolicy_RESIZE_POLICY_CROP},
		Sample:   &schemas.Sample{Pairs: 2, Of: 40, Seed: 7},
		Bad:      []*schemas.BadImage{{Name: "sub/broken.png", Reason: "truncated image"}},
		Pairs: []*schemas.Pair{
			{Item: "00001-a", Cover: schemas.BlobRef(sha("c1"), "a.png"), Secret: schemas.BlobRef(sha("s1"), "b.png")},
			{Item: "00002-c", Cover: schemas.BlobRef(sha("c2"), "c.png"), Secret: schemas.BlobRef(sha("s2"), "d.png")},
		},
	}
	const a, c = "00001-a", "00002-c"
	scores := []*schemas.Score{
		row(a, schemas.Imperceptibility, "alice", "", 30),
		row(c, schemas.Imperceptibility, "alice", "", 40),
		row(a, schemas.Imperceptibility, "bob", "", 50),
		row(a, schemas.Recoverability, "alice", "alice", 26),
		row(c, schemas.Recoverability, "alice", "alice", 30),
		row(a, schemas.Recoverability, "bob", "bob", 31),
		row(a, schemas.Leakage(schemas.Reader_READER_MISMATCHED), "alice", "bob", 8),
		row(c, schemas.Leakage(schemas.Reader_READER_MISMATCHED), "alice", "bob", 10),
		row(a, schemas.LeakageCover(schemas.Reader_READER_MISMATCHED), "alice", "bob", 12),
		row(a, schemas.Leakage(schemas.Reader_READER_RANDOM), "alice", "random-1-0", 7),
		row(a, schemas.LeakageCover(schemas.Reader_READER_RANDOM), "alice", "random-1-0", 11),
		row(a, schemas.Leakage(schemas.Reader_READER_NEAR), "alice", "near-0-alice", 9.5),
		row(c, schemas.Leakage(schemas.Reader_READER_NEAR), "alice", "near-0-alice", 8),
		row(a, schemas.Leakage(schemas.Reader_READER_NEAR), "alice", "near-128-alice", 10),
		row(a, schemas.LeakageCover(schemas.Reader_READER_NEAR), "alice", "near-0-alice", 13),
		row(a, schemas.Baseline, "", "", 9.25),
		row(c, schemas.Baseline, "", "", 8.75),
		row(a, schemas.Noise, "", "", 22),
	}
	failure := schemas.NewScore(schemas.Purification, c, "", "")
	failure.Failure = &schemas.Failure{Reason: "bad_output", Detail: "tensor is not finite"}
	return spec, scores, []*schemas.Score{failure}
}

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-12*max(1, math.Abs(want)) }

// expectGroup wants n scores whose PSNR has a mean and a standard deviation; the others follow as in row.
func expectGroup(t *testing.T, name string, g study.Group, n int, mean, std float64) {
	t.Helper()
	if g.N != n {
		t.Errorf("%s has %d scores, want %d", name, g.N, n)
	}
	for metric, m := range map[string]struct {
		stats.Moments
		scale float64
	}{"psnr": {g.PSNR.Moments, 1}, "ssim": {g.SSIM.Moments, 64}, "mae": {g.MAE.Moments, 1024}, "rmse": {g.RMSE.Moments, 512}} {
		if !near(m.Mean, mean/m.scale) || !near(m.Std, std/m.scale) {
			t.Errorf("%s, %s: mean %v, deviation %v; want %v and %v", name, metric, m.Mean, m.Std, mean/m.scale, std/m.scale)
		}
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	spec, scores, failures := handmade()
	sum := study.Summarise(spec, scores, failures, study.Invocation{Hits: 4, Misses: 10, Elapsed: 3500 * time.Millisecond})
	expectGroup(t, "imperceptibility", sum.Imperceptibility, 3, 40, 10)
	expectGroup(t, "recoverability", sum.Recoverability, 3, 29, math.Sqrt(7))
	expectGroup(t, "mismatched", sum.LeakageMismatched, 2, 9, math.Sqrt2)
	expectGroup(t, "mismatched against the cover", sum.LeakageMismatchedCover, 1, 12, 0)
	expectGroup(t, "random", sum.LeakageRandom, 1, 7, 0)
	expectGroup(t, "random against the cover", sum.LeakageRandomCover, 1, 11, 0)
	expectGroup(t, "near", sum.LeakageNear, 3, 27.5/3, math.Sqrt(13./12))
	expectGroup(t, "near, against the cover", sum.LeakageNearCover, 1, 13, 0)
	expectGroup(t, "baseline", sum.BaselineCoverSecret, 2, 9, math.Sqrt(0.125))
	expectGroup(t, "noise", sum.Noise, 1, 22, 0)
	expectGroup(t, "purification", sum.Purification, 0, 0, 0)
	for name, c := range map[string]struct {
		cells [][]*float64
		scale float64
	}{"psnr": {sum.Confusion.PSNR, 1}, "ssim": {sum.Confusion.SSIM, 64}} {
		want := [][]float64{{28, 9}, {math.NaN(), 31}} // bob's image was never decoded by alice
		for i := range want {
			for j, v := range want[i] {
				got := c.cells[i][j]
				switch {
				case math.IsNaN(v) && got != nil:
					t.Errorf("%s %d,%d is %v, want none", name, i, j, *got)
				case !math.IsNaN(v) && (got == nil || !near(*got, v/c.scale)):
					t.Errorf("%s %d,%d is %v, want %v", name, i, j, got, v/c.scale)
				}
			}
		}
	}
	if sum.Cache != (study.CacheUse{Hits: 4, Misses: 10}) || sum.ElapsedSeconds != 3.5 || sum.ItemsPerSecond != 4 {
		t.Errorf("%+v in %v s, %v a second", sum.Cache, sum.ElapsedSeconds, sum.ItemsPerSecond)
	}
	if want := []study.Failed{{Name: "00002-c|purification||", Reason: "bad_output: tensor is not finite"}}; !slices.Equal(sum.FailedItems, want) {
		t.Errorf("failed %v, want %v", sum.FailedItems, want)
	}
	if want := []study.Failed{{Name: "sub/broken.png", Reason: "truncated image"}}; !slices.Equal(sum.Dataset.Failed, want) {
		t.Errorf("failed %v, want %v", sum.Dataset.Failed, want)
	}
}

// TestDistributions compares with figures that were worked out by hand.
func TestDistributions(t *testing.T) {
	t.Parallel()
	spec, scores, _ := handmade()
	sum := study.Summarise(spec, scores, nil, study.Invocation{})
	for name, c := range map[string]struct {
		group study.Group
		want  [5]float64 // of PSNR: least, median, two quantiles, largest
	}{
		"imperceptibility": {sum.Imperceptibility, [5]float64{30, 40, 49, 49.8, 50}},
		"mismatched":       {sum.LeakageMismatched, [5]float64{8, 9, 9.9, 9.98, 10}},
		"random":           {sum.LeakageRandom, [5]float64{7, 7, 7, 7, 7}},
		"near":             {sum.LeakageNear, [5]float64{8, 9.5, 9.95, 9.99, 10}},
		"purification":     {sum.Purification, [5]float64{}},
	} {
		for metric, d := range map[string]struct {
			study.Distribution
			scale float64
		}{"psnr": {c.group.PSNR, 1}, "ssim": {c.group.SSIM, 64}} {
			for i, got := range []float64{d.Min, d.Median, d.P95, d.P99, d.Max} {
				if !near(got, c.want[i]/d.scale) {
					t.Errorf("%s, %s: number %d is %v, want %v", name, metric, i, got, c.want[i]/d.scale)
				}
			}
		}
	}
	for name, c := range map[string]struct {
		excess                  *study.Excess
		n                       int
		mean, std, p99, largest float64
		worst                   study.Comparison
	}{
		"mismatched": {sum.LeakageMismatched.Excess, 2, 0, math.Sqrt(2 * 1.25 * 1.25), 1.225, 1.25, study.Comparison{Item: "00002-c", EmbedKey: "alice", DecodeKey: "bob"}},
		"random":     {sum.LeakageRandom.Excess, 1, -2.25, 0, -2.25, -2.25, study.Comparison{Item: "00001-a", EmbedKey: "alice", DecodeKey: "random-1-0"}},
		"near":       {sum.LeakageNear.Excess, 3, 0.25 / 3, math.Sqrt(7. / 12), 0.74, 0.75, study.Comparison{Item: "00001-a", EmbedKey: "alice", DecodeKey: "near-128-alice"}},
	} {
		if c.excess.N != c.n {
			t.Errorf("%s: %d scores, want %d", name, c.excess.N, c.n)
		}
		for metric, tail := range map[string]struct {
			study.Tail
			scale float64
		}{"psnr": {c.excess.PSNR, 1}, "ssim": {c.excess.SSIM, 64}} {
			for i, got := range []float64{tail.Mean, tail.Std, tail.P99, tail.Max} {
				if want := []float64{c.mean, c.std, c.p99, c.largest}[i] / tail.scale; math.Abs(got-want) > 1e-12 {
					t.Errorf("excess of %s, %s: number %d is %v, want %v", name, metric, i, got, want)
				}
			}
			if tail.Worst != c.worst {
				t.Errorf("excess of %s, %s: the worst is %+v, want %+v", name, metric, tail.Worst, c.worst)
			}
			in := 0
			for _, n := range tail.Histogram.Counts {
				in += n
			}
			if in != c.n {
				t.Errorf("excess of %s, %s: %d of %d scores are in the histogram", name, metric, in, c.n)
			}
		}
	}
	for name, g := range map[string]study.Group{"recoverability": sum.Recoverability, "against the cover": sum.LeakageNearCover} {
		if g.Excess != nil {
			t.Errorf("%s has an excess", name)
		}
	}
}

// TestExcessWithoutABaseline leaves out the item whose cover could not be compared with its secret.
func TestExcessWithoutABaseline(t *testing.T) {
	t.Parallel()
	spec, scores, _ := handmade()
	without := func(items ...string) *study.Excess {
		rest := slices.DeleteFunc(slices.Clone(scores), func(s *schemas.Score) bool {
			return s.Role() == schemas.Baseline && slices.Contains(items, s.GetItem())
		})
		return study.Summarise(spec, rest, nil, study.Invocation{}).LeakageNear.Excess
	}
	if e := without("00002-c"); e.N != 2 || !near(e.PSNR.Mean, 0.5) {
		t.Errorf("%+v, want 2 scores that are 0.5 dB too much", e)
	}
	if e := without("00001-a", "00002-c"); e != nil {
		t.Errorf("%+v, want none", e)
	}
}

// TestHistogram draws many scores and counts them again.
func TestHistogram(t *testing.T) {
	t.Parallel()
	spec, _, _ := handmade()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 100), 1, 200).Draw(t, "psnr")
		scores := []*schemas.Score{row("a", schemas.Baseline, "", "", 20)}
		for _, v := range values {
			scores = append(scores, row("a", schemas.Leakage(schemas.Reader_READER_RANDOM), "alice", "random-1-0", v))
		}
		sum := study.Summarise(spec, scores, nil, study.Invocation{})
		h := sum.LeakageRandom.Excess.PSNR.Histogram
		if len(h.Counts) < 1 || len(h.Counts) > 12 || h.Counts[0] == 0 || h.Counts[len(h.Counts)-1] == 0 || h.Width <= 0 {
			t.Fatalf("%+v", h)
		}
		counts := make([]int, len(h.Counts))
		for _, v := range values {
			i := int(math.Floor((v - 20 - h.From) / h.Width))
			// A value on a bound may fall to either side.
			counts[min(max(i, 0), len(counts)-1)]++
		}
		off := 0
		for i := range counts {
			off += max(counts[i]-h.Counts[i], h.Counts[i]-counts[i])
		}
		onBound := 0
		for _, v := range values {
			if at := (v - 20) / h.Width; math.Abs(at-math.Round(at)) < 1e-9 {
				onBound++
			}
		}
		if off > 2*onBound {
			t.Fatalf("counts %v, want %v", h.Counts, counts)
		}
	})
}

func TestSummaryOfNothing(t *testing.T) {
	t.Parallel()
	spec, _, _ := handmade()
	spec.Bad = nil
	sum := study.Summarise(spec, nil, nil, study.Invocation{})
	expectGroup(t, "imperceptibility", sum.Imperceptibility, 0, 0, 0)
	if sum.ItemsPerSecond != 0 || len(sum.Confusion.PSNR) != 2 || sum.Confusion.PSNR[1][1] != nil {
		t.Errorf("%v a second, confusion %v", sum.ItemsPerSecond, sum.Confusion)
	}
	// Lists that are empty are lists in JSON too, and nothing is NaN.
	data, err := json.Marshal(sum)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"failed":[]`, `"failed_items":[]`, `"psnr":[[null,null],[null,null]]`} {
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("%s is not in %s", want, data)
		}
	}
	out := sum.Document().Text()
	if !strings.Contains(out, "NOT TRAINED") {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	spec, scores, failures := handmade()
	sum := study.Summarise(spec, scores, failures, study.Invocation{Hits: 4, Misses: 10, Elapsed: 3500 * time.Millisecond})
	dir := filepath.Join(t.TempDir(), "new", "folder")
	for range 2 { // files that are there are replaced
		if err := study.WriteFiles(dir, sum, scores); err != nil {
			t.Fatal(err)
		}
	}
	text := sum.Document().Text()
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil || !strings.Contains(string(page), "<title>Run run-1</title>") || !strings.Contains(string(page), "Every image pair") {
		t.Errorf("report.html has %d bytes (%v)", len(page), err)
	}
	browser.ExpectAnchors(t, page)
	if err := os.Remove(filepath.Join(dir, "report.html")); err != nil {
		t.Fatal(err)
	}
	expectGolden(t, dir, map[string][]byte{"terminal.txt": []byte(text)}, "summary.json", "items.csv", "report.md")
}

// wantGolden compares with a file of testdata.
func wantGolden(t *testing.T, name string, data []byte) {
	t.Helper()
	golden := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(golden, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, want) {
		t.Errorf("%s is not as in testdata (-update rewrites it):\n%s", name, data)
	}
}

// expectGolden compares what was written into dir, and what else was made, with testdata.
func expectGolden(t *testing.T, dir string, got map[string][]byte, written ...string) {
	t.Helper()
	for _, name := range written {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = data
	}
	for name, data := range got {
		wantGolden(t, name, data)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != len(written) {
		t.Errorf("the folder holds %v (%v), want %q", left, err, written)
	}
}

func TestFilesThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	spec, scores, _ := handmade()
	sum := study.Summarise(spec, scores, nil, study.Invocation{})
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := study.WriteFiles(file, sum, scores); err == nil || !strings.Contains(err.Error(), "output folder") {
		t.Errorf("%v, want an error about the output folder", err)
	}
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "items.csv"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := study.WriteFiles(taken, sum, scores); err == nil || !strings.Contains(err.Error(), "items.csv") {
		t.Errorf("%v, want an error that names items.csv", err)
	}
}

// TestNumbersOfTheTableAreExact reads back what was written, bit by bit.
func TestNumbersOfTheTableAreExact(t *testing.T) {
	t.Parallel()
	spec, _, _ := handmade()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Float64()
		s := row("x", schemas.Baseline, "", "", 0)
		s.Item = rapid.StringMatching(`[ -~]{1,20}`).Draw(t, "item")
		s.Metrics = &schemas.Metrics{
			Psnr: number.Draw(t, "psnr"), Ssim: number.Draw(t, "ssim"), Mae: number.Draw(t, "mae"), Rmse: number.Draw(t, "rmse"),
		}
		if err := study.WriteFiles(dir, study.Summarise(spec, nil, nil, study.Invocation{}), []*schemas.Score{s}); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, "items.csv"))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		if err != nil || len(rows) != 2 || len(rows[1]) != 11 || rows[1][10] != "done" || rows[1][0] != s.GetItem() {
			t.Fatalf("%q (%v)", data, err)
		}
		m := s.GetMetrics()
		for i, want := range []float64{m.GetPsnr(), m.GetSsim(), m.GetMae(), m.GetRmse()} {
			got, err := strconv.ParseFloat(rows[1][6+i], 64)
			if err != nil || math.Float64bits(got) != math.Float64bits(want) {
				t.Fatalf("%s was written as %q, which reads as %v (%v)", strconv.FormatFloat(want, 'x', -1, 64), rows[1][6+i], got, err)
			}
		}
	})
}
