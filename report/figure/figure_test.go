package figure_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"stegomq/report/figure"
)

var (
	nan = math.NaN()
	inf = math.Inf(1)
)

// solid is an opaque image of one colour.
func solid(w, h int, c color.NRGBA) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := 0; i < len(m.Pix); i += 4 {
		copy(m.Pix[i:], []uint8{c.R, c.G, c.B, 255})
	}
	return m
}

// examples are one of each figure, with gaps in the data.
func examples() map[string]figure.Figure {
	return map[string]figure.Figure{
		"dots": figure.Chart{Panels: []figure.Panel{
			{Title: "PUSNet", XLabel: "PC1 (61.0 %)", YLabel: "PC2 (9.5 %)", Series: []figure.Series{
				{Name: "matched", Points: [][2]float64{{0, 1}, {1, 2}, {nan, 1}}, Dots: true}, {Name: "random <&>", Points: [][2]float64{{3, 1}, {2, inf}}, Dots: true},
			}},
			{Title: "PUSNet-MK", Series: []figure.Series{{Name: "matched", Points: [][2]float64{{5, 5}}, Dots: true}}},
			{Title: "three panels do not fill two rows", Series: []figure.Series{{Name: "matched", Points: [][2]float64{{5, 5}}, Dots: true}}},
		}},
		"lines": figure.Chart{Panels: []figure.Panel{{
			Title: "robustness", XLabel: "JPEG quality", YLabel: "PSNR (dB)",
			Series: []figure.Series{
				{Name: "invertible-mk", Points: [][2]float64{{10, 11}, {50, nan}, {90, 20}, {95, 22}},
					Intervals: [][2]float64{{10, 12}, {1, 2}, {nan, 21}, {21, 23}}},
				{Name: "hinet", Points: [][2]float64{{10, 12}, {90, -inf}}, Intervals: [][2]float64{{11, 13}, {1, 2}}},
			},
			Levels: []figure.Mark{{Name: "unrelated", At: 10.9}, {Name: "nowhere", At: nan}},
		}}},
		"bars": figure.Chart{Panels: []figure.Panel{{
			Title: "10,000 random keys", XLabel: "excess (dB)", Bars: &figure.Bars{From: -0.5, Width: 0.25, Counts: []int{3, 900, 40, 0, 1}},
			Marks: []figure.Mark{{Name: "mean", At: 0}, {Name: "matched", At: 16}, {Name: "nowhere", At: inf}},
		}}},
		"matrix": figure.Matrix{
			Panels:    [][]figure.Heat{{{{{PSNR: 28.14, SSIM: 0.944}, {PSNR: 11.06, SSIM: 0.125}}, {{PSNR: nan, SSIM: nan}, {PSNR: inf, SSIM: 1}}}, {}}},
			RowTitles: []string{"α = 0.9"}, ColumnTitles: []string{"K = 2", "K = 4"},
			RowsAre: "embedded with", ColumnsAre: "decoded with", Scale: figure.Scale{Label: "PSNR (dB)", Min: 11.06, Max: 28.14},
		},
		"grid": figure.Grid{Columns: []string{"cover", "stego"}, Rows: []figure.PictureRow{
			{Label: "pair 1", Pictures: []figure.Picture{
				{Image: solid(64, 48, color.NRGBA{R: 200, A: 255})},
				{Image: solid(64, 48, color.NRGBA{G: 200, A: 255}), Inset: solid(64, 48, color.NRGBA{B: 200, A: 255}), Caption: "33.8 dB"},
			}},
			{Label: "pair 2", Pictures: []figure.Picture{{Caption: "missing"}}},
		}},
	}
}

func svgOf(t *testing.T, f figure.Figure) string {
	t.Helper()
	data, err := f.SVG()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func pngOf(t *testing.T, f figure.Figure) image.Image {
	t.Helper()
	data, err := f.PNG()
	if err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// texts reads an SVG as XML and returns the words in its text elements.
func texts(t *testing.T, svg string) []string {
	t.Helper()
	var all []string
	dec := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "text" {
			var words string
			if err := dec.DecodeElement(&words, &start); err != nil {
				t.Fatal(err)
			}
			all = append(all, words)
		}
	}
}

// wants fails unless each of some texts is in an SVG.
func wants(t *testing.T, svg string, want ...string) {
	t.Helper()
	all := texts(t, svg)
	have := map[string]bool{}
	for _, s := range all {
		have[s] = true
	}
	for _, w := range want {
		if !have[w] {
			t.Errorf("no text %q in %q", w, all)
		}
	}
}

// area is where an image has exactly one colour, and in how many pixels.
func area(m image.Image, c color.NRGBA) (box image.Rectangle, n int) {
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			if color.NRGBAModel.Convert(m.At(x, y)) == color.Color(c) {
				box, n = box.Union(image.Rect(x, y, x+1, y+1)), n+1
			}
		}
	}
	return box, n
}

func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	again := examples()
	for name, f := range examples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if a, b := svgOf(t, f), svgOf(t, again[name]); a != b {
				t.Error("two SVG differ")
			}
			a, errA := f.PNG()
			b, errB := again[name].PNG()
			if errA != nil || errB != nil || !bytes.Equal(a, b) {
				t.Errorf("two PNG differ (%v, %v)", errA, errB)
			}
			if m, err := png.Decode(bytes.NewReader(a)); err != nil {
				t.Error(err)
			} else if opaque, ok := m.(interface{ Opaque() bool }); !ok || !opaque.Opaque() {
				t.Error("the PNG is not opaque")
			}
		})
	}
}

var textElement = regexp.MustCompile(`(?s)<text[^>]*style="([^"]*)"`)

func TestAnSVGNeedsNothingElse(t *testing.T) {
	t.Parallel()
	for name, f := range examples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			svg := svgOf(t, f)
			if !strings.HasPrefix(svg, "<svg ") {
				t.Errorf("it begins with %.20q: it cannot stand in a page", svg)
			}
			for _, link := range regexp.MustCompile(`(?:href="|url\()([^")]{0,20})`).FindAllStringSubmatch(svg, -1) {
				if !strings.HasPrefix(link[1], "data:image/png;") {
					t.Errorf("it refers to %q", link[1])
				}
			}
			for _, element := range textElement.FindAllStringSubmatch(svg, -1) {
				if !strings.Contains(element[1], "font-family:'Liberation Sans',Arimo,Arial,Helvetica,sans-serif;") {
					t.Errorf("text is set in %s: want a list of fonts that ends in one which every reader has", element[1])
				}
			}
		})
	}
}

func TestWhatCannotBeDrawn(t *testing.T) {
	t.Parallel()
	series := func(x float64, log bool) figure.Chart {
		return figure.Chart{Panels: []figure.Panel{{LogX: log, Series: []figure.Series{{Name: "s", Points: [][2]float64{{x, 1}}}}}}}
	}
	bars := func(width float64, counts ...int) figure.Chart {
		return figure.Chart{Panels: []figure.Panel{{Bars: &figure.Bars{Width: width, Counts: counts}}}}
	}
	grid := func(images ...image.Image) figure.Grid {
		row := figure.PictureRow{}
		for _, m := range images {
			row.Pictures = append(row.Pictures, figure.Picture{Image: m})
		}
		return figure.Grid{Columns: []string{"a"}, Rows: []figure.PictureRow{row}}
	}
	for _, tt := range []struct {
		f   figure.Figure
		say string
	}{
		{figure.Chart{}, "no panels"},
		{figure.Chart{Panels: []figure.Panel{{Title: "jpeg"}}}, `panel 1 "jpeg": there are no points`},
		{series(inf, false), "there are no points"},
		{series(0, true), `series "s" has x = 0`},
		{bars(1), "no bin counts anything"},
		{bars(1, 0, 0), "no bin counts anything"},
		{bars(1, 2, -1), "less than nothing"},
		{bars(0, 1), "of width 0"},
		{bars(nan, 1), "of width NaN"},
		{figure.Matrix{}, "0 rows of panels"},
		{figure.Matrix{Panels: [][]figure.Heat{{{}}}, Scale: figure.Scale{Max: 1}}, "0 rows of panels"},
		{figure.Matrix{Panels: [][]figure.Heat{{{{{PSNR: 1}}}}}, Scale: figure.Scale{Min: 2, Max: 1}}, "from 2 to 1"},
		{figure.Grid{}, "no cell of the grid has an image"},
		{grid((*image.NRGBA)(nil)), "no cell of the grid has an image"},
	} {
		for _, draw := range []func() ([]byte, error){tt.f.SVG, tt.f.PNG} {
			data, err := draw()
			if !errors.Is(err, figure.ErrData) || !strings.Contains(fmt.Sprint(err), tt.say) || data != nil {
				t.Errorf("%T: %d bytes, error %v; want one that says %q", tt.f, len(data), err, tt.say)
			}
		}
	}
}

var nowhere = regexp.MustCompile(` (x|y|d|width|height|transform)="[^"]*(NaN|Inf)[^"]*"`)

// Whatever numbers and words come, there is a well-formed figure or an error, and no panic.
func TestAnythingCanBeAskedFor(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	number := func() float64 {
		odd := []float64{0, 1, -1, nan, inf, -inf, 1e308, -1e308, 5e-324, 1e-101, 9e99, 1e99, 1 + 1e-16, 1e6}
		if r.IntN(3) > 0 {
			return odd[r.IntN(len(odd))]
		}
		return r.NormFloat64() * math.Pow(10, float64(r.IntN(40)-20))
	}
	word := func() string {
		odd := []string{"", "a", "\n", "\x00\xff<&\"'>", "a-very/long_name-without-any-space-in-it-at-all", "α × 10⁻³ 鍵 𝄞",
			"two\nlines", strings.Repeat("word ", 80)}
		return odd[r.IntN(len(odd))]
	}
	pairs := func() (all [][2]float64) {
		for range r.IntN(5) {
			all = append(all, [2]float64{number(), number()})
		}
		return all
	}
	for range 60 {
		series := figure.Series{Name: word(), Points: pairs(), Dots: r.IntN(2) == 0}
		for range series.Points {
			series.Intervals = append(series.Intervals, [2]float64{number(), number()})
		}
		var heat figure.Heat
		for range r.IntN(4) {
			heat = append(heat, make([]figure.Cell, r.IntN(4)))
			for i := range heat[len(heat)-1] {
				heat[len(heat)-1][i] = figure.Cell{PSNR: number(), SSIM: number()}
			}
		}
		marks := []figure.Mark{{Name: word(), At: number()}, {Name: word(), At: number()}, {Name: word(), At: number()}}
		panel := func() figure.Panel {
			return figure.Panel{Title: word(), XLabel: word(), YLabel: word(), Series: []figure.Series{series}, Levels: marks, Marks: marks, LogX: r.IntN(2) == 0}
		}
		barred := panel()
		barred.Series, barred.LogX, barred.Bars = nil, false, &figure.Bars{From: number(), Width: number(), Counts: []int{r.IntN(9), r.IntN(1 << 40)}}
		picture := func() figure.Picture {
			m, inset := solid(r.IntN(9), r.IntN(90), color.NRGBA{}), solid(r.IntN(50), r.IntN(3), color.NRGBA{})
			return figure.Picture{Image: m, Inset: inset, Caption: word()}
		}
		for _, f := range []figure.Figure{
			figure.Chart{Panels: []figure.Panel{panel(), panel(), panel()}[:1+r.IntN(3)]},
			figure.Chart{Panels: []figure.Panel{barred}},
			figure.Matrix{
				Panels: [][]figure.Heat{{{}, heat}, {heat}}, RowTitles: []string{word()}, ColumnTitles: []string{word()},
				RowsAre: word(), ColumnsAre: word(), Scale: figure.Scale{Label: word(), Min: number(), Max: number()},
			},
			figure.Grid{
				Columns: []string{word(), word()},
				Rows:    []figure.PictureRow{{Label: word(), Pictures: []figure.Picture{picture(), picture()}}, {}},
			},
		} {
			data, err := f.SVG()
			if err == nil {
				if at := nowhere.Find(data); at != nil {
					t.Fatalf("%T draws at %s: %+v", f, at, f)
				}
				texts(t, string(data))
			} else if !errors.Is(err, figure.ErrData) {
				t.Fatalf("%T: %v", f, err)
			}
		}
	}
}
