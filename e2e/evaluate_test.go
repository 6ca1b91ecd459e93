package e2e

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"image"
	"image/png"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stegomq/internal/quality"
	"stegomq/study"
)

// strictSummary decodes a summary in which no field is unknown and none is missing.
func strictSummary(t *testing.T, data []byte) *study.Summary {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var sum study.Summary
	if err := dec.Decode(&sum); err != nil {
		t.Fatalf("summary: %v\n%s", err, data)
	}
	var raw map[string]any
	must(t, json.Unmarshal(data, &raw))
	for _, field := range []string{
		"run", "model", "dataset", "geometry", "keys", "random_keys", "near_keys", "imperceptibility", "recoverability",
		"leakage_mismatched", "leakage_random", "leakage_near", "leakage_mismatched_cover", "leakage_random_cover", "leakage_near_cover", "baseline_cover_secret", "purification",
		"confusion", "cache", "elapsed_seconds", "items_per_second", "failed_items",
	} {
		if raw[field] == nil {
			t.Errorf("the summary has no %s", field)
		}
	}
	return &sum
}

func (h *home) summary(out string) *study.Summary {
	h.t.Helper()
	return strictSummary(h.t, read(h.t, h.path(out, "summary.json")))
}

// item is a row of items.csv.
type item struct {
	item, role, embedKey, decodeKey, reference, test string
	scores                                           quality.Scores
	refused                                          bool // there are then no scores, and no test file
	attack                                           string
}

// items reads items.csv, in which every comparison must be unique. Runs with attacks have a column for them.
func (h *home) items(out string) []item {
	h.t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(read(h.t, h.path(out, "items.csv")))).ReadAll()
	must(h.t, err)
	head := []string{"item", "role", "embed_key", "decode_key", "reference_file", "test_file", "psnr", "ssim", "mae", "rmse", "outcome"}
	if len(rows) == 0 || !slices.Equal(rows[0], head) && !slices.Equal(rows[0], append(head, "attack")) {
		h.t.Fatalf("the head of items.csv is %v", rows)
	}
	seen := make(map[string]bool)
	var items []item
	for _, row := range rows[1:] {
		attack := strings.Join(row[11:], "")
		if name := strings.Join(append(row[:4:4], attack), "|"); seen[name] {
			h.t.Errorf("%s stands twice in items.csv", name)
		} else {
			seen[name] = true
		}
		refused := row[10] == "refused"
		if !refused && row[10] != "done" || refused && strings.Join(row[5:10], "") != "" {
			h.t.Errorf("the row %q of items.csv is neither done nor refused", row)
		}
		var v [4]float64
		for i := range v {
			if refused {
				continue
			}
			v[i], err = strconv.ParseFloat(row[6+i], 64)
			must(h.t, err)
		}
		items = append(items, item{row[0], row[1], row[2], row[3], row[4], row[5], quality.Scores{PSNR: v[0], SSIM: v[1], MAE: v[2], RMSE: v[3]}, refused, attack})
	}
	return items
}

// wantCounts checks that a run of pairs, keys, random keys and keys near each key has every comparison.
func wantCounts(t *testing.T, sum *study.Summary, items []item, pairs, keys, random, near int) {
	t.Helper()
	want := map[string]int{
		"imperceptibility": pairs * keys, "recoverability": pairs * keys,
		"leakage_mismatched": pairs * keys * (keys - 1), "leakage_mismatched_cover": pairs * keys * (keys - 1),
		"leakage_random": pairs * keys * random, "leakage_random_cover": pairs * keys * random,
		"leakage_near": pairs * keys * near, "leakage_near_cover": pairs * keys * near,
		"baseline_cover_secret": pairs, "purification": pairs, "noise": pairs,
	}
	maps.DeleteFunc(want, func(_ string, n int) bool { return n == 0 })
	got := make(map[string]int)
	for _, i := range items {
		got[i.role]++
	}
	if !maps.Equal(got, want) {
		t.Errorf("items.csv has the comparisons %v, want %v", got, want)
	}
	n := map[string]int{
		"imperceptibility": sum.Imperceptibility.N, "recoverability": sum.Recoverability.N,
		"leakage_mismatched": sum.LeakageMismatched.N, "leakage_mismatched_cover": sum.LeakageMismatchedCover.N,
		"leakage_random": sum.LeakageRandom.N, "leakage_random_cover": sum.LeakageRandomCover.N,
		"leakage_near": sum.LeakageNear.N, "leakage_near_cover": sum.LeakageNearCover.N,
		"baseline_cover_secret": sum.BaselineCoverSecret.N, "purification": sum.Purification.N, "noise": sum.Noise.N,
	}
	maps.DeleteFunc(n, func(_ string, n int) bool { return n == 0 })
	if !maps.Equal(n, want) {
		t.Errorf("the summary has the comparisons %v, want %v", n, want)
	}
	if sum.Dataset.Pairs != pairs || len(sum.Keys) != keys || len(sum.RandomKeys) != random || len(sum.NearKeys) != keys*near || len(sum.FailedItems) != 0 {
		t.Errorf("%d pairs, %d keys, %d random keys, %d near keys, %d failed items",
			sum.Dataset.Pairs, len(sum.Keys), len(sum.RandomKeys), len(sum.NearKeys), len(sum.FailedItems))
	}
	if total := sum.Cache.Hits + sum.Cache.Misses; total != len(items) {
		t.Errorf("the cache counts %d comparisons, items.csv %d", total, len(items))
	}
	for _, matrix := range [][][]*float64{sum.Confusion.PSNR, sum.Confusion.SSIM} {
		if len(matrix) != keys {
			t.Fatalf("the confusion matrix has %d rows", len(matrix))
		}
		for i, row := range matrix {
			if len(row) != keys || slices.Contains(row, nil) {
				t.Errorf("row %d of the confusion matrix is %v", i, row)
			}
		}
	}
}

func TestEvaluate(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 7, 60, 40) // three pairs, and one that is left over
	command := []string{"evaluate", "--data", "photos", "--model", filepath.Join(shippedModels(), "invertible-mk"),
		"--keys", "3", "--random-keys", "2", "--size", "32", "--batch", "2", "--log-level", "info"}

	first := h.ok(append(command, "--out", "one")...)
	for _, name := range []string{"summary.json", "items.csv", "report.md"} {
		if len(read(t, h.path("one", name))) == 0 {
			t.Errorf("%s is empty", name)
		}
	}
	sum, items := h.summary("one"), h.items("one")
	wantCounts(t, sum, items, 3, 3, 2, 0)
	if sum.Dataset.Images != 7 || len(sum.Dataset.Failed) != 0 || sum.Geometry != (study.Geometry{Width: 32, Height: 32, Resize: "squash"}) {
		t.Errorf("data set %+v, geometry %+v", sum.Dataset, sum.Geometry)
	}
	if sum.Cache.Hits != 0 || sum.ElapsedSeconds <= 0 || sum.ItemsPerSecond <= 0 {
		t.Errorf("the first time: cache %+v, %v s, %v a second", sum.Cache, sum.ElapsedSeconds, sum.ItemsPerSecond)
	}
	for _, what := range []string{"Imperceptibility", "Recoverability", "Cross decoding", "Purification", "demo-3", sum.Run} {
		if !strings.Contains(first.stdout, what) || !bytes.Contains(read(t, h.path("one", "report.md")), []byte(what)) {
			t.Errorf("%q is not both printed and in report.md", what)
		}
	}
	wantMeans(t, sum, items)

	second := h.ok(append(command, "--out", "two", "--json")...)
	wantCached(t, h, second, "one", "two", sum.Run)
	if printed := strictSummary(t, []byte(second.stdout)); !reflect.DeepEqual(printed, h.summary("two")) {
		t.Errorf("--json printed another summary than it wrote:\n%s", second.stdout)
	}
	third := h.ok(append(command, "--run", "another", "--out", "three")...)
	wantCached(t, h, third, "one", "three", "another")
	// Nothing, such as the runtime's telemetry, may leave files behind. Layouts of networks are kept on purpose.
	for _, file := range h.tree() {
		rest := strings.TrimPrefix(file, h.dir)
		if strings.HasPrefix(rest, "/.cache/stegomq/layouts") {
			continue
		}
		if !slices.ContainsFunc([]string{" ", "/photos", "/state/stegomq", "/state ", "/one", "/two", "/three", "/tmp ", "/.cache ", "/.cache/stegomq "}, func(p string) bool { return strings.HasPrefix(rest, p) }) {
			t.Errorf("%s has no business there", rest)
		}
	}
	if !strings.Contains(first.stderr, "worker started") {
		t.Errorf("the first time no worker was started, so that its absence later says nothing:\n%s", first.stderr)
	}
}

// wantCached checks that a run took all scores of an earlier one from the cache.
func wantCached(t *testing.T, h *home, r result, before, after, run string) {
	t.Helper()
	sum := h.summary(after)
	if sum.Cache.Misses != 0 || sum.Cache.Hits != len(h.items(before)) || sum.Run != run {
		t.Errorf("run %s, cache %+v, want run %s and %d hits", sum.Run, sum.Cache, run, len(h.items(before)))
	}
	if !bytes.Equal(read(t, h.path(before, "items.csv")), read(t, h.path(after, "items.csv"))) {
		t.Errorf("items.csv of %s differs from that of %s", after, before)
	}
	if strings.Contains(r.stderr, "worker started") {
		t.Errorf("a worker was started for nothing:\n%s", r.stderr)
	}
}

// A report says what made its figures: the first command with its times, even if a later one finds everything in the cache.
func TestProvenance(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 48, 40)
	start := time.Now().Add(-time.Second)
	command := []string{"evaluate", "--data", "photos", "--size", "32", "--keys", "2", "--run", "once"}
	h.ok(append(command, "--out", "first")...)
	first := h.summary("first")
	p := first.Provenance
	if p == nil || p.Version != programVersion || p.Where != study.Here || p.Runtime == "" || p.Provider != "cpu" || p.Processor == "" || p.Metrics != "1" ||
		!strings.Contains(p.Decoder, "golang.org/x/image v") || !strings.Contains(p.Command, "evaluate --data photos --size 32 --keys 2 --run once --out first") ||
		p.Date.Before(start) || p.Date.After(time.Now()) || p.Found != 0 || p.Made != first.Cache.Misses || p.ElapsedSeconds != first.ElapsedSeconds {
		t.Fatalf("provenance %+v of %+v", p, first.Cache)
	}
	h.ok(append(command, "--out", "again")...)
	h.ok("report", "once", "--out", "reported")
	for _, out := range []string{"again", "reported"} {
		sum := h.summary(out)
		if sum.Provenance == nil || *sum.Provenance != *p || sum.ElapsedSeconds != first.ElapsedSeconds || sum.Cache.Misses != 0 {
			t.Errorf("%s: %v s, provenance %+v, want %v s and %+v", out, sum.ElapsedSeconds, sum.Provenance, first.ElapsedSeconds, p)
		}
		for _, want := range []string{"made on ", "ONNX Runtime " + p.Runtime + " (cpu), on " + p.Processor, "command: ", "all found in the cache; when the run was made first it took"} {
			if report := string(read(t, h.path(out, "report.md"))); !strings.Contains(report, want) {
				t.Errorf("%s/report.md does not say %q:\n%s", out, want, report)
			}
		}
	}
	// Another run of the same work says that it made nothing itself; a cipher has no runtime.
	h.ok("evaluate", "--data", "photos", "--size", "32", "--keys", "2", "--run", "twice", "--out", "twice")
	if p := h.summary("twice").Provenance; p == nil || p.Where != study.InTheCache || p.Made != 0 || p.Found != first.Cache.Misses || p.Runtime != "" {
		t.Errorf("of a run that was in the cache: %+v", p)
	}
	h.ok("evaluate", "--data", "photos", "--size", "32", "--model", filepath.Join(shippedModels(), "lsb-chacha20"), "--out", "cipher")
	if p := h.summary("cipher").Provenance; p == nil || p.Where != study.Here || p.Runtime != "" || p.Processor == "" {
		t.Errorf("of a cipher: %+v", p)
	}
}

// wantMeans recomputes means and deviations of a group from items.csv.
func wantMeans(t *testing.T, sum *study.Summary, items []item) {
	t.Helper()
	for role, group := range map[string]study.Group{"recoverability": sum.Recoverability, "leakage_random": sum.LeakageRandom} {
		var n, mean, square float64
		for _, i := range items {
			if i.role == role {
				n, mean, square = n+1, mean+i.scores.PSNR, square+i.scores.PSNR*i.scores.PSNR
			}
		}
		mean /= n
		std := math.Sqrt((square - n*mean*mean) / (n - 1))
		if math.Abs(group.PSNR.Mean-mean) > 1e-9 || math.Abs(group.PSNR.Std-std) > 1e-6 {
			t.Errorf("PSNR of %s = %+v, want %v and %v", role, group.PSNR, mean, std)
		}
	}
	for i, embed := range sum.Keys {
		for j, decode := range sum.Keys {
			var n, ssim float64
			for _, it := range items {
				if it.embedKey == embed && it.decodeKey == decode && (it.role == "recoverability" || it.role == "leakage_mismatched") {
					n, ssim = n+1, ssim+it.scores.SSIM
				}
			}
			if math.Abs(*sum.Confusion.SSIM[i][j]-ssim/n) > 1e-9 {
				t.Errorf("SSIM of %s decoded with %s = %v, want %v", embed, decode, *sum.Confusion.SSIM[i][j], ssim/n)
			}
		}
	}
}

// photographs are a folder of real ones: that of STEGOMQ_EVAL_DATA, or the samples.
func photographs(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("STEGOMQ_EVAL_DATA"); dir != "" {
		return dir
	}
	return samples(t)
}

// samples are the photographs of `make photos`.
func samples(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(repository, ".cache", "photos")
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("these tests need the sample photographs: run `make photos` (%v)", err)
	}
	return dir
}

// The same command again is served from the cache. Not in parallel: it logs how long both took.
func TestEvaluateFromCache(t *testing.T) {
	h := newHome(t)
	command := []string{"evaluate", "--data", photographs(t), "--model", filepath.Join(shippedModels(), "invertible-mk"),
		"--keys", "2", "--size", "128", "--limit", "16", "--log-level", "info"}
	h.ok(append(command, "--out", "first")...)
	first, items := h.summary("first"), h.items("first")
	wantCounts(t, first, items, min(16, first.Dataset.Images/2), 2, 1, 0)
	wantCached(t, h, h.ok(append(command, "--out", "again")...), "first", "again", first.Run)
	t.Logf("%d comparisons in %.2f s, then in %.3f s", len(items), first.ElapsedSeconds, h.summary("again").ElapsedSeconds)
}

// Sample photographs: what the program is for, with the model that ships.
func TestEvaluateCoversAndSavedImages(t *testing.T) {
	t.Parallel()
	photos := photographs(t)
	h := newHome(t)
	h.photographs("covers", 2, 70, 90)
	h.ok("evaluate", "--data", photos, "--covers", "covers", "--model", filepath.Join(shippedModels(), "invertible-mk"),
		"--keys", "2", "--size", "48", "--resize", "crop", "--save-images", "--out", "out")
	sum, items := h.summary("out"), h.items("out")
	wantCounts(t, sum, items, 2, 2, 1, 0)
	if sum.Geometry.Resize != "crop" || sum.Dataset.Covers != "covers" {
		t.Errorf("geometry %+v, data set %+v", sum.Geometry, sum.Dataset)
	}
	wantImages(t, h, "out", items)
	// Of each of two pairs the cover and the secret, and with each of two keys the stego and the recovered image.
	page := read(t, h.path("out", "report.html"))
	if n := bytes.Count(page, []byte(`<script type="text/plain" id="picture-`)); n != 2*2+2*2*2 || !bytes.Contains(page, []byte("Every image pair")) {
		t.Errorf("report.html has %d pictures, want 12", n)
	}

	// With the images of another run at hand, saving them takes no work.
	again := h.ok("evaluate", "--data", photos, "--covers", "covers", "--model", filepath.Join(shippedModels(), "invertible-mk"),
		"--keys", "2", "--size", "48", "--resize", "crop", "--save-images", "--out", "again", "--log-level", "info")
	wantCached(t, h, again, "out", "again", sum.Run)
	wantImages(t, h, "again", items)
}

// wantImages recomputes every score from the saved files.
func wantImages(t *testing.T, h *home, out string, items []item) {
	t.Helper()
	load := func(name string) *image.NRGBA {
		img, err := png.Decode(bytes.NewReader(read(t, h.path(out, name))))
		must(t, err)
		return toNRGBA(img)
	}
	if len(items) == 0 {
		t.Fatal("no items")
	}
	for _, i := range items {
		reference, test := load(i.reference), load(i.test)
		got := measure(reference, test)
		similar, err := quality.Compare(reference, test)
		must(t, err)
		got.SSIM = similar.SSIM
		for name, pair := range map[string][2]float64{
			"PSNR": {got.PSNR, i.scores.PSNR}, "SSIM": {got.SSIM, i.scores.SSIM}, "MAE": {got.MAE, i.scores.MAE}, "RMSE": {got.RMSE, i.scores.RMSE},
		} {
			if math.Abs(pair[0]-pair[1]) > 1e-6 || math.IsNaN(pair[0]) {
				t.Fatalf("%s of %s against %s is %v, items.csv says %v", name, i.test, i.reference, pair[0], pair[1])
			}
		}
	}
}

// measure computes PSNR, MAE and RMSE by their definitions, independently of package quality.
func measure(a, b *image.NRGBA) quality.Scores {
	var absolute, squared, n float64
	for y := range a.Rect.Dy() {
		for x := range a.Rect.Dx() {
			p, q := a.NRGBAAt(x, y), b.NRGBAAt(x, y)
			for _, d := range []float64{float64(p.R) - float64(q.R), float64(p.G) - float64(q.G), float64(p.B) - float64(q.B)} {
				absolute, squared, n = absolute+math.Abs(d/255), squared+(d/255)*(d/255), n+1
			}
		}
	}
	rmse := math.Sqrt(squared / n)
	psnr := 100.0
	if rmse > 0 {
		psnr = min(psnr, -20*math.Log10(rmse))
	}
	return quality.Scores{PSNR: psnr, MAE: absolute / n, RMSE: rmse}
}
