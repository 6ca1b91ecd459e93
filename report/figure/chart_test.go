package figure_test

import (
	"image/color"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"stegomq/report/figure"
)

func count(svg, pattern string) int { return len(regexp.MustCompile(pattern).FindAllString(svg, -1)) }

func TestDots(t *testing.T) {
	t.Parallel()
	cloud := func(n int) (all [][2]float64) {
		for i := range n {
			all = append(all, [2]float64{float64(i), float64(i * i % 7)})
		}
		return all
	}
	dots := func(name string, n int) figure.Series { return figure.Series{Name: name, Points: cloud(n), Dots: true} }
	f := figure.Chart{Panels: []figure.Panel{
		{Title: "PUSNet", XLabel: "PC1 (61.0 %)", YLabel: "PC2 (9.5 %)", Series: []figure.Series{dots("matched", 9), dots("mismatched", 7)}},
		{Title: "PUSNet-MK", XLabel: "PC1 (83.2 %)", YLabel: "PC2 (4.0 %)", Series: []figure.Series{dots("mismatched", 5), dots("matched", 3)}},
	}}
	svg := svgOf(t, f)
	wants(t, svg, "PUSNet", "PUSNet-MK", "PC1 (61.0 %)", "PC2 (9.5 %)", "PC1 (83.2 %)", "PC2 (4.0 %)", "matched",
		"mismatched")
	// Colours that let others shine through are rounded down. The first group is blue discs,
	// the second vermilion outlines, in both panels and once in the legend.
	if n := count(svg, `style="fill:#007[12]B[12][;"]`); n != 9+3+1 {
		t.Errorf("%d blue discs, want 13", n)
	}
	if n := count(svg, `style="fill:none;stroke:#D[45]5[DE]00[;"]`); n != 7+5+1 {
		t.Errorf("%d vermilion triangles, want 13", n)
	}
	m := pngOf(t, f)
	if w := m.Bounds().Dx(); w != 1016 { // 86 mm at 300 dots per inch
		t.Errorf("the PNG of a column is %d pixels wide", w)
	}
	if _, n := area(m, color.NRGBA{R: 0x00, G: 0x72, B: 0xb2, A: 255}); n < 100 {
		t.Errorf("%d pixels have the colour of the legend's disc", n)
	}
	f.Width = figure.Page
	if w := pngOf(t, f).Bounds().Dx(); w != 2102 {
		t.Errorf("the PNG of a page is %d pixels wide", w)
	}
}

func TestLinesHaveGapsAndIntervals(t *testing.T) {
	t.Parallel()
	line := func(points ...[2]float64) figure.Chart {
		return figure.Chart{Panels: []figure.Panel{{XLabel: "quality", Series: []figure.Series{{Name: "hinet", Points: points}}}}}
	}
	const stroke = `<path d="M[^"]*L[^"]*" style="fill:none;stroke:#0072B2`
	whole := svgOf(t, line([2]float64{1, 1}, [2]float64{2, 3}, [2]float64{3, 2}, [2]float64{4, 4}, [2]float64{5, 4}))
	if n := count(whole, stroke); n != 2 { // and the one in the legend
		t.Errorf("a line without gaps has %d strokes, want 2", n)
	}
	gap := svgOf(t, line([2]float64{1, 1}, [2]float64{2, 3}, [2]float64{3, nan}, [2]float64{4, 4}, [2]float64{5, 4}))
	if n := count(gap, stroke); n != 3 {
		t.Errorf("a line with a gap has %d strokes, want 3", n)
	}
	wants(t, gap, "quality", "hinet", "1", "2", "4", "5") // ticks are where points are

	f := line([2]float64{1, 1}, [2]float64{2, 3}, [2]float64{3, 2})
	f.Panels[0].Series[0].Intervals = [][2]float64{{0, 2}, {nan, 4}, {1, 3}}
	if n := count(svgOf(t, f), stroke); n != 2+2*3 { // a bar is three lines
		t.Errorf("with two bars there are %d strokes, want 8", n)
	}
}

func TestLinesOnALogarithmicAxis(t *testing.T) {
	t.Parallel()
	s := figure.Series{Name: "attacker"}
	for x := 1.0; x <= 1024; x *= 4 {
		s.Points = append(s.Points, [2]float64{x, 10 + x/100})
	}
	f := figure.Chart{Panels: []figure.Panel{{
		Series: []figure.Series{s}, LogX: true, Levels: []figure.Mark{{Name: "matched key", At: 27}},
	}}}
	svg := svgOf(t, f)
	wants(t, svg, "1", "4", "16", "64", "256", "1024", "matched key", "25") // the axis reaches the level
	// Powers of four are at equal distances.
	var at []float64
	for _, m := range regexp.MustCompile(`<text x="([^"]*)"[^>]*>(?:1|4|16|64|256|1024)</text>`).FindAllStringSubmatch(svg, -1) {
		x, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, x+float64(len(strings.TrimSuffix(m[0][strings.Index(m[0], ">")+1:], "</text>")))*1.8)
	}
	if len(at) != 6 {
		t.Fatalf("ticks at %v", at)
	}
	for i := range 4 {
		if d := (at[i+2] - at[i+1]) - (at[i+1] - at[i]); d > 1 || d < -1 {
			t.Errorf("ticks at %v are not at equal distances", at)
		}
	}
}

func TestBars(t *testing.T) {
	t.Parallel()
	bars := &figure.Bars{From: -0.5, Width: 0.1, Counts: make([]int, 40)}
	bars.Counts[3], bars.Counts[5], bars.Counts[6], bars.Counts[38] = 200, 9700, 99, 1
	f := figure.Chart{Panels: []figure.Panel{{
		Title: "10,000 random keys", XLabel: "excess (dB)", YLabel: "count", Bars: bars,
		Marks: []figure.Mark{{Name: "mean", At: 0.07}, {Name: "99th percentile", At: 0.4}, {Name: "largest: key 7345", At: 3.3}},
	}}}
	svg := svgOf(t, f)
	wants(t, svg, "10,000 random keys", "excess (dB)", "count", "1", "10", "100", "1000", "mean", "99th percentile", "largest: key 7345")
	if n := count(svg, `fill:#73A7D3"`); n != 4 {
		t.Errorf("%d bars, want one for each bin that counts something", n)
	}
	// On a logarithmic axis the bars of 9700, 200 and 1 have heights as log(n / 0.6): one is seen.
	m := pngOf(t, f)
	bar := color.NRGBA{R: 0x73, G: 0xa7, B: 0xd3, A: 255}
	box, _ := area(m, bar)
	foot := box.Max.Y - 3
	right := box.Max.X - 2
	height := 0
	for y := foot; color.NRGBAModel.Convert(m.At(right, y)) == color.Color(bar); y-- {
		height++
	}
	if share := float64(height) / float64(box.Dy()); share < 0.03 || share > 0.08 { // log(1/0.6) / log(9700/0.6) = 0.053
		t.Errorf("the bar of 1 has %.3f of the height of that of 9700", share)
	}
}
