// Package pusnet makes models of the checkpoints of the public PUSNet code (github.com/albblgb/PUSNet). It owns what
// that code does: the names of its parameters and the order of its convolutions, how it chooses the mask, and how an
// integer is a key.
//
// The public code seeds PyTorch's generator with the key and draws every convolution's weight from the Xavier normal
// distribution, in the order of its modules; that is the fill. The mask comes from the same draw with the seed 1: it
// shares the weights that are largest there, over all convolutions. A checkpoint holds the shared weights, and zeros
// elsewhere.
//
// Invariants:
//   - The network is that of the checkpoint, or there is no model: every parameter is there, in its shape, and the
//     zeros of the checkpoint lie where the mask has its keyed weights.
//   - A model made here computes what the public code computes. Its fill is not the one that package weights derives
//     from a key, so it is stored, and the mask too.
//   - The same checkpoint and options give the same model, bit for bit.
package pusnet

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/pytorch"
	"stegomq/internal/weights"
)

var (
	// ErrNetwork: a checkpoint or a model is not of the public network.
	ErrNetwork = errors.New("not the network of the public PUSNet code")
	// ErrMask: the checkpoint was not trained with this mask.
	ErrMask = errors.New("the mask does not fit the checkpoint")
	// ErrOption: an option is out of range.
	ErrOption = errors.New("option out of range")
)

// Options are what a checkpoint does not say of itself.
type Options struct {
	Name        string  // of the model
	Alpha       float64 // share of the weights that are shared, in (0, 1): `sparse_ratio` of the public code
	MaskSeed    uint64  // of the draw that the mask is made of
	EmbedSeed   uint64  // the key that hides; as of all seeds, PyTorch takes the lower 32 bits
	RecoverSeed uint64  // the key that reveals
}

// Defaults are the values that the public code has.
func Defaults() Options {
	return Options{Alpha: 0.9, MaskSeed: 1, EmbedSeed: 10101, RecoverSeed: 1010}
}

// Import writes the model of a checkpoint into a new directory. It takes the graphs of like, a model of the same
// network, with the checkpoint's biases and normalisations in them. The model has one key pair, that of Pair, in a
// public keyring. Errors wrap ErrNetwork, ErrMask, ErrOption or are those of packages pytorch and model.
func Import(checkpoint string, like *model.Model, dir string, o Options) (*model.Model, error) {
	if !(0 < o.Alpha && o.Alpha < 1) {
		return nil, fmt.Errorf("%w: alpha is %v, not between 0 and 1", ErrOption, o.Alpha)
	}
	if err := model.CheckNew(dir, o.Name); err != nil {
		return nil, err
	}
	if err := check(like); err != nil {
		return nil, err
	}
	state, err := pytorch.Open(checkpoint)
	if err != nil {
		return nil, err
	}
	defer state.Close()
	w, affines, err := parameters(state, like.Layers)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", checkpoint, err)
	}
	bits, err := magnitudeMask(w, draw(o.MaskSeed, like.Layers), o.Alpha)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", checkpoint, err)
	}
	mask, err := weights.StoredMask(like.Layers, bits)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", checkpoint, err)
	}
	contents := model.Contents{
		Weights: w, Mask: bits,
		Fills: [][]float32{
			mask.Select(draw(o.EmbedSeed, like.Layers)),
			mask.Select(draw(o.RecoverSeed, like.Layers)),
		},
		Graphs: map[model.Operation][]byte{},
	}
	for _, op := range model.Operations() {
		if !like.Manifest.Does(op) {
			continue
		}
		if contents.Graphs[op], err = withAffines(like.Graph(op), affines); err != nil {
			return nil, fmt.Errorf("the graph %s of model %s: %w", op, like.Name, err)
		}
	}
	digest, err := fileDigest(checkpoint)
	if err != nil {
		return nil, err
	}
	pair := Pair(o.EmbedSeed, o.RecoverSeed)
	ring := keyring.NewPublic(keyringNote)
	if err := ring.Add(pair); err != nil {
		return nil, err
	}
	contents.Keyring = func(path string) error { return ring.Save(path, keyring.Protection{}) }
	manifest := manifestOf(like.Manifest, pair, o, recipe(filepath.Base(checkpoint), digest, o))
	contents.Card = card(manifest)
	return model.Write(dir, manifest, contents)
}

// manifestOf is that of like, with what is the checkpoint's own.
func manifestOf(like model.Manifest, pair keyring.Pair, o Options, recipe string) model.Manifest {
	m := like
	m.Name, m.Alpha, m.MaskSeed = o.Name, o.Alpha, ""
	m.Trained = true
	m.Training = &model.Training{Hardware: "unknown", Recipe: recipe, Revision: "unknown"}
	m.Quality = []model.Quality{}
	fingerprint := pair.Fingerprint()
	m.Keys = []model.Key{{ID: pair.ID, Fingerprint: fingerprint}}
	m.Fills = []model.Fill{
		{Fingerprint: fingerprint, Role: weights.RoleEmbed},
		{Fingerprint: fingerprint, Role: weights.RoleRecover},
	}
	return m
}

func recipe(file, digest string, o Options) string {
	return fmt.Sprintf("Imported from %s (SHA-256 %s), a checkpoint of the public PUSNet code with the mask of seed %d, "+
		"the embed key %d and the recover key %d. It was trained elsewhere; how is not known here",
		file, digest, o.MaskSeed, o.EmbedSeed, o.RecoverSeed)
}

func fileDigest(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("digest of the checkpoint: %w", err)
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", fmt.Errorf("digest of the checkpoint: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func card(m model.Manifest) string {
	return fmt.Sprintf(`# %s

Hides one RGB image in another of the same size. %s.

A share of %g of the convolution weights is trained, the key fills the rest. The fill of the one key pair is stored in
fills.bin, because the public code draws it with PyTorch's generator; the mask is in mask.bin.

| key | fingerprint |
|---|---|
| %s | `+"`%s`"+` |

The key pair is public: anyone can make it of its two integers. It protects nothing. Other keys were not trained and
serve only as wrong ones. Nothing was measured here.
`, m.Name, m.Training.Recipe, m.Alpha, m.Keys[0].ID, m.Keys[0].Fingerprint)
}
