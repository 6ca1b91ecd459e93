package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stegomq/internal/link"
	"stegomq/schemas"
)

// Directory is a blob store in a directory: one file per blob, named by its digest, in folders named by
// the digest's first two digits. The file's modification time is the time of the upload. Several
// processes may use one directory. It may be on a network file system or an S3 gateway.
type Directory struct {
	root     string
	lifetime time.Duration
}

var _ Store = (*Directory)(nil)

// partial begins the names of files that are being written.
const partial = ".partial-"

// partialLifetime is the age from which a partial file counts as left over from a crash.
const partialLifetime = time.Hour

// OpenDirectory opens a blob store in dir, which it creates. Blobs live for lifetime (0: for ever); call
// Run to have expired ones removed.
func OpenDirectory(dir string, lifetime time.Duration) (*Directory, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open blob directory: %w", err)
	}
	f, err := os.CreateTemp(dir, partial)
	if err != nil {
		return nil, fmt.Errorf("open blob directory: %w", err)
	}
	return &Directory{root: dir, lifetime: lifetime}, errors.Join(f.Close(), os.Remove(f.Name()))
}

// path returns the file of a blob of the context's tenant; the operator's are at the top.
func (d *Directory) path(ctx context.Context, digest string) string {
	root := d.root
	if tenant, _ := schemas.TenantOf(ctx); tenant != "" {
		root = filepath.Join(root, "tenant-"+tenant)
	}
	return filepath.Join(root, digest[:2], digest)
}

// Put implements Store. A file gets its name only when it is complete.
func (d *Directory) Put(ctx context.Context, data []byte) (string, error) {
	if err := errors.Join(ctx.Err(), check(data)); err != nil {
		return "", err
	}
	digest := schemas.Digest(data)
	path := d.path(ctx, digest)
	if info, err := os.Stat(path); err == nil && info.Size() == int64(len(data)) {
		if fresh(info.ModTime(), d.lifetime) {
			return digest, nil
		}
		// The sweep may remove the file between the two calls; then it is written again.
		if now := time.Now(); os.Chtimes(path, now, now) == nil {
			return digest, nil
		}
	}
	if err := d.write(path, data); err != nil {
		return "", fmt.Errorf("put blob %s: %w", digest, err)
	}
	return digest, nil
}

func (d *Directory) write(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, partial)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// Get implements Store.
func (d *Directory) Get(ctx context.Context, digest string) ([]byte, error) {
	if err := errors.Join(ctx.Err(), checkDigest(digest)); err != nil {
		return nil, fmt.Errorf("get blob: %w", err)
	}
	path := d.path(ctx, digest)
	info, err := os.Stat(path)
	if err == nil && d.expired(info) {
		err = fs.ErrNotExist
	}
	if err == nil && info.Size() > Max {
		err = ErrCorrupt
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err == nil && schemas.Digest(data) != digest {
		err = ErrCorrupt
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = ErrMissing
	case errors.Is(err, ErrCorrupt):
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return nil, fmt.Errorf("get blob %s: %w", digest, err)
	}
	return data, nil
}

// Has implements Store.
func (d *Directory) Has(ctx context.Context, digests ...string) ([]bool, error) {
	has := make([]bool, len(digests))
	for i, digest := range digests {
		if err := errors.Join(ctx.Err(), checkDigest(digest)); err != nil {
			return nil, fmt.Errorf("look for blob: %w", err)
		}
		info, err := os.Stat(d.path(ctx, digest))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("look for blob %s: %w", digest, err)
		}
		has[i] = err == nil && fresh(info.ModTime(), d.lifetime)
	}
	return has, nil
}

func (d *Directory) expired(info fs.FileInfo) bool {
	return d.lifetime > 0 && time.Since(info.ModTime()) >= d.lifetime
}

// sweep removes expired blobs and partial files left by crashes, and returns how many files it removed.
func (d *Directory) sweep(ctx context.Context) (removed int, err error) {
	err = filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || e.IsDir() {
			return ignoreMissing(err)
		}
		info, err := e.Info()
		if err != nil {
			return ignoreMissing(err)
		}
		stale := d.expired(info)
		if strings.HasPrefix(e.Name(), partial) {
			stale = time.Since(info.ModTime()) >= partialLifetime
		}
		if !stale {
			return nil
		}
		if err := os.Remove(path); err != nil {
			return ignoreMissing(err)
		}
		removed++
		return nil
	})
	if err != nil {
		return removed, fmt.Errorf("sweep blob directory: %w", err)
	}
	return removed, nil
}

// ignoreMissing: another process may sweep at the same time.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Run sweeps now and then until ctx ends: every twentieth of a lifetime, at least once an hour.
func (d *Directory) Run(ctx context.Context) error {
	every := time.Hour
	if d.lifetime > 0 {
		every = max(min(every, d.lifetime/20), time.Second)
	}
	for {
		if _, err := d.sweep(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		if !link.Pause(ctx, every) {
			return nil
		}
	}
}
