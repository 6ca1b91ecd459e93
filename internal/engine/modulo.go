package engine

import (
	"context"
	"fmt"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/modulo"
)

// newModulo reads "profile" of the model's configuration. Both sides need the same one.
func newModulo(m *model.Model) (cipher, error) {
	name, _ := m.Manifest.Config["profile"].(string)
	p, err := modulo.ProfileOf(name)
	if err != nil {
		return cipher{}, fmt.Errorf("add model %s: config: %w", m.Name, err)
	}
	return cipher{Model: m, open: func(pair *keyring.Pair) (coder, error) { return openModulo(pair, p) }}, nil
}

func openModulo(pair *keyring.Pair, p modulo.Profile) (coder, error) {
	keys, err := modulo.NewKeys(pair.Embed.Expose(), pair.Recover.Expose())
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
