package engine

import (
	"context"
	"errors"
	"fmt"

	"stegomq/internal/keyring"
	"stegomq/internal/lsb"
	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// cipher is a model without a network: its keys encrypt, or rotate.
type cipher struct {
	*model.Model
	open opener
	// whole says that embedding too needs both halves of a key.
	whole bool
	// refusal is the error of recover, where that is authenticated, of a wrong key and of an image that was changed;
	// nil where it is not.
	refusal error
}

// opener gives what a cipher does with a pair of keys.
type opener func(pair *keyring.Pair) (coder, error)

// coder makes one image of those that embed or recover takes. An image of h rows of w pixels is h w red samples, then
// the green and the blue ones.
type coder func(ctx context.Context, op model.Operation, h, w int, in ...[]byte) ([]byte, error)

// authenticationFailed is what is known of an image that recovery refused, for people. Nobody can tell which of these it is.
const authenticationFailed = "authentication failed: wrong key, another user's key, another model's image (--model), or the image was changed"

// openLSB is the opener of the classical cipher, which refuses nothing.
func openLSB(pair *keyring.Pair) (coder, error) {
	key, err := lsb.NewKey(pair.Embed.Expose(), pair.Recover.Expose())
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

// run is Run for a cipher: 8-bit samples in and out, image by image. It takes the images that the networks take, and refuses with
// the same errors.
func (c cipher) run(ctx context.Context, op model.Operation, pair *keyring.Pair, in []pixel.Tensor) (pixel.Tensor, []*schemas.Refusal, error) {
	if err := checkSamples(op, in); err != nil {
		return pixel.Tensor{}, nil, err
	}
	code, err := c.open(pair)
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

// checkSamples compares the images with what the operation takes.
func checkSamples(op model.Operation, in []pixel.Tensor) error {
	names := op.Inputs()
	if len(in) != len(names) {
		return fmt.Errorf("%w: %d given, want %d: %q", ort.ErrInput, len(in), len(names), names)
	}
	for i, t := range in {
		if err := t.Check(); err != nil {
			return fmt.Errorf("%w: %s: %w", ort.ErrInput, names[i], err)
		}
		if t.C != 3 || t.N != in[0].N || t.H != in[0].H || t.W != in[0].W {
			return fmt.Errorf("%w: %s is %d images of %dx%d with %d channels, want 3 channels and all images of one size",
				ort.ErrInput, names[i], t.N, t.W, t.H, t.C)
		}
	}
	return nil
}

// samples are the 8-bit values of an image in [0, 1], rounded to the nearest.
func samples(image []float32) []byte {
	b := make([]byte, len(image))
	for i, v := range image {
		b[i] = byte(min(max(float64(v)*255+0.5, 0), 255))
	}
	return b
}
