package service

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"stegomq/internal/keyring"
	"stegomq/internal/tracing"
	"stegomq/internal/users"
	"stegomq/schemas"
)

// route is one method of one path. openapi.json describes each.
type route struct {
	method, path string
	// scope is what the user needs; "": any token will do.
	scope users.Scope
	serve handler
}

type handler func(*Service, http.ResponseWriter, *call) *problem

// answers is a handler that answers with the JSON of a value.
func answers(ask func(*Service, *call) (any, *problem)) handler {
	return func(s *Service, w http.ResponseWriter, c *call) *problem {
		body, why := ask(s, c)
		if why == nil {
			writeJSON(w, http.StatusOK, body)
		}
		return why
	}
}

// traced is a handler whose requests have a trace, which their context carries.
func traced(serve handler) handler {
	return func(s *Service, w http.ResponseWriter, c *call) (why *problem) {
		ctx, span := s.Traces.Request(c.Context(), c.Pattern, c.Header.Get("traceparent"), s.cfg.TrustTraceparent)
		c.Request = c.WithContext(ctx)
		span.Text("stegomq.request", c.id)
		if r, ok := w.(*recorder); ok {
			r.span = span
		}
		defer func() {
			if why != nil {
				span.Int("http.response.status_code", why.Status)
				span.Fail(string(why.Code))
			}
			span.End(nil)
		}()
		return serve(s, w, c)
	}
}

// routes are those that need a token.
var routes = append(operationRoutes(), []route{
	{http.MethodGet, "/v1/jobs", "", answers((*Service).listJobs)},
	{http.MethodGet, "/v1/jobs/{id}", "", (*Service).showJob},
	{http.MethodGet, "/v1/jobs/{id}/output", "", placed((*Service).jobOutput)},
	{http.MethodGet, "/v1/models", "", answers((*Service).listModels)},
	{http.MethodGet, "/v1/keys", "", answers((*Service).listKeys)},
	{http.MethodGet, "/v1/datasets", users.Evaluate, answers((*Service).listDatasets)},
	{http.MethodPost, "/v1/runs", users.Evaluate, traced((*Service).createRun)},
	{http.MethodGet, "/v1/runs", users.Evaluate, answers((*Service).listRuns)},
	{http.MethodGet, "/v1/runs/{id}", users.Evaluate, withRun(answers((*Service).showRun))},
	{http.MethodDelete, "/v1/runs/{id}", users.Evaluate, withRun((*Service).deleteRun)},
	{http.MethodPost, "/v1/runs/{id}/cancel", users.Evaluate, withRun(answers((*Service).cancelRun))},
	{http.MethodGet, "/v1/runs/{id}/items", users.Evaluate, placed(withRun(answers((*Service).listItems)))},
	{http.MethodGet, "/v1/runs/{id}/files", users.Evaluate, withRun(answers((*Service).listFiles))},
	{http.MethodGet, "/v1/runs/{id}/files/{name}", users.Evaluate, placed(withRun((*Service).runFile))},
	{http.MethodGet, "/v1/runs/{id}/image", users.Evaluate, placed(withRun((*Service).runImage))},
	{http.MethodGet, "/v1/events", "", (*Service).streamEvents},
}...)

// operationRoutes are those of the operations.
func operationRoutes() (all []route) {
	for _, op := range schemas.Operations() {
		all = append(all, route{http.MethodPost, "/v1/" + op.Token, scopeOf(op.Operation), operation(op.Operation)})
	}
	return all
}

// open routes need no token.
var open = []route{
	{http.MethodGet, "/v1/openapi.json", "", (*Service).document},
	{http.MethodGet, "/healthz", "", answers((*Service).healthz)},
	{http.MethodGet, "/readyz", "", answers((*Service).readyz)},
}

// call is a request with its id, its user and its log.
type call struct {
	*http.Request
	id   string
	user users.User
	run  *run // the one that the address names, in handlers behind withRun
	log  *slog.Logger
}

// owner tells users apart in jobs, runs and limits. The name alone would not do: an earlier user may have had it.
func (c *call) owner() string { return c.user.Name + " " + c.user.Hash }

// refuse logs why a user may not do something, and returns the problem. What the user calls a key is logged if it has the form of an id.
func (c *call) refuse(p *problem, key string) *problem {
	if key != "" && !keyring.ValidID(key) {
		key = "(not an id)"
	}
	c.log.Warn("refused", "user", c.user.Name, "key", key, "reason", p.Code)
	return p
}

const requestIDHeader = "X-Request-Id"

// requestID is the form of the ids that a client may give its requests.
var requestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// handler serves every route. An address without a route, or with another method, is answered with a problem.
func (s *Service) handler() http.Handler {
	mux := http.NewServeMux()
	methods := make(map[string][]string)
	add := func(r route, closed bool) {
		methods[r.path] = append(methods[r.path], r.method)
		mux.HandleFunc(r.method+" "+r.path, func(w http.ResponseWriter, req *http.Request) { s.serve(w, req, r, closed) })
	}
	for _, r := range routes {
		add(r, true)
	}
	for _, r := range open {
		add(r, false)
	}
	for closed, list := range map[bool][]route{true: pages, false: openPages} {
		for _, r := range list {
			mux.HandleFunc(r.method+" "+r.path, func(w http.ResponseWriter, req *http.Request) { s.servePage(w, req, r, closed) })
		}
	}
	for path, allowed := range methods {
		allow := strings.Join(allowed, ", ")
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			p := newProblem(codeMethod, "this address takes "+allow)
			p.allow = allow
			p.answer(w)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		newProblem(codeNotFound, "there is nothing at this address: GET /v1/openapi.json says what there is").answer(w)
	})
	return s.observe(mux)
}

// recorder notes with which status a request was answered, and in which trace.
type recorder struct {
	http.ResponseWriter
	status int
	span   tracing.Span
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// observe gives every request an id and a line in the log, and answers a request whose handler panicked.
func (s *Service) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if !requestID.MatchString(id) {
			id = randomID()
		}
		h := w.Header()
		h.Set(requestIDHeader, id)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		rec, began := &recorder{ResponseWriter: w}, time.Now()
		if r.Body != http.NoBody {
			// Before an answer net/http reads on in a body that no handler has read, such as that of a request that is refused. Handlers that read
			// the body begin anew (inTime).
			_ = http.NewResponseController(w).SetReadDeadline(began.Add(s.cfg.BodyTimeout)) // inTime says what is wrong
		}
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // it is compared as net/http does
				s.log.Error("a handler panicked", "request", id, "panic", p, "stack", string(debug.Stack()))
				if rec.status == 0 {
					newProblem(codeInternal, "the operator finds the reason in the log, by the request's id").answer(rec)
				}
			}
			if rec.status == 0 { // an image, or the document
				rec.status = http.StatusOK
			}
			took := time.Since(began)
			// The pattern, and not the address, which a client may fill with anything.
			if h.Get("Content-Type") != "text/event-stream" { // a stream lasts as long as its reader does
				s.Metrics.Answered(rec.span.In(context.Background()), r.Pattern, rec.status, took)
			}
			s.log.Info("request", "request", id, "route", r.Pattern, "status", rec.status, "took", took.Round(time.Millisecond))
		}()
		next.ServeHTTP(rec, r)
	})
}

func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// serve answers one route.
func (s *Service) serve(w http.ResponseWriter, r *http.Request, to route, closed bool) {
	c := &call{Request: r, id: w.Header().Get(requestIDHeader)}
	c.log = s.log.With("request", c.id, "route", to.path)
	why := func() *problem {
		if closed {
			if p := s.admit(c, to.scope); p != nil {
				return p
			}
		}
		return to.serve(s, w, c)
	}()
	if why != nil {
		why.answer(w)
	}
}

// admit finds the user of a request, who must have the scope, and may not send faster than Config.Rate.
func (s *Service) admit(c *call, scope users.Scope) *problem {
	scheme, token, _ := strings.Cut(c.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return c.refuse(newProblem(codeUnauthorized, "send your token: Authorization: Bearer TOKEN (stegomq users add NAME makes one)"), "")
	}
	if why := s.authenticate(c, token); why != nil {
		return why
	}
	if scope != "" && !c.user.Has(scope) {
		return c.refuse(newProblem(codeMissingScope, "your token does not have the scope "+string(scope)), "")
	}
	return s.inPace(c)
}

// authenticate finds the user of a token.
func (s *Service) authenticate(c *call, token string) *problem {
	var err error
	switch c.user, err = s.Users.Authenticate(strings.TrimSpace(token)); {
	case errors.Is(err, users.ErrToken):
		return c.refuse(newProblem(codeUnauthorized, "no user has this token, or it was revoked"), "")
	case errors.Is(err, users.ErrExpired):
		return c.refuse(newProblem(codeUnauthorized, "this token was valid until "+c.user.Expires.Format(time.RFC3339)+": ask the operator for another (stegomq users revoke, users add)"), "")
	case err != nil:
		c.log.Error("users cannot be checked", "error", err)
		return newProblem(codeUnavailable, "users cannot be checked now: the operator finds the reason in the log")
	}
	return nil
}

//go:embed openapi.json
var openAPI []byte

func (s *Service) document(w http.ResponseWriter, _ *call) *problem {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI) // the client has gone
	return nil
}

func (*Service) healthz(*call) (any, *problem) { return map[string]string{"status": "ok"}, nil }

// checkTimeout is how long the servers get to answer that they are there.
const checkTimeout = 2 * time.Second

func (s *Service) readyz(c *call) (any, *problem) {
	if s.slots.draining.Load() {
		return nil, newProblem(codeDraining, "the service takes no more requests")
	}
	ctx, cancel := context.WithTimeout(c.Context(), checkTimeout)
	defer cancel()
	if err := s.Pipeline.Check(ctx); err != nil {
		c.log.Warn("not ready", "error", err)
		return nil, newProblem(codeUnavailable, "a server of the pipeline does not answer: the operator finds which in the log")
	}
	return map[string]string{"status": "ready"}, nil
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone
}
