package study_test

import (
	"bytes"
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
)

const authenticationFailed = "authentication failed"

// refusedRow is as row, of an image that recovery refused.
func refusedRow(item string, role schemas.Role, embed, decode string) *schemas.Score {
	s := row(item, role, embed, decode, 0)
	s.Metrics, s.Test, s.Refusal = nil, "", &schemas.Refusal{Detail: authenticationFailed}
	return s
}

// handmadeRefused is handmade with a cipher whose recovery is authenticated: wrong keys are refused but for one, two of three
// images after one attack and all after the other, and one to the key that embedded it.
func handmadeRefused() (*schemas.RunSpec, []*schemas.Score) {
	spec, scores, _ := handmade()
	spec.ModelKeying, spec.ModelOperations = schemas.KeyingCipher, []schemas.Operation{schemas.Operation_OPERATION_EMBED, schemas.Operation_OPERATION_RECOVER}
	spec.ModelTrained, spec.Attacks = true, []string{"noise-2", "jpeg-75"}
	scores = slices.DeleteFunc(scores, func(s *schemas.Score) bool { return s.Role() == schemas.Noise })
	for i, s := range scores {
		wrong := s.GetDecodeKey() != "" && s.GetDecodeKey() != s.GetEmbedKey() && s.GetDecodeKey() != "near-128-alice"
		if wrong || s.GetItem() == "00001-a" && s.GetDecodeKey() == "bob" {
			scores[i] = refusedRow(s.GetItem(), s.Role(), s.GetEmbedKey(), s.GetDecodeKey())
		}
	}
	attacked := func(item, key, attack string) *schemas.Score {
		return refusedRow(item, schemas.Robustness(attack), key, key)
	}
	return spec, append(scores,
		attacked("00001-a", "alice", "jpeg-75"), attacked("00002-c", "alice", "jpeg-75"),
		attacked("00001-a", "alice", "noise-2"), attackedRow("00002-c", "alice", "noise-2", 20), attacked("00001-a", "bob", "noise-2"))
}

// What was refused is in no mean, interval, quantile or worst case, and is counted everywhere.
func TestSummaryOfWhatIsRefused(t *testing.T) {
	t.Parallel()
	spec, scores := handmadeRefused()
	for _, s := range scores {
		if err := s.Validate(); err != nil {
			t.Fatalf("%v: %v", s, err)
		}
	}
	sum := study.Summarise(spec, scores, nil, study.Invocation{})
	for name, c := range map[string]struct {
		group          study.Group
		n, refused     int
		mean, std, max float64
		text           string
	}{
		"imperceptibility": {sum.Imperceptibility, 3, 0, 40, 10, 50, ""},
		"recoverability":   {sum.Recoverability, 2, 1, 28, math.Sqrt(8), 30, "refused 1 of 3"},
		"mismatched":       {sum.LeakageMismatched, 0, 2, 0, 0, 0, "refused 2 of 2"},
		"against cover":    {sum.LeakageMismatchedCover, 0, 1, 0, 0, 0, "refused 1 of 1"},
		"random":           {sum.LeakageRandom, 0, 1, 0, 0, 0, "refused 1 of 1"},
		"near":             {sum.LeakageNear, 1, 2, 10, 0, 10, "refused 2 of 3"},
		"baseline":         {sum.BaselineCoverSecret, 2, 0, 9, math.Sqrt(0.125), 9.25, ""},
		"jpeg":             {sum.Robustness[1].Group, 0, 2, 0, 0, 0, "refused 2 of 2"},
		"noise":            {sum.Robustness[0].Group, 1, 2, 20, 0, 20, "refused 2 of 3"},
	} {
		expectGroup(t, name, c.group, c.n, c.mean, c.std)
		if c.group.Refused != c.refused || c.group.Of() != c.n+c.refused || c.group.RefusedText() != c.text || c.group.PSNR.Max != c.max {
			t.Errorf("%s: refused %d of %d (%q), largest %v", name, c.group.Refused, c.group.Of(), c.group.RefusedText(), c.group.PSNR.Max)
		}
	}
	if e := sum.LeakageNear.Excess; e.N != 1 || e.PSNR.Worst.DecodeKey != "near-128-alice" || sum.LeakageMismatched.Excess != nil {
		t.Errorf("excess %+v of near keys and %+v of mismatched ones", e, sum.LeakageMismatched.Excess)
	}
	if want := []study.Failed{{Name: "00001-a|recoverability|bob|bob", Reason: authenticationFailed}}; !slices.Equal(sum.RefusedItems, want) {
		t.Errorf("refused to the matched key: %v, want %v", sum.RefusedItems, want)
	}
	if got := sum.Confusion.Cells[0][1]; sum.Confusion.PSNR[0][1] != nil || got.N != 0 || got.Refused != 2 {
		t.Errorf("alice's images by bob: %+v", got)
	}
	if got := sum.Confusion.Cells[1][1]; got.N != 0 || got.RefusedText() != "refused 1 of 1" {
		t.Errorf("bob's images by bob: %+v", got)
	}
	data, err := json.Marshal(sum)
	if err != nil || strings.Contains(string(data), "NaN") || !strings.Contains(string(data), `"n":0,"items":0,"refused":2`) {
		t.Errorf("%s (%v)", data, err)
	}
}

func TestReportOfWhatIsRefused(t *testing.T) {
	t.Parallel()
	spec, scores := handmadeRefused()
	dir := t.TempDir()
	sum := study.Summarise(spec, scores, nil, study.Invocation{})
	if err := study.WriteFiles(dir, sum, scores); err != nil {
		t.Fatal(err)
	}
	report, err := os.ReadFile(filepath.Join(dir, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	wantGolden(t, "refused.md", report)
	text := sum.Document().Text()
	if !strings.Contains(text, "refused 2 of 3") {
		t.Errorf("%v: the terminal is told\n%s", err, text)
	}
	file, err := os.ReadFile(filepath.Join(dir, "items.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, cells := range rows[1:] {
		want := string(scores[i].End())
		empty := cells[5] == "" && cells[6] == "" && cells[7] == "" && cells[8] == "" && cells[9] == ""
		if cells[10] != want || empty != (want == "refused") || cells[4] == "" {
			t.Errorf("%v is the row %q", scores[i], cells)
		}
	}
}

// Two runs of which one refused a role, both did, or one did for some.
func TestCompareWithWhatIsRefused(t *testing.T) {
	t.Parallel()
	a, b := twoRuns()
	mismatched, random := schemas.Leakage(schemas.Reader_READER_MISMATCHED), schemas.Leakage(schemas.Reader_READER_RANDOM)
	a.Scores = append(a.Scores, row("00001-a", mismatched, "alice", "bob", 9), row("00002-b", mismatched, "alice", "bob", 9),
		refusedRow("00001-a", random, "alice", "random-1-0"), refusedRow("00003-c", schemas.Recoverability, "bob", "bob"))
	b.Scores = append(b.Scores, refusedRow("1", mismatched, "carol", "dave"), refusedRow("2", mismatched, "carol", "dave"), refusedRow("1", random, "carol", "random-1-0"))
	for _, swapped := range []bool{false, true} {
		x, y := a, b
		if swapped {
			x, y = b, a
		}
		p, err := compare(x, y)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []study.Failed{
			{Name: "leakage_mismatched", Reason: "run-2 refused it, 2 of 2: there are no images to compare"},
			{Name: "leakage_random", Reason: "both refused it: there are no images to compare"},
		} {
			if !slices.Contains(p.LeftOut, want) {
				t.Errorf("left out %v, want %v", p.LeftOut, want)
			}
		}
		i := slices.IndexFunc(p.Roles, func(r study.PairedRole) bool { return r.Role == "recoverability" })
		if r := p.Roles[i]; r.N != 2 || r.RefusedA+r.RefusedB != 1 || (r.RefusedB == 1) != swapped {
			t.Errorf("recoverability: %+v", r)
		}
		text := p.Document().Text()
		want := "refused, and so in no mean of recoverability: 1 of A, 0 of B"
		if swapped {
			want = "refused, and so in no mean of recoverability: 0 of A, 1 of B"
		}
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
