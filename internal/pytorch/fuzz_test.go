package pytorch

import (
	"archive/zip"
	"io"
	"path/filepath"
	"testing"
)

// Whatever a pickle says, unpickle ends with a value or an error, in memory that its length bounds.
func FuzzUnpickle(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*-*.pt"))
	if err != nil || len(files) == 0 {
		f.Fatal("there are no fixtures", err)
	}
	for _, name := range files {
		archive, err := zip.OpenReader(name)
		if err != nil {
			continue // the old format
		}
		for _, file := range archive.File {
			if filepath.Base(file.Name) != "data.pkl" {
				continue
			}
			r, err := file.Open()
			if err != nil {
				f.Fatal(err)
			}
			data, err := io.ReadAll(r)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
		if err := archive.Close(); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		root, err := unpickle(data)
		if err != nil {
			return
		}
		s := &StateDict{}
		if err := s.index(root); err == nil && len(s.names) != len(s.tensors) {
			t.Fatalf("%d names, %d tensors", len(s.names), len(s.tensors))
		}
	})
}
