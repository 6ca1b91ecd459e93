package model

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What parseManifest takes is safe to act on: sizes that can be allocated, layers without gaps.
func FuzzManifest(f *testing.F) {
	for _, name := range []string{"../ort/testdata/tiny", "../ort/testdata/variant", "../../models/lsb-chacha20", "../../models/modulo"} {
		data, err := os.ReadFile(filepath.Join(filepath.FromSlash(name), fileManifest))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"format":1,"layers":[{"name":"a","shape":[-1,-1,1,1],"offset":0}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseManifest(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		_, stored := m.Files[fileMask]
		if n := m.Weights(); m.Keying != KeyingWeights {
			if n != 0 || stored || len(m.Seed()) != 0 || m.Does(OpPurify) {
				t.Fatalf("keying %q with %d weights, a mask or purification", m.Keying, n)
			}
		} else if n < 1 || n > maxWeights || len(m.Seed()) != 32 && !stored {
			t.Fatalf("%d weights, a seed of %d bytes", n, len(m.Seed()))
		}
		end := 0
		for _, l := range m.Layers {
			if l.Offset != end || l.Len() < 1 {
				t.Fatalf("layer %+v begins at %d", l, end)
			}
			end += l.Len()
		}
		for name := range m.Files {
			if filepath.Base(name) != name {
				t.Fatalf("the file %q is outside the directory", name)
			}
		}
	})
}
