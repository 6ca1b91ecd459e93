// Package natsserver owns the NATS server with JetStream that runs in this process, so that a command needs no other.
//
// Invariants:
//   - Only one process at a time has a store: nats-server itself does not check this, and two would write the same files.
//   - A server listens on loopback only, and accepts only clients that know its secret. Its own process needs no socket.
//
// Close every client before Shutdown: clients need the server's answers to close in order.
package natsserver

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"stegomq/internal/filelock"
)

var (
	// ErrStoreDir: the server cannot use its directory.
	ErrStoreDir = errors.New("cannot use the message store's directory")
	// ErrStoreInUse: another process runs a server on the directory.
	ErrStoreInUse = errors.New("the message store is in use by another process: connect to it with --nats, or choose another directory")
	// ErrListen: the server cannot listen at the address.
	ErrListen = errors.New("cannot listen")
	// ErrNotLoopback: the server has no TLS, so it only listens on loopback.
	ErrNotLoopback = errors.New("the embedded server listens on loopback addresses only: run a nats-server with TLS to serve a network")
	// ErrNoSecret: a server that listens was given no secret.
	ErrNoSecret = errors.New("an embedded server that listens needs a secret")
	// ErrServer: the server did not start.
	ErrServer = errors.New("the embedded NATS server did not start")
)

// MaxPayload is the largest message that a server takes, in bytes.
const MaxPayload = 8 << 20

// Config says how to run a server.
type Config struct {
	// StoreDir holds the streams. It is created; one process at a time may use it.
	StoreDir string
	// Listen is a loopback host:port (port 0: any free one), or "" to serve this process only.
	Listen string
	// Secret is the password of User, which clients at the address need. A server that listens has one.
	Secret string
	// MaxPayload in bytes; default MaxPayload.
	MaxPayload int32
	// MaxStore bounds the streams on disk, in bytes. Default 64 GiB. Streams reserve their bounds in it,
	// but it allocates no disk. A power failure (not a crash of the process) may lose the last two minutes.
	MaxStore int64
	// Logger for the server's warnings and errors; slog.Default() when nil.
	Logger *slog.Logger
}

// User is the user's name on a server that listens.
const User = "stegomq"

// Server is a NATS server with JetStream in this process.
type Server struct {
	ns     *server.Server
	lock   *os.File
	secret string
}

// serverStart bounds the start. Recovery of a large store counts towards it.
const serverStart = 30 * time.Second

// Start starts a server and waits until it takes connections. It returns ErrStoreDir,
// ErrStoreInUse, ErrListen, ErrNotLoopback, ErrNoSecret or ErrServer.
func Start(c Config) (*Server, error) {
	opts := &server.Options{
		ServerName:        "stegomq",
		JetStream:         true,
		StoreDir:          c.StoreDir,
		JetStreamMaxStore: cmp.Or(c.MaxStore, 64<<30),
		MaxPayload:        cmp.Or(c.MaxPayload, MaxPayload),
		AuthTimeout:       serverStart.Seconds(), // the server's own 2 s are short for clients on a busy machine
		NoSigs:            true,
		NoLog:             true,
	}
	if err := listenOptions(opts, c.Listen, c.Secret); err != nil {
		return nil, err
	}
	if c.StoreDir == "" {
		return nil, fmt.Errorf("%w: none was given", ErrStoreDir)
	}
	if err := os.MkdirAll(c.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStoreDir, err)
	}
	lock, err := filelock.Own(filepath.Join(c.StoreDir, "stegomq.lock"))
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fmt.Errorf("%w (%s: %w)", ErrStoreInUse, c.StoreDir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStoreDir, err)
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		_ = filelock.Release(lock)
		return nil, fmt.Errorf("%w: %w", ErrServer, err)
	}
	log := &serverLog{log: cmp.Or(c.Logger, slog.Default()).With("part", "nats-server"), fatal: make(chan string, 1)}
	ns.SetLoggerV2(log, false, false, false)
	s := &Server{ns: ns, lock: lock, secret: opts.Password}
	if err := s.start(log.fatal); err != nil {
		s.Shutdown()
		return nil, err
	}
	return s, nil
}

// start returns when the server is ready or has failed. The server reports a port in use and a broken
// store only in its log.
func (s *Server) start(fatal <-chan string) error {
	started := make(chan struct{})
	go func() { defer close(started); s.ns.Start() }()
	deadline := time.After(serverStart)
	for {
		select {
		case why := <-fatal:
			if strings.Contains(why, "listening on") {
				return fmt.Errorf("%w: %s", ErrListen, why)
			}
			return fmt.Errorf("%w: %s", ErrServer, why)
		case <-deadline:
			return fmt.Errorf("%w: not ready after %v", ErrServer, serverStart)
		case <-started:
			started = nil
		case <-time.After(2 * time.Millisecond):
		}
		if started == nil && s.ns.JetStreamEnabled() && s.ns.ReadyForConnections(time.Millisecond) {
			return nil
		}
	}
}

func listenOptions(opts *server.Options, listen, secret string) error {
	if listen == "" {
		opts.DontListen = true
		return nil
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("%w at %q: want host:port", ErrListen, listen)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%w, got %q", ErrNotLoopback, listen)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("%w at %q: want host:port", ErrListen, listen)
	}
	if secret == "" {
		return ErrNoSecret
	}
	opts.Username, opts.Password = User, secret
	opts.Host, opts.Port = host, int(n)
	if n == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return nil
}

// URL is where other processes reach the server, or "" when it serves this process only.
func (s *Server) URL() string {
	addr, ok := s.ns.Addr().(*net.TCPAddr)
	if !ok || addr == nil {
		return ""
	}
	return "nats://" + addr.String()
}

// InProcessConn connects to the server without a socket (nats.InProcessConnProvider).
func (s *Server) InProcessConn() (net.Conn, error) { return s.ns.InProcessConn() }

// Secret is the password of User; "" where the server does not listen.
func (s *Server) Secret() string { return s.secret }

// Shutdown stops the server and waits until it has. Close every client of it first.
func (s *Server) Shutdown() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
	_ = filelock.Release(s.lock)
}

// serverLog passes the server's log to slog. The first fatal message is also sent to fatal.
type serverLog struct {
	log   *slog.Logger
	fatal chan string
}

var _ server.Logger = (*serverLog)(nil)

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Debugf(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Tracef(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Warnf(format string, v ...any) {
	// The secret is in a file that only the user can read; the server never writes it.
	if text := fmt.Sprintf(format, v...); !strings.HasPrefix(text, "Plaintext passwords detected") {
		l.log.Warn(text)
	}
}

func (l *serverLog) Errorf(format string, v ...any) { l.log.Error(fmt.Sprintf(format, v...)) }
func (l *serverLog) Fatalf(format string, v ...any) {
	why := fmt.Sprintf(format, v...)
	select {
	case l.fatal <- why:
	default:
	}
}
