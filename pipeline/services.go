package pipeline

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"stegomq/internal/blob"
	"stegomq/internal/bus"
	"stegomq/internal/cache"
	"stegomq/internal/link"
	"stegomq/internal/natsserver"
	"stegomq/internal/pixel"
	"stegomq/internal/queueadmin"
	"stegomq/internal/source"
	"stegomq/internal/streams"
	"stegomq/internal/tracing"
)

// Options say how a process takes part in a pipeline.
type Options struct {
	Endpoints
	Runtime
	// Limits of an image file, and Allow the folders that jobs may name images in by file://.
	Limits pixel.Limits
	Allow  []string
	// Patience is how long a run or a request waits for a server that went away. Default 10 min; negative: not at all.
	Patience time.Duration
	Logger   *slog.Logger
	// Traces begins the traces of runs and requests, and of the work on them. Nil: there are none.
	Traces *tracing.Tracer
}

// DefaultPatience is that of Options that do not say.
const DefaultPatience = 10 * time.Minute

// Services are the connections of a process, each opened when it is first needed.
type Services struct {
	opts Options
	log  *slog.Logger

	// Cache is nil until OpenCache; the others are until OpenBus. Server is nil where the message queue is not embedded.
	Cache   *cache.Cache
	Server  *natsserver.Server
	Streams *streams.Streams
	Bus     *bus.Bus
	Queue   *queueadmin.Admin
	Blobs   blob.Store
	Source  *source.Source

	stored  *blob.Streams // the blob store on the message queue, whichever is used
	pace    time.Duration // between two looks at a run that does not move, and at a server that may be away
	closers []func() error

	inspected *sync.Map // images that forecasts found good, by limits and digest

	operator bool // may change what the servers have stored
	working  bool // its worker and evaluator serve every run
}

// New makes services that are not connected.
func New(opts Options) *Services {
	opts.Patience = cmp.Or(opts.Patience, DefaultPatience)
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return &Services{opts: opts, log: opts.Logger, pace: 3 * time.Second, inspected: &sync.Map{}}
}

// Embedded says whether the message queue runs in this process.
func (s *Services) Embedded() bool { return s.opts.Embedded() }

// Open makes services that are connected to Redis.
func Open(ctx context.Context, opts Options) (*Services, error) {
	s := New(opts)
	if err := s.OpenCache(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// OpenCache connects to Redis. Once is enough.
func (s *Services) OpenCache(ctx context.Context) (err error) {
	if s.Cache != nil {
		return nil
	}
	opts, err := s.opts.cacheOptions(s.log)
	if err != nil {
		return err
	}
	var c *cache.Cache
	if s.opts.Redis != "" {
		c, err = cache.Open(ctx, s.opts.Redis, opts)
	} else {
		c, err = cache.OpenEmbedded(ctx, filepath.Join(s.opts.State, "redis"), opts)
	}
	if err != nil {
		return err
	}
	s.Cache = c
	s.closers = append(s.closers, c.Close)
	if s.opts.Traces == nil {
		return nil
	}
	// A tenant has no Redis, hence not the key by which a message's word on its trace is taken.
	key, err := c.TraceKey(ctx)
	if err == nil {
		s.opts.Traces.Sign(key)
	}
	return err
}

// OpenBus connects to the message queue and the blob store. Once is enough.
func (s *Services) OpenBus(ctx context.Context) error {
	if s.Bus != nil {
		return nil
	}
	o := &s.opts
	cfg, err := s.linkConfig()
	if err != nil {
		return err
	}
	if server := cfg.Server; server != nil {
		s.Server = server
		s.closers = append(s.closers, func() error { server.Shutdown(); return nil })
	}
	l, err := link.Dial(ctx, cfg)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, l.Close)
	kept := o.streamsConfig()
	kept.KeepStored = !s.operator
	all, err := streams.Open(ctx, l, kept)
	if err != nil {
		return err
	}
	s.stored = blob.OnStreams(l, all.BlobLifetime())
	var blobs blob.Store = s.stored
	if o.Blobs != "" {
		if blobs, err = blob.OpenDirectory(o.Blobs, cmp.Or(o.BlobLifetime, defaultBlobLifetime)); err != nil {
			return err
		}
	}
	if s.Source, err = source.New(blobs, source.Config{Limits: o.Limits, Roots: o.Allow}); err != nil {
		return err
	}
	s.Streams, s.Bus, s.Queue, s.Blobs = all, bus.New(all, bus.Config{UnservedAfter: o.UnservedAfter, Tracer: o.Traces}), queueadmin.New(all), blobs
	return nil
}

// linkConfig is how the message queue is reached. It starts an embedded one, which the caller shuts down.
func (s *Services) linkConfig() (link.Config, error) {
	cfg := s.opts.linkConfig(s.log)
	if !s.opts.Embedded() {
		return cfg, nil
	}
	server, err := s.opts.serverConfig(s.log)
	if err == nil {
		cfg.Server, err = natsserver.Start(server)
	}
	return cfg, err
}

// defaultBlobLifetime is that of a folder; the object store has its own.
const defaultBlobLifetime = 7 * 24 * time.Hour

// Close ends what was opened, last first. Calling it again does nothing.
func (s *Services) Close() error {
	var failed []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		failed = append(failed, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(failed...)
}
