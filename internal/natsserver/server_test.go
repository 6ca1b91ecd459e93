package natsserver_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stegomq/internal/natsserver"
	"stegomq/internal/testrig/natsrig"
)

func TestMain(m *testing.M) { natsrig.Main(m) }

func TestServerStart(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	s := natsrig.Server(t, "127.0.0.1:0")
	t.Logf("started in %v", time.Since(begin))
	if !strings.HasPrefix(s.URL(), "nats://127.0.0.1:") {
		t.Errorf("URL %q", s.URL())
	}
	if url := natsrig.Server(t, "").URL(); url != "" {
		t.Errorf("an in-process server has the URL %q", url)
	}
}

func TestServerStartErrors(t *testing.T) {
	t.Parallel()
	busy := natsrig.Server(t, "127.0.0.1:0")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	used := t.TempDir()
	natsrig.Start(t, natsserver.Config{StoreDir: used})
	for name, c := range map[string]struct {
		config natsserver.Config
		want   error
	}{
		"port in use":      {natsserver.Config{StoreDir: t.TempDir(), Listen: busy.URL()[len("nats://"):], Secret: natsrig.Secret}, natsserver.ErrListen},
		"no port":          {natsserver.Config{StoreDir: t.TempDir(), Listen: "127.0.0.1"}, natsserver.ErrListen},
		"bad port":         {natsserver.Config{StoreDir: t.TempDir(), Listen: "127.0.0.1:http"}, natsserver.ErrListen},
		"network":          {natsserver.Config{StoreDir: t.TempDir(), Listen: "0.0.0.0:4222"}, natsserver.ErrNotLoopback},
		"no secret":        {natsserver.Config{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"}, natsserver.ErrNoSecret},
		"any address":      {natsserver.Config{StoreDir: t.TempDir(), Listen: ":4222"}, natsserver.ErrNotLoopback},
		"no directory":     {natsserver.Config{}, natsserver.ErrStoreDir},
		"file":             {natsserver.Config{StoreDir: file}, natsserver.ErrStoreDir},
		"below a file":     {natsserver.Config{StoreDir: filepath.Join(file, "dir")}, natsserver.ErrStoreDir},
		"directory in use": {natsserver.Config{StoreDir: used}, natsserver.ErrStoreInUse},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.config.Logger = natsrig.Log(t)
			s, err := natsserver.Start(c.config)
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if err == nil {
				s.Shutdown()
			}
		})
	}
}
