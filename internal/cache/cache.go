// Package cache owns stegomq's data in Redis: the scores of evaluation runs, and memos of finished work. It
// is the only importer of go-redis and miniredis, and has every Redis key, script and encoding.
//
// The server is an external Redis (Open) or one that runs in this process and keeps its keys in a
// directory (OpenEmbedded). Both behave alike; one suite of tests runs over both.
//
// Invariants:
//   - A score, once stored, is never overwritten: storing it again changes nothing.
//   - A run id names one specification for ever: another specification under it is refused.
//   - A memo may be lost at any time, and an undecodable memo is a miss. Scores and runs do not expire.
//   - No user's key is ever stored, only key ids and fingerprints.
package cache

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"stegomq/schemas"
)

var (
	// ErrBadURL: the address of the Redis server is not a URL of a known kind.
	ErrBadURL = errors.New("not a Redis URL")
	// ErrUnreachable: no Redis server answers at the address, or it refuses the client. It is a schemas.ErrAway: work that needs the
	// server waits for it.
	ErrUnreachable error = awayError("Redis does not answer")
	// ErrLocked: another process has the state directory.
	ErrLocked = errors.New("the state directory is in use")
	// ErrNotLoopback: an embedded server was asked to listen where other machines reach it.
	ErrNotLoopback = errors.New("an embedded Redis listens on loopback only")
	// ErrNoSecret: an embedded server that listens was given no secret.
	ErrNoSecret = errors.New("an embedded Redis that listens needs a secret")
	// ErrClientFiles: a certificate or a password file cannot be read, or does not apply to the address.
	ErrClientFiles = errors.New("cannot use the files of the connection to Redis")
	// ErrUnknownRun: no run of that id was started.
	ErrUnknownRun = errors.New("unknown run")
	// ErrRunDiffers: a run of that id was started with another specification.
	ErrRunDiffers = errors.New("the run exists with another specification")
)

type awayError string

func (e awayError) Error() string { return string(e) }

func (awayError) Is(target error) bool { return target == schemas.ErrAway }

// Ping returns nil when the server answers and accepts work: not while it loads its data.
func (c *Cache) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return c.rdb.Ping(ctx).Err()
}

// DefaultLifetime is the default lifetime of memos.
const DefaultLifetime = 30 * 24 * time.Hour

// openTimeout bounds how long Open waits for a server's first answer, pingTimeout how long Ping does, and commandTimeout how long a command
// waits for one later: reading the scores of a large run from a busy machine takes seconds.
const (
	openTimeout    = 5 * time.Second
	pingTimeout    = 2500 * time.Millisecond
	commandTimeout = 30 * time.Second
)

// Options adjust a Cache. The zero value is good.
type Options struct {
	// Lifetime of memos, counted from when they were stored; DefaultLifetime when 0.
	Lifetime time.Duration
	// Logger takes warnings; slog.Default() when nil.
	Logger *slog.Logger
	// Listen is a loopback address (127.0.0.1:0 picks a port) on which OpenEmbedded serves other
	// processes; empty: none. Open ignores it.
	Listen string
	// Secret is the server's password if the URL has none. An embedded server that listens needs one, and requires it from clients.
	Secret string
	// CAFile is a PEM file of certificate authorities, CertFile and KeyFile are a client certificate and its key, PEM. They are for
	// rediss:// only.
	CAFile, CertFile, KeyFile string
}

func (o Options) withDefaults() Options {
	if o.Lifetime <= 0 {
		o.Lifetime = DefaultLifetime
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Cache is safe for concurrent use.
type Cache struct {
	rdb      *redis.Client
	url      string
	lifetime time.Duration
	embedded *embedded // nil for an external server
	now      func() time.Time

	outputs, metrics, inspections counter

	closing  sync.Once
	closeErr error
}

// Open connects to an external Redis: redis://[[user]:password@]host:port[/db], rediss:// for TLS, or
// unix://[[user]:password@]/path/to/socket[?db=n]. It returns ErrBadURL, ErrClientFiles, or within 5 s ErrUnreachable; no
// error holds the password.
func Open(ctx context.Context, url string, opts Options) (*Cache, error) {
	o, err := redis.ParseURL(url)
	if err != nil { // the cause may quote the password
		return nil, fmt.Errorf("%w: want redis://[user:password@]host:port[/db], rediss://... for TLS, or unix:///path/to/socket", ErrBadURL)
	}
	opts = opts.withDefaults()
	if err := opts.identify(o); err != nil {
		return nil, err
	}
	if o.DialTimeout <= 0 || o.DialTimeout > openTimeout {
		o.DialTimeout = openTimeout
	}
	c := newCache(o, opts)
	c.url = publicURL(o)
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := c.rdb.Ping(ctx).Err(); err != nil {
		_ = c.rdb.Close()
		return nil, unreachable(ctx, c.url, err)
	}
	c.rdb.AddHook(lostHook{})
	return c, nil
}

func newCache(o *redis.Options, opts Options) *Cache {
	quiet.Do(func() { redis.SetLogger(debugLog{}) })
	o.ContextTimeoutEnabled = true
	o.ReadTimeout = cmp.Or(o.ReadTimeout, commandTimeout) // a URL may set its own
	o.WriteTimeout = cmp.Or(o.WriteTimeout, commandTimeout)
	o.DisableIdentity = true
	o.DialerRetries = 1 // MaxRetries tries again, and counts
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return &Cache{rdb: redis.NewClient(o), lifetime: opts.Lifetime, now: time.Now}
}

// URL is where other processes reach the same server, without the password; empty when they cannot.
func (c *Cache) URL() string { return c.url }

// Close ends the connections. An embedded server stores its keys, stops and releases its directory. A
// second call does nothing and returns the same.
func (c *Cache) Close() error {
	c.closing.Do(func() {
		c.closeErr = c.rdb.Close()
		if c.embedded != nil {
			c.closeErr = errors.Join(c.closeErr, c.embedded.close())
		}
	})
	return c.closeErr
}

// publicURL is the server's address without user and password.
func publicURL(o *redis.Options) string {
	if o.Network == "unix" {
		if o.DB != 0 {
			return fmt.Sprintf("unix://%s?db=%d", o.Addr, o.DB)
		}
		return "unix://" + o.Addr
	}
	scheme := "redis"
	if o.TLSConfig != nil {
		scheme = "rediss"
	}
	return fmt.Sprintf("%s://%s/%d", scheme, o.Addr, o.DB)
}

// unreachable says in one line why the first command failed, and what to do.
func unreachable(ctx context.Context, url string, err error) error {
	advice := "start the server, or check --redis"
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	text := err.Error()
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("connect to Redis at %s: %w", url, ctx.Err())
	case strings.HasPrefix(text, "NOAUTH"), strings.HasPrefix(text, "WRONGPASS"), strings.HasPrefix(text, "ERR invalid password"):
		advice = "the server wants another user or password: check STEGOMQ_REDIS or the --redis-password-file"
	case errors.As(err, &dns):
		advice = "check the host name in --redis"
	case errors.As(err, &cert):
		advice = "its certificate is not trusted: give the file of its authority with --redis-ca"
	case strings.Contains(text, "certificate required"), strings.Contains(text, "bad certificate"), strings.Contains(text, "unknown certificate"):
		advice = "it wants a client certificate that it knows: give --redis-cert and --redis-key"
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %s gave no answer within %v; %s", ErrUnreachable, url, openTimeout, advice)
	}
	text, _, _ = strings.Cut(text, "\n")
	return fmt.Errorf("%w: %s: %s; %s", ErrUnreachable, url, text, advice)
}

// quiet switches off go-redis's own log, which goes to standard error by default.
var quiet sync.Once

type debugLog struct{}

func (debugLog) Printf(ctx context.Context, format string, v ...any) {
	slog.DebugContext(ctx, fmt.Sprintf(format, v...), "from", "go-redis")
}
