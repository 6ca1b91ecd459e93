package engine

import (
	"context"
	"fmt"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/sealed"
)

// newCipher gives the cipher of a model's backbone, with its configuration.
func newCipher(m *model.Model) (cipher, error) {
	switch m.Manifest.Backbone {
	case model.BackboneLSB:
		return cipher{Model: m, open: openLSB, whole: true}, nil
	case model.BackboneModulo:
		return newModulo(m)
	}
	o, err := sealedOptions(m.Manifest.Config)
	if err != nil {
		return cipher{}, fmt.Errorf("add model %s: config: %w", m.Name, err)
	}
	return cipher{Model: m, refusal: sealed.ErrAuthentication, open: func(pair *keyring.Pair) (coder, error) {
		return openSealed(pair, o)
	}}, nil
}

// sealedOptions reads "rate", bits a sample, and "profile" of a model's configuration. They say how to embed: recovery takes what
// any of these models has made.
func sealedOptions(config map[string]any) (sealed.Options, error) {
	rate, _ := config["rate"].(float64)
	profile, _ := config["profile"].(string)
	o := sealed.Options{Rate: rate, Profile: sealed.Profile(profile)}
	return o, o.Check()
}

func openSealed(pair *keyring.Pair, o sealed.Options) (coder, error) {
	key, err := sealed.NewKey(pair.Embed.Expose(), pair.Recover.Expose())
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, op model.Operation, h, w int, in ...[]byte) ([]byte, error) {
		images := make([]sealed.Image, len(in))
		for i, samples := range in {
			images[i] = sealed.Image{Width: w, Height: h, Samples: samples}
		}
		if op == model.OpEmbed {
			stego, err := sealed.Embed(ctx, images[0], images[1], key, o)
			return stego.Samples, err
		}
		secret, err := sealed.Recover(ctx, images[0], key)
		if err == nil && (secret.Width != w || secret.Height != h) {
			err = fmt.Errorf("%w: a secret of %dx%d in a stego image of %dx%d, which no model makes", sealed.ErrImage, secret.Width, secret.Height, w, h)
		}
		return secret.Samples, err
	}, nil
}
