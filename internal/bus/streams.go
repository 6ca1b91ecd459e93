package bus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"stegomq/schemas"
)

const (
	bucketTries = "TRIES"
	streamTries = "KV_" + bucketTries // what the client calls the bucket's stream

	consumerEvaluator     = "evaluator"
	consumerEvaluatorDead = "evaluator-dead"

	// duplicateWindow is how long the server remembers message ids.
	duplicateWindow = 2 * time.Minute
)

// streamSpec is a stream as it is created, and what was asked for explicitly (zero: keep what is there).
type streamSpec struct {
	fresh    jetstream.StreamConfig
	maxBytes int64
	maxAge   time.Duration
	// create makes the stream when it is missing; nil for a plain stream.
	create func(context.Context) error
}

// tenantSpecs are the streams of a tenant.
func (b *Bus) tenantSpecs(tenant string) map[string]streamSpec {
	c := b.cfg
	return map[string]streamSpec{
		schemas.ResultStream(tenant): {
			fresh: jetstream.StreamConfig{
				Description: "results, for those who asked for them",
				Subjects:    []string{schemas.TenantResults(tenant)},
				MaxBytes:    or(c.MaxResultBytes, defaultMaxResultBytes),
				MaxAge:      or(c.ResultLifetime, defaultResultLifetime),
			},
			maxBytes: c.MaxResultBytes, maxAge: c.ResultLifetime,
		},
		schemas.BlobStream(tenant): {
			fresh: jetstream.StreamConfig{
				Description:       "images by SHA-256",
				Subjects:          []string{schemas.BlobSubject(tenant, ">")},
				Discard:           jetstream.DiscardNew,
				MaxBytes:          or(c.MaxBlobBytes, -1),
				MaxAge:            or(c.BlobLifetime, defaultBlobLifetime),
				MaxMsgsPerSubject: 1,
				AllowDirect:       true,
			},
			maxBytes: c.MaxBlobBytes, maxAge: c.BlobLifetime,
		},
	}
}

func (b *Bus) specs() map[string]streamSpec {
	c := b.cfg
	specs := b.tenantSpecs(schemas.TenantName(c.Tenant))
	if c.Tenant != "" {
		return specs
	}
	for _, class := range schemas.Classes() {
		specs[schemas.JobStream(class)] = streamSpec{
			fresh: jetstream.StreamConfig{
				Description: "work queue of jobs: a job leaves when its result is stored",
				Subjects:    []string{schemas.ClassFilter(class)},
				Retention:   jetstream.WorkQueuePolicy,
				Discard:     jetstream.DiscardNew,
				MaxBytes:    or(c.MaxJobBytes, defaultMaxJobBytes),
			},
			maxBytes: c.MaxJobBytes,
		}
	}
	specs[schemas.StreamScoring] = streamSpec{
		fresh: jetstream.StreamConfig{
			Description: "work queue of results that are to be scored",
			Subjects:    []string{schemas.ScoringFilter()},
			Retention:   jetstream.WorkQueuePolicy,
			Discard:     jetstream.DiscardNew,
			MaxBytes:    or(c.MaxResultBytes, defaultMaxResultBytes),
		},
		maxBytes: c.MaxResultBytes,
	}
	specs[schemas.StreamDead] = streamSpec{
		fresh: jetstream.StreamConfig{
			Description: "messages that could not be processed, with the reason",
			Subjects:    []string{schemas.DeadFilter()},
			MaxBytes:    or(c.MaxDeadBytes, defaultMaxDeadBytes),
			MaxAge:      or(c.DeadLifetime, defaultDeadLifetime),
		},
		maxBytes: c.MaxDeadBytes, maxAge: c.DeadLifetime,
	}
	specs[streamTries] = streamSpec{
		fresh: jetstream.StreamConfig{Subjects: []string{"$KV." + bucketTries + ".>"}, Discard: jetstream.DiscardNew},
		create: func(ctx context.Context) error {
			_, err := b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
				Bucket: bucketTries, Description: "tries of messages that were delivered more than once",
				TTL: 24 * time.Hour, MaxBytes: 64 << 20, Replicas: b.replicas(),
			})
			return err
		},
	}
	return specs
}

// replicas of what is created: those asked for, or three where the cluster can hold them.
func (b *Bus) replicas() int {
	if b.cfg.Replicas > 0 {
		return b.cfg.Replicas
	}
	if b.ClusterSize() >= 3 {
		return 3
	}
	return 1
}

// ClusterSize is the number of servers that the server names to its clients, itself among them; 1 without a cluster.
func (b *Bus) ClusterSize() int {
	if b.nc.ConnectedClusterName() == "" {
		return 1
	}
	return max(len(b.nc.Servers()), 1)
}

// ensure creates what is missing and takes the handles. It is idempotent and may run in several
// processes at once. The handles are set by the first call only, before the Bus is shared.
func (b *Bus) ensure(ctx context.Context) error {
	if b.cfg.Tenant != "" {
		return b.tenantHandles(ctx)
	}
	err := b.request(ctx, func(ctx context.Context) error {
		_, err := b.js.AccountInfo(ctx)
		return err
	})
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w (at %s)", ErrNoJetStream, b.where())
	case err != nil:
		return fmt.Errorf("ask %s for JetStream: %w", b.where(), err)
	}
	specs := b.specs()
	streams := make(map[string]jetstream.Stream, len(specs))
	found := make(chan jetstream.Stream, len(specs))
	group, gctx := errgroup.WithContext(ctx)
	for name, spec := range specs {
		group.Go(func() error {
			s, err := b.ensureStream(gctx, name, spec)
			if err != nil {
				return fmt.Errorf("stream %s on %s: %w", name, b.where(), err)
			}
			found <- s
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		// What an embedded server has of the first protocol is this program's own; all of it can be made again.
		if errors.Is(err, errOldStreams) && b.cfg.Server != nil && b.results == nil {
			if err := b.removeOldStreams(ctx); err != nil {
				return err
			}
			return b.ensure(ctx)
		}
		return err
	}
	close(found)
	for s := range found {
		streams[s.CachedInfo().Config.Name] = s
	}
	least := int64(math.MaxInt64)
	for _, class := range schemas.Classes() {
		if bound := streams[schemas.JobStream(class)].CachedInfo().Config.MaxBytes; bound > 0 {
			least = min(least, bound)
		}
	}
	b.jobBytes.Store(least)
	if b.results != nil {
		return nil
	}
	if err := b.dropLanes(ctx); err != nil {
		return fmt.Errorf("consumers on %s: %w", b.where(), err)
	}
	if b.tries, err = b.js.KeyValue(ctx, bucketTries); err != nil {
		return fmt.Errorf("open bucket %s on %s: %w", bucketTries, b.where(), err)
	}
	b.results, b.dead = streams[schemas.ResultStream(schemas.MainTenant)], streams[schemas.StreamDead]
	b.blobs = newBlobStream(b, streams[schemas.BlobStream(schemas.MainTenant)].CachedInfo().Config.MaxAge)
	return nil
}

// oldStreams are those of the first protocol.
var oldStreams = []string{"JOBS", "RESULTS", "BLOBS", "ADVISORIES", "KV_WORKERS"}

var errOldStreams = fmt.Errorf("%w: an older stegomq's streams hold its subjects: end all its processes and remove the streams %s",
	ErrStreamConflict, strings.Join(oldStreams, ", "))

// codeSubjectsOverlap is the server's word that another stream has the subjects.
const codeSubjectsOverlap jetstream.ErrorCode = 10065

func (b *Bus) removeOldStreams(ctx context.Context) error {
	b.log.Info("removing the streams of an older version", "streams", oldStreams)
	for _, name := range oldStreams {
		if err := b.js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("remove stream %s of an older version: %w", name, err)
		}
	}
	return nil
}

// tenantHandles takes the handles of a tenant, who may create nothing.
func (b *Bus) tenantHandles(ctx context.Context) error {
	var found [2]jetstream.Stream
	for i, name := range []string{schemas.ResultStream(b.cfg.Tenant), schemas.BlobStream(b.cfg.Tenant)} {
		err := b.request(ctx, func(ctx context.Context) (err error) {
			found[i], err = b.js.Stream(ctx, name)
			return err
		})
		if err != nil {
			return fmt.Errorf("stream %s on %s: %w: the operator makes it with `stegomq access grant %s`", name, b.where(), err, b.cfg.Tenant)
		}
	}
	b.jobBytes.Store(math.MaxInt64)
	if b.results == nil {
		b.results = found[0]
		b.blobs = newBlobStream(b, found[1].CachedInfo().Config.MaxAge)
	}
	return nil
}

func (b *Bus) where() string {
	if b.cfg.Server != nil {
		return "the embedded server"
	}
	return redact(b.cfg.URL)
}

// request runs f with a bound on its time.
func (b *Bus) request(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return f(ctx)
}

// ensureStream finds or creates a stream. Another process may create it between the two: then it is
// found in the second round.
func (b *Bus) ensureStream(ctx context.Context, name string, spec streamSpec) (jetstream.Stream, error) {
	spec.fresh.Name = name
	spec.fresh.Replicas = b.replicas()
	spec.fresh.Duplicates = duplicateWindow
	if age := spec.fresh.MaxAge; age > 0 {
		spec.fresh.Duplicates = min(duplicateWindow, age)
	}
	if spec.create == nil {
		spec.create = func(ctx context.Context) error {
			_, err := b.js.CreateStream(ctx, spec.fresh)
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*requestTimeout)
	defer cancel()
	for range 2 {
		stream, err := b.js.Stream(ctx, name)
		if err == nil {
			return b.reconcile(ctx, stream, spec)
		}
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, err
		}
		err = spec.create(ctx)
		var api *jetstream.APIError
		if errors.As(err, &api) && api.ErrorCode == codeSubjectsOverlap {
			return nil, errOldStreams
		}
		if isFull(err) {
			return nil, fmt.Errorf("%w: %w", ErrNoStorage, err)
		}
		if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) && !errors.Is(err, jetstream.ErrBucketExists) {
			return nil, err
		}
	}
	stream, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, err
	}
	return b.reconcile(ctx, stream, spec)
}

// reconcile refuses a stream that works in another way, and changes what was asked for explicitly.
func (b *Bus) reconcile(ctx context.Context, stream jetstream.Stream, spec streamSpec) (jetstream.Stream, error) {
	cfg := stream.CachedInfo().Config
	if b.cfg.KeepStored {
		spec.maxBytes, spec.maxAge = 0, 0
	}
	if cfg.Retention != spec.fresh.Retention || cfg.Discard != spec.fresh.Discard {
		return nil, fmt.Errorf("%w: it has %v retention and %v, stegomq needs %v and %v: remove the stream, or use another account",
			ErrStreamConflict, cfg.Retention, cfg.Discard, spec.fresh.Retention, spec.fresh.Discard)
	}
	changed := false
	for _, subject := range spec.fresh.Subjects {
		if !slices.Contains(cfg.Subjects, subject) {
			cfg.Subjects, changed = append(cfg.Subjects, subject), true
		}
	}
	if spec.maxBytes != 0 && cfg.MaxBytes != spec.maxBytes {
		cfg.MaxBytes, changed = spec.maxBytes, true
	}
	if spec.maxAge != 0 && cfg.MaxAge != spec.maxAge {
		cfg.MaxAge, cfg.Duplicates, changed = spec.maxAge, min(spec.maxAge, duplicateWindow), true
	}
	if !changed {
		return stream, nil
	}
	b.log.Info("changing a stream", "stream", cfg.Name, "max_bytes", cfg.MaxBytes, "max_age", cfg.MaxAge)
	stream, err := b.js.UpdateStream(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("%w: change it: %w", ErrStreamConflict, err)
	}
	return stream, nil
}
