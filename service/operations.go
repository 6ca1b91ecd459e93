package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/tracing"
	"stegomq/internal/users"
	"stegomq/pipeline"
	"stegomq/schemas"
)

// errTimeout ends a request that took longer than Config.Timeout.
var errTimeout = errors.New("the request took too long")

// idempotencyKey is the form of idempotency keys.
var idempotencyKey = regexp.MustCompile(`^[\x21-\x7e]{1,255}$`)

// warningHeader carries a warning to the sender of a request; there is one header for each.
const warningHeader = "Stegomq-Warning"

// scopeOf is the scope that a user needs for an operation. It follows from the half of the key that the operation uses; an operation without a
// key needs the scope embed.
func scopeOf(op schemas.Operation) users.Scope {
	return users.Scope(cmp.Or(op.Describe().Key, schemas.HalfEmbed))
}

// operation is a handler of embed, recover or purify.
func operation(op schemas.Operation) func(*Service, http.ResponseWriter, *call) *problem {
	return traced(func(s *Service, w http.ResponseWriter, c *call) *problem {
		key, why := idempotency(c)
		if why != nil {
			return why
		}
		free, why := s.slots.take(c.Context(), c.owner())
		if why != nil {
			return why
		}
		defer func() { free() }()
		f, why := s.readForm(w, c, op)
		if why != nil {
			return why
		}
		req, why := s.request(c, op, f)
		if why != nil {
			return why
		}
		span := tracing.Of(c.Context())
		span.Text("stegomq.model_name", req.Model.Name)
		async := preferred(c.Header, "respond-async")
		if key == "" && !async {
			r := s.run(c.Context(), c, req, f)
			return answer(w, &r)
		}
		j, isNew, why := s.jobs.begin(&job{owner: c.owner(), key: key, body: f.digest(op), request: req, with: f.key})
		if why != nil {
			return why
		}
		if isNew {
			freeLater := free // the slot is the job's now
			free = func() {}
			ctx := span.In(s.jobs.ctx)
			go func() {
				r := s.run(ctx, c, req, f)
				freeLater() // who sees that the job has ended finds its slot free
				s.jobs.end(j, r)
			}()
		}
		if async {
			w.Header().Set("Location", "/v1/jobs/"+j.id)
			w.Header().Set("Preference-Applied", "respond-async")
			writeJSON(w, http.StatusAccepted, describe(j))
			return nil
		}
		select {
		case <-j.done:
			why := s.output(w, c, j)
			if why != nil && why.Code == codeImageGone {
				s.jobs.forgetKey(j)
				why = newProblem(codeUnavailable, "the image that was made is gone: try again, and it is made anew")
			}
			return why
		case <-c.Context().Done():
			return ofError(c.Context().Err()) // the client has gone, and nobody reads it
		}
	})
}

// idempotency returns the idempotency key of a request; "" where it has none.
func idempotency(c *call) (string, *problem) {
	key := c.Header.Get("Idempotency-Key")
	if key != "" && !idempotencyKey.MatchString(key) {
		return "", newProblem(codeBadRequest, "an Idempotency-Key has 1 to 255 visible ASCII characters")
	}
	return key, nil
}

// preferred says whether the client states a preference (RFC 7240).
func preferred(h http.Header, what string) bool {
	for _, line := range h.Values("Prefer") {
		for one := range strings.SplitSeq(line, ",") {
			word, _, _ := strings.Cut(one, ";")
			if strings.EqualFold(strings.TrimSpace(word), what) {
				return true
			}
		}
	}
	return false
}

// request turns a form into what is asked of the pipeline, if the user may ask for it.
func (s *Service) request(c *call, op schemas.Operation, f *form) (*pipeline.OperationRequest, *problem) {
	name := f.model
	if name == "" {
		name = s.cfg.DefaultModel(op)
	}
	i := slices.IndexFunc(s.Models, func(m *model.Model) bool { return m.Name == name })
	if i < 0 {
		return nil, newProblem(codeUnknownModel, "there is no such model: GET /v1/models lists them")
	}
	req := &pipeline.OperationRequest{
		Operation: op, Model: s.Models[i], Keys: s.Keys, Geometry: &schemas.Geometry{Resize: schemas.ResizePolicy_RESIZE_POLICY_SQUASH},
	}
	if !req.Model.Manifest.Does(model.Operation(op.Token())) {
		return nil, newProblem(codeOperation, fmt.Sprintf("the model %s does not %s: GET /v1/models says which do", name, op.Token()))
	}
	return req, s.checkKey(c, req, f.key)
}

// checkKey says why a user may not use a key for a request, or why the model cannot.
func (s *Service) checkKey(c *call, req *pipeline.OperationRequest, key string) *problem {
	if req.Operation.Describe().Key == "" {
		return nil
	}
	pair, why := s.granted(c, scopeOf(req.Operation), key)
	if why != nil {
		return why
	}
	return worksWith(req.Model, pair)
}

// granted returns a pair of keys that the user may use for a scope. Nothing is looked up about a key that the user has no grant for.
func (s *Service) granted(c *call, scope users.Scope, id string) (keyring.Pair, *problem) {
	unknown := newProblem(codeUnknownKey, "you have no key of this id: GET /v1/keys lists yours")
	embedOnly := newProblem(codeEmbedOnly, "with this key you embed for its owner, who alone recovers")
	if !c.user.Knows(id) {
		return keyring.Pair{}, c.refuse(unknown, id)
	}
	if !c.user.May(scope, id) {
		return keyring.Pair{}, c.refuse(embedOnly, id)
	}
	ring, why := s.ring(c)
	if why != nil {
		return keyring.Pair{}, why
	}
	pair, err := ring.Get(id)
	switch {
	case err != nil:
		return keyring.Pair{}, c.refuse(unknown, id)
	case scope != users.Embed && pair.Recover.IsZero():
		return keyring.Pair{}, c.refuse(embedOnly, id)
	}
	return pair, nil
}

// worksWith says why a model does not work with a key.
func worksWith(m *model.Model, pair keyring.Pair) *problem {
	if (m.Trained() || pipeline.HasVariants(m)) && !m.Takes(pair.Fingerprint()) {
		return newProblem(codeBadKey, otherKey)
	}
	return nil
}

// run has a request served by the pipeline.
func (s *Service) run(ctx context.Context, c *call, req *pipeline.OperationRequest, f *form) result {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, errTimeout)
	defer cancel()
	user := c.user.Name
	if err := s.ensure(ctx, user); err != nil {
		return s.failed(ctx, c, err)
	}
	reply, output, err := s.Pipeline.Ask(ctx, req, user, f.key, f.images)
	if err != nil {
		s.ensured.Delete(user) // the user's streams may have been deleted
		return s.failed(ctx, c, err)
	}
	r := result{problem: ofReply(reply), digest: reply.Digest, warnings: reply.Warnings, output: output}
	if r.problem != nil {
		c.log.Info("a request failed", "user", user, "reason", reply.Reason, "code", r.problem.Code, "error", reply.Error)
	}
	return r
}

func (s *Service) failed(ctx context.Context, c *call, err error) result {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	level := slog.LevelWarn
	if errors.Is(err, context.Canceled) { // the client has gone
		level = slog.LevelInfo
	}
	c.log.Log(ctx, level, "a request got no reply", "user", c.user.Name, "error", err)
	return result{problem: ofError(err)}
}

// ensure makes a user's streams on the message queue, once.
func (s *Service) ensure(ctx context.Context, user string) error {
	if _, ok := s.ensured.Load(user); ok {
		return nil
	}
	err := s.Pipeline.EnsureUser(ctx, user)
	if err == nil {
		s.ensured.Store(user, true)
	}
	return err
}

// answer writes the output of a request, or returns its problem.
func answer(w http.ResponseWriter, r *result) *problem {
	if r.problem != nil {
		return r.problem
	}
	for _, warning := range r.warnings {
		w.Header().Add(warningHeader, warning)
	}
	return answerPNG(w, r.output)
}

func answerPNG(w http.ResponseWriter, data []byte) *problem {
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // the client has gone
	return nil
}

// output answers with the output of a job that has ended, or with its problem.
func (s *Service) output(w http.ResponseWriter, c *call, j *job) *problem {
	r := j.result
	if r.problem == nil {
		// A key that was taken out of the keyring serves nothing, not even what was made before.
		if why := s.checkKey(c, j.request, j.with); why != nil {
			return why
		}
		var err error
		if r.output, err = s.Pipeline.Output(c.Context(), c.user.Name, r.digest); err != nil {
			c.log.Warn("an output is gone", "user", c.user.Name, "error", err)
			return ofOutput(err)
		}
	}
	return answer(w, &r)
}
