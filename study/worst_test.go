package study_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"stegomq/schemas"
	"stegomq/study"
)

// TestWorstPairs: every table names the worst pair, whatever the order of the scores.
func TestWorstPairs(t *testing.T) {
	t.Parallel()
	spec, _, _ := handmade()
	spec.Pairs = nil
	var scores []*schemas.Score
	for i := range 8 {
		item := fmt.Sprintf("%05d-x", i+1)
		spec.Pairs = append(spec.Pairs, &schemas.Pair{
			Item: item, Cover: schemas.BlobRef(sha("c"+item), fmt.Sprintf("sky%d.jpg", i)), Secret: schemas.BlobRef(sha("s"+item), fmt.Sprintf("face%d.jpg", i)),
		})
		v := float64(i)
		scores = append(scores,
			row(item, schemas.Imperceptibility, "alice", "", 40+v), row(item, schemas.Imperceptibility, "bob", "", 39.5-v),
			row(item, schemas.Recoverability, "alice", "alice", 30-v), row(item, schemas.Recoverability, "bob", "bob", 30.5-v),
			row(item, schemas.Leakage(schemas.Reader_READER_MISMATCHED), "alice", "bob", 10+v), row(item, schemas.Purification, "", "", 25),
		)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(scores), func(i, j int) { scores[i], scores[j] = scores[j], scores[i] })
	refused := row("00001-x", schemas.Recoverability, "alice", "alice", 0)
	refused.Metrics, refused.Refusal = nil, &schemas.Refusal{Detail: "no"}
	sum := study.Summarise(spec, append(scores, refused), nil, study.Invocation{})
	pair := func(role, item string, n int, embed, decode string, psnr float64) study.WorstPair {
		return study.WorstPair{
			Role: role, Comparison: study.Comparison{Item: item, EmbedKey: embed, DecodeKey: decode},
			Cover: fmt.Sprintf("sky%d.jpg", n), Secret: fmt.Sprintf("face%d.jpg", n), PSNR: psnr, SSIM: psnr / 64,
		}
	}
	want := []study.WorstPair{
		pair("imperceptibility", "00008-x", 7, "bob", "", 32.5), pair("imperceptibility", "00007-x", 6, "bob", "", 33.5), pair("imperceptibility", "00006-x", 5, "bob", "", 34.5),
		pair("recoverability", "00008-x", 7, "alice", "alice", 23), pair("recoverability", "00007-x", 6, "alice", "alice", 24), pair("recoverability", "00006-x", 5, "alice", "alice", 25),
		pair("purification", "00001-x", 0, "", "", 25), pair("purification", "00002-x", 1, "", "", 25), pair("purification", "00003-x", 2, "", "", 25),
	}
	if !reflect.DeepEqual(sum.WorstPairs, want) {
		t.Errorf("%+v, want\n%+v", sum.WorstPairs, want)
	}
	if g := sum.Recoverability.PSNR; g.MinOf != want[3].Comparison || g.MaxOf != (study.Comparison{Item: "00001-x", EmbedKey: "bob", DecodeKey: "bob"}) {
		t.Errorf("least of %+v, largest of %+v", g.MinOf, g.MaxOf)
	}
	report := sum.Document().Markdown()
	for _, row := range []string{
		"| 32.50 (00008-x) |", "| 23.00 (00008-x) |", "| 17.00 (00008-x) |", "## Worst pairs", "| stego | 00008-x | sky7.jpg | face7.jpg | bob | 32.50 | 0.508 |",
		"| recovered | 00008-x | sky7.jpg | face7.jpg | alice | 23.00 | 0.359 |", "least on the diagonal: 23.00 dB at 00008-x, alice decoded with alice",
		"largest off the diagonal: 17.00 dB at 00008-x, alice decoded with bob",
	} {
		if !strings.Contains(report, row) {
			t.Errorf("report.md does not say %q:\n%s", row, report)
		}
	}
	worse := make([]*schemas.Score, 0, len(scores))
	for _, s := range scores {
		worse = append(worse, row(s.GetItem(), s.Role(), s.GetEmbedKey(), s.GetDecodeKey(), 28))
	}
	p, err := compare(scored{Spec: spec, Scores: scores}, scored{Spec: spec, Scores: worse})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range p.Roles {
		// In the rows of these tests the errors grow with PSNR.
		switch want := map[string][2]string{"recoverability": {"00008-x", "00001-x"}, "leakage_mismatched": {"00008-x", "00001-x"}}[r.Role]; {
		case want == [2]string{}:
		case r.PSNR.WorstOf != want[0] || r.SSIM.WorstOf != want[0] || r.MAE.WorstOf != want[1] || r.RMSE.WorstOf != want[1]:
			t.Errorf("%s: worst for A on %s by PSNR, on %s by MAE, want %q", r.Role, r.PSNR.WorstOf, r.MAE.WorstOf, want)
		}
	}
}
