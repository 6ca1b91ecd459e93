package study

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"stegomq/internal/pixel"
	"stegomq/report"
	"stegomq/schemas"
)

// Images gives the image of a reference at a geometry; the image is shared and read-only.
type Images interface {
	Image(ctx context.Context, ref *schemas.ImageRef, g *schemas.Geometry) (*image.NRGBA, error)
}

// Blobs reads the blob store.
type Blobs interface {
	Get(ctx context.Context, digest string) ([]byte, error)
}

// ImageFile names an image of a run below its folder, with slashes. Kinds are cover, secret, stego, recovered and so on; the keys
// are those that made it: for stego the one that embedded, for recovered that one and the one that decoded.
func ImageFile(kind, item string, keys ...string) string {
	return "images/" + kind + "/" + strings.Join(append([]string{item}, keys...), ".") + ".png"
}

// imageFiles names the two images of a score below the output folder.
func imageFiles(s *schemas.Score) (reference, test string) {
	file := func(kind string, keys ...string) string { return ImageFile(kind, s.GetItem(), keys...) }
	reference = file("cover")
	if s.GetAgainst() == schemas.Against_AGAINST_SECRET {
		reference = file("secret")
	}
	switch role := s.Role(); {
	case role == schemas.Imperceptibility:
		return reference, file("stego", s.GetEmbedKey())
	case role == schemas.Baseline:
		return reference, file("cover")
	case role == schemas.Purification:
		return reference, file("purified")
	case role == schemas.Noise:
		return reference, file("noisy")
	case role.Attack != "":
		return reference, file("attacked", s.GetEmbedKey(), s.GetDecodeKey(), role.Attack)
	case role.Reader == schemas.Reader_READER_UNKEYED:
		return reference, file("unkeyed", s.GetEmbedKey())
	}
	return reference, file("recovered", s.GetEmbedKey(), s.GetDecodeKey())
}

// savedFile names the run that the images are of, once they are all there.
const savedFile = ".images"

// SaveImages writes every image that items.csv names, as the network and the metrics saw it: sources at the
// run's geometry, outputs byte for byte as they are stored. Those that an earlier call for the same run wrote are left. Where
// an image was refused there is none, not even that of an earlier run. A score that is not valid names no files and is an error.
func SaveImages(ctx context.Context, dir string, spec *schemas.RunSpec, scores []*schemas.Score, images Images, blobs Blobs) error {
	sources := make(map[string]*schemas.ImageRef)
	for _, p := range spec.GetPairs() {
		for _, ref := range p.Refs() {
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
	out, err := report.OpenFolder(dir)
	if err != nil {
		return err
	}
	defer out.Close()
	for _, name := range refused {
		if err := out.Remove(name); err != nil {
			return fmt.Errorf("remove the image of another run: %w", err)
		}
	}
	run := []byte(schemas.RunID(spec) + "\n")
	before, err := out.ReadFile(savedFile)
	again := err == nil && bytes.Equal(before, run)
	if err == nil && !again {
		if err := out.Remove(savedFile); err != nil { // or images of two runs might be taken for those of one
			return fmt.Errorf("save the images of another run: %w", err)
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for name, digest := range wanted {
		if again && out.Has(name) {
			continue
		}
		g.Go(func() error {
			data, err := fileBytes(gctx, digest, sources[digest], spec.GetGeometry(), images, blobs)
			if err != nil {
				return fmt.Errorf("save %s: %w", name, err)
			}
			return out.Write(name, data)
		})
	}
	if err := g.Wait(); err != nil || again || len(wanted) == 0 {
		return err
	}
	return out.Write(savedFile, run)
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
