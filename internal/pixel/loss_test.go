package pixel

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What a file lost is told by its content: of the samples it is known what they are.
func TestLossOf(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[Loss]int)
	for _, f := range files {
		name := f.Name()
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if f.IsDir() {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var want Loss
		switch {
		case strings.HasSuffix(name, ".jpg"):
			want = LossJPEG
		case strings.HasPrefix(name, "palette"):
			want = LossPalette
		case strings.HasSuffix(name, ".webp") && !slices.Contains([]string{"lossless.webp", "lossless-alpha.webp", "orientation8.webp", "animated.webp"}, name):
			want = LossWebP
		}
		got := LossOf(data)
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		seen[got]++
	}
	for _, loss := range []Loss{"", LossJPEG, LossWebP, LossPalette} {
		if seen[loss] < 3 {
			t.Errorf("%d samples with the loss %q", seen[loss], loss)
		}
	}
	if got := LossOf([]byte("no image")); got != "" {
		t.Errorf("a text: %q", got)
	}
}
