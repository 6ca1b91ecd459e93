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

// solid is an image that is known to be opaque, which an NRGBA finds out by looking at every pixel.
type solid struct{ *image.NRGBA }

func (solid) Opaque() bool { return true }

// flatten composites m on white as an NRGBA that starts at (0,0), and says whether a pixel was not opaque.
//
// The work is done on an *image.RGBA, for which image/draw has fast paths; once every pixel is
// opaque the two layouts hold the same bytes.
func flatten(m image.Image) (flat *image.NRGBA, transparent bool) {
	b := m.Bounds()
	transparent = !opaque(m)
	if b.Min == (image.Point{}) && !transparent {
		switch m := m.(type) {
		case *image.RGBA:
			return (*image.NRGBA)(m), false
		case *image.NRGBA:
			return m, false
		case solid:
			return m.NRGBA, false
		}
	}
	dst := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	if transparent {
		draw.Draw(dst, dst.Rect, image.White, image.Point{}, draw.Src)
		draw.Draw(dst, dst.Rect, m, b.Min, draw.Over)
	} else {
		draw.Draw(dst, dst.Rect, m, b.Min, draw.Src)
	}
	return (*image.NRGBA)(dst), transparent
}

// MayBeTransparent says whether a file, which Header takes, has alpha or a transparent colour. If not, Decode finds no pixel that is not opaque.
func MayBeTransparent(data []byte) bool {
	format, err := sniff(data)
	if err != nil {
		return false
	}
	switch format {
	case PNG:
		header := pngChunk(data, "IHDR") // its tenth byte is the colour type, of which bit 2 is alpha
		return len(header) > 9 && header[9]&4 != 0 || pngChunk(data, "tRNS") != nil
	case WebP:
		bits := webpChunk(data, "VP8L") // a signature, 14 bits of the width less one, 14 of the height, and one that says that there is alpha
		return len(bits) > 4 && bits[4]&0x10 != 0 || webpChunk(data, "ALPH") != nil
	case TIFF:
		f, err := readTIFF(data)
		return err == nil && f.alpha != 0
	case BMP:
		f, err := readBMP(data)
		return err == nil && f.alpha
	}
	return false
}
