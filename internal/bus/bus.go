package bus

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"stegomq/internal/link"
	"stegomq/internal/streams"
	"stegomq/internal/tracing"
)

// Bus is the queue on the streams of a server, for any number of goroutines. It ends with its link.
type Bus struct {
	cfg     Config
	link    *link.Link
	streams *streams.Streams
	log     *slog.Logger
}

// New makes a Bus on streams that exist. It asks nothing of the server.
func New(s *streams.Streams, cfg Config) *Bus {
	return &Bus{cfg: cfg.withDefaults(), link: s.Link, streams: s, log: s.Link.Log}
}

var (
	// ErrQueueFull: there is no room for a follow-up job in its queue now.
	ErrQueueFull = errors.New("no room in the queue of jobs that follow")
	// ErrBadWorker: not a worker's id.
	ErrBadWorker = errors.New("a worker id has 1 to 128 letters, digits, '_' and '-'")
	// ErrBadFilter: a filter for subjects that the queue does not carry.
	ErrBadFilter = errors.New("a filter selects subjects that begin with job, score, result or dead")
)

// Causes of a cancelled handler context, for context.Cause.
var (
	// ErrInterrupted: a hard stop. The message goes back to the queue and does not count as failed.
	ErrInterrupted = errors.New("interrupted by a hard stop")
	// ErrHandlerTimeout: the handler ran longer than Config.MaxHandle.
	ErrHandlerTimeout = errors.New("the handler ran too long")
)

// Config says how messages are handled. The zero value of a field means its default.
type Config struct {
	// MaxDeliver is how often a job or result is tried. Default 5.
	MaxDeliver int
	// MaxHandle bounds one run of a handler. Default 10 min.
	MaxHandle time.Duration
	// RetryDelays are the delays before the second, third... try; the last one repeats.
	// Default 1 s, 5 s, 30 s, 2 min.
	RetryDelays []time.Duration
	// Grace is how long a soft stop waits for handlers. Default 20 s.
	Grace time.Duration
	// HardWait is how long a cancelled handler has to return before it is abandoned. Default 10 s.
	HardWait time.Duration
	// UnservedAfter is how long a job is offered to further workers after a worker lacked its key or model, before
	// it becomes a dead letter. Default 2 min.
	UnservedAfter time.Duration
	// Tracer records the handling of a message in the trace of its publisher. Nil: nothing is recorded.
	Tracer *tracing.Tracer
}

func (c Config) withDefaults() Config {
	c.MaxDeliver = cmp.Or(c.MaxDeliver, 5)
	c.MaxHandle = cmp.Or(c.MaxHandle, 10*time.Minute)
	if len(c.RetryDelays) == 0 {
		c.RetryDelays = []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute}
	}
	c.Grace = cmp.Or(c.Grace, 20*time.Second)
	c.HardWait = cmp.Or(c.HardWait, 10*time.Second)
	c.UnservedAfter = cmp.Or(c.UnservedAfter, 2*time.Minute)
	return c
}

// retryDelay is the delay after the given try (1 is the first) failed.
func (c *Config) retryDelay(try int) time.Duration {
	i := min(max(try, 1), len(c.RetryDelays)) - 1
	return c.RetryDelays[i]
}
