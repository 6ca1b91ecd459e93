package engine

import (
	"fmt"

	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/schemas"
)

// Bare opens the network alone that a job of a key would run, with constant weights: to measure against. A model whose keys rotate is without
// the rotation. Errors are those of Check and of ort.Engine.Bare; a model without a network is ort.ErrGraph.
func (e *Engine) Bare(digest string, op schemas.Operation, ref *schemas.KeyRef) (*ort.Bare, error) {
	pair, err := e.admit(digest, model.Operation(op.Token()), ref)
	if err != nil {
		return nil, err
	}
	m := e.models[digest]
	if !m.Manifest.Network() {
		return nil, fmt.Errorf("model %s: %w: it has no network", m.Name, ort.ErrGraph)
	}
	key := ortKey(model.Operation(op.Token()), pair)
	if m.Manifest.Keying == model.KeyingRotation {
		key = nil
	}
	return e.runtime.Bare(digest, model.Operation(op.Token()), key)
}
