package pipeline

import (
	"cmp"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
)

// Library is where a user's models and keys are.
type Library struct {
	// Folders hold model directories, Keyrings are keyring files; Protection opens those that are encrypted.
	Folders, Keyrings []string
	Protection        keyring.Protection
	Logger            *slog.Logger
}

// Models loads every model there is, for a worker. A damaged one is named and left out; none at all is an error.
func (l *Library) Models() ([]*model.Model, error) {
	entries, err := model.List(l.Folders...)
	if err != nil {
		return nil, err
	}
	var models []*model.Model
	for _, entry := range entries {
		m, err := l.Model(entry.Dir)
		if err != nil {
			l.Logger.Error("model left out", "dir", entry.Dir, "error", err)
			continue
		}
		models = append(models, m)
	}
	if len(models) == 0 {
		return nil, fmt.Errorf("%w: no usable model in %v (--models names other folders)", model.ErrNotFound, l.Folders)
	}
	return models, nil
}

// Model loads the model of a name or a directory.
func (l *Library) Model(nameOrDir string) (*model.Model, error) {
	m, err := model.Open(nameOrDir, l.Folders...)
	if err == nil && !m.Trained() {
		l.Logger.Warn("the model is not trained: its images mean nothing", "model", m.Name, "dir", filepath.Base(m.Dir))
	}
	return m, err
}

// Keys merges the user's keyrings with the models' public ones, as they are now.
func (l *Library) Keys(models ...*model.Model) (*keyring.Keyring, error) {
	return keyring.OpenAll(l.Protection, l.files(models)...)
}

// WatchKeys is Keys for those who work for long: keys that are added to the files, or taken out, are so at once.
func (l *Library) WatchKeys(models ...*model.Model) (*keyring.Watched, error) {
	return keyring.Watch(l.Protection, l.files(models)...)
}

func (l *Library) files(models []*model.Model) []string {
	files := slices.Clone(l.Keyrings)
	for _, m := range models {
		if path := m.Keyring(); path != "" {
			files = append(files, path)
		}
	}
	return files
}

// DemoKeys are the first n of the model's demo keys.
func (l *Library) DemoKeys(m *model.Model, n int) ([]keyring.Pair, error) {
	pairs, err := DemoKeys(m)
	if err != nil {
		return nil, err
	}
	if n < 1 || n > len(pairs) {
		return nil, wrong("keys %d: model %s has %d demo keys; give 1 to %d, or a keyring file", n, m.Name, len(pairs), len(pairs))
	}
	return pairs[:n], nil
}

// NamedKeys are those of ids, of the user's keyrings and the model's demo keys.
func (l *Library) NamedKeys(m *model.Model, ids []string) ([]keyring.Pair, error) {
	ring, err := l.Keys(m)
	if err != nil {
		return nil, err
	}
	var pairs []keyring.Pair
	for i, id := range ids {
		pair, err := ring.Get(id)
		if err != nil || keyring.Derived(id) {
			var have []string
			for _, p := range ring.List() {
				have = append(have, p.ID)
			}
			return nil, wrong("keys: there is no key %q, nor a keyring file %s; there are %s (stegomq keys new makes one)",
				id, strings.Join(ids, ","), cmp.Or(strings.Join(have, ", "), "none"))
		}
		if slices.Contains(ids[:i], id) {
			return nil, wrong("keys: %s is there twice", id)
		}
		pairs = append(pairs, pair)
	}
	l.warnUntrained(m, pairs)
	return pairs, nil
}

// RegisteredKeys are all of a keyring file.
func (l *Library) RegisteredKeys(m *model.Model, path string) ([]keyring.Pair, error) {
	ring, err := keyring.Open(path, l.Protection)
	if err != nil {
		return nil, fmt.Errorf("--keys: %w", err)
	}
	pairs := ring.List()
	if len(pairs) == 0 {
		return nil, wrong("keys: %s holds no keys", path)
	}
	l.warnUntrained(m, pairs)
	return pairs, nil
}

func (l *Library) warnUntrained(m *model.Model, pairs []keyring.Pair) {
	for _, p := range pairs {
		if !m.Trained() && !m.Takes(p.Fingerprint()) {
			l.Logger.Warn("the model was not trained with this key: expect neither recovery nor isolation", "key", p.ID, "model", m.Name)
		}
	}
}
