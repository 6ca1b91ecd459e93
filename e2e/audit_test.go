package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stegomq/study/audit"
)

// audited reads audit.json, in which no field is unknown.
func (h *home) audited(out string) *audit.Audit {
	h.t.Helper()
	dec := json.NewDecoder(bytes.NewReader(read(h.t, h.path(out, "audit.json"))))
	dec.DisallowUnknownFields()
	var a audit.Audit
	must(h.t, dec.Decode(&a))
	return &a
}

// finding is the result of one test of an audit.
func finding(t *testing.T, a *audit.Audit, test string) audit.Verdict {
	t.Helper()
	for _, v := range a.Verdicts {
		if v.Test == test {
			return v
		}
	}
	t.Fatalf("there is no verdict on %s", test)
	return audit.Verdict{}
}

// ssims reads the SSIM of the comparisons of a run of an audit, by their identifying columns.
type comparison struct{ role, item, embed, decode, attack string }

func (h *home) ssims(dir string) map[comparison]float64 {
	h.t.Helper()
	found := make(map[comparison]float64)
	for _, i := range h.items(dir) {
		found[comparison{i.role, i.item, i.embedKey, i.decodeKey, i.attack}] = i.scores.SSIM
	}
	return found
}

// mean of those that are wanted.
func mean(all map[comparison]float64, want func(comparison) bool) (m float64, n int) {
	for c, v := range all {
		if want(c) {
			m, n = m+v, n+1
		}
	}
	return m / float64(n), n
}

// TestAudit makes every test on the model that ships, and recomputes the figures from the runs' files.
func TestAudit(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 16, 60, 40)
	const pairs, keys, random, randomPairs, near = 8, 2, 20, 2, 2
	command := []string{"audit", "--data", "photos", "--model", filepath.Join(shippedModels(), "invertible-mk"), "--size", "32",
		"--random-keys", fmt.Sprint(random), "--random-pairs", fmt.Sprint(randomPairs), "--near-keys", fmt.Sprint(near), "--log-level", "info"}
	first := h.ok(append(command, "--out", "one")...)
	a := h.audited("one")
	if !strings.Contains(first.stderr, "worker started") {
		t.Errorf("no worker was started:\n%s", first.stderr)
	}
	report := string(read(t, h.path("one", "audit.md")))
	for _, v := range a.Verdicts {
		if !strings.Contains(report, v.Text) || !strings.Contains(first.stdout, v.Title) {
			t.Errorf("%+v is not both printed and in audit.md", v)
		}
		if left := v.Finding == audit.LeftOut; left != slices.Contains([]string{audit.TestLeaked, audit.TestDecoder, audit.TestDetector}, v.Test) {
			t.Errorf("%+v", v)
		}
	}
	if page := string(read(t, h.path("one", "report.html"))); !strings.Contains(page, "Every image pair") || !strings.Contains(page, a.Verdicts[0].Title) {
		t.Error("report.html lacks the verdicts or the image pairs")
	}
	for _, name := range []string{"random-keys-ssim", "random-keys-psnr", "random-keys-best-of", "partial-keys", "robustness", "best-guess"} {
		if _, err := png.Decode(bytes.NewReader(read(t, h.path("one", name+".png")))); err != nil {
			t.Errorf("%s.png: %v", name, err)
		}
		if !bytes.Contains(read(t, h.path("one", name+".svg")), []byte("<svg")) || !strings.Contains(report, name+".png") {
			t.Errorf("%s is not there as SVG, or not in audit.md", name)
		}
	}

	wantRandomKeys(t, a, h.ssims("one/runs/random"), random, randomPairs)
	wantAttempts(t, a, h.ssims("one/runs/attempts"), pairs, keys, near)
	if d := a.Detectability; d.Pairs != pairs || d.Stego.Pairs != pairs/2 || d.Colour.Stego.Pairs != pairs/2 || d.Key != "demo-1" || d.Stego.AUC.N != 5 {
		t.Errorf("detectability %+v", d)
	}
	wantVerdicts(t, a)

	second := h.ok(append(command, "--out", "two", "--json")...)
	again := h.audited("two")
	for _, r := range again.Runs {
		if r.Cache.Misses != 0 || r.Cache.Hits == 0 || r.Failed != 0 {
			t.Errorf("the second time %+v", r)
		}
	}
	if strings.Contains(second.stderr, "worker started") || second.stdout != string(read(t, h.path("two", "audit.json"))) {
		t.Errorf("a worker was started, or --json printed another report than it wrote:\n%s", second.stderr)
	}
	again.Runs = a.Runs
	if one, two := asJSON(t, a), asJSON(t, again); one != two {
		t.Errorf("the second time the figures differ:\n%s\n%s", one, two)
	}
	for _, name := range []string{"best-guess.png", "random-keys-ssim.svg", "runs/attempts/items.csv"} {
		if !bytes.Equal(read(t, h.path("one", name)), read(t, h.path("two", name))) {
			t.Errorf("%s differs the second time", name)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	must(t, err)
	return string(data)
}

func wantRandomKeys(t *testing.T, a *audit.Audit, all map[comparison]float64, keys, pairs int) {
	t.Helper()
	largest, above, n, sum := math.Inf(-1), make(map[string]bool), 0, 0.0
	for c, v := range all {
		if c.role != "leakage_random" {
			continue
		}
		over := v - all[comparison{role: "baseline_cover_secret", item: c.item}]
		largest, n, sum = max(largest, over), n+1, sum+over
		if over > a.Thresholds.Shows {
			above[c.decode] = true
		}
	}
	r := a.RandomKeys
	if n != keys*pairs || r.Keys != keys || r.Stegos != pairs || r.Secret.N != n || r.Showing[0].Keys != len(above) || r.Showing[0].Of != keys {
		t.Errorf("%d comparisons, %d keys above; the audit has %d of %d keys on %d stego images, %+v", n, len(above), r.Secret.N, r.Keys, r.Stegos, r.Showing)
	}
	best := all[comparison{"leakage_random", r.Best.Item, r.Best.EmbedKey, r.Best.DecodeKey, ""}]
	if math.Abs(r.Best.SSIMExcess-largest) > 1e-9 || math.Abs(r.Best.SSIM-best) > 1e-9 {
		t.Errorf("the best guess is %+v, want %v more than the baseline", r.Best, largest)
	}
	if got := r.BestOf[0].SSIM.Mean; math.Abs(got-sum/float64(n)) > 1e-9 {
		t.Errorf("one key may expect %v, want the mean %v", got, sum/float64(n))
	}
	want := audit.Passed
	if len(above) > 0 {
		want = audit.Failed
	}
	if v := finding(t, a, audit.TestRandom); v.Finding != want || !strings.Contains(v.Text, fmt.Sprintf("of %d", keys)) {
		t.Errorf("%d keys above: %+v", len(above), v)
	}
}

func wantAttempts(t *testing.T, a *audit.Audit, all map[comparison]float64, pairs, keys, near int) {
	t.Helper()
	check := func(name string, got, n float64, want func(comparison) bool, times int) {
		t.Helper()
		if m, found := mean(all, want); math.Abs(got-m) > 1e-9 || int(n) != found || found != times {
			t.Errorf("%s: SSIM %v of %v, want %v of %d; there should be %d", name, got, n, m, found, times)
		}
	}
	role := func(name string) func(comparison) bool { return func(c comparison) bool { return c.role == name } }
	each := pairs * keys
	for name, w := range map[string]*audit.WrongKeys{"leakage_near": a.NearKeys, "leakage_swapped": a.SwappedKeys, "leakage_unkeyed": a.NoKey, "leakage_mismatched": a.MismatchedKeys} {
		times := each
		if name == "leakage_near" {
			times *= near
		}
		check(name, w.Secret.SSIM.Mean, float64(w.Secret.N), role(name), times)
		check(name+"_cover", w.Cover.SSIM.Mean, float64(w.Cover.N), role(name+"_cover"), times)
	}
	check("recoverability", a.Recoverability.SSIM.Mean, float64(a.Recoverability.N), role("recoverability"), each)
	if len(a.PartialKeys) != 14 || len(a.Robustness) != 14 {
		t.Fatalf("%d shares, %d attacks", len(a.PartialKeys), len(a.Robustness))
	}
	for _, p := range a.PartialKeys[:13] {
		prefix := fmt.Sprintf("partial-%.0f-", 1000*p.Right)
		check(prefix, p.Secret.SSIM.Mean, float64(p.Secret.N), func(c comparison) bool {
			return c.role == "leakage_partial" && strings.HasPrefix(c.decode, prefix)
		}, each)
	}
	baseline, _ := mean(all, role("baseline_cover_secret"))
	whole, _ := mean(all, role("recoverability"))
	for _, s := range a.Robustness {
		check(s.Attack, s.Secret.SSIM.Mean, float64(s.Secret.N), func(c comparison) bool { return c.role == "robustness" && c.attack == s.Attack }, each)
		if want := (s.Secret.SSIM.Mean - baseline) / (whole - baseline); math.Abs(s.Kept-want) > 1e-9 {
			t.Errorf("after %s %v are kept, want %v", s.Attack, s.Kept, want)
		}
	}
}

// What the model that ships is known to do: see its README.
func wantVerdicts(t *testing.T, a *audit.Audit) {
	t.Helper()
	for test, want := range map[string]audit.Finding{
		audit.TestMatched: audit.Passed, audit.TestMismatched: audit.Passed, audit.TestSwapped: audit.Passed, audit.TestRobust: audit.Failed,
	} {
		if v := finding(t, a, test); v.Finding != want {
			t.Errorf("%+v, want %s", v, want)
		}
	}
	if first, last := a.PartialKeys[0], a.PartialKeys[13]; last.Right != 1 || last.Secret.SSIM.Mean-first.Secret.SSIM.Mean < 0.3 {
		t.Errorf("no part of the key shows %v, all of it %v", first.Secret.SSIM.Mean, last.Secret.SSIM.Mean)
	}
}

// Models whose keys act otherwise have fewer tests, and the report says why; an attacker's file has to be about the model.
func TestAuditOfOtherKeyings(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 60, 40)
	audited := func(out string, args ...string) *audit.Audit {
		h.ok(append([]string{"audit", "--data", "photos", "--size", "32", "--random-keys", "3", "--near-keys", "1", "--out", out}, args...)...)
		return h.audited(out)
	}
	leftOut := func(a *audit.Audit) map[string]string {
		why := make(map[string]string)
		for _, v := range a.Verdicts {
			if v.Finding == audit.LeftOut {
				why[v.Test] = v.Text
			}
		}
		return why
	}
	want := func(a *audit.Audit, says map[string]string) {
		t.Helper()
		says[audit.TestDetect], says[audit.TestColour] = "need 8", "need 8"
		says[audit.TestDecoder], says[audit.TestDetector] = "trainer decode", "trainer detect"
		why := leftOut(a)
		for test, words := range says {
			if !strings.Contains(why[test], words) {
				t.Errorf("%s of %s is left out because %q, want %q", test, a.Model.Name, why[test], words)
			}
		}
		if len(why) != len(says) {
			t.Errorf("left out of %s: %v", a.Model.Name, why)
		}
	}

	variant := audited("variant", "--model", "variant")
	networks := "a network for each of its keys"
	want(variant, map[string]string{
		audit.TestRandom: networks, audit.TestNear: networks, audit.TestSwapped: networks, audit.TestPartial: networks,
		audit.TestNoKey: "does not purify", audit.TestLeaked: "--attacker",
	})
	if variant.RandomKeys != nil || variant.MismatchedKeys.Secret.N != 4 || len(variant.Robustness) != 14 || len(variant.Runs) != 2 {
		t.Errorf("%+v", variant)
	}
	// The fixture is not trained, so wrong keys that show nothing prove nothing.
	if v := finding(t, variant, audit.TestMatched); v.Finding != audit.Failed {
		t.Errorf("%+v", v)
	}

	cipher := audited("cipher", "--model", cipherModel(), "--keys", "1")
	want(cipher, map[string]string{
		audit.TestPartial: "fill no weights", audit.TestNoKey: "does not purify", audit.TestMismatched: "one key",
		audit.TestLeaked: "no weights",
	})
	for test, found := range map[string]audit.Finding{
		audit.TestMatched: audit.Passed, audit.TestRandom: audit.Passed, audit.TestNear: audit.Passed, audit.TestSwapped: audit.Passed, audit.TestRobust: audit.Failed,
	} {
		if v := finding(t, cipher, test); v.Finding != found {
			t.Errorf("%+v, want %s", v, found)
		}
	}

	// Noise of 32x32 pixels is by chance more like the secret than an unrelated image is, once in some hundred times.
	rotation := audited("rotation", "--model", filepath.Join(shippedModels(), "modulo"), "--size", "128")
	want(rotation, map[string]string{
		audit.TestPartial: "fill no weights", audit.TestNoKey: "does not purify", audit.TestLeaked: "no weights",
	})
	for _, test := range []string{audit.TestMatched, audit.TestRandom, audit.TestNear, audit.TestSwapped, audit.TestMismatched} {
		if v := finding(t, rotation, test); v.Finding != audit.Passed {
			t.Errorf("%+v", v)
		}
	}

	sealed := audited("sealed", "--model", filepath.Join(shippedModels(), "sealed"), "--size", "128")
	want(sealed, map[string]string{
		audit.TestPartial: "fill no weights", audit.TestNoKey: "does not purify", audit.TestLeaked: "no weights",
	})
	for _, test := range []string{audit.TestRandom, audit.TestNear, audit.TestSwapped, audit.TestMismatched} {
		if v := finding(t, sealed, test); v.Finding != audit.Passed || !strings.Contains(v.Text, "refuse") {
			t.Errorf("%+v", v)
		}
	}

	h.write("attacker.json", attackerFile(t, variant.Model.Digest))
	h.write("decoder.json", decoderFile(t, variant.Model.Digest))
	h.write("detector.json", detectorFile(t, variant.Model.Digest))
	attacked := audited("attacked", "--model", "variant", "--keys", "1", "--attacker", "attacker.json", "--attacker", "decoder.json", "--detector", "detector.json")
	for _, test := range []string{audit.TestLeaked, audit.TestDecoder} { // the model is not trained
		if v := finding(t, attacked, test); v.Finding != audit.Unclear {
			t.Errorf("%+v", v)
		}
	}
	if v := finding(t, attacked, audit.TestDetector); v.Finding != audit.Failed || !strings.Contains(v.Text, "0.900") {
		t.Errorf("%+v", v)
	}
	report := string(read(t, h.path("attacked", "audit.md")))
	for _, words := range []string{"leaked-pairs.png", "## Decoder trained on leaked pairs", "## Learned detector"} {
		if !strings.Contains(report, words) {
			t.Errorf("audit.md does not have %q", words)
		}
	}

	silent := audited("silent", "--model", cipherModel(), "--keys", "1", "--random-keys", "0")
	if why := leftOut(silent)[audit.TestRandom]; !strings.Contains(why, "--random-keys 0") {
		t.Errorf("random keys are left out because %q", why)
	}
}

// decoderFile is the trainer's report of a decoder that found nothing.
func decoderFile(t *testing.T, digest string) []byte {
	t.Helper()
	score := func(mean float64) map[string]any {
		return map[string]any{"mean": mean, "std": 0, "n": 4, "low": mean, "high": mean}
	}
	measures := func() map[string]any {
		return map[string]any{"psnr": score(10), "ssim": score(0.2), "correlation": score(0)}
	}
	result := measures()
	for name, v := range map[string]any{
		"pairs": 4, "made": 0, "steps": 10, "seconds": 1, "guess": measures(), "over_guess": score(0), "over_unrelated": score(0), "own": score(0), "curve": []any{},
	} {
		result[name] = v
	}
	return []byte(asJSON(t, map[string]any{
		"kind": "decoder", "version": 1, "model": "model", "digest": digest, "data": "photos", "side": 32, "public": false, "seconds": 1, "steps": 0,
		"hardware": "one core", "parameters": 9, "width": 8, "rate": 0.001, "batch": 4, "seed": 1, "results": []any{result}, "baseline": measures(),
	}))
}

// detectorFile is the trainer's report of a detector that finds most images.
func detectorFile(t *testing.T, digest string) []byte {
	t.Helper()
	auc, error := map[string]any{"mean": 0.9, "low": 0.8, "high": 0.95}, map[string]any{"mean": 0.2, "low": 0.1, "high": 0.3}
	return []byte(asJSON(t, map[string]any{
		"kind": "detector", "version": 1, "model": "model", "digest": digest, "matching": 0, "data": "photos", "side": 32, "trained": 8, "tested": 4,
		"seconds": 1, "steps": 0, "spent": map[string]any{"steps": 10, "seconds": 1}, "hardware": "one core", "parameters": 9, "width": 8, "crop": 32,
		"batch": 4, "rate": 0.001, "seed": 1, "auc": auc, "p_e": error, "held_out": 0.9, "curve": []any{},
	}))
}

// attackerFile is the trainer's report of an attack that found nothing.
func attackerFile(t *testing.T, digest string) []byte {
	t.Helper()
	scored := map[string]any{}
	for name, v := range map[string]float64{"psnr": 10, "ssim": 0.2} {
		scored[name] = map[string]any{"mean": v, "std": 0, "n": 4, "low": v, "high": v}
	}
	result := map[string]any{"pairs": 4, "steps": 10, "seconds": 1, "psnr": scored["psnr"], "ssim": scored["ssim"], "curve": []any{}}
	return []byte(asJSON(t, map[string]any{
		"version": 1, "model": "model", "digest": digest, "victim": "demo-1", "mode": "all", "start": "random", "data": "photos", "side": 32,
		"seconds": 1, "steps": 0, "hardware": "one core", "rate": 0.001, "crop": 32, "batch": 4, "seed": 1, "results": []any{result},
		"matched": scored, "untrained": scored, "baseline": scored,
	}))
}

// Errors are reported before anything is written.
func TestAuditRefuses(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 2, 60, 40)
	h.write("other.json", attackerFile(t, strings.Repeat("a", 64)))
	digest := sha256.Sum256(read(t, filepath.Join(tinyModels(), "tiny", "manifest.json")))
	h.write("mine.json", attackerFile(t, hex.EncodeToString(digest[:])))
	h.write("new.json", bytes.Replace(attackerFile(t, "aa"), []byte(`"batch"`), []byte(`"bunch"`), 1))
	must(t, os.WriteFile(h.path("ring.json"), []byte("{}"), 0o600))
	before := h.tree()
	for name, c := range map[string]struct {
		args []string
		says []string
	}{
		"no pairs":        {[]string{"--random-pairs", "0"}, []string{"--random-pairs", "--random-keys 0"}},
		"too many keys":   {[]string{"--random-keys", "10001"}, []string{"--random-keys", "10000"}},
		"too many bits":   {[]string{"--near-keys", "257"}, []string{"--near-keys", "256"}},
		"no keys":         {[]string{"--keys", "ring.json"}, []string{"--keys", "ring.json"}},
		"another model's": {[]string{"--attacker", "other.json"}, []string{"other.json", "aaaaaaaaaaaa", "tiny"}},
		"unknown fields":  {[]string{"--attacker", "new.json"}, []string{"new.json", "bunch", "make it again"}},
		"not a detector":  {[]string{"--detector", "other.json"}, []string{"--detector other.json", "trainer detect"}},
		"two of a kind":   {[]string{"--attacker", "mine.json", "--attacker", "mine.json"}, []string{"mine.json", "there is another report"}},
		"no file":         {[]string{"--attacker", "none.json"}, []string{"--attacker", "none.json"}},
	} {
		h.run(append([]string{"audit", "--data", "photos", "--size", "32"}, c.args...)...).wantError(t, 2, c.says...)
		h.wantUnchanged(before, name)
	}
}
