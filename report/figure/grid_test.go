package figure_test

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/png"
	"regexp"
	"testing"

	"stegomq/report/figure"
)

var (
	red   = color.NRGBA{R: 250, G: 10, B: 20, A: 255}
	green = color.NRGBA{R: 10, G: 250, B: 20, A: 255}
	blue  = color.NRGBA{R: 10, G: 20, B: 250, A: 255}
)

// stripes has columns of two colours, one pixel wide: what is smoothed or moved by a part of a pixel shows.
func stripes(n int) *image.NRGBA {
	m := solid(n, n, red)
	for y := range n {
		for x := 0; x < n; x += 2 {
			m.SetNRGBA(x, y, blue)
		}
	}
	return m
}

func pictures(columns int, m image.Image) figure.Grid {
	row := figure.PictureRow{Label: "stego", Pictures: make([]figure.Picture, columns)}
	row.Pictures[columns-1] = figure.Picture{Image: m, Caption: "33.8 dB"}
	return figure.Grid{Rows: []figure.PictureRow{row}, Width: figure.Page}
}

func TestGridKeepsPixels(t *testing.T) {
	t.Parallel()
	// Seven columns of a page are 0.93 inches each: 256 pixels are 275 dots per inch.
	m := pngOf(t, pictures(7, stripes(256)))
	reds, nr := area(m, red)
	blues, nb := area(m, blue)
	if nr != 256*128 || nb != 256*128 {
		t.Errorf("%d red and %d blue pixels, want 32768 of each", nr, nb)
	}
	if at := reds.Union(blues); at.Dx() != 256 || at.Dy() != 256 {
		t.Errorf("the image is drawn at %v", at)
	}
}

func TestGridRepeatsSmallPixelsAndReducesLargeImages(t *testing.T) {
	t.Parallel()
	m := pngOf(t, pictures(7, stripes(50)))
	at, n := area(m, red)
	if k := n / (50 * 25); k != 16 || n != k*50*25 || at.Dy() != 200 { // 54 dots per inch, four times
		t.Errorf("%d red pixels at %v: want each of 1250 four times in both directions", n, at)
	}
	m = pngOf(t, pictures(7, solid(1024, 512, green)))
	if at, n := area(m, green); at.Dx() > 380 || at.Dx() < 365 || n != at.Dx()*at.Dy() || (at.Dx()+1)/2 != at.Dy() {
		t.Errorf("an image of 1024x512 is drawn at %v in %d pixels, want 400 dots per inch", at, n)
	}
}

func TestGridInset(t *testing.T) {
	t.Parallel()
	g := pictures(7, solid(256, 256, red))
	g.Rows[0].Pictures[6].Inset = solid(256, 256, green)
	m := pngOf(t, g)
	whole, _ := area(m, red)
	inset, n := area(m, green)
	if n != 102*102 || inset.Max != whole.Max.Add(image.Pt(0, 0)) && inset.Max.X != inset.Min.X+102 {
		t.Errorf("the inset has %d pixels at %v, want 0.4 of 256 in both directions", n, inset)
	}
	if inset.Min.X < whole.Min.X+150 || inset.Min.Y < whole.Min.Y+150 {
		t.Errorf("the inset at %v is not in the lower right corner of %v", inset, whole)
	}
}

func TestGridAsSVG(t *testing.T) {
	t.Parallel()
	g := pictures(2, stripes(60))
	g.Columns = []string{"cover", "PUSNet-MK with many more than four keys"}
	svg := svgOf(t, g)
	wants(t, svg, "cover", "PUSNet-MK with many more", "than four keys", "stego", "33.8 dB")
	images := regexp.MustCompile(`<image [^>]*xlink:href="data:image/png;base64,([^"]*)"`).FindAllStringSubmatch(svg, -1)
	if len(images) != 1 {
		t.Fatalf("%d images", len(images))
	}
	data, err := base64.StdEncoding.DecodeString(images[0][1])
	if err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if _, n := area(m, red); m.Bounds().Dx() != 60 || n != 60*30 {
		t.Errorf("an image of %v with %d red pixels, want the one that was given", m.Bounds(), n)
	}
}

func TestResidual(t *testing.T) {
	t.Parallel()
	a, b := solid(3, 2, color.NRGBA{R: 100, G: 50, B: 7}), solid(2, 5, color.NRGBA{R: 90, G: 53, B: 250})
	got := figure.Residual(a, b, 2.5)
	if got.Rect != image.Rect(0, 0, 2, 2) {
		t.Fatalf("the residual has %v, want what both images have", got.Rect)
	}
	want := color.NRGBA{R: 25, G: 8, B: 255, A: 255} // 7.5 is rounded up, 607.5 is cut
	if _, n := area(got, want); n != 4 {
		t.Errorf("colour %v, want %v", got.At(0, 0), want)
	}
	// Parts of images begin where their rectangles do.
	part := a.SubImage(image.Rect(1, 1, 3, 2)).(*image.NRGBA)
	part.SetNRGBA(1, 1, color.NRGBA{A: 255})
	if got := figure.Residual(part, solid(2, 1, color.NRGBA{}), 1); got.NRGBAAt(0, 0) != (color.NRGBA{A: 255}) || got.NRGBAAt(1, 0).R != 100 {
		t.Errorf("residual of a part: %v, %v", got.NRGBAAt(0, 0), got.NRGBAAt(1, 0))
	}
	for _, gain := range []float64{-1, nan, inf} {
		if _, n := area(figure.Residual(a, b, gain), color.NRGBA{A: 255}); n != 4 {
			t.Errorf("a gain of %v is not black", gain)
		}
	}
	if got := figure.Residual(nil, b, 1); !got.Rect.Empty() {
		t.Errorf("the residual of nothing has %v", got.Rect)
	}
}
