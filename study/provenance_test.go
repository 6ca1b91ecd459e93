package study_test

import (
	"strings"
	"testing"
	"time"

	"stegomq/study"
)

// TestProvenance: a report says what made its figures, and a command that made nothing reports the times of the one that did.
func TestProvenance(t *testing.T) {
	t.Parallel()
	spec, scores, _ := handmade()
	made := study.Provenance{
		Version: "v1.2", Revision: "0123456789abcdef+changes", Command: "stegomq evaluate --data photos", Date: time.Date(2026, 11, 27, 15, 4, 5, 0, time.UTC),
		ElapsedSeconds: 2, Made: 20, Where: study.Here, Runtime: "1.20.1", Provider: "cpu", Processor: "AMD EPYC", Decoder: "go1.26", Metrics: "1",
	}
	elsewhere, remembered, cipher := made, made, made
	elsewhere.Where, elsewhere.Runtime, elsewhere.Processor, elsewhere.Revision = study.AtWorkers, "", "", ""
	remembered.Where, remembered.Runtime, remembered.Processor, remembered.Revision = study.InTheCache, "", "", "v1.2"
	cipher.Runtime, cipher.Provider, cipher.Revision = "", "", "0123456789abcdef"
	for name, c := range map[string]struct {
		of   study.Provenance
		want string
	}{
		"here":    {made, "made on 2026-11-27 15:04 UTC by stegomq v1.2 (0123456789ab, with changes), ONNX Runtime 1.20.1 (cpu), on AMD EPYC; decoder: go1.26; metrics: version 1"},
		"workers": {elsewhere, "by stegomq v1.2, by workers that run elsewhere, whose versions and processors are not known; decoder"},
		"cache":   {remembered, "by stegomq v1.2, from outputs that other runs had made; decoder"},
		"cipher":  {cipher, "by stegomq v1.2 (0123456789ab), on AMD EPYC; decoder"},
	} {
		sum := study.Summarise(spec, scores, nil, study.Invocation{Hits: 20, Elapsed: 10 * time.Millisecond, Provenance: &c.of})
		report := sum.Document().Markdown()
		for _, want := range []string{c.want, "- command: stegomq evaluate --data photos\n", "20 comparisons, all found in the cache; when the run was made first it took 2.00 s, 10.0 comparisons a second"} {
			if !strings.Contains(report, want) {
				t.Errorf("%s: report.md does not say %q:\n%s", name, want, report)
			}
		}
		if sum.ElapsedSeconds != 2 || sum.ItemsPerSecond != 10 || *sum.Provenance != c.of {
			t.Errorf("%s: %v s, %v a second, %+v", name, sum.ElapsedSeconds, sum.ItemsPerSecond, sum.Provenance)
		}
	}
	// Who makes something has times of their own.
	sum := study.Summarise(spec, scores, nil, study.Invocation{Hits: 4, Misses: 1, Elapsed: 10 * time.Second, Provenance: &made})
	if sum.ElapsedSeconds != 10 || sum.ItemsPerSecond != 0.5 {
		t.Errorf("%v s, %v a second", sum.ElapsedSeconds, sum.ItemsPerSecond)
	}
}
