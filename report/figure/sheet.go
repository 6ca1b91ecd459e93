package figure

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	stdpng "image/png"
	"math"
	"strings"
	"unicode"

	xdraw "golang.org/x/image/draw"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	printDPI = 300
	// maxPixels keeps the PNG of a very large figure within a few hundred MB of memory: its resolution falls.
	maxPixels = 1 << 26
)

// sheet is a figure that has been laid out: its size in points, and what draws it on a canvas of that size.
type sheet struct {
	width, height vg.Length
	dpi           int // of the PNG; 0: printDPI
	draw          func(draw.Canvas)
}

func png(s sheet, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	dpi := s.dpi
	if dpi == 0 {
		dpi = printDPI
	}
	for dpi > 1 && s.width.Dots(float64(dpi))*s.height.Dots(float64(dpi)) > maxPixels {
		dpi /= 2
	}
	c := vgimg.NewWith(vgimg.UseWH(s.width, s.height), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(color.White))
	s.draw(draw.NewCanvas(rasterCanvas{c}, s.width, s.height))
	var out bytes.Buffer
	if err := stdpng.Encode(&out, c.Image()); err != nil {
		return nil, fmt.Errorf("encode PNG: %w", err)
	}
	return out.Bytes(), nil
}

func svg(s sheet, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	c := vgsvg.NewWith(vgsvg.UseWH(s.width, s.height))
	s.draw(draw.NewCanvas(vectorCanvas{c}, s.width, s.height))
	var raw bytes.Buffer
	if _, err := c.WriteTo(&raw); err != nil {
		return nil, fmt.Errorf("write SVG: %w", err)
	}
	// vgsvg's head has an XML prolog, which must not stand in the middle of a page.
	_, body, found := bytes.Cut(raw.Bytes(), []byte("xlink\">\n"))
	if !found {
		return nil, errors.New("write SVG: vgsvg writes another head than it did")
	}
	// Text is set in a font of the reader's. All but the last of the list have the widths that the figure was laid out with.
	body = bytes.ReplaceAll(body, []byte("font-family:Liberation Sans;font-variant:normal;"), []byte("font-family:"+families+";"))
	body = bytes.ReplaceAll(body, []byte("data:image/jpg;"), []byte("data:image/png;")) // they are PNG
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" `+
		`width="%.5[1]gpt" height="%.5[2]gpt" viewBox="0 0 %.5[1]g %.5[2]g">`+"\n", float64(s.width), float64(s.height))
	out.WriteString(`<rect width="100%" height="100%" fill="#ffffff"/>` + "\n")
	out.Write(body)
	return out.Bytes(), nil
}

// families are the fonts of the text in an SVG.
const families = "'Liberation Sans',Arimo,Arial,Helvetica,sans-serif"

// vectorCanvas is an SVG canvas for text from users.
type vectorCanvas struct{ *vgsvg.Canvas }

// FillString implements vg.Canvas. What XML cannot hold is replaced.
func (c vectorCanvas) FillString(f font.Face, at vg.Point, line string) {
	c.Canvas.FillString(f, at, strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == 0xfffe || r == 0xffff {
			return unicode.ReplacementChar
		}
		return r
	}, line))
}

// rasterCanvas puts images on whole pixels, and leaves theirs as they are where the sizes agree: a residual must
// not be smoothed.
type rasterCanvas struct{ *vgimg.Canvas }

// DrawImage implements vg.Canvas. No figure draws images on a turned or moved canvas.
func (c rasterCanvas) DrawImage(at vg.Rectangle, m image.Image) {
	dst := c.Image()
	px := func(l vg.Length) int { return int(math.Round(l.Dots(c.DPI()))) }
	bottom := dst.Bounds().Max.Y
	to := image.Rect(px(at.Min.X), bottom-px(at.Max.Y), px(at.Max.X), bottom-px(at.Min.Y))
	var scaler xdraw.Scaler = xdraw.CatmullRom
	if size := m.Bounds().Size(); to.Dx()%size.X == 0 && to.Dy()%size.Y == 0 {
		scaler = xdraw.NearestNeighbor
	}
	scaler.Scale(dst, to, m, m.Bounds(), xdraw.Over, nil)
}
