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

// attackedRow is a row of what is recovered after an attack.
func attackedRow(item, key, attack string, v float64) *schemas.Score {
	return row(item, schemas.Robustness(attack), key, key, v)
}

// handmadeFull is handmade with derived keys, attacks and no key at all.
func handmadeFull() (*schemas.RunSpec, []*schemas.Score, []*schemas.Score) {
	spec, scores, failures := handmade()
	spec.Readers = append(spec.Readers,
		readers(schemas.Reader_READER_SWAPPED, 1, "swapped-alice", "swapped-bob"),
		readers(schemas.Reader_READER_PARTIAL, 2, "partial-1000-alice", "partial-55-alice", "partial-1000-bob", "partial-55-bob"),
		readers(schemas.Reader_READER_UNKEYED, 1))
	spec.Attacks = []string{"jpeg-75", "crop-10", "jpeg-50"}
	const a, c = "00001-a", "00002-c"
	return spec, append(scores,
		row(a, schemas.Leakage(schemas.Reader_READER_SWAPPED), "alice", "swapped-alice", 10.25),
		row(c, schemas.Leakage(schemas.Reader_READER_SWAPPED), "alice", "swapped-alice", 9.75),
		row(a, schemas.LeakageCover(schemas.Reader_READER_SWAPPED), "alice", "swapped-alice", 14),
		row(a, schemas.Leakage(schemas.Reader_READER_PARTIAL), "alice", "partial-1000-alice", 26),
		row(a, schemas.Leakage(schemas.Reader_READER_PARTIAL), "alice", "partial-55-alice", 9),
		row(a, schemas.Leakage(schemas.Reader_READER_PARTIAL), "bob", "partial-55-bob", 10),
		row(a, schemas.LeakageCover(schemas.Reader_READER_PARTIAL), "alice", "partial-55-alice", 15),
		row(c, schemas.Leakage(schemas.Reader_READER_UNKEYED), "alice", "", 8.5),
		row(c, schemas.LeakageCover(schemas.Reader_READER_UNKEYED), "alice", "", 33),
		attackedRow(a, "alice", "jpeg-50", 11), attackedRow(c, "alice", "jpeg-50", 12),
		attackedRow(a, "alice", "jpeg-75", 15), attackedRow(a, "bob", "jpeg-75", 17),
	), failures
}

func TestSummaryOfAllThatCanFollow(t *testing.T) {
	t.Parallel()
	spec, scores, failures := handmadeFull()
	sum := study.Summarise(spec, scores, failures, study.Invocation{})
	expectGroup(t, "swapped", sum.LeakageSwapped, 2, 10, math.Sqrt(0.125))
	expectGroup(t, "swapped, against the cover", sum.LeakageSwappedCover, 1, 14, 0)
	expectGroup(t, "unkeyed", sum.LeakageUnkeyed, 1, 8.5, 0)
	expectGroup(t, "unkeyed, against the cover", sum.LeakageUnkeyedCover, 1, 33, 0)
	// In ascending order, over all keys.
	if len(sum.LeakagePartial) != 2 || sum.LeakagePartial[0].Permille != 55 || sum.LeakagePartial[1].Permille != 1000 {
		t.Fatalf("partial keys %+v", sum.LeakagePartial)
	}
	expectGroup(t, "5.5 %", sum.LeakagePartial[0].Group, 2, 9.5, math.Sqrt(0.5))
	expectGroup(t, "100 %", sum.LeakagePartial[1].Group, 1, 26, 0)
	if len(sum.LeakagePartialCover) != 1 || sum.LeakagePartialCover[0].Permille != 55 {
		t.Fatalf("partial keys against the cover %+v", sum.LeakagePartialCover)
	}
	expectGroup(t, "5.5 %, against the cover", sum.LeakagePartialCover[0].Group, 1, 15, 0)
	// In the order of the run; the attack of which there are no scores is left out.
	if len(sum.Robustness) != 2 || sum.Robustness[0].Attack != "jpeg-75" || sum.Robustness[1].Attack != "jpeg-50" {
		t.Fatalf("attacks %+v", sum.Robustness)
	}
	expectGroup(t, "jpeg-75", sum.Robustness[0].Group, 2, 16, math.Sqrt2)
	expectGroup(t, "jpeg-50", sum.Robustness[1].Group, 2, 11.5, math.Sqrt(0.5))
	if sum.Robustness[0].Excess != nil || sum.Robustness[1].PSNR.CI95 == nil {
		t.Errorf("what is recovered after an attack has an excess %+v and the interval %v", sum.Robustness[0].Excess, sum.Robustness[1].PSNR.CI95)
	}
	for name, c := range map[string]struct {
		e     *study.Excess
		n     int
		mean  float64
		worst string
	}{
		"swapped": {sum.LeakageSwapped.Excess, 2, 1, "swapped-alice"},
		"partial": {sum.LeakagePartial[0].Excess, 2, 0.25, "partial-55-bob"},
		"unkeyed": {sum.LeakageUnkeyed.Excess, 1, -0.25, ""},
	} {
		if c.e == nil || c.e.N != c.n || !near(c.e.PSNR.Mean, c.mean) || c.e.PSNR.Worst.DecodeKey != c.worst {
			t.Errorf("%s: the excess is %+v, want %d scores, %v on the mean, the worst of %q", name, c.e, c.n, c.mean, c.worst)
		}
	}
	if want := []string{"near-0-alice", "near-128-alice"}; !slices.Equal(sum.NearKeys, want) {
		t.Errorf("near keys %q, want %q", sum.NearKeys, want)
	}
	if want := []string{"swapped-alice", "swapped-bob", "partial-1000-alice", "partial-55-alice", "partial-1000-bob", "partial-55-bob"}; !slices.Equal(sum.DerivedKeys, want) {
		t.Errorf("derived keys %q, want %q", sum.DerivedKeys, want)
	}
	// What was there before is as it was.
	plain, before, failed := handmade()
	was := study.Summarise(plain, before, failed, study.Invocation{})
	for name, pair := range map[string][2]study.Group{
		"recoverability": {was.Recoverability, sum.Recoverability}, "near": {was.LeakageNear, sum.LeakageNear}, "baseline": {was.BaselineCoverSecret, sum.BaselineCoverSecret},
	} {
		expectGroup(t, name, pair[1], pair[0].N, pair[0].PSNR.Mean, pair[0].PSNR.Std)
	}
}

// TestSummaryHasNoKeysForWhatWasNotAsked keeps summary.json of a plain run as it was.
func TestSummaryHasNoKeysForWhatWasNotAsked(t *testing.T) {
	t.Parallel()
	keys := func(make func() (*schemas.RunSpec, []*schemas.Score, []*schemas.Score)) map[string]any {
		spec, scores, failures := make()
		data, err := json.Marshal(study.Summarise(spec, scores, failures, study.Invocation{}))
		if err != nil {
			t.Fatal(err)
		}
		var all map[string]any
		if err := json.Unmarshal(data, &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	plain, full := keys(handmade), keys(handmadeFull)
	for _, name := range []string{
		"leakage_swapped", "leakage_swapped_cover", "leakage_partial", "leakage_partial_cover", "leakage_unkeyed", "leakage_unkeyed_cover",
		"robustness", "derived_keys",
	} {
		if _, there := plain[name]; there {
			t.Errorf("a run that did not ask for it has %s", name)
		}
		if _, there := full[name]; !there {
			t.Errorf("a run that asked for it has no %s", name)
		}
	}
	if first, ok := full["robustness"].([]any)[0].(map[string]any); !ok || first["attack"] != "jpeg-75" || first["n"] != 2.0 || first["psnr"] == nil {
		t.Errorf("robustness is %v", full["robustness"])
	}
	if first, ok := full["leakage_partial"].([]any)[0].(map[string]any); !ok || first["permille"] != 55.0 || first["excess"] == nil {
		t.Errorf("leakage_partial is %v", full["leakage_partial"])
	}
}

// TestTablesOfAllThatCanFollow compares the tables with a golden file, and the rows of items.csv with what they are of.
func TestTablesOfAllThatCanFollow(t *testing.T) {
	t.Parallel()
	spec, scores, failures := handmadeFull()
	dir := t.TempDir()
	if err := study.WriteFiles(dir, study.Summarise(spec, scores, failures, study.Invocation{}), scores); err != nil {
		t.Fatal(err)
	}
	report, err := os.ReadFile(filepath.Join(dir, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	wantGolden(t, "full.md", report)
	table, err := os.ReadFile(filepath.Join(dir, "items.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(table)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if head := rows[0]; len(head) != 12 || head[11] != "attack" {
		t.Fatalf("the head is %q", head)
	}
	files := make(map[string]string)
	for i, cells := range rows[1:] {
		if cells[11] != scores[i].GetAttack() {
			t.Errorf("%q is of the attack %q", cells, scores[i].GetAttack())
		}
		files[schemas.ScoreKey(scores[i])] = cells[4] + " " + cells[5]
	}
	for key, want := range map[string]string{
		"00001-a|leakage_swapped|alice|swapped-alice":          "images/secret/00001-a.png images/recovered/00001-a.alice.swapped-alice.png",
		"00001-a|leakage_partial_cover|alice|partial-55-alice": "images/cover/00001-a.png images/recovered/00001-a.alice.partial-55-alice.png",
		"00001-a|robustness|bob|bob|jpeg-75":                   "images/secret/00001-a.png images/attacked/00001-a.bob.bob.jpeg-75.png",
		"00002-c|leakage_unkeyed|alice|":                       "images/secret/00002-c.png images/unkeyed/00002-c.alice.png",
		"00002-c|leakage_unkeyed_cover|alice|":                 "images/cover/00002-c.png images/unkeyed/00002-c.alice.png",
		"00001-a|recoverability|alice|alice":                   "images/secret/00001-a.png images/recovered/00001-a.alice.alice.png",
	} {
		if files[key] != want {
			t.Errorf("%s is of %q, want %q", key, files[key], want)
		}
	}
}

// TestCompareClassByClass does not take one attack, or one share of a key, for another.
func TestCompareClassByClass(t *testing.T) {
	t.Parallel()
	a, b := twoRuns()
	partial := func(item, id string, v float64) *schemas.Score {
		return row(item, schemas.Leakage(schemas.Reader_READER_PARTIAL), "alice", id, v)
	}
	a.Scores = append(a.Scores,
		attackedRow("00001-a", "alice", "jpeg-75", 20), attackedRow("00001-a", "alice", "jpeg-50", 10), attackedRow("00002-b", "alice", "jpeg-75", 22),
		partial("00001-a", "partial-500-alice", 14), partial("00001-a", "partial-900-alice", 19))
	b.Scores = append(b.Scores,
		attackedRow("1", "carol", "jpeg-75", 17), attackedRow("2", "carol", "jpeg-75", 20), attackedRow("1", "carol", "crop-5", 9),
		partial("1", "partial-500-carol", 12), partial("1", "partial-0-carol", 9))
	p, err := compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, r := range p.Roles {
		switch r.Role {
		case "robustness":
			found = append(found, r.Role+" "+r.Attack)
			if r.N != 2 || r.PSNR.A != 21 || r.PSNR.B != 18.5 || r.PSNR.Mean != 2.5 || r.Permille != nil {
				t.Errorf("%+v", r)
			}
		case "leakage_partial":
			found = append(found, r.Role)
			if r.N != 1 || r.PSNR.Mean != 2 || r.Permille == nil || *r.Permille != 500 || r.Attack != "" {
				t.Errorf("%+v", r)
			}
		default:
			if r.Permille != nil || r.Attack != "" {
				t.Errorf("%+v is of no attack and of no share of a key", r)
			}
		}
	}
	if want := []string{"robustness jpeg-75", "leakage_partial"}; !slices.Equal(found, want) {
		t.Errorf("compared %q, want %q", found, want)
	}
	var left []string
	for _, l := range p.LeftOut {
		if strings.HasPrefix(l.Name, "robustness") || strings.HasPrefix(l.Name, "leakage_partial") {
			left = append(left, l.Name+": "+l.Reason)
		}
	}
	want := []string{
		"leakage_partial 0 %: only run-2 has it", "leakage_partial 90 %: only run-1 has it",
		"robustness crop-5: only run-2 has it", "robustness jpeg-50: only run-1 has it",
	}
	if !slices.Equal(left, want) {
		t.Errorf("left out %q, want %q", left, want)
	}
}
