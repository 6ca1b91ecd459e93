package pixel

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// BenchmarkDecode decodes every photograph in the folders that STEGOMQ_PHOTOGRAPHS names, with colons between, or the samples that
// `make photos` fetches: a round is one pass over a folder. On the folders of out/pixels, which `make pixels` makes, these are the figures in
// docs/images.md.
func BenchmarkDecode(b *testing.B) {
	for _, dir := range filepath.SplitList(cmp.Or(os.Getenv("STEGOMQ_PHOTOGRAPHS"), "../../.cache/photos")) {
		files, err := filepath.Glob(filepath.Join(dir, "*.*"))
		files = slices.DeleteFunc(files, func(name string) bool { return filepath.Ext(name) == ".ppm" })
		if err != nil || len(files) == 0 {
			b.Fatalf("no photographs in %s: run `make photos`, or set STEGOMQ_PHOTOGRAPHS", dir)
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
