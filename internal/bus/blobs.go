package bus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"stegomq/schemas"
)

// MaxBlob bounds one blob, in bytes.
const MaxBlob = 256 << 20

// BlobStore keeps encoded images by the lowercase hexadecimal SHA-256 of their bytes, each for a lifetime
// that counts from its upload.
//
// A blob in the second half of its lifetime is as good as missing to Put and Has: Put uploads it again,
// which starts a new lifetime, and Has reports false, so that callers Put it. So whatever was put, or
// was there for Has, can be had for at least half a lifetime. Get finds blobs to their end.
type BlobStore interface {
	// Put stores data and returns its digest. It uploads nothing when the blob is there.
	Put(ctx context.Context, data []byte) (digest string, err error)
	// Get returns the bytes of a digest, which it has checked. It returns ErrBlobMissing, ErrBlobCorrupt
	// or ErrBadDigest.
	Get(ctx context.Context, digest string) ([]byte, error)
	// Has says of each digest whether it is there for at least half a lifetime.
	Has(ctx context.Context, digests ...string) ([]bool, error)
}

// Blobs is the blob store on the message queue.
func (b *Bus) Blobs() BlobStore { return b.blobs }

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// fresh says whether a blob uploaded at t is in the first half of its lifetime.
func fresh(t time.Time, lifetime time.Duration) bool {
	return lifetime <= 0 || time.Since(t) < lifetime/2
}

func checkBlob(data []byte) error {
	if len(data) > MaxBlob {
		return fmt.Errorf("put blob: %w: it has %d bytes, the limit is %d", ErrTooLarge, len(data), MaxBlob)
	}
	return nil
}

func checkDigest(digest string) error {
	if !schemas.ValidDigest(digest) {
		return fmt.Errorf("%w, got %q", ErrBadDigest, digest)
	}
	return nil
}
