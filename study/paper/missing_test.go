package paper_test

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stegomq/internal/testrig/browser"
	"stegomq/study/paper"
)

// TestNothing is a study without anything: the paper's own figures, and the reasons.
func TestNothing(t *testing.T) {
	t.Parallel()
	r := build(t, paper.Study{})
	files := written(t, r)
	for _, phrase := range []string{
		"Data set DIV2K is not at hand: not given", "PUSNet-MK was not run: no model was given", "There is no gradient ablation",
		"Fig. 1 has no PUSNet", "not in the paper", "Not drawn: no run has saved its images", "34.05/33.93", "| shown |",
	} {
		if there := strings.Contains(files["report.md"], phrase); there == (phrase == "| shown |") {
			t.Errorf("report.md says %q: %v", phrase, there)
		}
	}
	for name := range files {
		if strings.HasPrefix(name, "fig1.") || strings.HasPrefix(name, "fig3.") || strings.HasPrefix(name, "fig4.") {
			t.Errorf("%s is there", name)
		}
	}
	for _, c := range r.Claims {
		if c.Verdict != "cannot be told" {
			t.Errorf("%s: %s of nothing", c.Claim, c.Verdict)
		}
	}
}

func TestOneKey(t *testing.T) {
	t.Parallel()
	run := made{set: "bsds", pairs: 3, keys: []string{"alice"}, levels: good, dir: t.TempDir()}.run(t)
	r := build(t, paper.Study{
		DataSets: []paper.DataSet{{Name: "bsds", AtHand: true}},
		Rows:     []paper.Row{{Method: paper.MethodPUSNetMK, Runs: map[string]paper.Run{"bsds": run}}, {Method: "other", Runs: map[string]paper.Run{"bsds": run}}},
	})
	for _, c := range []struct{ block, pair, why string }{
		{"recoverability", "a", ""}, {"recoverability", "b", "one key only"}, {"cross_decoding", "a", "one key only"}, {"random_key", "a", "no random keys"},
	} {
		if l := line(t, r, c.block, paper.MethodPUSNetMK, "bsds", c.pair); l.Why != c.why {
			t.Errorf("%s %s: %q, want %q", c.block, c.pair, l.Why, c.why)
		}
	}
	if files := written(t, r); !strings.Contains(files["report.md"], "has one key: there is no key pair b") || files["fig4.png"] == "" {
		t.Error("the report does not say that there is one key, or has no Fig. 4")
	}
}

// TestImages is a study with image files: figures that can be read, a page that opens them, and what happens when they break.
func TestImages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := small(t, dir)
	s.Grid, s.Rows = nil, s.Rows[:3] // figures take their time
	r := build(t, s)
	out := t.TempDir()
	if err := r.Write(out); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fig1", "fig3", "fig4", "fig5"} {
		data, err := os.ReadFile(filepath.Join(out, name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		if m, err := png.DecodeConfig(bytes.NewReader(data)); err != nil || m.Width < 300 {
			t.Errorf("%s.png: %+v, %v", name, m, err)
		}
		data, err = os.ReadFile(filepath.Join(out, name+".svg"))
		if err != nil {
			t.Fatal(err)
		}
		decoder := xml.NewDecoder(bytes.NewReader(data))
		for err == nil {
			_, err = decoder.Token()
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s.svg: %v", name, err)
		}
	}
	page, err := os.ReadFile(filepath.Join(out, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, phrase := range []string{
		"PUSNet-MK on imagenet", "PUSNet-MK on bsds", "worst: recovered", "median: recovered", "worst: shown by bob", "Every image pair",
	} {
		if !bytes.Contains(page, []byte(phrase)) {
			t.Errorf("report.html does not have %q", phrase)
		}
	}
	if n := bytes.Count(page, []byte(`id="picture-`)); n < 20 || len(page) > 25<<20 {
		t.Errorf("report.html has %d pictures and %d bytes", n, len(page))
	}

	browser.ExpectAnchors(t, page)

	again := t.TempDir()
	same := small(t, dir)
	same.Grid, same.Rows = nil, same.Rows[:3]
	if err := build(t, same).Write(again); err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(filepath.Join(again, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(page, second) {
		t.Error("the same study gives another page")
	}

	// The features go: so does Fig. 1, and the old one with it.
	for i := range s.Rows {
		for _, run := range s.Rows[i].Runs {
			for _, score := range run.Scores {
				score.Features = nil
			}
		}
	}
	// A lost image is an empty cell.
	stego := filepath.Join(dir, "run1", "images", "stego")
	if err := os.RemoveAll(stego); err != nil {
		t.Fatal(err)
	}
	if err := build(t, s).Write(out); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(out, "fig1.png")); err == nil {
		t.Error("the old Fig. 1 stands beside a report that has none")
	}

	// One that cannot be read is an error.
	if err := os.MkdirAll(stego, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, item := range []string{"00000-x", "00001-x", "00002-x", "00003-x", "00004-x", "00005-x"} {
		if err := os.WriteFile(filepath.Join(stego, item+".alice.png"), []byte("no image"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := build(t, s).Write(out); err == nil || !strings.Contains(err.Error(), ".alice.png") {
		t.Errorf("an image that cannot be read: %v", err)
	}
}

func TestSeparation(t *testing.T) {
	t.Parallel()
	far := func(features float32) paper.Separation {
		s := paper.Study{
			DataSets: []paper.DataSet{{Name: "bsds", AtHand: true}},
			Rows: []paper.Row{{Method: paper.MethodPUSNet, Runs: map[string]paper.Run{
				"bsds": made{set: "bsds", pairs: 20, keys: two, random: 2, levels: good, features: features}.run(t),
			}}},
		}
		return build(t, s).Fig1[0]
	}
	apart, one := far(50), far(1e-3)
	// Three features, of which one never changes; three groups apart at a right angle have a third of the variance within a
	// group for the feature that only wobbles.
	if apart.Why != "" || apart.Dimensions != 3 || apart.Matched != 40 || apart.Mismatched.Points != 40 || apart.Random == nil || apart.Random.Points != 80 {
		t.Errorf("counts: %+v", apart)
	}
	if apart.Mismatched.Distance < 1.5 || apart.Mismatched.Silhouette < 0.3 {
		t.Errorf("groups that are apart: %+v", apart.Mismatched)
	}
	if one.Mismatched.Distance > 0.05 || math.Abs(one.Mismatched.Silhouette) > 0.05 {
		t.Errorf("groups that are one: %+v", one.Mismatched)
	}
	// Two points at 0 and 2 in each group, 10 apart, and nothing else: a distance of 10 and a spread of 1, by any scale.
	run := made{set: "bsds", pairs: 2, keys: two, levels: good, features: 1}.run(t)
	for _, s := range run.Scores {
		at := map[string]float32{"00000-x": 0, "00001-x": 2}[s.GetItem()]
		switch {
		case len(s.GetFeatures()) == 0:
		case s.GetEmbedKey() == s.GetDecodeKey():
			s.Features = []float32{at}
		default:
			s.Features = []float32{10 + at}
		}
	}
	s := paper.Study{DataSets: []paper.DataSet{{Name: "bsds", AtHand: true}}, Rows: []paper.Row{{Method: paper.MethodPUSNet, Runs: map[string]paper.Run{"bsds": run}}}}
	got := build(t, s).Fig1[0].Mismatched
	// Of each point: 4/3 to its own group of four (two keys) and, to the other, a mean of 9 and 11, or of 10 and 12, ...
	if math.Abs(got.Distance-10) > 1e-9 {
		t.Errorf("distance %v, want 10", got.Distance)
	}
	if want := 1 - (4./3/11+4./3/9)/2; math.Abs(got.Silhouette-want) > 1e-9 {
		t.Errorf("silhouette %v, want %v", got.Silhouette, want)
	}
}

func TestFig5(t *testing.T) {
	t.Parallel()
	r, files := wholeReport(t)
	var names []string
	for _, m := range r.Fig5 {
		if m.Keys == 8 && (m.Paper != nil || m.PaperDiagonal != nil) || m.Keys < 8 && m.Paper == nil {
			t.Errorf("K = %d at %g: the paper's is %v", m.Keys, m.Alpha, m.Paper)
		}
		if m.Why == "" {
			names = append(names, m.Model.Name)
			if len(m.Ours) != m.Keys || m.Diagonal == nil || m.OffDiagonal == nil || m.Excess == nil || m.Unrelated == nil {
				t.Errorf("K = %d at %g: %+v", m.Keys, m.Alpha, m)
				continue
			}
			if math.Abs(m.Diagonal.Mean-m.Ours[0][0].PSNR.Mean) > 1e-9 || m.OffDiagonal.Max > 9 || math.Abs(m.Excess.Mean-0.05) > 1e-9 {
				t.Errorf("K = %d at %g: %+v, %+v, %+v", m.Keys, m.Alpha, m.Diagonal, m.OffDiagonal, m.Excess)
			}
		}
	}
	if len(r.Fig5) != 12 || len(names) != 2 {
		t.Errorf("%d matrices, of which we have %v", len(r.Fig5), names)
	}
	i := slices.IndexFunc(r.Fig5, func(m paper.Matrix) bool { return m.Keys == 2 && m.Alpha == 0.9 })
	if m := r.Fig5[i]; m.PaperDiagonal.Max != 33.14 || m.PaperDiagonal.Min != 33.09 || m.PaperOffDiagonal.Max != 8.95 || m.Paper[1][0].SSIM != 0.120 {
		t.Errorf("the paper's K = 2 at 0.9: %+v, %+v", m.PaperDiagonal, m.PaperOffDiagonal)
	}
	for _, phrase := range []string{"K = 8, alpha = 0.5, imagenet", "Not in the paper", "k8"} {
		if !strings.Contains(files["report.html"], phrase) {
			t.Errorf("report.html does not have %q", phrase)
		}
	}
	if !strings.Contains(files["fig5.md"], "not in the text") || !strings.Contains(files["fig5.md"], "Not in the paper") {
		t.Error("fig5.md does not say what the paper does not have")
	}
	rows, err := csv.NewReader(strings.NewReader(files["fig5.csv"])).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if want := 1 + 3*(4+9+16+64); len(rows) != want {
		t.Errorf("fig5.csv has %d rows, want %d", len(rows), want)
	}
}
