package study_test

import (
	"fmt"
	"strings"
	"testing"

	"stegomq/schemas"
	"stegomq/study"
)

// TestDrawnKeys: a run that draws its wrong keys has no matrix, which would grow with the square of its keys, but a row for each key.
func TestDrawnKeys(t *testing.T) {
	t.Parallel()
	spec, _, _ := handmade()
	spec.Keys, spec.UntrainedKeys = nil, nil
	for i := range 50 {
		spec.Keys = append(spec.Keys, &schemas.KeyRef{Id: fmt.Sprintf("user-%d", i), Fingerprint: sha(fmt.Sprint(i))[:32]})
	}
	spec.Readers = []*schemas.Readers{{Reader: schemas.Reader_READER_MISMATCHED, Count: 3, Seed: 9}}
	item := spec.GetPairs()[0].GetItem()
	var scores []*schemas.Score
	for i, embed := range spec.GetKeys() {
		for n, decode := range schemas.RegisteredKeys(spec, embed) {
			role, psnr := schemas.Leakage(schemas.Reader_READER_MISMATCHED), 5+float64(n)
			if decode == embed {
				role, psnr = schemas.Recoverability, 60-float64(i)
			}
			scores = append(scores, row(item, role, embed.GetId(), decode.GetId(), psnr))
		}
	}
	sum := study.Summarise(spec, scores, nil, study.Invocation{})
	if c := sum.Confusion; c.Cells != nil || c.PSNR != nil || c.SSIM != nil || c.Drawn == nil || len(c.Drawn.Rows) != 50 || c.Drawn.WrongKeys != 3 || c.Drawn.Seed != 9 {
		t.Fatalf("%+v", sum.Confusion)
	}
	for _, r := range sum.Confusion.Drawn.Rows {
		if len(r.DecodeKeys) != 4 || len(r.Cells) != 4 || r.Matched() == nil {
			t.Errorf("%+v", r)
		}
	}
	report := sum.Document().Markdown()
	for _, text := range []string{
		"wrong keys drawn for each: 3 (seed 9)", "| user-49 | 11.00 | 3 |", "| user-30 | 30.00 | 3 |", "30 more keys", "3 wrong keys were drawn for each of 50 keys, by seed 9",
	} {
		if !strings.Contains(report, text) {
			t.Errorf("the report does not say %q", text)
		}
	}
	if strings.Contains(report, "| user-29 |") {
		t.Error("the report names more than the 20 keys that recover worst")
	}
	if strings.Contains(report, "row = embedding key") {
		t.Error("the report has a matrix")
	}
}
