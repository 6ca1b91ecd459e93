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
)

// errPartialCipher: a partial pair says which weights are right, and there are none.
var errPartialCipher = errors.New("a key of which a share is right has no meaning where keys encrypt; run it with a model that has a network for all keys")

// runCipher is Run for a model whose keys encrypt: 8-bit samples in and out, image by image. It takes what the networks
// take, and refuses with the same errors.
func runCipher(ctx context.Context, op model.Operation, pair *keyring.Pair, in []pixel.Tensor) (pixel.Tensor, error) {
	if op != model.OpEmbed && op != model.OpRecover {
		return pixel.Tensor{}, fmt.Errorf("%w: %s", ort.ErrOperation, op)
	}
	if err := checkSamples(op, in); err != nil {
		return pixel.Tensor{}, err
	}
	if pair == nil {
		return pixel.Tensor{}, fmt.Errorf("%w: %s needs one", ort.ErrKey, op)
	}
	if pair.Part != nil {
		return pixel.Tensor{}, fmt.Errorf("%s: %w", pair.ID, errPartialCipher)
	}
	key, err := lsb.NewKey(pair.Embed.Expose(), pair.Recover.Expose())
	if err != nil {
		return pixel.Tensor{}, err
	}
	out := in[0]
	out.Data = make([]float32, len(in[0].Data))
	one := out.C * out.H * out.W
	for n := range out.N {
		if err := ctx.Err(); err != nil {
			return pixel.Tensor{}, err
		}
		image := func(t pixel.Tensor) []byte { return samples(t.Data[n*one:][:one]) }
		var made []byte
		if op == model.OpEmbed {
			made, err = lsb.Embed(image(in[0]), image(in[1]), key)
		} else {
			made, err = lsb.Recover(image(in[0]), key)
		}
		if err != nil {
			return pixel.Tensor{}, err
		}
		for i, v := range made {
			out.Data[n*one+i] = float32(v) / 255
		}
	}
	return out, nil
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
