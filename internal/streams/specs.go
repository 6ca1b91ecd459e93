package streams

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/internal/link"
	"stegomq/schemas"
)

const (
	bucketTries = "TRIES"
	streamTries = "KV_" + bucketTries // what the client calls the bucket's stream

	// duplicateWindow is how long the server remembers message ids.
	duplicateWindow = 2 * time.Minute
)

// Defaults of Config.
const (
	defaultAckWait        = 30 * time.Second
	defaultMaxJobBytes    = 1 << 30
	defaultMaxResultBytes = 1 << 30
	defaultMaxDeadBytes   = 256 << 20
	defaultResultLifetime = 24 * time.Hour
	defaultDeadLifetime   = 30 * 24 * time.Hour
	defaultBlobLifetime   = 7 * 24 * time.Hour
)

// spec is a stream's configuration at its creation, and the settings asked for explicitly (zero: keep the stored ones).
type spec struct {
	fresh    jetstream.StreamConfig
	maxBytes int64
	maxAge   time.Duration
	// create makes the stream when it is missing; nil for a plain stream.
	create func(context.Context) error
}

// tenantStreams are the names of a tenant's streams, results first.
func tenantStreams(tenant string) []string {
	return []string{schemas.ResultStream(tenant), schemas.BlobStream(tenant)}
}

// tenantSpecs are the streams of a tenant.
func (s *Streams) tenantSpecs(tenant string) map[string]spec {
	return map[string]spec{
		schemas.ResultStream(tenant): {
			fresh: jetstream.StreamConfig{
				Description: "results, for those who asked for them",
				Subjects:    []string{schemas.TenantResults(tenant)},
				MaxBytes:    defaultMaxResultBytes,
				MaxAge:      defaultResultLifetime,
			},
		},
		schemas.BlobStream(tenant): {
			fresh: jetstream.StreamConfig{
				Description:       "images by SHA-256",
				Subjects:          []string{schemas.BlobSubject(tenant, ">")},
				Discard:           jetstream.DiscardNew,
				MaxBytes:          cmp.Or(s.cfg.MaxBlobBytes, -1),
				MaxAge:            cmp.Or(s.cfg.BlobLifetime, defaultBlobLifetime),
				MaxMsgsPerSubject: 1,
				AllowDirect:       true,
			},
			maxBytes: s.cfg.MaxBlobBytes, maxAge: s.cfg.BlobLifetime,
		},
	}
}

// specs are the streams that the link's user sees, by name.
func (s *Streams) specs() map[string]spec {
	specs := s.tenantSpecs(schemas.TenantName(s.Link.Tenant()))
	if s.Link.Tenant() != "" {
		return specs
	}
	for _, class := range schemas.Classes() {
		specs[schemas.JobStream(class)] = spec{
			fresh: jetstream.StreamConfig{
				Description: "work queue of jobs: a job leaves when its result is stored",
				Subjects:    []string{schemas.ClassFilter(class)},
				Retention:   jetstream.WorkQueuePolicy,
				Discard:     jetstream.DiscardNew,
				MaxBytes:    cmp.Or(s.cfg.MaxJobBytes, defaultMaxJobBytes),
			},
			maxBytes: s.cfg.MaxJobBytes,
		}
	}
	specs[schemas.StreamScoring] = spec{
		fresh: jetstream.StreamConfig{
			Description: "work queue of results that are to be scored",
			Subjects:    []string{schemas.ScoringFilter()},
			Retention:   jetstream.WorkQueuePolicy,
			Discard:     jetstream.DiscardNew,
			MaxBytes:    defaultMaxResultBytes,
		},
	}
	specs[schemas.StreamDead] = spec{
		fresh: jetstream.StreamConfig{
			Description: "messages that could not be processed, with the reason",
			Subjects:    []string{schemas.DeadFilter()},
			MaxBytes:    defaultMaxDeadBytes,
			MaxAge:      defaultDeadLifetime,
		},
	}
	specs[streamTries] = spec{
		fresh: jetstream.StreamConfig{Subjects: []string{"$KV." + bucketTries + ".>"}, Discard: jetstream.DiscardNew},
		create: func(ctx context.Context) error {
			_, err := s.Link.JS.CreateKeyValue(ctx, jetstream.KeyValueConfig{
				Bucket: bucketTries, Description: "tries of messages that were delivered more than once",
				TTL: 24 * time.Hour, MaxBytes: 64 << 20, Replicas: s.replicas(),
			})
			return err
		},
	}
	return specs
}

// replicas is the number of replicas for new streams: as asked for, or three if the cluster can hold them.
func (s *Streams) replicas() int {
	if s.cfg.Replicas > 0 {
		return s.cfg.Replicas
	}
	if s.Link.ClusterSize() >= 3 {
		return 3
	}
	return 1
}

// codeSubjectsOverlap is the server's error when another stream has the subjects.
const codeSubjectsOverlap jetstream.ErrorCode = 10065

// ensureStream finds or creates a stream. Another process may create it in between: then the second
// round finds it.
func (s *Streams) ensureStream(ctx context.Context, name string, want spec) (jetstream.Stream, error) {
	want.fresh.Name = name
	want.fresh.Replicas = s.replicas()
	want.fresh.Duplicates = duplicateWindow
	if age := want.fresh.MaxAge; age > 0 {
		want.fresh.Duplicates = min(duplicateWindow, age)
	}
	if want.create == nil {
		want.create = func(ctx context.Context) error {
			_, err := s.Link.JS.CreateStream(ctx, want.fresh)
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*link.RequestTimeout)
	defer cancel()
	for try := 0; ; try++ {
		stream, err := s.Link.JS.Stream(ctx, name)
		if err == nil {
			return s.reconcile(ctx, stream, want)
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) || try == 2 {
			return nil, err
		}
		err = want.create(ctx)
		var api *jetstream.APIError
		switch {
		case errors.As(err, &api) && api.ErrorCode == codeSubjectsOverlap:
			return nil, fmt.Errorf("%w: another stream has its subjects %s: remove that stream, or use another account",
				ErrStreamConflict, strings.Join(want.fresh.Subjects, ", "))
		case link.IsFull(err):
			return nil, fmt.Errorf("%w: %w", ErrNoStorage, err)
		case err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) && !errors.Is(err, jetstream.ErrBucketExists):
			return nil, err
		}
	}
}

// reconcile refuses a stream that works in another way, and changes the settings asked for explicitly.
func (s *Streams) reconcile(ctx context.Context, stream jetstream.Stream, want spec) (jetstream.Stream, error) {
	cfg := stream.CachedInfo().Config
	if s.cfg.KeepStored {
		want.maxBytes, want.maxAge = 0, 0
	}
	if cfg.Retention != want.fresh.Retention || cfg.Discard != want.fresh.Discard {
		return nil, fmt.Errorf("%w: it has %v retention and %v, stegomq needs %v and %v: remove the stream, or use another account",
			ErrStreamConflict, cfg.Retention, cfg.Discard, want.fresh.Retention, want.fresh.Discard)
	}
	changed := false
	for _, subject := range want.fresh.Subjects {
		if !slices.Contains(cfg.Subjects, subject) {
			cfg.Subjects, changed = append(cfg.Subjects, subject), true
		}
	}
	if want.maxBytes != 0 && cfg.MaxBytes != want.maxBytes {
		cfg.MaxBytes, changed = want.maxBytes, true
	}
	if want.maxAge != 0 && cfg.MaxAge != want.maxAge {
		cfg.MaxAge, cfg.Duplicates, changed = want.maxAge, min(want.maxAge, duplicateWindow), true
	}
	if !changed {
		return stream, nil
	}
	s.Link.Log.Info("changing a stream", "stream", cfg.Name, "max_bytes", cfg.MaxBytes, "max_age", cfg.MaxAge)
	stream, err := s.Link.JS.UpdateStream(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("%w: change it: %w", ErrStreamConflict, err)
	}
	return stream, nil
}

// Status is the fill of one stream.
type Status struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	// MaxBytes is the stream's bound, or -1 for none.
	MaxBytes int64 `json:"max_bytes"`
	// Replicas that the stream has.
	Replicas int `json:"-"`
	// Oldest is when the oldest stored message came; zero if there is none. Ever counts the messages that ever came.
	Oldest time.Time `json:"-"`
	Ever   uint64    `json:"-"`
}

func statusOf(info *jetstream.StreamInfo) Status {
	st := Status{
		Name: info.Config.Name, Messages: info.State.Msgs, Bytes: info.State.Bytes, MaxBytes: info.Config.MaxBytes, Replicas: max(info.Config.Replicas, 1),
		Ever: info.State.LastSeq,
	}
	if st.Messages > 0 {
		st.Oldest = info.State.FirstTime
	}
	return st
}

// List asks for the fill of every stream, by name. An answer shows that JetStream works.
func (s *Streams) List(ctx context.Context) ([]Status, error) {
	var list []Status
	for _, name := range slices.Sorted(maps.Keys(s.specs())) {
		// With a bound of its own, because a request that is lost with a connection gets no answer.
		err := s.Link.Request(ctx, func(ctx context.Context) error {
			stream, err := s.Link.JS.Stream(ctx, name)
			if err == nil {
				list = append(list, statusOf(stream.CachedInfo()))
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("status of stream %s on %s: %w", name, s.Link.Where(), err)
		}
	}
	return list, nil
}
