package bus

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestServerStart(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	s := startServer(t, "127.0.0.1:0")
	t.Logf("started in %v", time.Since(begin))
	if !strings.HasPrefix(s.URL(), "nats://127.0.0.1:") {
		t.Errorf("URL %q", s.URL())
	}
	if url := startServer(t, "").URL(); url != "" {
		t.Errorf("an in-process server has the URL %q", url)
	}
}

func TestServerStartErrors(t *testing.T) {
	t.Parallel()
	busy := startServer(t, "127.0.0.1:0")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	used := t.TempDir()
	other, err := StartServer(ServerConfig{StoreDir: used, Logger: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Shutdown)
	for name, c := range map[string]struct {
		config ServerConfig
		want   error
	}{
		"port in use":      {ServerConfig{StoreDir: t.TempDir(), Listen: busy.URL()[len("nats://"):], Secret: testSecret}, ErrListen},
		"no port":          {ServerConfig{StoreDir: t.TempDir(), Listen: "127.0.0.1"}, ErrListen},
		"bad port":         {ServerConfig{StoreDir: t.TempDir(), Listen: "127.0.0.1:http"}, ErrListen},
		"network":          {ServerConfig{StoreDir: t.TempDir(), Listen: "0.0.0.0:4222"}, ErrNotLoopback},
		"no secret":        {ServerConfig{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"}, ErrNoSecret},
		"any address":      {ServerConfig{StoreDir: t.TempDir(), Listen: ":4222"}, ErrNotLoopback},
		"no directory":     {ServerConfig{}, ErrStoreDir},
		"file":             {ServerConfig{StoreDir: file}, ErrStoreDir},
		"below a file":     {ServerConfig{StoreDir: filepath.Join(file, "dir")}, ErrStoreDir},
		"directory in use": {ServerConfig{StoreDir: used}, ErrStoreInUse},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.config.Logger = testLog(t)
			s, err := StartServer(c.config)
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if err == nil {
				s.Shutdown()
			}
		})
	}
}

func TestServerKeepsMessages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 2 {
		s, err := StartServer(ServerConfig{StoreDir: dir, Logger: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(testContext(t), quick(s))
		if err != nil {
			t.Fatal(err)
		}
		publishJobs(t, b, testJob("run", "alice", round))
		if n := messages(t, b, interactiveStream); n != uint64(round+1) {
			t.Errorf("round %d: %d jobs", round, n)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		s.Shutdown()
	}
}
