package evaluator_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"image"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"stegomq/evaluator"
	"stegomq/internal/pixel"
	"stegomq/internal/quality"
	"stegomq/internal/testrig"
	"stegomq/report"
	"stegomq/schemas"
	"stegomq/study"
)

// row is a score of which the PSNR is v.
func row(item string, role schemas.Role, embed, decode string, v float64) *schemas.Score {
	s := schemas.NewScore(role, item, embed, decode)
	s.Reference, s.Test = sha("reference"), sha("test")
	s.Metrics = &schemas.Metrics{Psnr: v, Ssim: v / 64, Mae: v / 1024, Rmse: v / 512}
	return s
}

const authenticationFailed = "authentication failed"

// TestSavedImages saves the images of a scored run and measures them again: the table must say the same.
func TestSavedImages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.full()
	results := r.results()
	r.publish(results...)
	r.run(evaluator.Config{})
	r.wrote(len(results))
	scores, _, err := r.parts.Scores(testrig.Context(t), "run")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := study.WriteFiles(dir, study.Summarise(r.spec, scores, nil, study.Invocation{}), scores); err != nil {
		t.Fatal(err)
	}
	if err := study.SaveImages(testrig.Context(t), dir, r.spec, scores, r.parts.images, r.bus.Blobs); err != nil {
		t.Fatal(err)
	}
	checkGrid(t, dir, r.spec)
	table, err := os.ReadFile(filepath.Join(dir, "items.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(table)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1+len(scores) {
		t.Errorf("%d rows, want a head and %d", len(rows), len(scores))
	}
	named := make(map[string]bool)
	for _, cells := range rows[1:] {
		var images []*image.NRGBA
		for _, name := range cells[4:6] {
			named[name] = true
			data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
			if err != nil {
				t.Fatal(err)
			}
			img, _, err := pixel.Decode(data, pixel.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			images = append(images, img)
		}
		q, err := quality.Compare(images[0], images[1])
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []float64{q.PSNR, q.SSIM, q.MAE, q.RMSE} {
			if got, err := strconv.ParseFloat(cells[6+i], 64); err != nil || got != want {
				t.Errorf("%q: the table says %v, the saved images measure %v", cells[:4], got, want)
			}
		}
	}
	// Two covers, secrets, stego, noisy and purified images, and of each item what was recovered with six keys, after two
	// attacks, and without a key.
	saved := make(map[string]bool)
	err = fs.WalkDir(os.DirFS(dir), "images", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			saved[path] = true
		}
		return err
	})
	if err != nil || len(saved) != 10+2*(6+2+1) || !maps.Equal(saved, named) {
		t.Errorf("%d files are saved (%v), the table names %d", len(saved), err, len(named))
	}
	for name, digest := range map[string]string{
		"stego/item-0.alice": results[0].GetOutcomes()[0].GetOutput().GetImage(), "noisy/item-1": results[1].GetOutcomes()[1].GetOutput().GetNoisy(),
		"recovered/item-1.alice.bob":               results[3].GetOutcomes()[1].GetOutput().GetImage(),
		"recovered/item-0.alice.partial-250-alice": results[7].GetOutcomes()[0].GetOutput().GetImage(),
		"attacked/item-1.alice.alice.noise-2.5":    results[8].GetOutcomes()[1].GetOutput().GetImage(),
		"unkeyed/item-1.alice":                     results[10].GetOutcomes()[1].GetOutput().GetImage(),
	} {
		data, err := os.ReadFile(filepath.Join(dir, "images", filepath.FromSlash(name)+".png"))
		if err != nil || sha(string(data)) != digest {
			t.Errorf("%s is not the output byte for byte (%v)", name, err)
		}
	}
}

// Images that are there are left, of the same run; those of another run are written anew.
func TestImagesAreSavedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	cover, stego := r.spec.GetPairs()[0].GetCover().GetDigest(), r.put(picture(t, 3, 32, 24)).GetDigest()
	s := row("item-0", schemas.Imperceptibility, "alice", "", 30)
	s.Reference, s.Test = cover, stego
	dir := t.TempDir()
	save := func() {
		t.Helper()
		if err := study.SaveImages(testrig.Context(t), dir, r.spec, []*schemas.Score{s}, r.parts.images, r.bus.Blobs); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string) string {
		return filepath.Join(dir, "images", name, "item-0"+map[string]string{"stego": ".alice"}[name]+".png")
	}
	save()
	want, err := os.ReadFile(file("cover"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(file("stego"), []byte("as it was"), 0o600), os.Remove(file("cover"))); err != nil {
		t.Fatal(err)
	}
	save()
	left, err1 := os.ReadFile(file("stego"))
	made, err2 := os.ReadFile(file("cover"))
	if err := errors.Join(err1, err2); err != nil || string(left) != "as it was" || !bytes.Equal(made, want) {
		t.Errorf("the same run again: %v, %q", err, left)
	}
	r.spec.NoiseSigma++
	save()
	if other, err := os.ReadFile(file("stego")); err != nil || string(other) == "as it was" {
		t.Errorf("another run left the image of the one before: %v", err)
	}
}

func TestImagesThatCannotBeSaved(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := row("item-0", schemas.Imperceptibility, "alice", "", 30)
	s.Reference, s.Test = r.spec.GetPairs()[0].GetCover().GetDigest(), sha("gone")
	err := study.SaveImages(testrig.Context(t), t.TempDir(), r.spec, []*schemas.Score{s}, r.parts.images, r.bus.Blobs)
	if err == nil || !strings.Contains(err.Error(), "images/stego/item-0.alice.png") {
		t.Errorf("%v, want an error that names the file", err)
	}
	r.spec.Pairs[0].Cover = schemas.BlobRef(sha("gone too"), "cover.png")
	s.Reference, s.Test = sha("gone too"), r.put(picture(t, 1, 32, 24)).GetDigest()
	err = study.SaveImages(testrig.Context(t), t.TempDir(), r.spec, []*schemas.Score{s}, r.parts.images, r.bus.Blobs)
	if err == nil || !strings.Contains(err.Error(), "images/cover/item-0.png") {
		t.Errorf("%v, want an error that names the file", err)
	}
}

// TestNothingIsWrittenOutside: neither the name of an item nor a link leads out of the folder.
func TestNothingIsWrittenOutside(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	parent := t.TempDir()
	out, elsewhere := filepath.Join(parent, "a", "b", "out"), t.TempDir()
	save := func(item string) error {
		s := row(item, schemas.Imperceptibility, "alice", "", 30)
		s.Reference, s.Test = r.spec.GetPairs()[0].GetCover().GetDigest(), r.put(picture(t, 3, 32, 24)).GetDigest()
		return study.SaveImages(testrig.Context(t), out, r.spec, []*schemas.Score{s}, r.parts.images, r.bus.Blobs)
	}
	for _, item := range []string{"../../../../evil", "/evil", "..", "a/../../../../evil", `..\evil`} {
		if err := save(item); !errors.Is(err, schemas.ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", item, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(out, "images"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(out, "images", "stego")); err != nil {
		t.Fatal(err)
	}
	if err := save("item-0"); err == nil || !strings.Contains(err.Error(), "images/stego/item-0.alice.png") {
		t.Errorf("through a link: %v", err)
	}
	for _, name := range []string{"../evil.png", "../../../evil.png", "images/stego/evil.png", filepath.Join(parent, "evil.png")} {
		if err := report.WriteFolder(out, []report.File{{Name: name, Data: []byte("evil")}}); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	for _, dir := range []string{elsewhere, parent} {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !strings.HasPrefix(name, out) {
				t.Errorf("%s was written", name)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// A refused item completes its comparisons: they are stored once, as scores, and nothing is measured for them.
func TestRefusedResultsBecomeScores(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.full()
	results := r.results()
	refused := 0
	for _, res := range results {
		if key := res.GetJob().GetKey().GetId(); res.GetJob().GetOperation() == schemas.Operation_OPERATION_RECOVER && (key != "alice" || res.GetJob().GetAttack() != "") {
			res.Outcomes[0] = &schemas.Outcome{Item: "item-0", Refusal: &schemas.Refusal{Detail: authenticationFailed}}
			refused += len(schemas.Comparisons(res.GetJob(), res.GetJob().GetItems()[0], nil))
		}
	}
	// Two of each of the five wrong keys, and one of each of the two attacks.
	if refused != 2*5+2 {
		t.Fatalf("%d comparisons are refused", refused)
	}
	r.publish(results...)
	r.publish(results...)
	r.run(evaluator.Config{})
	r.wrote(len(results))
	scores, failures := r.stored()
	got := 0
	for k, s := range scores {
		if s.End() == schemas.EndRefused {
			got++
			if s.GetItem() != "item-0" || s.GetRefusal().GetDetail() != authenticationFailed || s.GetTest() != "" {
				t.Errorf("%s: %v", k, s)
			}
		}
	}
	if got != refused || len(failures) != 0 {
		t.Errorf("%d refused scores and %d failures are stored, want %d and none", got, len(failures), refused)
	}
	if measured := r.parts.measured.Load(); measured != int64(len(scores)-refused) {
		t.Errorf("%d comparisons were measured of %d, %d of them refused", measured, len(scores), refused)
	}

	// Its images: none where it was refused, not even an old one, and an empty cell with the word in the grid.
	list, _, err := r.parts.Scores(testrig.Context(t), "run")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	old := testrig.WriteFile(t, picture(t, 1, 32, 24), dir, "images", "recovered", "item-0.alice.bob.png")
	if err := study.SaveImages(testrig.Context(t), dir, r.spec, list, r.parts.images, r.bus.Blobs); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the image of an earlier run is there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "images", "recovered", "item-1.alice.bob.png")); err != nil {
		t.Error(err)
	}
	grid, err := study.Grid(dir, r.spec, list)
	if err != nil {
		t.Fatal(err)
	}
	for column, want := range map[int]bool{3: false, 4: false, 5: true, 6: true, 7: false} {
		p := grid.Rows[0].Pictures[column]
		if got := p.Image == nil && p.Caption == "refused"; got != want {
			t.Errorf("column %d says that it was refused: %v, want %v", column, got, want)
		}
	}
}

// checkGrid compares the cells of the grid of a run, whose images are in dir, with them.
func checkGrid(t *testing.T, dir string, spec *schemas.RunSpec) {
	t.Helper()
	grid, err := study.Grid(dir, spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) *image.NRGBA {
		m, err := study.ReadImage(filepath.Join(dir, "images", name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if want := []string{"cover", "stego", "residual x10", "secret", "recovered", "mismatched key", "random key", "purified"}; !slices.Equal(grid.Columns, want) {
		t.Errorf("the headings are %q", grid.Columns)
	}
	y := -1
	for i, pair := range spec.GetPairs() {
		key, wrong := spec.GetKeys()[i%len(spec.GetKeys())].GetId(), spec.GetKeys()[(i+1)%len(spec.GetKeys())].GetId()
		stranger := "random-1-0"
		item := pair.GetItem()
		if _, err := os.Stat(filepath.Join(dir, "images/stego", item+"."+key+".png")); err != nil {
			continue // this pair was not embedded with the key of its row
		}
		y++
		for x, name := range []string{
			"cover/" + item, "stego/" + item + "." + key, "", "secret/" + item,
			"recovered/" + item + "." + key + "." + key, "recovered/" + item + "." + key + "." + wrong,
			"recovered/" + item + "." + key + "." + stranger, "purified/" + item,
		} {
			var want *image.NRGBA
			if name != "" {
				want = read(name)
			} else {
				cover, stego := read("cover/"+item), read("stego/"+item+"."+key)
				want = image.NewNRGBA(cover.Rect)
				for i := range want.Pix {
					want.Pix[i] = 255
					if d := 10 * (int(stego.Pix[i]) - int(cover.Pix[i])); i%4 != 3 {
						want.Pix[i] = uint8(min(255, max(d, -d)))
					}
				}
			}
			if got := grid.Rows[y].Pictures[x].Image.(*image.NRGBA); !bytes.Equal(got.Pix, want.Pix) {
				t.Errorf("row %d, column %d is not %q", y, x, name)
			}
		}
	}
	if y < 0 || len(grid.Rows) != y+1 {
		t.Fatalf("%d rows are drawn, want %d", len(grid.Rows), y+1)
	}
	if err := study.WriteGrid(dir, spec, nil); err != nil {
		t.Fatal(err)
	}
	if drawn, err := study.ReadImage(filepath.Join(dir, "grid.png")); err != nil || drawn.Rect.Empty() {
		t.Errorf("grid.png: %v", err)
	}
}
