package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"stegomq/internal/model"
	"stegomq/internal/ort"
)

// doctorCommand looks at everything that a pipeline needs and says what is wrong with each, rather than
// stopping at the first.
func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check the library, the models, the keys, the servers and the disk", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := doctor{app: a, cmd: cmd}
			d.runtime()
			d.models()
			d.keys()
			d.servers(cmd.Context())
			d.disk()
			return d.verdict
		},
	}
	f := cmd.Flags()
	a.workerFlags(f)
	return cmd
}

type doctor struct {
	app     *app
	cmd     *cobra.Command
	verdict error
}

func (d *doctor) say(what, format string, args ...any) {
	_, _ = fmt.Fprintf(d.cmd.OutOrStdout(), "%-10s "+format+"\n", append([]any{what}, args...)...)
}

// wrong keeps the first of the worst: a server that is not there before a wrong configuration.
func (d *doctor) wrong(what string, err error) {
	d.say(what, "PROBLEM: %v", err)
	if d.verdict == nil || exitCode(err) > exitCode(d.verdict) {
		d.verdict = fmt.Errorf("doctor: %s: %w", what, err)
	}
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
	ring, err := d.app.openKeys(nil)
	if err != nil {
		d.wrong("keys", err)
		return
	}
	d.say("keys", "%d key pairs in %v", ring.Len(), d.app.keyringFiles())
}

func (d *doctor) servers(ctx context.Context) {
	s, err := d.app.open(ctx, "")
	if err != nil {
		d.wrong("redis", err)
		s = &services{app: d.app}
	} else if st, err := s.cache.Status(ctx); err != nil {
		d.wrong("redis", err)
	} else {
		where := st.Address
		if st.Embedded {
			where = "embedded"
		}
		d.say("redis", "%s %s, %s, %d keys, %d bytes", st.Server, st.Version, where, st.Keys, st.Memory)
	}
	defer func() {
		if err := s.Close(); err != nil {
			d.wrong("servers", err)
		}
	}()
	if err := s.openBus(ctx, ""); err != nil {
		d.wrong("nats", err)
		return
	}
	st, err := s.bus.Status(ctx)
	if err != nil {
		d.wrong("nats", err)
		return
	}
	d.say("nats", "%s, version %s, messages up to %d bytes", st.URL, st.Version, st.MaxPayload)
	d.say("nats", "jobs: %d waiting, %d in flight; results: %d waiting; dead letters: %d; workers: %d",
		st.JobsWaiting, st.JobsInFlight, st.ResultsWaiting, st.DeadLetters, len(st.Workers))
	for _, stream := range st.Streams {
		d.say("stream", "%s: %d messages, %d bytes of %d", stream.Name, stream.Messages, stream.Bytes, stream.MaxBytes)
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
