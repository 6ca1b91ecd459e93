package engine

import (
	"context"
	"errors"
	"fmt"

	"stegomq/internal/keyring"
	"stegomq/internal/lsb"
	"stegomq/internal/model"
	"stegomq/internal/modulo"
	"stegomq/internal/ort"
	"stegomq/internal/pixel"
	"stegomq/internal/sealed"
	"stegomq/schemas"
)

// cipher is a model without a network: its keys encrypt, or rotate.
type cipher struct {
	*model.Model
	open opener
	// whole says that embedding too needs both halves of a key.
	whole bool
	// refusal is the error of recover for a wrong key and for an image that was changed. It is nil where recovery is not
	// authenticated.
	refusal error
}

// opener gives what a cipher does with the two keys of a pair; recover is nil in a pair that only embeds.
type opener func(embed, recover []byte) (coder, error)

// coder makes one image of those that embed or recover takes. An image of h rows of w pixels is h w red samples, then
// the green and the blue ones.
type coder func(ctx context.Context, op model.Operation, h, w int, in ...[]byte) ([]byte, error)

// authenticationFailed is what is known of an image that recovery refused, for people. Nobody can tell which of these it is.
const authenticationFailed = "authentication failed: wrong key, another user's key, another model's image (--model), or the image was changed"

// newCipher gives the cipher of a model's backbone, with its configuration: "profile" of modulo and sealed, and "rate" of sealed, bits a sample.
// Both sides need the same profile of modulo. Those of sealed say how to embed: recovery takes what any of these models has made.
func newCipher(m *model.Model) (c cipher, err error) {
	c.Model = m
	profile, _ := m.Manifest.Config["profile"].(string)
	switch m.Manifest.Backbone {
	case model.BackboneLSB:
		c.open, c.whole = openLSB, true
	case model.BackboneModulo:
		var p modulo.Profile
		p, err = modulo.ProfileOf(profile)
		c.open = func(embed, recover []byte) (coder, error) { return openModulo(p, embed, recover) }
	default:
		rate, _ := m.Manifest.Config["rate"].(float64)
		o := sealed.Options{Rate: rate, Profile: sealed.Profile(profile)}
		err = o.Check()
		c.open = func(embed, recover []byte) (coder, error) { return openSealed(o, embed, recover) }
		c.refusal = sealed.ErrAuthentication
	}
	if err != nil {
		return cipher{}, fmt.Errorf("add model %s: config: %w", m.Name, err)
	}
	return c, nil
}

// openLSB is the opener of the classical cipher, which refuses nothing.
func openLSB(embed, recover []byte) (coder, error) {
	key, err := lsb.NewKey(embed, recover)
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, op model.Operation, _, _ int, in ...[]byte) ([]byte, error) {
		if op == model.OpEmbed {
			return lsb.Embed(in[0], in[1], key)
		}
		return lsb.Recover(in[0], key)
	}, nil
}

func openModulo(p modulo.Profile, embed, recover []byte) (coder, error) {
	keys, err := modulo.NewKeys(embed, recover)
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, op model.Operation, h, w int, in ...[]byte) ([]byte, error) {
		if op == model.OpEmbed {
			return p.Embed(in[0], in[1], w, h, keys)
		}
		return p.Recover(in[0], w, h, keys)
	}, nil
}

func openSealed(o sealed.Options, embed, recover []byte) (coder, error) {
	keys, err := sealed.NewKeys(embed, recover)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, op model.Operation, h, w int, in ...[]byte) ([]byte, error) {
		images := make([]sealed.Image, len(in))
		for i, samples := range in {
			images[i] = sealed.Image{Width: w, Height: h, Samples: samples}
		}
		if op == model.OpEmbed {
			stego, err := sealed.Embed(ctx, images[0], images[1], keys, o)
			return stego.Samples, err
		}
		secret, err := sealed.Recover(ctx, images[0], keys)
		if err == nil && (secret.Width != w || secret.Height != h) {
			err = fmt.Errorf("%w: a secret of %dx%d in a stego image of %dx%d, which no model makes", sealed.ErrImage, secret.Width, secret.Height, w, h)
		}
		return secret.Samples, err
	}, nil
}

// run is Run for a cipher: 8-bit samples in and out, image by image.
func (c cipher) run(ctx context.Context, op model.Operation, pair *keyring.Pair, in []pixel.Tensor) (pixel.Tensor, []*schemas.Refusal, error) {
	if err := ort.CheckInputs(op, 1, in); err != nil { // how small an image may be the cipher knows
		return pixel.Tensor{}, nil, err
	}
	code, err := c.open(pair.Embed.Expose(), pair.Recover.Expose())
	if err != nil {
		return pixel.Tensor{}, nil, err
	}
	out := in[0]
	out.Data = make([]float32, len(in[0].Data))
	var refused []*schemas.Refusal
	for n := range out.N {
		if err := ctx.Err(); err != nil {
			return pixel.Tensor{}, nil, err
		}
		images := make([][]byte, len(in))
		for i, t := range in {
			images[i] = samples(image(t, n))
		}
		made, err := code(ctx, op, out.H, out.W, images...)
		if op == model.OpRecover && c.refusal != nil && errors.Is(err, c.refusal) {
			if refused == nil {
				refused = make([]*schemas.Refusal, out.N)
			}
			refused[n] = &schemas.Refusal{Detail: authenticationFailed}
			continue
		}
		if err != nil {
			return pixel.Tensor{}, nil, err
		}
		put(image(out, n), made)
	}
	return out, refused, nil
}

// samples are the 8-bit values of an image in [0, 1], rounded to the nearest.
func samples(image []float32) []byte {
	b := make([]byte, len(image))
	for i, v := range image {
		b[i] = byte(min(max(float64(v)*255+0.5, 0), 255))
	}
	return b
}
