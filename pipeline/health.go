package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"stegomq/internal/cache"
	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/internal/queueadmin"
	"stegomq/internal/streams"
)

// Level says how much a finding matters.
type Level int

const (
	// Fine is as it should be.
	Fine Level = iota
	// Warning may be meant.
	Warning
	// Problem keeps work from being done, or loses it.
	Problem
)

// Finding is what was found out about a part of the pipeline.
type Finding struct {
	Part  string `json:"part"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
}

// MarshalText is for JSON: fine, warning or problem.
func (l Level) MarshalText() ([]byte, error) {
	return []byte(map[Level]string{Fine: "fine", Warning: "warning", Problem: "problem"}[l]), nil
}

// String is the text, after a word that says whether it is a warning or a problem.
func (f Finding) String() string {
	return map[Level]string{Warning: "WARNING: ", Problem: "PROBLEM: "}[f.Level] + f.Text
}

// Verdict is what findings amount to in a line, and how many of them are problems.
func Verdict(findings []Finding) (text string, problems int) {
	counts := make(map[Level]int)
	for _, f := range findings {
		counts[f.Level]++
	}
	switch problems, warnings := counts[Problem], counts[Warning]; {
	case problems > 0:
		return fmt.Sprintf("problems: %d, warnings: %d", problems, warnings), problems
	case warnings > 0:
		return fmt.Sprintf("it works, with warnings: %d", warnings), 0
	}
	return "all is well", 0
}

// examination collects findings.
type examination []Finding

func (x *examination) say(part, format string, args ...any) {
	*x = append(*x, Finding{part, Fine, fmt.Sprintf(format, args...)})
}

func (x *examination) warn(part, format string, args ...any) {
	*x = append(*x, Finding{part, Warning, fmt.Sprintf(format, args...)})
}

func (x *examination) wrong(part string, err error) {
	*x = append(*x, Finding{part, Problem, err.Error()})
}

// Examine looks at everything that a pipeline needs, one part after another, and creates nothing.
func Examine(ctx context.Context, opts Options, l *Library) []Finding {
	var x examination
	s := New(opts)
	x.runtime(s)
	x.models(l)
	x.keys(l)
	x.redis(ctx, s)
	x.nats(ctx, s)
	x.disk(opts.State)
	return x
}

func (x *examination) runtime(s *Services) {
	e, err := ort.New(ort.Config{Library: s.opts.Library, Provider: s.opts.Provider, Logger: s.log})
	if err != nil {
		x.wrong("runtime", err)
		return
	}
	defer func() { _ = e.Close() }()
	info := e.Info()
	x.say("runtime", "ONNX Runtime %s (C API %d in use) at %s", info.Version, info.APIVersion, info.Library)
	for _, p := range info.Providers {
		if p.Problem != nil {
			x.say("provider", "%s: not available: %v", p.Name, p.Problem)
			continue
		}
		x.say("provider", "%s: available", p.Name)
	}
	x.say("provider", "in use: %s", info.Provider)
}

func (x *examination) models(l *Library) {
	entries, err := model.List(l.Folders...)
	if err == nil && len(entries) == 0 {
		err = fmt.Errorf("%w: none in %v", model.ErrNotFound, l.Folders)
	}
	if err != nil {
		x.wrong("models", err)
	}
	for _, e := range entries {
		m, err := model.Load(e.Dir)
		if err != nil {
			x.wrong("models", err)
			continue
		}
		trained := "trained"
		switch {
		case !m.Manifest.Network():
			trained = "nothing to train"
		case !m.Trained():
			trained = "NOT trained"
		}
		x.say("models", "%s %s, keying %s, %s, files verified", m.Name, m.Digest, m.Manifest.Keying, trained)
	}
}

func (x *examination) keys(l *Library) {
	ring, err := l.Keys()
	if err != nil {
		x.wrong("keys", err)
		return
	}
	if len(l.Keyrings) == 0 {
		x.say("keys", "no keyring yet: stegomq keys new NAME makes one")
		return
	}
	x.say("keys", "%d key pairs in %s", ring.Len(), strings.Join(l.Keyrings, ", "))
}

// unused says of an embedded server that it has no data yet: to start it would make some.
func (x *examination) unused(s *Services, what string) bool {
	if !s.noData(what) {
		return false
	}
	x.say(what, "embedded, with no data in %s yet", s.opts.State)
	return true
}

func (x *examination) redis(ctx context.Context, s *Services) {
	if x.unused(s, "redis") {
		return
	}
	err := s.OpenCache(ctx)
	if err == nil {
		var st cache.Status
		if st, err = s.Cache.Status(ctx); err == nil {
			where := st.Address
			if st.Embedded {
				where = "embedded"
			}
			x.say("redis", "%s %s, %s, %d keys, %d bytes", st.Server, st.Version, where, st.Keys, st.Memory)
			err = evicts(st)
		}
	}
	if err = errors.Join(err, s.Close()); err != nil {
		x.wrong("redis", err)
	}
}

// evicts says what is wrong with a Redis that may delete scores and runs. Policies that delete only keys with a lifetime cost memos,
// which are made again.
func evicts(st cache.Status) error {
	if !st.EvictsAll() {
		return nil
	}
	return fmt.Errorf("its maxmemory-policy is %s, by which it deletes scores and runs when memory is short: "+
		"set it to noeviction or volatile-lru (redis-cli config set maxmemory-policy volatile-lru)", st.Policy)
}

func (x *examination) nats(ctx context.Context, s *Services) {
	if x.unused(s, "nats") {
		return
	}
	st, err := s.inspect(ctx)
	switch {
	case errors.Is(err, queueadmin.ErrNoStreams):
		x.warn("nats", "%v: the first command or role that uses it makes them", err)
		return
	case err != nil:
		x.wrong("nats", err)
		return
	}
	x.say("nats", "%s, version %s, messages up to %d bytes", st.URL, st.Version, st.MaxPayload)
	x.say("nats", "jobs: %d waiting, %d in flight; results: %d waiting; dead letters: %d; workers: %d",
		st.JobsWaiting, st.JobsInFlight, st.ResultsWaiting, st.DeadLetters, len(st.Workers))
	if len(st.Workers) == 0 && !s.Embedded() {
		x.warn("nats", "no gpuworker is there, so that jobs wait: start one with stegomq gpuworker")
	}
	for _, stream := range st.Streams {
		x.say("stream", "%s: %d messages, %d bytes of %d", stream.Name, stream.Messages, stream.Bytes, stream.MaxBytes)
	}
	if thin := thin(st.ClusterSize, st.Streams); thin != "" {
		x.warn("stream", "%s", thin)
	}
}

// inspect asks for the state of the message queue without opening it, which would make what is missing.
func (s *Services) inspect(ctx context.Context) (*queueadmin.Status, error) {
	cfg, err := s.linkConfig()
	if err != nil {
		return nil, err
	}
	if cfg.Server != nil {
		defer cfg.Server.Shutdown()
	}
	return queueadmin.Inspect(ctx, cfg)
}

// thin names the streams that have fewer replicas than the cluster could give; "" where there are none.
func thin(clusterSize int, list []streams.Status) string {
	const enough = 3
	if clusterSize < enough {
		return ""
	}
	var names []string
	for _, stream := range list {
		if stream.Replicas < enough {
			names = append(names, stream.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("%v have fewer than %d replicas in a cluster of %d servers, and are lost with one of them: nats stream edit --replicas %d NAME",
		names, enough, clusterSize, enough)
}

func (x *examination) disk(state string) {
	for dir := state; ; dir = filepath.Dir(dir) {
		var fs syscall.Statfs_t
		err := syscall.Statfs(dir, &fs)
		if errors.Is(err, syscall.ENOENT) && dir != filepath.Dir(dir) {
			continue
		}
		if err != nil {
			x.wrong("disk", fmt.Errorf("look at %s: %w", state, err))
			return
		}
		x.say("disk", "%.1f GiB free for %s", float64(fs.Bavail)*float64(fs.Bsize)/(1<<30), state)
		return
	}
}

// warn logs what doctor would find about the servers: a role says so at its start.
func (s *Services) warn(ctx context.Context) {
	if st, err := s.Cache.Status(ctx); err == nil {
		if err := evicts(st); err != nil {
			s.log.Warn("Redis is not fit to keep scores", "error", err)
		}
	}
	if list, err := s.Streams.List(ctx); err == nil {
		if thin := thin(s.Streams.Link.ClusterSize(), list); thin != "" {
			s.log.Warn("streams are thin", "detail", thin)
		}
	}
}
