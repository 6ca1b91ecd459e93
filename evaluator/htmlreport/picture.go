package htmlreport

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	_ "image/png" // read as well
	"io"
	"strings"

	"golang.org/x/image/draw"
)

// ErrPicture is the class of bytes that are not an image that a page can hold.
var ErrPicture = errors.New("not a picture")

// Ref names a picture of one page.
type Ref int

// picture is an image file with what its header says.
type picture struct {
	data          []byte
	kind          string // MIME type
	width, height int
}

// AddPicture registers a JPEG or PNG file with the page, which keeps data. The same bytes are kept once. The error wraps
// ErrPicture.
func (p *Page) AddPicture(data []byte) (Ref, error) {
	digest := sha256.Sum256(data)
	if ref, ok := p.known[digest]; ok {
		return ref, nil
	}
	pic, err := readPicture(data)
	if err != nil {
		return 0, err
	}
	if p.known == nil {
		p.known = make(map[[32]byte]Ref)
	}
	ref := Ref(len(p.pictures))
	p.pictures, p.known[digest] = append(p.pictures, pic), ref
	return ref, nil
}

func readPicture(data []byte) (picture, error) {
	config, kind, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return picture{}, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	if kind != "jpeg" && kind != "png" { // another package may have registered other formats
		return picture{}, fmt.Errorf("%w: %s; use JPEG or PNG", ErrPicture, kind)
	}
	return picture{data, "image/" + kind, config.Width, config.Height}, nil
}

// uri is a picture as a data URI.
func (p picture) uri() string {
	var b strings.Builder
	_ = p.writeURI(&b) // a Builder takes everything
	return b.String()
}

func (p picture) writeURI(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "data:%s;base64,", p.kind); err != nil {
		return err
	}
	encoder := base64.NewEncoder(base64.StdEncoding, w)
	if _, err := encoder.Write(p.data); err != nil {
		return err
	}
	return encoder.Close()
}

// writePictures writes every picture as a data block: text to the browser until the script shows it. The kind is one of
// two and base64 has no "<", so that nothing in a block can end it.
func (p *Page) writePictures(w *bufio.Writer) error {
	for ref, pic := range p.pictures {
		fmt.Fprintf(w, "<script type=\"text/plain\" id=\"picture-%d\" data-width=\"%d\" data-height=\"%d\">", ref, pic.width, pic.height)
		if err := pic.writeURI(w); err != nil {
			return err
		}
		if _, err := w.WriteString("</script>\n"); err != nil {
			return err
		}
	}
	return nil
}

// thumbnailQuality keeps a photograph of 160 pixels at about 8 kB.
const thumbnailQuality = 88

// Shrunk is m with a longer side of at most side pixels, which is positive; a smaller image is m itself. The filter is Catmull
// and Rom's, which widens and so does not alias.
func Shrunk(m image.Image, side int) image.Image {
	size := m.Bounds().Size()
	longer := max(size.X, size.Y)
	if longer <= side {
		return m
	}
	small := image.NewRGBA(image.Rect(0, 0, max(1, size.X*side/longer), max(1, size.Y*side/longer)))
	draw.CatmullRom.Scale(small, small.Rect, m, m.Bounds(), draw.Src, nil)
	return small
}

// Thumbnail is m as a JPEG whose longer side is at most side pixels, as Shrunk makes it. The error wraps ErrPicture: m is empty or side is not positive.
func Thumbnail(m image.Image, side int) ([]byte, error) {
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	if w < 1 || h < 1 || side < 1 {
		return nil, fmt.Errorf("%w: %dx%d pixels cannot be shrunk to %d", ErrPicture, w, h, side)
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, Shrunk(m, side), &jpeg.Options{Quality: thumbnailQuality}); err != nil {
		return nil, fmt.Errorf("encode a thumbnail: %w", err)
	}
	return out.Bytes(), nil
}
