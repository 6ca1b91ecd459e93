package cache

import (
	"encoding/binary"
	"errors"
	"math"

	"stegomq/schemas"
)

// ImageInfo is what inspection of an image file found.
type ImageInfo struct {
	// Format is the decoder's word: png, jpeg, webp, ...; may be empty when the file is unusable.
	Format string
	// Width and Height in pixels; may be 0 when the file is unusable.
	Width, Height int
	// Reason is empty when the image is usable. Detail is one line for people.
	Reason schemas.Reason
	Detail string
	// Limits that the image was judged under.
	Limits Limits
}

// Limits bound a source image.
type Limits struct {
	// Bytes of the encoded file, and pixels of the decoded image.
	Bytes, Pixels int64
}

var errImageInfo = errors.New("not an encoded ImageInfo")

// encode writes the numbers as unsigned varints and the texts with their length before them.
func (i *ImageInfo) encode() []byte {
	b := make([]byte, 0, 64)
	for _, n := range []int64{int64(i.Width), int64(i.Height), i.Limits.Bytes, i.Limits.Pixels} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	for _, s := range []string{i.Format, string(i.Reason), i.Detail} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func decodeImageInfo(b []byte) (*ImageInfo, error) {
	ok := true
	number := func() int64 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > math.MaxInt64 {
			ok, b = false, nil
			return 0
		}
		b = b[size:]
		return int64(n)
	}
	text := func() string {
		n := number()
		if n > int64(len(b)) {
			ok, b = false, nil
			return ""
		}
		s := string(b[:n])
		b = b[n:]
		return s
	}
	i := &ImageInfo{Width: int(number()), Height: int(number()), Limits: Limits{Bytes: number(), Pixels: number()}}
	i.Format, i.Reason, i.Detail = text(), schemas.Reason(text()), text()
	if !ok || len(b) != 0 {
		return nil, errImageInfo
	}
	return i, nil
}
