package evaluator

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// Blobs reads the blob store.
type Blobs interface {
	Get(ctx context.Context, digest string) ([]byte, error)
}

// WriteFiles writes summary.json, items.csv and report.md into dir, each whole or not at all. The file
// columns of items.csv name images relative to dir; SaveImages writes them.
func WriteFiles(dir string, sum *Summary, scores []*schemas.Score) error {
	files, err := Files(sum, scores)
	if err != nil {
		return err
	}
	return WriteFolder(dir, files)
}

// Files are those that WriteFiles writes.
func Files(sum *Summary, scores []*schemas.Score) ([]File, error) {
	return made([]output{
		{"summary.json", jsonOf(sum)},
		{"items.csv", func(w io.Writer) error { return writeItems(w, scores) }},
		{"report.md", sum.WriteMarkdown},
	})
}

// File is a file of a report.
type File struct {
	Name string
	Data []byte
}

// WriteFolder writes files into a folder, which it makes: each whole or not at all, so that readers see the old one or
// the new one.
func WriteFolder(dir string, files []File) error {
	out, err := openFolder(dir)
	if err != nil {
		return err
	}
	defer out.close()
	for _, f := range files {
		if err := out.write(f.Name, f.Data); err != nil {
			return err
		}
	}
	return nil
}

// output is a file with what writes it.
type output struct {
	name  string
	write func(io.Writer) error
}

func jsonOf(v any) func(io.Writer) error {
	return func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
}

func writeAll(dir string, outputs []output) error {
	files, err := made(outputs)
	if err != nil {
		return err
	}
	return WriteFolder(dir, files)
}

func made(outputs []output) (files []File, err error) {
	for _, o := range outputs {
		var buf bytes.Buffer
		if err := o.write(&buf); err != nil {
			return nil, fmt.Errorf("write %s: %w", o.name, err)
		}
		files = append(files, File{o.name, buf.Bytes()})
	}
	return files, nil
}

var itemsHead = []string{"item", "role", "embed_key", "decode_key", "reference_file", "test_file", "psnr", "ssim", "mae", "rmse", "outcome"}

// writeItems writes one row per comparison, with a column for the attack where there is any. Numbers are written so that
// reading gives the same float64. The outcome is done or refused (schemas.End); of what was refused there is no test file, and
// the metrics are empty, which pandas reads as missing.
func writeItems(w io.Writer, scores []*schemas.Score) error {
	out := csv.NewWriter(w)
	head := itemsHead
	attacks := slices.ContainsFunc(scores, func(s *schemas.Score) bool { return s.GetAttack() != "" })
	if attacks {
		head = append(slices.Clone(itemsHead), "attack")
	}
	if err := out.Write(head); err != nil {
		return err
	}
	for _, s := range scores {
		reference, test := imageFiles(s)
		row := []string{s.GetItem(), s.GetRole().Token(), s.GetEmbedKey(), s.GetDecodeKey(), reference}
		if s.End() == schemas.EndRefused {
			row = append(row, "", "", "", "", "")
		} else {
			row = append(row, test)
			m := s.GetMetrics()
			for _, v := range []float64{m.GetPsnr(), m.GetSsim(), m.GetMae(), m.GetRmse()} {
				row = append(row, strconv.FormatFloat(v, 'g', -1, 64))
			}
		}
		row = append(row, string(s.End()))
		if attacks {
			row = append(row, s.GetAttack())
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// ImageFile names an image of a run below its folder, with slashes. Kinds are cover, secret, stego, recovered and so on; the keys
// are those that made it: for stego the one that embedded, for recovered that one and the one that decoded.
func ImageFile(kind, item string, keys ...string) string {
	return "images/" + kind + "/" + strings.Join(append([]string{item}, keys...), ".") + ".png"
}

// imageFiles names the two images of a score below the output folder.
func imageFiles(s *schemas.Score) (reference, test string) {
	file := func(kind string, keys ...string) string { return ImageFile(kind, s.GetItem(), keys...) }
	recovered := file("recovered", s.GetEmbedKey(), s.GetDecodeKey())
	switch s.GetRole() {
	case schemas.Role_ROLE_IMPERCEPTIBILITY:
		return file("cover"), file("stego", s.GetEmbedKey())
	case schemas.Role_ROLE_RECOVERABILITY, schemas.Role_ROLE_LEAKAGE_MISMATCHED, schemas.Role_ROLE_LEAKAGE_RANDOM, schemas.Role_ROLE_LEAKAGE_NEAR,
		schemas.Role_ROLE_LEAKAGE_SWAPPED, schemas.Role_ROLE_LEAKAGE_PARTIAL:
		return file("secret"), recovered
	case schemas.Role_ROLE_LEAKAGE_MISMATCHED_COVER, schemas.Role_ROLE_LEAKAGE_RANDOM_COVER, schemas.Role_ROLE_LEAKAGE_NEAR_COVER,
		schemas.Role_ROLE_LEAKAGE_SWAPPED_COVER, schemas.Role_ROLE_LEAKAGE_PARTIAL_COVER:
		return file("cover"), recovered
	case schemas.Role_ROLE_ROBUSTNESS:
		return file("secret"), file("attacked", s.GetEmbedKey(), s.GetDecodeKey(), s.GetAttack())
	case schemas.Role_ROLE_LEAKAGE_UNKEYED:
		return file("secret"), file("unkeyed", s.GetEmbedKey())
	case schemas.Role_ROLE_LEAKAGE_UNKEYED_COVER:
		return file("cover"), file("unkeyed", s.GetEmbedKey())
	case schemas.Role_ROLE_BASELINE:
		return file("secret"), file("cover")
	case schemas.Role_ROLE_PURIFICATION:
		return file("cover"), file("purified")
	case schemas.Role_ROLE_NOISE:
		return file("cover"), file("noisy")
	}
	return "", ""
}

// savedFile names the run that the images are of, once they are all there.
const savedFile = ".images"

// SaveImages writes every image that items.csv names, as the network and the metrics saw it: sources at the
// run's geometry, outputs byte for byte as they are stored. Those that an earlier call for the same run wrote are left. Where
// an image was refused there is none, not even that of an earlier run. A score that is not valid names no files and is an error.
func SaveImages(ctx context.Context, dir string, spec *schemas.RunSpec, scores []*schemas.Score, images Images, blobs Blobs) error {
	sources := make(map[string]*schemas.ImageRef)
	for _, p := range spec.GetPairs() {
		for _, ref := range []*schemas.ImageRef{p.GetCover(), p.GetSecret()} {
			sources[ref.GetDigest()] = ref
		}
	}
	wanted := make(map[string]string) // file to digest
	var refused []string
	for _, s := range scores {
		if err := s.Validate(); err != nil {
			return fmt.Errorf("save the images of %q: %w", s.GetItem(), err)
		}
		reference, test := imageFiles(s)
		wanted[reference] = s.GetReference()
		if s.End() == schemas.EndRefused {
			refused = append(refused, test)
		} else {
			wanted[test] = s.GetTest()
		}
	}
	out, err := openFolder(dir)
	if err != nil {
		return err
	}
	defer out.close()
	for _, name := range refused {
		if err := out.remove(name); err != nil {
			return fmt.Errorf("remove the image of another run: %w", err)
		}
	}
	run := []byte(schemas.RunID(spec) + "\n")
	before, err := out.root.ReadFile(savedFile)
	again := err == nil && bytes.Equal(before, run)
	if err == nil && !again {
		if err := out.remove(savedFile); err != nil { // or images of two runs might be taken for those of one
			return fmt.Errorf("save the images of another run: %w", err)
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for name, digest := range wanted {
		if again && out.has(name) {
			continue
		}
		g.Go(func() error {
			data, err := fileBytes(gctx, digest, sources[digest], spec.GetGeometry(), images, blobs)
			if err != nil {
				return fmt.Errorf("save %s: %w", name, err)
			}
			return out.write(name, data)
		})
	}
	if err := g.Wait(); err != nil || again || len(wanted) == 0 {
		return err
	}
	return out.write(savedFile, run)
}

func fileBytes(ctx context.Context, digest string, source *schemas.ImageRef, geometry *schemas.Geometry, images Images, blobs Blobs) ([]byte, error) {
	if source == nil {
		return blobs.Get(ctx, digest)
	}
	img, err := images.Image(ctx, source, geometry)
	if err != nil {
		return nil, err
	}
	return pixel.EncodePNG(img)
}
