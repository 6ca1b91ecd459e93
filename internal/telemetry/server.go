package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"
)

const (
	// stopTimeout is the time that requests in progress have when the server stops.
	stopTimeout = 5 * time.Second
	// checkTimeout is the time that all readiness checks together have.
	checkTimeout = 2 * time.Second
)

// Check returns nil if something that the process needs works.
type Check func(context.Context) error

// Server serves over HTTP, for monitoring:
//
//	/metrics  the metrics
//	/healthz  200 while the process runs
//	/readyz   200 when every check passes; 503 with a line for each that fails
//	/debug/pprof/  profiles of the Go runtime, for `go tool pprof`; they hold stacks, and no images or keys
type Server struct {
	listener net.Listener
	http     *http.Server
	checks   map[string]Check
	stop     time.Duration // stopTimeout, but in a test
}

// NewServer listens on addr (host:port; port 0 picks one) so that a bad or taken address fails at once;
// Run serves. checks name what must work for the process to be ready.
func NewServer(addr string, m *Metrics, checks map[string]Check, log *slog.Logger) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serve metrics on %s: %w", addr, err)
	}
	s := &Server{listener: l, checks: checks, stop: stopTimeout}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	// The command line is not served: it may contain names that an operator would not publish.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	s.http = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return s, nil
}

// Addr is the address that the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx is cancelled, then lets requests in progress end, for up to 5 s, and returns nil.
// It is called once, and releases the address.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve metrics: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.stop)
	defer cancel()
	err := s.http.Shutdown(stop)
	if err != nil { // someone reads slowly, or not at all
		err = s.http.Close()
	}
	<-served //nolint:errcheck // what Serve says of its end is no news
	if err != nil {
		return fmt.Errorf("stop serving metrics: %w", err)
	}
	return nil
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()
	var failed []string
	for _, name := range slices.Sorted(maps.Keys(s.checks)) {
		if err := s.checks[name](ctx); err != nil {
			failed = append(failed, name+": "+err.Error())
		}
	}
	if len(failed) > 0 {
		text(w, http.StatusServiceUnavailable, strings.Join(failed, "\n"))
		return
	}
	text(w, http.StatusOK, "ready")
}

func text(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, body)
}
