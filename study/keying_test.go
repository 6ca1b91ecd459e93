package study_test

import (
	"slices"
	"strings"
	"testing"

	"stegomq/schemas"
	"stegomq/study"
)

// reportOf writes the report of the run that handmade scores, without the scores of some roles.
func reportOf(t *testing.T, change func(*schemas.RunSpec), without ...schemas.Role) (text, markdown string, sum *study.Summary) {
	t.Helper()
	spec, scores, _ := handmade()
	change(spec)
	scores = slices.DeleteFunc(scores, func(s *schemas.Score) bool { return slices.Contains(without, s.Role()) })
	sum = study.Summarise(spec, scores, nil, study.Invocation{})
	return sum.Document().Text(), sum.Document().Markdown(), sum
}

// What a model does not have is not in the report; the report says why.
func TestReportOfEveryKeying(t *testing.T) {
	t.Parallel()
	noPurification := []schemas.Role{schemas.Purification, schemas.Noise}
	strangers := []schemas.Role{
		schemas.Leakage(schemas.Reader_READER_RANDOM), schemas.LeakageCover(schemas.Reader_READER_RANDOM),
		schemas.Leakage(schemas.Reader_READER_NEAR), schemas.LeakageCover(schemas.Reader_READER_NEAR),
	}
	operations := []schemas.Operation{schemas.Operation_OPERATION_EMBED, schemas.Operation_OPERATION_RECOVER}
	for name, c := range map[string]struct {
		change      func(*schemas.RunSpec)
		without     []schemas.Role
		has, hasNot []string
	}{
		"weights": {func(*schemas.RunSpec) {}, nil, []string{"Purification", "random key, against", "key one bit off, against"}, []string{"network for each key", "cipher"}},
		"variant": {func(s *schemas.RunSpec) {
			s.ModelKeying, s.ModelOperations, s.Readers = schemas.KeyingVariant, operations, s.GetReaders()[:1]
		}, append(noPurification, strangers...), []string{"a network for each key", "mismatched key, against"}, []string{"Purification", "random key,", "one bit off,", "cipher"}},
		"cipher": {func(s *schemas.RunSpec) {
			s.ModelKeying, s.ModelOperations = schemas.KeyingCipher, operations
		}, noPurification, []string{"is a cipher", "random key, against", "key one bit off, against"}, []string{"Purification", "network for each key"}},
	} {
		text, markdown, sum := reportOf(t, c.change, c.without...)
		for _, report := range []string{text, markdown} {
			for _, want := range c.has {
				if !strings.Contains(report, want) {
					t.Errorf("%s: the report does not say %q:\n%s", name, want, report)
				}
			}
			for _, not := range c.hasNot {
				if strings.Contains(report, not) {
					t.Errorf("%s: the report says %q:\n%s", name, not, report)
				}
			}
		}
		if want := strings.TrimPrefix(name, "weights"); sum.Model.Keying != want {
			t.Errorf("%s: keying %q in the summary, want %q", name, sum.Model.Keying, want)
		}
	}
}

// A key that the model was not trained with is named wherever its figures stand.
func TestUntrainedKeys(t *testing.T) {
	t.Parallel()
	text, markdown, sum := reportOf(t, func(s *schemas.RunSpec) { s.UntrainedKeys = []string{"bob"} })
	if !slices.Equal(sum.UntrainedKeys, []string{"bob"}) {
		t.Errorf("untrained keys %q", sum.UntrainedKeys)
	}
	const note = "of keys that the model was not trained with, too: bob"
	for name, out := range map[string]string{"terminal": text, "report.md": markdown} {
		for words, n := range map[string]int{"NOT TRAINED WITH 1 of the 2 keys (bob)": 1, "bob (not trained with)": 4, note: 3} {
			if got := strings.Count(out, words); got != n {
				t.Errorf("%s says %q %d times, want %d:\n%s", name, words, got, n, out)
			}
		}
	}
	if out := (study.Overview{sum}).Table().Markdown(); !strings.Contains(out, "tiny (not trained with 1 of 2 keys)") {
		t.Errorf("the overview:\n%s", out)
	}
	a, b := twoRuns()
	a.Spec.UntrainedKeys = []string{"bob"}
	p, err := compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	out := p.Document().Text()
	if strings.Count(out, "NOT TRAINED WITH 1 of the 2 keys (bob)") != 1 || !slices.Equal(p.A.UntrainedKeys, []string{"bob"}) {
		t.Errorf("the comparison (%v):\n%s", err, out)
	}
	if text, _, _ := reportOf(t, func(*schemas.RunSpec) {}); strings.Contains(text, "TRAINED WITH") || strings.Contains(text, "trained with") {
		t.Errorf("all keys are the model's:\n%s", text)
	}
}
