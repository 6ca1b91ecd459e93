package study_test

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"stegomq/schemas"
	"stegomq/study"
)

// scored is a run that is compared.
type scored struct {
	Spec   *schemas.RunSpec
	Scores []*schemas.Score
}

func compare(a, b scored) (*study.Paired, error) {
	measured := func(s scored) study.Measured {
		return study.Measured{Summary: study.Summarise(s.Spec, s.Scores, nil, study.Invocation{}), Scores: s.Scores}
	}
	return study.Compare(measured(a), measured(b))
}

// twoRuns are handmade runs of four pairs: the second has other names, another order, another model and other keys.
func twoRuns() (a, b scored) {
	pair := func(item, image string) *schemas.Pair {
		return &schemas.Pair{Item: item, Cover: schemas.BlobRef(sha("c"+image), item+".png"), Secret: schemas.BlobRef(sha("s"+image), "s.png")}
	}
	a.Spec, _, _ = handmade()
	a.Spec.Pairs = []*schemas.Pair{pair("00001-a", "1"), pair("00002-b", "2"), pair("00003-c", "3"), pair("00004-d", "4")}
	b.Spec = proto.CloneOf(a.Spec)
	b.Spec.Id, b.Spec.Model, b.Spec.ModelName, b.Spec.ModelTrained, b.Spec.Keys = "run-2", sha("other"), "other", true, []*schemas.KeyRef{key("carol")}
	b.Spec.Pairs = []*schemas.Pair{pair("4", "4"), pair("3", "3"), pair("2", "2"), pair("1", "1")}
	var (
		stego, recovered, base, noise = schemas.Imperceptibility, schemas.Recoverability, schemas.Baseline, schemas.Noise
		nearby                        = schemas.Leakage(schemas.Reader_READER_NEAR)
	)
	// Of each pair, A and B: 34 and 30 dB by two keys, 35 and 30, 38 and 32, 31 and 30; the differences are 4, 5, 6 and 1.
	a.Scores = []*schemas.Score{
		row("00001-a", stego, "alice", "", 33), row("00001-a", stego, "bob", "", 35), row("00002-b", stego, "alice", "", 35),
		row("00003-c", stego, "alice", "", 38), row("00004-d", stego, "alice", "", 31),
		row("00001-a", recovered, "alice", "alice", 20), row("00002-b", recovered, "alice", "alice", 24), row("00003-c", recovered, "alice", "alice", 22),
		row("00001-a", base, "", "", 9), row("00001-a", noise, "", "", 22), row("00001-a", nearby, "alice", "near-0-alice", 8),
	}
	b.Scores = []*schemas.Score{
		row("1", stego, "carol", "", 30), row("2", stego, "carol", "", 30), row("3", stego, "carol", "", 32), row("4", stego, "carol", "", 30),
		row("1", recovered, "carol", "carol", 24), row("2", recovered, "carol", "carol", 20), row("4", recovered, "carol", "carol", 50),
		row("1", base, "", "", 9), row("1", noise, "", "", 22),
	}
	return a, b
}

func TestCompare(t *testing.T) {
	t.Parallel()
	a, b := twoRuns()
	p, err := compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		role          string
		n             int
		a, b, std     float64
		half          float64
		interval, not bool // there is one; it does not hold 0
	}{
		{"imperceptibility", 4, 34.5, 30.5, math.Sqrt(14. / 3), 3.18245 * math.Sqrt(14./3/4), true, true},
		{"recoverability", 2, 22, 22, math.Sqrt(32), 12.7062 * 4, true, false},
		{"baseline_cover_secret", 1, 9, 9, 0, 0, false, false},
		{"noise", 1, 22, 22, 0, 0, false, false},
	}
	if len(p.Roles) != len(want) {
		t.Fatalf("%d roles, want %d: %+v", len(p.Roles), len(want), p.Roles)
	}
	for i, w := range want {
		r := p.Roles[i]
		if r.Role != w.role || r.N != w.n {
			t.Errorf("role %d is %s with %d pairs, want %s with %d", i, r.Role, r.N, w.role, w.n)
		}
		for metric, m := range map[string]struct {
			study.Difference
			scale float64
		}{"psnr": {r.PSNR, 1}, "ssim": {r.SSIM, 64}, "mae": {r.MAE, 1024}, "rmse": {r.RMSE, 512}} {
			if !near(m.A, w.a/m.scale) || !near(m.B, w.b/m.scale) || !near(m.Mean, (w.a-w.b)/m.scale) || !near(m.Std, w.std/m.scale) || m.HoldsZero == w.not {
				t.Errorf("%s, %s: %+v", w.role, metric, m)
			}
			if (m.CI95 != nil) != w.interval {
				t.Errorf("%s, %s: interval %+v", w.role, metric, m.CI95)
			} else if middle := w.a - w.b; w.interval && (math.Abs(m.CI95.Low*m.scale-middle+w.half) > 1e-3 || math.Abs(m.CI95.High*m.scale-middle-w.half) > 1e-3) {
				t.Errorf("%s, %s: interval %+v, want %v ± %v", w.role, metric, *m.CI95, middle/m.scale, w.half/m.scale)
			}
			if m.Verdict != study.CannotBeTold {
				t.Errorf("%s, %s: %s on %d pairs", w.role, metric, m.Verdict, w.n)
			}
		}
	}
	if want := []study.Failed{{Name: "leakage_near", Reason: "only run-1 has it"}}; !slices.Equal(p.LeftOut, want) {
		t.Errorf("left out %v, want %v", p.LeftOut, want)
	}
	// The other way round every sign changes.
	back, err := compare(b, a)
	if err != nil || back.Roles[0].PSNR.Mean != -4 || math.Abs(back.Roles[0].PSNR.CI95.High+p.Roles[0].PSNR.CI95.Low) > 1e-9 {
		t.Errorf("%+v (%v)", back.Roles[0].PSNR, err)
	}
	b.Spec.NoiseSigma = 10
	if p, err = compare(a, b); err != nil || len(p.Roles) != 3 || !slices.Contains(p.LeftOut, study.Failed{Name: "noise", Reason: "the noise differs: sigma 20 and 10"}) {
		t.Errorf("%+v (%v)", p, err)
	}
	// A run against itself differs in nothing.
	if p, err = compare(a, a); err != nil || len(p.LeftOut) != 0 {
		t.Fatalf("%+v (%v)", p, err)
	}
	for _, r := range p.Roles {
		if r.PSNR.Mean != 0 || r.PSNR.Std != 0 || !r.PSNR.HoldsZero {
			t.Errorf("%s differs from itself: %+v", r.Role, r.PSNR)
		}
	}
}

func TestRunsThatCannotBeCompared(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(b *schemas.RunSpec)
		says   string
	}{
		"size":    {func(b *schemas.RunSpec) { b.Geometry.Width = 128 }, "run-1 is at 64x48 (crop), run-2 at 128x48 (crop)"},
		"resize":  {func(b *schemas.RunSpec) { b.Geometry.Resize = schemas.ResizePolicy_RESIZE_POLICY_SQUASH }, "squash"},
		"metrics": {func(b *schemas.RunSpec) { b.MetricsVersion = "2" }, "version 2"},
		"decoder": {func(b *schemas.RunSpec) { b.DecoderVersion = 3 }, "version 0 of the decoder read the images of run-1, and version 3 those of run-2"},
		"fewer": {
			func(b *schemas.RunSpec) { b.Pairs = b.Pairs[1:] },
			"1 of the 4 of run-1 are not in run-2, and 0 of the 3 of run-2 not in run-1 (the first is 00004-d)",
		},
		"other pairing": {
			func(b *schemas.RunSpec) {
				b.Pairs[0].Secret, b.Pairs[1].Secret = b.Pairs[1].GetSecret(), b.Pairs[0].GetSecret()
			},
			"2 of the 4 of run-1 are not in run-2, and 2 of the 4",
		},
		"one twice": {func(b *schemas.RunSpec) {
			b.Pairs = append(b.Pairs, &schemas.Pair{Item: "5", Cover: b.Pairs[0].GetCover(), Secret: b.Pairs[0].GetSecret()})
		}, "0 of the 4 of run-1 are not in run-2, and 1 of the 5 of run-2 not in run-1 (the first is 5)"},
	} {
		a, b := twoRuns()
		c.change(b.Spec)
		p, err := compare(a, b)
		if !errors.Is(err, study.ErrIncomparable) || !strings.Contains(err.Error(), c.says) || p != nil {
			t.Errorf("%s: %v, want ErrIncomparable that says %q", name, err, c.says)
		}
	}
}

func TestFilesOfAComparison(t *testing.T) {
	t.Parallel()
	p, err := compare(twoRuns())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	if err := p.WriteFiles(dir); err != nil {
		t.Fatal(err)
	}
	text := p.Document().Text()
	expectGolden(t, dir, map[string][]byte{"comparison.txt": []byte(text)}, "comparison.json", "comparison.md")
}
