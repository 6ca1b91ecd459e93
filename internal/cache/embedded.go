package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"stegomq/internal/filelock"
)

// saveInterval is how often an embedded server stores what it holds, when something changed, and moves
// its clock on. saveShare bounds the share of the time that storing takes: a snapshot that took a second
// is followed by another after 20 at the earliest.
const (
	saveInterval = 10 * time.Second
	saveShare    = 20
)

// lockName is the file in a state directory that its owner holds locked.
const lockName = "lock"

// damagedName is where a snapshot that does not read goes. A later one takes its place.
const damagedName = snapshotName + ".damaged"

// notWrites are the commands that change no key although miniredis does not mark them as read-only.
var notWrites = map[string]bool{
	"AUTH": true, "CLIENT": true, "COMMAND": true, "EXEC": true, "HELLO": true, "INFO": true,
	"MULTI": true, "PING": true, "QUIT": true, "SCRIPT": true, "SELECT": true,
}

// embedded is a Redis in this process with a directory for its keys.
//
// miniredis keeps nothing when it stops and its clock stands still; the goroutine that keep runs makes up
// for both. A crash loses at most what was written since the last snapshot, about saveInterval; Close
// loses nothing.
type embedded struct {
	server *miniredis.Miniredis
	db     *miniredis.RedisDB
	dir    string
	lock   *os.File
	log    *slog.Logger

	writes atomic.Uint64 // commands that may have changed a key, counted before they run
	size   atomic.Int64  // bytes of the last snapshot

	// Of keep's goroutine, and after it of close.
	saved    uint64    // writes at the last snapshot
	clock    time.Time // when the server's clock was last moved on
	earliest time.Time // of the next snapshot

	stop, stopped chan struct{}
}

// OpenEmbedded starts a Redis in this process that keeps its keys in dir, which is made when it is not
// there (mode 0700). It returns ErrLocked when another process, or another Cache, has the directory,
// ErrNotLoopback and ErrNoSecret. A damaged snapshot is moved aside with a warning, and the cache starts empty.
func OpenEmbedded(ctx context.Context, dir string, opts Options) (*Cache, error) {
	return openEmbedded(ctx, dir, opts, saveInterval)
}

func openEmbedded(ctx context.Context, dir string, opts Options, interval time.Duration) (*Cache, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := checkLoopback(opts.Listen); err != nil {
		return nil, err
	}
	if opts.Listen == "" {
		opts.Secret = ""
	} else if opts.Secret == "" {
		return nil, ErrNoSecret
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	lock, err := filelock.Own(filepath.Join(dir, lockName))
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fmt.Errorf("%w: %s: %w; give the --nats and --redis of that running \"stegomq up\", or another --state", ErrLocked, dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the state directory %s: %w", dir, err)
	}
	opts = opts.withDefaults()
	e := &embedded{dir: dir, lock: lock, log: opts.Logger, stop: make(chan struct{}), stopped: make(chan struct{})}
	url, err := e.start(opts.Listen, opts.Secret)
	if err != nil {
		_ = filelock.Release(lock)
		return nil, err
	}
	c := newCache(&redis.Options{
		Addr: "embedded", Password: opts.Secret,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			conn, err := e.server.Dial()
			if err != nil {
				return nil, err
			}
			return newReadAhead(conn), nil
		},
	}, opts)
	c.embedded, c.url = e, url
	go e.keep(interval)
	return c, nil
}

// start loads the snapshot and then serves, so that no client sees a part of it.
func (e *embedded) start(listen, secret string) (url string, err error) {
	e.clock = time.Now()
	e.server = miniredis.NewMiniRedis()
	if secret != "" {
		e.server.RequireAuth(secret)
	}
	e.db = e.server.DB(0)
	err = readSnapshot(e.dir, e.db, e.clock)
	if errors.Is(err, errSnapshot) {
		e.db.FlushDB()
		err = e.setAside(err)
	}
	if err != nil {
		return "", err
	}
	if listen == "" {
		conn, err := e.server.Dial() // starts a server without a listener
		if err != nil {
			return "", fmt.Errorf("start the embedded Redis: %w", err)
		}
		_ = conn.Close()
	} else {
		if err := e.server.StartAddr(listen); err != nil {
			return "", fmt.Errorf("start the embedded Redis on %s: %w", listen, err)
		}
		url = "redis://" + e.server.Addr() + "/0"
	}
	srv := e.server.Server()
	srv.SetPreHook(func(_ *server.Peer, cmd string, _ ...string) (done bool) {
		if !notWrites[cmd] && !srv.IsReadOnlyCommand(cmd) {
			e.writes.Add(1)
		}
		return false
	})
	return url, nil
}

func (e *embedded) setAside(cause error) error {
	aside := filepath.Join(e.dir, damagedName)
	if err := os.Rename(filepath.Join(e.dir, snapshotName), aside); err != nil {
		return fmt.Errorf("move the damaged snapshot aside: %w", err)
	}
	e.log.Warn("the cache starts empty: its snapshot does not read and was moved aside", "moved_to", aside, "error", cause)
	return nil
}

// keep moves the clock on and stores changes until close.
func (e *embedded) keep(interval time.Duration) {
	defer close(e.stopped)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-ticker.C:
			e.tick(time.Now())
		}
	}
}

// tick expires keys and stores what changed. Failures are logged: the next tick tries again.
func (e *embedded) tick(now time.Time) {
	e.expire(now)
	if e.writes.Load() == e.saved || now.Before(e.earliest) {
		return
	}
	if err := e.save(now); err != nil {
		e.log.Warn("the cache could not be stored", "error", err)
	}
}

// expire moves the server's clock on to now.
func (e *embedded) expire(now time.Time) {
	// Without the monotonic reading, which stands still while the machine sleeps.
	if elapsed := now.Round(0).Sub(e.clock.Round(0)); elapsed > 0 {
		e.server.FastForward(elapsed)
	}
	e.clock = now
}

func (e *embedded) save(now time.Time) error {
	// Read first: a write that comes while the keys are copied is for the next snapshot.
	writes, began := e.writes.Load(), time.Now()
	size, err := writeSnapshot(e.dir, e.db, now)
	e.earliest = now.Add(saveShare * time.Since(began))
	if err != nil {
		return err
	}
	e.saved = writes
	e.size.Store(size)
	return nil
}

// close stops the ticker, so that it does not store a snapshot of its own; then the server, so that no
// client writes any more; then it stores everything; and only then lets another process in.
func (e *embedded) close() error {
	close(e.stop)
	<-e.stopped
	e.server.Close()
	var err error
	// Also when the last snapshot has all writes by count: one may have run after it was counted.
	if e.writes.Load() > 0 {
		now := time.Now()
		e.expire(now)
		err = e.save(now)
	}
	return errors.Join(err, filelock.Release(e.lock))
}

// checkLoopback accepts host:port with a host that only this machine reaches, and an empty address.
func checkLoopback(addr string) error {
	if addr == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("the address of the embedded Redis: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%w, not on %s: it has no TLS; run a redis-server and give it with --redis", ErrNotLoopback, addr)
	}
	return nil
}
