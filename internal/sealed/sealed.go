// Package sealed owns the keying whose confidentiality is that of cryptography: a secret image is coded (package avif), encrypted
// and authenticated for whoever holds k_r (package kem), and written where a change is seen least (package stc). Without the key
// there is no image, neither a worse one nor another: recovery ends in ErrAuthentication.
//
// An image is samples, 8 bits each, all red ones first, then the green and the blue ones, row by row: P pixels, N = 3 P samples.
// A number is little-endian, uN has N bits, and size = u32(width) | u32(height) of the stego image. kem's purpose is
// "stegomq.sealed.v1", Known and Export are its; a permutation is stc.Permutation of a ChaCha20 keystream (RFC 8439, nonce and
// counter 0) with a key of 32 bytes.
//
// # Regions
//
// The pixels are permuted by Known("regions", 32). The first h = min(598, max(150, P / 32)) of them are the head, the next
// t = min(171, max(43, P / 128)) the tag, the others the body. Of head and tag the elements are the red samples in the order of
// the pixels, then the green and the blue ones. The body's elements are its samples (profile plain), ordered in that same way, or
// its pixels (profile covert), and then permuted by Export("body", 32).
//
//	head  the encapsulation, 32 bytes | the first sealed message, of u8(1), the version | u8(profile) | u16(0) | u32(bits of the body)
//	body  the second sealed message, of u16(width) | u16(height) of the secret | u32(length) | the coded secret | zeros
//	tag   the first 16 bytes of HMAC-SHA-256(Export("tag", 32), size | samples)
//
// Both messages are sealed with size as additional bytes, the second with the whole head after it. What the tag covers is every
// sample of the stego image as it is, but that of the tag's own elements the lowest bit counts as 0. Head and body are written by
// stc.Embed, or in a covert body by stc.EmbedCovert, the tag by stc.Replace.
//
// # What it holds, and what not
//
//   - A wrong key, another user's key, one changed sample, and a photograph that holds nothing all end in ErrAuthentication, and
//     nothing tells them apart but the time that it takes. Every comparison of secrets is in constant time.
//   - Two secrets in one cover, for one key, share nothing: each has its own encapsulation.
//   - With keys of the public-key mode k_e is enough to embed, and does not recover, not even what it embedded itself. Anybody
//     with k_e can embed: that a secret is authentic does not say who sent it. There is no forward secrecy: who gets k_r
//     later reads all earlier images; and none against a quantum computer that breaks X25519.
//   - What is not hidden: that an image holds something, from who looks statistically (docs/decisions/0010-sealed.md), and from
//     who holds k_e, as package kem says. How large the secret's file is does not show, only the rate.
//   - Any change destroys the secret, as it must: a stego image stays lossless.
package sealed

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"

	"stegomq/internal/avif"
	"stegomq/internal/kem"
	"stegomq/internal/stc"
)

var (
	// ErrAuthentication: no image comes out with this key. The key is wrong, the image was changed, or it never held anything.
	ErrAuthentication = errors.New("authentication failed: wrong key, another user's key, or the image was changed")
	// ErrCapacity: the cover is too small for the secret. The text names a size that is enough.
	ErrCapacity = errors.New("the cover is too small for the secret")
	// ErrImage: samples and size do not agree, or a size that is not coded.
	ErrImage = errors.New("not an image that can be sealed")
	// ErrOptions: a rate out of range, or an unknown profile.
	ErrOptions = errors.New("wrong options of a sealed model")
)

// Profile says what changes together.
type Profile string

const (
	// Plain changes samples one by one.
	Plain Profile = "plain"
	// Covert changes red, green and blue of a pixel together, which steganalysis that looks at colours finds less well.
	Covert Profile = "covert"
)

// Rates, in bits of a sample of the cover.
const (
	MinRate       = 0.1
	MaxRate       = 2
	MaxCovertRate = 0.25
)

// maxGrowth bounds a secret's pixels by those of the cover, so that a small stego image cannot unpack to a huge one.
const maxGrowth = 16

// Options of embedding; recovery finds them in the image.
type Options struct {
	Rate    float64 // bits of a sample, MinRate to MaxRate, or to MaxCovertRate
	Profile Profile
}

// Check returns ErrOptions for a rate out of range or an unknown profile.
func (o Options) Check() error {
	most := float64(MaxRate)
	switch o.Profile {
	case Plain:
	case Covert:
		most = MaxCovertRate
	default:
		return fmt.Errorf("%w: the profile %q is neither %q nor %q", ErrOptions, o.Profile, Plain, Covert)
	}
	if !(o.Rate >= MinRate && o.Rate <= most) {
		return fmt.Errorf("%w: a rate of %g bits a sample, with profile %s it is %g to %g", ErrOptions, o.Rate, o.Profile, MinRate, most)
	}
	return nil
}

// Image is the samples of a picture: Width x Height red ones, row by row, then the green and the blue ones.
type Image struct {
	Width, Height int
	Samples       []byte
}

func (m Image) check(what string) error {
	if m.Width < 1 || m.Height < 1 || m.Width > avif.MaxSide || m.Height > avif.MaxSide || m.Width*m.Height > avif.MaxPixels {
		return fmt.Errorf("%w: the %s is %dx%d; sides are 1 to %d pixels, %d in all", ErrImage, what, m.Width, m.Height, avif.MaxSide, avif.MaxPixels)
	}
	if len(m.Samples) != 3*m.Width*m.Height {
		return fmt.Errorf("%w: the %s of %dx%d has %d samples", ErrImage, what, m.Width, m.Height, len(m.Samples))
	}
	return nil
}

func (m Image) pixels() int { return m.Width * m.Height }

// size is what binds a message to the stego image's size.
func (m Image) size() []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(m.Width))
	return binary.LittleEndian.AppendUint32(b, uint32(m.Height))
}

func (m Image) toNRGBA() *image.NRGBA {
	out, n := image.NewNRGBA(image.Rect(0, 0, m.Width, m.Height)), m.pixels()
	for i := range n {
		pix := out.Pix[4*i:][:4]
		pix[0], pix[1], pix[2], pix[3] = m.Samples[i], m.Samples[n+i], m.Samples[2*n+i], 0xff
	}
	return out
}

func fromNRGBA(img *image.NRGBA) Image {
	m := Image{Width: img.Rect.Dx(), Height: img.Rect.Dy()}
	n := m.pixels()
	m.Samples = make([]byte, 3*n)
	for i := range n {
		pix := img.Pix[4*i:][:4]
		m.Samples[i], m.Samples[n+i], m.Samples[2*n+i] = pix[0], pix[1], pix[2]
	}
	return m
}

// NewKeys takes the keys of a pair, 32 bytes each, as kem.NewKeys does. Without recover they embed only, and only if they are of
// public-key mode.
func NewKeys(embed, recover []byte) (kem.Keys, error) {
	return kem.NewKeys("stegomq.sealed.v1", embed, recover)
}

// The lengths of the parts, in bytes.
const (
	paramsSize = 8
	headSize   = kem.Size + paramsSize + kem.Overhead
	tagSize    = 16
	prefixSize = 8
)

const version = 1

// Embed hides a secret in a cover and returns the stego image. Equal inputs give another one each time. The errors are
// ErrOptions, ErrImage and ErrCapacity; stc.ErrWet of a covert cover most of whose pixels are pure colours; and those of ctx.
func Embed(ctx context.Context, cover, secret Image, key kem.Keys, o Options) (Image, error) {
	if err := errors.Join(o.Check(), cover.check("cover"), secret.check("secret")); err != nil {
		return Image{}, fmt.Errorf("sealed: %w", err)
	}
	if secret.pixels() > maxGrowth*cover.pixels() {
		return Image{}, fmt.Errorf("sealed: %w: it has more than %d times the pixels", ErrCapacity, maxGrowth)
	}
	body, err := message(ctx, cover, secret, o)
	if err != nil {
		return Image{}, fmt.Errorf("sealed: %w", err)
	}
	enc, shared, err := key.Encapsulate()
	if err != nil {
		return Image{}, fmt.Errorf("sealed: %w", err)
	}
	p := params{profile: o.Profile, bits: 8 * (len(body) + kem.Overhead)}
	sealed, err := shared.Seal(cover.size(), p.bytes())
	if err != nil {
		return Image{}, fmt.Errorf("sealed: %w", err)
	}
	head := append(enc[:], sealed...)
	if body, err = shared.Seal(append(cover.size(), head...), body); err != nil {
		return Image{}, fmt.Errorf("sealed: %w", err)
	}

	stego := cover
	stego.Samples = append([]byte(nil), cover.Samples...)
	costs, r, embed := stc.Costs(cover.Samples, cover.Height, cover.Width), divide(stego, key), stc.Embed
	if o.Profile == Covert {
		embed = stc.EmbedCovert
	}
	err = stc.Embed(stego.Samples, r.head, costs, head, 8*len(head), rand.Reader)
	if err == nil {
		err = embed(stego.Samples, r.bodyOrder(o.Profile, shared), costs, body, p.bits, rand.Reader)
	}
	if err == nil {
		err = stc.Replace(stego.Samples, r.tag, costs, tag(stego, r, shared), 8*tagSize)
	}
	if err != nil {
		return Image{}, fmt.Errorf("sealed: %w", err)
	}
	return stego, nil
}

// message is what is sealed as the body: the secret, as good as the room is.
func message(ctx context.Context, cover, secret Image, o Options) ([]byte, error) {
	size := max(room(cover.pixels(), o), 0)
	coded, least, err := fit(ctx, secret.toNRGBA(), size)
	if errors.Is(err, errTooLarge) {
		return nil, tooSmall(cover, secret, least, o)
	}
	if err != nil {
		return nil, err
	}
	body := make([]byte, prefixSize, prefixSize+size)
	binary.LittleEndian.PutUint16(body, uint16(secret.Width))
	binary.LittleEndian.PutUint16(body[2:], uint16(secret.Height))
	binary.LittleEndian.PutUint32(body[4:], uint32(len(coded)))
	return append(body, coded...)[:prefixSize+size], nil
}

// room is how many bytes of a coded secret go into so many pixels; none, or less, in small ones.
func room(pixels int, o Options) int {
	head, tags := regionSizes(pixels)
	bits := int(o.Rate*float64(3*pixels)) - 8*(headSize+tagSize)
	elements, most := 3*(pixels-head-tags), float64(stc.MaxRate)
	if o.Profile == Covert {
		elements, most = pixels-head-tags, stc.MaxCovertRate
	}
	return min(bits, int(most*float64(elements)))/8 - kem.Overhead - prefixSize
}

// tooSmall is ErrCapacity, with the side of a square cover that would do for a coded secret of so many bytes.
func tooSmall(cover, secret Image, coded int, o Options) error {
	side := 1
	for room(side*side, o) < coded {
		side++
	}
	return fmt.Errorf("%w: at %g bits a sample a cover of %dx%d holds %d bytes of it, and this one of %dx%d takes %d at the lowest quality; "+
		"take a cover of %dx%d or more, or a higher rate",
		ErrCapacity, o.Rate, cover.Width, cover.Height, max(room(cover.pixels(), o), 0), secret.Width, secret.Height, coded, side, side)
}

// Recover returns the secret of a stego image. Whatever is wrong with the image or the key is ErrAuthentication; other errors are
// ErrImage, kem.ErrEmbedOnly, and those of ctx.
func Recover(ctx context.Context, stego Image, key kem.Keys) (Image, error) {
	if err := stego.check("stego image"); err != nil {
		return Image{}, fmt.Errorf("sealed: %w", err)
	}
	body, err := open(stego, key)
	if err == nil {
		var secret Image
		if secret, err = unpack(ctx, body, stego); err == nil {
			return secret, nil
		}
	}
	for _, refused := range []error{kem.ErrOpen, errUnreadable, avif.ErrDecode, avif.ErrSize, stc.ErrCapacity} {
		if errors.Is(err, refused) {
			return Image{}, ErrAuthentication // and not why
		}
	}
	return Image{}, fmt.Errorf("sealed: %w", err)
}

// errUnreadable: what was sealed is not what Embed seals.
var errUnreadable = errors.New("sealed by another version, or by somebody with bad intentions")

// open returns the sealed body of an image.
func open(stego Image, key kem.Keys) ([]byte, error) {
	if stego.pixels() < leastPixels {
		return nil, errUnreadable
	}
	r := divide(stego, key)
	head, err := stc.Extract(stego.Samples, r.head, 8*headSize)
	if err != nil {
		return nil, err
	}
	shared, err := key.Decapsulate([kem.Size]byte(head))
	if err != nil {
		return nil, err
	}
	opened, err := shared.Open(stego.size(), head[kem.Size:])
	if err != nil {
		return nil, err
	}
	p, err := parseParams(opened)
	if err != nil {
		return nil, err
	}
	got, err := stc.Extract(stego.Samples, r.tag, 8*tagSize)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(got, tag(stego, r, shared)) {
		return nil, kem.ErrOpen
	}
	extract := stc.Extract
	if p.profile == Covert {
		extract = stc.ExtractCovert
	}
	body, err := extract(stego.Samples, r.bodyOrder(p.profile, shared), p.bits)
	if err != nil {
		return nil, err
	}
	return shared.Open(append(stego.size(), head...), body)
}

// unpack decodes the secret in a body.
func unpack(ctx context.Context, body []byte, stego Image) (Image, error) {
	if len(body) < prefixSize {
		return Image{}, errUnreadable
	}
	width, height := int(binary.LittleEndian.Uint16(body)), int(binary.LittleEndian.Uint16(body[2:]))
	length := binary.LittleEndian.Uint32(body[4:])
	if width*height > maxGrowth*stego.pixels() || uint64(length) > uint64(len(body)-prefixSize) {
		return Image{}, errUnreadable
	}
	img, err := avif.Decode(ctx, body[prefixSize:][:length], width, height)
	if err != nil {
		return Image{}, err
	}
	return fromNRGBA(img), nil
}

// params say how the body is written.
type params struct {
	profile Profile
	bits    int
}

var profiles = []Profile{Plain, Covert}

func (p params) bytes() []byte {
	b := make([]byte, paramsSize)
	b[0], b[1] = version, byte(slices.Index(profiles, p.profile))
	binary.LittleEndian.PutUint32(b[4:], uint32(p.bits))
	return b
}

func parseParams(b []byte) (params, error) {
	bits := binary.LittleEndian.Uint32(b[4:])
	if b[0] != version || int(b[1]) >= len(profiles) || b[2]|b[3] != 0 || bits > math.MaxInt32 || bits%8 != 0 {
		return params{}, errUnreadable
	}
	return params{profile: profiles[b[1]], bits: int(bits)}, nil
}

// tag authenticates every sample; the lowest bits of the tag's own elements count as 0.
func tag(m Image, r regions, shared *kem.Secret) []byte {
	covered := append([]byte(nil), m.Samples...)
	for _, i := range r.tag {
		covered[i] &^= 1
	}
	mac := hmac.New(sha256.New, shared.Export("tag", sha256.Size))
	mac.Write(m.size())
	mac.Write(covered)
	return mac.Sum(nil)[:tagSize]
}
