package study_test

import (
	"os"
	"path/filepath"
	"testing"

	"stegomq/schemas"
	"stegomq/study"
)

func TestGridWithoutImages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	spec := &schemas.RunSpec{
		Keys:  []*schemas.KeyRef{{Id: "alice"}},
		Pairs: []*schemas.Pair{{Item: "00001-a"}},
	}
	if err := study.WriteGrid(dir, spec, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "grid.png")); !os.IsNotExist(err) {
		t.Errorf("a grid of nothing was written: %v", err)
	}
}
