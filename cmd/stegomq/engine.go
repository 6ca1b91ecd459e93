package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"stegomq/internal/engine"
	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/internal/telemetry"
	"stegomq/schemas"
)

// localEngine is the engine of a worker in this process.
type localEngine struct {
	*engine.Engine
	runtime *ort.Engine // nil where no model has a network
}

// newEngine loads models into a new engine. The keys are those of the user and the models' public ones. The library
// is only needed for networks.
func (a *app) newEngine(models []*model.Model, keys engine.Keys) (*localEngine, error) {
	e := &localEngine{}
	if engine.NeedsRuntime(models...) {
		var err error
		if e.runtime, err = ort.New(ort.Config{
			Library: a.ortLib, Provider: ort.Provider(a.provider), Workers: a.slots,
			CacheBytes: a.weightsCacheMiB << 20, Logger: a.log,
		}); err != nil {
			return nil, err
		}
	}
	e.Engine = engine.New(e.runtime, keys)
	if err := e.Add(models...); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Close frees the runtime; no run may be under way.
func (e *localEngine) Close() error {
	if e.runtime == nil {
		return nil
	}
	return e.runtime.Close()
}

// weightsStats are those of the runtime.
func (e *localEngine) weightsStats() telemetry.WeightsStats {
	if e.runtime == nil {
		return telemetry.WeightsStats{}
	}
	st := e.runtime.Stats()
	return telemetry.WeightsStats{Hits: int64(st.Hits), Misses: int64(st.Misses), Bytes: st.Bytes}
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

// openKeys merges the user's keyrings with the models' public ones, as they are now.
func (a *app) openKeys(models []*model.Model) (*keyring.Keyring, error) {
	return keyring.OpenAll(a.protection(), a.keyFiles(models)...)
}

// watchKeys is openKeys for those who work for long: keys that are added to the files, or taken out, are so at once.
func (a *app) watchKeys(models []*model.Model) (*keyring.Watched, error) {
	return keyring.Watch(a.protection(), a.keyFiles(models)...)
}

// keyFiles are the user's keyrings and the models' public ones.
func (a *app) keyFiles(models []*model.Model) []string {
	files := slices.Clone(a.keyringFiles())
	for _, m := range models {
		if path := m.Keyring(); path != "" {
			files = append(files, path)
		}
	}
	return files
}

// The models of commands that are not told another: what measures a network, and what embeds and recovers for a user, whose
// own key it takes.
const (
	defaultModel = "invertible-mk"
	sealedModel  = "sealed"
)

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

// trainedWith says whether the model works with a key pair: it was trained with it, or keys need no training. A model
// without a list was trained with none.
func trainedWith(m *model.Model, p keyring.Pair) bool { return m.Takes(p.Fingerprint()) }

// hasVariants says whether the model has a network for each of its keys, and nothing for any other.
func hasVariants(m *model.Model) bool { return m.Manifest.Keying == model.KeyingVariant }
