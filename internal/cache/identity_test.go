package cache

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stegomq/internal/testrig/certificates"
)

// plainClient talks to a Redis without a library.
type plainClient struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dialPlain(t *testing.T, url string) *plainClient {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "redis://"), "/0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &plainClient{t, conn, bufio.NewReader(conn)}
}

// do sends a command and returns the first line of the answer.
func (c *plainClient) do(words ...string) string {
	c.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := c.conn.Write([]byte(b.String())); err != nil {
		c.t.Fatal(err)
	}
	line, err := c.in.ReadString('\n')
	if err != nil {
		c.t.Fatalf("%q: %v", words, err)
	}
	return strings.TrimSpace(line)
}

// An embedded server that listens serves only clients that know its secret. HELLO and COMMAND reveal the kind of server to anybody.
func TestEmbeddedWantsItsSecret(t *testing.T) {
	t.Parallel()
	c := mustOpenEmbedded(t, t.TempDir(), Options{Listen: "127.0.0.1:0"})
	fill(t, c)
	if strings.Contains(c.URL(), testSecret) {
		t.Errorf("the address %s has the secret", c.URL())
	}
	wrong := strings.Repeat("5ed", 20)
	for name, login := range map[string][]string{
		"nothing": nil, "wrong secret": {"AUTH", wrong}, "part of it": {"AUTH", testSecret[1:]}, "empty": {"AUTH", ""}, "another user": {"AUTH", "admin", testSecret},
		"wrong in HELLO": {"HELLO", "3", "AUTH", "default", wrong},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, command := range [][]string{
				{"PING"}, {"INFO"}, {"GET", outputKey("w")}, {"SET", "a", "b"}, {"DEL", outputKey("w")}, {"KEYS", "*"}, {"SCAN", "0"}, {"DBSIZE"},
				{"FLUSHALL"}, {"FLUSHDB"}, {"HGETALL", "x"}, {"HSET", "x", "y", "z"}, {"EVAL", "return redis.call('KEYS','*')", "0"}, {"EVALSHA", "0", "0"},
				{"SCRIPT", "FLUSH"}, {"MULTI"}, {"EXEC"}, {"SUBSCRIBE", "x"}, {"PUBLISH", "x", "y"}, {"SELECT", "1"}, {"SWAPDB", "0", "1"}, {"RENAME", "a", "b"},
				{"EXPIRE", outputKey("w"), "1"}, {"DUMP", outputKey("w")}, {"CLIENT", "LIST"}, {"CONFIG", "GET", "*"},
			} {
				plain := dialPlain(t, c.URL()) // answers may have several lines
				if login != nil {
					if got := plain.do(login...); !strings.HasPrefix(got, "-") {
						t.Fatalf("%q: %s", login, got)
					}
				}
				if got := plain.do(command...); !strings.HasPrefix(got, "-NOAUTH") && !strings.HasPrefix(got, "-ERR unknown") {
					t.Errorf("%q: %s", command, got)
				}
			}
		})
	}
	if got := dialPlain(t, c.URL()).do("AUTH", testSecret); got != "+OK" {
		t.Errorf("the right secret: %s", got)
	}
	for _, secret := range []string{"", wrong} {
		_, err := Open(t.Context(), c.URL(), Options{Secret: secret})
		if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "password") || secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("secret %q: %v", secret, err)
		}
	}
	expectFilled(t, mustOpen(t, c.URL(), Options{Secret: testSecret}))
	expectFilled(t, c)
}

// The password of a file or variable is for an address without one.
func TestSecretOfAServer(t *testing.T) {
	t.Parallel()
	addr := startTCPRedis(t, "--requirepass", password)
	mustOpen(t, "redis://"+addr, Options{Secret: password})
	mustOpen(t, "redis://:"+password+"@"+addr, Options{Secret: "another"})
	if _, err := Open(t.Context(), "redis://"+addr, Options{Secret: "wrong"}); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "--redis-password-file") {
		t.Errorf("a wrong password: %v", err)
	}
}

// startTLSRedis starts a redis-server that speaks TLS alone, and returns its address. It wants a client certificate when clients is yes.
func startTLSRedis(t *testing.T, a *certificates.Authority, clients string) string {
	t.Helper()
	a.Server("server")
	var last error
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		_ = l.Close()
		_, port, _ := net.SplitHostPort(addr)
		s, err := startRedis("--tls-port", port, "--bind", "127.0.0.1", "--requirepass", password, "--tls-auth-clients", clients,
			"--tls-cert-file", a.File("server.pem"), "--tls-key-file", a.File("server.key"), "--tls-ca-cert-file", a.File("ca.pem"))
		if err == nil {
			t.Cleanup(s.stop)
			return "rediss://" + addr
		}
		last = err
	}
	t.Fatal(last)
	return ""
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ours, other := certificates.New(t, "ca"), certificates.New(t, "ca")
	ours.Client("client")
	other.Client("client")
	plain, mutual := startTLSRedis(t, ours, "no"), startTLSRedis(t, ours, "yes")
	ca, cert, key := ours.File("ca.pem"), ours.File("client.pem"), ours.File("client.key")
	notPEM := filepath.Join(t.TempDir(), "not.pem")
	if err := os.WriteFile(notPEM, []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		url  string
		opts Options
		want error
		says string
	}{
		"right":                        {plain, Options{CAFile: ca}, nil, ""},
		"no authority":                 {plain, Options{}, ErrUnreachable, "--redis-ca"},
		"another authority":            {plain, Options{CAFile: other.File("ca.pem")}, ErrUnreachable, "--redis-ca"},
		"client certificate":           {mutual, Options{CAFile: ca, CertFile: cert, KeyFile: key}, nil, ""},
		"no client certificate":        {mutual, Options{CAFile: ca}, ErrUnreachable, "--redis-cert and --redis-key"},
		"another's client certificate": {mutual, Options{CAFile: ca, CertFile: other.File("client.pem"), KeyFile: other.File("client.key")}, ErrUnreachable, "--redis-cert"},
		"redis:// with an authority":   {"redis" + strings.TrimPrefix(plain, "rediss"), Options{CAFile: ca}, ErrClientFiles, "rediss://"},
		"the authority is no file":     {plain, Options{CAFile: ca + ".none"}, ErrClientFiles, ca + ".none"},
		"the authority is not PEM":     {plain, Options{CAFile: notPEM}, ErrClientFiles, notPEM},
		"the key is another's":         {mutual, Options{CAFile: ca, CertFile: cert, KeyFile: other.File("client.key")}, ErrClientFiles, cert},
		"the certificate has no key":   {mutual, Options{CAFile: ca, CertFile: cert}, ErrClientFiles, cert},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.opts.Secret = password
			opened, err := Open(t.Context(), c.url, c.opts)
			if err == nil {
				_ = opened.Close()
			}
			if !errors.Is(err, c.want) || c.want != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("error %v, want %v that says %s", err, c.want, c.says)
			}
		})
	}
}
