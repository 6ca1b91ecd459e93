// Package source owns the way from an image reference to pixels. It says where the bytes may come from (the message, the blob store, folders
// that the operator allows), checks their digest, decodes them within bounds and brings them to the geometry. Workers and evaluators see every
// image through it, so that both see the same pixels.
//
// Invariant: an image that comes out was made from bytes whose SHA-256 is the reference's digest.
package source

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// Blobs reads the blob store. Get returns an error that wraps fs.ErrNotExist for a blob that is not
// there (any more).
type Blobs interface {
	Get(ctx context.Context, digest string) ([]byte, error)
}

// Config bounds what is read.
type Config struct {
	// Limits are checked before anything is decoded.
	Limits pixel.Limits
	// Roots are the folders under which file:// references may be read. None by default.
	Roots []string
	// CacheBytes bounds the decoded images that are kept. Default 64 MiB.
	CacheBytes int64
}

// Source turns references into images.
type Source struct {
	blobs  Blobs
	limits pixel.Limits
	roots  []string
	cache  *pixel.Cache
}

// New makes a source. Roots are made absolute; one that is not a folder is an error.
func New(blobs Blobs, cfg Config) (*Source, error) {
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = 64 << 20
	}
	s := &Source{blobs: blobs, limits: cfg.Limits, cache: pixel.NewCache(cfg.CacheBytes, cfg.Limits)}
	for _, root := range cfg.Roots {
		abs, err := filepath.Abs(root)
		if err != nil {
			return nil, fmt.Errorf("allow folder %s: %w", root, err)
		}
		info, err := os.Stat(abs)
		if err != nil {
			return nil, fmt.Errorf("allow folder %s: %w", root, err)
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("allow folder %s: it is not a folder", root)
		}
		s.roots = append(s.roots, abs)
	}
	return s, nil
}

// Image gives the image of a reference at a geometry. It is shared: read it, do not change it. What
// will never work is a *schemas.Fault; any other error may pass.
func (s *Source) Image(ctx context.Context, ref *schemas.ImageRef, g *schemas.Geometry) (*image.NRGBA, error) {
	img, err := s.cache.Get(cacheName(ctx, ref.GetDigest()), PixelGeometry(g), func() ([]byte, error) { return s.bytes(ctx, ref) })
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", label(ref), classify(err))
	}
	return img, nil
}

// Keep lets Image give an image that this process has made and stored, without fetching and decoding it: digest is of file, which has the
// pixels of img. It is there for the context's tenant alone. img is shared from then on: nobody may write to it.
func (s *Source) Keep(ctx context.Context, digest string, file []byte, img *image.NRGBA) {
	s.cache.Put(cacheName(ctx, digest), file, img)
}

// cacheName names an image in the cache. What one tenant has is not there for another who knows its digest.
func cacheName(ctx context.Context, digest string) string {
	tenant, _ := schemas.TenantOf(ctx)
	return tenant + "/" + digest
}

// PixelGeometry is a message's geometry as package pixel takes it.
func PixelGeometry(g *schemas.Geometry) pixel.Geometry {
	out := pixel.Geometry{Width: int(g.GetWidth()), Height: int(g.GetHeight()), Policy: pixel.Squash}
	if g.GetResize() == schemas.ResizePolicy_RESIZE_POLICY_CROP {
		out.Policy = pixel.Crop
	}
	return out
}

func (s *Source) bytes(ctx context.Context, ref *schemas.ImageRef) ([]byte, error) {
	data, err := s.read(ctx, ref)
	if err != nil {
		return nil, err
	}
	if schemas.Digest(data) != ref.GetDigest() {
		return nil, schemas.Permanent(schemas.ReasonBadImage, errors.New("its bytes do not have the digest that the job names: the file has changed"))
	}
	return data, nil
}

func (s *Source) read(ctx context.Context, ref *schemas.ImageRef) ([]byte, error) {
	if len(ref.GetInline()) > 0 {
		return ref.GetInline(), nil
	}
	if digest, ok := schemas.ParseBlobURI(ref.GetUri()); ok {
		data, err := s.blobs.Get(ctx, digest)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, schemas.Permanent(schemas.ReasonMissingBlob, fmt.Errorf("the blob store does not have it (any more); send the job again: %w", err))
		}
		return data, err
	}
	u, err := url.Parse(ref.GetUri())
	if err != nil || u.Scheme != "file" {
		return nil, schemas.Permanent(schemas.ReasonBadMessage, fmt.Errorf("unknown kind of reference %q", ref.GetUri()))
	}
	return s.file(filepath.FromSlash(u.Path))
}

// file reads a file under one of the allowed roots. os.Root keeps symbolic links from leading out.
func (s *Source) file(name string) ([]byte, error) {
	for _, root := range s.roots {
		rel, err := filepath.Rel(root, name)
		if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			continue
		}
		data, err := readUnder(root, rel, s.limits.MaxBytes)
		return data, final(err)
	}
	return nil, schemas.Permanent(schemas.ReasonForbidden, fmt.Errorf("%s is under no folder that this worker may read (--allow DIR adds one)", name))
}

// errAway: an allowed folder cannot be opened, which it could at the start: what it was mounted from may come back.
var errAway = errors.New("the folder cannot be opened now")

// final marks what trying again does not mend: the file does not exist, may not be read, or is none, also because its name leads out
// of the folder. What else the system may say, that too many files are open or that a disk does not answer, may pass.
func final(err error) error {
	var system syscall.Errno
	switch {
	case err == nil, errors.Is(err, pixel.ErrTooManyBytes), errors.Is(err, errAway):
		return err
	case errors.As(err, &system) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) && !slices.Contains(badNames, system):
		return err
	}
	return schemas.Permanent(schemas.ReasonBadImage, err)
}

// badNames are the system's words for a name that is of no file.
var badNames = []syscall.Errno{syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EINVAL}

func readUnder(root, rel string, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = pixel.DefaultMaxBytes
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAway, err)
	}
	defer func() { _ = dir.Close() }()
	info, err := dir.Stat(rel)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // to open a pipe would wait for its other end
		return nil, fmt.Errorf("%s is not a regular file", rel)
	case info.Size() > limit:
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", pixel.ErrTooManyBytes, info.Size(), limit)
	}
	f, err := dir.Open(rel)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit)) // a file that grows meanwhile does not have its digest any more
}

// classify marks what the decoder refuses as permanent.
func classify(err error) error {
	var fault *schemas.Fault
	if errors.As(err, &fault) {
		return err
	}
	switch {
	case errors.Is(err, pixel.ErrTooManyBytes), errors.Is(err, pixel.ErrTooManyPixels), errors.Is(err, pixel.ErrTooCostly):
		return schemas.Permanent(schemas.ReasonTooLarge, err)
	case errors.Is(err, pixel.ErrEmpty), errors.Is(err, pixel.ErrFormat), errors.Is(err, pixel.ErrCorrupt),
		errors.Is(err, pixel.ErrTruncated), errors.Is(err, pixel.ErrTooSmall):
		return schemas.Permanent(schemas.ReasonBadImage, err)
	}
	return err
}

// label names an image for people: its name, or the head of its digest.
func label(ref *schemas.ImageRef) string {
	if ref.GetName() != "" {
		return ref.GetName()
	}
	return ref.GetDigest()[:min(12, len(ref.GetDigest()))]
}
