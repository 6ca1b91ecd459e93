package producer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// ErrDataset is the class of data sets that cannot be evaluated.
var ErrDataset = errors.New("data set")

// Inspections remembers images that were found good under some limits, by digest.
type Inspections interface {
	Inspected(ctx context.Context, digests []string, limits string) ([]bool, error)
	RememberInspected(ctx context.Context, digests []string, limits string) error
}

// DatasetOptions say where the images are.
type DatasetOptions struct {
	// Data is the folder of the images, searched with its subfolders. Consecutive images of its sorted
	// list make a pair, the first the cover; with Covers all of them are secrets.
	Data string
	// Covers is a folder of covers, paired in order with the images of Data. Optional.
	Covers string
	// Limit is the largest number of pairs; 0 takes all. Files after the last that is needed are not read.
	Limit  int
	Limits pixel.Limits
}

// Check says what ReadDataset would refuse before it reads a file: a folder that is not there, or that has
// too few images by their names. The error wraps ErrDataset.
func (o DatasetOptions) Check() error {
	folders, least := []string{o.Data}, 2
	if o.Covers != "" {
		folders, least = append(folders, o.Covers), 1
	}
	for _, dir := range folders {
		names, err := list(dir)
		if err != nil {
			return err
		}
		if len(names) < least {
			return fmt.Errorf("%w: %s holds a single image file, a pair needs two (or give the covers in a folder of their own, --covers)", ErrDataset, dir)
		}
	}
	return nil
}

// Dataset is what was found.
type Dataset struct {
	Pairs []*schemas.Pair
	// Images counts the files that can be used, in a pair or not.
	Images int
	// Bad names the files that look like images by their names and cannot be used, with the reason.
	Bad []*schemas.BadImage
	// Paths maps digests to files.
	Paths map[string]string
}

// extensions of files that are taken for images. Those that are not served are among them, so that the
// user is told instead of finding an image missing.
var extensions = map[string]bool{
	".jpg": true, ".jpeg": true, ".png": true, ".webp": true, ".tif": true, ".tiff": true, ".bmp": true,
	".gif": true, ".avif": true, ".heic": true, ".heif": true, ".jp2": true, ".jxl": true, ".ppm": true, ".pgm": true,
}

// ReadDataset lists, checks and pairs the images.
func ReadDataset(ctx context.Context, opts DatasetOptions, memo Inspections) (*Dataset, error) {
	d := &Dataset{Paths: make(map[string]string)}
	if opts.Covers == "" {
		images, err := d.folder(ctx, opts.Data, 2*opts.Limit, opts.Limits, memo)
		if err != nil {
			return nil, err
		}
		for i := 0; i+1 < len(images); i += 2 {
			d.pair(images[i], images[i+1])
		}
	} else {
		secrets, err := d.folder(ctx, opts.Data, opts.Limit, opts.Limits, memo)
		if err != nil {
			return nil, err
		}
		covers, err := d.folder(ctx, opts.Covers, opts.Limit, opts.Limits, memo)
		if err != nil {
			return nil, err
		}
		for i := range min(len(secrets), len(covers)) {
			d.pair(covers[i], secrets[i])
		}
	}
	return d, nil
}

// pair adds an item, named by its number and the cover's file name.
func (d *Dataset) pair(cover, secret *schemas.ImageRef) {
	stem := strings.TrimSuffix(filepath.Base(cover.GetName()), filepath.Ext(cover.GetName()))
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, stem)
	item := fmt.Sprintf("%05d-%.60s", len(d.Pairs)+1, safe)
	d.Pairs = append(d.Pairs, &schemas.Pair{Item: item, Cover: cover, Secret: secret})
}

// checked is one file after the check: a reference, or a reason.
type checked struct {
	ref    *schemas.ImageRef
	path   string
	reason string
}

// folder gives the usable images of a folder in the order of their names, at most limit (0: all).
func (d *Dataset) folder(ctx context.Context, dir string, limit int, limits pixel.Limits, memo Inspections) ([]*schemas.ImageRef, error) {
	names, err := list(dir)
	if err != nil {
		return nil, err
	}
	const chunk = 128
	var images []*schemas.ImageRef
	for len(names) > 0 && (limit <= 0 || len(images) < limit) {
		n := min(chunk, len(names))
		if limit > 0 {
			n = min(n, limit-len(images))
		}
		files, err := check(ctx, dir, names[:n], limits, memo)
		if err != nil {
			return nil, err
		}
		names = names[n:]
		for _, f := range files {
			if f.reason != "" {
				d.Bad = append(d.Bad, &schemas.BadImage{Name: f.ref.GetName(), Reason: f.reason})
				continue
			}
			d.Images++
			d.Paths[f.ref.GetDigest()] = f.path
			images = append(images, f.ref)
		}
	}
	return images, nil
}

// list names the image files below dir, relative to it, sorted. It is an error when there are none.
func list(dir string) ([]string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataset, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%w: %s is not a folder", ErrDataset, dir)
	}
	var names []string
	// A folder given as a symbolic link is followed; WalkDir itself does not follow links.
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataset, err)
	}
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(e.Name(), ".") && path != root
		if e.IsDir() {
			if hidden {
				return filepath.SkipDir
			}
			return nil
		}
		if hidden || !extensions[strings.ToLower(filepath.Ext(e.Name()))] {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		names = append(names, rel)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: list %s: %w", ErrDataset, dir, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: %s holds no image files (JPEG, PNG, WebP, TIFF or BMP)", ErrDataset, dir)
	}
	return names, nil
}

// check reads and inspects files side by side. A file that cannot be used is no error.
func check(ctx context.Context, dir string, names []string, limits pixel.Limits, memo Inspections) ([]checked, error) {
	files := make([]checked, len(names))
	var unknown []int
	if err := each(ctx, len(names), func(i int) {
		files[i] = read(dir, names[i], limits)
	}); err != nil {
		return nil, err
	}
	var digests []string
	for i, f := range files {
		if f.reason == "" {
			unknown = append(unknown, i)
			digests = append(digests, f.ref.GetDigest())
		}
	}
	under := fmt.Sprintf("%d/%d/%d", limits.MaxBytes, limits.MaxPixels, limits.MinSide)
	good, err := memo.Inspected(ctx, digests, under)
	if err != nil {
		return nil, fmt.Errorf("look up earlier inspections: %w", err)
	}
	var fresh []int
	for n, i := range unknown {
		if !good[n] {
			fresh = append(fresh, i)
		}
	}
	if err := each(ctx, len(fresh), func(n int) {
		f := &files[fresh[n]]
		data, err := os.ReadFile(f.path)
		if err == nil {
			_, err = pixel.Inspect(data, limits)
		}
		if err != nil {
			f.reason = err.Error()
		}
	}); err != nil {
		return nil, err
	}
	var found []string
	for _, i := range fresh {
		if files[i].reason == "" {
			found = append(found, files[i].ref.GetDigest())
		}
	}
	return files, memo.RememberInspected(ctx, found, under)
}

// each calls f for 0..n-1 on every core until ctx ends.
func each(ctx context.Context, n int, f func(i int)) error {
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { f(i); return nil })
	}
	_ = g.Wait()
	return ctx.Err()
}

// read hashes one file within the limit on bytes.
func read(dir, name string, limits pixel.Limits) checked {
	c := checked{ref: &schemas.ImageRef{Name: filepath.ToSlash(name)}, path: filepath.Join(dir, name)}
	data, err := readBounded(c.path, limits.MaxBytes)
	if err != nil {
		c.reason = reasonOf(err)
		return c
	}
	c.ref.Digest = digestOf(data)
	c.ref.Uri = schemas.BlobURI(c.ref.Digest)
	return c
}

func readBounded(path string, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = pixel.DefaultMaxBytes
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d (--max-bytes raises it)", pixel.ErrTooManyBytes, info.Size(), limit)
	}
	if info.Size() == 0 {
		return nil, pixel.ErrEmpty
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit))
}

// reasonOf leaves the path out of a file system error: it stands beside it.
func reasonOf(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return "unreadable: " + pe.Err.Error()
	}
	return err.Error()
}
