package model

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"stegomq/internal/weights"
	"stegomq/schemas"
)

// What is read at most, in bytes. weights.bin is as long as the layers say.
const (
	maxManifest = 4 << 20
	maxGraph    = 256 << 20
	maxKeyring  = 16 << 20
)

// Load reads and verifies the model in a directory: strict manifest, every file against its digest.
// The errors are ErrNotFound (no manifest.json), ErrFormat and ErrDigest.
//
// A mask that has a seed is not drawn yet, unless there are stored fills; Model.Mask does that when it is
// first asked.
func Load(dir string) (*Model, error) {
	manifest, digest, err := ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	m := &Model{
		Name: manifest.Name, Dir: dir, Digest: digest, Manifest: manifest, Layers: manifest.Layers,
		graphs: make(map[Operation][]byte, 3),
	}
	if manifest.Keying == KeyingWeights {
		if err := m.readWeights(); err != nil {
			return nil, err
		}
	}
	if manifest.Shared() {
		if err := m.readGraphs(); err != nil {
			return nil, err
		}
	}
	for _, v := range manifest.Variants {
		for _, name := range []string{v.Embed, v.Recover} {
			if _, err := m.read(name, maxGraph, false); err != nil { // kept by nobody: VariantGraph
				return nil, err
			}
		}
	}
	if m.Keyring() != "" {
		if _, err := m.read(fileKeyring, maxKeyring, false); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// readWeights reads what KeyingWeights has beside its graphs.
func (m *Model) readWeights() (err error) {
	if m.Weights, err = m.readFloats(fileWeights, m.Manifest.Weights()); err != nil {
		return err
	}
	if err := m.readMask(); err != nil {
		return err
	}
	return m.readFills()
}

// readGraphs reads the graphs of the one network.
func (m *Model) readGraphs() (err error) {
	for _, op := range Operations() {
		if !m.Manifest.Does(op) {
			continue
		}
		if m.graphs[op], err = m.read(graphFile(op), maxGraph, false); err != nil {
			return err
		}
	}
	return nil
}

// maxShare is how far the share of a stored mask may be from the manifest's alpha, which is a round number.
const maxShare = 0.01

// readMask makes the mask of the manifest's seed, or reads the stored one.
func (m *Model) readMask() error {
	if m.Manifest.MaskSeed != "" {
		m.Mask = weights.NewMask(m.Layers, m.Manifest.Seed(), m.Manifest.Alpha)
		return nil
	}
	bits, err := m.read(fileMask, (int64(m.Manifest.Weights())+7)/8, true)
	if err != nil {
		return err
	}
	if m.Mask, err = weights.StoredMask(m.Layers, bits); err != nil {
		return fmt.Errorf("model %s: %w: %s: %w", m.Dir, ErrFormat, fileMask, err)
	}
	share := float64(m.Mask.Kept()) / float64(m.Mask.Len())
	if math.Abs(share-m.Manifest.Alpha) > maxShare || m.Mask.Kept() == m.Mask.Len() {
		return fmt.Errorf("model %s: %w: %s shares %.4f of the weights, alpha is %v", m.Dir, ErrFormat, fileMask, share, m.Manifest.Alpha)
	}
	return nil
}

// readFills reads the stored fills, each of which has as many values as there are keyed weights.
func (m *Model) readFills() error {
	if len(m.Manifest.Fills) == 0 {
		return nil
	}
	keyed := m.Mask.Len() - m.Mask.Kept()
	if keyed > maxWeights/len(m.Manifest.Fills) {
		return fmt.Errorf("model %s: %w: fills: more than %d values", m.Dir, ErrFormat, maxWeights)
	}
	values, err := m.readFloats(fileFills, keyed*len(m.Manifest.Fills))
	if err != nil {
		return err
	}
	m.fills = make(map[Fill][]float32, len(m.Manifest.Fills))
	for i, f := range m.Manifest.Fills {
		m.fills[f] = values[i*keyed : (i+1)*keyed]
	}
	return nil
}

// ReadManifest reads the manifest alone: enough to list models, but the files beside it were not looked
// at. It returns the model's digest too.
func ReadManifest(dir string) (Manifest, string, error) {
	data, err := readFile(filepath.Join(dir, fileManifest), maxManifest, false)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Manifest{}, "", fmt.Errorf("%w: %s holds no %s", ErrNotFound, dir, fileManifest)
	case isFileSystem(err):
		return Manifest{}, "", fmt.Errorf("model %s: %w", dir, err)
	case err != nil:
		return Manifest{}, "", fmt.Errorf("model %s: %w: %s %w", dir, ErrFormat, fileManifest, err)
	}
	m, err := parseManifest(data)
	if err != nil {
		return Manifest{}, "", fmt.Errorf("model %s: %w", dir, err)
	}
	return m, schemas.Digest(data), nil
}

// read returns a file that has the digest in the manifest and at most size bytes, or exactly that many.
func (m *Model) read(name string, size int64, exact bool) ([]byte, error) {
	data, err := readFile(filepath.Join(m.Dir, name), size, exact)
	if err == nil && schemas.Digest(data) != m.Manifest.Files[name] {
		err = errors.New("its content is not what the manifest names")
	}
	if isFileSystem(err) && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("model %s: %w", m.Dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("model %s: %w: %s: %w; fetch the model again, or export it again", m.Dir, ErrDigest, name, err)
	}
	return data, nil
}

// isFileSystem tells what the system says about a file from what we say about its size and kind.
func isFileSystem(err error) bool {
	_, ok := errors.AsType[*fs.PathError](err)
	return ok
}

// readFile reads a regular file of at most (or exactly) so many bytes, and never allocates more.
func readFile(path string, size int64, exact bool) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file") // opening a pipe would wait for ever
	case exact && info.Size() != size:
		return nil, fmt.Errorf("has %d bytes, want %d", info.Size(), size)
	case info.Size() > size:
		return nil, fmt.Errorf("has %d bytes, more than the %d allowed", info.Size(), size)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("read %d bytes: %w", len(data), err)
	}
	return data, nil
}

// readFloats reads a file of n little-endian float32, which must be finite.
func (m *Model) readFloats(name string, n int) ([]float32, error) {
	packed, err := m.read(name, 4*int64(n), true)
	if err != nil {
		return nil, err
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(packed[4*i:]))
		if values[i]-values[i] != 0 {
			return nil, fmt.Errorf("model %s: %w: %s: weight %d is %v", m.Dir, ErrFormat, name, i, values[i])
		}
	}
	return values, nil
}
