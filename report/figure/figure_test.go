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
		"scatter": figure.Scatter{Panels: []figure.ScatterPanel{
			{Title: "PUSNet", XLabel: "PC1 (61.0 %)", YLabel: "PC2 (9.5 %)", Groups: []figure.Group{
				{Name: "matched", Points: [][2]float64{{0, 1}, {1, 2}, {nan, 1}}}, {Name: "random <&>", Points: [][2]float64{{3, 1}, {2, inf}}},
			}},
			{Title: "PUSNet-MK", Groups: []figure.Group{{Name: "matched", Points: [][2]float64{{5, 5}}}}},
		}},
		"lines": figure.Lines{Panels: []figure.LinePanel{{
			Title: "robustness", XLabel: "JPEG quality", YLabel: "PSNR (dB)",
			Series: []figure.Series{
				{Name: "invertible-mk", Points: [][2]float64{{10, 11}, {50, nan}, {90, 20}, {95, 22}},
					Intervals: [][2]float64{{10, 12}, {1, 2}, {nan, 21}, {21, 23}}},
				{Name: "hinet", Points: [][2]float64{{10, 12}, {90, -inf}}, Intervals: [][2]float64{{11, 13}, {1, 2}}, Band: true},
			},
			Levels: []figure.Mark{{Name: "unrelated", At: 10.9}, {Name: "nowhere", At: nan}},
		}}},
		"histogram": figure.Histogram{
			Title: "10,000 random keys", XLabel: "excess (dB)", From: -0.5, BinWidth: 0.25, Counts: []int{3, 900, 40, 0, 1},
			Marks: []figure.Mark{{Name: "mean", At: 0}, {Name: "matched", At: 16}, {Name: "nowhere", At: inf}},
		},
		"matrix": figure.Matrix{
			Panels: [][]figure.Heat{{
				{Rows: []string{"alice", "bob"}, Columns: []string{"alice", "bob"}, Title: "invertible-mk", Cells: [][]figure.Cell{
					{figure.Pair(28.14, 0.944), figure.Pair(11.06, 0.125)}, {figure.Pair(nan, nan), figure.Pair(inf, 1)},
				}},
				{},
			}},
			RowTitles: []string{"α = 0.9"}, ColumnTitles: []string{"K = 2", "K = 4"},
			RowsAre: "embedded with", ColumnsAre: "decoded with", Scale: figure.Scale{Label: "PSNR (dB)"},
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
	one := figure.ScatterPanel{Groups: []figure.Group{{Points: [][2]float64{{1, 1}}}}}
	series := func(x float64, log bool, intervals ...[2]float64) figure.Lines {
		return figure.Lines{Panels: []figure.LinePanel{{
			LogX: log, Series: []figure.Series{{Name: "s", Points: [][2]float64{{x, 1}}, Intervals: intervals}},
		}}}
	}
	cells := [][]figure.Cell{{{Value: 1}, {Value: 2}}}
	grid := func(images ...image.Image) figure.Grid {
		row := figure.PictureRow{}
		for _, m := range images {
			row.Pictures = append(row.Pictures, figure.Picture{Image: m})
		}
		return figure.Grid{Columns: []string{"a"}, Rows: []figure.PictureRow{row}}
	}
	heat := func(h figure.Heat) figure.Matrix { return figure.Matrix{Panels: [][]figure.Heat{{h}}} }
	for _, tt := range []struct {
		f    figure.Figure
		want error
		say  string
	}{
		{figure.Scatter{}, figure.ErrEmpty, "there are no panels"},
		{figure.Scatter{Panels: []figure.ScatterPanel{one, {Title: "MK"}}}, figure.ErrEmpty, `panel 2 ("MK") has no points`},
		{figure.Scatter{Panels: []figure.ScatterPanel{{Groups: []figure.Group{{Points: [][2]float64{{nan, 1}}}}}}},
			figure.ErrEmpty, "panel 1 has no points"},
		{figure.Lines{}, figure.ErrEmpty, "there are no panels"},
		{figure.Lines{Panels: []figure.LinePanel{{Title: "jpeg"}}}, figure.ErrEmpty, `panel 1 ("jpeg"): nothing to draw: there are no points`},
		{series(inf, false), figure.ErrEmpty, "there are no points"},
		{series(0, true), figure.ErrValue, `series "s" has x = 0`},
		{series(1, false, [2]float64{}, [2]float64{}), figure.ErrShape, `series "s" has 1 points and 2 intervals`},
		{figure.Histogram{BinWidth: 1}, figure.ErrEmpty, "no bin counts anything"},
		{figure.Histogram{BinWidth: 1, Counts: []int{0, 0}}, figure.ErrEmpty, "no bin counts anything"},
		{figure.Histogram{Counts: []int{1}}, figure.ErrValue, "of width 0"},
		{figure.Histogram{BinWidth: nan, Counts: []int{1}}, figure.ErrValue, "of width NaN"},
		{figure.Histogram{BinWidth: 1, Counts: []int{2, -1}}, figure.ErrValue, "bin 2 counts -1"},
		{figure.Matrix{}, figure.ErrEmpty, "no panel has cells"},
		{heat(figure.Heat{}), figure.ErrEmpty, "no panel has cells"},
		{heat(figure.Heat{Cells: append(cells, []figure.Cell{{}})}), figure.ErrShape, "row 2 has 1 cells, row 1 has 2"},
		{heat(figure.Heat{Cells: cells, Rows: []string{"a", "b"}}), figure.ErrShape, "has 1 rows and 2 labels"},
		{heat(figure.Heat{Cells: cells, Columns: []string{"a"}}), figure.ErrShape, "has 2 columns and 1 labels"},
		{figure.Matrix{Panels: [][]figure.Heat{{{Cells: cells}}}, Scale: figure.Scale{Min: 2, Max: 1}}, figure.ErrValue, "from 2 to 1"},
		{figure.Grid{}, figure.ErrEmpty, "no cell has an image"},
		{grid((*image.NRGBA)(nil)), figure.ErrEmpty, "no cell has an image"},
		{grid(nil, solid(2, 2, color.NRGBA{})), figure.ErrShape, "2 columns have 1 titles"},
	} {
		for _, draw := range []func() ([]byte, error){tt.f.SVG, tt.f.PNG} {
			data, err := draw()
			if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.say) || data != nil {
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
		series := figure.Series{Name: word(), Points: pairs(), Band: r.IntN(2) == 0}
		for range series.Points {
			series.Intervals = append(series.Intervals, [2]float64{number(), number()})
		}
		heat := figure.Heat{Title: word()}
		n := 1 + r.IntN(3)
		for range n {
			heat.Rows, heat.Columns = append(heat.Rows, word()), append(heat.Columns, word())
			var row []figure.Cell
			for range n {
				odd := []figure.Cell{figure.Pair(number(), number()), {Value: number()}, {Value: 1, Lines: []string{word()}}}
				row = append(row, odd[r.IntN(len(odd))])
			}
			heat.Cells = append(heat.Cells, row)
		}
		marks := []figure.Mark{{Name: word(), At: number()}, {Name: word(), At: number()}, {Name: word(), At: number()}}
		picture := func() figure.Picture {
			m, inset := solid(r.IntN(9), r.IntN(90), color.NRGBA{}), solid(r.IntN(50), r.IntN(3), color.NRGBA{})
			return figure.Picture{Image: m, Inset: inset, Caption: word()}
		}
		for _, f := range []figure.Figure{
			figure.Scatter{Panels: []figure.ScatterPanel{{
				Title: word(), XLabel: word(), YLabel: word(), Groups: []figure.Group{{Name: word(), Points: pairs()}},
			}}},
			figure.Lines{Panels: []figure.LinePanel{{
				Title: word(), XLabel: word(), YLabel: word(), Series: []figure.Series{series}, Levels: marks, LogX: r.IntN(2) == 0,
			}}},
			figure.Histogram{
				Title: word(), XLabel: word(), From: number(), BinWidth: number(), Counts: []int{r.IntN(9), r.IntN(1 << 40)},
				Marks: marks,
			},
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
			} else if !errors.Is(err, figure.ErrEmpty) && !errors.Is(err, figure.ErrShape) && !errors.Is(err, figure.ErrValue) {
				t.Fatalf("%T: %v", f, err)
			}
		}
	}
}
