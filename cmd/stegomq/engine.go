package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/pipeline"
)

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
func (a *app) openKeys(models ...*model.Model) (*keyring.Keyring, error) {
	return keyring.OpenAll(a.protection(), a.keyFiles(models)...)
}

// watchKeys is openKeys for those who work for long: keys that are added to the files, or taken out, are so at once.
func (a *app) watchKeys(models ...*model.Model) (*keyring.Watched, error) {
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

// registeredKeys are those of the keyring file that --keys names, or as many of the model's demo keys as it says.
func (a *app) registeredKeys(keys string, m *model.Model) ([]keyring.Pair, error) {
	if n, err := strconv.Atoi(keys); err == nil {
		pairs, err := pipeline.DemoKeys(m)
		if err == nil && (n < 1 || n > len(pairs)) {
			err = fmt.Errorf("--keys %d: model %s has %d demo keys; give 1 to %d, or a keyring file", n, m.Name, len(pairs), len(pairs))
		}
		if err != nil {
			return nil, err
		}
		return pairs[:n], nil
	}
	ring, err := keyring.Open(keys, a.protection())
	if err != nil {
		return nil, fmt.Errorf("--keys: %w", err)
	}
	pairs := ring.List()
	if len(pairs) == 0 {
		return nil, fmt.Errorf("--keys: %s holds no keys", keys)
	}
	for _, p := range pairs {
		if !m.Trained() && !m.Takes(p.Fingerprint()) {
			a.log.Warn("the model was not trained with this key: expect neither recovery nor isolation", "key", p.ID, "model", m.Name)
		}
	}
	return pairs, nil
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
