package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/quality"
	"stegomq/producer"
	"stegomq/schemas"
)

// OperationRequest asks for embedding, recovering or purifying images of a user.
type OperationRequest struct {
	Operation schemas.Operation
	Model     *model.Model
	// Keys are the user's, with the model's own, as they are now.
	Keys *keyring.Watched
	// Geometry is what images are brought to; sides of 0: their own, and for embed the cover's.
	Geometry *schemas.Geometry
	// Verify has what embed hides recovered before it is answered, where the user has the half of the key that recovers. MinPSNR is how
	// well it has to come back, in dB, 0 to quality.MaxPSNR: who cannot recover it is refused then. 0: a bad one is told.
	Verify  bool
	MinPSNR float64
}

// Check finds what is wrong with the request.
func (r *OperationRequest) Check() error {
	if side := r.Geometry.GetWidth(); side > schemas.MaxSide {
		return wrong("size %d: choose 0 to %d", side, schemas.MaxSide)
	}
	if !(r.MinPSNR >= 0 && r.MinPSNR <= quality.MaxPSNR) { // nor NaN
		return wrong("min-psnr %v: choose 0 to %v", r.MinPSNR, quality.MaxPSNR)
	}
	if op := r.Operation.Token(); !r.Model.Manifest.Does(model.Operation(op)) {
		return fmt.Errorf("%s: the model %s has no such operation: it can %s; choose another --model", op, r.Model.Name, operationsOf(r.Model))
	}
	return nil
}

// Key finds a key that the operation can work with.
func (r *OperationRequest) Key(id string) (*schemas.KeyRef, error) {
	ring, err := r.Keys.Now()
	if err != nil {
		return nil, err
	}
	return UsableKey(r.Operation, r.Model, ring, id)
}

// CheckKey finds what is wrong with a key for the request.
func (r *OperationRequest) CheckKey(id string) error {
	_, err := r.Key(id)
	if err == nil && r.MinPSNR > 0 {
		if _, err = r.recovers(id); err != nil {
			err = fmt.Errorf("--min-psnr: what is hidden cannot be recovered here to see how well it comes back: %w", err)
		}
	}
	return err
}

// recovers finds a key with which what the request's key embeds is recovered.
func (r *OperationRequest) recovers(id string) (*schemas.KeyRef, error) {
	ring, err := r.Keys.Now()
	if err != nil {
		return nil, err
	}
	return UsableKey(schemas.Operation_OPERATION_RECOVER, r.Model, ring, id)
}

func operationsOf(m *model.Model) string {
	var words []string
	for _, op := range model.Operations() {
		if m.Manifest.Does(op) {
			words = append(words, string(op))
		}
	}
	return strings.Join(words, ", ")
}

// Stream serves requests, lines of JSON (producer.Request), and writes a line for each (producer.Reply), until the end of in. It gives
// the number of requests that failed. Where the message queue is embedded, the worker runs in this process.
func (s *Services) Stream(ctx context.Context, req *OperationRequest, in io.Reader, out io.Writer) (failed int, err error) {
	err = s.serve(ctx, req, producer.StreamConfig{}, func(ctx context.Context, stream *producer.Stream) (err error) {
		failed, err = stream.Run(ctx, in, out)
		return err
	})
	return failed, err
}

// One serves a single request. In and out are what "-" stands for as the name of a file.
func (s *Services) One(ctx context.Context, req *OperationRequest, one producer.Request, in io.Reader, out io.Writer) (reply producer.Reply, err error) {
	err = s.serve(ctx, req, producer.StreamConfig{Stdin: in, Stdout: out}, func(ctx context.Context, stream *producer.Stream) (err error) {
		reply, err = stream.One(ctx, one)
		return err
	})
	return reply, err
}

// serve opens what a stream needs, and calls use with it.
func (s *Services) serve(ctx context.Context, req *OperationRequest, cfg producer.StreamConfig, use func(context.Context, *producer.Stream) error) (err error) {
	// A missing library shows before anything is opened or written.
	var eng *Engine
	if s.opts.Embedded() {
		if eng, err = NewEngine(s.opts.Runtime, []*model.Model{req.Model}, req.Keys, s.log); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, eng.Close()) }()
	}
	if s.opts.Tenant == "" { // a tenant has no Redis
		if err := s.OpenCache(ctx); err != nil {
			return err
		}
	}
	if err := s.OpenBus(ctx); err != nil {
		return err
	}
	run := streamName()
	p := newPatience(s.opts.Patience)
	r := StartRoles(ctx)
	defer r.end(&err)
	if eng != nil {
		if err := s.startWorker(r, eng, nil, lane{run, req.Model.Digest}); err != nil {
			return err
		}
	} else {
		r.Go(func(ctx context.Context) error { return s.watchBus(ctx, p) })
	}
	cfg.Run, cfg.Tenant = run, s.opts.Tenant
	return use(s.opts.Traces.With(r.ctx), s.stream(req, cfg, p))
}

func streamName() string { return "stream-" + randomToken() + randomToken() }

// stream makes a stream for requests like req, whose run and tenant cfg has.
func (s *Services) stream(req *OperationRequest, cfg producer.StreamConfig, p *patience) *producer.Stream {
	var moved atomic.Int64
	cfg.Operation, cfg.Model, cfg.Geometry = req.Operation, req.Model.Digest, req.Geometry
	cfg.MinPSNR, cfg.SurvivesJPEG, cfg.Limits, cfg.Logger = req.MinPSNR, survivesJPEG(req.Model), s.opts.Limits, s.log
	parts := producer.StreamParts{Publisher: s.Bus, Blobs: patientBlobs{s.Blobs, p, &moved}, Results: s.Bus, Key: req.Key}
	if req.Verify || req.MinPSNR > 0 {
		parts.Recovers = req.recovers
	}
	return producer.NewStream(cfg, parts)
}

// uploaded is what messages call an image of Ask: not as its owner does, since the queue's operator sees them.
const uploaded = "(uploaded)"

// Ask serves a single request of a tenant, whose images are given by the names of producer.Request's fields, and gives the output with
// the reply. The services are connected, the tenant's streams are there (EnsureUser), and workers run elsewhere or beside in this process.
func (s *Services) Ask(ctx context.Context, req *OperationRequest, tenant, key string, images map[string][]byte) (reply producer.Reply, output []byte, err error) {
	var out bytes.Buffer
	cfg := producer.StreamConfig{Run: streamName(), Tenant: tenant, Images: images, Stdout: &out}
	one := producer.Request{
		ID: req.Operation.Token(), Key: key, Cover: uploaded, Secret: uploaded, Stego: uploaded, Image: uploaded, Out: "-",
	}
	reply, err = s.stream(req, cfg, newPatience(s.opts.Patience)).One(schemas.WithTenant(s.opts.Traces.With(ctx), tenant), one)
	return reply, out.Bytes(), err
}

// Output is the output of an earlier Ask by its digest, for the same tenant.
func (s *Services) Output(ctx context.Context, tenant, digest string) ([]byte, error) {
	return s.Blobs.Get(schemas.WithTenant(ctx, tenant), digest)
}

// survivesJPEG says whether a model's recovery is made for stego images that were saved as JPEG.
func survivesJPEG(m *model.Model) bool {
	return m.Manifest.Backbone == model.BackboneModulo && m.Manifest.Config["profile"] == "jpeg"
}
