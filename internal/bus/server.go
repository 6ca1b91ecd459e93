package bus

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// MaxPayload is the largest message that the embedded server takes, in bytes.
const MaxPayload = 8 << 20

// ServerConfig says how to run the embedded server.
type ServerConfig struct {
	// StoreDir holds the streams. It is created; one process at a time may use it.
	StoreDir string
	// Listen is a loopback host:port (port 0: any free one), or "" to serve this process only.
	Listen string
	// Secret is what clients at the address must say, as the password of User. A server that listens has one.
	Secret string
	// MaxPayload in bytes; default MaxPayload.
	MaxPayload int32
	// MaxStore bounds the streams on disk, in bytes. Default 64 GiB. Streams reserve their bounds in it;
	// it takes no disk by itself.
	MaxStore int64
	// SyncAlways has every acknowledged write on the disk. By default a power failure (not a crash of
	// the process) may lose the last two minutes.
	SyncAlways bool
	// Logger for the server's warnings and errors; slog.Default() when nil.
	Logger *slog.Logger
}

// User is the user's name on an embedded server that listens.
const User = "stegomq"

// Server is an embedded NATS server with JetStream.
type Server struct {
	ns     *server.Server
	lock   *dirLock
	secret string
}

// serverStart bounds the start. Recovery of a large store counts towards it.
const serverStart = 30 * time.Second

// StartServer starts a server and waits until it takes connections. It returns ErrStoreDir,
// ErrStoreInUse, ErrListen, ErrNotLoopback, ErrNoSecret or ErrServer.
func StartServer(c ServerConfig) (*Server, error) {
	opts := &server.Options{
		ServerName:        "stegomq",
		JetStream:         true,
		StoreDir:          c.StoreDir,
		JetStreamMaxStore: or(c.MaxStore, 64<<30),
		MaxPayload:        or(c.MaxPayload, MaxPayload),
		SyncAlways:        c.SyncAlways,
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
	lock, err := lockDir(filepath.Join(c.StoreDir, "stegomq.lock"))
	if err != nil {
		return nil, err
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		lock.release()
		return nil, fmt.Errorf("%w: %w", ErrServer, err)
	}
	log := &serverLog{log: or(c.Logger, slog.Default()).With("part", "nats-server"), fatal: make(chan string, 1)}
	ns.SetLoggerV2(log, false, false, false)
	s := &Server{ns: ns, lock: lock, secret: opts.Password}
	if err := s.start(log.fatal); err != nil {
		s.Shutdown()
		return nil, err
	}
	return s, nil
}

// start returns when the server is ready or has said why it cannot be. The server reports a port in use
// and a broken store only through its log.
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

// Shutdown stops the server and waits until it has. Close every Bus on it first.
func (s *Server) Shutdown() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
	s.lock.release()
}

// serverLog takes the server's log to slog. The first fatal message goes to fatal as well.
type serverLog struct {
	log   *slog.Logger
	fatal chan string
}

var _ server.Logger = (*serverLog)(nil)

func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Debugf(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Tracef(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *serverLog) Warnf(format string, v ...any) {
	// The secret is in a file that only the user reads; the server never writes it.
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
