package bus

import (
	"log/slog"
	"time"
)

// Config says how to open a Bus. The zero value of a field means its default; a default that is a
// property of a stream or consumer (marked "stored") is only used to create it: what an operator or
// another process has set before is kept. A field that is set changes what is stored.
type Config struct {
	// URL of a NATS server (nats://host:4222, several with commas). Ignored when Server is set.
	URL string
	// Server is an embedded server to use in process, without a socket.
	Server *Server
	// Name of the connection in the server's monitoring.
	Name string
	// Secret is the password of User on another process's embedded server.
	Secret string
	// CredentialsFile is a NATS .creds file; CAFile a PEM file of certificate authorities, with which a connection without TLS is refused;
	// CertFile and KeyFile a client certificate and its key, PEM.
	CredentialsFile, CAFile, CertFile, KeyFile string
	// Logger; slog.Default() when nil.
	Logger *slog.Logger
	// ConnectTimeout bounds Open's first connection. Default 3 s. After that the bus reconnects forever.
	ConnectTimeout time.Duration

	// AckWait (stored, default 30 s) is how long the server waits for a sign of life before it gives a
	// message to somebody else. A worker sends one every AckWait/3.
	AckWait time.Duration
	// MaxDeliver is how often a job or result is tried. Default 5.
	MaxDeliver int
	// MaxHandle bounds one run of a handler. Default 10 min.
	MaxHandle time.Duration
	// RetryDelays are the delays before the second, third... try; the last one repeats.
	// Default 1 s, 5 s, 30 s, 2 min.
	RetryDelays []time.Duration
	// Grace is how long a soft stop waits for handlers. Default 20 s.
	Grace time.Duration
	// HardWait is how long a hard stop waits for cancelled handlers to return. Default 10 s.
	HardWait time.Duration

	// UnservedAfter is how long a job that a worker had no key or model for goes round among the others before it
	// becomes a dead letter. Default 2 min.
	UnservedAfter time.Duration

	// Tenant whose jobs, blobs and results these are; empty: the operator's own. A tenant creates nothing: `access grant` has.
	Tenant string
	// KeepStored has streams that are there keep their bounds and lifetimes, whatever is set here: it is for those who only use them.
	KeepStored bool
	// Exclusive says that the server is this process's alone, as an embedded one is that does not listen: its workers take the jobs
	// of one run (JobOptions.Run), and what another run left waits.
	Exclusive bool

	// Stored bounds of the streams in bytes: of each queue of jobs (default 1 GiB), SCORING and RESULTS (1 GiB), DEAD (256 MiB).
	// The blob store is bounded by MaxBlobBytes; default none but the server's.
	MaxJobBytes, MaxResultBytes, MaxDeadBytes, MaxBlobBytes int64
	// Stored lifetimes: results 24 h, dead letters 30 days, blobs 7 days.
	ResultLifetime, DeadLifetime, BlobLifetime time.Duration
	// Replicas of every stream when it is created. Default: 3 where the cluster has three servers or more, else 1.
	Replicas int
}

func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// withDefaults fills in what is not stored on the server. Stored fields stay zero when they were not
// given, so that streams.go can tell.
func (c Config) withDefaults() Config {
	c.Name = or(c.Name, "stegomq")
	c.Logger = or(c.Logger, slog.Default())
	c.ConnectTimeout = or(c.ConnectTimeout, 3*time.Second)
	c.MaxHandle = or(c.MaxHandle, 10*time.Minute)
	c.MaxDeliver = or(c.MaxDeliver, defaultMaxDeliver)
	if len(c.RetryDelays) == 0 {
		c.RetryDelays = []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute}
	}
	c.Grace = or(c.Grace, 20*time.Second)
	c.HardWait = or(c.HardWait, 10*time.Second)
	c.UnservedAfter = or(c.UnservedAfter, 2*time.Minute)
	return c
}

// Defaults of stored settings.
const (
	defaultAckWait        = 30 * time.Second
	defaultMaxDeliver     = 5
	defaultMaxJobBytes    = 1 << 30
	defaultMaxResultBytes = 1 << 30
	defaultMaxDeadBytes   = 256 << 20
	defaultResultLifetime = 24 * time.Hour
	defaultDeadLifetime   = 30 * 24 * time.Hour
	defaultBlobLifetime   = 7 * 24 * time.Hour
)

// retryDelay is the delay after the given try (1 is the first) failed.
func (c *Config) retryDelay(try int) time.Duration {
	i := min(max(try, 1), len(c.RetryDelays)) - 1
	return c.RetryDelays[i]
}
