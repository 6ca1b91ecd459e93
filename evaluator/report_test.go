package evaluator_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"image"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stegomq/evaluator"
	"stegomq/internal/pixel"
	"stegomq/internal/quality"
	"stegomq/schemas"
)

var update = flag.Bool("update", false, "rewrite the golden files of testdata")

// row is a score of which the PSNR is v, the SSIM v/64, the MAE v/1024 and the RMSE v/512: every platform
// computes the same means of these.
func row(item string, role schemas.Role, embed, decode string, v float64) *schemas.Score {
	return &schemas.Score{
		Item: item, Role: role, EmbedKey: embed, DecodeKey: decode, Reference: sha("reference"), Test: sha("test"),
		Metrics: &schemas.Metrics{Psnr: v, Ssim: v / 64, Mae: v / 1024, Rmse: v / 512},
	}
}

// handmade is a run whose figures anyone can work out: two pairs, two keys, one cell of the matrix without a
// score, no purification.
func handmade() (*schemas.RunSpec, []*schemas.Score, []*schemas.Score) {
	spec := &schemas.RunSpec{
		Id: "run-1", Model: sha("model"), ModelName: "tiny", Keys: []*schemas.KeyRef{key("alice"), key("bob")},
		RandomKeys: []*schemas.KeyRef{key("random-1-0")}, NoiseSigma: 20, MetricsVersion: "1", Dataset: "photos", Images: 5,
		Geometry: &schemas.Geometry{Width: 64, Height: 48, Resize: schemas.ResizePolicy_RESIZE_POLICY_CROP},
		Bad:      []*schemas.BadImage{{Name: "sub/broken.png", Reason: "truncated image"}},
		Pairs: []*schemas.Pair{
			{Item: "00001-a", Cover: schemas.BlobRef(sha("c1"), "a.png"), Secret: schemas.BlobRef(sha("s1"), "b.png")},
			{Item: "00002-c", Cover: schemas.BlobRef(sha("c2"), "c.png"), Secret: schemas.BlobRef(sha("s2"), "d.png")},
		},
	}
	const a, c = "00001-a", "00002-c"
	scores := []*schemas.Score{
		row(a, schemas.Role_ROLE_IMPERCEPTIBILITY, "alice", "", 30),
		row(c, schemas.Role_ROLE_IMPERCEPTIBILITY, "alice", "", 40),
		row(a, schemas.Role_ROLE_IMPERCEPTIBILITY, "bob", "", 50),
		row(a, schemas.Role_ROLE_RECOVERABILITY, "alice", "alice", 26),
		row(c, schemas.Role_ROLE_RECOVERABILITY, "alice", "alice", 30),
		row(a, schemas.Role_ROLE_RECOVERABILITY, "bob", "bob", 31),
		row(a, schemas.Role_ROLE_LEAKAGE_MISMATCHED, "alice", "bob", 8),
		row(c, schemas.Role_ROLE_LEAKAGE_MISMATCHED, "alice", "bob", 10),
		row(a, schemas.Role_ROLE_LEAKAGE_MISMATCHED_COVER, "alice", "bob", 12),
		row(a, schemas.Role_ROLE_LEAKAGE_RANDOM, "alice", "random-1-0", 7),
		row(a, schemas.Role_ROLE_LEAKAGE_RANDOM_COVER, "alice", "random-1-0", 11),
		row(a, schemas.Role_ROLE_BASELINE, "", "", 9),
		row(c, schemas.Role_ROLE_BASELINE, "", "", 9),
		row(a, schemas.Role_ROLE_NOISE, "", "", 22),
	}
	failures := []*schemas.Score{{
		Item: c, Role: schemas.Role_ROLE_PURIFICATION, Failure: &schemas.Failure{Reason: "bad_output", Detail: "tensor is not finite"},
	}}
	return spec, scores, failures
}

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-12*max(1, math.Abs(want)) }

// expectGroup wants n scores whose PSNR has a mean and a standard deviation; the others follow as in row.
func expectGroup(t *testing.T, name string, g evaluator.Group, n int, mean, std float64) {
	t.Helper()
	if g.N != n {
		t.Errorf("%s has %d scores, want %d", name, g.N, n)
	}
	for metric, m := range map[string]struct {
		evaluator.Moments
		scale float64
	}{"psnr": {g.PSNR, 1}, "ssim": {g.SSIM, 64}, "mae": {g.MAE, 1024}, "rmse": {g.RMSE, 512}} {
		if !near(m.Mean, mean/m.scale) || !near(m.Std, std/m.scale) {
			t.Errorf("%s, %s: mean %v, deviation %v; want %v and %v", name, metric, m.Mean, m.Std, mean/m.scale, std/m.scale)
		}
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	spec, scores, failures := handmade()
	sum := evaluator.Summarise(spec, scores, failures, evaluator.Invocation{Hits: 4, Misses: 10, Elapsed: 3500 * time.Millisecond})
	expectGroup(t, "imperceptibility", sum.Imperceptibility, 3, 40, 10)
	expectGroup(t, "recoverability", sum.Recoverability, 3, 29, math.Sqrt(7))
	expectGroup(t, "mismatched", sum.LeakageMismatched, 2, 9, math.Sqrt2)
	expectGroup(t, "mismatched against the cover", sum.LeakageMismatchedCover, 1, 12, 0)
	expectGroup(t, "random", sum.LeakageRandom, 1, 7, 0)
	expectGroup(t, "random against the cover", sum.LeakageRandomCover, 1, 11, 0)
	expectGroup(t, "baseline", sum.BaselineCoverSecret, 2, 9, 0)
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
	if sum.Cache != (evaluator.CacheUse{Hits: 4, Misses: 10}) || sum.ElapsedSeconds != 3.5 || sum.ItemsPerSecond != 4 {
		t.Errorf("%+v in %v s, %v a second", sum.Cache, sum.ElapsedSeconds, sum.ItemsPerSecond)
	}
	if want := []evaluator.Failed{{Name: "00002-c|purification||", Reason: "bad_output: tensor is not finite"}}; !slices.Equal(sum.FailedItems, want) {
		t.Errorf("failed %v, want %v", sum.FailedItems, want)
	}
	if want := []evaluator.Failed{{Name: "sub/broken.png", Reason: "truncated image"}}; !slices.Equal(sum.Dataset.Failed, want) {
		t.Errorf("failed %v, want %v", sum.Dataset.Failed, want)
	}
}

func TestSummaryOfNothing(t *testing.T) {
	t.Parallel()
	spec, _, _ := handmade()
	spec.Bad = nil
	sum := evaluator.Summarise(spec, nil, nil, evaluator.Invocation{})
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
	var out strings.Builder
	if err := sum.WriteText(&out); err != nil || !strings.Contains(out.String(), "NOT TRAINED") {
		t.Errorf("%v:\n%s", err, out.String())
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	spec, scores, failures := handmade()
	sum := evaluator.Summarise(spec, scores, failures, evaluator.Invocation{Hits: 4, Misses: 10, Elapsed: 3500 * time.Millisecond})
	dir := filepath.Join(t.TempDir(), "new", "folder")
	for range 2 { // files that are there are replaced
		if err := evaluator.WriteFiles(dir, sum, scores); err != nil {
			t.Fatal(err)
		}
	}
	var text bytes.Buffer
	if err := sum.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	got := map[string][]byte{"terminal.txt": text.Bytes()}
	for _, name := range []string{"summary.json", "items.csv", "report.md"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = data
	}
	for name, data := range got {
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
	if left, err := os.ReadDir(dir); err != nil || len(left) != 3 {
		t.Errorf("the folder holds %v (%v), want the three files", left, err)
	}
}

func TestFilesThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	spec, scores, _ := handmade()
	sum := evaluator.Summarise(spec, scores, nil, evaluator.Invocation{})
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := evaluator.WriteFiles(file, sum, scores); err == nil || !strings.Contains(err.Error(), "output folder") {
		t.Errorf("%v, want an error about the output folder", err)
	}
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "items.csv"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := evaluator.WriteFiles(taken, sum, scores); err == nil || !strings.Contains(err.Error(), "items.csv") {
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
		s := row("x", schemas.Role_ROLE_BASELINE, "", "", 0)
		s.Item = rapid.StringMatching(`[ -~]{1,20}`).Draw(t, "item")
		s.Metrics = &schemas.Metrics{
			Psnr: number.Draw(t, "psnr"), Ssim: number.Draw(t, "ssim"), Mae: number.Draw(t, "mae"), Rmse: number.Draw(t, "rmse"),
		}
		if err := evaluator.WriteFiles(dir, evaluator.Summarise(spec, nil, nil, evaluator.Invocation{}), []*schemas.Score{s}); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, "items.csv"))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		if err != nil || len(rows) != 2 || len(rows[1]) != 10 || rows[1][0] != s.GetItem() {
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

// TestSavedImages saves the images of a scored run and measures them again: the table must say the same.
func TestSavedImages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	embed := r.answer(r.embed(), 100)
	stego := make(map[string]string)
	for _, o := range embed.GetOutcomes() {
		stego[o.GetItem()] = o.GetOutput().GetImage()
	}
	results := []*schemas.Result{embed, r.answer(schemas.PurifyJob(r.spec, 1, r.spec.GetPairs()), 400)}
	for i, k := range r.embed().GetDecodeKeys() {
		results = append(results, r.answer(schemas.RecoverJob(r.embed(), k, stego), uint64(200+10*i)))
	}
	r.publish(results...)
	r.run(evaluator.Config{})
	r.wrote(len(results))
	scores, _, err := r.parts.Scores(testContext(t), "run")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := evaluator.WriteFiles(dir, evaluator.Summarise(r.spec, scores, nil, evaluator.Invocation{}), scores); err != nil {
		t.Fatal(err)
	}
	if err := evaluator.SaveImages(testContext(t), dir, r.spec, scores, r.parts.images, r.bus.Blobs()); err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(filepath.Join(dir, "items.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(table)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1+len(scores) {
		t.Errorf("%d rows, want a head and %d", len(rows), len(scores))
	}
	named := make(map[string]bool)
	for _, cells := range rows[1:] {
		var images []*image.NRGBA
		for _, name := range cells[4:6] {
			named[name] = true
			data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
			if err != nil {
				t.Fatal(err)
			}
			img, _, err := pixel.Decode(data, pixel.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			images = append(images, img)
		}
		q, err := quality.Compare(images[0], images[1])
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []float64{q.PSNR, q.SSIM, q.MAE, q.RMSE} {
			if got, err := strconv.ParseFloat(cells[6+i], 64); err != nil || got != want {
				t.Errorf("%q: the table says %v, the saved images measure %v", cells[:4], got, want)
			}
		}
	}
	// Two covers, secrets, stego, noisy and purified images, and three recovered images of each item.
	saved := make(map[string]bool)
	err = fs.WalkDir(os.DirFS(dir), "images", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			saved[path] = true
		}
		return err
	})
	if err != nil || len(saved) != 16 || !maps.Equal(saved, named) {
		t.Errorf("%d files are saved (%v), the table names %d", len(saved), err, len(named))
	}
	for name, digest := range map[string]string{
		"stego/item-0.alice": stego["item-0"], "noisy/item-1": results[1].GetOutcomes()[1].GetOutput().GetNoisy(),
		"recovered/item-1.alice.bob": results[3].GetOutcomes()[1].GetOutput().GetImage(),
	} {
		data, err := os.ReadFile(filepath.Join(dir, "images", filepath.FromSlash(name)+".png"))
		if err != nil || sha(string(data)) != digest {
			t.Errorf("%s is not the output byte for byte (%v)", name, err)
		}
	}
}

func TestImagesThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := row("item-0", schemas.Role_ROLE_IMPERCEPTIBILITY, "alice", "", 30)
	s.Reference, s.Test = r.spec.GetPairs()[0].GetCover().GetDigest(), sha("gone")
	err := evaluator.SaveImages(testContext(t), t.TempDir(), r.spec, []*schemas.Score{s}, r.parts.images, r.bus.Blobs())
	if err == nil || !strings.Contains(err.Error(), "images/stego/item-0.alice.png") {
		t.Errorf("%v, want an error that names the file", err)
	}
	r.spec.Pairs[0].Cover = schemas.BlobRef(sha("gone too"), "cover.png")
	s.Reference, s.Test = sha("gone too"), r.put(picture(t, 1, 32, 24)).GetDigest()
	err = evaluator.SaveImages(testContext(t), t.TempDir(), r.spec, []*schemas.Score{s}, r.parts.images, r.bus.Blobs())
	if err == nil || !strings.Contains(err.Error(), "images/cover/item-0.png") {
		t.Errorf("%v, want an error that names the file", err)
	}
}
