package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/internal/pixel"
	"stegomq/internal/weights"
	"stegomq/schemas"
)

// engine joins the ONNX engine, which knows models, to the keyrings, which know keys.
type engine struct {
	ort  *ort.Engine
	keys *keyring.Keyring
}

// newEngine loads models into a new engine. The keys are those of the user and the models' public ones.
func (a *app) newEngine(models []*model.Model, keys *keyring.Keyring) (*engine, error) {
	e, err := ort.New(ort.Config{
		Library: a.ortLib, Provider: ort.Provider(a.provider), Workers: a.slots,
		CacheBytes: a.weightsCacheMiB << 20, Logger: a.log,
	})
	if err != nil {
		return nil, err
	}
	for _, m := range models {
		if err := e.Add(m); err != nil {
			return nil, errors.Join(err, e.Close())
		}
	}
	return &engine{ort: e, keys: keys}, nil
}

var operations = map[schemas.Operation]model.Operation{
	schemas.Operation_OPERATION_EMBED:   model.OpEmbed,
	schemas.Operation_OPERATION_RECOVER: model.OpRecover,
	schemas.Operation_OPERATION_PURIFY:  model.OpPurify,
}

// Run resolves the key and runs the network. What another try would not mend is a *schemas.Fault.
func (e *engine) Run(ctx context.Context, digest string, op schemas.Operation, ref *schemas.KeyRef, in ...pixel.Tensor) (pixel.Tensor, error) {
	key, err := e.key(op, ref)
	if err != nil {
		return pixel.Tensor{}, err
	}
	out, err := e.ort.Run(ctx, digest, operations[op], key, in...)
	switch {
	case errors.Is(err, ort.ErrUnknownModel):
		return out, schemas.Permanent(schemas.ReasonUnknownModel, fmt.Errorf("this worker does not have the model %.12s: %w", digest, err))
	case errors.Is(err, ort.ErrInput):
		return out, schemas.Permanent(schemas.ReasonBadImage, err)
	}
	return out, err
}

func (e *engine) key(op schemas.Operation, ref *schemas.KeyRef) (*ort.Key, error) {
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
	key := &ort.Key{Fingerprint: ref.GetFingerprint(), Role: weights.RoleEmbed, Bytes: pair.Embed.Expose}
	if op == schemas.Operation_OPERATION_RECOVER {
		key.Role, key.Bytes = weights.RoleRecover, pair.Recover.Expose
	}
	return key, nil
}

// protection opens encrypted keyrings.
func (a *app) protection() keyring.Protection {
	return keyring.Protection{Passphrase: os.Getenv(passphraseEnv), IdentityFile: a.keyringIdentity}
}

// keyringFiles are the user's keyrings: those named, or the default one when it is there.
func (a *app) keyringFiles() []string {
	if len(a.keyrings) > 0 {
		return a.keyrings
	}
	if path := defaultKeyring(); path != "" {
		if _, err := os.Stat(path); err == nil {
			return []string{path}
		}
	}
	return nil
}

// openKeys merges the user's keyrings with the models' public ones.
func (a *app) openKeys(models []*model.Model) (*keyring.Keyring, error) {
	files := slices.Clone(a.keyringFiles())
	for _, m := range models {
		if path := m.Keyring(); path != "" {
			files = append(files, path)
		}
	}
	return keyring.OpenAll(a.protection(), files...)
}

// defaultModel is the model of commands that are not told another.
const defaultModel = "invertible-small"

// loadModels loads every model there is, for a worker. A damaged one is named and left out; none at all is
// an error.
func (a *app) loadModels() ([]*model.Model, error) {
	entries, err := model.List(a.models...)
	if err != nil {
		return nil, err
	}
	var models []*model.Model
	for _, entry := range entries {
		m, err := model.Load(entry.Dir)
		if err != nil {
			a.log.Error("model left out", "dir", entry.Dir, "error", err)
			continue
		}
		a.warnUntrained(m)
		models = append(models, m)
	}
	if len(models) == 0 {
		return nil, fmt.Errorf("%w: no usable model in %v (--models names other folders)", model.ErrNotFound, a.models)
	}
	return models, nil
}

func (a *app) loadModel(nameOrDir string) (*model.Model, error) {
	m, err := model.Open(nameOrDir, a.models...)
	if err != nil {
		return nil, err
	}
	a.warnUntrained(m)
	return m, nil
}

func (a *app) warnUntrained(m *model.Model) {
	if !m.Trained() {
		a.log.Warn("the model is not trained: its images mean nothing", "model", m.Name, "dir", filepath.Base(m.Dir))
	}
}

func keyRef(p keyring.Pair) *schemas.KeyRef {
	return &schemas.KeyRef{Id: p.ID, Fingerprint: p.Fingerprint()}
}

// trainedWith says whether the model was trained with a key pair. A model without a list was trained with none.
func trainedWith(m *model.Model, p keyring.Pair) bool {
	for _, k := range m.Keys() {
		if k.Fingerprint == p.Fingerprint() {
			return true
		}
	}
	return false
}
