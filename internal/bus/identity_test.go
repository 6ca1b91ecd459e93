package bus

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"stegomq/internal/testrig/certificates"
)

// An embedded server that listens takes nobody who does not say its secret, and its own process.
func TestEmbeddedServerWantsItsSecret(t *testing.T) {
	t.Parallel()
	s := startServer(t, "127.0.0.1:0")
	if strings.Contains(s.URL(), testSecret) {
		t.Errorf("the address %s has the secret", s.URL())
	}
	for name, opts := range map[string][]nats.Option{
		"nothing":      nil,
		"wrong secret": {nats.UserInfo(User, strings.Repeat("5ed", 20))},
		"part of it":   {nats.UserInfo(User, testSecret[1:])},
		"no password":  {nats.UserInfo(User, "")},
		"another user": {nats.UserInfo("admin", testSecret)},
		"as a token":   {nats.Token(testSecret)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nc, err := nats.Connect(s.URL(), opts...)
			if err == nil {
				nc.Close()
			}
			if !errors.Is(err, nats.ErrAuthorization) {
				t.Errorf("a plain client: %v", err)
			}
		})
	}
	_, err := Open(testContext(t), Config{URL: s.URL(), Logger: testLog(t)})
	if !errors.Is(err, ErrDenied) {
		t.Errorf("a bus without the secret: %v", err)
	}
	open(t, Config{URL: s.URL(), Secret: testSecret})
	open(t, Config{Server: s})
	nc, err := nats.Connect(s.URL(), nats.UserInfo(User, testSecret))
	if err != nil {
		t.Fatalf("a plain client with the secret: %v", err)
	}
	nc.Close()
}

// startTLS runs a server with a certificate for 127.0.0.1 that wants client certificates of the same authority.
func startTLS(t *testing.T, a *certificates.Authority, mutual bool) string {
	t.Helper()
	a.Server("server")
	pair, err := tls.LoadX509KeyPair(a.File("server.pem"), a.File("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if mutual {
		cfg.ClientCAs, cfg.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		cfg.ClientCAs.AddCert(a.Certificate)
	}
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, TLSConfig: cfg, TLSTimeout: 5,
		JetStream: true, StoreDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	return "nats://" + ns.Addr().String()
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ours, other := certificates.New(t, "ours"), certificates.New(t, "other")
	ours.Client("client")
	other.Client("client")
	plain, mutual := startTLS(t, ours, false), startTLS(t, ours, true)
	noTLS := startServer(t, "127.0.0.1:0").URL()
	ca, cert, key := ours.File("ours.pem"), ours.File("client.pem"), ours.File("client.key")
	notPEM := filepath.Join(t.TempDir(), "not.pem")
	if err := os.WriteFile(notPEM, []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg  Config
		want error
		says string
	}{
		"right":                        {Config{URL: plain, CAFile: ca}, nil, ""},
		"no authority":                 {Config{URL: plain}, ErrUnreachable, "--nats-ca"},
		"another authority":            {Config{URL: plain, CAFile: other.File("other.pem")}, ErrUnreachable, "--nats-ca"},
		"client certificate":           {Config{URL: mutual, CAFile: ca, CertFile: cert, KeyFile: key}, nil, ""},
		"no client certificate":        {Config{URL: mutual, CAFile: ca}, ErrDenied, "--nats-cert and --nats-key"},
		"another's client certificate": {Config{URL: mutual, CAFile: ca, CertFile: other.File("client.pem"), KeyFile: other.File("client.key")}, ErrDenied, "--nats-cert"},
		"a server without TLS":         {Config{URL: noTLS, Secret: testSecret, CAFile: ca}, ErrUnreachable, "no TLS"},
		"the authority is no file":     {Config{URL: plain, CAFile: ca + ".none"}, ErrClientFiles, ca + ".none"},
		"the authority is not PEM":     {Config{URL: plain, CAFile: notPEM}, ErrClientFiles, notPEM},
		"the key is another's":         {Config{URL: mutual, CAFile: ca, CertFile: cert, KeyFile: other.File("client.key")}, ErrClientFiles, cert},
		"the certificate has no key":   {Config{URL: mutual, CAFile: ca, CertFile: cert}, ErrClientFiles, cert},
		"the credentials are no file":  {Config{URL: plain, CAFile: ca, CredentialsFile: ca + ".none"}, ErrClientFiles, ca + ".none"},
		"tls:// as well":               {Config{URL: "tls" + strings.TrimPrefix(plain, "nats"), CAFile: ca}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.cfg.Logger = testLog(t)
			b, err := Open(testContext(t), c.cfg)
			if err == nil {
				_ = b.Close()
			}
			if !errors.Is(err, c.want) || c.want != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("error %v, want %v that says %s", err, c.want, c.says)
			}
		})
	}
}
