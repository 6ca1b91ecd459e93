// Package blob owns the stores of encoded images, which jobs name by the SHA-256 of their bytes: one on the message queue, one in a folder.
//
// # Invariants
//
//   - A blob exists only when it is complete, and its bytes match its digest: Get checks them.
//   - A blob belongs to a tenant: the context's (schemas.WithTenant), or the store's.
//   - A blob that was put, or that Has reported, can be read for at least half a lifetime.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"stegomq/internal/link"
	"stegomq/schemas"
)

// Max bounds one blob, in bytes.
const Max = 256 << 20

var (
	// ErrMissing: the store has no blob of that digest (any more). It is an fs.ErrNotExist, so readers
	// of blobs can detect it without this package.
	ErrMissing error = missing{}
	// ErrCorrupt: the bytes in the store do not match the digest. They have been removed, so the next
	// Put repairs the blob.
	ErrCorrupt = errors.New("blob is corrupt")
	// ErrBadDigest: not a lowercase hexadecimal SHA-256.
	ErrBadDigest = errors.New("a digest has 64 lowercase hexadecimal digits")
	// ErrFull: there is no room, and the store empties only by age.
	ErrFull = errors.New("no room: raise the bound of the blob store or of the server's storage, or shorten the lifetime of blobs")
)

type missing struct{}

func (missing) Error() string { return "blob is not in the store" }

func (missing) Is(target error) bool { return target == fs.ErrNotExist }

// Store keeps encoded images by the lowercase hexadecimal SHA-256 of their bytes, each for a lifetime
// that counts from its upload.
//
// Put and Has treat a blob in the second half of its lifetime as missing: Put uploads it again, which
// starts a new lifetime, and Has reports false, so that callers Put it. So a blob that was put, or that
// Has reported, can be read for at least half a lifetime. Get finds blobs until they expire.
type Store interface {
	// Put stores data, of at most Max bytes, and returns its digest. It uploads nothing when the blob is there. It returns
	// link.ErrTooLarge or ErrFull.
	Put(ctx context.Context, data []byte) (digest string, err error)
	// Get returns the bytes of a digest and checks them. It returns ErrMissing, ErrCorrupt or
	// ErrBadDigest.
	Get(ctx context.Context, digest string) ([]byte, error)
	// Has says of each digest whether it is there for at least half a lifetime.
	Has(ctx context.Context, digests ...string) ([]bool, error)
}

// fresh says whether a blob uploaded at t is in the first half of its lifetime.
func fresh(t time.Time, lifetime time.Duration) bool {
	return lifetime <= 0 || time.Since(t) < lifetime/2
}

func check(data []byte) error {
	if len(data) > Max {
		return fmt.Errorf("put blob: %w: it has %d bytes, the limit is %d", link.ErrTooLarge, len(data), Max)
	}
	return nil
}

func checkDigest(digest string) error {
	if !schemas.ValidDigest(digest) {
		return fmt.Errorf("%w, got %q", ErrBadDigest, digest)
	}
	return nil
}
