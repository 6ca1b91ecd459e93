// Package model reads model directories, which the trainer writes. It owns their format: what manifest.json says, which
// files belong to a model, and that the files are those that the manifest names.
//
// Invariants:
//   - A *Model is complete: its manifest passed Validate, every file was read once and has the digest
//     that the manifest gives, every weight of weights.bin is finite. It does not change, and is safe for concurrent
//     use. The graphs of variants are read again, and checked again, when they are asked for.
//   - Digest, the SHA-256 of manifest.json, names the model and through the digests in the manifest
//     everything in it. Two models with one digest give the same images.
//   - The manifest's keying says how a key acts, and which fields and files there are: none of another keying.
//   - The weights of a key are those of Apply: a fill that the model stores goes before the one that would
//     be derived from the key.
//   - No file outside the directory can be named: the names are a fixed set, with ids of keys in some.
package model

import (
	"errors"
	"path/filepath"

	"stegomq/internal/weights"
	"stegomq/schemas"
)

var (
	// ErrNotFound: no model has that name, or the directory holds no manifest.json.
	ErrNotFound = errors.New("model not found")
	// ErrFormat: the manifest is not one that this version understands, or breaks a rule of the format.
	ErrFormat = errors.New("not a valid model")
	// ErrDigest: a file of the model is missing, or is not the one that the manifest names.
	ErrDigest = errors.New("model is damaged")
	// ErrNoVariant: the model has a network for each of its keys, and none for this one.
	ErrNoVariant = errors.New("the model has no network for this key")
)

// Operation is one of the things that a model does, by its word (schemas.Descriptor.Token).
type Operation string

const (
	// OpEmbed hides a secret in a cover: (cover, secret) -> stego, with the weights of the embed key.
	OpEmbed Operation = "embed"
	// OpRecover finds the secret: stego -> recovered, with the weights of the recover key.
	OpRecover Operation = "recover"
	// OpPurify is the innocent task: noisy -> purified, with the trained weights whole, and no key.
	OpPurify Operation = "purify"
)

// describe is the operation's descriptor; empty for an unknown one.
func (o Operation) describe() schemas.Descriptor { return schemas.OperationOf(string(o)).Describe() }

// Operations are all of them, in the order in which an image meets them.
func Operations() (all []Operation) {
	for _, op := range schemas.Operations() {
		all = append(all, Operation(op.Token))
	}
	return all
}

// Valid reports whether there is such an operation.
func (o Operation) Valid() bool { return o.describe().Token != "" }

// Role is the role of the key that the operation needs; ok is false for purify, which needs none.
func (o Operation) Role() (role weights.Role, ok bool) {
	half := o.describe().Key
	return weights.Role(half), half != ""
}

// Inputs are the names of the image inputs of the operation's graph, in order. Each is NCHW float32,
// RGB in [0, 1].
func (o Operation) Inputs() []string { return o.describe().Inputs }

// Features is the name of the second output that a recover graph may have, [batch, Manifest.Features]: the means over the
// image of the activations that go into the last convolution.
const Features = "features"

// Output is the name of the graph's one image, of the shape of the inputs and not clamped.
func (o Operation) Output() string { return o.describe().Output }

// Model is a model directory, read and verified. Treat the slices as read-only.
type Model struct {
	Name     string // of the manifest, not of the directory
	Dir      string // where it was read from
	Digest   string // SHA-256 of manifest.json in lowercase hex
	Manifest Manifest
	Weights  []float32       // the whole W, all layers one after another; these three are of KeyingWeights
	Mask     *weights.Mask   // which of them are shared; drawn at its first use
	Layers   []weights.Layer // those of the manifest

	graphs map[Operation][]byte
	fills  map[Fill][]float32 // the stored ones, each the keyed weights in order
}

// Apply writes the weights of a key to dst, which holds as many elements as Weights: W where the mask
// shares, elsewhere the fill for the role that the model stores for the pair of this fingerprint or, where
// it stores none, the one derived from the key. Only the latter looks at key.
func (m *Model) Apply(dst []float32, fingerprint string, role weights.Role, key []byte) {
	if values, stored := m.fills[Fill{fingerprint, role}]; stored {
		m.Mask.Put(dst, m.Weights, values)
		return
	}
	m.Mask.Apply(dst, m.Weights, role, key)
}

// Graph returns the ONNX graph of an operation, or nil if the model does not have it. Variants have their own.
func (m *Model) Graph(op Operation) []byte { return m.graphs[op] }

// Trained reports whether the weights were trained. It is also true of a model without weights. The images of an untrained
// model, such as a fixture, mean nothing.
func (m *Model) Trained() bool { return m.Manifest.Trained || !m.Manifest.Network() }

// Keys are the public demo keys that the model was trained with, or that ship with it.
func (m *Model) Keys() []Key { return m.Manifest.Keys }

// Keyring is the path of the model's public demo keyring, or "" if it has none.
func (m *Model) Keyring() string {
	if _, ok := m.Manifest.Files[fileKeyring]; !ok {
		return ""
	}
	return filepath.Join(m.Dir, fileKeyring)
}
