package avif

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Where an AVIF file of one image without alpha differs from another's, before the image itself (ISO/IEC 23008-12): all are
// big-endian uint32, but for the level of AV1, which is in the low five bits of a byte and which decoding does not look at.
const (
	atExtent = 0x7c  // iloc: length of the image
	atWidth  = 0xc4  // ispe
	atHeight = 0xc8  // ispe
	atLevel  = 0xe5  // av1C
	atBox    = 0x112 // mdat: length of the image and of the box's header, 8 bytes
)

// head is what libavif 1.1.1 writes before an image of 8 bits and 4:4:4.
var head = must(hex.DecodeString("" +
	"0000002066747970617669660000000061766966" + "6d6966316d6961664d413141" + // ftyp
	"000000f26d65746100000000" + // meta, and in it:
	"0000002868646c720000000000000000706963740000000000000000000000006c69626176696600" + // hdlr
	"0000000e7069746d000000000001" + // pitm
	"0000001e696c6f630000000044000001" + "0001000000010000011a00000000" + // iloc
	"0000002869696e660000000000010000001a696e6665020000000001000061763031436f6c6f7200" + // iinf
	"0000006a697072700000004b6970636f" + // iprp, and in it:
	"000000146973706500000000" + "0000000000000000" + // ispe
	"00000010706978690000000003080808" + // pixi
	"0000000c617631438120" + "0000" + // av1C
	"00000013636f6c726e636c7800020002000280" + // colr
	"0000001769706d6100000000000000010001040102" + "8304" + // ipma
	"000000006d646174")) // mdat

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// WriteFile makes a file that any reader of AVIF takes of a coded image of a size.
func WriteFile(coded []byte, width, height int) []byte {
	file := append(bytes.Clone(head), coded...)
	put := binary.BigEndian.PutUint32
	put(file[atExtent:], uint32(len(coded)))
	put(file[atWidth:], uint32(width))
	put(file[atHeight:], uint32(height))
	put(file[atBox:], uint32(len(coded)+8))
	return file
}

// payload is the inverse of WriteFile.
func payload(file []byte, width, height int) ([]byte, error) {
	if len(file) < len(head) {
		return nil, fmt.Errorf("avif: the encoder wrote %d bytes", len(file))
	}
	coded := file[len(head):]
	file[atLevel] &^= 0x1f
	if want := WriteFile(coded, width, height); !bytes.Equal(file, want) {
		return nil, fmt.Errorf("avif: the encoder wrote another head than this version knows: %x", file[:len(head)])
	}
	return coded, nil
}
