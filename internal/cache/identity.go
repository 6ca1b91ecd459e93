package cache

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/redis/go-redis/v9"
)

// identify sets how the client and the server authenticate each other.
func (o Options) identify(to *redis.Options) error {
	to.Password = cmp.Or(to.Password, o.Secret)
	if o.CAFile == "" && o.CertFile == "" && o.KeyFile == "" {
		return nil
	}
	if to.TLSConfig == nil {
		return fmt.Errorf("%w: certificates need TLS: write rediss:// instead of redis://", ErrClientFiles)
	}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrClientFiles, err)
		}
		to.TLSConfig.RootCAs = x509.NewCertPool()
		if !to.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%w: no certificate in %s", ErrClientFiles, o.CAFile)
		}
	}
	if o.CertFile != "" || o.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return fmt.Errorf("%w: the client certificate %q with the key %q: %w", ErrClientFiles, o.CertFile, o.KeyFile, err)
		}
		to.TLSConfig.Certificates = []tls.Certificate{pair}
	}
	return nil
}
