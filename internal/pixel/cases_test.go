package pixel

import (
	"bytes"
	"errors"
	"image"
	"image/png"
	"strings"
	"testing"
)

// cases are files that were read wrongly once, after what people reported of such software. Each has the picture of another file, or is refused.
var cases = []struct {
	name, reference string
	tolerance       int
	transparent     bool
	refused         error // and in words
	says            string
}{
	{name: "chroma420.jpg", reference: "chroma420-jpg-reference.png", tolerance: 4},
	{name: "no-eoi-samsung-trailer.jpg", reference: "no-eoi-samsung-trailer-reference.png", tolerance: 4},
	{name: "exif-long6.jpg", reference: "exif-long6-reference.png", tolerance: 4},
	{name: "bilevel-g4.tif", reference: "bilevel-reference.png"},
	{name: "planar-tile512.tif", reference: "reference.png"},
	{name: "planar-strips.tif", reference: "reference.png"},
	{name: "fillorder2.tif", reference: "gray-reference.png"},
	{name: "extra-sample.tif", reference: "reference.png"},
	{name: "bmp32-v5-birgb.bmp", reference: "reference.png"},
	{name: "rgba.png", reference: "rgba-reference.png", tolerance: 1, transparent: true},
	{name: "scan-bomb.jpg", refused: ErrTooCostly, says: "4000x4000 with 2010 scans"},
}

func TestCases(t *testing.T) {
	t.Parallel()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			data := readTestdata(t, "cases/"+c.name)
			m, info, err := Decode(data, Limits{})
			if c.refused != nil {
				if !errors.Is(err, c.refused) || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("%v, want %v that says %q", err, c.refused, c.says)
				}
				if _, header := Header(data, Limits{}); !errors.Is(header, c.refused) {
					t.Fatalf("Header: %v, want %v", header, c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var want image.Image
			if want, err = png.Decode(bytes.NewReader(readTestdata(t, "cases/"+c.reference))); err != nil {
				t.Fatal(err)
			}
			if m.Rect.Size() != want.Bounds().Size() {
				t.Fatalf("%v, want %v", m.Rect, want.Bounds())
			}
			if info.Transparent != c.transparent {
				t.Errorf("transparent: %v", info.Transparent)
			}
			if d := difference(m, want); d > c.tolerance {
				t.Errorf("differs by %d levels, %d allowed", d, c.tolerance)
			}
		})
	}
}
