package pixel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"io"

	"golang.org/x/image/bmp"
)

// bmpFile is a BMP as package bmp reads it: one of three headers, no compression, and pixels that follow the palette at once.
type bmpFile struct {
	head  []byte // both headers and the palette
	bits  int
	alpha bool // the fourth byte of a pixel is alpha
	data  []byte
}

// The compressions of a BMP.
const (
	bmpRGB, bmpMasks = 0, 3
	// fileHeader is the length in bytes of what is before the second header, infoHeader that of the second one's oldest form.
	fileHeader, infoHeader, v4Header, v5Header = 14, 40, 108, 124
)

// readBMP reads the headers. The error is unsupported, io.ErrUnexpectedEOF, or wraps ErrCorrupt.
func readBMP(data []byte) (f bmpFile, err error) {
	if len(data) < fileHeader+4 {
		return f, io.ErrUnexpectedEOF
	}
	offset, info := int64(binary.LittleEndian.Uint32(data[10:])), int64(binary.LittleEndian.Uint32(data[14:]))
	switch {
	case info == 12 || info == 64 || info == 16:
		return f, unsupported("a BMP of OS/2")
	case info != infoHeader && info != 52 && info != 56 && info != v4Header && info != v5Header:
		return f, unsupported(fmt.Sprintf("a BMP with a header of %d bytes", info))
	case fileHeader+info > int64(len(data)):
		return f, io.ErrUnexpectedEOF
	}
	f.bits = int(binary.LittleEndian.Uint16(data[28:]))
	// Headers of 52 and 56 bytes are the oldest one with masks.
	kept, masks := info, data[fileHeader+infoHeader:]
	if info < v4Header {
		kept = infoHeader
	}
	switch compression := binary.LittleEndian.Uint32(data[30:]); compression {
	case bmpRGB:
	case bmpMasks:
		n := 12
		if info > 52 {
			n = 16
		}
		if len(masks) < n {
			return f, io.ErrUnexpectedEOF
		}
		if f.bits != 32 || !bytes.Equal(masks[:12], []byte{0, 0, 0xff, 0, 0, 0xff, 0, 0, 0xff, 0, 0, 0}) {
			return f, unsupported(fmt.Sprintf("a BMP of %d bits a pixel with masks", f.bits))
		}
		switch {
		case n < 16 || bytes.Equal(masks[12:16], make([]byte, 4)):
		case kept > infoHeader && bytes.Equal(masks[12:16], []byte{0, 0, 0, 0xff}):
			f.alpha = true
		default:
			return f, unsupported("a BMP with masks of alpha")
		}
	case 1, 2:
		return f, unsupported("a BMP in run-length compression")
	default:
		return f, unsupported(fmt.Sprintf("a BMP in compression %d", compression))
	}
	var palette int64
	switch f.bits {
	case 1, 2, 4, 8:
		palette = 4 * int64(binary.LittleEndian.Uint32(data[46:]))
		if palette == 0 {
			palette = 4 << f.bits
		}
	case 24, 32:
	default:
		return f, unsupported(fmt.Sprintf("a BMP of %d bits a pixel", f.bits))
	}
	if palette > 4<<8 {
		return f, fmt.Errorf("%w: a BMP palette of %d bytes", ErrCorrupt, palette)
	}
	if fileHeader+info+palette > int64(len(data)) || offset > int64(len(data)) {
		return f, io.ErrUnexpectedEOF
	}
	if offset < fileHeader+info {
		return f, fmt.Errorf("%w: the BMP header says that the pixels lie in it", ErrCorrupt)
	}
	f.head = append(bytes.Clone(data[:fileHeader+kept]), data[fileHeader+info:][:palette]...)
	binary.LittleEndian.PutUint32(f.head[10:], uint32(len(f.head)))
	binary.LittleEndian.PutUint32(f.head[14:], uint32(kept))
	binary.LittleEndian.PutUint32(f.head[30:], bmpRGB)
	f.data = data[offset:]
	return f, nil
}

func (f bmpFile) reader() io.Reader {
	return io.MultiReader(bytes.NewReader(f.head), bytes.NewReader(f.data))
}

func configBMP(data []byte) (image.Config, error) {
	f, err := readBMP(data)
	if err != nil {
		return image.Config{}, err
	}
	return bmp.DecodeConfig(f.reader())
}

// decodeBMP decodes a BMP. The fourth byte of a pixel is alpha where a mask says so, and nothing elsewhere.
func decodeBMP(data []byte) (image.Image, error) {
	f, err := readBMP(data)
	if err != nil {
		return nil, err
	}
	m, err := bmp.Decode(f.reader())
	if m, ok := m.(*image.NRGBA); ok && !f.alpha {
		for i := 3; i < len(m.Pix); i += 4 {
			m.Pix[i] = 255
		}
	}
	return m, err
}
