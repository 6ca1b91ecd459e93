package pixel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"strings"
)

// jpegFile is what the markers of a JPEG say, read before anything is decoded (ITU-T T.81, annex B).
type jpegFile struct {
	data          []byte
	width, height int
	components    []jpegComponent
	progressive   bool
	// kind is the marker of the frame, and precision its bits a sample.
	kind      byte
	precision int
	// scans is the number of scans, and visits that of the blocks of 8x8 samples which they pass over, again for each scan.
	scans  int
	visits int64
	// end is where the data of the scan ends that has all that was missing; 0 if something is missing.
	end int
	// finished says that an end marker follows. If not, it is missing, or something else is in its place.
	finished bool
	// transform is where the Adobe segment says how colours were coded (0: not at all); 0 without one.
	transform int
}

type jpegComponent struct {
	id     byte
	h, v   int     // sampling factors
	blocks int64   // in a scan
	coded  [64]int // for each coefficient, 1 + the bits that are still to come; 0 for one that no scan has had
}

func (c jpegComponent) whole() bool {
	for _, bits := range c.coded {
		if bits != 1 {
			return false
		}
	}
	return true
}

// The markers that are told apart.
const (
	markerSOF0, markerSOF2, markerSOF15 = 0xc0, 0xc2, 0xcf
	markerDHT, markerJPG, markerDAC     = 0xc4, 0xc8, 0xcc
	markerRST0, markerRST7              = 0xd0, 0xd7
	markerEOI, markerSOS                = 0xd9, 0xda
	markerAPP1, markerAPP14             = 0xe1, 0xee
)

// readJPEG reads the markers up to the end marker, or as far as they can be followed.
//
// A sequential image ends when each component had its scan, as in libjpeg. What follows is a trailer, whatever it looks like.
func readJPEG(data []byte) jpegFile {
	f := jpegFile{data: data}
	for at := 2; ; {
		marker, body, next := jpegSegment(data, at)
		switch {
		case marker == markerEOI:
			f.finished = true
			return f
		case next == 0:
			return f
		case isFrame(marker) && f.components == nil:
			f.kind, f.progressive = marker, marker == markerSOF2
			if !f.frame(body) {
				return f
			}
		case marker == markerAPP14 && len(body) >= 12 && string(body[:5]) == "Adobe":
			f.transform = next - len(body) + 11
		case marker == markerSOS:
			next = entropyEnd(data, next)
			if f.scan(body) && f.end == 0 {
				f.end = next
				if !f.progressive {
					f.finished = bytes.HasPrefix(data[next:], []byte{0xff, markerEOI})
					return f
				}
			}
		}
		at = next
	}
}

// isFrame says whether a marker begins a frame: those from 0xc0 to 0xcf but for three.
func isFrame(marker byte) bool {
	return marker >= markerSOF0 && marker <= markerSOF15 && marker != markerDHT && marker != markerJPG && marker != markerDAC
}

// jpegSegment reads the segment at an offset: its marker, its body, and where the next begins, 0 where there is none. Markers that have no
// length have no body. Bytes before the marker are passed over, as libjpeg does.
func jpegSegment(data []byte, at int) (marker byte, body []byte, next int) {
	for {
		skip := bytes.IndexByte(data[min(at, len(data)):], 0xff)
		if skip < 0 || at+skip+1 >= len(data) {
			return 0, nil, 0
		}
		at += skip + 1
		switch marker = data[at]; {
		case marker == 0xff: // a fill byte
			continue
		case marker == 0: // a stuffed byte, which is no marker
			at++
			continue
		case marker == markerEOI, marker >= markerRST0 && marker <= markerRST7, marker == 0x01:
			return marker, nil, at + 1
		}
		at++
		if at+2 > len(data) {
			return marker, nil, 0
		}
		next = at + int(binary.BigEndian.Uint16(data[at:]))
		if next < at+2 || next > len(data) {
			return marker, nil, 0
		}
		return marker, data[at+2 : next], next
	}
}

// entropyEnd finds the end of the data of a scan that begins at an offset: the next marker that is no restart.
func entropyEnd(data []byte, at int) int {
	for {
		skip := bytes.IndexByte(data[at:], 0xff)
		if skip < 0 || at+skip+1 >= len(data) {
			return len(data)
		}
		at += skip
		if marker := data[at+1]; marker != 0 && (marker < markerRST0 || marker > markerRST7) {
			return at
		}
		at += 2
	}
}

// frame reads a frame header and says whether it is one.
func (f *jpegFile) frame(body []byte) bool {
	if len(body) < 6 || len(body) != 6+3*int(body[5]) || body[5] > 4 {
		return false
	}
	f.precision = int(body[0])
	f.height, f.width = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
	across, down := 1, 1
	for c := body[6:]; len(c) > 0; c = c[3:] {
		h, v := int(c[1]>>4), int(c[1]&15)
		if h < 1 || h > 4 || v < 1 || v > 4 {
			return false
		}
		if body[5] == 1 { // the factors of a single component mean nothing
			h, v = 1, 1
		}
		across, down = max(across, h), max(down, v)
		f.components = append(f.components, jpegComponent{id: c[0], h: h, v: v})
	}
	for i := range f.components {
		c := &f.components[i]
		units := int64((f.width+8*across-1)/(8*across)) * int64((f.height+8*down-1)/(8*down))
		c.blocks = units * int64(c.h*c.v)
	}
	return true
}

// scan counts a scan and says whether nothing is missing after it.
func (f *jpegFile) scan(body []byte) bool {
	f.scans++
	if len(body) < 1 || len(body) != 4+2*int(body[0]) {
		return false
	}
	low, high, left := 0, 63, 0
	if f.progressive {
		low, high, left = int(body[len(body)-3]), min(63, int(body[len(body)-2])), int(body[len(body)-1]&15)
	}
	whole := len(f.components) > 0
	for i := range f.components {
		c := &f.components[i]
		for n := range int(body[0]) {
			if body[1+2*n] == c.id {
				f.visits += c.blocks
				for k := low; k <= high; k++ {
					c.coded[k] = 1 + left
				}
			}
		}
		whole = whole && c.whole()
	}
	return whole
}

// unread names the kind of a JPEG that is not read; empty for the others.
func (f jpegFile) unread() string {
	switch f.kind {
	case 0xc3:
		return "a lossless JPEG"
	case 0xc9, 0xca:
		return "a JPEG in arithmetic coding"
	case 0xc5, 0xc6, 0xc7, 0xcb, 0xcd, 0xce, 0xcf:
		return "a hierarchical or lossless JPEG"
	}
	if f.precision > 8 {
		return fmt.Sprintf("a JPEG of %d bits a sample", f.precision)
	}
	return ""
}

// A pass is one visit of each block. Ten are usual, the standard allows thousands: 156 KB of them held a worker for two minutes. A visit takes
// about 100 ns, so that the second bound is some three seconds of CPU for the default of MaxPixels.
const (
	maxPasses      = 200
	passesOfLimits = 8 // over MaxPixels, three components
)

// costJPEG refuses a JPEG whose scans pass over its blocks more often than any encoder makes them, before any of them is decoded.
func costJPEG(data []byte, limits Limits) error {
	f := readJPEG(data)
	var blocks int64
	for _, c := range f.components {
		blocks += c.blocks
	}
	if f.visits > maxPasses*blocks || f.visits > max(2*blocks, passesOfLimits*3*limits.MaxPixels/64) {
		return fmt.Errorf("%w: a JPEG of %dx%d with %d scans; write it anew, with fewer", ErrTooCostly, f.width, f.height, f.scans)
	}
	return nil
}

func configJPEG(data []byte) (image.Config, error) {
	if kind := readJPEG(data).unread(); kind != "" {
		return image.Config{}, unsupported(kind)
	}
	return jpeg.DecodeConfig(bytes.NewReader(data))
}

// decodeJPEG decodes a JPEG, its chroma interpolated.
func decodeJPEG(data []byte) (image.Image, error) {
	f := readJPEG(data)
	if err := f.check(); err != nil {
		return nil, err
	}
	m, err := jpeg.Decode(f.reader())
	if err != nil {
		if f.end == len(data) { // the data goes on to the end of the file, and was not enough
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
	switch m := m.(type) {
	case *image.YCbCr:
		return solid{jpegColour.convert(m, nil, 0)}, nil
	case *image.RGBA:
		f.interpolate(m.Pix, m.Stride, 0)
	case *image.CMYK:
		f.interpolate(m.Pix, m.Stride, 255)
	}
	return m, nil
}

// check says what is missing.
func (f jpegFile) check() error {
	if !f.finished && f.end == 0 {
		return io.ErrUnexpectedEOF
	}
	for _, c := range f.components {
		if c.coded[0] == 0 {
			return jpeg.FormatError("a component has no scan")
		}
	}
	return nil
}

// reader gives what package jpeg is to see: the file up to the scan that made the image whole, where no end marker follows; and of four
// components the samples as they are coded, so that interpolate finds them.
func (f jpegFile) reader() io.Reader {
	data, end := f.data, ""
	if !f.finished {
		data, end = data[:f.end], "\xff\xd9"
	}
	if f.coloured() {
		return io.MultiReader(bytes.NewReader(data[:f.transform]), strings.NewReader("\x00"), bytes.NewReader(data[f.transform+1:]), strings.NewReader(end))
	}
	return io.MultiReader(bytes.NewReader(data), strings.NewReader(end))
}

// subsampled says whether the second and third component have fewer samples than the first, and how many times fewer.
func (f jpegFile) subsampled() (across, down int, ok bool) {
	if len(f.components) < 3 {
		return 1, 1, false
	}
	across, down = f.components[0].h/f.components[1].h, f.components[0].v/f.components[1].v
	return across, down, across*down > 1
}

// coloured says whether it has luma, subsampled chroma and black, and the Adobe segment says so.
func (f jpegFile) coloured() bool {
	_, _, ok := f.subsampled()
	return ok && len(f.components) == 4 && f.transform > 0 && f.data[f.transform] != 0
}

// interpolate does for RGB and CMYK, 4 bytes a pixel, what colour does for YCbCr: package jpeg has replicated the samples of the second
// and third component, and inverted (by xor) all of CMYK's. Of luma, chroma and black it makes CMYK.
func (f jpegFile) interpolate(pix []uint8, stride int, xor uint8) {
	across, down, ok := f.subsampled()
	if !ok {
		return
	}
	for channel := 1; channel <= 2; channel++ {
		p := plane{w: (f.width + across - 1) / across, h: (f.height + down - 1) / down, across: across, down: down}
		p.stride = p.w
		p.pix = make([]uint8, p.w*p.h)
		for i := range p.pix {
			p.pix[i] = pix[i/p.w*down*stride+4*(i%p.w)*across+channel] ^ xor
		}
		row := make([]uint8, f.width+across)
		for y := range f.height {
			for x, v := range p.jpegRow(row, y)[:f.width] {
				pix[y*stride+4*x+channel] = v ^ xor
			}
		}
	}
	if f.coloured() {
		for p := pix; len(p) >= 4; p = p[4:] {
			black := p[3]
			fullRange(p[:4], []uint8{p[0] ^ xor}, []uint8{p[1] ^ xor}, []uint8{p[2] ^ xor})
			p[3] = black
		}
	}
}
