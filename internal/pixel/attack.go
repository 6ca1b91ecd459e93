package pixel

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"

	"github.com/disintegration/imaging"
)

// Recompress is what is left of an opaque image after JPEG at a quality of 1 to 100, with chroma at half the
// resolution both ways, as most programs write it. The error wraps ErrAttack.
func Recompress(m *image.NRGBA, quality int) (*image.NRGBA, error) {
	if quality < 1 || quality > 100 {
		return nil, fmt.Errorf("%w: JPEG quality %d; give 1 to 100", ErrAttack, quality)
	}
	var file bytes.Buffer
	if err := jpeg.Encode(&file, m, &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("JPEG: %w", err)
	}
	out, _, err := Decode(file.Bytes(), Limits{})
	return out, err
}

// ResizeAndBack shrinks or grows both sides by a factor in (0, 4] and brings the image back to its size, both with
// the filter of Fit. The error wraps ErrAttack.
func ResizeAndBack(m *image.NRGBA, factor float64) (*image.NRGBA, error) {
	if !(factor > 0 && factor <= 4) {
		return nil, fmt.Errorf("%w: resize by %v; give a factor above 0, up to 4", ErrAttack, factor)
	}
	size := m.Rect.Size()
	side := func(n int) int { return max(1, int(math.Round(float64(n)*factor))) }
	other, err := Fit(m, Geometry{Width: side(size.X), Height: side(size.Y)})
	if err != nil {
		return nil, err
	}
	return Fit(other, Geometry{Width: size.X, Height: size.Y})
}

// CropAndPad keeps the centre of an image, a share in (0, 1] of both sides, and makes the rest middle grey. The
// error wraps ErrAttack.
func CropAndPad(m *image.NRGBA, share float64) (*image.NRGBA, error) {
	if !(share > 0 && share <= 1) {
		return nil, fmt.Errorf("%w: keep a share of %v; give one above 0, up to 1", ErrAttack, share)
	}
	size := m.Rect.Size()
	side := func(n int) int { return max(1, int(math.Round(float64(n)*share))) }
	kept := image.Pt(side(size.X), side(size.Y))
	// What is kept goes back to where it was, to the pixel: imaging's two ways to find a centre differ by one.
	at := size.Sub(kept).Div(2)
	part := imaging.Crop(m, image.Rectangle{at, at.Add(kept)}.Add(m.Rect.Min))
	return imaging.Paste(imaging.New(size.X, size.Y, color.NRGBA{128, 128, 128, 255}), part, at), nil
}
