package pipeline

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"stegomq/internal/bus"
	"stegomq/internal/cache"
	"stegomq/internal/pixel"
	"stegomq/internal/source"
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
}

// DefaultPatience is that of Options that do not say.
const DefaultPatience = 10 * time.Minute

// Blobs is what every blob store can do.
type Blobs interface {
	Put(ctx context.Context, data []byte) (digest string, err error)
	Get(ctx context.Context, digest string) ([]byte, error)
	Has(ctx context.Context, digests ...string) ([]bool, error)
}

// Services are the connections of a process, each opened when it is first needed.
type Services struct {
	opts Options
	log  *slog.Logger

	// Cache is nil until OpenCache; the others are until OpenBus. Server is nil where the message queue is not embedded.
	Cache  *cache.Cache
	Server *bus.Server
	Bus    *bus.Bus
	Blobs  Blobs
	Source *source.Source

	pace    time.Duration // between two looks at a run that does not move, and at a server that may be away
	closers []func() error

	operator bool // may change what the servers have stored
}

// New makes services that are not connected.
func New(opts Options) *Services {
	opts.Patience = cmp.Or(opts.Patience, DefaultPatience)
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	return &Services{opts: opts, log: opts.Logger, pace: 3 * time.Second}
}

// Embedded says whether the message queue runs in this process.
func (s *Services) Embedded() bool { return s.opts.Embedded() }

// Open makes services that are connected to Redis.
func Open(ctx context.Context, opts Options) (*Services, error) {
	s := New(opts)
	return s, s.OpenCache(ctx)
}

// OpenCache connects to Redis. Once is enough.
func (s *Services) OpenCache(ctx context.Context) (err error) {
	if s.Cache != nil {
		return nil
	}
	opts, err := s.opts.CacheOptions(s.log)
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
	return nil
}

// OpenBus connects to the message queue and the blob store. Once is enough.
func (s *Services) OpenBus(ctx context.Context) error {
	if s.Bus != nil {
		return nil
	}
	o := &s.opts
	cfg, err := s.busConfig()
	if err != nil {
		return err
	}
	cfg.KeepStored = !s.operator
	if server := cfg.Server; server != nil {
		s.Server = server
		s.closers = append(s.closers, func() error { server.Shutdown(); return nil })
	}
	b, err := bus.Open(ctx, cfg)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, b.Close)
	var blobs Blobs = b.Blobs()
	if o.Blobs != "" {
		if blobs, err = bus.OpenDirectory(o.Blobs, cmp.Or(o.BlobLifetime, defaultBlobLifetime)); err != nil {
			return err
		}
	}
	if s.Source, err = source.New(blobs, source.Config{Limits: o.Limits, Roots: o.Allow}); err != nil {
		return err
	}
	s.Bus, s.Blobs = b, blobs
	return nil
}

// busConfig is how the message queue is used. It starts an embedded one, which the caller shuts down.
func (s *Services) busConfig() (bus.Config, error) {
	cfg := s.opts.BusConfig(s.log)
	if !s.opts.Embedded() {
		return cfg, nil
	}
	server, err := s.opts.ServerConfig(s.log)
	if err == nil {
		cfg.Server, err = bus.StartServer(server)
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
