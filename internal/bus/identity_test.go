package bus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
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

// authority makes certificates of its own for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue(name, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue writes NAME.pem and NAME.key; the first certificate of an authority signs itself.
func (a *authority) issue(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.Subject = serial, pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return made, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// startTLS runs a server with a certificate for 127.0.0.1 that wants client certificates of the same authority.
func (a *authority) startTLS(mutual bool) string {
	a.t.Helper()
	a.issue("server", &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	pair, err := tls.LoadX509KeyPair(a.file("server.pem"), a.file("server.key"))
	if err != nil {
		a.t.Fatal(err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if mutual {
		cfg.ClientCAs, cfg.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		cfg.ClientCAs.AddCert(a.cert)
	}
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, TLSConfig: cfg, TLSTimeout: 5,
		JetStream: true, StoreDir: a.t.TempDir(),
	})
	if err != nil {
		a.t.Fatal(err)
	}
	ns.Start()
	a.t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(patience) {
		a.t.Fatal("the server is not ready")
	}
	return "nats://" + ns.Addr().String()
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ours, other := newAuthority(t, "ours"), newAuthority(t, "other")
	client := &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	ours.issue("client", client)
	other.issue("client", &x509.Certificate{KeyUsage: client.KeyUsage, ExtKeyUsage: client.ExtKeyUsage})
	plain, mutual := ours.startTLS(false), ours.startTLS(true)
	noTLS := startServer(t, "127.0.0.1:0").URL()
	ca, cert, key := ours.file("ours.pem"), ours.file("client.pem"), ours.file("client.key")
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
		"another authority":            {Config{URL: plain, CAFile: other.file("other.pem")}, ErrUnreachable, "--nats-ca"},
		"client certificate":           {Config{URL: mutual, CAFile: ca, CertFile: cert, KeyFile: key}, nil, ""},
		"no client certificate":        {Config{URL: mutual, CAFile: ca}, ErrDenied, "--nats-cert and --nats-key"},
		"another's client certificate": {Config{URL: mutual, CAFile: ca, CertFile: other.file("client.pem"), KeyFile: other.file("client.key")}, ErrDenied, "--nats-cert"},
		"a server without TLS":         {Config{URL: noTLS, Secret: testSecret, CAFile: ca}, ErrUnreachable, "no TLS"},
		"the authority is no file":     {Config{URL: plain, CAFile: ca + ".none"}, ErrClientFiles, ca + ".none"},
		"the authority is not PEM":     {Config{URL: plain, CAFile: notPEM}, ErrClientFiles, notPEM},
		"the key is another's":         {Config{URL: mutual, CAFile: ca, CertFile: cert, KeyFile: other.file("client.key")}, ErrClientFiles, cert},
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
