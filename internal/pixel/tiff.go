package pixel

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"io"
	"math/bits"

	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"
)

// This reader is used instead of golang.org/x/image/tiff (v0.47.0), which decodes some files to wrong pixels without an error (PlanarConfiguration 2,
// FillOrder 2 outside CCITT) and refuses some valid ones as damaged (extra samples without a meaning, tags in another order).

// The tags that are read (TIFF 6.0, appendix A).
const (
	tagWidth, tagHeight, tagBits           = 256, 257, 258
	tagCompression, tagPhotometric         = 259, 262
	tagFillOrder, tagSamples, tagPlanar    = 266, 277, 284
	tagStrips, tagRows, tagStripBytes      = 273, 278, 279
	tagT4Options, tagPredictor, tagPalette = 292, 317, 320
	tagTileWidth, tagTileHeight            = 322, 323
	tagTiles, tagTileBytes                 = 324, 325
	tagExtra, tagSampleFormat              = 338, 339
)

// What the values of some tags mean.
const (
	whiteIsZero, blackIsZero, rgbColours, paletteColours = 0, 1, 2, 3

	compressNone, compressG3, compressG4, compressLZW           = 1, 3, 4, 5
	compressDeflate, compressOldDeflate, compressPackBits       = 8, 32946, 32773
	associatedAlpha, unassociatedAlpha                          = 1, 2
	unsignedSamples, undefinedSamples                           = 1, 4
	maxPieces                                             int64 = 1 << 18
)

// photometrics and compressions are the names of those that are not read.
var (
	photometrics = map[int]string{
		4: "a mask", 5: "CMYK", 6: "YCbCr", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "raw sensor data", 32844: "LogL", 32845: "LogLuv",
	}
	compressions = map[int]string{
		2: "CCITT modified Huffman", 6: "old JPEG", 7: "JPEG", 34661: "JBIG", 34676: "SGI LogLuv", 34712: "JPEG 2000", 34887: "LERC",
		34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 52546: "JPEG XL",
	}
)

// tiffFile is the first image of a TIFF, as its directory describes it. Its pixels lie in pieces: strips as wide as the image, or tiles.
type tiffFile struct {
	data    []byte
	order   binary.ByteOrder
	entries map[uint16]tiffEntry

	width, height                         int
	bits, samples, colours                int // of a sample; of a pixel, and those of them that are not extra
	photometric, compression, predictor   int
	planes                                int // 1, or samples where each has pieces of its own
	reversed                              bool
	alpha                                 int // the sample that is alpha; 0 for none
	associated                            bool
	tiled                                 bool
	pieceWidth, pieceHeight, across, down int
	offsets, counts                       []int
	palette                               []int // 2^bits values of red, then green, then blue, of 16 bits
}

// tiffEntry is a directory entry: its type, the number of its values, and where they lie.
type tiffEntry struct {
	kind  uint16
	count int
	at    int64
}

// tiffError says what is impossible in a TIFF.
type tiffError string

func (e tiffError) Error() string { return "TIFF: " + string(e) }

// readTIFF reads the directory. The order of its entries does not matter. The error is unsupported, tiffError or
// io.ErrUnexpectedEOF.
func readTIFF(data []byte) (*tiffFile, error) {
	f := &tiffFile{data: data}
	if len(data) < 8 {
		return nil, io.ErrUnexpectedEOF
	}
	f.order = binary.LittleEndian
	if data[0] == 'M' {
		f.order = binary.BigEndian
	}
	if err := f.directory(int64(f.order.Uint32(data[4:]))); err != nil {
		return nil, err
	}
	for _, read := range []func() error{f.readSize, f.readSamples, f.readCoding, f.readExtra, f.readPieces} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// sizes are the bytes of a value, by its type: BYTE, ASCII, SHORT, LONG.
var sizes = [...]int64{1: 1, 2: 1, 3: 2, 4: 4}

func (f *tiffFile) directory(at int64) error {
	if at+2 > int64(len(f.data)) {
		return io.ErrUnexpectedEOF
	}
	n := int64(f.order.Uint16(f.data[at:]))
	if at+2+12*n+4 > int64(len(f.data)) { // with the place of the next directory
		return io.ErrUnexpectedEOF
	}
	f.entries = make(map[uint16]tiffEntry, n)
	for i := range n {
		entry := f.data[at+2+12*i:]
		tag := f.order.Uint16(entry)
		e := tiffEntry{kind: f.order.Uint16(entry[2:]), count: int(f.order.Uint32(entry[4:])), at: at + 2 + 12*i + 8}
		if int(e.kind) < len(sizes) && sizes[e.kind]*int64(e.count) > 4 {
			e.at = int64(f.order.Uint32(entry[8:]))
		}
		if _, twice := f.entries[tag]; !twice {
			f.entries[tag] = e
		}
	}
	return nil
}

// values reads at most most values of a tag; none if it is not there.
func (f *tiffFile) values(tag uint16, most int) ([]int, error) {
	e, found := f.entries[tag]
	if !found {
		return nil, nil
	}
	if int(e.kind) >= len(sizes) || sizes[e.kind] == 0 || e.kind == 2 {
		return nil, tiffError(fmt.Sprintf("tag %d has values of type %d", tag, e.kind))
	}
	count := min(e.count, most)
	if e.at+sizes[e.kind]*int64(count) > int64(len(f.data)) {
		return nil, io.ErrUnexpectedEOF
	}
	list := make([]int, count)
	for i := range list {
		at := f.data[e.at+sizes[e.kind]*int64(i):]
		switch sizes[e.kind] {
		case 1:
			list[i] = int(at[0])
		case 2:
			list[i] = int(f.order.Uint16(at))
		default:
			list[i] = int(f.order.Uint32(at))
		}
	}
	return list, nil
}

// value reads the first value of a tag, or gives what stands for it where it is not there.
func (f *tiffFile) value(tag uint16, otherwise int) (int, error) {
	list, err := f.values(tag, 1)
	if err != nil || len(list) == 0 {
		return otherwise, err
	}
	return list[0], nil
}

// number is one value of a tag and where it goes.
type number struct {
	to        *int
	tag       uint16
	otherwise int
}

func (f *tiffFile) numbers(list ...number) error {
	for _, n := range list {
		var err error
		if *n.to, err = f.value(n.tag, n.otherwise); err != nil {
			return err
		}
	}
	return nil
}

func (f *tiffFile) readSize() error {
	if err := f.numbers(number{&f.width, tagWidth, 0}, number{&f.height, tagHeight, 0}); err != nil {
		return err
	}
	if f.width == 0 || f.height == 0 {
		return tiffError("it has no size")
	}
	return nil
}

// maxSamples bounds the samples of a pixel.
const maxSamples = 16

func (f *tiffFile) readSamples() error {
	depths, err := f.values(tagBits, maxSamples)
	if err != nil {
		return err
	}
	if len(depths) == 0 {
		depths = []int{1}
	}
	f.bits = depths[0]
	if err := f.numbers(number{&f.samples, tagSamples, len(depths)}, number{&f.photometric, tagPhotometric, -1}); err != nil {
		return err
	}
	for _, bits := range depths {
		if bits != f.bits {
			return unsupported(fmt.Sprintf("a TIFF whose samples have %d and %d bits", f.bits, bits))
		}
	}
	formats, err := f.values(tagSampleFormat, maxSamples)
	if err != nil {
		return err
	}
	for _, format := range formats {
		if format != unsignedSamples && format != undefinedSamples {
			return unsupported("a TIFF of signed or floating-point samples")
		}
	}
	f.colours = 1
	switch f.photometric {
	case rgbColours:
		f.colours = 3
	case whiteIsZero, blackIsZero, paletteColours:
	case -1:
		return tiffError("it does not say what its samples mean (PhotometricInterpretation)")
	default:
		if name := photometrics[f.photometric]; name != "" {
			return unsupported("a TIFF of " + name)
		}
		return unsupported(fmt.Sprintf("a TIFF of colours of kind %d", f.photometric))
	}
	switch {
	case f.bits != 8 && f.bits != 16 && (f.colours == 3 || f.bits != 1 && f.bits != 2 && f.bits != 4),
		f.bits == 16 && f.photometric == paletteColours:
		return unsupported(fmt.Sprintf("a TIFF of %d bits a sample", f.bits))
	case f.samples < f.colours || f.samples > maxSamples:
		return tiffError(fmt.Sprintf("%d samples a pixel", f.samples))
	}
	return nil
}

// readExtra finds alpha among the samples that are not colours. Those without a meaning are passed over, as the standard says.
func (f *tiffFile) readExtra() error {
	if f.samples == f.colours {
		return nil
	}
	extra, err := f.values(tagExtra, maxSamples)
	if err != nil {
		return err
	}
	if len(extra) != f.samples-f.colours {
		return unsupported(fmt.Sprintf("a TIFF of %d samples a pixel that does not say what they are (ExtraSamples)", f.samples))
	}
	for i, kind := range extra {
		if kind == associatedAlpha || kind == unassociatedAlpha {
			f.alpha, f.associated = f.colours+i, kind == associatedAlpha
			break
		}
	}
	return nil
}

func (f *tiffFile) readCoding() error {
	var fill, t4, planar int
	if err := f.numbers(
		number{&f.compression, tagCompression, compressNone}, number{&f.predictor, tagPredictor, 1}, number{&fill, tagFillOrder, 1},
		number{&t4, tagT4Options, 0}, number{&planar, tagPlanar, 1},
	); err != nil {
		return err
	}
	f.reversed = fill == 2
	f.planes = 1
	if planar == 2 {
		f.planes = f.samples
	}
	if f.photometric == paletteColours {
		var err error
		if f.palette, err = f.values(tagPalette, 3<<f.bits); err != nil {
			return err
		}
		if len(f.palette) != 3<<f.bits {
			return tiffError(fmt.Sprintf("a palette of %d values", len(f.palette)))
		}
	}
	switch f.compression {
	case compressNone, compressLZW, compressDeflate, compressOldDeflate, compressPackBits:
	case compressG3, compressG4:
		if f.bits != 1 || f.samples != 1 {
			return unsupported("a TIFF in CCITT compression that is not bilevel")
		}
		if f.compression == compressG3 && t4&1 != 0 {
			return unsupported("a TIFF in two-dimensional CCITT Group 3 compression")
		}
	default:
		if name := compressions[f.compression]; name != "" {
			return unsupported("a TIFF in " + name + " compression")
		}
		return unsupported(fmt.Sprintf("a TIFF in compression %d", f.compression))
	}
	if f.predictor != 1 && (f.predictor != 2 || f.bits < 8) {
		return unsupported(fmt.Sprintf("a TIFF of %d bits a sample with predictor %d", f.bits, f.predictor))
	}
	return nil
}

func (f *tiffFile) readPieces() error {
	f.tiled = f.entries[tagTiles].count > 0
	at, bytes := uint16(tagStrips), uint16(tagStripBytes)
	f.pieceWidth = f.width
	err := f.numbers(number{&f.pieceHeight, tagRows, f.height})
	f.pieceHeight = min(f.pieceHeight, f.height)
	if f.tiled {
		at, bytes = tagTiles, tagTileBytes
		err = f.numbers(number{&f.pieceWidth, tagTileWidth, 0}, number{&f.pieceHeight, tagTileHeight, 0})
	}
	if err != nil {
		return err
	}
	if f.pieceWidth < 1 || f.pieceHeight < 1 {
		return tiffError(fmt.Sprintf("pieces of %dx%d", f.pieceWidth, f.pieceHeight))
	}
	f.across, f.down = (f.width-1)/f.pieceWidth+1, (f.height-1)/f.pieceHeight+1
	if int64(f.across) > maxPieces/int64(f.down)/int64(f.planes) {
		return fmt.Errorf("%w: a TIFF of more than %d strips or tiles; write it anew, with larger ones", ErrTooCostly, maxPieces)
	}
	n := f.across * f.down * f.planes
	if f.offsets, err = f.values(at, n); err != nil {
		return err
	}
	if f.counts, err = f.values(bytes, n); err != nil {
		return err
	}
	if len(f.counts) == 0 && len(f.offsets) == 1 && n == 1 && f.compression == compressNone {
		f.counts = []int{f.rowBytes() * f.pieceHeight}
	}
	if len(f.offsets) != n || len(f.counts) != n {
		return tiffError(fmt.Sprintf("%d offsets and %d lengths of %d strips or tiles", len(f.offsets), len(f.counts), n))
	}
	return nil
}

// inPiece is the number of samples that a piece has of a pixel.
func (f *tiffFile) inPiece() int { return f.samples / f.planes }

func (f *tiffFile) rowBytes() int { return (f.pieceWidth*f.inPiece()*f.bits + 7) / 8 }

func configTIFF(data []byte) (image.Config, error) {
	f, err := readTIFF(data)
	if err != nil {
		return image.Config{}, err
	}
	config := image.Config{Width: f.width, Height: f.height}
	if f.photometric == paletteColours {
		config.ColorModel = color.Palette{}
	}
	return config, nil
}

// bytesPerPixel bounds what is unpacked of a TIFF, padding of tiles included: twice RGBA of 16 bits.
const bytesPerPixel = 16

// costTIFF bounds the padding of tiles and the samples that are not shown, and the bytes that are read again because pieces overlap.
func costTIFF(data []byte, limits Limits) error {
	f, err := readTIFF(data)
	if err != nil {
		return err
	}
	left := bytesPerPixel * limits.MaxPixels
	for _, n := range []int{f.rowBytes(), f.pieceHeight, f.across, f.down, f.planes} {
		left /= int64(n) // divided, because a product may overflow
	}
	if left == 0 {
		return fmt.Errorf("%w: a TIFF of %dx%d with %d samples a pixel in strips or tiles of %dx%d; write it anew, with fewer or smaller ones",
			ErrTooCostly, f.width, f.height, f.samples, f.pieceWidth, f.pieceHeight)
	}
	var read int64
	for i, n := range f.counts {
		if f.offsets[i] > len(data) || n > len(data)-f.offsets[i] {
			return io.ErrUnexpectedEOF
		}
		read += int64(n)
	}
	if read > 4*int64(len(data)) {
		return fmt.Errorf("%w: a TIFF whose strips or tiles have %d bytes, in a file of %d", ErrTooCostly, read, len(data))
	}
	return nil
}

// decodeTIFF gives an NRGBA, or an RGBA where alpha is associated.
func decodeTIFF(data []byte) (image.Image, error) {
	f, err := readTIFF(data)
	if err != nil {
		return nil, err
	}
	dst := image.NewNRGBA(image.Rect(0, 0, f.width, f.height))
	for i := range f.offsets {
		plane, piece := i/(f.across*f.down), i%(f.across*f.down)
		if err := f.decodePiece(dst, i, plane, piece%f.across*f.pieceWidth, piece/f.across*f.pieceHeight); err != nil {
			return nil, err
		}
	}
	for y := range f.height {
		f.finish(dst.Pix[y*dst.Stride:][:4*f.width])
	}
	if f.associated {
		return (*image.RGBA)(dst), nil
	}
	return dst, nil
}

// channel is where a sample goes in a pixel of 4 bytes; -1 for nowhere.
func (f *tiffFile) channel(sample int) int {
	switch {
	case sample < f.colours:
		return sample
	case sample == f.alpha:
		return 3
	}
	return -1
}

// decodePiece puts the samples of piece i, whose first pixel is at x, y, into their channels.
func (f *tiffFile) decodePiece(dst *image.NRGBA, i, plane, x, y int) error {
	rows, width := min(f.pieceHeight, f.height-y), min(f.pieceWidth, f.width-x)
	raw, err := f.unpack(i, rows)
	if err != nil {
		return err
	}
	n, rowBytes := f.inPiece(), f.rowBytes()
	scratch := make([]uint8, f.pieceWidth*n)
	for row := range rows {
		line := raw[row*rowBytes:][:rowBytes]
		f.unpredict(line)
		samples := f.eightBits(scratch, line)
		out := dst.Pix[(y+row)*dst.Stride+4*x:][:4*width]
		for s := range n {
			channel := f.channel(plane + s)
			if channel < 0 {
				continue
			}
			for at := range width {
				out[4*at+channel] = samples[at*n+s]
			}
		}
	}
	return nil
}

// unpack gives the first rows of piece i without compression.
func (f *tiffFile) unpack(i, rows int) ([]byte, error) {
	raw := f.data[f.offsets[i]:][:f.counts[i]] // costTIFF has looked
	size := rows * f.rowBytes()
	fax := f.compression == compressG3 || f.compression == compressG4
	if f.reversed && !fax {
		raw = bytes.Clone(raw)
		for i, b := range raw {
			raw[i] = bits.Reverse8(b)
		}
	}
	var r io.Reader = bytes.NewReader(raw)
	switch {
	case fax:
		r = f.fax(r, rows)
	case f.compression == compressLZW:
		l := lzw.NewReader(r, lzw.MSB, 8)
		defer func() { _ = l.Close() }()
		r = l
	case f.compression == compressDeflate || f.compression == compressOldDeflate:
		z, err := zlib.NewReader(r)
		if err != nil {
			return nil, err
		}
		r = z
	case f.compression == compressPackBits:
		return unpackBits(raw, size)
	case len(raw) < size:
		return nil, io.ErrUnexpectedEOF
	case f.predictor == 1:
		return raw[:size], nil
	}
	out := make([]byte, size)
	_, err := io.ReadFull(r, out)
	return out, err
}

// fax reads CCITT data as 0 for white and 1 for black, which are then what PhotometricInterpretation says they are: white is black
// where it is BlackIsZero.
func (f *tiffFile) fax(r io.Reader, rows int) io.Reader {
	order, form := ccitt.MSB, ccitt.Group4
	if f.reversed {
		order = ccitt.LSB
	}
	if f.compression == compressG3 {
		form = ccitt.Group3
	}
	if f.tiled {
		rows = f.pieceHeight
	}
	return ccitt.NewReader(r, order, form, f.pieceWidth, rows, &ccitt.Options{Invert: true})
}

// unpackBits decodes PackBits (TIFF 6.0, section 9) to so many bytes.
func unpackBits(raw []byte, size int) ([]byte, error) {
	out := make([]byte, 0, size)
	for len(out) < size {
		if len(raw) < 2 {
			return nil, io.ErrUnexpectedEOF
		}
		n := int(int8(raw[0]))
		raw = raw[1:]
		switch {
		case n == -128:
		case n < 0:
			out = append(out, bytes.Repeat(raw[:1], min(1-n, size-len(out)))...)
			raw = raw[1:]
		case n+1 > len(raw):
			return nil, io.ErrUnexpectedEOF
		default:
			out = append(out, raw[:min(n+1, size-len(out))]...)
			raw = raw[n+1:]
		}
	}
	return out, nil
}

// unpredict adds to each sample of a row the one before it (TIFF 6.0, section 14).
func (f *tiffFile) unpredict(line []byte) {
	if f.predictor != 2 {
		return
	}
	n := f.inPiece()
	if f.bits == 8 {
		for i := n; i < len(line); i++ {
			line[i] += line[i-n]
		}
		return
	}
	for i := 2 * n; i+1 < len(line); i += 2 {
		f.order.PutUint16(line[i:], f.order.Uint16(line[i:])+f.order.Uint16(line[i-2*n:]))
	}
}

// eightBits gives a byte for each sample of a row: the high one of 16 bits; fewer bits as they are.
func (f *tiffFile) eightBits(to, line []byte) []byte {
	switch f.bits {
	case 8:
		return line
	case 16:
		high := 0
		if f.order == binary.LittleEndian {
			high = 1
		}
		for i := range to {
			to[i] = line[2*i+high]
		}
	default:
		inByte := 8 / f.bits
		for i := range to {
			to[i] = line[i/inByte] >> (8 - f.bits*(i%inByte+1)) & (1<<f.bits - 1)
		}
	}
	return to
}

// finish makes colours of a row whose channels hold samples.
func (f *tiffFile) finish(row []uint8) {
	scale := uint8(1)
	if f.bits < 8 {
		scale = uint8(255 / (1<<f.bits - 1))
	}
	for p := row; len(p) >= 4; p = p[4:] {
		switch f.photometric {
		case whiteIsZero:
			p[0] = 255 - p[0]*scale
			p[1], p[2] = p[0], p[0]
		case blackIsZero:
			p[0] *= scale
			p[1], p[2] = p[0], p[0]
		case paletteColours:
			i, n := int(p[0]), len(f.palette)/3
			p[0], p[1], p[2] = uint8(f.palette[i]>>8), uint8(f.palette[n+i]>>8), uint8(f.palette[2*n+i]>>8)
		}
		switch {
		case f.alpha == 0:
			p[3] = 255
		case f.bits < 8:
			p[3] *= scale
		}
		if f.associated {
			p[0], p[1], p[2] = min(p[0], p[3]), min(p[1], p[3]), min(p[2], p[3])
		}
	}
}
