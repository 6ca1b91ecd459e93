package pipeline

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sync/errgroup"

	"stegomq/evaluator"
	"stegomq/gpuworker"
	"stegomq/internal/blob"
	"stegomq/internal/bus"
	"stegomq/internal/telemetry"
)

// Roles are what runs in this process beside its caller.
type Roles struct {
	group  *errgroup.Group
	ctx    context.Context
	cancel context.CancelFunc
}

// StartRoles makes a group that ends when ctx does, or when Stop is called, or when one of the roles fails.
func StartRoles(ctx context.Context) *Roles {
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	return &Roles{group: group, ctx: ctx, cancel: cancel}
}

// Go starts a role.
func (r *Roles) Go(role func(context.Context) error) {
	r.group.Go(func() error { return role(r.ctx) })
}

// Stop asks the roles to end and waits for them. That they were asked to is no error.
func (r *Roles) Stop() error {
	r.cancel()
	return r.Wait()
}

// end is Stop for who defers it. What a role died of takes the place of the caller's error, which follows from it.
func (r *Roles) end(err *error) {
	if failed := r.Stop(); failed != nil {
		*err = failed
	}
}

// Wait waits until the roles have ended.
func (r *Roles) Wait() error {
	if err := r.group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// lane is the work that a worker in this process takes. Where the message queue is this process's alone it is that of one run and one model;
// the zero value is all work.
type lane struct{ run, model string }

// startWorker starts the worker of this process, which takes the work of its lane that its engine has the model for.
func (s *Services) startWorker(r *Roles, eng *Engine, metrics *telemetry.Metrics, l lane) error {
	if runtime := eng.runtimeName(); runtime != "" {
		if err := s.Cache.NoteRuntime(r.ctx, runtime); err != nil {
			return err
		}
	}
	return s.work(r, eng, eng.Serves, s.Cache, metrics, l)
}

// work starts a worker with an engine of the models that it serves.
func (s *Services) work(r *Roles, eng gpuworker.Engine, serves func(model string) bool, memo gpuworker.Memo, metrics *telemetry.Metrics, l lane) error {
	name := workerName()
	jobs, err := s.Bus.JobSource(bus.JobOptions{Worker: name, Serves: serves, Run: l.run, Model: l.model, Gate: s.Cache.Ping, Observer: metrics})
	if err != nil {
		return err
	}
	cfg := gpuworker.Config{
		Name: name, Slots: s.opts.Slots, BatchPixels: s.opts.BatchPixels, MaxPixels: s.opts.MaxPixels, Logger: s.log, Observer: metrics,
	}
	r.Go(gpuworker.New(cfg, gpuworker.Parts{
		Jobs: jobs, Publisher: s.Bus, Blobs: s.Blobs, Images: s.Source, Memo: memo, Engine: eng,
	}).Run)
	return nil
}

// startEvaluator starts the evaluator of this process.
func (s *Services) startEvaluator(r *Roles, metrics *telemetry.Metrics) {
	cfg := evaluator.Config{Slots: s.opts.Slots, Logger: s.log, Observer: metrics}
	r.Go(evaluator.New(cfg, s.evaluatorParts(metrics)).Run)
}

func (s *Services) evaluatorParts(metrics *telemetry.Metrics) evaluator.Parts {
	return evaluator.Parts{
		Results: s.Bus.ResultSource(s.Cache.Ping).Observed(metrics), DeadLetters: s.Bus.DeadSource(s.Cache.Ping), Images: s.Source, Runs: s.Cache, Scores: s.Cache, Memo: s.Cache,
	}
}

// startSweeper starts what deletes old images, where they are in a folder.
func (s *Services) startSweeper(r *Roles) {
	if folder, ok := s.Blobs.(*blob.Directory); ok {
		r.Go(folder.Run)
	}
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
