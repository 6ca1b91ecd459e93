//go:build !amd64

package quality

import (
	"image"
	"testing"
)

func bothWays(t *testing.T, a, b *image.NRGBA) (plain, assembly Scores) {
	t.Helper()
	plain, err := Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return plain, plain
}
