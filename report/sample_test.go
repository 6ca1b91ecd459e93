package report_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"math"
	"slices"
	"testing"

	"stegomq/report"
)

// hostile is a file name that tries every way out of where it stands.
const hostile = `"'><img src=x onerror=alert(1)></script></style></template>--><script>alert(2)</script>{{.}}${1}\u003c&amp;.png`

// images are those of the sample: of four sizes.
func images(file string) (*image.NRGBA, error) {
	i := slices.Index([]string{"cover", "secret", "stego", "recovered"}, file)
	if i < 0 {
		return nil, fs.ErrNotExist
	}
	return stripes(40+i, 30, uint8(i)), nil
}

// stripes is an image that no other seed gives.
func stripes(width, height int, seed uint8) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			m.SetNRGBA(x, y, color.NRGBA{uint8(x) ^ seed, uint8(y) + 3*seed, uint8(x*y) + seed, 255})
		}
	}
	return m
}

// paint is a file of one.
func paint(t testing.TB, width, height int, seed uint8) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, stripes(width, height, seed)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="150pt" height="75pt"
	viewBox="0 0 150 75"><script>alert(3)</script><rect width="150" height="75" fill="#fff"/><circle cx="40" cy="30" r="9"/></svg>`

// sampleRows is more than two pages of items.
const sampleRows = 130

// sampleFile names the cover of row i; one name is hostile.
func sampleFile(i int) string {
	if i == 7 {
		return hostile
	}
	return fmt.Sprintf("%s %d.png", []string{"cat", "dog", "bird"}[i%3], i)
}

// samplePSNR is different in every row, missing in row 17 and infinite in row 18.
func samplePSNR(i int) float64 {
	switch i {
	case 17:
		return math.NaN()
	case 18:
		return math.Inf(1)
	}
	return 5 + float64(i*37%sampleRows)/4
}

// sample is a page with everything in it.
func sample(t testing.TB) *report.Document {
	t.Helper()
	p := &report.Document{
		Title: "A report on " + hostile, Subtitle: "with everything in it", Generated: "by a test",
		Facts: []report.Fact{{Name: "model", Value: "tiny"}, {Name: "file", Value: hostile}},
	}
	var shown []report.Picture
	for i, title := range []string{"cover", "secret", "stego", "recovered"} {
		shown = append(shown, report.Picture{File: title, Side: 40 + i, Title: title})
	}
	shown[3].Note = "31.20 dB, SSIM 0.940"

	table := report.Table{
		Title: "Table 1. What " + hostile + " measures.",
		Head:  []string{"Method", "PSNR", "SSIM", "PSNR of others", "Remark"},
		Rows: [][]string{
			{"LSB-4", "31.10 [30, 32]", "0.951", "-", `says "no", often`},
			{hostile, "33.77", "0.959", "9.1", "1 of 2"},
		},
		Notes: []string{hostile},
	}
	matrix := report.Matrix{
		Title: "K = 2", RowAxis: "embedded with", ColumnAxis: "decoded with", Measures: []string{"PSNR dB", "SSIM"},
		Rows: []string{"a", hostile}, Columns: []string{"a", "b"}, Note: "mean over pairs",
		Cells: [][]report.MatrixCell{
			{{Lines: []string{"31.20", "0.940"}, Level: 1, Pictures: shown}, {Lines: []string{"8.80", "0.120"}, Level: 0.1, Pictures: shown[:2]}},
			{{Lines: []string{"no score"}, Level: math.NaN()}, {Lines: []string{"30.10", "0.930"}, Level: 0.95, Pictures: shown[1:]}},
		},
	}
	items := &report.Items{Elsewhere: "items.csv", Columns: []report.Column{
		{Name: "pair", Title: "Pair"},
		{Name: "method", Title: "Method", Kind: report.Choice},
		{Name: "psnr", Title: "PSNR dB", Kind: report.Number, Decimals: 2, Better: report.Higher},
		{Name: "mae", Title: "MAE", Kind: report.Number, Decimals: 4, Better: report.Lower},
		{Name: "cover", Title: "Cover file"},
	}}
	for i := range sampleRows {
		items.Rows = append(items.Rows, report.ItemRow{Pictures: shown, Values: []report.Value{
			{Text: fmt.Sprintf("%04d", i)}, {Text: []string{"HiNet", "PUSNet & co"}[i%2]}, {Number: samplePSNR(i)},
			{Number: 1 / (1 + float64(i))}, {Text: sampleFile(i)},
		}})
	}
	items.Rows[3].Pictures = nil
	p.Sections = []report.Section{
		{ID: "words", Title: "In words", Paragraphs: []string{"One.", hostile}, Points: []string{"first", hostile}},
		{ID: "table-1", Title: "Table 1", Tables: []report.Table{table}},
		{ID: "figures", Title: "Figures", Figures: []report.Figure{
			{Name: "fig-1", Caption: "Fig. 1. " + hostile, SVG: []byte(svg)}, {Name: "fig-2", Caption: "Fig. 2", PNG: paint(t, 90, 60, 9)},
		}},
		{ID: "fig-5", Title: "Fig. 5", Matrices: []report.Matrix{matrix, {Title: "empty"}}},
		{ID: "items", Title: "Items", Items: items},
	}
	return p
}
