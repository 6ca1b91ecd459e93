package link

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/nats-io/nats.go"

	"stegomq/internal/natsserver"
	"stegomq/schemas"
)

// Config says where the server is, and how the client and the server authenticate each other.
type Config struct {
	// URL of a NATS server (nats://host:4222, several with commas). Ignored when Server is set.
	URL string
	// Server is an embedded server to use in process, without a socket.
	Server *natsserver.Server
	// Secret is the password of natsserver.User on another process's embedded server.
	Secret string
	// CredentialsFile is a NATS .creds file. CAFile is a PEM file of certificate authorities; with it a connection without TLS is refused.
	// CertFile and KeyFile are a client certificate and its key, PEM.
	CredentialsFile, CAFile, CertFile, KeyFile string
	// Tenant whose link this is; empty: the operator's own.
	Tenant string
	// Logger; slog.Default() when nil.
	Logger *slog.Logger
}

// identity returns the client's options for its identity. Files are read now, so that the error for a wrong one names it, and again at every
// reconnection.
func (c Config) identity() ([]nats.Option, error) {
	var opts []nats.Option
	secret := c.Secret
	if c.Server != nil {
		secret = c.Server.Secret()
	}
	if secret != "" {
		opts = append(opts, nats.UserInfo(natsserver.User, secret))
	}
	if c.CredentialsFile != "" {
		if _, err := os.ReadFile(c.CredentialsFile); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrClientFiles, err)
		}
		opts = append(opts, nats.UserCredentials(c.CredentialsFile))
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrClientFiles, err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: no certificate in %s", ErrClientFiles, c.CAFile)
		}
		opts = append(opts, nats.RootCAs(c.CAFile))
	}
	if c.CertFile != "" || c.KeyFile != "" {
		if _, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile); err != nil {
			return nil, fmt.Errorf("%w: the client certificate %q with the key %q: %w", ErrClientFiles, c.CertFile, c.KeyFile, err)
		}
		opts = append(opts, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	return opts, nil
}

// apiPrefix begins the subjects of requests to JetStream. A tenant has an account of its own, which imports the operator's API under another
// name (package access).
func (c Config) apiPrefix() string {
	if c.Tenant != "" {
		return schemas.TenantAPI
	}
	return "$JS.API"
}

// refusal says in one line why there is no connection, and what to do.
func refusal(where string, err error) error {
	var cert *tls.CertificateVerificationError
	text := redact(err.Error())
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return fmt.Errorf("%w at %s: check the user, token or credentials file", ErrDenied, where)
	case errors.As(err, &cert):
		return fmt.Errorf("%w at %s: its certificate is not trusted (%w): give the file of its authority with --nats-ca", ErrUnreachable, where, cert.Err)
	// With TLS 1.3 the refusal of a client's certificate comes after the handshake, and the client may notice the closed connection first.
	case strings.Contains(text, "certificate required"), strings.Contains(text, "bad certificate"), strings.Contains(text, "unknown certificate"),
		strings.Contains(text, "after TLS handshake"):
		return fmt.Errorf("%w at %s: it wants a client certificate that it knows (%s): give --nats-cert and --nats-key", ErrDenied, where, text)
	case errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Errorf("%w at %s: it has no TLS, which --nats-ca and --nats-cert ask for", ErrUnreachable, where)
	}
	return fmt.Errorf("%w at %s: %s: check the address and that the server runs", ErrUnreachable, where, text)
}

// redact takes user names, passwords and tokens out of every URL in text.
func redact(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '"' })
	for _, w := range words {
		scheme, rest, ok := strings.Cut(w, "://")
		if !ok || !strings.Contains(rest, "@") {
			continue
		}
		clean := scheme + "://[redacted]"
		if u, err := url.Parse(w); err == nil {
			clean = u.Scheme + "://" + u.Host
		}
		text = strings.ReplaceAll(text, w, clean)
	}
	return text
}
