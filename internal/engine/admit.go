package engine

import (
	"errors"
	"fmt"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/schemas"
)

// Why a key that is there cannot be used.
var (
	errUntrained = errors.New("the model was not trained with the key, and would neither hide nor protect anything")
	errDecodes   = errors.New("random and derived keys only decode, to measure what leaks; anybody can compute them, so they embed nothing")
	// errPartial: a partial pair says which weights are right, and there are none.
	errPartial = errors.New("a partial key works only with a model whose keys fill weights; choose a model whose keying is weights (stegomq models list)")
)

// admit is Check, and gives the pair: nil where the operation takes none.
func (e *Engine) admit(digest string, op model.Operation, ref *schemas.KeyRef) (*keyring.Pair, error) {
	m, ok := e.models[digest]
	if !ok {
		return nil, schemas.Permanent(schemas.ReasonUnknownModel, fmt.Errorf("this worker does not have the model %.12s", digest))
	}
	refuse := func(reason schemas.Reason, err error) (*keyring.Pair, error) {
		return nil, schemas.Permanent(reason, fmt.Errorf("%s with model %s: %w", op, m.Name, err))
	}
	if !m.Manifest.Does(op) {
		return refuse(schemas.ReasonBadMessage, ort.ErrOperation)
	}
	switch _, keyed := op.Role(); {
	case keyed && ref == nil:
		return refuse(schemas.ReasonBadKey, fmt.Errorf("%w: it needs one", ort.ErrKey))
	case !keyed && ref != nil:
		return refuse(schemas.ReasonBadKey, fmt.Errorf("%w: it takes none", ort.ErrKey))
	case !keyed:
		return nil, nil
	}
	pair, err := e.keys.Resolve(ref.GetId(), ref.GetFingerprint())
	switch {
	case errors.Is(err, keyring.ErrKeyMismatch):
		return refuse(schemas.ReasonKeyMismatch, err)
	case err != nil:
		return refuse(schemas.ReasonUnknownKey, err)
	}
	if pair.Recover.IsZero() {
		if op == model.OpRecover {
			return refuse(schemas.ReasonUnknownKey, fmt.Errorf("key %q: %w; its owner has the other", pair.ID, keyring.ErrEmbedOnly))
		}
		if e.ciphers[digest].whole {
			return refuse(schemas.ReasonUnknownKey, fmt.Errorf("key %q: %w, and this cipher needs both", pair.ID, keyring.ErrEmbedOnly))
		}
	}
	if err := fits(m, op, &pair, ref.GetFingerprint()); err != nil {
		return refuse(schemas.ReasonBadKey, fmt.Errorf("key %q: %w", pair.ID, err))
	}
	return &pair, nil
}

// fits says whether a model can do an operation with a pair, whoever has it.
func fits(m *model.Model, op model.Operation, pair *keyring.Pair, fingerprint string) error {
	if op == model.OpEmbed && keyring.Derived(pair.ID) {
		return errDecodes
	}
	switch m.Manifest.Keying {
	case model.KeyingWeights:
		// The images of a model that is not trained mean nothing with any key.
		if op == model.OpEmbed && m.Trained() && !m.Takes(fingerprint) {
			return fmt.Errorf("%w; it was trained with %q", errUntrained, m.KeyIDs())
		}
	case model.KeyingVariant:
		if !m.Takes(fingerprint) {
			return fmt.Errorf("%w; its keys are %q", model.ErrNoVariant, m.KeyIDs())
		}
	default:
		if pair.Part != nil {
			return errPartial
		}
	}
	return nil
}
