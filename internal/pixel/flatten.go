package pixel

import (
	"image"
	"image/draw"
)

// opaque says whether every pixel of m is; images that cannot tell are taken to be opaque, because
// their colour models (YCbCr, CMYK, grey) have no alpha.
func opaque(m image.Image) bool {
	o, ok := m.(interface{ Opaque() bool })
	return !ok || o.Opaque()
}

// flatten composites m on white as an NRGBA that starts at (0,0).
//
// The work is done on an *image.RGBA, for which image/draw has fast paths; once every pixel is
// opaque the two layouts hold the same bytes.
func flatten(m image.Image) *image.NRGBA {
	b := m.Bounds()
	if b.Min == (image.Point{}) && opaque(m) {
		switch m := m.(type) {
		case *image.RGBA:
			return (*image.NRGBA)(m)
		case *image.NRGBA:
			return m
		}
	}
	dst := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	if !opaque(m) {
		draw.Draw(dst, dst.Rect, image.White, image.Point{}, draw.Src)
		draw.Draw(dst, dst.Rect, m, b.Min, draw.Over)
	} else {
		draw.Draw(dst, dst.Rect, m, b.Min, draw.Src)
	}
	return (*image.NRGBA)(dst)
}
