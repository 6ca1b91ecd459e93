package pixel

import (
	"fmt"
	"image"
)

// Tensor is a batch of RGB images: N x C x H x W in row-major order, C = 3 (red, green, blue), one
// float32 a sample. Images are in [0,1]; what a network returns may leave that range.
type Tensor struct {
	N, C, H, W int
	Data       []float32 // len N*C*H*W
}

// channels is C of every tensor made here.
const channels = 3

// unit maps an 8-bit sample v to v/255, rounded once to float32.
var unit = func() (t [256]float32) {
	for v := range t {
		t[v] = float32(v) / 255
	}
	return t
}()

// Check reports a tensor whose sides are not positive or whose Data does not have their product;
// the error wraps ErrShape.
func (t Tensor) Check() error {
	if t.N < 1 || t.C < 1 || t.H < 1 || t.W < 1 || len(t.Data) != t.N*t.C*t.H*t.W {
		return fmt.Errorf("%w: tensor %dx%dx%dx%d with %d values", ErrShape, t.N, t.C, t.H, t.W, len(t.Data))
	}
	return nil
}

// FromImages makes an N x 3 x H x W tensor of N images of one size, each 8-bit v as v/255. Alpha is
// ignored: images of this package are opaque. The error wraps ErrShape.
func FromImages(images []*image.NRGBA) (Tensor, error) {
	if len(images) == 0 {
		return Tensor{}, fmt.Errorf("%w: no images", ErrShape)
	}
	w, h := images[0].Rect.Dx(), images[0].Rect.Dy()
	if w == 0 || h == 0 {
		return Tensor{}, fmt.Errorf("%w: image 0 has no pixels", ErrShape)
	}
	for i, m := range images {
		if m.Rect.Dx() != w || m.Rect.Dy() != h {
			return Tensor{}, fmt.Errorf("%w: image %d is %dx%d, image 0 is %dx%d",
				ErrShape, i, m.Rect.Dx(), m.Rect.Dy(), w, h)
		}
	}
	t := Tensor{N: len(images), C: channels, H: h, W: w, Data: make([]float32, len(images)*channels*h*w)}
	plane := h * w
	for n, m := range images {
		data := t.Data[n*channels*plane:][:channels*plane]
		for y := range h {
			row := m.Pix[y*m.Stride:][:4*w]
			r, g, b := data[y*w:][:w], data[plane+y*w:][:w], data[2*plane+y*w:][:w]
			for x := range r {
				p := row[4*x:][:4:4]
				r[x], g[x], b[x] = unit[p[0]], unit[p[1]], unit[p[2]]
			}
		}
	}
	return t, nil
}

// ToImage quantises image n of a tensor with C = 3: 255 v, clamped to 0..255 and rounded to the
// nearest integer, halves upwards (away from zero). The arithmetic is exact up to the rounding, so
// every platform gives the same bytes. A NaN or an infinity is an error that wraps ErrNotFinite.
func ToImage(t Tensor, n int) (*image.NRGBA, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	if t.C != channels || n < 0 || n >= t.N {
		return nil, fmt.Errorf("%w: image %d of a tensor %dx%dx%dx%d", ErrShape, n, t.N, t.C, t.H, t.W)
	}
	m := image.NewNRGBA(image.Rect(0, 0, t.W, t.H))
	plane := t.H * t.W
	data := t.Data[n*channels*plane:][:channels*plane]
	r, g, b := data[:plane], data[plane:][:plane], data[2*plane:][:plane]
	var poison float32 // v-v is 0 unless v is not finite; the sum then stays NaN
	for i, red := range r {
		green, blue := g[i], b[i]
		poison += (red - red) + (green - green) + (blue - blue)
		p := m.Pix[4*i:][:4:4]
		p[0], p[1], p[2], p[3] = quantise(red), quantise(green), quantise(blue), 255
	}
	if poison != 0 {
		return nil, fmt.Errorf("%w: image %d of %d", ErrNotFinite, n, t.N)
	}
	return m, nil
}

// quantise works in float64, where 255 times a float32 plus a half is exact.
func quantise(v float32) uint8 {
	x := float64(v)*255 + 0.5
	if !(x > 0) {
		return 0
	}
	if x >= 255 {
		return 255
	}
	return uint8(x)
}
