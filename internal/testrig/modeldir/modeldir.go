// Package modeldir writes the model directories that tests need and that the trainer did not make. Only tests import it.
package modeldir

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"stegomq/internal/model"
)

// Contents are the files of a model directory beside its manifest.
type Contents struct {
	Weights []float32                  // the whole W
	Mask    []byte                     // for weights.StoredMask; nil if the manifest has a seed
	Fills   [][]float32                // for the manifest's Fills, in their order: the keyed weights in order
	Graphs  map[model.Operation][]byte // ONNX
	Keyring []byte                     // keyring.json; nil: there is none
}

// Write makes a model directory in the test's own folder. It fills in the manifest's Files.
func Write(t testing.TB, manifest model.Manifest, c Contents) (dir string) {
	t.Helper()
	files := map[string][]byte{"weights.bin": pack(t, c.Weights)}
	for _, fill := range c.Fills {
		files["fills.bin"] = append(files["fills.bin"], pack(t, fill)...)
	}
	for op, graph := range c.Graphs {
		files[string(op)+".onnx"] = graph
	}
	maps.Copy(files, map[string][]byte{"mask.bin": c.Mask, "keyring.json": c.Keyring})
	maps.DeleteFunc(files, func(_ string, data []byte) bool { return data == nil })
	manifest.Files = map[string]string{}
	for name, data := range files {
		sum := sha256.Sum256(data)
		manifest.Files[name] = hex.EncodeToString(sum[:])
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	files["manifest.json"] = text
	dir = filepath.Join(t.TempDir(), "models", manifest.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Keyed are the keyed ones of all weights of a model, in order: a fill as Contents has it.
func Keyed(m *model.Model, w []float32) (fill []float32) {
	for i, v := range w {
		if !m.Mask.Shared(i) {
			fill = append(fill, v)
		}
	}
	return fill
}

func pack(t testing.TB, values []float32) []byte {
	var packed bytes.Buffer
	if err := binary.Write(&packed, binary.LittleEndian, values); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}
