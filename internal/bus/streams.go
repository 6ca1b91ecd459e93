package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"stegomq/schemas"
)

const (
	streamBlobs   = "BLOBS"
	bucketWorkers = "WORKERS"
	streamWorkers = "KV_" + bucketWorkers // what the client calls the bucket's stream

	consumerEvaluator     = "evaluator"
	consumerEvaluatorDead = "evaluator-dead"
	consumerReaper        = "reaper"

	// priorityGroup is the only group of the partition consumers; the overflow policy needs one.
	priorityGroup = "workers"

	// duplicateWindow is how long the server remembers message ids.
	duplicateWindow = 2 * time.Minute
)

// exhaustedSubject carries the server's word on a message of stream that ran out of deliveries.
func exhaustedSubject(stream string) string {
	return "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES." + stream + ".>"
}

// streamSpec is a stream as it is created, and what was asked for explicitly (zero: keep what is there).
type streamSpec struct {
	fresh    jetstream.StreamConfig
	maxBytes int64
	maxAge   time.Duration
	// create makes the stream when it is missing; nil for a plain stream.
	create func(context.Context) error
}

func (b *Bus) specs() map[string]streamSpec {
	c := b.cfg
	workerLifetime := or(c.WorkerLifetime, defaultWorkerLifetime)
	return map[string]streamSpec{
		schemas.StreamJobs: {
			fresh: jetstream.StreamConfig{
				Description: "work queue of image jobs: a job leaves when its result is stored",
				Subjects:    []string{schemas.JobsFilter()},
				Retention:   jetstream.WorkQueuePolicy,
				Discard:     jetstream.DiscardNew,
				MaxBytes:    or(c.MaxJobBytes, defaultMaxJobBytes),
			},
			maxBytes: c.MaxJobBytes,
		},
		schemas.StreamResults: {
			fresh: jetstream.StreamConfig{
				Description: "results, for evaluators and streaming clients",
				Subjects:    []string{schemas.ResultsFilter()},
				MaxBytes:    or(c.MaxResultBytes, defaultMaxResultBytes),
				MaxAge:      or(c.ResultLifetime, defaultResultLifetime),
			},
			maxBytes: c.MaxResultBytes, maxAge: c.ResultLifetime,
		},
		schemas.StreamDead: {
			fresh: jetstream.StreamConfig{
				Description: "messages that could not be processed, with the reason",
				Subjects:    []string{schemas.DeadFilter()},
				MaxBytes:    or(c.MaxDeadBytes, defaultMaxDeadBytes),
				MaxAge:      or(c.DeadLifetime, defaultDeadLifetime),
			},
			maxBytes: c.MaxDeadBytes, maxAge: c.DeadLifetime,
		},
		schemas.StreamAdvisories: {
			fresh: jetstream.StreamConfig{
				Description: "the server's word on messages that ran out of deliveries",
				Subjects:    []string{exhaustedSubject(schemas.StreamJobs), exhaustedSubject(schemas.StreamResults)},
				Retention:   jetstream.WorkQueuePolicy,
				MaxBytes:    64 << 20,
				MaxAge:      defaultDeadLifetime,
			},
		},
		streamWorkers: {
			fresh: jetstream.StreamConfig{
				Subjects: []string{"$KV." + bucketWorkers + ".>"},
				Discard:  jetstream.DiscardNew,
			},
			maxAge: c.WorkerLifetime,
			create: func(ctx context.Context) error {
				_, err := b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
					Bucket: bucketWorkers, Description: "heartbeats of workers",
					TTL: workerLifetime, MaxBytes: 16 << 20, Replicas: c.Replicas,
				})
				return err
			},
		},
		streamBlobs: {
			fresh: jetstream.StreamConfig{
				Description:       "images by SHA-256",
				Subjects:          []string{blobSubject(">")},
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

// ensure creates what is missing and takes the handles. It is idempotent and may run in several
// processes at once. The handles are set by the first call only, before the Bus is shared.
func (b *Bus) ensure(ctx context.Context) error {
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
		return err
	}
	close(found)
	for s := range found {
		streams[s.CachedInfo().Config.Name] = s
	}
	b.jobBytes.Store(streams[schemas.StreamJobs].CachedInfo().Config.MaxBytes)
	if b.jobs != nil {
		return nil
	}
	b.jobs, b.results = streams[schemas.StreamJobs], streams[schemas.StreamResults]
	b.dead, b.advisories = streams[schemas.StreamDead], streams[schemas.StreamAdvisories]
	b.workerLifetime = streams[streamWorkers].CachedInfo().Config.MaxAge
	if b.workers, err = b.js.KeyValue(ctx, bucketWorkers); err != nil {
		return fmt.Errorf("open bucket %s on %s: %w", bucketWorkers, b.where(), err)
	}
	blobs := streams[streamBlobs]
	b.blobs = &blobStream{bus: b, stream: blobs, lifetime: blobs.CachedInfo().Config.MaxAge}
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
	spec.fresh.Replicas = b.cfg.Replicas
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
