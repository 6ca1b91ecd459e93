package producer

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"stegomq/internal/pixel"
	"stegomq/internal/tracing"
	"stegomq/schemas"
)

// Results gives the results of one run, from the first one on until ctx ends or onResult returns an error. A job that died has one too.
type Results interface {
	SubscribeResults(ctx context.Context, run string, onResult func(*schemas.Result) error) error
}

// Blobs is the blob store.
type Blobs interface {
	BlobWriter
	Get(ctx context.Context, digest string) ([]byte, error)
}

// StreamConfig says what the requests of a stream have in common.
type StreamConfig struct {
	Operation schemas.Operation
	// Model is the digest of its manifest.
	Model    string
	Geometry *schemas.Geometry
	// Run names the stream in subjects; it must be new.
	Run string
	// Tenant whose jobs these are; empty: the operator's own.
	Tenant string
	// MinPSNR is how well a secret must come back where it is verified, in dB: an output that is worse is not written. 0: it is only told.
	MinPSNR float64
	// SurvivesJPEG says that recovery is made for stego images that were saved as JPEG.
	SurvivesJPEG bool
	// Stdin and Stdout are what "-" stands for as the name of a file. Nil: nothing.
	Stdin  io.Reader
	Stdout io.Writer
	// Images are the files of requests, by the names of the requests' fields (cover, secret, stego, image). No file is read then: a field only
	// says what its image is called. Nil: the fields name files.
	Images map[string][]byte
	// InFlight bounds the requests under way. Default 64.
	InFlight int
	Limits   pixel.Limits
	// Patience is how long nothing may come back before a word is logged. Default 30 s.
	Patience time.Duration
	Logger   *slog.Logger
}

// StreamParts are what a stream works with.
type StreamParts struct {
	Publisher Publisher
	Blobs     Blobs
	Results   Results
	// Key finds a key pair that may be used with the model; an error is told to the requester.
	Key func(id string) (*schemas.KeyRef, error)
	// Recovers finds a key pair that may recover what it has embedded, with which the secret of an embed request is recovered to verify it,
	// before the request has its reply. Without one a request is only refused where there is a MinPSNR. Nil: nothing is verified.
	Recovers func(id string) (*schemas.KeyRef, error)
}

// Stream turns requests into jobs of one item and results into files and replies.
type Stream struct {
	cfg StreamConfig
	StreamParts

	mu       sync.Mutex
	accepted int64
	waiting  map[int64]pending // by the attempt of its job
	moved    time.Time         // when a reply was last given
	give     func(Reply) error // takes the replies
	failed   int
	err      error

	slots chan struct{} // one element per request under way
}

// pending is a request under way.
type pending struct {
	Request
	job      *schemas.Job // with its inline images
	span     tracing.Span // ends with the reply
	warnings []string
	// To verify a stego image, a second job recovers with this key what was embedded.
	recovers *schemas.KeyRef
	embedded *schemas.Outcome
	// result takes the result of a call, which is no request and has no reply; nil of a request.
	result chan<- *schemas.Result
}

// NewStream makes a stream, which is used once: by Run, One or Serve.
func NewStream(cfg StreamConfig, parts StreamParts) *Stream {
	cfg.InFlight = cmp.Or(max(cfg.InFlight, 0), 64)
	cfg.Patience = cmp.Or(max(cfg.Patience, 0), 30*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return &Stream{cfg: cfg, StreamParts: parts, waiting: make(map[int64]pending), moved: time.Now(), slots: make(chan struct{}, cfg.InFlight)}
}

// Run reads JSON lines until the end of in, writes a line to out for each, and returns when every request has its reply. It gives the
// number of requests that failed. When ctx ends, requests under way are left to the pipeline.
func (s *Stream) Run(ctx context.Context, in io.Reader, out io.Writer) (failed int, err error) {
	lines := json.NewEncoder(out)
	s.give = func(r Reply) error { return lines.Encode(r) }
	return s.serve(ctx, func(ctx context.Context) error { return s.readAll(ctx, in) })
}

// One serves a single request. That it failed is in the reply and no error.
func (s *Stream) One(ctx context.Context, r Request) (reply Reply, err error) {
	s.give = func(r Reply) error { reply = r; return nil }
	_, err = s.serve(ctx, func(ctx context.Context) error { return s.accept(ctx, r) })
	return reply, err
}

func (s *Stream) serve(ctx context.Context, feed func(context.Context) error) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var background sync.WaitGroup
	background.Go(func() {
		err := s.Results.SubscribeResults(ctx, s.cfg.Run, func(r *schemas.Result) error {
			err := s.finish(ctx, r)
			if err != nil {
				cancel(err)
			}
			return err
		})
		cancel(fmt.Errorf("results stopped coming: %w", err))
	})
	background.Go(func() { s.watch(ctx) })
	err := feed(ctx)
	// Every slot that can be taken again is a request that has its reply.
	for range cap(s.slots) {
		if err != nil {
			break
		}
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	// No reply is given any more when this returns.
	cancel(nil)
	background.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.waiting {
		p.span.End(err)
	}
	if err == nil {
		err = s.err
	}
	return s.failed, err
}

// maxLine bounds a request, in bytes without its line feed.
const maxLine = 1 << 20

var errLongLine = fmt.Errorf("it has more than %d bytes", maxLine)

// inputLine is a line of a stream, or why it cannot be one.
type inputLine struct {
	text string
	err  error
}

func (s *Stream) readAll(ctx context.Context, in io.Reader) error {
	lines := make(chan inputLine)
	ended := make(chan error, 1)
	// Nothing interrupts a read of standard input, so it has a goroutine of its own, which an interrupted
	// stream leaves behind until its input ends.
	go func() {
		r := bufio.NewReaderSize(in, 64<<10)
		for {
			line, err := nextLine(r)
			if err != nil {
				ended <- err
				return
			}
			select {
			case lines <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			if !errors.Is(err, io.EOF) {
				return fmt.Errorf("read requests: %w", err)
			}
			return nil
		case line := <-lines:
			if err := s.line(ctx, n, line); err != nil {
				return err
			}
		}
	}
}

// nextLine reads up to the next line feed. A line that is too long is read to its end and not kept. The error is io.EOF
// where nothing is left, or the input's.
func nextLine(r *bufio.Reader) (line inputLine, err error) {
	var text []byte
	for {
		part, err := r.ReadSlice('\n')
		switch {
		case line.err != nil:
		case len(text)+len(bytes.TrimSuffix(part, []byte("\n"))) > maxLine:
			line.err, text = errLongLine, nil
		default:
			text = append(text, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		line.text = strings.TrimSpace(string(text))
		if errors.Is(err, io.EOF) && (len(text) > 0 || line.err != nil) {
			err = nil // the last line has no line feed
		}
		return line, err
	}
}

// line serves line n. An empty one is none.
func (s *Stream) line(ctx context.Context, n int, in inputLine) error {
	if in == (inputLine{}) {
		return nil
	}
	var r Request
	err := in.err
	if err == nil {
		err = parseRequest(in.text, &r)
	}
	if r.ID == "" {
		r.ID = fmt.Sprint(n)
	}
	if err != nil {
		s.reply(Reply{ID: r.ID, Reason: string(schemas.ReasonBadMessage), Error: fmt.Sprintf("line %d is not a request: %v", n, err)})
		return nil
	}
	return s.accept(ctx, r)
}

// parseRequest reads one JSON object, strictly. Where it fails, r may have the id.
func parseRequest(text string, r *Request) error {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(r); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more follows after it")
	}
	return nil
}

// accept publishes a request's job. What is wrong with the request goes into its reply; an error is the
// pipeline's.
func (s *Stream) accept(ctx context.Context, r Request) error {
	ctx, span := tracing.Start(ctx, "request")
	p, err := s.prepare(ctx, r)
	p.span = span
	if err != nil {
		span.End(err)
		var fault *schemas.Fault
		if errors.As(err, &fault) {
			s.reply(Reply{ID: r.ID, Reason: string(fault.Reason), Error: fault.Err.Error()})
			return nil
		}
		return err
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		span.End(ctx.Err())
		return ctx.Err()
	}
	if s.underWay(r.ID) {
		<-s.slots
		span.Fail(string(schemas.ReasonBadMessage))
		span.End(nil)
		s.reply(Reply{ID: r.ID, Reason: string(schemas.ReasonBadMessage), Error: "a request with this id is still under way"})
		return nil
	}
	return s.publish(ctx, p, p.job)
}

// underWay says whether a request with an id has no reply yet. The id may be used again once it has one.
func (s *Stream) underWay(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.waiting {
		if other.ID == id {
			return true
		}
	}
	return false
}

// publish publishes a job of a request, and notes that its result is waited for. Jobs are numbered, and the number is the job's attempt: the
// queue takes none for a duplicate of an earlier request, and the stream takes no late result for that of another.
func (s *Stream) publish(ctx context.Context, p pending, job *schemas.Job) error {
	s.mu.Lock()
	s.accepted++
	job.Attempt = s.accepted
	s.waiting[s.accepted] = p
	s.mu.Unlock()
	if err := s.Publisher.PublishJob(ctx, job); err != nil {
		return fmt.Errorf("publish request %s: %w", p.ID, err)
	}
	return nil
}

// finish writes the outputs of a result, or has them verified first. A result that was answered before is passed over.
func (s *Stream) finish(ctx context.Context, r *schemas.Result) error {
	for _, o := range r.GetOutcomes() {
		p, ok := s.take(r.GetJob())
		if !ok {
			continue
		}
		if p.result != nil {
			p.result <- r
			continue
		}
		if p.recovers != nil && p.embedded == nil && o.End() == schemas.EndDone {
			p.embedded = o
			if err := s.publish(p.span.In(ctx), p, s.verification(p)); err != nil {
				return err
			}
			continue
		}
		reply := s.answer(ctx, p, o)
		if !reply.OK {
			p.span.Fail(reply.Reason)
		}
		p.span.End(nil)
		s.reply(reply)
		<-s.slots
	}
	return nil
}

// answer writes an output, and gives the reply to the request that it is of.
func (s *Stream) answer(ctx context.Context, p pending, o *schemas.Outcome) Reply {
	reply := Reply{ID: p.ID, Warnings: p.warnings}
	if p.embedded != nil {
		if !s.verify(ctx, p, o, &reply) {
			return reply
		}
		o = p.embedded
	}
	if !ended(o, &reply) {
		return reply
	}
	reply.Out, reply.Digest = p.Out, o.GetOutput().GetImage()
	data, err := s.Blobs.Get(ctx, reply.Digest)
	if err != nil {
		err = fmt.Errorf("fetch the output: %w", err)
	} else {
		if s.cfg.Operation == schemas.Operation_OPERATION_RECOVER && s.echoes(ctx, p, data) {
			reply.Warnings = append(reply.Warnings, "what came out looks like the stego image itself: the key is not the one that embedded, or nothing is hidden in it")
		}
		err = s.write(p.Out, data)
	}
	if err != nil {
		reply.Reason, reply.Error = notWritten, err.Error()
		return reply
	}
	reply.OK = true
	return reply
}

// ended says whether an outcome has an output, or why not in the reply.
func ended(o *schemas.Outcome, reply *Reply) bool {
	switch o.End() {
	case schemas.EndFailed:
		reply.Reason, reply.Error = o.GetFailure().GetReason(), o.GetFailure().GetDetail()
		return false
	case schemas.EndRefused:
		reply.Reason, reply.Error = string(schemas.EndRefused), o.GetRefusal().GetDetail()
		return false
	}
	return true
}

// take gives the request of a job, if it still waits for that job.
func (s *Stream) take(job *schemas.Job) (pending, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.waiting[job.GetAttempt()]
	delete(s.waiting, job.GetAttempt())
	if p.result != nil {
		s.moved = time.Now()
	}
	return p, ok
}

func (s *Stream) write(path string, data []byte) (err error) {
	if path == standard {
		_, err = s.cfg.Stdout.Write(data)
	} else {
		err = renameio.WriteFile(path, data, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func (s *Stream) reply(r Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moved = time.Now()
	if !r.OK {
		s.failed++
	}
	if err := s.give(r); err != nil && s.err == nil {
		s.err = fmt.Errorf("write a reply: %w", err)
	}
}

// watch says so when nothing comes back: most likely no worker is there.
func (s *Stream) watch(ctx context.Context) {
	tick := time.NewTicker(s.cfg.Patience)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.mu.Lock()
			silent, waiting := time.Since(s.moved), len(s.waiting)
			s.mu.Unlock()
			if waiting > 0 && silent >= s.cfg.Patience {
				s.cfg.Logger.Warn("no result has come for a while: is a gpuworker running?", "waiting", waiting, "for", silent.Round(time.Second))
			}
		}
	}
}
