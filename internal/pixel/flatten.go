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
func flatten(m image.Image, format Format) *image.NRGBA {
	b := m.Bounds()
	if rgba, ok := m.(*image.RGBA); ok && rgba.Opaque() && b.Min == (image.Point{}) {
		return (*image.NRGBA)(rgba)
	}
	// A lossy WebP comes as YCbCr in studio range, which the colour model of package image, being
	// JPEG's, would show washed out.
	var source image.Image = m
	if format == WebP {
		switch m := m.(type) {
		case *image.YCbCr:
			return studio(m, nil, 0)
		case *image.NYCbCrA:
			source = studio(&m.YCbCr, m.A, m.AStride)
		}
	}
	dst := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	if !opaque(source) {
		draw.Draw(dst, dst.Rect, image.White, image.Point{}, draw.Src)
		draw.Draw(dst, dst.Rect, source, b.Min, draw.Over)
	} else {
		draw.Draw(dst, dst.Rect, source, b.Min, draw.Src)
	}
	return (*image.NRGBA)(dst)
}

// studio converts YCbCr in studio range (luma 16 to 235, chroma 16 to 240) to RGB by ITU-R BT.601,
// which VP8 prescribes (RFC 6386, section 9.2). alpha may be nil.
//
//	R = 255/219 (Y-16)                                 + 255/224 * 1.402 (Cr-128)
//	G = 255/219 (Y-16) - 255/224 * 0.344136 (Cb-128)   - 255/224 * 0.714136 (Cr-128)
//	B = 255/219 (Y-16) + 255/224 * 1.772 (Cb-128)
func studio(m *image.YCbCr, alpha []uint8, alphaStride int) *image.NRGBA {
	const ( // the factors in 16.16 fixed point, so that every platform rounds alike
		luma   = 76309
		redCr  = 104597
		greenB = 25675
		greenR = 53279
		blueCb = 132201
		half   = 1 << 15
	)
	w, h := m.Rect.Dx(), m.Rect.Dy()
	dst := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		row := dst.Pix[y*dst.Stride:][:4*w]
		for x := range w {
			i := m.YOffset(m.Rect.Min.X+x, m.Rect.Min.Y+y)
			j := m.COffset(m.Rect.Min.X+x, m.Rect.Min.Y+y)
			l := (int32(m.Y[i])-16)*luma + half
			cb, cr := int32(m.Cb[j])-128, int32(m.Cr[j])-128
			p := row[4*x:][:4]
			p[0] = clamp8((l + redCr*cr) >> 16)
			p[1] = clamp8((l - greenB*cb - greenR*cr) >> 16)
			p[2] = clamp8((l + blueCb*cb) >> 16)
			p[3] = 255
			if alpha != nil {
				p[3] = alpha[y*alphaStride+x]
			}
		}
	}
	return dst
}

func clamp8(v int32) uint8 { return uint8(max(0, min(255, v))) }
