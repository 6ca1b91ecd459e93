package model

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"time"

	"stegomq/internal/weights"
)

// Format is the version of the manifest that this package reads.
const Format = 1

// Keying says how a key acts.
const (
	// KeyingWeights: one network; the key fills the weights outside the mask.
	KeyingWeights = "weights"
	// KeyingVariant: a network of its own for each key, whose bytes have no part. A wrong key is another user's network.
	KeyingVariant = "variant"
	// KeyingCipher: no network; the key encrypts. Any key will do.
	KeyingCipher = "cipher"
	// KeyingRotation: the key turns the secret into noise, which one network for all, or none, hides. Any key will do.
	KeyingRotation = "rotation"
)

// Keyings are all of them.
func Keyings() []string { return []string{KeyingWeights, KeyingVariant, KeyingCipher, KeyingRotation} }

// Backbones that the program knows by name.
const (
	// BackboneLSB is one of KeyingCipher: package lsb, four bits.
	BackboneLSB = "lsb4-chacha20"
	// BackboneSealed is one of KeyingCipher: package sealed; config has its rate and profile.
	BackboneSealed = "sealed"
	// BackboneRotated is one of KeyingRotation: a network that hides what package rotated makes.
	BackboneRotated = "rotated"
	// BackboneModulo is the other: package modulo, no network; config has its profile.
	BackboneModulo = "modulo"
)

// The files of a model. The keyring may be absent. The mask is there where it cannot be drawn from a seed,
// and the fills where some cannot be derived from a key. README.md, the model card, is for people and not
// part of the model.
const (
	fileManifest = "manifest.json"
	fileWeights  = "weights.bin"
	fileMask     = "mask.bin"
	fileFills    = "fills.bin"
	fileKeyring  = "keyring.json"
)

// maxFeatures bounds the second output of recover.
const maxFeatures = 1 << 16

// maxWeights bounds what a manifest can make us allocate: 2^26 weights are 256 MiB.
const maxWeights = 1 << 26

// Manifest is manifest.json.
type Manifest struct {
	Format     int               `json:"format"`
	Name       string            `json:"name"`
	Backbone   string            `json:"backbone"` // the network's family, "invertible" or "pusnet"; the graphs say the rest
	Config     map[string]any    `json:"config"`   // its sizes, for people and for the trainer
	Keying     string            `json:"keying"`
	Operations []Operation       `json:"operations,omitempty"` // what the model does; none stands for all, see Does
	Parameters int               `json:"parameters"`           // weights, biases and norms together, of one variant
	Factor     int               `json:"factor"`               // the graphs pad height and width to a multiple of it
	MinSide    int               `json:"min_side"`             // the least height and width, in pixels
	Features   int               `json:"features,omitempty"`   // width of recover's second output, see Features; 0: there is none
	Alpha      float64           `json:"alpha,omitempty"`      // share of the weights that are shared, in [0, 1)
	MaskSeed   string            `json:"mask_seed,omitempty"`  // 32 bytes in lowercase hex; "" where mask.bin is the mask
	Derivation int               `json:"derivation,omitempty"` // weights.Version
	Trained    bool              `json:"trained"`
	Training   *Training         `json:"training,omitempty"` // nil if untrained
	Quality    []Quality         `json:"quality"`            // as measured by the trainer
	Keys       []Key             `json:"keys"`
	Variants   []Variant         `json:"variants,omitempty"` // of KeyingVariant, one for each of the keys
	Fills      []Fill            `json:"fills,omitempty"`    // in the order of fills.bin; all others are derived
	Layers     []weights.Layer   `json:"layers,omitempty"`   // in the order of weights.bin
	Files      map[string]string `json:"files"`              // name to SHA-256 in lowercase hex
}

// Training says where the weights come from.
type Training struct {
	Seconds  float64 `json:"seconds"` // of the processor on a CPU, of the clock on a GPU
	Steps    int     `json:"steps"`   // optimiser steps
	Images   int     `json:"images"`  // different images seen
	Hardware string  `json:"hardware"`
	Recipe   string  `json:"recipe"`
	Revision string  `json:"revision"` // of the source, from git
}

// Quality is one measurement; the PSNR values are means over the pairs in dB, 8-bit images.
type Quality struct {
	Dataset        string  `json:"dataset"`
	Date           string  `json:"date"`   // YYYY-MM-DD
	Width          int     `json:"width"`  // pixels
	Height         int     `json:"height"` // pixels
	Pairs          int     `json:"pairs"`
	StegoPSNR      float64 `json:"stego_psnr"`              // stego against cover
	RecoveredPSNR  float64 `json:"recovered_psnr"`          // recovered with the matched key against secret
	MismatchedPSNR float64 `json:"mismatched_psnr"`         // with another registered key
	RandomPSNR     float64 `json:"random_psnr,omitempty"`   // with an unregistered key, where there are any
	PurifiedPSNR   float64 `json:"purified_psnr,omitempty"` // purified against clean, where the model does it
}

// Key names a public demo key of the model.
type Key struct {
	ID          string `json:"id"`
	Fingerprint string `json:"fingerprint"` // keyring.Pair.Fingerprint
}

// Fill says that the fill of a key pair for a role is stored, and not derived from the key's bytes.
type Fill struct {
	Fingerprint string       `json:"fingerprint"`
	Role        weights.Role `json:"role"`
}

// Does says whether the model has an operation.
func (m *Manifest) Does(op Operation) bool {
	return op.Valid() && (len(m.Operations) == 0 || slices.Contains(m.Operations, op))
}

// Network says whether the model has one, or one for each key.
func (m *Manifest) Network() bool {
	return m.Keying == KeyingWeights || m.Keying == KeyingVariant || m.Keying == KeyingRotation && m.Backbone == BackboneRotated
}

// Shared says whether one network serves every key, so that purification is one more thing that it can do.
func (m *Manifest) Shared() bool { return m.Network() && m.Keying != KeyingVariant }

// graphFile is the file of an operation's graph.
func graphFile(op Operation) string { return string(op) + ".onnx" }

// Seed is the mask seed in bytes, none where the mask is stored. Validate has checked that it is hex.
func (m *Manifest) Seed() []byte {
	seed, _ := hex.DecodeString(m.MaskSeed)
	return seed
}

// Weights is how many there are in all layers.
func (m *Manifest) Weights() int {
	total := 0
	for _, l := range m.Layers {
		total += l.Len()
	}
	return total
}

// parseManifest decodes strictly and validates.
func parseManifest(data []byte) (Manifest, error) {
	var m Manifest
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return Manifest{}, fmt.Errorf("%w: there is more after the manifest", ErrFormat)
	}
	if m.Format != Format {
		// Another format breaks most rules below, and one line says why.
		return Manifest{}, fmt.Errorf("%w: format %d, this stegomq reads format %d", ErrFormat, m.Format, Format)
	}
	if err := m.Validate(); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

var (
	modelName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	layerName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]{0,127}$`)
	keyID     = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	hex16     = regexp.MustCompile(`^[0-9a-f]{32}$`)
	hex32     = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// rules are those that a manifest breaks.
type rules struct{ broken []error }

// hold says that a rule must, or what is wrong.
func (r *rules) hold(ok bool, format string, args ...any) {
	if !ok {
		r.broken = append(r.broken, fmt.Errorf(format, args...))
	}
}

// Validate reports every rule that the manifest breaks, joined, under ErrFormat.
func (m *Manifest) Validate() error {
	r := &rules{}
	r.hold(m.Format == Format, "format: %d, want %d", m.Format, Format)
	r.hold(modelName.MatchString(m.Name), "name: %q does not match %s", m.Name, modelName)
	r.hold(modelName.MatchString(m.Backbone), "backbone: %q does not match %s", m.Backbone, modelName)
	r.hold(slices.Contains(Keyings(), m.Keying), "keying: %q is none of %q", m.Keying, Keyings())
	r.hold(1 <= m.Factor && m.Factor <= 1024, "factor: %d is not in 1..1024", m.Factor)
	r.hold(1 <= m.MinSide && m.MinSide <= 1<<16, "min_side: %d is not in 1..65536", m.MinSide)
	r.hold(0 <= m.Features && m.Features <= maxFeatures, "features: %d is not in 0..%d", m.Features, maxFeatures)
	r.hold(m.Trained == (m.Training != nil), "training: must be there if, and only if, trained is true")
	if t := m.Training; t != nil {
		r.hold(t.Images >= 0 && t.Steps >= 0 && t.Seconds >= 0, "training: a count is negative")
	}
	for i, q := range m.Quality {
		_, err := time.Parse(time.DateOnly, q.Date)
		r.hold(err == nil, "quality[%d].date: %q is not YYYY-MM-DD", i, q.Date)
		r.hold(q.Dataset != "", "quality[%d].dataset: is empty", i)
		r.hold(q.Width > 0 && q.Height > 0 && q.Pairs > 0, "quality[%d]: width, height and pairs must be above 0", i)
	}

	ids := map[string]bool{}
	for i, k := range m.Keys {
		r.hold(keyID.MatchString(k.ID), "keys[%d].id: %q does not match %s", i, k.ID, keyID)
		r.hold(!ids[k.ID], "keys[%d].id: %q is there twice", i, k.ID)
		r.hold(hex16.MatchString(k.Fingerprint), "keys[%d].fingerprint: want 32 lowercase hex digits", i)
		ids[k.ID] = true
	}

	m.checkOperations(r)
	m.checkKeying(r)
	m.checkFiles(r)
	if len(r.broken) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrFormat, errors.Join(r.broken...))
}

// checkOperations checks what the model says that it does: to embed and to recover, and perhaps to purify.
func (m *Manifest) checkOperations(r *rules) {
	for i, op := range m.Operations {
		r.hold(op.Valid() && !slices.Contains(m.Operations[:i], op), "operations[%d]: %q is none of %q, or there twice", i, op, Operations())
	}
	r.hold(m.Does(OpEmbed) && m.Does(OpRecover), "operations: %q lack one of %q and %q", m.Operations, OpEmbed, OpRecover)
	r.hold(m.Shared() || !m.Does(OpPurify), "operations: the keying %q has %q and %q alone, and must say so", m.Keying, OpEmbed, OpRecover)
}

// checkFills checks the names of stored fills.
func (m *Manifest) checkFills(r *rules) {
	fingerprints := map[string]bool{}
	for _, k := range m.Keys {
		fingerprints[k.Fingerprint] = true
	}
	seen := map[Fill]bool{}
	for i, f := range m.Fills {
		r.hold(f.Role == weights.RoleEmbed || f.Role == weights.RoleRecover,
			"fills[%d].role: %q is neither %q nor %q", i, f.Role, weights.RoleEmbed, weights.RoleRecover)
		r.hold(fingerprints[f.Fingerprint], "fills[%d].fingerprint: %q is not among the keys", i, f.Fingerprint)
		r.hold(!seen[f], "fills[%d]: the %s fill of %s is there twice", i, f.Role, f.Fingerprint)
		seen[f] = true
	}
	_, stored := m.Files[fileFills]
	r.hold(stored == (len(m.Fills) > 0), "files: %s must be there if, and only if, fills is", fileFills)
}

// checkLayers checks the layer table without trusting its numbers: shapes that would overflow stop it.
func (m *Manifest) checkLayers(r *rules) {
	if len(m.Layers) == 0 {
		r.hold(false, "layers: there are none")
		return
	}
	names := map[string]bool{Features: true}
	for _, op := range Operations() {
		for _, image := range append(op.Inputs(), op.Output()) {
			names[image] = true // graph inputs and outputs share one name space with the layers
		}
	}
	total := 0
	for i, l := range m.Layers {
		r.hold(layerName.MatchString(l.Name), "layers[%d].name: %q does not match %s", i, l.Name, layerName)
		r.hold(!names[l.Name], "layers[%d].name: %q is taken", i, l.Name)
		names[l.Name] = true
		r.hold(l.Offset == total, "layers[%d].offset: %d, want %d: layers follow one another", i, l.Offset, total)
		size := 1
		for _, dim := range l.Shape {
			if dim < 1 || dim > maxWeights/size {
				r.hold(false, "layers[%d].shape: %v is not within 1..%d weights", i, l.Shape, maxWeights)
				return
			}
			size *= dim
		}
		if total += size; total > maxWeights {
			r.hold(false, "layers: more than %d weights", maxWeights)
			return
		}
	}
	r.hold(total <= m.Parameters && m.Parameters <= math.MaxInt32, "parameters: %d, but the layers alone have %d", m.Parameters, total)
}

// checkFiles compares the files with those that a model of this keying has.
func (m *Manifest) checkFiles(r *rules) {
	known := m.neededFiles()
	for _, name := range known {
		_, ok := m.Files[name]
		r.hold(ok, "files: %s is missing", name)
	}
	known = append(known, fileKeyring)
	if m.Keying == KeyingWeights {
		known = append(known, fileMask, fileFills)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		r.hold(slices.Contains(known, name), "files: %q is not a file of this model; those are %q", name, known)
		r.hold(hex32.MatchString(m.Files[name]), "files: the digest of %q is not 64 lowercase hex digits", name)
	}
}
