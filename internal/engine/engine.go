// Package engine joins the ONNX engine, which knows models, to the keyring, which knows keys: it takes the names
// that a job carries and runs the network, or the cipher where the model's keys encrypt, or rotates what a network hides. It
// owns which error of either is final for a job.
//
// Invariant: key bytes go from the keyring to the derivation of weights, to the cipher, or to the rotation, and nowhere else.
package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"stegomq/internal/kem"
	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/modulo"
	"stegomq/internal/ort"
	"stegomq/internal/pixel"
	"stegomq/internal/rotated"
	"stegomq/internal/sealed"
	"stegomq/internal/stc"
	"stegomq/internal/weights"
	"stegomq/schemas"
)

// Keys finds the pair of the names in a job: a keyring.Keyring, or a keyring.Watched, which keeps to its files. An error other than
// keyring.ErrKeyMismatch says that there is no such pair here.
type Keys interface {
	Resolve(id, fingerprint string) (keyring.Pair, error)
}

// Engine runs the models of an ONNX engine, and ciphers, with the keys of a keyring.
type Engine struct {
	runtime *ort.Engine
	models  map[string]*model.Model   // by digest
	ciphers map[string]cipher         // by digest
	rotated map[string]rotatedNetwork // by digest
	keys    Keys
}

// NeedsRuntime says whether one of the models has a network.
func NeedsRuntime(models ...*model.Model) bool {
	return slices.ContainsFunc(models, func(m *model.Model) bool { return m.Manifest.Network() })
}

// New joins the two. The runtime may be nil where no model needs it; the caller closes it when no run is under way.
func New(runtime *ort.Engine, keys Keys) *Engine {
	return &Engine{
		runtime: runtime, models: make(map[string]*model.Model), ciphers: make(map[string]cipher), rotated: make(map[string]rotatedNetwork), keys: keys,
	}
}

// Add makes models known, before the first run.
func (e *Engine) Add(models ...*model.Model) error {
	for _, m := range models {
		switch {
		case !m.Manifest.Network():
			c, err := newCipher(m)
			if err != nil {
				return err
			}
			e.ciphers[m.Digest] = c
		case e.runtime == nil:
			return fmt.Errorf("add model %s: %w", m.Name, ort.ErrNoLibrary)
		default:
			if err := e.runtime.Add(m); err != nil {
				return err
			}
			if m.Manifest.Keying == model.KeyingRotation {
				e.rotated[m.Digest] = rotatedNetwork{m, e.runtime}
			}
		}
		e.models[m.Digest] = m
	}
	return nil
}

// Serves says whether the engine has a model, by its digest.
func (e *Engine) Serves(digest string) bool { return e.models[digest] != nil }

// Runtime names what computes the network of a model: outputs of another one may differ. Empty where the model has none, or is not known.
func (e *Engine) Runtime(digest string) string {
	if m := e.models[digest]; m == nil || !m.Manifest.Network() {
		return ""
	}
	return e.runtime.Name()
}

// Check says whether a job may be done, or be given what was made before: whether the model with a digest does the operation, and with the
// key, as the keyring has it now. Otherwise it is a *schemas.Fault:
//
//	unknown_model  the model was not added
//	bad_message    the model does not have the operation
//	unknown_key    the keyring has no such key, or not the half that is needed: k_e to embed, k_r to recover, both for some ciphers; or the keyring
//	               cannot be read
//	key_mismatch   the key has another fingerprint here
//	bad_key        the key cannot be used for this, whoever has it. A trained model whose keys fill weights embeds only with the keys that it was
//	               trained with; it recovers with any, because leaks are measured so. A model with a network for each key has none for
//	               others. Random and derived keys never embed. Partial keys work only where keys fill weights. A key is missing where
//	               one is needed, or given where none is used
func (e *Engine) Check(_ context.Context, digest string, op schemas.Operation, ref *schemas.KeyRef) error {
	_, err := e.admit(digest, model.Operation(op.Token()), ref)
	return err
}

// Run runs an operation of the model with a digest on a batch, as ort.Engine.Run does. An error that another try would
// not mend is a *schemas.Fault: those of Check, images that the model does not take (bad_image), and a model that is damaged (bad_model).
//
// Authenticated recovery may refuse some images, or all, without an error. Then refused has an entry for each image: nil, or why it was
// refused; a refused image of out means nothing. If no image is refused, refused is nil. Networks refuse nothing.
func (e *Engine) Run(ctx context.Context, digest string, op schemas.Operation, ref *schemas.KeyRef, in ...pixel.Tensor) (out pixel.Tensor, refused []*schemas.Refusal, err error) {
	pair, err := e.admit(digest, model.Operation(op.Token()), ref)
	if err != nil {
		return pixel.Tensor{}, nil, err
	}
	out, refused, err = e.run(ctx, digest, model.Operation(op.Token()), pair, in)
	return out, refused, fault(err)
}

// Features recovers, as Run does, and also returns the recovery features of each image, as ort.Engine.Features does:
// model.Manifest.Features values. A model that gives none is a *schemas.Fault too (bad_message).
func (e *Engine) Features(ctx context.Context, digest string, ref *schemas.KeyRef, stego pixel.Tensor) (recovered pixel.Tensor, features [][]float32, err error) {
	pair, err := e.admit(digest, model.OpRecover, ref)
	if err != nil {
		return pixel.Tensor{}, nil, err
	}
	if c, ok := e.ciphers[digest]; ok {
		err = fmt.Errorf("%s with model %s: %w: features, because it has no network", model.OpRecover, c.Name, ort.ErrOperation)
	} else if n, ok := e.rotated[digest]; ok {
		recovered, features, err = n.run(ctx, model.OpRecover, pair, []pixel.Tensor{stego}, true)
	} else {
		recovered, features, err = e.runtime.Features(ctx, digest, ortKey(model.OpRecover, pair), stego)
	}
	return recovered, features, fault(err)
}

// fault makes a *schemas.Fault of an error that another try would not mend.
func fault(err error) error {
	switch {
	case errors.Is(err, ort.ErrOperation):
		return schemas.Permanent(schemas.ReasonBadMessage, err)
	case errors.Is(err, ort.ErrGraph), errors.Is(err, model.ErrDigest):
		return schemas.Permanent(schemas.ReasonBadModel, err)
	case errors.Is(err, kem.ErrEmbedOnly):
		return schemas.Permanent(schemas.ReasonUnknownKey, err)
	case errors.Is(err, ort.ErrKey), errors.Is(err, kem.ErrKey), errors.Is(err, model.ErrNoVariant):
		return schemas.Permanent(schemas.ReasonBadKey, err)
	case errors.Is(err, ort.ErrInput), errors.Is(err, sealed.ErrCapacity), errors.Is(err, sealed.ErrImage), errors.Is(err, stc.ErrWet),
		errors.Is(err, modulo.ErrTooSmall), errors.Is(err, rotated.ErrTooSmall):
		return schemas.Permanent(schemas.ReasonBadImage, err)
	}
	return err
}

// run computes with the network or the cipher. There is no pair for purify.
func (e *Engine) run(ctx context.Context, digest string, op model.Operation, pair *keyring.Pair, in []pixel.Tensor) (out pixel.Tensor, refused []*schemas.Refusal, err error) {
	if c, ok := e.ciphers[digest]; ok {
		if out, refused, err = c.run(ctx, op, pair, in); err != nil {
			return out, nil, fmt.Errorf("%s with model %s: %w", op, c.Name, err)
		}
		return out, refused, nil
	}
	if n, ok := e.rotated[digest]; ok {
		out, _, err = n.run(ctx, op, pair, in, false)
		return out, nil, err
	}
	out, err = e.runtime.Run(ctx, digest, op, ortKey(op, pair), in...)
	return out, nil, err
}

// ortKey is the half of a pair that a network takes.
func ortKey(op model.Operation, pair *keyring.Pair) *ort.Key {
	if pair == nil {
		return nil
	}
	key := &ort.Key{Fingerprint: pair.Fingerprint(), Role: weights.RoleEmbed, Bytes: pair.Embed.Expose}
	if op == model.OpRecover {
		key.Role, key.Bytes = weights.RoleRecover, pair.Recover.Expose
	}
	if part := pair.Part; part != nil {
		key.Part = &ort.Part{Owner: part.Owner, Right: part.Right, Wrong: part.Wrong.Expose()}
	}
	return key
}
