package pixel

import "image"

// colour turns the planes of a lossy file into RGB: chroma of fewer samples is interpolated as the reference decoder of its format does it
// (libjpeg-turbo's jdsample.c, libwebp's upsampling.c: both call it "fancy"), and then YCbCr is converted with their tables. From
// equal planes come equal bytes.
type colour struct {
	// chroma fills a row with the chroma of luma row y. It may instead return a row of the plane.
	chroma func(p plane, row []uint8, y int) []uint8
	// rgb converts rows of one length to opaque pixels of 4 bytes.
	rgb func(dst, y, cb, cr []uint8)
}

var (
	jpegColour = colour{chroma: plane.jpegRow, rgb: fullRange}
	webpColour = colour{chroma: plane.webpRow, rgb: studioRange}
)

// plane is one chroma plane: w x h samples, each for across x down luma samples.
type plane struct {
	pix          []uint8
	stride, w, h int
	across, down int
}

// row gives row i of the plane; beyond its edges the outermost one.
func (p plane) row(i int) []uint8 {
	return p.pix[max(0, min(p.h-1, i))*p.stride:][:p.w]
}

// near gives the chroma row that covers luma row y, and the other one that is close to y, where a plane has half the rows.
func (p plane) near(y int) (near, far []uint8) {
	return p.row(y / 2), p.row(y/2 - 1 + y%2*2)
}

// convert makes an NRGBA that starts at (0,0) of m. Alpha is 255, or that of alpha, one byte a pixel.
func (c colour) convert(m *image.YCbCr, alpha []uint8, alphaStride int) *image.NRGBA {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	across, down := sampling(m.SubsampleRatio)
	at := m.COffset(m.Rect.Min.X, m.Rect.Min.Y)
	cb := plane{pix: m.Cb[at:], stride: m.CStride, w: (w + across - 1) / across, h: (h + down - 1) / down, across: across, down: down}
	cr := cb
	cr.pix = m.Cr[at:]
	dst := image.NewNRGBA(image.Rect(0, 0, w, h))
	// Room for what the last chroma sample stands for beyond the edge.
	rows := make([]uint8, 2*(w+across))
	cbRow, crRow := rows[:w+across], rows[w+across:]
	for y := range h {
		luma := m.Y[m.YOffset(m.Rect.Min.X, m.Rect.Min.Y+y):][:w]
		out := dst.Pix[y*dst.Stride:][:4*w]
		c.rgb(out, luma, c.chroma(cb, cbRow, y)[:w], c.chroma(cr, crRow, y)[:w])
		if alpha != nil {
			for x, a := range alpha[y*alphaStride:][:w] {
				out[4*x+3] = a
			}
		}
	}
	return dst
}

// sampling says for how many luma samples a chroma sample stands, across and down.
func sampling(ratio image.YCbCrSubsampleRatio) (across, down int) {
	switch ratio {
	case image.YCbCrSubsampleRatio422:
		return 2, 1
	case image.YCbCrSubsampleRatio420:
		return 2, 2
	case image.YCbCrSubsampleRatio440:
		return 1, 2
	case image.YCbCrSubsampleRatio411:
		return 4, 1
	case image.YCbCrSubsampleRatio410:
		return 4, 2
	}
	return 1, 1
}

// jpegRow is the triangle filter of libjpeg: a sample is 3/4 of the chroma sample that covers it and 1/4 of the next nearest one, in
// each direction. What libjpeg replicates (a quarter of the columns, and planes of one or two) is replicated.
func (p plane) jpegRow(row []uint8, y int) []uint8 {
	switch {
	case p.across == 1 && p.down == 1:
		return p.row(y)
	case p.across == 1 && p.down == 2:
		near, far := p.near(y)
		bias := 1 + uint(y%2)
		row = row[:len(near)]
		far = far[:len(near)]
		for x, v := range near {
			row[x] = uint8((3*uint(v) + uint(far[x]) + bias) >> 2)
		}
	case p.across == 2 && p.down == 1 && p.w > 2:
		tripled(row, p.row(y))
	case p.across == 2 && p.down == 2 && p.w > 2:
		near, far := p.near(y)
		ninefold(row, near, far)
	default:
		for x, v := range p.row(y / p.down) {
			for i := range p.across {
				row[x*p.across+i] = v
			}
		}
	}
	return row
}

// tripled doubles a row: 3/4 and 1/4, with halves rounded down on the left of a chroma sample and up on the right.
func tripled(row, from []uint8) {
	last := len(from) - 1
	row = row[:2*len(from)]
	this := uint(from[0])
	before := this
	for x, v := range from[1:] {
		next := uint(v)
		row[2*x] = uint8((3*this + before + 1) >> 2)
		row[2*x+1] = uint8((3*this + next + 2) >> 2)
		before, this = this, next
	}
	row[0] = from[0]
	row[2*last] = uint8((3*this + before + 1) >> 2)
	row[2*last+1] = from[last]
}

// ninefold doubles a row in both directions: 9/16, 3/16, 3/16 and 1/16.
func ninefold(row, near, far []uint8) {
	last := len(near) - 1
	row = row[:2*len(near)]
	far = far[:len(near)]
	this := 3*uint(near[0]) + uint(far[0])
	before := this
	for x, v := range near[1:] {
		next := 3*uint(v) + uint(far[x+1])
		row[2*x] = uint8((3*this + before + 8) >> 4)
		row[2*x+1] = uint8((3*this + next + 7) >> 4)
		before, this = this, next
	}
	row[2*last] = uint8((3*this + before + 8) >> 4)
	row[2*last+1] = uint8((4*this + 7) >> 4)
}

// webpRow is the filter of libwebp, of the same weights as ninefold, rounded in two steps. Chroma of VP8 always has half the columns
// and half the rows.
func (p plane) webpRow(row []uint8, y int) []uint8 {
	near, far := p.near(y)
	row = row[:2*len(near)]
	far = far[:len(near)]
	edge := func(x int) uint8 { return uint8((3*uint(near[x]) + uint(far[x]) + 2) >> 2) }
	row[0] = edge(0)
	a, c := uint(near[0]), uint(far[0])
	for x, v := range near[1:] {
		b, d := uint(v), uint(far[x+1])
		sum := a + b + c + d + 8
		row[2*x+1] = uint8(((sum+2*(b+c))>>3 + a) >> 1)
		row[2*x+2] = uint8(((sum+2*(a+d))>>3 + b) >> 1)
		a, c = b, d
	}
	row[2*len(near)-1] = edge(len(near) - 1)
	return row
}

// The shares of chroma in JPEG's RGB (ITU-T T.871, section 7), in 16.16 fixed point as libjpeg rounds them.
var redOf, blueOf, greenOfCb, greenOfCr = func() (r, b, gb, gr [256]int32) {
	const half = 1 << 15
	for i := range r {
		v := int32(i) - 128
		r[i] = (91881*v + half) >> 16  // 1.402
		b[i] = (116130*v + half) >> 16 // 1.772
		gb[i] = -22554*v + half        // 0.344136286
		gr[i] = -46802 * v             // 0.714136286
	}
	return r, b, gb, gr
}()

// fullRange converts JPEG's YCbCr, in which every component has the range 0 to 255.
func fullRange(dst, y, cb, cr []uint8) {
	cb, cr, dst = cb[:len(y)], cr[:len(y)], dst[:4*len(y)]
	for x, luma := range y {
		l, b, r := int32(luma), cb[x], cr[x]
		p := dst[4*x:][:4:4]
		p[0] = clamp8(l + redOf[r])
		p[1] = clamp8(l + (greenOfCb[b]+greenOfCr[r])>>16)
		p[2] = clamp8(l + blueOf[b])
		p[3] = 255
	}
}

// studioRange converts YCbCr in studio range (luma 16 to 235, chroma 16 to 240) by ITU-R BT.601, which VP8 prescribes (RFC 6386,
// section 9.2), with the precision of libwebp: products lose 8 bits, sums 6.
//
//	R = 255/219 (Y-16)                                 + 255/224 * 1.402 (Cr-128)
//	G = 255/219 (Y-16) - 255/224 * 0.344136 (Cb-128)   - 255/224 * 0.714136 (Cr-128)
//	B = 255/219 (Y-16) + 255/224 * 1.772 (Cb-128)
func studioRange(dst, y, cb, cr []uint8) {
	cb, cr, dst = cb[:len(y)], cr[:len(y)], dst[:4*len(y)]
	for x, luma := range y {
		l, b, r := int32(luma)*19077>>8, int32(cb[x]), int32(cr[x])
		p := dst[4*x:][:4:4]
		p[0] = clamp8((l + r*26149>>8 - 14234) >> 6)
		p[1] = clamp8((l - b*6419>>8 - r*13320>>8 + 8708) >> 6)
		p[2] = clamp8((l + b*33050>>8 - 17685) >> 6)
		p[3] = 255
	}
}

// clamp8 cuts a value off at 0 and 255.
func clamp8(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^v >> 31) // 0 below, 255 above
	}
	return uint8(v)
}
