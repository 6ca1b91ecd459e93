package pixel

import (
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkDecode decodes every photograph in the folders that STEGOMQ_PHOTOGRAPHS names, separated by colons: a round is one pass over a folder.
func BenchmarkDecode(b *testing.B) {
	for _, dir := range filepath.SplitList(os.Getenv("STEGOMQ_PHOTOGRAPHS")) {
		files, err := filepath.Glob(filepath.Join(dir, "*.*"))
		if err != nil || len(files) == 0 {
			b.Fatalf("no files in %s", dir)
		}
		var photographs [][]byte
		var pixels int64
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				b.Fatal(err)
			}
			info, err := Header(data, Limits{})
			if err != nil {
				b.Fatalf("%s: %v", name, err)
			}
			photographs = append(photographs, data)
			pixels += int64(info.Width) * int64(info.Height)
		}
		b.Run(filepath.Base(dir), func(b *testing.B) {
			b.SetBytes(3 * pixels)
			for b.Loop() {
				for _, data := range photographs {
					if _, _, err := Decode(data, Limits{}); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
