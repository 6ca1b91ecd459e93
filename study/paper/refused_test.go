package paper_test

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stegomq/schemas"
	"stegomq/study"
	"stegomq/study/paper"
)

// refused is a run of which recovery refused some images: they have no file either.
func refused(t *testing.T, run paper.Run, refuses func(*schemas.Score) bool) paper.Run {
	t.Helper()
	for _, s := range run.Scores {
		if s.GetDecodeKey() == "" || !refuses(s) {
			continue
		}
		s.Metrics, s.Test, s.Features, s.Refusal = nil, "", nil, &schemas.Refusal{Detail: "authentication failed"}
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		if run.Dir != "" {
			file := filepath.Join(run.Dir, filepath.FromSlash(study.ImageFile("recovered", s.GetItem(), s.GetEmbedKey(), s.GetDecodeKey())))
			if err := os.RemoveAll(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	run.Summary = study.Summarise(run.Spec, run.Scores, nil, study.Invocation{})
	return run
}

func wrongKey(s *schemas.Score) bool { return s.GetDecodeKey() != s.GetEmbedKey() }

// A method that refuses wrong keys stands in every format as refused, beside methods that show what they show.
func TestRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := small(t, dir)
	s.Rows, s.Ablation = s.Rows[:2], nil
	s.Rows[0].Method = "Sealed"
	for set, run := range s.Rows[0].Runs {
		s.Rows[0].Runs[set] = refused(t, run, wrongKey)
	}
	s.Grid = s.Grid[:1]
	s.Grid[0].Run = refused(t, s.Grid[0].Run, wrongKey)
	r := build(t, s)
	files := written(t, r)

	for _, block := range []string{"cross_decoding", "cross_decoding_cover", "random_key", "random_key_cover"} {
		want := map[bool]int{true: 12, false: 6}[strings.HasPrefix(block, "random")]
		if l := line(t, r, block, "Sealed", "imagenet", "b"); l.Why != "refused" || l.N != 0 || l.Refused != want || l.PSNR.Ours != nil || l.Excess != nil {
			t.Errorf("%s: %+v", block, l)
		}
		if l := line(t, r, block, paper.MethodPUSNetMK, "imagenet", "b"); l.Why != "" || l.Refused != 0 || l.PSNR.Ours == nil {
			t.Errorf("%s of a method that refuses nothing: %+v", block, l)
		}
	}
	if l := line(t, r, "recoverability", "Sealed", "imagenet", "a"); l.Why != "" || l.N != 6 {
		t.Errorf("recoverability: %+v", l)
	}
	for name, phrases := range map[string][]string{
		"table1.md":   {"| Sealed | ours | none needed | - | refused | refused | refused |", "Refused: recovery is authenticated", "| cross decoding | Sealed | imagenet | a | refused | refused | refused | - | 0, refused 6 of 6 |"},
		"table1.tex":  {"Sealed & ours & none needed & - & refused & refused & refused", "Refused: recovery is authenticated"},
		"report.html": {"refused", "Refused: recovery is authenticated"},
		"fig5.md":     {"| alice |", "refused", "is also empty where recovery refused every image"},
		"paired.md":   {"| Sealed | cross decoding | Sealed refused every image |"},
	} {
		for _, phrase := range phrases {
			if !strings.Contains(files[name], phrase) {
				t.Errorf("%s does not say %q:\n%.6000s", name, phrase, files[name])
			}
		}
	}
	for name, text := range files {
		if !strings.HasSuffix(name, ".png") && !strings.HasSuffix(name, ".html") && strings.Contains(text, "NaN") {
			t.Errorf("%s has a figure that is none", name)
		}
	}
	for name, columns := range map[string][2]string{"table1.csv": {"why_not", "mean"}, "fig5.csv": {"why_not", "psnr_mean"}} {
		rows, err := csv.NewReader(strings.NewReader(files[name])).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		why, mean, n := slices.Index(rows[0], columns[0]), slices.Index(rows[0], columns[1]), 0
		for _, row := range rows[1:] {
			if row[why] == "refused" {
				n++
				if row[mean] != "" {
					t.Errorf("%s: %q", name, row)
				}
			}
		}
		if want := map[string]int{"table1.csv": 4 * 2 * 2 * 3, "fig5.csv": 2}[name]; n != want {
			t.Errorf("%s has %d rows that are refused, want %d", name, n, want)
		}
	}
	var table paper.Table1
	if err := json.Unmarshal([]byte(files["table1.json"]), &table); err != nil || !strings.Contains(files["table1.json"], `"refused": 12`) {
		t.Errorf("table1.json: %v", err)
	}
	if m := r.Fig5[slices.IndexFunc(r.Fig5, func(m paper.Matrix) bool { return m.Why == "" })]; m.OffDiagonal != nil || m.Diagonal == nil || m.Excess != nil {
		t.Errorf("Fig. 5: diagonal %+v, beside it %+v", m.Diagonal, m.OffDiagonal)
	}
	// What the page's table of all pairs says of a wrong key.
	if !strings.Contains(files["report.html"], `<td class="number">refused</td>`) {
		t.Error("the table of all image pairs does not say refused")
	}
	// The grids have what the images of the others show, and the word in place of those that are not there.
	for _, name := range []string{"fig3.svg", "fig4.svg"} {
		if got := strings.Contains(files[name], "refused"); got != (name == "fig4.svg") {
			t.Errorf("%s says refused: %v", name, got)
		}
		if strings.Contains(files[name], "not saved") {
			t.Errorf("%s says that an image was not saved", name)
		}
	}
}

// Where some images were refused the means are over the rest, and the table says so; the matched key's are missing.
func TestPartlyRefused(t *testing.T) {
	t.Parallel()
	s := small(t, "")
	s.Rows, s.Ablation, s.Grid = s.Rows[:2], nil, nil
	first := func(s *schemas.Score) bool { return s.GetItem() == "00000-x" }
	whole := s.Rows[1].Runs["imagenet"]
	s.Rows[1].Runs["imagenet"] = refused(t, whole, first)
	r := build(t, s)
	l := line(t, r, "recoverability", paper.MethodPUSNetMK, "imagenet", "a")
	sum, n := 0.0, 0.0
	for _, score := range whole.Scores {
		if score.End() == schemas.EndDone && score.Role() == schemas.Recoverability && score.GetEmbedKey() == "alice" {
			sum, n = sum+score.GetMetrics().GetPsnr(), n+1
		}
	}
	if l.N != 5 || n != 5 || l.Refused != 1 || math.Abs(l.PSNR.Ours.Mean-sum/n) > 1e-9 {
		t.Errorf("%+v, the mean of the rest is %v", l, sum/n)
	}
	files := written(t, r)
	for name, phrase := range map[string]string{
		"table1.md": "PUSNet-MK on imagenet, key pair a: 1 of 6 images were refused; the means are over the rest.",
		"report.md": "PUSNet-MK on imagenet: recovery refused 2 of 12 images to the key that embedded them; the first is",
	} {
		if !strings.Contains(files[name], phrase) {
			t.Errorf("%s does not say %q", name, phrase)
		}
	}
	for _, p := range r.Paired {
		if p.DataSet == "imagenet" && p.Block != "imperceptibility" && p.N != 5 {
			t.Errorf("%s is compared on %d pairs, want the 5 that both have", p.Block, p.N)
		}
	}
}
