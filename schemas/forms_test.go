package schemas

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestFormsAreThoseOfThePatterns compares what the loops accept with regular expressions: on names of every length near
// the bounds, and with every byte in every place that matters.
func TestFormsAreThoseOfThePatterns(t *testing.T) {
	t.Parallel()
	owners := map[Reader]*regexp.Regexp{
		Reader_READER_RANDOM:  regexp.MustCompile(`^random-[0-9]{1,20}-[0-9]{1,20}()$`),
		Reader_READER_NEAR:    regexp.MustCompile(`^near-[0-9]{1,3}-([a-z0-9][a-z0-9_-]*)$`),
		Reader_READER_SWAPPED: regexp.MustCompile(`^swapped-([a-z0-9][a-z0-9_-]*)$`),
		Reader_READER_PARTIAL: regexp.MustCompile(`^partial-(?:0|[1-9][0-9]{0,2}|1000)-([a-z0-9][a-z0-9_-]*)$`),
	}
	forms := []struct {
		name    string
		is      func(string) bool
		pattern *regexp.Regexp
	}{
		{"digest", ValidDigest, regexp.MustCompile(`^[0-9a-f]{64}$`)},
		{"fingerprint", func(s string) bool { return isHex(s, 32) }, regexp.MustCompile(`^[0-9a-f]{32}$`)},
		{"run id", ValidRunID, regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)},
		{"key id", ValidKeyID, regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)},
		{"tenant", ValidTenant, regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,30}$`)},
		{"item id", ValidItemID, regexp.MustCompile(`^[A-Za-z0-9](\.?[A-Za-z0-9_-])*\.?$`)}, // and of 128 bytes at most
	}
	compare := func(s string) {
		t.Helper()
		for _, f := range forms {
			if want := f.pattern.MatchString(s) && (f.name != "item id" || len(s) <= 128); f.is(s) != want {
				t.Errorf("%q is a %s: %v, want %v", s, f.name, !want, want)
			}
		}
		got, owner := keyForm(s)
		want, from := Reader_READER_UNSPECIFIED, ""
		for r, pattern := range owners {
			if m := pattern.FindStringSubmatch(s); m != nil && ValidKeyID(s) {
				want, from = r, m[1]
			}
		}
		if got != want || owner != from {
			t.Errorf("%q is read by %v, derived from %q; want %v, %q", s, got, owner, want, from)
		}
	}
	for n := range 132 {
		compare(strings.Repeat("a", n))
		compare(strings.Repeat("0", n))
		compare("near-7-" + strings.Repeat("b", n))
		compare("random-" + strings.Repeat("1", n) + "-2")
		compare("random-1-" + strings.Repeat("2", n))
		compare("near-" + strings.Repeat("1", n) + "-a")
	}
	for n := range 1100 {
		compare(fmt.Sprintf("partial-%d-a", n))
		compare(fmt.Sprintf("partial-0%d-a", n))
	}
	for _, base := range []string{sha("x"), sha("x")[:32], "Run-1_a", "a-b_c", "a.b", "00001-cover.png", "random-12-34", "near-12-a-b", "swapped-a-b", "partial-50-a-b", "partial-1000-a"} {
		for at := range len(base) + 1 {
			for c := range 256 {
				compare(base[:at] + string([]byte{byte(c)}) + base[at:])
				if at < len(base) {
					compare(base[:at] + string([]byte{byte(c)}) + base[at+1:])
				}
			}
		}
	}
}
