package e2e

import (
	"slices"
	"strings"
	"testing"
)

// All of an audit's tests on stego images go through the queue beside the plain run, and do not change its scores.
func TestEvaluateTrials(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 60, 40)
	plain := []string{"evaluate", "--data", "photos", "--keys", "2", "--random-keys", "0", "--size", "32"}
	h.ok(append(plain, "--out", "plain")...)
	command := append(plain, "--swapped", "--partial", "25,99.5", "--no-key", "--attacks", "jpeg-75,crop-5", "--save-images")
	printed := h.ok(append(command, "--out", "with")...)
	const pairs, keys = 2, 2
	got := make(map[string]int)
	items := h.items("with")
	for _, i := range items {
		got[i.role+" "+i.attack]++
	}
	wantImages(t, h, "with", items)
	for name, n := range map[string]int{
		"recoverability ": pairs * keys, "leakage_swapped ": pairs * keys, "leakage_partial ": pairs * keys * 2, "leakage_unkeyed ": pairs * keys,
		"leakage_swapped_cover ": pairs * keys, "leakage_partial_cover ": pairs * keys * 2, "leakage_unkeyed_cover ": pairs * keys,
		"robustness jpeg-75": pairs * keys, "robustness crop-5": pairs * keys,
	} {
		if got[name] != n {
			t.Errorf("%d comparisons %q, want %d", got[name], name, n)
		}
	}
	for _, i := range h.items("plain") {
		if !slices.ContainsFunc(items, func(with item) bool {
			return with.role == i.role && with.item == i.item && with.embedKey == i.embedKey && with.decodeKey == i.decodeKey && with.attack == "" && with.scores == i.scores
		}) {
			t.Errorf("%s of %s by %s and %s is not as without the trials", i.role, i.item, i.embedKey, i.decodeKey)
		}
	}
	sum := h.summary("with")
	if sum.LeakageSwapped.N != pairs*keys || len(sum.LeakagePartial) != 2 || sum.LeakagePartial[1].Permille != 995 || len(sum.Robustness) != 2 || sum.Robustness[0].Attack != "jpeg-75" {
		t.Errorf("the summary has %+v, %+v, %+v", sum.LeakageSwapped, sum.LeakagePartial, sum.Robustness)
	}
	for _, what := range []string{"99.5 %", "jpeg-75", "crop-5"} {
		if !strings.Contains(printed.stdout, what) || !strings.Contains(string(read(t, h.path("with", "report.md"))), what) {
			t.Errorf("%q is not both printed and in report.md", what)
		}
	}
	again := h.ok(append(command, "--out", "again", "--log-level", "info")...)
	if sum := h.summary("again"); sum.Cache.Misses != 0 {
		t.Errorf("again, %d comparisons were made\n%s", sum.Cache.Misses, again.stderr)
	}
}
