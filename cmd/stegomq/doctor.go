package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"stegomq/internal/bus"
	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/pipeline"
	"stegomq/pipeline/reports"
)

// doctorCommand looks at everything that a pipeline needs and says what is wrong with each, rather than
// stopping at the first.
func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check the library, the models, the keys, the servers and the disk", Args: cobra.NoArgs,
		Long: `Checks the library, the models, the keys, the servers and the disk, creates nothing, and ends with a verdict. Exit code 1 says
that something is wrong; a warning alone does not.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := doctor{app: a, cmd: cmd}
			d.runtime()
			d.models()
			d.keys()
			d.redis(cmd.Context())
			d.nats(cmd.Context())
			d.disk()
			return d.verdict()
		},
	}
	a.workerFlags(cmd.Flags())
	return cmd
}

type doctor struct {
	app                *app
	cmd                *cobra.Command
	problems, warnings int
}

func (d *doctor) say(what, format string, args ...any) {
	_, _ = fmt.Fprintf(d.cmd.OutOrStdout(), "%-10s "+format+"\n", append([]any{what}, args...)...)
}

// wrong is what keeps work from being done, or loses it; warn is what may be meant.
func (d *doctor) wrong(what string, err error) {
	d.problems++
	d.say(what, "PROBLEM: %v", err)
}

func (d *doctor) warn(what, format string, args ...any) {
	d.warnings++
	d.say(what, "WARNING: "+format, args...)
}

func (d *doctor) verdict() error {
	switch {
	case d.problems > 0:
		d.say("verdict", "problems: %d, warnings: %d", d.problems, d.warnings)
		return fmt.Errorf("%w: problems: %d; the lines above say what to do", errUnwell, d.problems)
	case d.warnings > 0:
		d.say("verdict", "it works, with warnings: %d", d.warnings)
	default:
		d.say("verdict", "all is well")
	}
	return nil
}

func (d *doctor) runtime() {
	a := d.app
	e, err := ort.New(ort.Config{Library: a.ortLib, Provider: ort.Provider(a.provider), Logger: a.log})
	if err != nil {
		d.wrong("runtime", err)
		return
	}
	defer func() { _ = e.Close() }()
	info := e.Info()
	d.say("runtime", "ONNX Runtime %s (C API %d in use) at %s", info.Version, info.APIVersion, info.Library)
	for _, p := range info.Providers {
		if p.Problem != nil {
			d.say("provider", "%s: not available: %v", p.Name, p.Problem)
			continue
		}
		d.say("provider", "%s: available", p.Name)
	}
	d.say("provider", "in use: %s", info.Provider)
}

func (d *doctor) models() {
	entries, err := model.List(d.app.models...)
	if err != nil {
		d.wrong("models", err)
		return
	}
	if len(entries) == 0 {
		d.wrong("models", fmt.Errorf("%w: none in %v", model.ErrNotFound, d.app.models))
	}
	for _, e := range entries {
		m, err := model.Load(e.Dir)
		if err != nil {
			d.wrong("models", err)
			continue
		}
		trained := "trained"
		switch {
		case !m.Manifest.Network():
			trained = "nothing to train"
		case !m.Trained():
			trained = "NOT trained"
		}
		d.say("models", "%s %s, keying %s, %s, files verified", m.Name, m.Digest, m.Manifest.Keying, trained)
	}
}

func (d *doctor) keys() {
	ring, err := d.app.openKeys()
	if err != nil {
		d.wrong("keys", err)
		return
	}
	d.say("keys", "%d key pairs in %v", ring.Len(), d.app.keyringFiles())
}

// fresh says of an embedded server that it has no data yet: to start it would make some.
func (d *doctor) fresh(what string) bool {
	if !d.app.at.Embedded() || reports.Exists(filepath.Join(d.app.at.State, what)) {
		return false
	}
	d.say(what, "embedded, with no data in %s yet", d.app.at.State)
	return true
}

func (d *doctor) redis(ctx context.Context) {
	if d.fresh("redis") {
		return
	}
	err := d.app.withCache(ctx, func(s *pipeline.Services) error {
		st, err := s.Cache.Status(ctx)
		if err != nil {
			return err
		}
		where := st.Address
		if st.Embedded {
			where = "embedded"
		}
		d.say("redis", "%s %s, %s, %d keys, %d bytes", st.Server, st.Version, where, st.Keys, st.Memory)
		return pipeline.Eviction(st)
	})
	if err != nil {
		d.wrong("redis", err)
	}
}

func (d *doctor) nats(ctx context.Context) {
	if d.fresh("nats") {
		return
	}
	err := d.app.withBus(ctx, func(ctx context.Context, b *bus.Bus) error {
		st, err := b.Status(ctx)
		if err != nil {
			return err
		}
		d.say("nats", "%s, version %s, messages up to %d bytes", st.URL, st.Version, st.MaxPayload)
		d.say("nats", "jobs: %d waiting, %d in flight; results: %d waiting; dead letters: %d; workers: %d",
			st.JobsWaiting, st.JobsInFlight, st.ResultsWaiting, st.DeadLetters, len(st.Workers))
		if len(st.Workers) == 0 && !d.app.at.Embedded() {
			d.warn("nats", "no gpuworker is there, so that jobs wait: start one with stegomq gpuworker")
		}
		for _, stream := range st.Streams {
			d.say("stream", "%s: %d messages, %d bytes of %d", stream.Name, stream.Messages, stream.Bytes, stream.MaxBytes)
		}
		return nil
	})
	if err != nil {
		d.wrong("nats", err)
	}
}

func (d *doctor) disk() {
	for dir := d.app.at.State; ; dir = filepath.Dir(dir) {
		var fs syscall.Statfs_t
		err := syscall.Statfs(dir, &fs)
		if errors.Is(err, syscall.ENOENT) && dir != filepath.Dir(dir) {
			continue
		}
		if err != nil {
			d.wrong("disk", fmt.Errorf("look at %s: %w", d.app.at.State, err))
			return
		}
		d.say("disk", "%.1f GiB free for %s", float64(fs.Bavail)*float64(fs.Bsize)/(1<<30), d.app.at.State)
		return
	}
}
