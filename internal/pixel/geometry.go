package pixel

import (
	"fmt"
	"image"

	"github.com/disintegration/imaging"
)

// Policy says how an image of another shape becomes Width x Height.
type Policy uint8

// The policies.
const (
	// Squash resizes each axis by itself; the aspect ratio changes.
	Squash Policy = iota
	// Crop takes the largest centred part that has the aspect ratio, then resizes it.
	Crop
)

func (p Policy) String() string {
	switch p {
	case Squash:
		return "squash"
	case Crop:
		return "crop"
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

// Geometry is the size that images are given before they enter a network. The zero value keeps
// every image's own size. It is comparable and may be a map key.
type Geometry struct {
	Width, Height int
	Policy        Policy
}

// Native says whether g keeps the image's own size.
func (g Geometry) Native() bool { return g.Width == 0 && g.Height == 0 }

// String is "native" or like "256x256 crop".
func (g Geometry) String() string {
	if g.Native() {
		return "native"
	}
	return fmt.Sprintf("%dx%d %s", g.Width, g.Height, g.Policy)
}

// Validate reports a geometry that Fit would refuse; the error wraps ErrGeometry.
func (g Geometry) Validate() error {
	if g.Policy > Crop {
		return fmt.Errorf("%w: %s", ErrGeometry, g.Policy)
	}
	if g.Native() {
		return nil
	}
	if g.Width < 1 || g.Height < 1 {
		return fmt.Errorf("%w: %dx%d; give both sides, or neither to keep the image's own size", ErrGeometry, g.Width, g.Height)
	}
	if g.Width > DefaultMaxPixels/g.Height {
		return fmt.Errorf("%w: %dx%d is more than %d pixels", ErrGeometry, g.Width, g.Height, DefaultMaxPixels)
	}
	return nil
}

// Fit gives an opaque image the size of g, with a Lanczos filter of support 3 that widens when
// shrinking (so it does not alias), rounded to 8 bits after each axis. An image that has the size
// already is returned as it is, not copied; m is never written to.
func Fit(m *image.NRGBA, g Geometry) (*image.NRGBA, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	w, h := m.Rect.Dx(), m.Rect.Dy()
	if w == 0 || h == 0 {
		return nil, fmt.Errorf("%w: the image has no pixels", ErrShape)
	}
	if g.Native() || w == g.Width && h == g.Height {
		return m, nil
	}
	if g.Policy == Crop {
		m = centre(m, g)
		w, h = m.Rect.Dx(), m.Rect.Dy()
	}
	// imaging resizes along x first. Where that would make the larger of the two possible images in
	// between, go along y first: the smaller is never larger than both ends, so that a sliver of
	// 16 x 4 Mpx cannot ask for gigabytes.
	if int64(g.Width)*int64(h) > int64(w)*int64(g.Height) {
		m = imaging.Resize(m, w, g.Height, imaging.Lanczos)
	}
	return imaging.Resize(m, g.Width, g.Height, imaging.Lanczos), nil
}

// centre is the largest centred part of m with the aspect ratio of g, rounded to whole pixels; it
// shares m's pixels.
func centre(m *image.NRGBA, g Geometry) *image.NRGBA {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	cw := int((int64(h)*int64(g.Width) + int64(g.Height)/2) / int64(g.Height))
	ch := int((int64(w)*int64(g.Height) + int64(g.Width)/2) / int64(g.Width))
	cw, ch = max(1, min(w, cw)), max(1, min(h, ch))
	x, y := m.Rect.Min.X+(w-cw)/2, m.Rect.Min.Y+(h-ch)/2
	return m.SubImage(image.Rect(x, y, x+cw, y+ch)).(*image.NRGBA)
}
