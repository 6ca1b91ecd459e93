package link_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"stegomq/internal/link"
	"stegomq/internal/natsserver"
	"stegomq/internal/testrig/certificates"
	"stegomq/internal/testrig/natsrig"
)

func TestMain(m *testing.M) { natsrig.Main(m) }

// unhurried gives a plain client as long as a test waits: its own 2 s are short on a busy machine.
var unhurried = nats.Timeout(natsrig.Patience)

func TestDialUnreachable(t *testing.T) {
	t.Parallel()
	const addr = "127.0.0.1:1" // nobody listens there; a port that was free a moment ago may be another test's now
	begin := time.Now()
	_, err := link.Dial(natsrig.Context(t), link.Config{URL: "nats://alice:hunter2@" + addr, Logger: natsrig.Log(t)})
	if !errors.Is(err, link.ErrUnreachable) {
		t.Fatalf("error %v, want ErrUnreachable", err)
	}
	if text := err.Error(); !strings.Contains(text, addr) || strings.Contains(text, "hunter2") || strings.Contains(text, "alice") || strings.Contains(text, "\n") {
		t.Errorf("the error must be one line with the address and without credentials: %s", text)
	}
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
	if _, err := link.Dial(natsrig.Context(t), link.Config{Logger: natsrig.Log(t)}); !errors.Is(err, link.ErrUnreachable) {
		t.Errorf("without a URL: %v", err)
	}
}

// A server that takes connections and says nothing must not hold up Open.
func TestDialSilentServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := link.Dial(ctx, link.Config{URL: "nats://" + l.Addr().String(), Logger: natsrig.Log(t)}); !errors.Is(err, link.ErrUnreachable) {
		t.Errorf("error %v, want ErrUnreachable", err)
	}
}

// An embedded server that listens accepts only clients that know its secret, and its own process.
func TestEmbeddedServerWantsItsSecret(t *testing.T) {
	t.Parallel()
	s := natsrig.Server(t, "127.0.0.1:0")
	if strings.Contains(s.URL(), natsrig.Secret) {
		t.Errorf("the address %s has the secret", s.URL())
	}
	for name, opts := range map[string][]nats.Option{
		"nothing":      nil,
		"wrong secret": {nats.UserInfo(natsserver.User, strings.Repeat("5ed", 20))},
		"part of it":   {nats.UserInfo(natsserver.User, natsrig.Secret[1:])},
		"no password":  {nats.UserInfo(natsserver.User, "")},
		"another user": {nats.UserInfo("admin", natsrig.Secret)},
		"as a token":   {nats.Token(natsrig.Secret)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, err := nats.Connect(s.URL(), append(opts, unhurried)...)
			if err == nil {
				nc.Close()
			}
			if !errors.Is(err, nats.ErrAuthorization) {
				t.Errorf("a plain client: %v", err)
			}
		})
	}
	_, err := link.Dial(natsrig.Context(t), link.Config{URL: s.URL(), Logger: natsrig.Log(t)})
	if !errors.Is(err, link.ErrDenied) {
		t.Errorf("a bus without the secret: %v", err)
	}
	natsrig.Dial(t, link.Config{URL: s.URL(), Secret: natsrig.Secret})
	natsrig.Dial(t, link.Config{Server: s})
	nc, err := nats.Connect(s.URL(), nats.UserInfo(natsserver.User, natsrig.Secret), unhurried)
	if err != nil {
		t.Fatalf("a plain client with the secret: %v", err)
	}
	nc.Close()
}

// serverWithTLS runs a server with a certificate for 127.0.0.1 that, if mutual, wants client certificates of the same authority.
func serverWithTLS(t *testing.T, a *certificates.Authority, mutual bool) (url string) {
	t.Helper()
	a.Server("server")
	return "nats://" + natsrig.Configured(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: %t }\n",
		a.File("server.pem"), a.File("server.key"), a.File(a.Certificate.Subject.CommonName+".pem"), mutual))
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ours, other := certificates.New(t, "ours"), certificates.New(t, "other")
	ours.Client("client")
	other.Client("client")
	plain, mutual := serverWithTLS(t, ours, false), serverWithTLS(t, ours, true)
	noTLS := natsrig.Server(t, "127.0.0.1:0").URL()
	ca, cert, key := ours.File("ours.pem"), ours.File("client.pem"), ours.File("client.key")
	notPEM := filepath.Join(t.TempDir(), "not.pem")
	if err := os.WriteFile(notPEM, []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg  link.Config
		want error
		says string
	}{
		"right":                        {link.Config{URL: plain, CAFile: ca}, nil, ""},
		"no authority":                 {link.Config{URL: plain}, link.ErrUnreachable, "--nats-ca"},
		"another authority":            {link.Config{URL: plain, CAFile: other.File("other.pem")}, link.ErrUnreachable, "--nats-ca"},
		"client certificate":           {link.Config{URL: mutual, CAFile: ca, CertFile: cert, KeyFile: key}, nil, ""},
		"no client certificate":        {link.Config{URL: mutual, CAFile: ca}, link.ErrDenied, "--nats-cert and --nats-key"},
		"another's client certificate": {link.Config{URL: mutual, CAFile: ca, CertFile: other.File("client.pem"), KeyFile: other.File("client.key")}, link.ErrDenied, "--nats-cert"},
		"a server without TLS":         {link.Config{URL: noTLS, Secret: natsrig.Secret, CAFile: ca}, link.ErrUnreachable, "no TLS"},
		"the authority is no file":     {link.Config{URL: plain, CAFile: ca + ".none"}, link.ErrClientFiles, ca + ".none"},
		"the authority is not PEM":     {link.Config{URL: plain, CAFile: notPEM}, link.ErrClientFiles, notPEM},
		"the key is another's":         {link.Config{URL: mutual, CAFile: ca, CertFile: cert, KeyFile: other.File("client.key")}, link.ErrClientFiles, cert},
		"the certificate has no key":   {link.Config{URL: mutual, CAFile: ca, CertFile: cert}, link.ErrClientFiles, cert},
		"the credentials are no file":  {link.Config{URL: plain, CAFile: ca, CredentialsFile: ca + ".none"}, link.ErrClientFiles, ca + ".none"},
		"tls:// as well":               {link.Config{URL: "tls" + strings.TrimPrefix(plain, "nats"), CAFile: ca}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.cfg.Logger = natsrig.Log(t)
			b, err := link.Dial(natsrig.Context(t), c.cfg)
			if err == nil {
				_ = b.Close()
			}
			if !errors.Is(err, c.want) || c.want != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("error %v, want %v that says %s", err, c.want, c.says)
			}
		})
	}
}

func TestDialDenied(t *testing.T) {
	t.Parallel()
	address := natsrig.Configured(t, "authorization { user: u, password: p }")
	if _, err := link.Dial(natsrig.Context(t), link.Config{URL: "nats://" + address, Logger: natsrig.Log(t)}); !errors.Is(err, link.ErrDenied) {
		t.Errorf("error %v, want ErrDenied", err)
	}
}

func TestIsFull(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&jetstream.APIError{ErrorCode: 10077, Description: "maximum bytes exceeded"}, true},
		{&jetstream.APIError{ErrorCode: 10077, Description: "maximum messages exceeded"}, true},
		{&jetstream.APIError{ErrorCode: 10047}, true},
		{&jetstream.APIError{ErrorCode: 10077, Description: "disk on fire"}, false},
		{jetstream.ErrStreamMessageExceedsMaximum, false},
		{errors.New("maximum bytes exceeded"), false},
	} {
		if got := link.IsFull(c.err); got != c.want {
			t.Errorf("IsFull(%v) = %v", c.err, got)
		}
	}
}

// A lagging follower answers a direct get with "not found". In a cluster this is believed only from the leader. A real follower lags by chance; here
// a client answers instead of the followers and the leader, on a server's subjects.
func TestLaggingFollower(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		conf, leader string
		want         string
		err          error
	}{
		"the leader has it":   {"cluster { name: three, listen: \"127.0.0.1:-1\" }", `{"message":{"subject":"blob.x","seq":7,"data":"aW1hZ2U=","time":"2026-11-27T10:00:00Z"}}`, "image", nil},
		"nor has the leader":  {"cluster { name: three, listen: \"127.0.0.1:-1\" }", `{"error":{"code":404,"err_code":10037,"description":"no message found"}}`, "", jetstream.ErrMsgNotFound},
		"there is no cluster": {"", `{"message":{"subject":"blob.x","seq":7,"data":"aW1hZ2U=","time":"2026-11-27T10:00:00Z"}}`, "", jetstream.ErrMsgNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := natsrig.Configured(t, c.conf)
			replicas, err := nats.Connect(url, unhurried)
			if err != nil {
				t.Fatal(err)
			}
			defer replicas.Close()
			for subject, answer := range map[string]*nats.Msg{
				"$JS.API.DIRECT.GET.BLOBS_main.>":   {Header: nats.Header{"Status": {"404"}, "Description": {"Message Not Found"}}},
				"$JS.API.STREAM.MSG.GET.BLOBS_main": {Data: []byte(c.leader)},
			} {
				if _, err := replicas.Subscribe(subject, func(m *nats.Msg) { _ = m.RespondMsg(&nats.Msg{Header: answer.Header, Data: answer.Data}) }); err != nil {
					t.Fatal(err)
				}
			}
			if err := replicas.Flush(); err != nil {
				t.Fatal(err)
			}
			l := natsrig.Dial(t, link.Config{URL: url})
			data, _, err := l.Last(natsrig.Context(t), "BLOBS_main", "blob.x")
			if string(data) != c.want || !errors.Is(err, c.err) {
				t.Errorf("%q, %v; want %q, %v", data, err, c.want, c.err)
			}
		})
	}
}
