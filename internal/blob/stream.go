package blob

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"stegomq/internal/link"
	"stegomq/schemas"
)

// chunkSize is the size in bytes of all chunks of a blob but the last. Readers depend on it. It is half
// of the default max_payload of a nats-server, so most images are one message.
const chunkSize = 512 << 10

// wholeSize is the size in bytes up to which a blob is one message, stored and fetched by one request. It bounds the bytes that Has fetches
// with the size of a blob.
const wholeSize = 64 << 10

// parallel bounds the concurrent requests of one call.
const parallel = 8

// Streams keeps blobs in the tenants' streams with one message per subject: the chunks blob.<tenant>.<digest>.<n>, and then
// the head blob.<tenant>.<digest> with the size, which makes the blob exist. A blob of at most wholeSize is in its head.
//
// The client library's object store was measured against this and rejected. It stores the description of
// an object before the chunks are confirmed: a full store then lists objects whose readers hang until
// they time out. Uploading an object again removes the chunks during concurrent reads, with the same
// effect. And every Get takes a consumer. Here the head comes last, the chunks of a second upload replace
// equal ones, and a Get of 400 KiB takes two thirds of the time.
type Streams struct {
	link     *link.Link
	lifetime time.Duration

	others sync.Map // lifetimes of the blobs of other tenants, by tenant (time.Duration)

	mu sync.Mutex
	// newest and older are subjects of small blobs that were put here: such a blob is looked up before it is sent again.
	newest, older map[string]bool
}

// mostMet bounds newest and older.
const mostMet = 4096

var _ Store = (*Streams)(nil)

// OnStreams is the blob store on the message queue, whose streams exist and keep the blobs of the link's tenant for lifetime (0: for ever).
func OnStreams(l *link.Link, lifetime time.Duration) *Streams {
	return &Streams{link: l, lifetime: lifetime}
}

// tenant is the tenant whose blobs a call is for.
func (s *Streams) tenant(ctx context.Context) string {
	if tenant, ok := schemas.TenantOf(ctx); ok {
		return schemas.TenantName(tenant)
	}
	return schemas.TenantName(s.link.Tenant())
}

// ofTenant is the stream of the context's tenant, if it is another than the link's. That tenant may be gone.
func (s *Streams) ofTenant(ctx context.Context) string {
	if tenant := s.tenant(ctx); tenant != schemas.TenantName(s.link.Tenant()) {
		return schemas.BlobStream(tenant)
	}
	return ""
}

// kept is how long the store keeps blobs of the context's tenant. A tenant's stream is asked once, because the lifetime does not change.
func (s *Streams) kept(ctx context.Context) (time.Duration, error) {
	tenant := s.tenant(ctx)
	if tenant == schemas.TenantName(s.link.Tenant()) {
		return s.lifetime, nil
	}
	if lifetime, known := s.others.Load(tenant); known {
		return lifetime.(time.Duration), nil
	}
	var lifetime time.Duration
	err := s.link.Request(ctx, func(ctx context.Context) error {
		stream, err := s.link.JS.Stream(ctx, schemas.BlobStream(tenant))
		if err == nil {
			lifetime = stream.CachedInfo().Config.MaxAge
		}
		return err
	})
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return s.lifetime, nil // what is asked of it next says so
	case err != nil && link.IsOutage(err) && ctx.Err() == nil:
		return 0, fmt.Errorf("%w: %w", schemas.ErrAway, err)
	case err != nil:
		return 0, err
	}
	s.others.Store(tenant, lifetime)
	return lifetime, nil
}

// heading is the message that makes a blob exist: a line of JSON and, if the blob is one message, a line feed and its bytes.
type heading struct {
	Size  int    `json:"size"`
	whole []byte // nil: the blob is in chunks
}

func (h heading) encode() ([]byte, error) {
	data, err := json.Marshal(h)
	if err == nil && h.whole != nil {
		data = append(append(data, '\n'), h.whole...)
	}
	return data, err
}

func parseHeading(data []byte) (h heading, ok bool) {
	line, rest, whole := bytes.Cut(data, []byte{'\n'})
	// What encode writes is read without the library, which costs 2 % of a job that computes nothing.
	number, ours := bytes.CutPrefix(line, []byte(`{"size":`))
	number, closed := bytes.CutSuffix(number, []byte{'}'})
	var err error
	if h.Size, err = strconv.Atoi(string(number)); !ours || !closed || err != nil {
		h.Size = 0
		err = json.Unmarshal(line, &h)
	}
	if err != nil || h.Size < 0 || h.Size > Max {
		return h, false
	}
	if whole {
		h.whole = rest
	}
	return h, !whole || len(rest) == h.Size
}

func (s *Streams) subject(ctx context.Context, digest string) string {
	return schemas.BlobSubject(s.tenant(ctx), digest)
}

func (s *Streams) chunk(ctx context.Context, digest string, n int) string {
	return s.subject(ctx, digest) + "." + strconv.Itoa(n)
}

func chunks(size int) int { return (size + chunkSize - 1) / chunkSize }

// Put implements Store.
func (s *Streams) Put(ctx context.Context, data []byte) (string, error) {
	if err := check(data); err != nil {
		return "", err
	}
	digest := schemas.Digest(data)
	put := s.putChunks
	if len(data) <= wholeSize {
		put = s.putWhole
	}
	if err := put(ctx, digest, data); err != nil {
		return "", fmt.Errorf("put blob %s: %w", digest, err)
	}
	return digest, nil
}

// errThere: the subject of a head has a message already.
var errThere = errors.New("there is a blob of that digest")

// met says whether a blob was put here recently, and records that it is put now. The store may have lost it since.
func (s *Streams) met(subject string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.newest[subject] || s.older[subject]
	if s.newest == nil || len(s.newest) == mostMet {
		s.newest, s.older = make(map[string]bool), s.newest
	}
	s.newest[subject] = true
	return before
}

// putWhole stores a blob as one message. A new blob takes one request. The server refuses a blob that it has; only then, or when there is no
// room, is the blob looked up. A blob that was put here before is looked up first, which is one request as well.
func (s *Streams) putWhole(ctx context.Context, digest string, data []byte) error {
	if s.met(s.subject(ctx, digest)) {
		if there, err := s.there(ctx, digest); there || err != nil {
			return err
		}
	}
	head, err := heading{Size: len(data), whole: data[:len(data):len(data)]}.encode()
	if err != nil {
		return err
	}
	m := link.Message{Subject: s.subject(ctx, digest), Data: head, Full: ErrFull, There: errThere, OfTenant: s.ofTenant(ctx)}
	refused := s.link.Publish(ctx, m)
	if !errors.Is(refused, errThere) && !errors.Is(refused, ErrFull) {
		return refused
	}
	if there, err := s.there(ctx, digest); there || err != nil {
		return err
	}
	if errors.Is(refused, ErrFull) {
		return refused
	}
	m.There = nil
	return s.link.Publish(ctx, m)
}

// putChunks stores a missing blob in chunks, and then its head.
func (s *Streams) putChunks(ctx context.Context, digest string, data []byte) error {
	if there, err := s.there(ctx, digest); there || err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for n := range chunks(len(data)) {
		chunk := data[n*chunkSize : min((n+1)*chunkSize, len(data))]
		group.Go(func() error {
			return s.link.Publish(gctx, link.Message{Subject: s.chunk(ctx, digest, n), Data: chunk, Full: ErrFull, OfTenant: s.ofTenant(ctx)})
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	head, err := heading{Size: len(data)}.encode()
	if err != nil {
		return err
	}
	return s.link.Publish(ctx, link.Message{Subject: s.subject(ctx, digest), Data: head, Full: ErrFull, OfTenant: s.ofTenant(ctx)})
}

// there says whether a blob is there for at least half a lifetime.
func (s *Streams) there(ctx context.Context, digest string) (bool, error) {
	lifetime, err := s.kept(ctx)
	if err != nil {
		return false, err
	}
	_, uploaded, err := s.head(ctx, digest)
	if errors.Is(err, ErrMissing) {
		return false, nil
	}
	return err == nil && fresh(uploaded, lifetime), err
}

// Get implements Store.
func (s *Streams) Get(ctx context.Context, digest string) ([]byte, error) {
	if err := checkDigest(digest); err != nil {
		return nil, fmt.Errorf("get blob: %w", err)
	}
	head, _, err := s.head(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("get blob %s: %w", digest, err)
	}
	data := head.whole
	if data == nil {
		data, err = s.chunks(ctx, digest, head.Size)
	}
	if err == nil && schemas.Digest(data) != digest {
		err = ErrCorrupt
	}
	if errors.Is(err, ErrCorrupt) {
		err = errors.Join(err, s.remove(ctx, digest))
	}
	if err != nil {
		return nil, fmt.Errorf("get blob %s: %w", digest, err)
	}
	return data, nil
}

// chunks returns the bytes of a blob in chunks.
func (s *Streams) chunks(ctx context.Context, digest string, size int) ([]byte, error) {
	data := make([]byte, size)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for n := range chunks(size) {
		part := data[n*chunkSize : min((n+1)*chunkSize, size)]
		group.Go(func() error {
			chunk, _, err := s.last(ctx, s.chunk(ctx, digest, n))
			if err == nil && copy(part, chunk) != len(part) {
				err = ErrCorrupt
			}
			return err
		})
	}
	return data, group.Wait()
}

// Has implements Store.
func (s *Streams) Has(ctx context.Context, digests ...string) ([]bool, error) {
	for _, digest := range digests {
		if err := checkDigest(digest); err != nil {
			return nil, fmt.Errorf("look for blob: %w", err)
		}
	}
	has := make([]bool, len(digests))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, digest := range digests {
		group.Go(func() (err error) {
			has[i], err = s.there(gctx, digest)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("look for blobs: %w", err)
	}
	return has, nil
}

func (s *Streams) head(ctx context.Context, digest string) (heading, time.Time, error) {
	data, uploaded, err := s.last(ctx, s.subject(ctx, digest))
	if err != nil {
		return heading{}, uploaded, err
	}
	head, ok := parseHeading(data)
	if !ok {
		return head, uploaded, errors.Join(ErrCorrupt, s.remove(ctx, digest))
	}
	return head, uploaded, nil
}

// last returns the message of a subject and when it was stored.
func (s *Streams) last(ctx context.Context, subject string) (data []byte, at time.Time, err error) {
	data, at, err = s.link.Last(ctx, schemas.BlobStream(s.tenant(ctx)), subject)
	of := s.ofTenant(ctx)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound), err != nil && of != "" && s.link.Gone(ctx, of, err):
		err = ErrMissing
	case err != nil && link.IsOutage(err) && ctx.Err() == nil:
		err = fmt.Errorf("%w: %w", schemas.ErrAway, err)
	}
	return data, at, err
}

// remove deletes a blob, its head first. A tenant has no right to: the tenant's next Put replaces the blob.
func (s *Streams) remove(ctx context.Context, digest string) error {
	if s.link.Tenant() != "" {
		return nil
	}
	return s.link.Request(ctx, func(ctx context.Context) error {
		stream, err := s.link.JS.Stream(ctx, schemas.BlobStream(s.tenant(ctx)))
		if err != nil {
			return err
		}
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(s.subject(ctx, digest))); err != nil {
			return err
		}
		return stream.Purge(ctx, jetstream.WithPurgeSubject(s.subject(ctx, digest)+".>"))
	})
}
