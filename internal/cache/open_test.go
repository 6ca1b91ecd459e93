package cache

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const password = "not-to-be-shown"

// expectRefusal opens url and checks that the error comes in time, is of a class, is one line, says some
// words and never the password.
func expectRefusal(t *testing.T, url string, class error, words ...string) {
	t.Helper()
	began := time.Now()
	c, err := Open(t.Context(), url, Options{})
	if err == nil {
		_ = c.Close()
	}
	if !errors.Is(err, class) {
		t.Fatalf("error %v, want %v", err, class)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	text := err.Error()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
	if strings.Contains(text, password) || strings.Contains(text, "\n") {
		t.Errorf("%q holds the password or has several lines", text)
	}
}

func TestBadURLs(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "localhost:6379", "http://localhost", "redis://:" + password + "@host:port", password + "://x",
		"redis://:" + password + "@localhost/zero", "redis://localhost/0?unknown=" + password, "unix:", "redis://:" + password + "@[::1",
	} {
		expectRefusal(t, url, ErrBadURL, "redis://", "unix://")
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	const addr = "127.0.0.1:1" // a port that was free a moment ago may be another test's now
	expectRefusal(t, "redis://user:"+password+"@"+addr+"/3", ErrUnreachable, "redis://"+addr+"/3", "start the server", "--redis")
	socket := filepath.Join(t.TempDir(), "none.sock")
	expectRefusal(t, "unix://"+socket, ErrUnreachable, "unix://"+socket, "start the server")
}

func TestServerIsSilent(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts; nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	expectRefusal(t, "redis://:"+password+"@"+l.Addr().String(), ErrUnreachable, l.Addr().String(), "no answer within")
}

func TestServerIsNoRedis(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = conn.Close()
		}
	}()
	expectRefusal(t, "redis://"+l.Addr().String(), ErrUnreachable, l.Addr().String(), "check --redis")
	_ = l.Close()
	<-done
}

func TestPassword(t *testing.T) {
	t.Parallel()
	addr := startTCPRedis(t, "--requirepass", password)
	expectRefusal(t, "redis://"+addr, ErrUnreachable, addr, "password")
	expectRefusal(t, "redis://:wrong@"+addr, ErrUnreachable, addr, "password")
	c := mustOpen(t, "redis://:"+password+"@"+addr+"/2", Options{})
	if want := "redis://" + addr + "/2"; c.URL() != want {
		t.Errorf("URL = %q, want %q", c.URL(), want)
	}
	if s, err := c.Status(t.Context()); err != nil || s.Address != c.URL() {
		t.Errorf("status = %+v, %v", s, err)
	}
}

func TestPublicURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"rediss://u:" + password + "@cache.example:7000/4": "rediss://cache.example:7000/4",
		"redis://cache.example":                            "redis://cache.example:6379/0",
		"unix://u:" + password + "@/run/redis.sock?db=2":   "unix:///run/redis.sock?db=2",
		"unix:///run/redis.sock":                           "unix:///run/redis.sock",
	} {
		o, err := redis.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		if got := publicURL(o); got != want {
			t.Errorf("%s is shown as %s, want %s", url, got, want)
		}
	}
}

func TestOpenCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, redisURL(t), Options{}); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Errorf("Open with a cancelled context: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "state")
	if _, err := OpenEmbedded(ctx, dir, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("OpenEmbedded with a cancelled context: %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("it made the directory all the same")
	}
}

func TestClosed(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		mustClose(t, s.Cache)
		mustClose(t, s.Cache)
		if _, err := s.Outcomes(t.Context(), []string{"w"}); err == nil {
			t.Error("a closed cache answers")
		}
	})
}

func TestStatus(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s store) {
		if err := s.rdb.Set(t.Context(), "another program's", "key", 0).Err(); err != nil {
			t.Fatal(err)
		}
		got, err := s.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got.Keys != 1 || got.Address != s.URL() || got.Embedded != (s.embedded != nil) {
			t.Errorf("status = %+v", got)
		}
		if strings.HasSuffix(t.Name(), "redis-server") {
			if got.Server == "miniredis" || got.Version == "" || got.Memory == 0 {
				t.Errorf("status = %+v", got)
			}
		} else if got.Server != "miniredis" {
			t.Errorf("status = %+v", got)
		}
	})
}
