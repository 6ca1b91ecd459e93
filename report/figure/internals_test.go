package figure

import (
	"strings"
	"testing"
)

func TestScaleGrowsDarker(t *testing.T) {
	t.Parallel()
	s := Scale{Min: 8, Max: 33}
	if s.at(8) != Light || s.at(33) != Dark || s.at(-1) != Light || s.at(99) != Dark {
		t.Errorf("the ends are %v and %v", s.at(8), s.at(33))
	}
	before := 2.0
	for v := 8.0; v <= 33; v += 0.5 {
		c := s.at(v)
		if l := luminance(c); l >= before {
			t.Errorf("%v has luminance %.3f, the value below %.3f", v, l, before)
		} else {
			before = l
		}
		// WCAG 2 asks for this of small text.
		text := luminance(inkOn(c))
		if contrast := (max(text, before) + 0.05) / (min(text, before) + 0.05); contrast < 4.5 {
			t.Errorf("text on the colour of %v has a contrast of %.1f", v, contrast)
		}
	}
}

func TestTicks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		r    interval
		n    int
		want string
	}{
		{interval{0, 1}, 5, "0.0 0.2 0.4 0.6 0.8 1.0"},
		{interval{8.2, 33}, 7, "10 15 20 25 30"},
		{interval{-4.4, 4.1}, 6, "−4 −2 0 2 4"},
		{interval{0.119, 0.131}, 5, "0.120 0.125 0.130"},
		{interval{0, 25_000}, 3, "0 10,000 20,000"},
		{interval{1e-9, 9e-9}, 3, "5e−09"},
	} {
		var got []string
		for _, tick := range linearTicks(tt.r, tt.n) {
			if tick.Value < tt.r.lo-1e-9 || tick.Value > tt.r.hi+1e-9 {
				t.Errorf("%v: a tick at %v", tt.r, tick.Value)
			}
			got = append(got, tick.Label)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%v: %q, want %q", tt.r, s, tt.want)
		}
	}
	for _, tt := range []struct {
		r    interval
		want string
	}{
		{interval{0.6, 15_000}, "1 10 100 1000 10,000"},
		{interval{0.6, 7}, "1 2 5"},
		{interval{0.03, 0.3}, "0.05 0.1 0.2"},
		{interval{1, 1e12}, "1 100 10,000 1,000,000 1e+08 1e+10 1e+12"},
	} {
		var got []string
		for _, tick := range logTicks(tt.r) {
			if tick.Label != "" {
				got = append(got, tick.Label)
			}
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("log %v: %q, want %q", tt.r, s, tt.want)
		}
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	s := letters(10, ink)
	width := s.Width("mismatched key")
	for _, tt := range []struct{ words, want string }{
		{"", ""},
		{"cover", "cover"},
		{"mismatched key", "mismatched key"},
		{"mismatched key of bob", "mismatched key\nof bob"},
		{"invertible-mk-k8-a09", "invertible-mk-\nk8-a09"},
		{"a mismatched key of another user of this", "a mismatched\nkey of anothe…"},
		{"Antidisestablishmentarianism", "Antidisestabli…"},
	} {
		got := wrap(s, tt.words, width, 2)
		if got != tt.want {
			t.Errorf("wrap(%q) = %q, want %q", tt.words, got, tt.want)
		}
		if s.Width(got) > width {
			t.Errorf("%q is wider than %v", got, width)
		}
	}
	if got := fit(s, "anything", 0.1); got != "…" {
		t.Errorf("into nothing fits %q", got)
	}
}
