package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stegomq/internal/steganalysis"
	"stegomq/internal/testrig/browser"
	"stegomq/report"
	"stegomq/schemas"
	"stegomq/study"
)

// made is a run under construction. An unrelated image measures 10 dB and SSIM 0.2 for every pair.
type made struct {
	spec   *schemas.RunSpec
	scores []*schemas.Score
}

func newMade(pairs int) *made {
	m := &made{spec: &schemas.RunSpec{
		Id: "made", Model: strings.Repeat("a", 64), ModelName: "model", ModelTrained: true, Dataset: "photos",
		Geometry: &schemas.Geometry{Width: 16, Height: 16}, Keys: []*schemas.KeyRef{{Id: "alice"}},
	}}
	for i := range pairs {
		item := fmt.Sprintf("%02d", i)
		m.spec.Pairs = append(m.spec.Pairs, &schemas.Pair{
			Item: item, Cover: schemas.BlobRef("cover"+item, ""), Secret: schemas.BlobRef("secret"+item, ""),
		})
		m.add(schemas.Baseline, i, "", "", 10, 0.2)
		m.add(schemas.Imperceptibility, i, "alice", "", 34, 0.95).Test = "stego" + item
		m.add(schemas.Recoverability, i, "alice", "alice", 28, 0.8).Test = "matched" + item
	}
	return m
}

func (m *made) add(role schemas.Role, pair int, embed, decode string, psnr, ssim float64) *schemas.Score {
	s := schemas.NewScore(role, fmt.Sprintf("%02d", pair), embed, decode)
	s.Metrics = &schemas.Metrics{Psnr: psnr, Ssim: ssim, Mae: 0.1, Rmse: 0.1}
	m.scores = append(m.scores, s)
	return s
}

func (m *made) attack(name string, pair int, ssim float64) {
	if !slices.Contains(m.spec.Attacks, name) {
		m.spec.Attacks = append(m.spec.Attacks, name)
	}
	m.add(schemas.Robustness(name), pair, "alice", "alice", 20, ssim)
}

func (m *made) run(name string) *Run {
	return &Run{Name: name, Spec: m.spec, Scores: m.scores, Summary: study.Summarise(m.spec, m.scores, nil, study.Invocation{Hits: 3, Misses: 4})}
}

func verdict(t *testing.T, a *Audit, test string) Verdict {
	t.Helper()
	for _, v := range a.Verdicts {
		if v.Test == test {
			return v
		}
	}
	t.Fatalf("no verdict on %s", test)
	return Verdict{}
}

func (v Verdict) want(t *testing.T, finding Finding, words ...string) {
	t.Helper()
	if v.Finding != finding {
		t.Errorf("%s: %s, want %s: %s", v.Test, v.Finding, finding, v.Text)
	}
	for _, w := range words {
		if !strings.Contains(v.Text, w) {
			t.Errorf("%s does not say %q: %s", v.Test, w, v.Text)
		}
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestRandomKeysCountKeysAndNotComparisons(t *testing.T) {
	t.Parallel()
	m := newMade(2)
	for key := range 40 {
		for pair := range 2 {
			ssim := 0.15
			switch {
			case key == 7: // shows both, one of them clearly
				ssim = 0.35 + 0.1*float64(pair)
			case key == 9 && pair == 1:
				ssim = 0.31
			}
			m.add(schemas.Leakage(schemas.Reader_READER_RANDOM), pair, "alice", fmt.Sprintf("random-1-%d", key), 11, ssim)
		}
	}
	a := New(Evidence{Attempts: newMade(3).run("attempts"), Random: m.run("random")})
	r := a.RandomKeys
	if r.Keys != 40 || r.Stegos != 2 || r.Showing[0].Keys != 2 || r.Showing[1].Keys != 1 || r.Above[0].Count != 3 || r.Above[1].Count != 1 || r.Above[0].Of != 80 {
		t.Errorf("counted %+v, %+v of %d keys on %d", r.Showing, r.Above, r.Keys, r.Stegos)
	}
	if r.Best.DecodeKey != "random-1-7" || r.Best.Item != "01" || !near(r.Best.SSIMExcess, 0.25) || !near(r.Best.BaselinePSNR, 10) || r.Best.MatchedSSIM != 0.8 {
		t.Errorf("the best guess is %+v", r.Best)
	}
	last := r.BestOf[len(r.BestOf)-1]
	if first := r.BestOf[0]; first.Keys != 1 || !near(first.SSIM.Mean, r.Secret.Excess.SSIM.Mean) || last.Keys != 40 || !near(last.SSIM.Mean, 0.2) || !near(last.SSIM.Std, 0.1/math.Sqrt2) {
		t.Errorf("of one key %+v, of all %+v; the mean is %v", first, last, r.Secret.Excess.SSIM.Mean)
	}
	if q := r.Quantiles[len(r.Quantiles)-1]; q.Share != 1 || !near(q.SSIMExcess, 0.25) || !near(q.PSNRExcess, 1) || !near(q.SSIM, 0.45) || !near(q.PSNR, 11) {
		t.Errorf("the largest are %+v", q)
	}
	verdict(t, a, TestRandom).want(t, Failed, "LEAK: 2 of 40 random keys (5 %;", "1 (2.5 %) more than +0.2", "2 stego images", "random-1-7", "The best of 40 random keys")
}

func TestNoRandomKeyShowsAnything(t *testing.T) {
	t.Parallel()
	m := newMade(1)
	for key := range 1000 {
		m.add(schemas.Leakage(schemas.Reader_READER_RANDOM), 0, "alice", fmt.Sprintf("random-1-%d", key), 10.5, 0.2+float64(key)*1e-5)
	}
	a := New(Evidence{Attempts: newMade(3).run("attempts"), Random: m.run("random")})
	verdict(t, a, TestRandom).want(t, Passed, "No key of 1,000", "on 1 stego image", "0.37 %", "random-1-999")
	if a.RandomKeys.Secret.Excess.SSIM.CI95 != nil {
		t.Error("one pair has an interval over pairs")
	}
}

// By drawing every subset.
func TestExpectedLargest(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	values := make([]float64, 9)
	for i := range values {
		values[i] = r.NormFloat64()
	}
	slices.Sort(values)
	for n := 1; n <= len(values); n++ {
		sum, draws := 0.0, 0.0
		for set := range 1 << len(values) {
			largest, size := math.Inf(-1), 0
			for i, v := range values {
				if set>>i&1 == 1 {
					largest, size = max(largest, v), size+1
				}
			}
			if size == n {
				sum, draws = sum+largest, draws+1
			}
		}
		if got := expectedLargest(values, n); math.Abs(got-sum/draws) > 1e-12 {
			t.Errorf("of %d: %v, want %v", n, got, sum/draws)
		}
	}
}

func TestWrongKeysOfEveryKind(t *testing.T) {
	t.Parallel()
	m := newMade(3)
	for pair := range 3 {
		m.add(schemas.Leakage(schemas.Reader_READER_SWAPPED), pair, "alice", "swapped-alice", 10, 0.25)
		m.add(schemas.Leakage(schemas.Reader_READER_NEAR), pair, "alice", "near-0-alice", 10, 0.25+0.1*float64(pair))
		m.add(schemas.Leakage(schemas.Reader_READER_UNKEYED), pair, "alice", "", 9, 0.1)
		for i, ssim := range []float64{0.2, 0.22, 0.45} {
			m.add(schemas.Leakage(schemas.Reader_READER_PARTIAL), pair, "alice", fmt.Sprintf("partial-%d-alice", 400*i), 10, ssim)
		}
	}
	a := New(Evidence{Attempts: m.run("attempts"), LeftOut: map[string]string{TestMismatched: "one key", TestRandom: "none asked for"}})
	verdict(t, a, TestMatched).want(t, Passed, "28.00 dB", "+0.600")
	verdict(t, a, TestNear).want(t, Failed, "LEAK: in 2 of 3 comparisons (67 %)", "at most +0.250", "near-0-alice")
	verdict(t, a, TestSwapped).want(t, Passed, "none of 3 comparisons", "+0.050")
	verdict(t, a, TestNoKey).want(t, Passed, "-0.100")
	verdict(t, a, TestPartial).want(t, Passed, "40 %", "(+0.020)", "80 %", "(+0.250)")
	verdict(t, a, TestRandom).want(t, LeftOut, "none asked for")
	verdict(t, a, TestMismatched).want(t, LeftOut, "one key")
	verdict(t, a, TestDetect).want(t, LeftOut, "no scores")
	if n := len(a.PartialKeys); n != 4 || a.PartialKeys[3].Right != 1 || a.PartialKeys[3].Secret.SSIM.Mean != 0.8 {
		t.Errorf("partial keys %+v", a.PartialKeys)
	}
	if a.NearKeys.Above[1].Count != 1 || a.NearKeys.Secret.Excess.SSIM.CI95 == nil {
		t.Errorf("near keys %+v", a.NearKeys)
	}

	for pair := range 3 {
		m.add(schemas.Leakage(schemas.Reader_READER_PARTIAL), pair, "alice", "partial-300-alice", 10, 0.35)
	}
	verdict(t, New(Evidence{Attempts: m.run("attempts")}), TestPartial).want(t, Failed, "LEAK", "30 %", "+0.150")
	if a.NoKey.Keys != 0 || len(a.NoKey.Showing) != 0 || a.NearKeys.Keys != 1 || a.NearKeys.Showing[0].Keys != 1 {
		t.Errorf("no key %+v, near keys %+v", a.NoKey.Showing, a.NearKeys.Showing)
	}

	// Few keys that show nothing prove little.
	few := newMade(2)
	for key := range 32 {
		few.add(schemas.Leakage(schemas.Reader_READER_NEAR), key%2, "alice", fmt.Sprintf("near-%d-alice", key), 10, 0.2)
	}
	verdict(t, New(Evidence{Attempts: few.run("attempts")}), TestNear).want(t, Passed, "32 keys", "fewer than 11 %")
}

// A model whose matched key shows nothing passes no test of wrong keys.
func TestUntrainedModelProvesNothing(t *testing.T) {
	t.Parallel()
	m := newMade(3)
	for _, s := range m.scores {
		if s.Role() == schemas.Recoverability {
			s.Metrics.Ssim = 0.25
		}
	}
	for pair := range 3 {
		m.add(schemas.Leakage(schemas.Reader_READER_SWAPPED), pair, "alice", "swapped-alice", 10, 0.2)
		m.add(schemas.Leakage(schemas.Reader_READER_NEAR), pair, "alice", "near-0-alice", 10, 0.5)
		m.attack("jpeg-75", pair, 0.24)
	}
	a := New(Evidence{Attempts: m.run("attempts")})
	verdict(t, a, TestMatched).want(t, Failed, "DOES NOT RECOVER")
	verdict(t, a, TestSwapped).want(t, Unclear, "proves nothing")
	verdict(t, a, TestNear).want(t, Failed, "LEAK")
	verdict(t, a, TestRobust).want(t, Unclear)
}

func TestRobustness(t *testing.T) {
	t.Parallel()
	m := newMade(2)
	for pair := range 2 {
		m.attack("jpeg-95", pair, 0.51)
		m.attack("noise-2.5", pair, 0.499)
	}
	a := New(Evidence{Attempts: m.run("attempts")})
	if len(a.Robustness) != 2 || !near(a.Robustness[0].Kept, 0.31/0.6) || !near(a.Robustness[1].Kept, 0.299/0.6) {
		t.Errorf("kept %+v", a.Robustness)
	}
	verdict(t, a, TestRobust).want(t, Failed, "Survived: JPEG quality 95 (52 %)", "Not survived: noise of sigma 2.5 (50 %)")
}

// painted gives images by the digest of their references: smooth ones with the noise of a camera.
type painted struct{ missing string }

func (p painted) Image(_ context.Context, ref *schemas.ImageRef, _ *schemas.Geometry) (*image.NRGBA, error) {
	digest := ref.GetDigest()
	if digest == p.missing {
		return nil, os.ErrNotExist
	}
	kind := strings.TrimRight(digest, "0123456789")
	seed := uint64(0)
	for _, c := range strings.TrimPrefix(digest, kind) {
		seed = 10*seed + uint64(c-'0')
	}
	if kind == "secret" {
		seed += 1000
	}
	m := paint(seed)
	if kind == "stego" {
		return steganalysis.Matching(m, 1, seed), nil
	}
	return m, nil
}

func paint(seed uint64) *image.NRGBA {
	r := rand.New(rand.NewPCG(seed, 1))
	m := image.NewNRGBA(image.Rect(0, 0, 48, 48))
	a, b := 0.02+0.1*r.Float64(), 0.02+0.1*r.Float64()
	for i := range m.Pix {
		v := 128 + 60*math.Sin(a*float64(i%192)/4+b*float64(i/192)+float64(i%4)) + 0.7*r.NormFloat64()
		m.Pix[i] = uint8(min(255, max(0, math.Round(v))))
		if i%4 == 3 {
			m.Pix[i] = 255
		}
	}
	return m
}

func TestDetectability(t *testing.T) {
	t.Parallel()
	m := newMade(40)
	d, err := Detect(t.Context(), m.spec, m.scores, painted{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Pairs != 40 || d.Key != "alice" || d.Stego.Pairs != 20 || d.Stego.AUC.N != 5 {
		t.Errorf("%+v", d)
	}
	if d.Stego.AUC.Mean < 0.9 || d.Matching.AUC.Mean < 0.8 || math.Abs(d.Null.AUC.Mean-0.5) > thresholds.Null {
		t.Errorf("stego %+v, matching %+v, null %+v", d.Stego, d.Matching, d.Null)
	}
	a := New(Evidence{Attempts: m.run("attempts"), Detected: d})
	verdict(t, a, TestDetect).want(t, Failed, "DETECTABLE", "SPAM features and", "20 pairs tested", "LSB matching")
	verdict(t, a, TestColour).want(t, Failed, "DETECTABLE", "of channels and of their differences", "20 pairs tested", "LSB matching")
	if d.Colour.Stego.AUC.Mean < 0.9 || d.Colour.Matching.AUC.Mean < 0.8 || math.Abs(d.Colour.Null.AUC.Mean-0.5) > thresholds.Null || d.Colour.Null == d.Null {
		t.Errorf("with colour: %+v", d.Colour)
	}

	// The words follow from the figures.
	quiet := *d
	quiet.Stego = d.Null
	quiet.Stego.AUC.Low = 0.4
	verdict(t, New(Evidence{Attempts: m.run("attempts"), Detected: &quiet}), TestDetect).want(t, Passed, "do not tell")
	blind := quiet
	blind.Matching.AUC.Low = 0.5
	verdict(t, New(Evidence{Attempts: m.run("attempts"), Detected: &blind}), TestDetect).want(t, Unclear, "Not even LSB matching")
	odd := *d
	odd.Null.AUC.Mean = 0.7
	verdict(t, New(Evidence{Attempts: m.run("attempts"), Detected: &odd}), TestDetect).want(t, Unclear, "nothing to find")

	few := newMade(7)
	if _, err := Detect(t.Context(), few.spec, few.scores, painted{}); !errors.Is(err, steganalysis.ErrPairs) {
		t.Errorf("seven pairs: %v", err)
	}
	if _, err := Detect(t.Context(), m.spec, m.scores, painted{missing: "stego11"}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "item 11") {
		t.Errorf("an image is missing: %v", err)
	}
}

const attackerFile = `{"baseline": {"psnr": {"high": 11, "low": 9, "mean": 10, "n": 8, "std": 1}, "ssim": {"high": 0.3, "low": 0.1, "mean": 0.21, "n": 8, "std": 0.1}},
 "batch": 4, "crop": 64, "data": "photos", "digest": "aa", "hardware": "one core", "mode": "fill", "model": "model", "rate": 0.003,
 "matched": {"psnr": {"high": 29, "low": 27, "mean": 28, "n": 8, "std": 1}, "ssim": {"high": 0.9, "low": 0.7, "mean": 0.8, "n": 8, "std": 0.1}},
 "untrained": {"psnr": {"high": 11, "low": 9, "mean": 10, "n": 8, "std": 1}, "ssim": {"high": 0.3, "low": 0.1, "mean": 0.2, "n": 8, "std": 0.1}},
 "results": [
 {"curve": [{"psnr": 10.5, "seconds": 12.4, "ssim": 0.25, "steps": 300}], "pairs": 0, "seconds": 12.4, "steps": 300,
  "psnr": {"mean": 10.5, "std": 1, "n": 8, "low": 10, "high": 11}, "ssim": {"mean": 0.25, "std": 0.1, "n": 8, "low": null, "high": null}},
 {"curve": [{"psnr": 10.5, "seconds": 12.4, "ssim": 0.25, "steps": 300}], "pairs": 32, "seconds": 31, "steps": 3000,
  "psnr": {"mean": 20.5, "std": 1, "n": 8, "low": 20, "high": 21}, "ssim": {"mean": 0.55, "std": 0.1, "n": 8, "low": 0.5, "high": 0.6}}],
 "seconds": 120, "seed": 1, "side": 128, "start": "mean", "steps": 0, "version": 1, "victim": "alice"}`

func TestAttacker(t *testing.T) {
	t.Parallel()
	found, err := ReadAttacker([]byte(attackerFile))
	if err != nil {
		t.Fatal(err)
	}
	attempts := newMade(2).run("attempts")
	verdict(t, New(Evidence{Attempts: attempts, Attacker: found}), TestLeaked).want(t, Failed, "LEAK", "32 leaked pairs", "31 s", "3,000 steps", "20.50 dB", "+0.340")
	found.Results = found.Results[:1]
	verdict(t, New(Evidence{Attempts: attempts, Attacker: found}), TestLeaked).want(t, Passed, "no leaked pairs", "(+0.040)")
	for name, data := range map[string]string{
		"nothing":       "",
		"a new field":   strings.Replace(attackerFile, `"model"`, `"new": 1, "model"`, 1),
		"a new version": strings.Replace(attackerFile, `"version": 1`, `"version": 2`, 1),
		"no model":      strings.Replace(attackerFile, `"model": "model",`, "", 1),
		"no digest":     strings.Replace(attackerFile, `"digest": "aa",`, "", 1),
		"no results":    `{"model": "model", "digest": "aa", "version": 1, "results": []}`,
		"fewer pairs":   strings.Replace(attackerFile, `"pairs": 32`, `"pairs": -1`, 1),
		"nothing tried": strings.Replace(attackerFile, `"mean": 0.55, "std": 0.1, "n": 8`, `"mean": 0.55, "std": 0.1, "n": 0`, 1),
		"no baseline":   strings.Replace(attackerFile, `"n": 8`, `"n": 0`, 2),
		"two files":     attackerFile + attackerFile,
	} {
		if _, err := ReadAttacker([]byte(data)); !errors.Is(err, ErrReport) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// decoderFile has an attacker who gets nothing with one pair, and perhaps something with 100.
var decoderFile = `{"kind": "decoder", "version": 1, "model": "model", "digest": "aa", "data": "photos", "side": 128, "public": true, "seconds": 1800, "steps": 0,
 "hardware": "one core", "parameters": 700000, "width": 24, "rate": 0.002, "batch": 8, "seed": 1,
 "baseline": {"psnr": {"high": 11, "low": 9, "mean": 10, "n": 64, "std": 1}, "ssim": {"high": 0.3, "low": 0.1, "mean": 0.2, "n": 64, "std": 0.1}, "correlation": {"high": 0.1, "low": -0.1, "mean": 0, "n": 64, "std": 0.1}},
 "results": [` + decoded1 + "," + decoded100 + "]}"

const decoded1 = `{"pairs": 1, "made": 0, "steps": 3000, "seconds": 1700, "curve": [{"steps": 3000, "seconds": 1700, "psnr": 12, "ssim": 0.25, "correlation": 0.1}],
  "psnr": {"mean": 12, "std": 1, "n": 64, "low": 11, "high": 13}, "ssim": {"mean": 0.25, "std": 0.1, "n": 64, "low": 0.24, "high": 0.26}, "correlation": {"mean": 0.1, "std": 0.1, "n": 64, "low": 0, "high": 0.2},
  "guess": {"psnr": {"mean": 12, "std": 1, "n": 64, "low": 11, "high": 13}, "ssim": {"mean": 0.25, "std": 0.1, "n": 64, "low": 0.24, "high": 0.26}, "correlation": {"mean": 0.1, "std": 0.1, "n": 64, "low": 0, "high": 0.2}},
  "over_guess": {"mean": 0.001, "std": 0.01, "n": 64, "low": -0.002, "high": 0.004}, "over_unrelated": {"mean": 0.05, "std": 0.1, "n": 64, "low": 0.03, "high": 0.07},
  "own": {"mean": 0.0003, "std": 0.01, "n": 64, "low": -0.002, "high": 0.003}}`

var decoded100 = strings.NewReplacer(`"pairs": 1,`, `"pairs": 100,`, `"over_guess": {"mean": 0.001, "std": 0.01, "n": 64, "low": -0.002, "high": 0.004}`,
	`"over_guess": {"mean": 0.03, "std": 0.01, "n": 64, "low": 0.01, "high": 0.05}`).Replace(decoded1)

func TestDecoderReport(t *testing.T) {
	t.Parallel()
	attempts := newMade(2).run("attempts")
	file := decoderFile
	read := func() *Decoder {
		t.Helper()
		found, err := ReadDecoder([]byte(file))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	found := read()
	of := func(d *Decoder) Verdict {
		return verdict(t, New(Evidence{Attempts: attempts, Decoder: d}), TestDecoder)
	}
	of(found).want(t, Unclear, "100 leaked pairs", "+0.0300 [+0.0100, +0.0500] over the mean of the secrets", "Test on more images")
	found.Results = found.Results[:1]
	of(found).want(t, Passed, "1 leaked pair,", "+0.0010 [-0.0020, +0.0040]", "correlation 0.100", "+0.0003 [-0.0020, +0.0030] SSIM more than with others")
	// What he has over a guess that is worse than an unrelated image is nothing.
	file = strings.Replace(decoderFile, `"over_unrelated": {"mean": 0.05, "std": 0.1, "n": 64, "low": 0.03, "high": 0.07}`, `"over_unrelated": {"mean": -0.05, "std": 0.1, "n": 64, "low": -0.07, "high": -0.03}`, 2)
	of(read()).want(t, Passed, "-0.0500", "over an unrelated image")
	file = strings.Replace(decoderFile, `"low": 0.01, "high": 0.05}`, `"low": 0.021, "high": 0.05}`, 1)
	of(read()).want(t, Failed, "LEAK", "100 leaked pairs")

	for name, data := range map[string]string{
		"nothing":        "",
		"a new field":    strings.Replace(decoderFile, `"model"`, `"new": 1, "model"`, 1),
		"a new version":  strings.Replace(decoderFile, `"version": 1`, `"version": 2`, 1),
		"another kind":   strings.Replace(decoderFile, `"kind": "decoder"`, `"kind": "detector"`, 1),
		"no digest":      strings.Replace(decoderFile, `"digest": "aa",`, "", 1),
		"fewer pairs":    strings.Replace(decoderFile, `"pairs": 100`, `"pairs": -1`, 1),
		"no interval":    strings.Replace(decoderFile, `"low": 0.01, "high": 0.05}`, `"low": null, "high": null}`, 1),
		"the other file": attackerFile,
		"two files":      decoderFile + decoderFile,
	} {
		if _, err := ReadDecoder([]byte(data)); !errors.Is(err, ErrReport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if ReportKind([]byte(decoderFile)) != KindDecoder || ReportKind([]byte(attackerFile)) != "" || ReportKind([]byte("x")) != "" {
		t.Error("a report is of another kind than it says")
	}
}

const detectorFile = `{"kind": "detector", "version": 1, "model": "model", "digest": "aa", "matching": 0.0, "data": "photos", "side": 256, "trained": 800, "tested": 128,
 "seconds": 1800, "steps": 0, "spent": {"steps": 900, "seconds": 880.5}, "hardware": "one core", "parameters": 20000, "width": 16, "crop": 128, "batch": 8, "rate": 0.002, "seed": 1,
 "auc": {"mean": 0.61, "low": 0.55, "high": 0.67}, "p_e": {"mean": 0.4, "low": 0.36, "high": 0.44}, "held_out": 0.63,
 "curve": [{"steps": 900, "seconds": 880.5, "auc": 0.61}, {"steps": 1800, "seconds": 1800, "auc": 0.6}]}`

func TestDetectorReport(t *testing.T) {
	t.Parallel()
	found, err := ReadDetector([]byte(detectorFile))
	if err != nil {
		t.Fatal(err)
	}
	attempts := newMade(2).run("attempts")
	verdict(t, New(Evidence{Attempts: attempts, Detector: found}), TestDetector).want(t, Failed, "DETECTABLE", "800 pairs", "0.610 [0.550, 0.670]", "128 pairs")
	found.AUC.Low = 0.48
	verdict(t, New(Evidence{Attempts: attempts, Detector: found}), TestDetector).want(t, Passed, "does not tell", "for longer")
	for name, data := range map[string]string{
		"nothing":        "",
		"a new field":    strings.Replace(detectorFile, `"model"`, `"new": 1, "model"`, 1),
		"a new version":  strings.Replace(detectorFile, `"version": 1`, `"version": 2`, 1),
		"no test":        strings.Replace(detectorFile, `"tested": 128`, `"tested": 0`, 1),
		"the control":    strings.Replace(detectorFile, `"matching": 0.0`, `"matching": 0.5`, 1),
		"the other file": attackerFile,
	} {
		if _, err := ReadDetector([]byte(data)); !errors.Is(err, ErrReport) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// whole is an audit in which every test was made.
func whole(t *testing.T) *Audit {
	t.Helper()
	random := newMade(1)
	for key := range 30 {
		random.add(schemas.Leakage(schemas.Reader_READER_RANDOM), 0, "alice", fmt.Sprintf("random-1-%d", key), 10, 0.2+0.01*float64(key))
		random.add(schemas.LeakageCover(schemas.Reader_READER_RANDOM), 0, "alice", fmt.Sprintf("random-1-%d", key), 30, 0.8)
	}
	m := newMade(8)
	for pair := range 8 {
		for role, key := range map[schemas.Role]string{
			schemas.Leakage(schemas.Reader_READER_MISMATCHED): "bob", schemas.Leakage(schemas.Reader_READER_NEAR): "near-3-alice", schemas.Leakage(schemas.Reader_READER_SWAPPED): "swapped-alice",
			schemas.Leakage(schemas.Reader_READER_UNKEYED): "", schemas.Leakage(schemas.Reader_READER_PARTIAL): "partial-500-alice",
		} {
			m.add(role, pair, "alice", key, 10, 0.2+0.01*float64(pair))
		}
		for _, attack := range []string{"jpeg-95", "jpeg-50", "noise-1", "noise-10", "resize-50", "crop-5"} {
			m.attack(attack, pair, 0.3)
		}
	}
	e := Evidence{Attempts: m.run("attempts"), Random: random.run("random")}
	e.Runs = []*Run{e.Attempts, e.Random}
	var err error
	if e.Detected, err = Detect(t.Context(), m.spec, m.scores, painted{}); err != nil {
		t.Fatal(err)
	}
	if e.Attacker, err = ReadAttacker([]byte(attackerFile)); err != nil {
		t.Fatal(err)
	}
	if e.Decoder, err = ReadDecoder([]byte(decoderFile)); err != nil {
		t.Fatal(err)
	}
	if e.Detector, err = ReadDetector([]byte(detectorFile)); err != nil {
		t.Fatal(err)
	}
	best, dir := *BestGuess(e.Random), t.TempDir()
	if _, err := ShowGuess(best, dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the best guess without images: %v", err)
	}
	for i, file := range []string{
		study.ImageFile("cover", best.Item), study.ImageFile("secret", best.Item), study.ImageFile("stego", best.Item, best.EmbedKey),
		study.ImageFile("recovered", best.Item, best.EmbedKey, best.EmbedKey), study.ImageFile("recovered", best.Item, best.EmbedKey, best.DecodeKey),
	} {
		var data bytes.Buffer
		if err := png.Encode(&data, paint(uint64(i))); err != nil {
			t.Fatal(err)
		}
		if err := report.WriteFolder(dir, []report.File{{Name: file, Data: data.Bytes()}}); err != nil {
			t.Fatal(err)
		}
	}
	if e.Guess, err = ShowGuess(best, dir); err != nil {
		t.Fatal(err)
	}
	return New(e)
}

func TestFiles(t *testing.T) {
	t.Parallel()
	a := whole(t)
	dir := filepath.Join(t.TempDir(), "new", "folder")
	if err := a.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "audit.json"))
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var read Audit
	if err := dec.Decode(&read); err != nil {
		t.Fatal(err)
	}
	if again, err := json.MarshalIndent(read, "", "  "); err != nil || string(again)+"\n" != string(data) {
		t.Errorf("audit.json reads as something else (%v)", err)
	}
	markdown, err := os.ReadFile(filepath.Join(dir, "audit.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := a.Brief().Text()
	if len(a.Verdicts) != 13 {
		t.Errorf("%d verdicts", len(a.Verdicts))
	}
	for _, v := range a.Verdicts {
		if v.Finding == LeftOut || !strings.Contains(string(markdown), v.Text) || !strings.Contains(text, v.Title) {
			t.Errorf("%+v is not in the report and printed", v)
		}
	}
	for _, name := range []string{"random-keys-ssim", "random-keys-psnr", "random-keys-best-of", "best-guess", "partial-keys", "leaked-pairs", "robustness"} {
		if !strings.Contains(string(markdown), "]("+name+".svg)") {
			t.Errorf("audit.md does not show %s", name)
		}
		f, err := os.ReadFile(filepath.Join(dir, name+".png"))
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := png.Decode(bytes.NewReader(f)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if svg, err := os.ReadFile(filepath.Join(dir, name+".svg")); err != nil || !bytes.Contains(svg, []byte("<svg")) {
			t.Errorf("%s.svg: %v", name, err)
		}
	}

	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	browser.ExpectAnchors(t, page)
	if again := whole(t).Brief().Text(); again != text {
		t.Error("the same numbers give other words")
	}
}

func TestPercentAndCount(t *testing.T) {
	t.Parallel()
	for share, want := range map[float64]string{0: "0 %", 1: "100 %", 0.5: "50 %", 0.0103: "1.0 %", 0.000369: "0.037 %", 0.8333: "83 %"} {
		if got := percent(share); got != want {
			t.Errorf("%v is %q, want %q", share, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 12345678: "12,345,678"} {
		if got := count(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

// The reports in docs/results are the trainer's own: what it writes is what the audit reads.
func TestTheTrainersReports(t *testing.T) {
	t.Parallel()
	for pattern, read := range map[string]func([]byte) (any, error){
		"attack*.json":   func(data []byte) (any, error) { return ReadAttacker(data) },
		"decoder*.json":  func(data []byte) (any, error) { return ReadDecoder(data) },
		"detector*.json": func(data []byte) (any, error) { return ReadDetector(data) },
	} {
		paths, err := filepath.Glob(filepath.Join("..", "..", "docs", "results", pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no report in docs/results is %s (%v)", pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := read(data); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}
