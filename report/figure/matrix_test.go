package figure_test

import (
	"testing"

	"stegomq/report/figure"
)

func TestMatrixColoursFollowTheValues(t *testing.T) {
	t.Parallel()
	cells := func(v ...float64) figure.Heat {
		return figure.Heat{{{v[0], 0.9}, {v[1], 0.1}}, {{v[2], 0.1}, {v[3], 0.9}}}
	}
	m := pngOf(t, figure.Matrix{Panels: [][]figure.Heat{{cells(20, 12, 11, 21), cells(19, 8, 11, 30)}}, Scale: figure.Scale{Min: 8, Max: 30}})
	// The largest value is the lower right cell of the right panel, the smallest the upper right: one scale for both
	// panels. A cell is 24 by 19.5 points, 100 by 81 pixels.
	dark, n := area(m, figure.Dark)
	if n < 4000 || n > 8100 {
		t.Errorf("%d pixels have the dark end of the scale, want about one cell", n)
	}
	light, n := area(m, figure.Light)
	if n < 4000 || n > 8100 {
		t.Errorf("%d pixels have the light end of the scale, want about one cell", n)
	}
	if dark.Min.X != light.Min.X || dark.Min.Y < light.Max.Y {
		t.Errorf("the largest value is drawn at %v, the smallest at %v: want it below", dark, light)
	}
	if dark.Dx() < 98 || dark.Dx() > 102 || dark.Dy() < 78 || dark.Dy() > 83 {
		t.Errorf("the darkest cell is %v", dark)
	}
	// The matrix stands left of the bar and leaves it some room.
	if m.Bounds().Dx()-dark.Max.X < 60 {
		t.Errorf("there is no room for a bar right of %v in %v", dark, m.Bounds())
	}
}

func TestMatrixTexts(t *testing.T) {
	t.Parallel()
	svg := svgOf(t, examples()["matrix"])
	wants(t, svg, "28.14", "0.944", "11.06", "0.125", "–", "∞", "1.000", "not measured",
		"α = 0.9", "K = 2", "K = 4", "embedded with", "decoded with", "PSNR (dB)", "15", "20")
	// Two values are finite and have a colour: the ends of the scale. The others have none.
	if n := count(svg, `style="fill:#0B2C66"`); n != 1 {
		t.Errorf("%d cells are dark", n)
	}
	if n := count(svg, `style="fill:#F4F7FB"`); n != 1 {
		t.Errorf("%d cells are light", n)
	}
}

// The matrix of eight keys is no wider than a paper's column and a little.
func TestMatrixOfEightFitsAColumn(t *testing.T) {
	t.Parallel()
	var h figure.Heat
	for i := range 8 {
		var row []figure.Cell
		for j := range 8 {
			row = append(row, figure.Cell{PSNR: 11 + float64(16*((i+j)%8/7)), SSIM: 0.125})
		}
		h = append(h, row)
	}
	m := pngOf(t, figure.Matrix{
		Panels: [][]figure.Heat{{h}}, RowsAre: "embedded", ColumnsAre: "decoded", Scale: figure.Scale{Label: "PSNR (dB)", Max: 30},
	})
	if w := m.Bounds().Dx(); w > 1075 {
		t.Errorf("it is %d pixels wide, 91 mm are 1075", w)
	}
}

func TestMatrixBeyondItsScale(t *testing.T) {
	t.Parallel()
	f := figure.Matrix{
		Panels: [][]figure.Heat{{{{{PSNR: 30}, {PSNR: 0}, {PSNR: 99}}}}},
		Scale:  figure.Scale{Min: 5, Max: 30},
	}
	svg := svgOf(t, f)
	if dark, light := count(svg, `style="fill:#0B2C66"`), count(svg, `style="fill:#F4F7FB"`); dark != 2 || light != 1 {
		t.Errorf("%d cells at or above the end are dark, %d below the start light", dark, light)
	}
	wants(t, svg, "30.00", "0.00", "99.00", "5", "30")
}
