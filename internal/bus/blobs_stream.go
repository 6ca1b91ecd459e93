package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// chunkSize is the size of all chunks of a blob but the last, in bytes. It is part of what is stored:
// one image is one message as a rule, and half of the default max_payload of a nats-server.
const chunkSize = 512 << 10

// parallelBlobs bounds the requests of one call that are under way at once.
const parallelBlobs = 8

// blobStream keeps blobs in a stream with one message per subject: the chunks blob.<digest>.<n>, and then
// blob.<digest> with the size, which makes the blob exist.
//
// The client library's object store was measured against this and left. It stores the description of an
// object before it knows that the chunks are stored: in a full store that leaves objects that are listed
// and hang their readers until they time out. Uploading an object again takes the chunks from under its
// readers, with the same effect. And it takes a consumer for every Get. Here the head comes last, the
// chunks of a second upload replace equal ones, and a Get of 400 KiB takes two thirds of the time.
type blobStream struct {
	bus      *Bus
	stream   jetstream.Stream
	lifetime time.Duration
}

var _ BlobStore = (*blobStream)(nil)

// blobHead is the message that makes a blob exist.
type blobHead struct {
	Size int `json:"size"`
}

func blobSubject(digest string) string { return "blob." + digest }

func chunkSubject(digest string, n int) string {
	return blobSubject(digest) + "." + strconv.Itoa(n)
}

func chunks(size int) int { return (size + chunkSize - 1) / chunkSize }

func (s *blobStream) Put(ctx context.Context, data []byte) (string, error) {
	if err := checkBlob(data); err != nil {
		return "", err
	}
	digest := digestOf(data)
	_, uploaded, err := s.head(ctx, digest)
	switch {
	case err == nil && fresh(uploaded, s.lifetime):
		return digest, nil
	case err != nil && !errors.Is(err, ErrBlobMissing):
		return "", fmt.Errorf("put blob: %w", err)
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelBlobs)
	for n := range chunks(len(data)) {
		chunk := data[n*chunkSize : min((n+1)*chunkSize, len(data))]
		group.Go(func() error {
			return s.bus.publish(gctx, outgoing{subject: chunkSubject(digest, n), data: chunk, failFull: true})
		})
	}
	if err := group.Wait(); err != nil {
		return "", fmt.Errorf("put blob %s: %w", digest, err)
	}
	head, err := json.Marshal(blobHead{Size: len(data)})
	if err == nil {
		err = s.bus.publish(ctx, outgoing{subject: blobSubject(digest), data: head, failFull: true})
	}
	if err != nil {
		return "", fmt.Errorf("put blob %s: %w", digest, err)
	}
	return digest, nil
}

func (s *blobStream) Get(ctx context.Context, digest string) ([]byte, error) {
	if err := checkDigest(digest); err != nil {
		return nil, fmt.Errorf("get blob: %w", err)
	}
	head, _, err := s.head(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("get blob %s: %w", digest, err)
	}
	data := make([]byte, head.Size)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelBlobs)
	for n := range chunks(head.Size) {
		part := data[n*chunkSize : min((n+1)*chunkSize, head.Size)]
		group.Go(func() error {
			chunk, _, err := s.last(gctx, chunkSubject(digest, n))
			if err == nil && copy(part, chunk) != len(part) {
				err = ErrBlobCorrupt
			}
			return err
		})
	}
	err = group.Wait()
	if err == nil && digestOf(data) != digest {
		err = ErrBlobCorrupt
	}
	if errors.Is(err, ErrBlobCorrupt) {
		err = errors.Join(err, s.remove(ctx, digest))
	}
	if err != nil {
		return nil, fmt.Errorf("get blob %s: %w", digest, err)
	}
	return data, nil
}

func (s *blobStream) Has(ctx context.Context, digests ...string) ([]bool, error) {
	for _, digest := range digests {
		if err := checkDigest(digest); err != nil {
			return nil, fmt.Errorf("look for blob: %w", err)
		}
	}
	has := make([]bool, len(digests))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelBlobs)
	for i, digest := range digests {
		group.Go(func() error {
			_, uploaded, err := s.head(gctx, digest)
			if errors.Is(err, ErrBlobMissing) {
				return nil
			}
			has[i] = err == nil && fresh(uploaded, s.lifetime)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("look for blobs: %w", err)
	}
	return has, nil
}

func (s *blobStream) head(ctx context.Context, digest string) (blobHead, time.Time, error) {
	var head blobHead
	data, uploaded, err := s.last(ctx, blobSubject(digest))
	if err != nil {
		return head, uploaded, err
	}
	if json.Unmarshal(data, &head) != nil || head.Size < 0 || head.Size > MaxBlob {
		return head, uploaded, errors.Join(ErrBlobCorrupt, s.remove(ctx, digest))
	}
	return head, uploaded, nil
}

// last is the message of a subject and when it was stored.
func (s *blobStream) last(ctx context.Context, subject string) (data []byte, at time.Time, err error) {
	err = s.bus.request(ctx, func(ctx context.Context) error {
		m, err := s.stream.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return ErrBlobMissing
		}
		if err == nil {
			data, at = m.Data, m.Time
		}
		return err
	})
	return data, at, err
}

// remove takes a blob out, first what makes it exist.
func (s *blobStream) remove(ctx context.Context, digest string) error {
	return s.bus.request(ctx, func(ctx context.Context) error {
		if err := s.stream.Purge(ctx, jetstream.WithPurgeSubject(blobSubject(digest))); err != nil {
			return err
		}
		return s.stream.Purge(ctx, jetstream.WithPurgeSubject(blobSubject(digest)+".>"))
	})
}
