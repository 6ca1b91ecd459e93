// Package streams owns stegomq's objects on a NATS server: the streams with their bounds and lifetimes, the consumers with their waits, the
// bucket TRIES, and the streams of each tenant. The meaning and the handling of messages belong to other packages.
//
// # Invariants
//
//   - Open is idempotent, and any number of processes may do it at once. A stream that works in another way is refused, and never changed
//     into one of ours.
//   - Settings of an operator or another process stay, unless Config sets them explicitly.
//   - Streams that are missing after a reconnection are made again.
//   - A tenant creates nothing: the operator does (EnsureTenant).
//   - One durable consumer for each class and model reads jobs or, if a command has the server for itself, one for a single run (Lane).
package streams

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"stegomq/internal/link"
	"stegomq/schemas"
)

var (
	// ErrStreamConflict: a stream of that name exists with settings that stegomq cannot work with.
	ErrStreamConflict = errors.New("a stream exists with other settings")
	// ErrNoStorage: the server or account has less storage than the streams reserve.
	ErrNoStorage = errors.New("the server has not the storage that the streams reserve: raise its max_file_store, or lower the bounds of the streams")
)

// Config has the settings of streams and consumers. The zero value of a field means its default, which is only used for new streams; a field
// that is set changes stored settings too.
type Config struct {
	// AckWait (default 30 s) is how long the server waits for a sign of life before it redelivers a message.
	AckWait time.Duration
	// MaxJobBytes bounds each queue of jobs, in bytes, default 1 GiB; MaxBlobBytes the operator's blobs, by default the server's bound alone.
	MaxJobBytes, MaxBlobBytes int64
	// BlobLifetime is how long blobs are kept. Default 7 days.
	BlobLifetime time.Duration
	// Replicas of every stream when it is created. Default: 3 where the cluster has three servers or more, else 1.
	Replicas int
	// KeepStored keeps the bounds and lifetimes of existing streams, whatever is set here: for callers that only use the streams.
	KeepStored bool
	// Exclusive says that only this process uses the server, such as an embedded one that does not listen: its workers take the jobs
	// of one run, and jobs of other runs stay in the queue.
	Exclusive bool
}

// Streams are the streams of a server, as the operator or a tenant sees them. It is for any number of goroutines.
type Streams struct {
	// Link is the connection.
	Link *link.Link

	cfg      Config
	ensuring sync.Mutex // one ensure at a time
	// Set by the first ensure, before it is shared.
	opened       bool
	tries        jetstream.KeyValue
	blobLifetime time.Duration

	queueBytes atomic.Int64 // the smallest bound of a queue
	ackWait    atomic.Int64 // the shortest one that a consumer has stored; 0: unknown
	known      sync.Map     // lanes that this process has published for, and when it last checked them (time.Time)
}

// New makes Streams without a request to the server. They can List.
func New(l *link.Link, cfg Config) *Streams {
	return &Streams{Link: l, cfg: cfg}
}

// Open makes sure that the streams exist, now and after every reconnection. It returns link.ErrNoJetStream, ErrStreamConflict or
// ErrNoStorage with a line that says what to do.
func Open(ctx context.Context, l *link.Link, cfg Config) (*Streams, error) {
	s := New(l, cfg)
	l.OnReconnect(func(ctx context.Context) error {
		s.known.Clear() // the consumers may be gone
		return s.ensure(ctx)
	})
	if err := s.ensure(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Exclusive says whether only this process uses the server.
func (s *Streams) Exclusive() bool { return s.cfg.Exclusive }

// Tries is the bucket that counts the tries of redelivered messages. Only the operator has it.
func (s *Streams) Tries() jetstream.KeyValue { return s.tries }

// ForgetTries deletes the entry of a key in Tries. The client's Delete and Purge would leave a mark in its place.
func (s *Streams) ForgetTries(ctx context.Context, key string) error {
	stream, err := s.Link.JS.Stream(ctx, streamTries)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject("$KV."+bucketTries+"."+key))
	}
	return err
}

// BlobLifetime is how long the server keeps blobs; 0: for ever.
func (s *Streams) BlobLifetime() time.Duration { return s.blobLifetime }

// QueueBytes is the smallest bound of a queue of jobs: a larger message never fits.
func (s *Streams) QueueBytes() int64 { return s.queueBytes.Load() }

// ensure creates missing streams and, the first time, takes the handles.
func (s *Streams) ensure(ctx context.Context) error {
	s.ensuring.Lock()
	defer s.ensuring.Unlock()
	look := s.lookAtAll
	if s.Link.Tenant() != "" {
		look = s.lookAtTenants
	}
	if err := look(ctx); err != nil {
		return err
	}
	s.opened = true
	return nil
}

func (s *Streams) lookAtAll(ctx context.Context) error {
	err := s.Link.Request(ctx, func(ctx context.Context) error {
		_, err := s.Link.JS.AccountInfo(ctx)
		return err
	})
	switch {
	case link.NoJetStream(err):
		return fmt.Errorf("%w (at %s)", link.ErrNoJetStream, s.Link.Where())
	case err != nil:
		return fmt.Errorf("ask %s for JetStream: %w", s.Link.Where(), err)
	}
	found, err := s.ensureStreams(ctx)
	if err != nil {
		return err
	}
	least := int64(math.MaxInt64)
	for _, class := range schemas.Classes() {
		if bound := found[schemas.JobStream(class)].MaxBytes; bound > 0 {
			least = min(least, bound)
		}
	}
	s.queueBytes.Store(least)
	if s.opened {
		return nil
	}
	if err := s.dropLanes(ctx); err != nil {
		return fmt.Errorf("consumers on %s: %w", s.Link.Where(), err)
	}
	if s.tries, err = s.Link.JS.KeyValue(ctx, bucketTries); err != nil {
		return fmt.Errorf("open bucket %s on %s: %w", bucketTries, s.Link.Where(), err)
	}
	s.blobLifetime = found[schemas.BlobStream(schemas.MainTenant)].MaxAge
	return nil
}

// ensureStreams finds or creates every stream, and returns their configurations.
func (s *Streams) ensureStreams(ctx context.Context) (map[string]jetstream.StreamConfig, error) {
	specs := s.specs()
	done := make(chan jetstream.StreamConfig, len(specs))
	group, gctx := errgroup.WithContext(ctx)
	for name, spec := range specs {
		group.Go(func() error {
			stream, err := s.ensureStream(gctx, name, spec)
			if err != nil {
				return fmt.Errorf("stream %s on %s: %w", name, s.Link.Where(), err)
			}
			done <- stream.CachedInfo().Config
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	close(done)
	found := make(map[string]jetstream.StreamConfig, len(specs))
	for cfg := range done {
		found[cfg.Name] = cfg
	}
	return found, nil
}

// lookAtTenants finds the streams of a tenant, who may create nothing.
func (s *Streams) lookAtTenants(ctx context.Context) error {
	tenant := s.Link.Tenant()
	for _, name := range tenantStreams(tenant) {
		err := s.Link.Request(ctx, func(ctx context.Context) error {
			stream, err := s.Link.JS.Stream(ctx, name)
			if err == nil && !s.opened && name == schemas.BlobStream(tenant) {
				s.blobLifetime = stream.CachedInfo().Config.MaxAge
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("stream %s on %s: %w: the operator makes it with `stegomq access grant %s`", name, s.Link.Where(), err, tenant)
		}
	}
	s.queueBytes.Store(math.MaxInt64)
	return nil
}
