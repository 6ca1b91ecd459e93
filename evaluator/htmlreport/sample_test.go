package htmlreport_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"testing"

	"stegomq/evaluator/htmlreport"
)

// hostile is a file name that tries every way out of where it stands.
const hostile = `"'><img src=x onerror=alert(1)></script></style></template>--><script>alert(2)</script>{{.}}${1}\u003c&amp;.png`

// paint is an image that no other seed gives.
func paint(t testing.TB, width, height int, seed uint8) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			m.SetNRGBA(x, y, color.NRGBA{uint8(x) ^ seed, uint8(y) + 3*seed, uint8(x*y) + seed, 255})
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, m); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const svg = `<?xml version="1.0"?><!-- a comment --><svg xmlns="http://www.w3.org/2000/svg" width="150pt" height="75pt"
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
func sample(t testing.TB) *htmlreport.Page {
	t.Helper()
	p := &htmlreport.Page{
		Title: "A report on " + hostile, Subtitle: "with everything in it", Generated: "by a test",
		Facts: []htmlreport.Fact{{Name: "model", Value: "tiny"}, {Name: "file", Value: hostile}},
	}
	var shown []htmlreport.Shown
	for i, title := range []string{"cover", "secret", "stego", "recovered"} {
		ref, err := p.AddPicture(paint(t, 40+i, 30, uint8(i)))
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, htmlreport.Shown{Picture: ref, Title: title})
	}
	shown[3].Note = "31.20 dB, SSIM 0.940"

	table := htmlreport.Table{
		Caption: "Table 1. What " + hostile + " measures.",
		Groups:  []htmlreport.Group{{Columns: 1}, {Text: "bsds", Columns: 2}, {Text: "imagenet", Columns: 2}},
		Head:    []string{"Method", "PSNR", "SSIM", "PSNR", "Remark"},
		Rows: [][]htmlreport.Cell{
			{{Text: "imperceptibility"}},
			{{Text: "LSB-4"}, {Text: "31.10", Note: "[30, 32]"}, {Text: "0.951"}, {Text: "–", Class: htmlreport.Missing}, {Text: `says "no", often`}},
			{{Text: hostile}, {Text: "33.77", Class: htmlreport.Best, Title: hostile}, {Text: "0.959", Class: htmlreport.Paper}, {Text: "9.1"}, {Text: "1 of 2"}},
		},
		Notes: []string{hostile},
	}
	matrix := htmlreport.Matrix{
		Title: "K = 2", RowAxis: "embedded with", ColumnAxis: "decoded with", Measures: []string{"PSNR dB", "SSIM"},
		Rows: []string{"a", hostile}, Columns: []string{"a", "b"}, Note: "mean over pairs",
		Cells: [][]htmlreport.MatrixCell{
			{{Lines: []string{"31.20", "0.940"}, Level: 1, Pictures: shown}, {Lines: []string{"8.80", "0.120"}, Level: 0.1, Pictures: shown[:2]}},
			{{Lines: []string{"no score"}, Level: math.NaN()}, {Lines: []string{"30.10", "0.930"}, Level: 0.95, Pictures: shown[1:]}},
		},
	}
	items := &htmlreport.Items{Elsewhere: "items.csv", Columns: []htmlreport.Column{
		{Name: "pair", Title: "Pair"},
		{Name: "method", Title: "Method", Kind: htmlreport.Choice},
		{Name: "psnr", Title: "PSNR dB", Kind: htmlreport.Number, Decimals: 2, Better: htmlreport.Higher},
		{Name: "mae", Title: "MAE", Kind: htmlreport.Number, Decimals: 4, Better: htmlreport.Lower},
		{Name: "cover", Title: "Cover file"},
	}}
	for i := range sampleRows {
		items.Rows = append(items.Rows, htmlreport.ItemRow{Pictures: shown, Values: []htmlreport.Value{
			{Text: fmt.Sprintf("%04d", i)}, {Text: []string{"HiNet", "PUSNet & co"}[i%2]}, {Number: samplePSNR(i)},
			{Number: 1 / (1 + float64(i))}, {Text: sampleFile(i)},
		}})
	}
	items.Rows[3].Pictures = nil
	p.Sections = []htmlreport.Section{
		{ID: "words", Title: "In words", Paragraphs: []string{"One.", hostile}, Points: []string{"first", hostile}},
		{ID: "table-1", Title: "Table 1", Tables: []htmlreport.Table{table}},
		{ID: "figures", Title: "Figures", Figures: []htmlreport.Figure{
			{Name: "fig-1", Caption: "Fig. 1. " + hostile, SVG: []byte(svg)}, {Caption: "Fig. 2", Alt: "stripes", PNG: paint(t, 90, 60, 9)},
		}},
		{ID: "fig-5", Title: "Fig. 5", Matrices: []htmlreport.Matrix{matrix, {Title: "empty"}}},
		{ID: "items", Title: "Items", Items: items},
	}
	return p
}
