package engine

import (
	"context"
	"fmt"

	"stegomq/internal/kem"
	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/internal/pixel"
	"stegomq/internal/rotated"
)

// rotatedNetwork is a model whose keys rotate what its network hides. The network knows nothing of keys.
type rotatedNetwork struct {
	*model.Model
	runtime *ort.Engine
}

// embed makes stego images, 8 bits in [0, 1], of covers and secrets.
func (n rotatedNetwork) embed(ctx context.Context, keys kem.Keys, in []pixel.Tensor) (pixel.Tensor, error) {
	covers, secrets := in[0], in[1]
	size := rotated.Size{Width: covers.W, Height: covers.H}
	noise, prepared := even(covers), make([]*rotated.Embedding, covers.N)
	for i := range prepared {
		var err error
		if prepared[i], err = rotated.Prepare(samples(image(secrets, i)), size, keys); err != nil {
			return pixel.Tensor{}, err
		}
		copy(image(noise, i), prepared[i].Noise)
	}
	made, err := n.runtime.Run(ctx, n.Digest, model.OpEmbed, nil, region(covers), noise)
	if err != nil {
		return pixel.Tensor{}, err
	}
	stego := covers
	stego.Data = make([]float32, len(covers.Data))
	for i, e := range prepared {
		if broken(image(stego, i), image(made, i)) {
			continue
		}
		finished, err := e.Finish(samples(image(covers, i)), samples(image(made, i)))
		if err != nil {
			return pixel.Tensor{}, err
		}
		put(image(stego, i), finished)
	}
	return stego, nil
}

// recover makes the secrets of stego images, and the features of each where they are wanted.
func (n rotatedNetwork) recover(ctx context.Context, keys kem.Keys, stegos pixel.Tensor, featured bool) (secrets pixel.Tensor, features [][]float32, err error) {
	size := rotated.Size{Width: stegos.W, Height: stegos.H}
	var noise pixel.Tensor
	if featured {
		noise, features, err = n.runtime.Features(ctx, n.Digest, nil, region(stegos))
	} else {
		noise, err = n.runtime.Run(ctx, n.Digest, model.OpRecover, nil, region(stegos))
	}
	if err != nil {
		return pixel.Tensor{}, nil, err
	}
	secrets = stegos
	secrets.Data = make([]float32, len(stegos.Data))
	for i := range stegos.N {
		if broken(image(secrets, i), image(noise, i)) {
			continue
		}
		recovered, err := rotated.Recover(samples(image(stegos, i)), image(noise, i), size, keys)
		if err != nil {
			return pixel.Tensor{}, nil, err
		}
		put(image(secrets, i), recovered)
	}
	return secrets, features, nil
}

// run is Run for such a model, and Features where they are wanted.
func (n rotatedNetwork) run(ctx context.Context, op model.Operation, pair *keyring.Pair, in []pixel.Tensor, featured bool) (
	out pixel.Tensor, features [][]float32, err error,
) {
	if op == model.OpPurify {
		out, err = n.runtime.Run(ctx, n.Digest, op, nil, in...)
		return out, nil, err
	}
	if err = ort.CheckInputs(op, 1, in); err != nil {
		return out, nil, fmt.Errorf("%s with model %s: %w", op, n.Name, err)
	}
	keys, err := rotated.NewKeys(pair.Embed.Expose(), pair.Recover.Expose())
	if err != nil {
		return out, nil, fmt.Errorf("%s with model %s: %w", op, n.Name, err)
	}
	if op == model.OpEmbed {
		out, err = n.embed(ctx, keys, in)
		return out, nil, err
	}
	return n.recover(ctx, keys, in[0], featured)
}

// image i of a batch.
func image(t pixel.Tensor, i int) []float32 {
	one := t.C * t.H * t.W
	return t.Data[i*one:][:one]
}

// broken says whether a network made something of an image that is not a number, and then makes that the outcome, for pixel.ToImage to refuse:
// the rotation would turn it into pixels. The other images of the batch are none the worse for it.
func broken(outcome, made []float32) bool {
	for _, v := range made {
		if v-v != 0 {
			outcome[0] = v
			return true
		}
	}
	return false
}

// put writes 8-bit samples as values in [0, 1].
func put(image []float32, samples []byte) {
	for i, v := range samples {
		image[i] = float32(v) / 255
	}
}

// even is an empty batch for the even regions of another.
func even(t pixel.Tensor) pixel.Tensor {
	size := rotated.Size{Width: t.W, Height: t.H}.Even()
	t.W, t.H = size.Width, size.Height
	t.Data = make([]float32, t.N*t.C*t.H*t.W)
	return t
}

// region is the batch of the even regions.
func region(t pixel.Tensor) pixel.Tensor {
	size := rotated.Size{Width: t.W, Height: t.H}
	if size.Even() == size {
		return t
	}
	out := even(t)
	for i := range t.N {
		put(image(out, i), size.Region(samples(image(t, i))))
	}
	return out
}
