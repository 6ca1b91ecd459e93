// Package engine joins the ONNX engine, which knows models, to the keyring, which knows keys: it takes the names
// that a job carries and runs the network. It owns which error of either is final for a job.
//
// Invariant: key bytes go from the keyring to the derivation of weights and nowhere else.
package engine

import (
	"context"
	"errors"
	"fmt"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/internal/pixel"
	"stegomq/internal/weights"
	"stegomq/schemas"
)

// Engine runs the models of an ONNX engine with the keys of a keyring.
type Engine struct {
	runtime *ort.Engine
	keys    *keyring.Keyring
}

// New joins the two. The caller closes the runtime when no run is under way.
func New(runtime *ort.Engine, keys *keyring.Keyring) *Engine {
	return &Engine{runtime: runtime, keys: keys}
}

// Run runs an operation of the model with a digest on a batch, as ort.Engine.Run does. What another try would
// not mend is a *schemas.Fault: a key that no keyring has (unknown_key) or that has another fingerprint
// (key_mismatch), a model that was not added (unknown_model), images that the model does not take (bad_image).
func (e *Engine) Run(ctx context.Context, digest string, op schemas.Operation, ref *schemas.KeyRef, in ...pixel.Tensor) (pixel.Tensor, error) {
	key, err := e.key(op, ref)
	if err != nil {
		return pixel.Tensor{}, err
	}
	out, err := e.runtime.Run(ctx, digest, model.Operation(op.Token()), key, in...)
	switch {
	case errors.Is(err, ort.ErrUnknownModel):
		return out, schemas.Permanent(schemas.ReasonUnknownModel, fmt.Errorf("this worker does not have the model %.12s: %w", digest, err))
	case errors.Is(err, ort.ErrInput):
		return out, schemas.Permanent(schemas.ReasonBadImage, err)
	}
	return out, err
}

func (e *Engine) key(op schemas.Operation, ref *schemas.KeyRef) (*ort.Key, error) {
	if ref == nil {
		return nil, nil
	}
	pair, err := e.keys.Resolve(ref.GetId(), ref.GetFingerprint())
	switch {
	case errors.Is(err, keyring.ErrKeyMismatch):
		return nil, schemas.Permanent(schemas.ReasonKeyMismatch, err)
	case err != nil:
		return nil, schemas.Permanent(schemas.ReasonUnknownKey, err)
	}
	if op == schemas.Operation_OPERATION_RECOVER {
		return &ort.Key{Fingerprint: ref.GetFingerprint(), Role: weights.RoleRecover, Bytes: pair.Recover.Expose}, nil
	}
	return &ort.Key{Fingerprint: ref.GetFingerprint(), Role: weights.RoleEmbed, Bytes: pair.Embed.Expose}, nil
}
