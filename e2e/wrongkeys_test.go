package e2e

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stegomq/report/stats"
	"stegomq/study"
)

// TestEvaluateWrongKeys tries more random keys than one job takes, and keys one bit off, and recomputes the summary
// from items.csv.
func TestEvaluateWrongKeys(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 60, 40)
	const pairs, keys, random, near = 2, 2, 130, 4
	command := []string{"evaluate", "--data", "photos", "--keys", "2", "--size", "32", "--random-keys", fmt.Sprint(random)}
	h.ok(append(command, "--out", "without")...)
	without := h.summary("without")
	wantCounts(t, without, h.items("without"), pairs, keys, random, 0)

	command = append(command, "--near-keys", fmt.Sprint(near))
	printed := h.ok(append(command, "--out", "with")...)
	sum, items := h.summary("with"), h.items("with")
	wantCounts(t, sum, items, pairs, keys, random, near)
	if sum.Run == without.Run || sum.Cache.Hits != without.Cache.Misses {
		t.Errorf("run %s with cache %+v after run %s with %+v: only what near keys recover is new", sum.Run, sum.Cache, without.Run, without.Cache)
	}
	var want []string
	for _, key := range []string{"demo-1", "demo-2"} {
		for _, bit := range []string{"0", "64", "128", "192"} {
			want = append(want, "near-"+bit+"-"+key)
		}
	}
	if !slices.Equal(sum.NearKeys, want) {
		t.Errorf("near keys %v, want %v", sum.NearKeys, want)
	}
	for _, i := range items {
		if owner := i.decodeKey[max(0, len(i.decodeKey)-len(i.embedKey)):]; strings.HasPrefix(i.role, "leakage_near") && owner != i.embedKey {
			t.Errorf("what %s embedded was decoded with %s", i.embedKey, i.decodeKey)
		}
	}
	wantDistributions(t, sum, items)
	for _, what := range []string{"key one bit off, against the secret", "key one bit off, largest excess", sum.LeakageRandom.Excess.PSNR.Worst.DecodeKey} {
		if !strings.Contains(printed.stdout, what) || !strings.Contains(string(read(t, h.path("with", "report.md"))), what) {
			t.Errorf("%q is not both printed and in report.md", what)
		}
	}
	wantCached(t, h, h.ok(append(command, "--out", "again", "--log-level", "info")...), "with", "again", sum.Run)

	// A near key decodes for every holder of the key, and embeds for nobody.
	h.ok("embed", "--key", "demo-1", "--cover", "photos/00.jpg", "--secret", "photos/01.png", "-o", "stego.png")
	h.ok("recover", "--key", "near-7-demo-1", "--stego", "stego.png", "-o", "near.png")
	args := []string{"embed", "--key", "near-7-demo-1", "--cover", "photos/00.jpg", "--secret", "photos/01.png", "-o", "no.png"}
	if r := h.run(args...); r.code == 0 || !strings.Contains(r.stderr, "embed with a derived key") {
		t.Errorf("exit code %d:\n%s", r.code, r.stderr)
	}
	// The id of a key may be too long for ids of near keys.
	long := strings.Repeat("a", 55)
	h.ok("keys", "new", long)
	args = append(command, "--keys", filepath.Join("config", "stegomq", "keyring.json"))
	r := h.run(args...)
	r.want(t, 2, args...)
	if !strings.Contains(r.stderr, long) || !strings.Contains(r.stderr, "54") {
		t.Errorf("the error does not say what is too long:\n%s", r.stderr)
	}
}

// After an evaluation with own keys, every file says that the network does not know them; a cipher works with every key.
func TestKeysThatTheModelWasNotTrainedWith(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 2, 48, 40)
	h.ok("keys", "new", "carol")
	keys := filepath.Join("config", "stegomq", "keyring.json")
	printed := h.ok("evaluate", "--data", "photos", "--size", "32", "--keys", keys, "--run", "own", "--out", "own").stdout
	const words = "NOT TRAINED WITH 1 of the 1 keys (carol)"
	for name, text := range map[string]string{"the terminal": printed, "report.md": string(read(t, h.path("own", "report.md"))), "report": h.ok("report", "own").stdout} {
		if !strings.Contains(text, words) {
			t.Errorf("%s does not say %q:\n%s", name, words, text)
		}
	}
	if got := h.summary("own").UntrainedKeys; !slices.Equal(got, []string{"carol"}) {
		t.Errorf("untrained keys %q", got)
	}
	h.ok("evaluate", "--data", "photos", "--size", "32", "--keys", keys, "--model", filepath.Join(shippedModels(), "lsb-chacha20"), "--out", "cipher")
	h.ok("evaluate", "--data", "photos", "--size", "32", "--out", "demo")
	for _, out := range []string{"cipher", "demo"} {
		if got := h.summary(out).UntrainedKeys; len(got) > 0 {
			t.Errorf("%s: untrained keys %q", out, got)
		}
	}
}

// wantDistributions recomputes the groups of a summary from items.csv.
func wantDistributions(t *testing.T, sum *study.Summary, items []item) {
	t.Helper()
	baseline := make(map[string]item)
	for _, i := range items {
		if i.role == "baseline_cover_secret" {
			baseline[i.item] = i
		}
	}
	psnr := func(i item) float64 { return i.scores.PSNR }
	ssim := func(i item) float64 { return i.scores.SSIM }
	for role, group := range map[string]study.Group{
		"imperceptibility": sum.Imperceptibility, "recoverability": sum.Recoverability, "leakage_mismatched": sum.LeakageMismatched,
		"leakage_random": sum.LeakageRandom, "leakage_near": sum.LeakageNear, "leakage_near_cover": sum.LeakageNearCover,
	} {
		var of []item
		for _, i := range items {
			if i.role == role {
				of = append(of, i)
			}
		}
		if d := distributionOf(of, psnr); !close6(d, group.PSNR) {
			t.Errorf("PSNR of %s is %+v, want %+v", role, group.PSNR, d)
		}
		if d := distributionOf(of, ssim); !close6(d, group.SSIM) {
			t.Errorf("SSIM of %s is %+v, want %+v", role, group.SSIM, d)
		}
		leaks := strings.HasPrefix(role, "leakage") && !strings.HasSuffix(role, "cover")
		if leaks != (group.Excess != nil) {
			t.Fatalf("%s has the excess %+v", role, group.Excess)
		}
		if !leaks {
			continue
		}
		for metric, c := range map[string]struct {
			value func(item) float64
			tail  study.Tail
		}{"PSNR": {psnr, group.Excess.PSNR}, "SSIM": {ssim, group.Excess.SSIM}} {
			over := func(i item) float64 { return c.value(i) - c.value(baseline[i.item]) }
			d := distributionOf(of, over)
			worst := slices.MaxFunc(of, func(a, b item) int { return cmp.Compare(over(a), over(b)) })
			got := d
			got.Moments, got.P99, got.Max = c.tail.Moments, c.tail.P99, c.tail.Max
			if !close6(d, got) || group.Excess.N != len(of) {
				t.Errorf("excess of %s of %s, %d scores: %+v, want %d and %+v", metric, role, group.Excess.N, c.tail, len(of), d)
			}
			if want := (study.Comparison{Item: worst.item, EmbedKey: worst.embedKey, DecodeKey: worst.decodeKey}); c.tail.Worst != want {
				t.Errorf("the largest excess of %s of %s is %+v, want %+v", metric, role, c.tail.Worst, want)
			}
		}
	}
}

// distributionOf takes two passes and counts ranks from the top, which package evaluator does not.
func distributionOf(items []item, value func(item) float64) study.Distribution {
	var values []float64
	var total, squares float64
	for _, i := range items {
		values = append(values, value(i))
		total += value(i)
	}
	n := float64(len(values))
	for _, v := range values {
		squares += (v - total/n) * (v - total/n)
	}
	slices.Sort(values)
	slices.Reverse(values)
	rank := func(q float64) float64 {
		from := (1 - q) * (n - 1)
		above, below := values[int(math.Floor(from))], values[int(math.Ceil(from))]
		return above*(1-(from-math.Floor(from))) + below*(from-math.Floor(from))
	}
	return study.Distribution{
		Moments: stats.Moments{Mean: total / n, Std: math.Sqrt(squares / (n - 1))},
		Min:     values[len(values)-1], Median: rank(0.5), P95: rank(0.95), P99: rank(0.99), Max: values[0],
	}
}

// close6 says whether two distributions agree to a millionth.
func close6(a, b study.Distribution) bool {
	for _, pair := range [][2]float64{
		{a.Mean, b.Mean}, {a.Std, b.Std}, {a.Min, b.Min}, {a.Median, b.Median}, {a.P95, b.P95}, {a.P99, b.P99}, {a.Max, b.Max},
	} {
		if !(math.Abs(pair[0]-pair[1]) <= 1e-6) {
			return false
		}
	}
	return true
}
