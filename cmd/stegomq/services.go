package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"stegomq/evaluator"
	"stegomq/gpuworker"
	"stegomq/internal/bus"
	"stegomq/internal/cache"
	"stegomq/internal/source"
	"stegomq/internal/telemetry"
)

// blobStore is what every blob store of package bus can do.
type blobStore interface {
	Put(ctx context.Context, data []byte) (digest string, err error)
	Get(ctx context.Context, digest string) ([]byte, error)
	Has(ctx context.Context, digests ...string) ([]bool, error)
}

// services are the connections of a process: to Redis from the start, to the message queue once it is
// needed. Close ends them in the reverse order.
type services struct {
	app   *app
	cache *cache.Cache

	server *bus.Server // nil with --nats
	bus    *bus.Bus    // nil until openBus
	blobs  blobStore
	source *source.Source

	closers []func() error
}

// open connects to Redis. redisListen is a loopback address for other processes, when the server is embedded.
func (a *app) open(ctx context.Context, redisListen string) (*services, error) {
	s := &services{app: a}
	a.at.RedisListen = redisListen
	opts, err := a.at.CacheOptions(a.log)
	if err != nil {
		return nil, err
	}
	if a.at.Redis != "" {
		s.cache, err = cache.Open(ctx, a.at.Redis, opts)
	} else {
		s.cache, err = cache.OpenEmbedded(ctx, filepath.Join(a.at.State, "redis"), opts)
	}
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.cache.Close)
	return s, nil
}

// openBus connects to the message queue and the blob store.
func (s *services) openBus(ctx context.Context, natsListen string) error {
	if s.bus != nil {
		return nil
	}
	a := s.app
	a.at.NATSListen = natsListen
	cfg := a.at.BusConfig(a.log)
	if a.at.NATS == "" {
		serverConfig, err := a.at.ServerConfig(a.log)
		if err != nil {
			return err
		}
		server, err := bus.StartServer(serverConfig)
		if err != nil {
			return err
		}
		s.server, cfg.Server = server, server
		s.closers = append(s.closers, func() error { server.Shutdown(); return nil })
	}
	b, err := bus.Open(ctx, cfg)
	if err != nil {
		return err
	}
	s.bus = b
	s.closers = append(s.closers, b.Close)
	if s.blobs, err = s.openBlobs(); err != nil {
		return err
	}
	s.source, err = source.New(s.blobs, source.Config{Limits: a.limits(), Roots: a.allow})
	return err
}

func (s *services) openBlobs() (blobStore, error) {
	if s.app.at.Blobs == "" {
		return s.bus.Blobs(), nil
	}
	return bus.OpenDirectory(s.app.at.Blobs, cmp.Or(s.app.at.BlobLifetime, defaultBlobLifetime))
}

// defaultBlobLifetime is that of a folder; the object store has its own.
const defaultBlobLifetime = 7 * 24 * time.Hour

// Close ends what was opened, last first: the roles' connection before the server that it needs, Redis
// at the very end because everything else may still write to it.
func (s *services) Close() error {
	var failed []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		failed = append(failed, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(failed...)
}

// roles are the roles that run in this process.
type roles struct {
	group  *errgroup.Group
	ctx    context.Context
	cancel context.CancelFunc
}

// startRoles makes a group that ends when ctx does, or when stop is called, or when one of the roles fails.
func startRoles(ctx context.Context) *roles {
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	return &roles{group: group, ctx: ctx, cancel: cancel}
}

func (r *roles) start(role func(context.Context) error) {
	r.group.Go(func() error { return role(r.ctx) })
}

// stop asks the roles to end and waits for them. That they were asked to is no error.
func (r *roles) stop() error {
	r.cancel()
	return r.wait()
}

func (r *roles) wait() error {
	if err := r.group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// startWorker starts the worker of this process. The run and the model are those of a command that has the server for itself; else
// they are empty.
func (s *services) startWorker(r *roles, eng *localEngine, metrics *telemetry.Metrics, run, model string) error {
	name := workerName()
	jobs, err := s.bus.JobSource(bus.JobOptions{Worker: name, Serves: eng.Serves, Run: run, Model: model, Gate: s.cache.Ping})
	if err != nil {
		return err
	}
	cfg := gpuworker.Config{
		Name: name, Slots: s.app.slots, BatchPixels: s.app.batchPixels, MaxPixels: s.app.maxNetwork,
		Logger: s.app.log, Observer: metrics,
	}
	r.start(gpuworker.New(cfg, gpuworker.Parts{
		Jobs: jobs, Publisher: s.bus, Blobs: s.blobs, Images: s.source, Memo: s.cache, Engine: eng,
	}).Run)
	return nil
}

// startEvaluator starts the evaluator of this process.
func (s *services) startEvaluator(r *roles, metrics *telemetry.Metrics) {
	cfg := evaluator.Config{Slots: s.app.slots, Logger: s.app.log, Observer: metrics}
	r.start(evaluator.New(cfg, evaluator.Parts{
		Results: s.bus.ResultSource(s.cache.Ping), DeadLetters: s.bus.DeadSource(s.cache.Ping), Images: s.source, Runs: s.cache, Scores: s.cache, Memo: s.cache,
	}).Run)
}

// workerName is the host's name and a random end: several workers run on one host.
func workerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	host = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, host)
	return fmt.Sprintf("%.60s-%s", host, randomToken())
}

func randomToken() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
