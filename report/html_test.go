package report_test

import (
	"bytes"
	"errors"
	"image"
	"math"
	"slices"
	"strings"
	"testing"

	"stegomq/report"
)

func write(t *testing.T, page *report.Document) string {
	t.Helper()
	var out bytes.Buffer
	if err := page.HTML(&out, images); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestWriteRepeatsItself(t *testing.T) {
	t.Parallel()
	first := write(t, sample(t))
	if second := write(t, sample(t)); first != second {
		t.Error("the same page gives other bytes")
	}
	if !strings.HasPrefix(first, "<!DOCTYPE html>\n<html lang=") || !strings.HasSuffix(first, "</html>\n") {
		t.Errorf("the page begins with %.40q and ends with %q", first, first[len(first)-20:])
	}
	if strings.Contains(first, "ZgotmplZ") {
		t.Error("html/template refused a value: ZgotmplZ is in the page")
	}
}

func TestPicturesAreWrittenOnce(t *testing.T) {
	t.Parallel()
	page := sample(t)
	text := write(t, page)
	if n := strings.Count(text, `<script type="text/plain" id="picture-`); n != 4 {
		t.Errorf("%d pictures are written, want 4", n)
	}
	// Another file with the same image, and one that is not there.
	items := page.Sections[4].Items
	items.Rows[5].Pictures = []report.Picture{{File: "copy", Side: 41, Title: "copy"}, {File: "none", Side: 41, Title: "none"}}
	var out bytes.Buffer
	err := page.HTML(&out, func(file string) (*image.NRGBA, error) { return images(strings.Replace(file, "copy", "secret", 1)) })
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), `<script type="text/plain" id="picture-`); n != 4 || !strings.Contains(out.String(), `[1,"copy"]`) || strings.Contains(out.String(), `"none"`) {
		t.Errorf("%d pictures are written, want 4; a copy is the picture that is there, and what is not there is not shown", n)
	}
}

// A file that is there and cannot be read is an error; one that has no room is left out, and the page says so.
func TestPicturesThatAreNotThere(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	page := sample(t)
	if err := page.HTML(new(bytes.Buffer), func(string) (*image.NRGBA, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	page.Room = 2000 // of thumbnails of 1.4 kB or so
	text := write(t, page)
	if n := strings.Count(text, `<script type="text/plain" id="picture-`); n != 1 || !strings.Contains(text, "3 thumbnails were left out") {
		t.Errorf("%d pictures have room; the foot says %q", n, text[strings.Index(text, "<footer>"):][:100])
	}
}

func TestThumbnail(t *testing.T) {
	t.Parallel()
	m := image.NewNRGBA(image.Rect(5, 7, 305, 207))
	for i := range m.Pix {
		m.Pix[i] = []uint8{200, 100, 50, 255}[i%4]
	}
	for side, want := range map[int]image.Point{150: {150, 100}, 400: {300, 200}, 1: {1, 1}} {
		small := report.Shrunk(m.SubImage(m.Rect), side)
		if got := small.Bounds().Size(); got != want {
			t.Errorf("side %d: %v, want %v", side, got, want)
		}
		// Shrinking neither shifts colours nor reads beside the image.
		if r, g, b, _ := small.At(small.Bounds().Min.X, small.Bounds().Min.Y).RGBA(); r>>8 != 200 || g>>8 != 100 || b>>8 != 50 {
			t.Errorf("side %d: the colour is %d %d %d", side, r>>8, g>>8, b>>8)
		}
	}
	for name, p := range map[string]report.Picture{"no side": {File: "cover"}, "an empty image": {File: "empty", Side: 9}} {
		page := report.Document{Sections: []report.Section{{ID: "a", Matrices: []report.Matrix{{
			Rows: []string{"a"}, Columns: []string{"b"}, Cells: [][]report.MatrixCell{{{Pictures: []report.Picture{p}}}},
		}}}}}
		err := page.HTML(new(bytes.Buffer), func(file string) (*image.NRGBA, error) {
			if file == "empty" {
				return new(image.NRGBA), nil
			}
			return images(file)
		})
		if !errors.Is(err, report.ErrPicture) {
			t.Errorf("%s: %v, want ErrPicture", name, err)
		}
	}
}

// TestWorstFirst looks at the rows without JavaScript: which come first is Go's business.
func TestWorstFirst(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	for name, c := range map[string]struct {
		better report.Better
		values []float64
		want   []string
		sort   string
	}{
		"higher is better": {report.Higher, []float64{30, nan, 9.5, inf, 10}, []string{"9.5", "10.0", "30.0", "∞", "–"}, "ascending"},
		"lower is better":  {report.Lower, []float64{30, nan, 9.5, 10}, []string{"30.0", "10.0", "9.5", "–"}, "descending"},
		"no better end":    {report.Neither, []float64{2, 3, 1}, []string{"2.0", "3.0", "1.0"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			items := &report.Items{Columns: []report.Column{
				{Name: "item", Title: "Item"}, {Name: "psnr", Title: "PSNR", Kind: report.Number, Decimals: 1, Better: c.better},
			}}
			for _, v := range c.values {
				items.Rows = append(items.Rows, report.ItemRow{Values: []report.Value{{Text: "pair"}, {Number: v}}})
			}
			text := write(t, &report.Document{Sections: []report.Section{{ID: "items", Items: items}}})
			var got []string
			for _, cell := range strings.Split(text, `<td class="number">`)[1:] {
				value, _, _ := strings.Cut(cell, "<")
				got = append(got, value)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("rows are %q, want %q", got, c.want)
			}
			if has := strings.Contains(text, `aria-sort="`+c.sort+`"`); c.sort != "" && !has || c.sort == "" && strings.Contains(text, ` aria-sort="`) {
				t.Errorf("the column does not say %q", c.sort)
			}
		})
	}
}

func TestWriteRefuses(t *testing.T) {
	t.Parallel()
	number := report.Column{Name: "psnr", Kind: report.Number, Better: report.Higher}
	items := func(it report.Items) []report.Section {
		return []report.Section{{ID: "items", Items: &it}}
	}
	table := func(table report.Table) []report.Section {
		return []report.Section{{ID: "a", Tables: []report.Table{table}}}
	}
	matrix := func(m report.Matrix) []report.Section {
		return []report.Section{{ID: "a", Matrices: []report.Matrix{m}}}
	}
	figure := func(f report.Figure) []report.Section {
		return []report.Section{{ID: "a", Figures: []report.Figure{f}}}
	}
	drawing := []byte(svg)
	for want, sections := range map[string][]report.Section{
		`a section cannot be named "Table 1"`:         {{ID: "Table 1"}},
		`a section cannot be named "viewer"`:          {{ID: "viewer"}},
		`a section cannot be named "a", or two are`:   {{ID: "a"}, {ID: "a"}},
		`a figure cannot be named "a", or two are`:    figure(report.Figure{Name: "a", SVG: drawing}),
		`a figure cannot be named ""`:                 figure(report.Figure{}),
		`row 0 has 2 cells for 3 columns`:             table(report.Table{Head: make([]string, 3), Rows: [][]string{make([]string, 2)}}),
		`has 1 rows and names 0`:                      matrix(report.Matrix{Cells: make([][]report.MatrixCell, 1)}),
		`row 0 has 1 cells for 0 columns`:             matrix(report.Matrix{Rows: make([]string, 1), Cells: [][]report.MatrixCell{{{}}}}),
		`a column cannot be named "sort"`:             items(report.Items{Columns: []report.Column{{Name: "sort"}}}),
		`a column cannot be named "psnr", or two are`: items(report.Items{Columns: []report.Column{number, number}}),
		`the worst of "ssim" cannot come first`:       items(report.Items{Columns: []report.Column{number}, Worst: "ssim"}),
		`row 0 has 0 values for 1 columns`:            items(report.Items{Columns: []report.Column{number}, Rows: make([]report.ItemRow, 1)}),
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := (&report.Document{Sections: sections}).HTML(&out, images)
			if !errors.Is(err, report.ErrDocument) || !strings.Contains(err.Error(), want) {
				t.Errorf("the error is %v", err)
			}
			if out.Len() > 0 {
				t.Errorf("%d bytes were written", out.Len())
			}
		})
	}
}

func TestWriteNamesEveryFault(t *testing.T) {
	t.Parallel()
	err := (&report.Document{Sections: []report.Section{{ID: "A"}, {ID: "B"}}}).HTML(new(bytes.Buffer), nil)
	if err == nil || !strings.Contains(err.Error(), `"A"`) || !strings.Contains(err.Error(), `"B"`) {
		t.Errorf("the error is %v, want both names", err)
	}
}

// TestWriteReturnsTheWritersError lets writing fail at every kind of place.
func TestWriteReturnsTheWritersError(t *testing.T) {
	t.Parallel()
	size := len(write(t, sample(t)))
	for _, room := range []int{0, size / 2, size - 1} {
		if err := sample(t).HTML(&full{room}, images); !errors.Is(err, errFull) {
			t.Errorf("with room for %d of %d bytes: %v", room, size, err)
		}
	}
	if err := sample(t).HTML(&full{size}, images); err != nil {
		t.Errorf("with room for all: %v", err)
	}
}

var errFull = errors.New("full")

// full is a writer with room for so many bytes.
type full struct{ room int }

func (f *full) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}
