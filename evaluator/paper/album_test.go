package paper

import (
	"image"
	"image/color"
	"os"
	"path/filepath"
	"testing"

	"stegomq/evaluator/htmlreport"
	"stegomq/internal/pixel"
)

// TestAlbumIsFull hands out what there is room for, the same picture as often as it is wanted, and counts the rest.
func TestAlbumIsFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := newAlbum()
	wanted := []thumbnail{{filepath.Join(dir, "1.png"), 40}, {filepath.Join(dir, "2.png"), 40}, {filepath.Join(dir, "missing.png"), 40}}
	for i, w := range wanted {
		if i < 2 {
			img := image.NewNRGBA(image.Rect(0, 0, 64, 48))
			for p := range 64 * 48 {
				img.SetNRGBA(p%64, p/64, color.NRGBA{R: uint8(p * (i + 3)), G: uint8(p / 5), B: 90, A: 255})
			}
			data, err := pixel.EncodePNG(img)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(w.file, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok, err := a.shown(w, "", ""); ok || err != nil {
			t.Fatalf("shown before it was made: %v, %v", ok, err)
		}
	}
	if err := a.make(); err != nil {
		t.Fatal(err)
	}
	a.page, a.room = new(htmlreport.Page), len(a.made[wanted[0]])
	for i, want := range []bool{true, true, false, false} {
		w := wanted[max(0, i-1)]
		if _, ok, err := a.shown(w, "", ""); ok != want || err != nil {
			t.Errorf("%d, %s: shown %v, want %v (%v)", i, filepath.Base(w.file), ok, want, err)
		}
	}
	if a.left != 1 {
		t.Errorf("%d had no room, want 1: one was not there at all", a.left)
	}
}
