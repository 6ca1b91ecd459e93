package producer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"stegomq/internal/pixel"
	"stegomq/schemas"
)

// Request is one line of a stream: a job of one item. Embed takes key, cover and secret; recover takes key
// and stego; purify takes image. Paths are of files on this machine; Out is written whole or not at all.
type Request struct {
	// ID comes back with the reply. The line's number when empty.
	ID     string `json:"id"`
	Key    string `json:"key,omitempty"`
	Cover  string `json:"cover,omitempty"`
	Secret string `json:"secret,omitempty"`
	Stego  string `json:"stego,omitempty"`
	Image  string `json:"image,omitempty"`
	Out    string `json:"out"`
}

// Reply is one line per request, in order of completion.
type Reply struct {
	ID     string `json:"id"`
	OK     bool   `json:"ok"`
	Out    string `json:"out,omitempty"`
	Digest string `json:"digest,omitempty"`
	// Reason is a stable word when OK is false, a schemas.Reason or "refused" (schemas.EndRefused), Error a line for people.
	Reason string `json:"reason,omitempty"`
	Error  string `json:"error,omitempty"`
}

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
}

// Stream turns requests into jobs of one item and results into files and replies.
type Stream struct {
	cfg StreamConfig
	StreamParts

	mu       sync.Mutex
	accepted int64
	waiting  map[int64]Request // under way, by the attempt of its job
	moved    time.Time         // when a reply was last written
	replies  *json.Encoder
	failed   int
	err      error

	slots chan struct{} // one element per request under way
}

// NewStream makes a stream whose replies go to out.
func NewStream(cfg StreamConfig, parts StreamParts, out io.Writer) *Stream {
	if cfg.InFlight <= 0 {
		cfg.InFlight = 64
	}
	if cfg.Patience <= 0 {
		cfg.Patience = 30 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Stream{
		cfg: cfg, StreamParts: parts, waiting: make(map[int64]Request), moved: time.Now(),
		replies: json.NewEncoder(out), slots: make(chan struct{}, cfg.InFlight),
	}
}

// Run reads JSON lines until the end of in, and returns when every request has its reply. It gives the
// number of requests that failed. When ctx ends, requests under way are left to the pipeline.
func (s *Stream) Run(ctx context.Context, in io.Reader) (failed int, err error) {
	return s.serve(ctx, func(ctx context.Context) error { return s.readAll(ctx, in) })
}

// One serves a single request.
func (s *Stream) One(ctx context.Context, r Request) (failed int, err error) {
	return s.serve(ctx, func(ctx context.Context) error { return s.accept(ctx, r) })
}

func (s *Stream) serve(ctx context.Context, feed func(context.Context) error) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var background sync.WaitGroup
	background.Go(func() {
		err := s.Results.SubscribeResults(ctx, s.cfg.Run, func(r *schemas.Result) error { s.finish(ctx, r); return nil })
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
	// Nothing is written to replies any more when this returns.
	cancel(nil)
	background.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
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
	job, err := s.job(ctx, r)
	if err != nil {
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
		return ctx.Err()
	}
	if !s.await(job, r) {
		<-s.slots
		s.reply(Reply{ID: r.ID, Reason: string(schemas.ReasonBadMessage), Error: "a request with this id is still under way"})
		return nil
	}
	if err := s.Publisher.PublishJob(ctx, job); err != nil {
		return fmt.Errorf("publish request %s: %w", r.ID, err)
	}
	return nil
}

// await numbers the job of a request, unless another with its id is still under way. An id may be used again once it has its
// reply, and then the queue must not take the job for a duplicate, nor the stream a late result for its own: the number is the job's attempt.
func (s *Stream) await(job *schemas.Job, r Request) (ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.waiting {
		if other.ID == r.ID {
			return false
		}
	}
	s.accepted++
	job.Attempt = s.accepted
	s.waiting[s.accepted] = r
	return true
}

// itemID names the one item of a request's job. The requester may call the request anything.
func itemID(request string) string {
	if schemas.ValidItemID(request) {
		return request
	}
	return "request"
}

// job makes the job of a request. What the requester can mend is a *schemas.Fault.
func (s *Stream) job(ctx context.Context, r Request) (*schemas.Job, error) {
	bad := func(format string, args ...any) error {
		return schemas.Permanent(schemas.ReasonBadMessage, fmt.Errorf(format, args...))
	}
	if r.Out == "" {
		return nil, bad("out is missing: name the file to write")
	}
	item := &schemas.Item{Id: itemID(r.ID)}
	wants := map[schemas.Operation][]struct {
		name, path string
		ref        **schemas.ImageRef
	}{
		schemas.Operation_OPERATION_EMBED:   {{"cover", r.Cover, &item.Cover}, {"secret", r.Secret, &item.Secret}},
		schemas.Operation_OPERATION_RECOVER: {{"stego", r.Stego, &item.Stego}},
		schemas.Operation_OPERATION_PURIFY:  {{"image", r.Image, &item.Image}},
	}[s.cfg.Operation]
	files := make([][]byte, len(wants))
	total := 0
	for i, want := range wants {
		if want.path == "" {
			return nil, bad("%s is missing: name the image file", want.name)
		}
		data, err := File{Path: want.path}.read(s.cfg.Limits.MaxBytes)
		if err == nil {
			_, err = pixel.Header(data, s.cfg.Limits)
		}
		if err != nil {
			reason := schemas.ReasonBadImage
			if errors.Is(err, pixel.ErrTooManyBytes) || errors.Is(err, pixel.ErrTooManyPixels) || errors.Is(err, pixel.ErrTooCostly) {
				reason = schemas.ReasonTooLarge
			}
			return nil, schemas.Permanent(reason, fmt.Errorf("%s %s: %s", want.name, want.path, reasonOf(err)))
		}
		files[i] = data
		total += len(data)
	}
	for i, want := range wants {
		ref, err := s.ref(ctx, files[i], filepath.Base(want.path), total <= schemas.MaxInline)
		if err != nil {
			return nil, err
		}
		*want.ref = ref
	}
	job := &schemas.Job{
		Run: s.cfg.Run, Tenant: s.cfg.Tenant, Operation: s.cfg.Operation, Model: s.cfg.Model, Geometry: s.cfg.Geometry, Items: []*schemas.Item{item},
	}
	if s.cfg.Operation != schemas.Operation_OPERATION_PURIFY {
		key, err := s.Key(r.Key)
		if err != nil {
			return nil, schemas.Permanent(schemas.ReasonUnknownKey, err)
		}
		job.Key = key
	}
	job.Id = schemas.JobID(job)
	if err := job.Validate(); err != nil {
		return nil, schemas.Permanent(schemas.ReasonBadMessage, err)
	}
	return job, nil
}

// ref carries small images in the job itself and puts large ones into the blob store.
func (s *Stream) ref(ctx context.Context, data []byte, name string, inline bool) (*schemas.ImageRef, error) {
	if inline {
		return &schemas.ImageRef{Digest: digestOf(data), Inline: data, Name: name}, nil
	}
	digest, err := s.Blobs.Put(ctx, data)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", name, err)
	}
	return schemas.BlobRef(digest, name), nil
}

// finish writes the outputs of a result. A result that was answered before is passed over.
func (s *Stream) finish(ctx context.Context, r *schemas.Result) {
	for _, o := range r.GetOutcomes() {
		request, ok := s.take(r.GetJob())
		if !ok {
			continue
		}
		s.reply(s.answer(ctx, request, o))
		<-s.slots
	}
}

// answer writes an output, and gives the reply to the request that it is of.
func (s *Stream) answer(ctx context.Context, request Request, o *schemas.Outcome) Reply {
	switch o.End() {
	case schemas.EndFailed:
		return Reply{ID: request.ID, Reason: o.GetFailure().GetReason(), Error: o.GetFailure().GetDetail()}
	case schemas.EndRefused:
		return Reply{ID: request.ID, Reason: string(schemas.EndRefused), Error: o.GetRefusal().GetDetail()}
	}
	reply := Reply{ID: request.ID, Out: request.Out, Digest: o.GetOutput().GetImage()}
	if err := s.write(ctx, request.Out, reply.Digest); err != nil {
		reply.Reason, reply.Error = "output", err.Error()
		return reply
	}
	reply.OK = true
	return reply
}

// take gives the request of a job, if it still waits for that job.
func (s *Stream) take(job *schemas.Job) (Request, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.waiting[job.GetAttempt()]
	delete(s.waiting, job.GetAttempt())
	return r, ok
}

func (s *Stream) write(ctx context.Context, path, digest string) error {
	data, err := s.Blobs.Get(ctx, digest)
	if err != nil {
		return fmt.Errorf("fetch the output: %w", err)
	}
	if err := renameio.WriteFile(path, data, 0o644); err != nil {
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
	if err := s.replies.Encode(r); err != nil && s.err == nil {
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
