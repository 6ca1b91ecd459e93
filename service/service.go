// Package service owns the HTTP API: what may be asked over it, by whom, and how it is answered (docs/http.md, openapi.json). It is a front of the
// queue: a request becomes a job on the same path as a line of `stegomq embed --stream` (pipeline.Services.Ask).
//
// Invariants:
//   - A key, a model's key or a job that a user may not know of gets the same answer as one that does not exist. The user's own grants alone
//     decide this; what others have is never looked up.
//   - Each user's jobs, images and memoised work belong to a tenant of the user's name. So even the time that an answer takes tells nothing
//     of another user's work.
//   - No body is read before its sender is known and holds a slot. So the number of slots bounds the memory.
//   - Every error is a problem body (RFC 9457) with a code from the table in problem.go. Neither the body nor the log has a token, the bytes of
//     a key, or the text of an error that may name what belongs to others.
//   - When the service is asked to end, it says that it is not ready, takes no new requests, and ends when those under way have ended.
package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"stegomq/internal/pixel"
	"stegomq/internal/users"
	"stegomq/pipeline"
	"stegomq/producer"
	"stegomq/schemas"
)

var (
	// ErrAddress: the service cannot listen there.
	ErrAddress = errors.New("HTTP cannot be served there")
	// ErrLimit: a limit is out of its range.
	ErrLimit = errors.New("a limit of HTTP is out of range")
	// ErrDataset: a data set is not there, or has a name that is not allowed.
	ErrDataset = errors.New("a data set for runs over HTTP cannot be used")
)

// Config says how the service listens, and its limits. Zero values take the defaults.
type Config struct {
	// Address is a host:port; port 0 picks one.
	Address string
	// CertFile and KeyFile are PEM files of the server's certificate and its key. Without them only loopback is served, unless Plain says that
	// a proxy in front of the service ends TLS.
	CertFile, KeyFile string
	Plain             bool
	// Images are the limits of one image. Default: 32 MiB, 16 Mi pixels.
	Images pixel.Limits
	// MaxBody bounds a request's body, in bytes. Default 32 MiB.
	MaxBody int64
	// InFlight bounds the requests with images that are under way, PerUser those of one user. Defaults 16 and 8.
	InFlight, PerUser int
	// Rate bounds the requests of one user in a second. Default 0: there is no bound.
	Rate float64
	// Timeout bounds the time from a request's last byte to its answer. BodyTimeout bounds the time in which the body comes, and that in which
	// the client takes the answer. Drain is how long the service waits at its end for the requests under way. Defaults 60 s, 30 s, 30 s.
	Timeout, BodyTimeout, Drain time.Duration
	// Datasets are the data sets that runs may be made on, by the names that users give: folders, archives or lists that this process reads.
	Datasets map[string]string
	// Runs bounds the runs that are made at once. Default 2.
	Runs int
	// TrustTraceparent says that a gateway of the operator's sets the header traceparent of every request, or removes it. A request then goes on
	// in that trace. Otherwise it begins a trace of its own, with a link to the one that the client names.
	TrustTraceparent bool
	// DefaultModel names the model for an operation whose request names none.
	DefaultModel func(schemas.Operation) string
	Logger       *slog.Logger
}

// Pipeline is what the service asks of the pipeline: operations, evaluations, and the state of the queue.
type Pipeline interface {
	EnsureUser(ctx context.Context, user string) error
	Ask(ctx context.Context, req *pipeline.OperationRequest, tenant, key string, images map[string][]byte) (producer.Reply, []byte, error)
	Output(ctx context.Context, tenant, digest string) ([]byte, error)
	Check(ctx context.Context) error
	Put(ctx context.Context, tenant string, data []byte) (digest string, err error)

	Evaluate(ctx context.Context, req *pipeline.Request, watch pipeline.Watch) (*pipeline.Run, error)
	Run(ctx context.Context, id string) (pipeline.RunRow, error)
	Runs(ctx context.Context, waiting bool) ([]pipeline.RunRow, error)
	RunProgress(ctx context.Context, id string) (scores, failures int, err error)
	Results(ctx context.Context, id string, made bool) (*pipeline.Results, error)
	ScoredImage(ctx context.Context, id string, of *schemas.Score, reference bool) (*image.NRGBA, error)
	CancelRun(ctx context.Context, id string) error
	RemoveRun(ctx context.Context, id string) error

	QueueStatus(ctx context.Context) (*pipeline.QueueStatus, error)
	DeadLetters(ctx context.Context, f pipeline.DeadFilter) ([]pipeline.DeadRow, error)
	RetryDead(ctx context.Context, number uint64) error
	DropDead(ctx context.Context, number uint64) error
	TailDead(ctx context.Context, f func(*schemas.DeadLetter)) error
}

var _ Pipeline = (*pipeline.Services)(nil)

// Records are what the services on one Redis keep of the runs that were asked for, and who makes each (package internal/cache).
type Records interface {
	KeepAsked(ctx context.Context, run string, record []byte, request string, remember time.Duration) (earlier []byte, err error)
	ReplaceAsked(ctx context.Context, run string, record []byte) (there bool, err error)
	AskedRun(ctx context.Context, run string) ([]byte, error)
	Asked(ctx context.Context) (map[string]string, error)
	DropAsked(ctx context.Context, run string) error
	LeaseAsked(ctx context.Context, run, holder string, long time.Duration) (bool, error)
	ReleaseAsked(ctx context.Context, run, holder string) error
}

// Parts are what the service works with.
type Parts struct {
	Pipeline Pipeline
	Records  Records
	Users    *users.File
	pipeline.Stock
}

// Service is the HTTP API.
type Service struct {
	cfg Config
	Parts
	log      *slog.Logger
	listener net.Listener
	http     *http.Server
	slots    *places // of requests with images
	showing  *places // of what is made to be shown
	pace     pace
	jobs     *jobs
	runs     *runner
	events   *hub
	// For the web page: who is signed in, what they tried, from which sites forms are taken, and the queue's counts when somebody last looked.
	sessions *sessions
	tries    *tries
	origins  *http.CrossOriginProtection
	rates    rates

	ensured sync.Map // names of users whose streams are there
}

func (c *Config) setDefaults() {
	c.Images.MaxBytes = cmp.Or(c.Images.MaxBytes, 32<<20)
	c.Images.MaxPixels = cmp.Or(c.Images.MaxPixels, 16<<20)
	c.MaxBody = cmp.Or(c.MaxBody, 32<<20)
	c.InFlight = cmp.Or(c.InFlight, 16)
	c.PerUser = min(cmp.Or(c.PerUser, 8), c.InFlight)
	c.Runs = cmp.Or(c.Runs, 2)
	c.Timeout = cmp.Or(c.Timeout, time.Minute)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, 30*time.Second)
	c.Drain = cmp.Or(c.Drain, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// mostRate is the largest Config.Rate.
const mostRate = 1_000_000

// Loopback says whether an address is one that only this machine reaches.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// Check finds what is wrong with the configuration before anything is opened. It returns ErrAddress, ErrLimit or ErrDataset.
func (c *Config) Check() error {
	switch {
	case c.Address == "":
		return fmt.Errorf("%w: name a host:port with --http", ErrAddress)
	case min(int64(c.InFlight), int64(c.PerUser), int64(c.Runs), int64(c.Timeout), c.MaxBody, c.Images.MaxBytes, c.Images.MaxPixels) < 0:
		return fmt.Errorf("%w: --http-in-flight, --http-per-user, --http-runs, --http-timeout, --http-max-body and --http-max-mpx must not be below 0", ErrLimit)
	case !(c.Rate >= 0 && c.Rate <= mostRate):
		return fmt.Errorf("%w: --http-rate is 0 to %d requests a second", ErrLimit, mostRate)
	case (c.CertFile == "") != (c.KeyFile == ""):
		return fmt.Errorf("%w: --http-cert and --http-key go together: give the certificate and its key", ErrAddress)
	case c.CertFile == "" && !c.Plain && !Loopback(c.Address):
		return fmt.Errorf("%w: other machines reach %s, and tokens and images would travel unencrypted: give --http-cert and --http-key, or --http-plain where a proxy ends TLS", ErrAddress, c.Address)
	}
	for name, where := range c.Datasets {
		if !datasetName.MatchString(name) {
			return fmt.Errorf("%w: --datasets %s=%s: a name has 1 to 64 letters, digits, '.', '_' and '-'", ErrDataset, name, where)
		}
		if _, err := os.Stat(where); err != nil {
			return fmt.Errorf("%w: --datasets %s: %w", ErrDataset, name, err)
		}
	}
	return nil
}

// New listens, so that a bad or taken address fails at once; Run serves.
func New(cfg Config, parts Parts) (*Service, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	const showingFull = "too many images and results are being shown at once: try again a little later"
	s := &Service{
		cfg: cfg, Parts: parts, log: cfg.Logger, jobs: newJobs(), events: newHub(), sessions: newSessions(), tries: newTries(), origins: http.NewCrossOriginProtection(),
		slots: newPlaces(int64(cfg.InFlight), int64(cfg.PerUser), 0, "the service has as many requests as it can handle at once: try again a little later",
			"too many requests of yours are under way: wait for one to end"),
		showing: newPlaces(showingPlaces, showingPerUser, showingWait, showingFull, showingFull),
		pace:    pace{perSecond: cfg.Rate, all: make(map[string]*rate.Limiter)},
	}
	s.runs = newRunner(s)
	var err error
	if s.listener, err = net.Listen("tcp", cfg.Address); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		WriteTimeout:      cfg.BodyTimeout + cfg.Timeout + cfg.BodyTimeout, // a body, the work, the answer
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// URL is where the service listens.
func (s *Service) URL() string {
	scheme := "http"
	if s.cfg.CertFile != "" {
		scheme = "https"
	}
	return scheme + "://" + s.listener.Addr().String()
}

// closeTimeout is how long clients get to take their answers when everything else has ended.
const closeTimeout = 5 * time.Second

// Run serves until ctx ends. Then it takes no new requests, waits up to Config.Drain for those under way, and returns nil. It is called once.
func (s *Service) Run(ctx context.Context) error {
	// Runs are not waited for: the next service goes on with them. Nor are streams of events, which have no end.
	var beside sync.WaitGroup
	defer beside.Wait()
	besideCtx, stop := context.WithCancel(ctx)
	defer stop()
	beside.Go(func() { s.runs.run(besideCtx) })
	beside.Go(func() { s.tailDead(besideCtx) })
	defer context.AfterFunc(besideCtx, s.events.close)()
	served := make(chan error, 1)
	go func() {
		if s.cfg.CertFile != "" {
			served <- s.http.ServeTLS(s.listener, s.cfg.CertFile, s.cfg.KeyFile)
		} else {
			served <- s.http.Serve(s.listener)
		}
	}()
	select {
	case err := <-served:
		s.jobs.stop()
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	// The listener stays until the work has ended, so that /readyz can say that the service is not ready.
	drain, cancelDrain := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Drain)
	defer cancelDrain()
	if s.slots.drain(drain) != nil {
		s.log.Warn("requests did not end in time", "after", s.cfg.Drain)
	}
	s.jobs.stop()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err := s.http.Shutdown(last)
	if err != nil { // a client reads slowly, or not at all
		err = s.http.Close()
	}
	<-served //nolint:errcheck // what Serve says of its end is no news
	if err != nil {
		return fmt.Errorf("stop serving HTTP: %w", err)
	}
	return nil
}
