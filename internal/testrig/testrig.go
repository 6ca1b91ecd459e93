// Package testrig owns the real parts that the tests of the roles use: an embedded server for each, and the tiny model on
// one engine. Only tests import it.
package testrig

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"stegomq/internal/blob"
	"stegomq/internal/bus"
	"stegomq/internal/cache"
	"stegomq/internal/engine"
	"stegomq/internal/keyring"
	"stegomq/internal/link"
	"stegomq/internal/model"
	"stegomq/internal/natsserver"
	"stegomq/internal/ort"
	"stegomq/internal/queueadmin"
	"stegomq/internal/streams"
	"stegomq/internal/testrig/leaks"
	"stegomq/internal/testrig/natsrig"
)

// Patience bounds every wait of a test.
const Patience = natsrig.Patience

// Model is a model with its demo keys and an engine that runs it.
type Model struct {
	*model.Model
	Keys   *keyring.Keyring
	engine *ort.Engine
}

// Network runs the model with its demo keys.
func (m *Model) Network() *engine.Engine { return m.NetworkWith(m.Keys) }

// NetworkWith runs the model with other keys.
func (m *Model) NetworkWith(keys engine.Keys) *engine.Engine {
	e := engine.New(m.engine, keys)
	if err := e.Add(m.Model); err != nil {
		panic(err) // cannot fail: the runtime was loaded when the tests began
	}
	return e
}

// Main is the TestMain of a package: it loads the model in a directory into m for all tests, and checks for leaked
// goroutines.
func Main(tests *testing.M, m *Model, dir string) {
	if err := m.load(filepath.FromSlash(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	leaks.Main(suite{tests, m.engine})
}

func (m *Model) load(dir string) (err error) {
	if m.Model, err = model.Load(dir); err != nil {
		return err
	}
	if m.Keys, err = keyring.Open(m.Keyring(), keyring.Protection{}); err != nil {
		return err
	}
	if m.engine, err = ort.New(ort.Config{Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return err
	}
	return m.engine.Add(m.Model)
}

// suite closes the engine before goroutines are counted.
type suite struct {
	*testing.M
	engine *ort.Engine
}

func (s suite) Run() int {
	code := s.M.Run()
	if err := s.engine.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Context ends with the test, or when its patience does.
func Context(t testing.TB) context.Context { return natsrig.Context(t) }

// Queue is a message queue on a server of its own.
type Queue struct {
	*bus.Bus
	Admin *queueadmin.Admin
	Blobs blob.Store
}

// Bus opens a message queue that tries again at once, maxDeliver times in all (0: the bus's default).
func Bus(t testing.TB, maxDeliver int) *Queue {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	server := natsrig.Start(t, natsserver.Config{Logger: log})
	all := natsrig.Streams(t, link.Config{Server: server, Logger: log}, streams.Config{})
	b := bus.New(all, bus.Config{
		RetryDelays: []time.Duration{10 * time.Millisecond}, MaxDeliver: maxDeliver, Grace: Patience, UnservedAfter: 300 * time.Millisecond,
	})
	return &Queue{Bus: b, Admin: queueadmin.New(all), Blobs: blob.OnStreams(all.Link, all.BlobLifetime())}
}

// Cache opens a cache on a server of its own.
func Cache(t testing.TB) *cache.Cache {
	t.Helper()
	c, err := cache.OpenEmbedded(Context(t), t.TempDir(), cache.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// WriteFile makes a file with the folders that it needs, and returns its name.
func WriteFile(t testing.TB, data []byte, elem ...string) string {
	t.Helper()
	name := filepath.Join(elem...)
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
