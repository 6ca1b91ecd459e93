// Package blob owns the stores of encoded images, which jobs name by the SHA-256 of their bytes: one on the message queue, one in a folder.
//
// # Invariants
//
//   - A blob exists when it is whole, and has the bytes of its digest: Get checks them.
//   - A blob is its tenant's: the tenant is the context's (schemas.WithTenant), or the one whose store it is.
//   - What was put, or was there for Has, can be had for at least half a lifetime.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	// ErrMissing: the store has no blob of that digest (any more). It is an fs.ErrNotExist, by which
	// readers of blobs know it without this package.
	ErrMissing error = missing{}
	// ErrCorrupt: the bytes in the store are not those of the digest. They have been removed, so
	// that the next Put mends it.
	ErrCorrupt = errors.New("blob is corrupt")
	// ErrBadDigest: not a lowercase hexadecimal SHA-256.
	ErrBadDigest = errors.New("a digest has 64 lowercase hexadecimal digits")
	// ErrFull: a store that only empties by age has no room.
	ErrFull = errors.New("no room: raise the bound of the blob store or of the server's storage, or shorten the lifetime of blobs")
)

type missing struct{}

func (missing) Error() string { return "blob is not in the store" }

func (missing) Is(target error) bool { return target == fs.ErrNotExist }

// Store keeps encoded images by the lowercase hexadecimal SHA-256 of their bytes, each for a lifetime
// that counts from its upload.
//
// A blob in the second half of its lifetime is as good as missing to Put and Has: Put uploads it again,
// which starts a new lifetime, and Has reports false, so that callers Put it. So whatever was put, or
// was there for Has, can be had for at least half a lifetime. Get finds blobs to their end.
type Store interface {
	// Put stores data, of at most Max bytes, and returns its digest. It uploads nothing when the blob is there. It returns
	// link.ErrTooLarge or ErrFull.
	Put(ctx context.Context, data []byte) (digest string, err error)
	// Get returns the bytes of a digest, which it has checked. It returns ErrMissing, ErrCorrupt
	// or ErrBadDigest.
	Get(ctx context.Context, digest string) ([]byte, error)
	// Has says of each digest whether it is there for at least half a lifetime.
	Has(ctx context.Context, digests ...string) ([]bool, error)
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
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
