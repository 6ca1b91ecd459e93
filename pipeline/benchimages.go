package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"math"
	"math/rand/v2"

	"stegomq/internal/pixel"
	"stegomq/producer"
)

// benchPairs is the number of different pairs of images that a benchmark draws, or takes of a data set.
const benchPairs = 32

// benchImages are the images of a benchmark, PNG files of its size.
type benchImages struct {
	origin string
	token  string      // of this benchmark, so that no other's images are the same
	pairs  [][2][]byte // covers and secrets
	stegos [][][]byte  // by key
}

func (b *Bench) readImages(ctx context.Context) (*benchImages, error) {
	made := &benchImages{token: randomToken() + randomToken()}
	if b.req.Data.Data == "" {
		made.origin = fmt.Sprintf("drawn, seed %d", b.req.Seed)
		for i := range benchPairs {
			pair := [2][]byte{}
			for j := range pair {
				var err error
				if pair[j], err = pixel.EncodePNG(drawn(b.req.Size, b.req.Seed, uint64(2*i+j))); err != nil {
					return nil, err
				}
			}
			made.pairs = append(made.pairs, pair)
		}
		return made, nil
	}
	opts := b.req.Data
	opts.Limit = benchPairs
	d, err := b.dataset(ctx, opts, nothing{})
	if err != nil {
		return nil, err
	}
	for _, p := range d.Pairs {
		pair := [2][]byte{}
		for j, ref := range p.Refs() {
			if pair[j], err = b.sized(d.Files[ref.GetDigest()]); err != nil {
				return nil, err
			}
		}
		made.pairs = append(made.pairs, pair)
	}
	made.origin = fmt.Sprintf("%d pairs of a data set", len(made.pairs))
	return made, nil
}

// sized is an image file brought to the size of the benchmark: what is measured is not the decoder of photographs.
func (b *Bench) sized(f producer.File) ([]byte, error) {
	data, err := f.Read(b.opts.Limits.MaxBytes)
	if err != nil {
		return nil, err
	}
	img, _, err := pixel.Decode(data, b.opts.Limits)
	if err == nil {
		img, err = pixel.Fit(img, pixel.Geometry{Width: b.req.Size, Height: b.req.Size})
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	return pixel.EncodePNG(img)
}

// drawn is image n of a seed: smooth waves with noise on them, which as PNG have about as many bytes as a photograph.
func drawn(side int, seed, n uint64) *image.NRGBA {
	r := rand.New(rand.NewPCG(seed, n))
	img := image.NewNRGBA(image.Rect(0, 0, side, side))
	for c := range 3 {
		fx, fy, phase := 1+4*r.Float64(), 1+4*r.Float64(), 2*math.Pi*r.Float64()
		for y := range side {
			for x := range side {
				wave := math.Sin(2*math.Pi*(fx*float64(x)+fy*float64(y))/float64(side) + phase)
				img.Pix[img.PixOffset(x, y)+c] = uint8(min(max(128+90*wave+6*r.NormFloat64(), 0), 255))
			}
		}
	}
	for i := 3; i < len(img.Pix); i += 4 {
		img.Pix[i] = 255
	}
	return img
}

// item gives the images of item n; to recover, a stego image of the key. Where the images may not come again, they are files that nobody has seen,
// with the same pixels.
func (p *benchImages) item(recover bool, key, n int, again bool) [][]byte {
	pair := p.pairs[n%len(p.pairs)]
	images := [][]byte{pair[0], pair[1]}
	if recover {
		of := p.stegos[key%len(p.stegos)]
		images = [][]byte{of[n%len(of)]}
	}
	if !again {
		for i, data := range images {
			images[i] = p.stamped(data, fmt.Sprintf("%s %d", p.token, n))
		}
	}
	return images
}

// pngEnd is the last chunk of a PNG file.
const pngEnd = 12

// stamped is a PNG file with a comment, a tEXt chunk before the last one (PNG, 11.3.3.3).
func (p *benchImages) stamped(data []byte, comment string) []byte {
	body := "tEXtComment\x00" + comment
	out := make([]byte, 0, len(data)+len(body)+8)
	out = append(out, data[:len(data)-pngEnd]...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)-4))
	out = append(out, body...)
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE([]byte(body)))
	return append(out, data[len(data)-pngEnd:]...)
}

// repainted is the cover of pair n with its first eleven pixels changed, a PNG file.
func (p *benchImages) repainted(n int) ([]byte, error) {
	img, _, err := pixel.Decode(p.pairs[n%len(p.pairs)][0], pixel.Limits{MinSide: 1})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", p.token, n))
	for i, b := range sum {
		img.Pix[4*(i/3)+i%3] = b
	}
	var file bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&file, img)
	return file.Bytes(), err
}
