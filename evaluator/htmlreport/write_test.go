package htmlreport_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"image"
	"image/jpeg"
	"math"
	"slices"
	"strings"
	"testing"

	"stegomq/evaluator/htmlreport"
)

func write(t *testing.T, page *htmlreport.Page) string {
	t.Helper()
	var out bytes.Buffer
	if err := htmlreport.Write(&out, page); err != nil {
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
	again, err := page.AddPicture(paint(t, 42, 30, 2))
	if err != nil || again != 2 {
		t.Errorf("the same picture again is %d, %v, want 2", again, err)
	}
	text := write(t, page)
	for seed := range uint8(4) {
		encoded := base64.StdEncoding.EncodeToString(paint(t, 40+int(seed), 30, seed))
		if n := strings.Count(text, encoded); n != 1 {
			t.Errorf("picture %d is written %d times", seed, n)
		}
	}
}

func TestAddPictureRefuses(t *testing.T) {
	t.Parallel()
	for name, data := range map[string][]byte{"nothing": nil, "an SVG": []byte(svg), "text": []byte("GIF89a")} {
		if _, err := new(htmlreport.Page).AddPicture(data); !errors.Is(err, htmlreport.ErrPicture) {
			t.Errorf("%s: %v, want ErrPicture", name, err)
		}
	}
}

func TestThumbnail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ w, h, side, wantW, wantH int }{
		{256, 256, 160, 160, 160}, {300, 200, 150, 150, 100}, {200, 300, 150, 100, 150}, {40, 30, 160, 40, 30}, {1000, 1, 100, 100, 1},
	} {
		data, err := htmlreport.Thumbnail(image.NewNRGBA(image.Rect(5, 7, 5+c.w, 7+c.h)), c.side)
		if err != nil {
			t.Fatal(err)
		}
		m, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil || m.Bounds().Dx() != c.wantW || m.Bounds().Dy() != c.wantH {
			t.Errorf("%+v: got %v, %v", c, m.Bounds(), err)
		}
	}
	for _, side := range []int{0, -1} {
		if _, err := htmlreport.Thumbnail(image.NewNRGBA(image.Rect(0, 0, 9, 9)), side); !errors.Is(err, htmlreport.ErrPicture) {
			t.Errorf("side %d: %v, want ErrPicture", side, err)
		}
	}
	if _, err := htmlreport.Thumbnail(image.NewNRGBA(image.Rectangle{}), 9); !errors.Is(err, htmlreport.ErrPicture) {
		t.Errorf("an empty image: %v, want ErrPicture", err)
	}
}

// TestThumbnailOfFlatColour shows that shrinking neither shifts colours nor reads beside the image.
func TestThumbnailOfFlatColour(t *testing.T) {
	t.Parallel()
	m := image.NewNRGBA(image.Rect(0, 0, 400, 400))
	for i := range m.Pix {
		m.Pix[i] = []uint8{200, 100, 50, 255}[i%4]
	}
	data, err := htmlreport.Thumbnail(m.SubImage(image.Rect(30, 30, 333, 222)), 64)
	if err != nil {
		t.Fatal(err)
	}
	small, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for y := range small.Bounds().Dy() {
		for x := range small.Bounds().Dx() {
			r, g, b, _ := small.At(x, y).RGBA()
			for i, v := range []uint32{r, g, b} {
				if d := int(v>>8) - []int{200, 100, 50}[i]; d < -3 || d > 3 {
					t.Fatalf("pixel (%d, %d) is %d %d %d", x, y, r>>8, g>>8, b>>8)
				}
			}
		}
	}
}

// TestWorstFirst looks at the rows without JavaScript: which come first is Go's business.
func TestWorstFirst(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	for name, c := range map[string]struct {
		better   htmlreport.Better
		reversed []bool
		values   []float64
		want     []string
		sort     string
	}{
		"higher is better": {htmlreport.Higher, make([]bool, 5), []float64{30, nan, 9.5, inf, 10}, []string{"9.5", "10.0", "30.0", "∞", "–"}, "ascending"},
		"lower is better":  {htmlreport.Lower, make([]bool, 4), []float64{30, nan, 9.5, 10}, []string{"30.0", "10.0", "9.5", "–"}, "descending"},
		"leakage":          {htmlreport.Higher, []bool{true, true, true}, []float64{9, 12, -inf}, []string{"12.0", "9.0", "-∞"}, "descending"},
		"both":             {htmlreport.Higher, []bool{false, true, false, true}, []float64{30, 8, 20, 9}, []string{"9.0", "8.0", "20.0", "30.0"}, "other"},
		"lower, both":      {htmlreport.Lower, []bool{false, true, false, true}, []float64{30, 8, 20, 9}, []string{"8.0", "9.0", "30.0", "20.0"}, "other"},
		"no better end":    {htmlreport.Neither, make([]bool, 3), []float64{2, 3, 1}, []string{"2.0", "3.0", "1.0"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			items := &htmlreport.Items{Columns: []htmlreport.Column{
				{Name: "item", Title: "Item"}, {Name: "psnr", Title: "PSNR", Kind: htmlreport.Number, Decimals: 1, Better: c.better},
			}}
			for i, v := range c.values {
				items.Rows = append(items.Rows, htmlreport.ItemRow{Reversed: c.reversed[i], Values: []htmlreport.Value{{Text: "pair"}, {Number: v}}})
			}
			text := write(t, &htmlreport.Page{Sections: []htmlreport.Section{{ID: "items", Items: items}}})
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
	number := htmlreport.Column{Name: "psnr", Kind: htmlreport.Number, Better: htmlreport.Higher}
	items := func(it htmlreport.Items) []htmlreport.Section {
		return []htmlreport.Section{{ID: "items", Items: &it}}
	}
	table := func(table htmlreport.Table) []htmlreport.Section {
		return []htmlreport.Section{{ID: "a", Tables: []htmlreport.Table{table}}}
	}
	matrix := func(m htmlreport.Matrix) []htmlreport.Section {
		return []htmlreport.Section{{ID: "a", Matrices: []htmlreport.Matrix{m}}}
	}
	figure := func(f htmlreport.Figure) []htmlreport.Section {
		return []htmlreport.Section{{ID: "a", Figures: []htmlreport.Figure{f}}}
	}
	drawing := []byte(svg)
	for want, sections := range map[string][]htmlreport.Section{
		`a section cannot be named "Table 1"`:                  {{ID: "Table 1"}},
		`a section cannot be named "viewer"`:                   {{ID: "viewer"}},
		`a section cannot be named "a", or two are`:            {{ID: "a"}, {ID: "a"}},
		`a figure cannot be named "a", or two are`:             figure(htmlreport.Figure{Name: "a", SVG: drawing}),
		`figure "": not a picture`:                             figure(htmlreport.Figure{}),
		"neither width and height":                             figure(htmlreport.Figure{SVG: []byte(`<svg width="50%" height="3em"/>`)}),
		"read the root of an SVG":                              figure(htmlreport.Figure{SVG: []byte("not markup")}),
		`its groups cover 1 of 2 columns`:                      table(htmlreport.Table{Head: []string{"a", "b"}, Groups: []htmlreport.Group{{Columns: 1}}}),
		`group "g" has no columns`:                             table(htmlreport.Table{Head: []string{"a"}, Groups: []htmlreport.Group{{Columns: 1}, {Text: "g"}}}),
		`row 0 has 2 cells for 3 columns`:                      table(htmlreport.Table{Head: make([]string, 3), Rows: [][]htmlreport.Cell{make([]htmlreport.Cell, 2)}}),
		`unknown class "bold"`:                                 table(htmlreport.Table{Head: make([]string, 1), Rows: [][]htmlreport.Cell{{{Class: "bold"}}}}),
		`has 1 rows and names 0`:                               matrix(htmlreport.Matrix{Cells: make([][]htmlreport.MatrixCell, 1)}),
		`row 0 has 1 cells for 0 columns`:                      matrix(htmlreport.Matrix{Rows: make([]string, 1), Cells: [][]htmlreport.MatrixCell{{{}}}}),
		`level 1.5 is not within 0 and 1`:                      matrix(htmlreport.Matrix{Rows: make([]string, 1), Columns: make([]string, 1), Cells: [][]htmlreport.MatrixCell{{{Level: 1.5}}}}),
		`matrix "" shows picture 7: add it to this page first`: matrix(htmlreport.Matrix{Rows: make([]string, 1), Columns: make([]string, 1), Cells: [][]htmlreport.MatrixCell{{{Pictures: []htmlreport.Shown{{Picture: 7}}}}}}),
		`there are no columns`:                                 items(htmlreport.Items{}),
		`a column cannot be named "sort"`:                      items(htmlreport.Items{Columns: []htmlreport.Column{{Name: "sort"}}}),
		`a column cannot be named "psnr", or two are`:          items(htmlreport.Items{Columns: []htmlreport.Column{number, number}}),
		`and 10 decimals do not go together`:                   items(htmlreport.Items{Columns: []htmlreport.Column{{Name: "a", Kind: htmlreport.Number, Decimals: 10}}}),
		`kind 0, better 1`:                                     items(htmlreport.Items{Columns: []htmlreport.Column{{Name: "a", Better: htmlreport.Higher}}}),
		`the worst of "ssim" cannot come first`:                items(htmlreport.Items{Columns: []htmlreport.Column{number}, Worst: "ssim"}),
		`row 0 has 0 values for 1 columns`:                     items(htmlreport.Items{Columns: []htmlreport.Column{number}, Rows: make([]htmlreport.ItemRow, 1)}),
		`items: row 0 shows picture -1`:                        items(htmlreport.Items{Columns: []htmlreport.Column{number}, Rows: []htmlreport.ItemRow{{Values: make([]htmlreport.Value, 1), Pictures: []htmlreport.Shown{{Picture: -1}}}}}),
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := htmlreport.Write(&out, &htmlreport.Page{Sections: sections})
			if !errors.Is(err, htmlreport.ErrPage) || !strings.Contains(err.Error(), want) {
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
	err := htmlreport.Write(new(bytes.Buffer), &htmlreport.Page{Sections: []htmlreport.Section{{ID: "A"}, {ID: "B"}}})
	if err == nil || !strings.Contains(err.Error(), `"A"`) || !strings.Contains(err.Error(), `"B"`) {
		t.Errorf("the error is %v, want both names", err)
	}
}

// TestWriteReturnsTheWritersError lets writing fail at every kind of place.
func TestWriteReturnsTheWritersError(t *testing.T) {
	t.Parallel()
	size := len(write(t, sample(t)))
	for _, room := range []int{0, size / 2, size - 1} {
		if err := htmlreport.Write(&full{room}, sample(t)); !errors.Is(err, errFull) {
			t.Errorf("with room for %d of %d bytes: %v", room, size, err)
		}
	}
	if err := htmlreport.Write(&full{size}, sample(t)); err != nil {
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
