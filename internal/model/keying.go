package model

import (
	"fmt"
	"math"
	"slices"

	"stegomq/internal/weights"
)

// checkKeying checks the fields of the keying, and that there are none of another.
func (m *Manifest) checkKeying(r *rules) {
	if m.Keying != KeyingWeights {
		for _, f := range []struct {
			name   string
			absent bool
		}{
			{"alpha", m.Alpha == 0}, {"mask_seed", m.MaskSeed == ""}, {"derivation", m.Derivation == 0},
			{"fills", m.Fills == nil}, {"layers", m.Layers == nil},
		} {
			r.hold(f.absent, "%s: does not belong to the keying %q", f.name, m.Keying)
		}
	}
	r.hold(m.Keying == KeyingVariant || m.Variants == nil, "variants: do not belong to the keying %q", m.Keying)
	switch m.Keying {
	case KeyingWeights:
		r.hold(m.Derivation == weights.Version, "derivation: %d, want %d", m.Derivation, weights.Version)
		r.hold(0 <= m.Alpha && m.Alpha < 1, "alpha: %v is not in [0, 1): at 1 no weight would depend on a key", m.Alpha)
		if _, stored := m.Files[fileMask]; stored {
			r.hold(m.MaskSeed == "", "mask_seed: must not be there beside %s", fileMask)
		} else {
			r.hold(hex32.MatchString(m.MaskSeed), "mask_seed: want 64 lowercase hex digits, or the file %s", fileMask)
		}
		m.checkFills(r)
		m.checkLayers(r)
	case KeyingVariant:
		r.hold(1 <= m.Parameters && m.Parameters <= math.MaxInt32, "parameters: %d is not above 0", m.Parameters)
		m.checkVariants(r)
	case KeyingCipher:
		r.hold(m.Backbone == BackboneLSB || m.Backbone == BackboneSealed, "backbone: %q, the keying %q has %q and %q",
			m.Backbone, m.Keying, BackboneLSB, BackboneSealed)
		r.hold(m.Factor == 1 && m.MinSide == 1, "factor, min_side: want 1 and 1, every sample goes by itself")
	case KeyingRotation:
		r.hold(m.Backbone == BackboneModulo || m.Backbone == BackboneRotated, "backbone: %q, the keying %q has %q and %q",
			m.Backbone, m.Keying, BackboneModulo, BackboneRotated)
		if m.Network() {
			r.hold(1 <= m.Parameters && m.Parameters <= math.MaxInt32, "parameters: %d is not above 0", m.Parameters)
			r.hold(m.Factor <= 2, "factor: %d, at most 2: the network is given an image of even sides, as it is", m.Factor)
		} else {
			r.hold(m.Factor == 1, "factor: want 1, images of any size are taken")
		}
	}
	if slices.Contains(Keyings(), m.Keying) && !m.Network() {
		r.hold(m.Parameters == 0 && !m.Trained, "parameters, trained: there is nothing to train")
		r.hold(m.Features == 0, "features: there is no network that has any")
	}
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

// checkVariants checks that keys and variants are the same pairs. That the ids are plain keeps the file names
// within the directory.
func (m *Manifest) checkVariants(r *rules) {
	if len(m.Variants) == 0 {
		r.hold(false, "variants: there are none")
		return
	}
	seen := map[Key]bool{}
	for i, v := range m.Variants {
		pair := Key{v.ID, v.Fingerprint}
		r.hold(slices.Contains(m.Keys, pair) && !seen[pair],
			"variants[%d]: %q with the fingerprint %q is not among the keys, or there twice", i, v.ID, v.Fingerprint)
		seen[pair] = true
		for _, op := range []Operation{OpEmbed, OpRecover} {
			want := string(op) + "." + v.ID + ".onnx"
			r.hold(v.file(op) == want, "variants[%d].%s: %q, want %q", i, op, v.file(op), want)
		}
	}
	fingerprints := map[string]bool{}
	for i, k := range m.Keys {
		r.hold(seen[k], "keys[%d]: %q has no variant", i, k.ID)
		r.hold(!fingerprints[k.Fingerprint], "keys[%d].fingerprint: it is there twice, and names the variant", i)
		fingerprints[k.Fingerprint] = true
	}
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
	return nil, fmt.Errorf("%w: %s with %s; its keys are %q", ErrNoVariant, op, fingerprint, m.KeyIDs())
}

// KeyIDs are those of Keys.
func (m *Model) KeyIDs() (ids []string) {
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
