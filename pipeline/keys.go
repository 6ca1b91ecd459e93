package pipeline

import (
	"errors"
	"fmt"
	"strings"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/schemas"
)

// HasVariants says whether a model has a network for each of its keys, and nothing for any other.
func HasVariants(m *model.Model) bool { return m.Manifest.Keying == model.KeyingVariant }

func keyRef(p keyring.Pair) *schemas.KeyRef {
	return &schemas.KeyRef{Id: p.ID, Fingerprint: p.Fingerprint()}
}

// DemoKeys are the key pairs that a model was trained with and that ship with it. A model without a keyring has none.
func DemoKeys(m *model.Model) ([]keyring.Pair, error) {
	if m.Keyring() == "" {
		return nil, nil
	}
	ring, err := keyring.Open(m.Keyring(), keyring.Protection{})
	if err != nil {
		return nil, err
	}
	var pairs []keyring.Pair
	for _, k := range m.Keys() {
		p, err := ring.Resolve(k.ID, k.Fingerprint)
		if errors.Is(err, keyring.ErrUnknownKey) {
			continue // a user's own, whose key does not ship
		}
		if err != nil {
			return nil, fmt.Errorf("demo keyring of model %s: %w", m.Name, err)
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// UsableKey finds a key of a keyring that an operation of the model can work with, or says why there is none.
func UsableKey(op schemas.Operation, m *model.Model, ring *keyring.Keyring, id string) (*schemas.KeyRef, error) {
	if id == "" {
		return nil, errors.New("no key is named: give --key ID (stegomq keys list shows yours)")
	}
	pair, err := ring.Get(id)
	if err != nil {
		return nil, fmt.Errorf("%w; the keys of model %s are %s", err, m.Name, trainedKeys(m))
	}
	trained := m.Takes(pair.Fingerprint())
	switch {
	case op.Describe().Key == schemas.HalfRecover && pair.Recover.IsZero():
		return nil, fmt.Errorf("recover with key %s: %w; its owner has the other", id, keyring.ErrEmbedOnly)
	case HasVariants(m) && !trained:
		return nil, noVariant(m, id)
	case !keyring.Derived(id) && m.Trained() && !trained:
		return nil, notTrained(m, id)
	}
	return keyRef(pair), nil
}

func noVariant(m *model.Model, id string) error {
	return fmt.Errorf("model %s has a network for each of its keys and none for %s: its keys are %s", m.Name, id, trainedKeys(m))
}

func notTrained(m *model.Model, id string) error {
	return fmt.Errorf("model %s was not trained with key %s, so it would neither hide nor protect anything: its keys are %s", m.Name, id, trainedKeys(m))
}

func trainedKeys(m *model.Model) string {
	var names []string
	for _, k := range m.Keys() {
		names = append(names, k.ID)
	}
	return strings.Join(names, ", ")
}
