package pipeline

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"stegomq/internal/cache"
	"stegomq/internal/link"
	"stegomq/internal/natsserver"
	"stegomq/internal/state"
	"stegomq/internal/streams"
	"stegomq/schemas"
)

// Locate looks for a `stegomq up` that runs on the state folder. Where no servers are named it takes those, and where those are named, their secret.
func (e *Endpoints) Locate() error {
	up, ok, err := state.Find(e.State)
	if err != nil || !ok {
		return err
	}
	if e.NATS == "" && e.Redis == "" && e.Tenant == "" {
		e.NATS, e.Redis = up.NATS, up.Redis
	}
	nats, redis := sameServer(e.NATS, up.NATS), sameServer(e.Redis, up.Redis)
	if !nats && !redis {
		return nil
	}
	secret, err := state.Secret(e.State)
	if err != nil {
		return err
	}
	if nats && e.NATSCredentials == "" {
		e.natsSecret = secret
	}
	if redis && e.RedisPasswordFile == "" {
		e.redisSecret = secret
	}
	return nil
}

// Local says whether the message queue is an embedded one: this process's, or that of a `stegomq up` on the state folder.
func (e *Endpoints) Local() bool { return e.Embedded() || e.natsSecret != "" }

// sameServer says whether an address without a user names the server at another, on loopback.
func sameServer(given, announced string) bool {
	a, errA := url.Parse(given)
	b, errB := url.Parse(announced)
	return errA == nil && errB == nil && given != "" && a.User == nil && a.Scheme == b.Scheme && a.Port() == b.Port() && loopback(a.Hostname()) && loopback(b.Hostname())
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Check finds what is wrong with the endpoints, before anything is opened. A server that other machines reach must not be used without
// authentication.
func (e *Endpoints) Check() error {
	switch {
	case (e.NATSCert == "") != (e.NATSKey == ""):
		return errors.New("--nats-cert and --nats-key go together: give the certificate and its key")
	case (e.RedisCert == "") != (e.RedisKey == ""):
		return errors.New("--redis-cert and --redis-key go together: give the certificate and its key")
	case e.Tenant != "" && (!schemas.ValidTenant(e.Tenant) || e.Tenant == schemas.MainTenant):
		return fmt.Errorf("--tenant %q: a tenant has 1 to 31 lowercase letters, digits, '_' and '-', and is not %s", e.Tenant, schemas.MainTenant)
	case e.Tenant != "" && e.NATS == "":
		return errors.New("--tenant works on a server with accounts: name it with --nats")
	case e.Insecure:
		return nil
	}
	known := e.NATSCredentials != "" || e.NATSCert != "" || e.natsSecret != ""
	for _, one := range strings.Split(e.NATS, ",") {
		if u, err := parseServer(one); one != "" && !known && (err != nil || u.User == nil && !loopback(u.Hostname())) {
			return fmt.Errorf("the NATS server %s would be used without authentication: put a user and password into STEGOMQ_NATS (nats://user:password@host:4222), "+
				"or give --nats-creds, or --nats-cert and --nats-key (--insecure where nobody else reaches it)", bare(one))
		}
	}
	if e.Redis == "" || e.RedisPasswordFile != "" || e.RedisCert != "" || e.redisSecret != "" {
		return nil
	}
	u, err := url.Parse(e.Redis)
	if err != nil || u.Scheme == "unix" {
		return nil //nolint:nilerr // opening it says what is wrong with the first; the second has no network
	}
	if _, password := u.User.Password(); !password && !loopback(u.Hostname()) {
		return fmt.Errorf("the Redis server %s would be used without authentication: put its password into STEGOMQ_REDIS (redis://:password@host:6379), "+
			"or give --redis-password-file, or --redis-cert and --redis-key (--insecure where nobody else reaches it)", bare(e.Redis))
	}
	return nil
}

// parseServer is a NATS server's address, which may lack the scheme.
func parseServer(address string) (*url.URL, error) {
	address = strings.TrimSpace(address)
	if !strings.Contains(address, "://") {
		address = "nats://" + address
	}
	return url.Parse(address)
}

// bare is an address without user and password. It shows nothing of an address that does not parse.
func bare(address string) string {
	u, err := parseServer(address)
	if err != nil {
		return "(an address that does not parse)"
	}
	return u.Scheme + "://" + u.Host
}

// WithoutSecret is the address of one server, or of several, without users and passwords.
func WithoutSecret(address string) string {
	var all []string
	for one := range strings.SplitSeq(address, ",") {
		all = append(all, bare(one))
	}
	return strings.Join(all, ",")
}

// HasSecret says whether an address has a password or a token in it.
func HasSecret(address string) bool {
	for _, one := range strings.Split(address, ",") {
		u, err := parseServer(one)
		if err != nil {
			return strings.Contains(one, "@")
		}
		if _, password := u.User.Password(); password || u.User != nil && !strings.HasPrefix(u.Scheme, "redis") {
			return true // a NATS user without a password is a token
		}
	}
	return false
}

// CheckOpenSecrets refuses a configuration file with passwords in the addresses of servers that others can read.
func CheckOpenSecrets(path string, values map[string]string) error {
	if !HasSecret(values["nats"]) && !HasSecret(values["redis"]) {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("the configuration %s has a password in it and others can read it: chmod 600 %s", path, path)
	}
	return nil
}

// serverConfig is that of the embedded message queue. It makes the secret of the state folder where the server listens.
func (e *Endpoints) serverConfig(log *slog.Logger) (natsserver.Config, error) {
	c := natsserver.Config{StoreDir: filepath.Join(e.State, "nats"), Listen: e.NATSListen, Logger: log}
	if c.Listen == "" {
		return c, nil
	}
	var err error
	c.Secret, err = state.Secret(e.State)
	return c, err
}

// linkConfig is how the message queue is reached; where it is embedded, the caller sets Server.
func (e *Endpoints) linkConfig(log *slog.Logger) link.Config {
	return link.Config{
		URL: e.NATS, Secret: e.natsSecret, CredentialsFile: e.NATSCredentials, CAFile: e.NATSCA, CertFile: e.NATSCert, KeyFile: e.NATSKey,
		Tenant: e.Tenant, Logger: log,
	}
}

// streamsConfig is what the streams of the message queue are made with.
func (e *Endpoints) streamsConfig() streams.Config {
	return streams.Config{AckWait: e.AckWait, BlobLifetime: e.BlobLifetime, Replicas: e.Replicas, Exclusive: e.Embedded() && e.NATSListen == ""}
}

// cacheOptions are how Redis is used. It makes the secret of the state folder where an embedded one listens.
func (e *Endpoints) cacheOptions(log *slog.Logger) (cache.Options, error) {
	o := cache.Options{Secret: e.redisSecret, CAFile: e.RedisCA, CertFile: e.RedisCert, KeyFile: e.RedisKey, Logger: log}
	var err error
	switch {
	case e.Redis == "" && e.RedisListen != "":
		o.Listen = e.RedisListen
		o.Secret, err = state.Secret(e.State)
	case e.RedisPasswordFile != "":
		var text []byte
		if text, err = os.ReadFile(e.RedisPasswordFile); err == nil && len(strings.TrimSpace(string(text))) == 0 {
			err = fmt.Errorf("%s is empty", e.RedisPasswordFile)
		}
		if err != nil {
			return o, fmt.Errorf("read the password of Redis: %w", err)
		}
		o.Secret = strings.TrimSpace(string(text))
	}
	return o, err
}

// Announce tells other commands on the state folder where the embedded servers are. They have to listen.
func (e *Endpoints) Announce(nats, redis string) (*state.Announcement, error) {
	return state.Announce(e.State, state.Up{NATS: nats, Redis: redis, PID: os.Getpid()})
}
