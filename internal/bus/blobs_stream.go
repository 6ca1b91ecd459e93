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

	"stegomq/schemas"
)

// chunkSize is the size of all chunks of a blob but the last, in bytes. It is part of what is stored:
// one image is one message as a rule, and half of the default max_payload of a nats-server.
const chunkSize = 512 << 10

// parallelBlobs bounds the requests of one call that are under way at once.
const parallelBlobs = 8

// blobStream keeps blobs in the tenants' streams with one message per subject: the chunks blob.<tenant>.<digest>.<n>, and then
// blob.<tenant>.<digest> with the size, which makes the blob exist. The tenant is the context's (schemas.WithTenant), else the bus's.
//
// The client library's object store was measured against this and left. It stores the description of an
// object before it knows that the chunks are stored: in a full store that leaves objects that are listed
// and hang their readers until they time out. Uploading an object again takes the chunks from under its
// readers, with the same effect. And it takes a consumer for every Get. Here the head comes last, the
// chunks of a second upload replace equal ones, and a Get of 400 KiB takes two thirds of the time.
type blobStream struct {
	bus      *Bus
	lifetime time.Duration
}

var _ BlobStore = (*blobStream)(nil)

func newBlobStream(b *Bus, lifetime time.Duration) *blobStream {
	return &blobStream{bus: b, lifetime: lifetime}
}

// tenantOf is the tenant whose blobs a call is for.
func (b *Bus) tenantOf(ctx context.Context) string {
	if tenant, ok := schemas.TenantOf(ctx); ok {
		return schemas.TenantName(tenant)
	}
	return schemas.TenantName(b.cfg.Tenant)
}

// blobHead is the message that makes a blob exist.
type blobHead struct {
	Size int `json:"size"`
}

func (s *blobStream) subject(ctx context.Context, digest string) string {
	return schemas.BlobSubject(s.bus.tenantOf(ctx), digest)
}

func (s *blobStream) chunk(ctx context.Context, digest string, n int) string {
	return s.subject(ctx, digest) + "." + strconv.Itoa(n)
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
			return s.bus.publish(gctx, outgoing{subject: s.chunk(ctx, digest, n), data: chunk, full: ErrFull})
		})
	}
	if err := group.Wait(); err != nil {
		return "", fmt.Errorf("put blob %s: %w", digest, err)
	}
	head, err := json.Marshal(blobHead{Size: len(data)})
	if err == nil {
		err = s.bus.publish(ctx, outgoing{subject: s.subject(ctx, digest), data: head, full: ErrFull})
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
			chunk, _, err := s.last(gctx, s.chunk(ctx, digest, n))
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
	data, uploaded, err := s.last(ctx, s.subject(ctx, digest))
	if err != nil {
		return head, uploaded, err
	}
	if json.Unmarshal(data, &head) != nil || head.Size < 0 || head.Size > MaxBlob {
		return head, uploaded, errors.Join(ErrBlobCorrupt, s.remove(ctx, digest))
	}
	return head, uploaded, nil
}

// last is the message of a subject and when it was stored. In a cluster any replica may answer a direct get, and one that lags knows
// nothing of a message that was just stored: that there is none is only believed of the leader.
func (s *blobStream) last(ctx context.Context, subject string) (data []byte, at time.Time, err error) {
	err = s.bus.request(ctx, func(ctx context.Context) error {
		stream := schemas.BlobStream(s.bus.tenantOf(ctx))
		data, at, err = s.bus.directGet(ctx, stream, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) && s.bus.nc.ConnectedClusterName() != "" {
			var m *storedMsg
			if m, err = s.bus.getMsg(ctx, stream, getRequest{LastBySubject: subject}); err == nil {
				data, at = m.Data, m.Time
			}
		}
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return ErrBlobMissing
		}
		return err
	})
	if err != nil && isOutage(err) && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", schemas.ErrAway, err)
	}
	return data, at, err
}

// remove takes a blob out, first what makes it exist. A tenant may not: his next Put replaces it.
func (s *blobStream) remove(ctx context.Context, digest string) error {
	if s.bus.cfg.Tenant != "" {
		return nil
	}
	return s.bus.request(ctx, func(ctx context.Context) error {
		stream, err := s.bus.js.Stream(ctx, schemas.BlobStream(s.bus.tenantOf(ctx)))
		if err != nil {
			return err
		}
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(s.subject(ctx, digest))); err != nil {
			return err
		}
		return stream.Purge(ctx, jetstream.WithPurgeSubject(s.subject(ctx, digest)+".>"))
	})
}
