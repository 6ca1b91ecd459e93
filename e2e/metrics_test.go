package e2e

import (
	"slices"
	"strings"
	"testing"
)

// A requested metric is in every file and table of its run, and in none of another run; for smaller images it is absent.
func TestMoreMetrics(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 4, 200, 190)
	command := []string{"evaluate", "--data", "photos", "--model", cipherModel(), "--keys", "2"}
	asked := h.ok(append(command, "--size", "176", "--more-metrics", "ms_ssim", "--out", "asked")...)
	h.ok(append(command, "--size", "176", "--out", "plain")...)
	h.ok(append(command, "--size", "175", "--more-metrics", "ms_ssim", "--out", "small")...)
	again := h.ok(append(command, "--size", "176", "--more-metrics", "ms_ssim", "--out", "again", "--log-level", "info")...)
	if strings.Contains(again.stderr, "worker started") {
		t.Error("the same command again made something")
	}

	for out, want := range map[string]bool{"asked": true, "plain": false, "small": false, "again": true} {
		sum := h.summary(out)
		d, has := sum.Imperceptibility.More["ms_ssim"]
		if has != want || has && !(d.Mean > 0.9 && d.Mean < 1 && d.CI95 != nil) {
			t.Errorf("%s: %+v", out, sum.Imperceptibility.More)
		}
		head, _, _ := strings.Cut(string(read(t, h.path(out, "items.csv"))), "\n")
		if slices.Contains(strings.Split(head, ","), "ms_ssim") != want || strings.Contains(string(read(t, h.path(out, "report.md"))), "MS-SSIM") != want {
			t.Errorf("%s: the head of items.csv is %s", out, head)
		}
	}
	if !strings.Contains(asked.stdout, "MS-SSIM") || h.summary("asked").Run == h.summary("plain").Run {
		t.Error("the metric is not printed, or the two runs are one")
	}
	if both := h.ok("report", "compare", "asked", "again").stdout; !strings.Contains(both, "MS-SSIM") {
		t.Errorf("two runs that have it are not compared by it:\n%s", both)
	}
	if one := h.ok("report", "compare", "asked", "plain").stdout; strings.Contains(one, "MS-SSIM") || !strings.Contains(one, "recoverability") {
		t.Errorf("a run that has it and one that has not:\n%s", one)
	}
	r := h.run(append(command, "--more-metrics", "lpips")...)
	r.want(t, 2)
	if !strings.Contains(r.stderr, "there are: ms_ssim") {
		t.Errorf("%s", r.stderr)
	}
}
