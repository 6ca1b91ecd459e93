package model

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"stegomq/internal/weights"
)

// brokenOperations checks what the model says that it does: to embed and to recover, and perhaps to purify.
func (m *Manifest) brokenOperations() (broken []error) {
	for i, op := range m.Operations {
		if !op.Valid() || slices.Contains(m.Operations[:i], op) {
			broken = append(broken, fmt.Errorf("operations[%d]: %q is none of %q, or there twice", i, op, Operations()))
		}
	}
	if !m.Does(OpEmbed) || !m.Does(OpRecover) {
		broken = append(broken, fmt.Errorf("operations: %q lack one of %q and %q", m.Operations, OpEmbed, OpRecover))
	}
	if !m.Shared() && m.Does(OpPurify) {
		broken = append(broken, fmt.Errorf("operations: the keying %q has %q and %q alone, and must say so", m.Keying, OpEmbed, OpRecover))
	}
	return broken
}

// brokenKeying checks the fields of the keying, and that there are none of another.
func (m *Manifest) brokenKeying() (broken []error) {
	rule := func(ok bool, format string, args ...any) {
		if !ok {
			broken = append(broken, fmt.Errorf(format, args...))
		}
	}
	if m.Keying != KeyingWeights {
		for _, f := range []struct {
			name   string
			absent bool
		}{
			{"alpha", m.Alpha == 0}, {"mask_seed", m.MaskSeed == ""}, {"derivation", m.Derivation == 0},
			{"fills", m.Fills == nil}, {"layers", m.Layers == nil},
		} {
			rule(f.absent, "%s: does not belong to the keying %q", f.name, m.Keying)
		}
	}
	rule(m.Keying == KeyingVariant || m.Variants == nil, "variants: do not belong to the keying %q", m.Keying)
	switch m.Keying {
	case KeyingWeights:
		rule(m.Derivation == weights.Version, "derivation: %d, want %d", m.Derivation, weights.Version)
		rule(0 <= m.Alpha && m.Alpha < 1, "alpha: %v is not in [0, 1): at 1 no weight would depend on a key", m.Alpha)
		if _, stored := m.Files[fileMask]; stored {
			rule(m.MaskSeed == "", "mask_seed: must not be there beside %s", fileMask)
		} else {
			rule(hex32.MatchString(m.MaskSeed), "mask_seed: want 64 lowercase hex digits, or the file %s", fileMask)
		}
		broken = append(broken, m.brokenFills()...)
		broken = append(broken, m.brokenLayers()...)
	case KeyingVariant:
		rule(1 <= m.Parameters && m.Parameters <= math.MaxInt32, "parameters: %d is not above 0", m.Parameters)
		broken = append(broken, m.brokenVariants()...)
	case KeyingCipher:
		rule(m.Backbone == BackboneLSB || m.Backbone == BackboneSealed, "backbone: %q, the keying %q has %q and %q",
			m.Backbone, m.Keying, BackboneLSB, BackboneSealed)
		rule(m.Factor == 1 && m.MinSide == 1, "factor, min_side: want 1 and 1, every sample goes by itself")
	case KeyingRotation:
		rule(m.Backbone == BackboneModulo || m.Backbone == BackboneRotated, "backbone: %q, the keying %q has %q and %q",
			m.Backbone, m.Keying, BackboneModulo, BackboneRotated)
		if m.Network() {
			rule(1 <= m.Parameters && m.Parameters <= math.MaxInt32, "parameters: %d is not above 0", m.Parameters)
			rule(m.Factor <= 2, "factor: %d, at most 2: the network is given an image of even sides, as it is", m.Factor)
		} else {
			rule(m.Factor == 1, "factor: want 1, images of any size are taken")
		}
	}
	if slices.Contains(Keyings(), m.Keying) && !m.Network() {
		rule(m.Parameters == 0 && !m.Trained, "parameters, trained: there is nothing to train")
		rule(m.Features == 0, "features: there is no network that has any")
	}
	return broken
}

// neededFiles are those that a model of this keying cannot do without.
func (m *Manifest) neededFiles() (names []string) {
	if m.Keying == KeyingWeights {
		names = append(names, fileWeights)
	}
	if m.Shared() {
		for _, op := range Operations() {
			if m.Does(op) {
				names = append(names, graphFile(op))
			}
		}
	}
	for _, v := range m.Variants {
		names = append(names, v.Embed, v.Recover)
	}
	return names
}

// Variant is the network of one key pair: a graph for each operation, with all parameters in it.
type Variant struct {
	ID          string `json:"id"`
	Fingerprint string `json:"fingerprint"`
	Embed       string `json:"embed"`   // the file embed.<id>.onnx
	Recover     string `json:"recover"` // the file recover.<id>.onnx
}

// file is that of an operation's graph, or "".
func (v Variant) file(op Operation) string {
	switch op {
	case OpEmbed:
		return v.Embed
	case OpRecover:
		return v.Recover
	}
	return ""
}

// variantFile is the name that the file of a variant's graph must have.
func variantFile(op Operation, id string) string { return string(op) + "." + id + ".onnx" }

// brokenVariants checks that keys and variants are the same pairs. That the ids are plain keeps the file names
// within the directory.
func (m *Manifest) brokenVariants() (broken []error) {
	if len(m.Variants) == 0 {
		return []error{errors.New("variants: there are none")}
	}
	seen := map[Key]bool{}
	for i, v := range m.Variants {
		pair := Key{v.ID, v.Fingerprint}
		if !slices.Contains(m.Keys, pair) || seen[pair] {
			broken = append(broken, fmt.Errorf("variants[%d]: %q with the fingerprint %q is not among the keys, or there twice", i, v.ID, v.Fingerprint))
		}
		seen[pair] = true
		for _, op := range []Operation{OpEmbed, OpRecover} {
			if want := variantFile(op, v.ID); v.file(op) != want {
				broken = append(broken, fmt.Errorf("variants[%d].%s: %q, want %q", i, op, v.file(op), want))
			}
		}
	}
	fingerprints := map[string]bool{}
	for i, k := range m.Keys {
		if !seen[k] {
			broken = append(broken, fmt.Errorf("keys[%d]: %q has no variant", i, k.ID))
		}
		if fingerprints[k.Fingerprint] {
			broken = append(broken, fmt.Errorf("keys[%d].fingerprint: again: it names the variant", i))
		}
		fingerprints[k.Fingerprint] = true
	}
	return broken
}

// VariantGraph reads the ONNX graph of an operation for the key pair of a fingerprint: from the file, because it may be
// large and is needed once for a session, and against its digest, as when the model was loaded. ErrNoVariant says that
// the model has no network for the pair, ErrDigest that the file has changed since.
func (m *Model) VariantGraph(op Operation, fingerprint string) ([]byte, error) {
	for _, v := range m.Manifest.Variants {
		if name := v.file(op); v.Fingerprint == fingerprint && name != "" {
			return m.read(name, maxGraph, false)
		}
	}
	return nil, fmt.Errorf("%w: %s with %s; its keys are %q", ErrNoVariant, op, fingerprint, m.keyIDs())
}

func (m *Model) keyIDs() (ids []string) {
	for _, k := range m.Keys() {
		ids = append(ids, k.ID)
	}
	return ids
}

// Takes says whether the model works with the key pair of a fingerprint: any pair where keys encrypt or rotate, otherwise one
// that it was trained with.
func (m *Model) Takes(fingerprint string) bool {
	return m.Manifest.Keying == KeyingCipher || m.Manifest.Keying == KeyingRotation ||
		slices.ContainsFunc(m.Keys(), func(k Key) bool { return k.Fingerprint == fingerprint })
}
