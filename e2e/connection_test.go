package e2e

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"
)

// Passwords are in no argument and in no file that others can read, and no server without authentication is used.
func TestConnectionRules(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	const secret = "not-to-be-shown"
	h.write("open.yaml", []byte("nats: nats://u:"+secret+"@127.0.0.1:1\n"))
	h.write("closed.yaml", []byte("nats: nats://u:"+secret+"@127.0.0.1:1\n"))
	must(t, os.Chmod(h.path("closed.yaml"), 0o600))
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"dead", "list", "--nats", "nats://u:" + secret + "@127.0.0.1:1"}, 2, "STEGOMQ_NATS"},
		{[]string{"dead", "list", "--nats", "nats://" + secret + "@127.0.0.1:1"}, 2, "--nats-creds"},
		{[]string{"report", "x", "--redis", "redis://:" + secret + "@127.0.0.1:1"}, 2, "--redis-password-file"},
		{[]string{"dead", "list", "--config", "open.yaml"}, 2, "chmod 600 open.yaml"},
		{[]string{"dead", "list", "--config", "closed.yaml"}, 3, "cannot reach"},
		{[]string{"dead", "list", "--nats", "nats://nats.invalid:4222"}, 2, "--insecure"},
		{[]string{"dead", "list", "--nats", "nats://nats.invalid:4222", "--insecure"}, 3, "cannot reach"},
		{[]string{"report", "x", "--redis", "redis://redis.invalid:6379"}, 2, "STEGOMQ_REDIS"},
		{[]string{"report", "x", "--redis", "redis://127.0.0.1:1", "--redis-ca", "ca.pem"}, 2, "rediss://"},
		{[]string{"report", "x", "--redis", "redis://127.0.0.1:1", "--redis-password-file", "none"}, 2, "none"},
		{[]string{"dead", "list", "--nats", "nats://127.0.0.1:1", "--nats-ca", "none.pem"}, 2, "none.pem"},
		{[]string{"dead", "list", "--nats", "nats://127.0.0.1:1", "--nats-cert", "c.pem"}, 2, "--nats-key"},
		{[]string{"embed", "--tenant", "alice", "--key", "demo-1", "--cover", "a", "--secret", "b", "-o", "c"}, 2, "--nats"},
	} {
		r := h.run(c.args...)
		if r.code != c.code || !strings.Contains(r.stderr, c.says) || strings.Contains(r.stderr, secret) {
			t.Errorf("%q: exit code %d, want %d and %q: %s", c.args, r.code, c.code, c.says, r.stderr)
		}
	}
	// In the environment they may.
	env := *h
	env.env = append(append([]string{}, h.env...), "STEGOMQ_NATS=nats://u:"+secret+"@127.0.0.1:1")
	if r := env.run("dead", "list"); r.code != 3 || strings.Contains(r.stderr, secret) {
		t.Errorf("from the environment: exit code %d, %s", r.code, r.stderr)
	}
}

// The servers of up serve every holder of the folder's secret. A killed up leaves nothing that blocks the next.
func TestUpsSecret(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.photographs("photos", 2, 64, 48)
	up := h.start("up", "--nats-listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0")
	ready := up.await(`ready: --nats (\S+) --redis (\S+)`)
	file := h.path("state", "stegomq", "secret")
	secret := strings.TrimSpace(string(read(t, file)))
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 || len(secret) != 64 {
		t.Errorf("the secret: %v, %v, %d characters", info, err, len(secret))
	}
	if strings.Contains(up.log.String(), secret) {
		t.Error("up prints the secret")
	}
	for name, options := range map[string][]nats.Option{"nobody": nil, "a wrong secret": {nats.UserInfo("stegomq", strings.Repeat("0", 64))}} {
		if _, err := nats.Connect(ready[1], append(options, nats.Timeout(patience))...); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("NATS for %s: %v", name, err)
		}
	}
	nc, err := nats.Connect(ready[1], nats.UserInfo("stegomq", secret), nats.Timeout(patience))
	must(t, err)
	nc.Close()
	for password, refused := range map[string]bool{"": true, strings.Repeat("0", 64): true, secret: false} {
		options, err := redis.ParseURL(ready[2])
		must(t, err)
		options.Password = password
		client := redis.NewClient(options)
		if err := client.Keys(t.Context(), "*").Err(); (err != nil) != refused {
			t.Errorf("Redis with password %.4q: %v", password, err)
		}
		_ = client.Close()
	}
	// Elsewhere there is no secret for these servers.
	if r := h.run("dead", "list", "--nats", ready[1], "--state", h.path("elsewhere")); r.code != 3 || !strings.Contains(r.stderr, "refused the credentials") {
		t.Errorf("with another state folder: exit code %d, %s", r.code, r.stderr)
	}
	h.ok("dead", "list")
	if r := h.run("up", "--nats-listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0"); r.code != 2 {
		t.Errorf("a second up: exit code %d, %s", r.code, r.stderr)
	}
	up.signal(os.Kill)
	up.end()
	h.ok("embed", "--key", "demo-1", "--cover", "photos/00.jpg", "--secret", "photos/01.png", "-o", "alone.png")
	again := h.start("up", "--nats-listen", "127.0.0.1:0", "--redis-listen", "127.0.0.1:0")
	again.await(`ready: --nats`)
	if now := strings.TrimSpace(string(read(t, file))); now != secret {
		t.Error("the secret has changed")
	}
	h.ok("dead", "list")
}
