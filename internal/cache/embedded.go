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

// saveInterval is how often an embedded server stores changes and advances its clock. saveShare bounds the
// share of the time that storing takes: after a snapshot that took a second, the next one is at the
// earliest after 20.
const (
	saveInterval = 10 * time.Second
	saveShare    = 20
)

// lockName is the file in a state directory that its owner holds locked.
const lockName = "lock"

// damagedName is where an unreadable snapshot is moved. It replaces an earlier one.
const damagedName = snapshotName + ".damaged"

// notWrites are the commands that change no key although miniredis does not mark them as read-only.
var notWrites = map[string]bool{
	"AUTH": true, "CLIENT": true, "COMMAND": true, "EXEC": true, "HELLO": true, "INFO": true,
	"MULTI": true, "PING": true, "QUIT": true, "SCRIPT": true, "SELECT": true,
}

// embedded is a Redis in this process with a directory for its keys.
//
// miniredis keeps nothing when it stops, and its clock stands still; the goroutine of keep compensates for
// both. A crash loses at most the writes since the last snapshot, about saveInterval; Close loses nothing.
type embedded struct {
	server *miniredis.Miniredis
	db     *miniredis.RedisDB
	dir    string
	lock   *os.File
	log    *slog.Logger

	writes atomic.Uint64 // commands that may have changed a key, counted before they run
	size   atomic.Int64  // bytes of the last snapshot

	// Owned by keep's goroutine, and after its end by close.
	saved    uint64    // writes at the last snapshot
	clock    time.Time // when the server's clock was last advanced
	earliest time.Time // time of the next snapshot

	stop, stopped chan struct{}
}

// OpenEmbedded starts a Redis in this process that keeps its keys in dir, which it creates if missing
// (mode 0700). It returns ErrLocked when another process, or another Cache, has the directory,
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

// start loads the snapshot and then serves, so that no client sees an incomplete snapshot.
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

// keep advances the clock and stores changes until close.
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

// tick expires keys and stores changes. Failures are logged: the next tick tries again.
func (e *embedded) tick(now time.Time) {
	e.expire(now)
	if e.writes.Load() == e.saved || now.Before(e.earliest) {
		return
	}
	if err := e.save(now); err != nil {
		e.log.Warn("the cache could not be stored", "error", err)
	}
}

// expire advances the server's clock to now.
func (e *embedded) expire(now time.Time) {
	// Without the monotonic reading, which stands still while the machine sleeps.
	if elapsed := now.Round(0).Sub(e.clock.Round(0)); elapsed > 0 {
		e.server.FastForward(elapsed)
	}
	e.clock = now
}

func (e *embedded) save(now time.Time) error {
	// The count is read first: a write while the keys are copied is left to the next snapshot.
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

// close stops in this order: the ticker, so that it stores no further snapshot; the server, so that no
// client writes any more. Then it stores everything, and only then releases the directory.
func (e *embedded) close() error {
	close(e.stop)
	<-e.stopped
	e.server.Close()
	var err error
	// Also when the last snapshot has all counted writes: one may have run after it was counted.
	if e.writes.Load() > 0 {
		now := time.Now()
		e.expire(now)
		err = e.save(now)
	}
	return errors.Join(err, filelock.Release(e.lock))
}

// checkLoopback accepts an empty address, or host:port with a host that only this machine can reach.
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
