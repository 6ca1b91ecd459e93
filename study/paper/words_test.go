package paper_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"stegomq/schemas"
	"stegomq/study"
	"stegomq/study/paper"
)

// duel is a study of two methods on imagenet.
func duel(t *testing.T, mk, single levels) *paper.Report {
	t.Helper()
	rows := []paper.Row{
		{Method: paper.MethodPUSNetMK, Model: paper.Model{Parameters: 4_879_107, Training: training}, Runs: map[string]paper.Run{"imagenet": made{set: "imagenet", pairs: 8, keys: two, random: 1, levels: mk}.run(t)}},
		{Method: paper.MethodPUSNet, Model: paper.Model{Training: training}, Runs: map[string]paper.Run{"imagenet": made{set: "imagenet", pairs: 8, keys: two, random: 1, levels: single}.run(t)}},
	}
	return build(t, paper.Study{Rows: rows, DataSets: []paper.DataSet{{Name: "imagenet", AtHand: true}}})
}

func claim(t *testing.T, r *paper.Report, about string) paper.Claim {
	t.Helper()
	i := slices.IndexFunc(r.Claims, func(c paper.Claim) bool { return strings.Contains(c.Claim, about) })
	if i < 0 {
		t.Fatalf("there is no claim about %q", about)
	}
	return r.Claims[i]
}

// TestClaims turns the figures round and wants the verdicts to follow.
func TestClaims(t *testing.T) {
	t.Parallel()
	mk, single := levels{34, 31, 8.5, 8.5, 8.45}, levels{38, 28, 26, 15, 8.45}
	for name, c := range map[string]struct {
		mk, single levels
		want       map[string]string
	}{
		"as in the paper": {mk, single, map[string]string{
			"recoverability": "shown", "lower leakage": "shown", "best imperceptibility": "shown", "another registered key": "shown", "random key": "shown",
		}},
		"the other way round": {levels{38, 28, 26, 15, 8.45}, mk, map[string]string{
			"recoverability": "not shown", "lower leakage": "not shown", "best imperceptibility": "not shown", "another registered key": "not shown", "random key": "not shown",
		}},
		"the same": {mk, mk, map[string]string{
			"recoverability": "cannot be told", "lower leakage": "cannot be told", "best imperceptibility": "cannot be told",
		}},
	} {
		r := duel(t, c.mk, c.single)
		for about, want := range c.want {
			if got := claim(t, r, about); got.Verdict != want {
				t.Errorf("%s: %s: %s, want %s: %q", name, got.Claim, got.Verdict, want, got.Words)
			}
		}
	}
	// A mean that is as it should be, with one image pair that shows the secret.
	run := made{set: "imagenet", pairs: 40, keys: two, random: 1, levels: mk}.run(t)
	for _, s := range run.Scores {
		if s.Role() == schemas.Leakage(schemas.Reader_READER_RANDOM) && s.GetItem() == "00003-x" {
			s.Metrics.Psnr += 4
		}
	}
	run.Summary = study.Summarise(run.Spec, run.Scores, nil, study.Invocation{})
	r := build(t, paper.Study{DataSets: []paper.DataSet{{Name: "imagenet", AtHand: true}}, Rows: []paper.Row{{Method: paper.MethodPUSNetMK, Runs: map[string]paper.Run{"imagenet": run}}}})
	if got := claim(t, r, "random key"); got.Verdict != "not shown" || !strings.Contains(strings.Join(got.Words, " "), "some image pair") {
		t.Errorf("one image pair shows the secret: %+v", got)
	}
}

func TestPaired(t *testing.T) {
	t.Parallel()
	r := duel(t, levels{34, 31, 8.5, 8.5, 8.45}, levels{38, 28, 26, 15, 8.45})
	want := map[string]struct {
		psnr, won float64
		verdict   string
	}{"imperceptibility": {-4, 0, "worse"}, "recoverability": {3, 1, "better"}, "cross_decoding": {-17.5, 1, "better"}}
	for _, p := range r.Paired {
		w := want[p.Block]
		if d := p.PSNR.Mean - w.psnr; p.Other != paper.MethodPUSNet || p.N != 8 || d > 1e-9 || d < -1e-9 || p.PSNR.Won != w.won || string(p.PSNR.Verdict) != w.verdict {
			t.Errorf("%s: %+v, want %+v", p.Block, p, w)
		}
		// SSIM and MAE say the same in these figures, though less MAE is more alike.
		if p.SSIM.Won != w.won || p.MAE.Won != w.won || string(p.MAE.Verdict) != w.verdict {
			t.Errorf("%s: SSIM %+v, MAE %+v", p.Block, p.SSIM, p.MAE)
		}
		delete(want, p.Block)
	}
	if len(want) > 0 {
		t.Errorf("no comparison of %v", want)
	}
	// Runs of other images are told apart.
	s := paper.Study{DataSets: []paper.DataSet{{Name: "imagenet", AtHand: true}}}
	for method, pairs := range map[string]int{paper.MethodPUSNetMK: 4, paper.MethodUDH: 5} {
		s.Rows = append(s.Rows, paper.Row{Method: method, Runs: map[string]paper.Run{"imagenet": made{set: "imagenet", pairs: pairs, keys: two, levels: good}.run(t)}})
	}
	if p := build(t, s).Paired; len(p) != 1 || !strings.Contains(p[0].Why, "image pairs differ") {
		t.Errorf("runs of other images: %+v", p)
	}
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		levels levels
		want   map[string]string // block: direction
	}{
		"less":  {levels{30, 25, 12, 12, 8.45}, map[string]string{"imperceptibility": "lower", "recoverability": "lower", "cross_decoding": "higher"}},
		"more":  {levels{40, 36, 7, 7, 8.45}, map[string]string{"imperceptibility": "higher", "recoverability": "higher", "cross_decoding": "lower"}},
		"mixed": {levels{40, 25, 8.5, 8.5, 8.45}, map[string]string{"imperceptibility": "higher", "recoverability": "lower", "cross_decoding": "as printed"}},
	} {
		r := duel(t, c.levels, levels{38, 28, 26, 15, 8.45})
		for _, d := range r.Differences {
			if d.Method != paper.MethodPUSNetMK {
				continue
			}
			if d.Direction != c.want[d.Block] {
				t.Errorf("%s, %s: %s, want %s", name, d.Block, d.Direction, c.want[d.Block])
			}
			if wrongWay := d.Direction != "as printed" && d.Better != ((d.Direction == "higher") == (d.Block != "cross_decoding")); wrongWay {
				t.Errorf("%s, %s: %s is called better: %v", name, d.Block, d.Direction, d.Better)
			}
		}
	}
	_, files := wholeReport(t)
	text := files["differences.md"]
	for _, phrase := range []string{"| PUSNet-MK | imagenet | recoverability |", "no figures for bsds"} {
		if !strings.Contains(text, phrase) {
			t.Errorf("differences.md does not say %q", phrase)
		}
	}
	if !strings.Contains(files["report.md"], "| 582 k |") {
		t.Error("the size of the published HiDDeN does not stand beside ours")
	}
}

func TestAblation(t *testing.T) {
	t.Parallel()
	models := func(right, wrong map[float64]float64) paper.Study {
		s := paper.Study{DataSets: []paper.DataSet{{Name: "bsds", AtHand: true}}}
		for gradient, of := range map[string]map[float64]float64{paper.GradientRight: right, paper.GradientWrong: wrong} {
			for alpha, recovered := range of {
				s.Ablation = append(s.Ablation, paper.Ablated{
					Gradient: gradient, Alpha: alpha, DataSet: "bsds", Model: paper.Model{Training: training},
					Run: made{set: "bsds", pairs: 8, keys: two, levels: levels{33, recovered, 9, 9, 8.45}}.run(t),
				})
			}
		}
		return s
	}
	type gap struct {
		alpha   float64
		mean    float64
		verdict study.Verdict
	}
	for name, c := range map[string]struct {
		right, wrong map[float64]float64
		want         []gap // in recovery
	}{
		"costs":         {map[float64]float64{0.9: 28, 0.5: 26}, map[float64]float64{0.9: 27, 0.5: 20}, []gap{{0.9, 1, study.Better}, {0.5, 6, study.Better}}},
		"gains at 0.5":  {map[float64]float64{0.9: 28, 0.5: 20}, map[float64]float64{0.9: 27, 0.5: 26}, []gap{{0.9, 1, study.Better}, {0.5, -6, study.Worse}}},
		"no difference": {map[float64]float64{0.9: 28}, map[float64]float64{0.9: 28}, []gap{{0.9, 0, study.CannotBeTold}}},
	} {
		var got []gap
		for _, d := range build(t, models(c.right, c.wrong)).Ablation.Differences {
			switch d.Block {
			case "recoverability":
				got = append(got, gap{d.Alpha, math.Round(1e9*d.PSNR.Mean) / 1e9, d.PSNR.Verdict})
			case "imperceptibility":
				if d.PSNR.Verdict != study.CannotBeTold {
					t.Errorf("%s: the stego images differ: %+v", name, d.PSNR)
				}
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	missing := build(t, models(map[float64]float64{0.9: 28}, map[float64]float64{0.5: 26})).Ablation.Differences
	if len(missing) != 1 || missing[0].Alpha != 0.9 || !strings.Contains(missing[0].Why, "no model with the wrong gradient") {
		t.Errorf("a gradient without its other: %+v", missing)
	}
}

// Every seed has a row of its own.
func TestAblationAcrossSeeds(t *testing.T) {
	t.Parallel()
	s := paper.Study{DataSets: []paper.DataSet{{Name: "bsds", AtHand: true}}}
	for seed, wrong := range []float64{27, 29} {
		for gradient, recovered := range map[string]float64{paper.GradientRight: 28, paper.GradientWrong: wrong} {
			s.Ablation = append(s.Ablation, paper.Ablated{
				Gradient: gradient, Alpha: 0.9, Seed: seed, DataSet: "bsds", Model: paper.Model{Training: training},
				Run: made{set: "bsds", pairs: 8, keys: two, levels: levels{33, recovered, 9, 9, 8.45}}.run(t),
			})
		}
	}
	r := build(t, s)
	if len(r.Ablation.Lines) != 4 || len(r.Ablation.Differences) != 6 {
		t.Errorf("%d models and %d differences", len(r.Ablation.Lines), len(r.Ablation.Differences))
	}
	text := written(t, r)["ablation.md"]
	for _, row := range []string{"| 0.9 | 0 | bsds | recoverability | +1.00 [", "| 0.9 | 1 | bsds | recoverability | -1.00 ["} {
		if !strings.Contains(text, row) {
			t.Errorf("ablation.md has no row %q:\n%s", row, text)
		}
	}
}
