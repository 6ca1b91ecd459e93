package model

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrExists: there is something where a model is to be written.
var ErrExists = errors.New("exists already")

// Contents is what a model directory holds beside its manifest.
type Contents struct {
	Weights []float32               // the whole W
	Mask    []byte                  // as weights.StoredMask takes it; nil where the manifest has a seed
	Fills   [][]float32             // of the manifest's Fills, in their order: the keyed weights in order
	Graphs  map[Operation][]byte    // ONNX
	Keyring func(path string) error // writes the public keyring; nil: there is none
	Card    string                  // README.md
}

// CheckNew reports whether Write can make a model of this name in this directory, before there is anything to write:
// ErrFormat for the name, ErrExists for the directory.
func CheckNew(dir, name string) error {
	if !modelName.MatchString(name) {
		return fmt.Errorf("write model: %w: the name %q does not match %s", ErrFormat, name, modelName)
	}
	_, err := os.Lstat(filepath.Clean(dir))
	switch {
	case err == nil:
		return fmt.Errorf("write model: %s %w: remove it or choose another place", dir, ErrExists)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("write model: %w", err)
	}
	return nil
}

// Write makes a model directory, and returns the model as Load reads it. The manifest's Files are Write's to fill in.
// The directory appears whole or not at all; where something is already, the error is ErrExists. Contents that do not
// fit the manifest are the errors of Load.
func Write(dir string, manifest Manifest, c Contents) (_ *Model, err error) {
	if err := CheckNew(dir, manifest.Name); err != nil {
		return nil, err
	}
	dir = filepath.Clean(dir)
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, fmt.Errorf("write model: %w", err)
	}
	// Beside the place, so that a rename is enough; the dot keeps it out of listings.
	work, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+".")
	if err != nil {
		return nil, fmt.Errorf("write model: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	fresh := filepath.Join(work, "fresh")
	if err := os.Mkdir(fresh, 0o755); err != nil {
		return nil, fmt.Errorf("write model: %w", err)
	}
	if err := c.write(fresh, &manifest); err != nil {
		return nil, fmt.Errorf("write model: %w", err)
	}
	m, err := Load(fresh)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return nil, fmt.Errorf("write model: %w", err)
	}
	m.Dir = dir
	return m, nil
}

// write writes the files and then the manifest, with their digests.
func (c Contents) write(dir string, manifest *Manifest) error {
	files := map[string][]byte{fileWeights: pack(c.Weights)}
	if c.Mask != nil {
		files[fileMask] = c.Mask
	}
	for _, values := range c.Fills {
		files[fileFills] = append(files[fileFills], pack(values)...)
	}
	for op, graph := range c.Graphs {
		files[graphFile(op)] = graph
	}
	for name, data := range files {
		if err := create(filepath.Join(dir, name), data); err != nil {
			return err
		}
	}
	if c.Keyring != nil {
		path := filepath.Join(dir, fileKeyring)
		if err := c.Keyring(path); err != nil {
			return err
		}
		var err error
		if files[fileKeyring], err = os.ReadFile(path); err != nil {
			return err
		}
	}
	manifest.Files = make(map[string]string, len(files))
	for name, data := range files {
		sum := sha256.Sum256(data)
		manifest.Files[name] = hex.EncodeToString(sum[:])
	}
	text, err := json.MarshalIndent(manifest, "", " ")
	if err != nil {
		return err
	}
	return errors.Join(
		create(filepath.Join(dir, fileCard), []byte(c.Card)),
		create(filepath.Join(dir, fileManifest), append(text, '\n')),
	)
}

// create writes a file that whoever the user's umask lets may read.
func create(path string, data []byte) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}
