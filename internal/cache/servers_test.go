package cache

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stegomq/internal/testrig/leaks"
)

// The real server that the tests share, each test with a database of its own.
var (
	shared struct {
		sync.Mutex
		*realServer
	}
	databases atomic.Int64
)

const maxDatabases = 4096

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.realServer != nil {
		shared.stop()
	}
	if err := leaks.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// realServer is a redis-server process.
type realServer struct {
	cmd  *exec.Cmd
	out  io.Reader
	dir  string
	path string // of its socket
}

// startRedis starts a redis-server on a Unix socket, with further settings, and waits until it answers.
func startRedis(settings ...string) (*realServer, error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("these tests need a real redis-server: run `make setup`, or apt-get install redis-server (%w)", err)
	}
	dir, err := os.MkdirTemp("", "redis") // a socket's path must be short; t.TempDir's may not be
	if err != nil {
		return nil, err
	}
	s := &realServer{dir: dir, path: filepath.Join(dir, "sock")}
	s.cmd = exec.Command(bin, append([]string{
		"--port", "0", "--unixsocket", s.path, "--dir", dir, "--save", "", "--appendonly", "no",
		"--databases", fmt.Sprint(maxDatabases),
	}, settings...)...)
	s.out, err = s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	var log strings.Builder
	for lines := bufio.NewScanner(s.out); lines.Scan(); {
		fmt.Fprintln(&log, lines.Text())
		if strings.Contains(lines.Text(), "eady to accept connections") {
			return s, nil
		}
	}
	s.stop()
	return nil, fmt.Errorf("redis-server did not start:\n%s", &log)
}

func (s *realServer) stop() {
	_ = s.cmd.Process.Kill()
	_, _ = io.Copy(io.Discard, s.out)
	_ = s.cmd.Wait()
	_ = os.RemoveAll(s.dir)
}

// redisURL names an empty database of the real server.
func redisURL(t *testing.T) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.realServer == nil {
		s, err := startRedis()
		if err != nil {
			t.Fatal(err)
		}
		shared.realServer = s
	}
	db := databases.Add(1)
	if db >= maxDatabases {
		t.Fatal("too many databases")
	}
	return fmt.Sprintf("unix://%s?db=%d", shared.path, db)
}

// startTCPRedis starts a redis-server on a loopback port. Another process may take the port between its
// choice and its use, so there are several tries.
func startTCPRedis(t *testing.T, settings ...string) (addr string) {
	t.Helper()
	var last error
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr = l.Addr().String()
		_ = l.Close()
		_, port, _ := net.SplitHostPort(addr)
		s, err := startRedis(append(settings, "--port", port, "--bind", "127.0.0.1")...)
		if err == nil {
			t.Cleanup(s.stop)
			return addr
		}
		last = err
	}
	t.Fatal(last)
	return ""
}

// testSecret is that of every embedded server of the tests that listens.
var testSecret = strings.Repeat("5ec", 20)

func mustOpen(t *testing.T, url string, opts Options) *Cache {
	t.Helper()
	c, err := Open(t.Context(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, c) })
	return c
}

func mustOpenEmbedded(t *testing.T, dir string, opts Options) *Cache {
	t.Helper()
	opts.Secret = testSecret
	// The ticker stands still, so that tests turn the clock themselves.
	c, err := openEmbedded(t.Context(), dir, opts, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, c) })
	return c
}

func mustClose(t *testing.T, c *Cache) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// store is a server under test. open returns a further client of it.
type store struct {
	*Cache
	open func(Options) *Cache
}

// onEveryServer runs a test on each kind of server.
func onEveryServer(t *testing.T, test func(t *testing.T, s store)) {
	t.Parallel()
	t.Run("redis-server", func(t *testing.T) {
		t.Parallel()
		url := redisURL(t)
		open := func(o Options) *Cache { return mustOpen(t, url, o) }
		test(t, store{open(Options{}), open})
	})
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		c := mustOpenEmbedded(t, t.TempDir(), Options{Listen: "127.0.0.1:0"})
		test(t, store{c, func(o Options) *Cache { o.Secret = testSecret; return mustOpen(t, c.URL(), o) }})
	})
	t.Run("embedded from another process", func(t *testing.T) {
		t.Parallel()
		c := mustOpenEmbedded(t, t.TempDir(), Options{Listen: "localhost:0"})
		open := func(o Options) *Cache { o.Secret = testSecret; return mustOpen(t, c.URL(), o) }
		test(t, store{open(Options{}), open})
	})
}

// patience bounds every wait of a test. A snapshot that takes a second, on a slow disk, has the next one wait for twenty.
const patience = 3 * time.Minute

// eventually waits until ok, for a condition that another goroutine or process brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s did not come about", what)
		case <-tick.C:
		}
	}
}
