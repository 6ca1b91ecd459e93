package service

import (
	"encoding/json"
	"errors"
	"net/http"

	"stegomq/pipeline"
	"stegomq/producer"
	"stegomq/schemas"
)

// code is a stable word for a kind of problem.
type code string

// problems say how each code is answered. retryAfter is the header Retry-After in seconds; "": trying again does not help.
var problems = make(map[code]struct {
	status            int
	title, retryAfter string
})

func coded(c code, status int, title, retryAfter string) code {
	problems[c] = struct {
		status            int
		title, retryAfter string
	}{status, title, retryAfter}
	return c
}

// The codes. Each stands in openapi.json and in docs/http.md.
var (
	codeBadRequest     = coded("bad_request", http.StatusBadRequest, "The request is malformed", "")
	codeUnauthorized   = coded("unauthorized", http.StatusUnauthorized, "The token is missing or not valid", "")
	codeMissingScope   = coded("missing_scope", http.StatusForbidden, "The token does not allow this", "")
	codeEmbedOnly      = coded("embed_only_key", http.StatusForbidden, "This key only embeds for you", "")
	codeNotFound       = coded("not_found", http.StatusNotFound, "There is nothing here", "")
	codeUnknownKey     = coded("unknown_key", http.StatusNotFound, "You have no such key", "")
	codeUnknownModel   = coded("unknown_model", http.StatusNotFound, "There is no such model", "")
	codeUnknownJob     = coded("unknown_job", http.StatusNotFound, "You have no such job", "")
	codeUnknownRun     = coded("unknown_run", http.StatusNotFound, "You have no such run", "")
	codeUnknownDataset = coded("unknown_dataset", http.StatusNotFound, "There is no such data set", "")
	codeImageGone      = coded("image_gone", http.StatusNotFound, "There is no such image", "")
	codeMethod         = coded("method_not_allowed", http.StatusMethodNotAllowed, "The method is not allowed", "")
	codeSlowBody       = coded("slow_body", http.StatusRequestTimeout, "The body came too slowly", "1")
	codeRunning        = coded("job_running", http.StatusConflict, "The job is under way", "1")
	codeNoResults      = coded("no_results", http.StatusConflict, "The run has no results yet", "1")
	codeTooManyRuns    = coded("too_many_runs", http.StatusConflict, "You have too many runs", "")
	codeConflict       = coded("run_differs", http.StatusConflict, "The run began with something else", "")
	codeTooLarge       = coded("too_large", http.StatusRequestEntityTooLarge, "Too large", "")
	codeMediaType      = coded("unsupported_media_type", http.StatusUnsupportedMediaType, "The body is of another type", "")
	codeBadImage       = coded("bad_image", http.StatusUnprocessableEntity, "The image cannot be used", "")
	codeBadKey         = coded("bad_key", http.StatusUnprocessableEntity, "The model does not work with this key", "")
	codeOperation      = coded("unsupported_operation", http.StatusUnprocessableEntity, "The model does not do this", "")
	codeRefused        = coded("refused", http.StatusUnprocessableEntity, "Recovery refused the image", "")
	codeOtherBody      = coded("idempotency_key_reused", http.StatusUnprocessableEntity, "The idempotency key is of another request", "")
	codeTooMany        = coded("too_many_requests", http.StatusTooManyRequests, "Too many requests at once", "1")
	codeInternal       = coded("internal", http.StatusInternalServerError, "The service failed", "")
	codeDraining       = coded("draining", http.StatusServiceUnavailable, "The service is about to end", "5")
	codeUnavailable    = coded("unavailable", http.StatusServiceUnavailable, "A part of the service does not answer", "5")
	codeStorageFull    = coded("storage_full", http.StatusServiceUnavailable, "There is no room for images", "60")
	codeTimeout        = coded("timeout", http.StatusGatewayTimeout, "It took too long", "5")
)

// problem is the body of the answer to a request that failed (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   code   `json:"code"`
	// RequestID is set when it is answered.
	RequestID string `json:"request_id,omitempty"`

	retryAfter string
	allow      string // methods, of codeMethod
}

func newProblem(c code, detail string) *problem {
	p := problems[c]
	return &problem{Type: "urn:stegomq:problem:" + string(c), Title: p.title, Status: p.status, Detail: detail, Code: c, retryAfter: p.retryAfter}
}

// answer writes the problem.
func (p *problem) answer(w http.ResponseWriter) {
	mine := *p
	mine.RequestID = w.Header().Get(requestIDHeader)
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if p.retryAfter != "" {
		h.Set("Retry-After", p.retryAfter)
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	if p.Code == codeUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(mine) // the client has gone
}

// ofReply is the problem of a request that a worker has answered; nil where it did not fail. The text of an error that may name what belongs to
// others stays in the log.
func ofReply(r producer.Reply) *problem {
	if r.OK {
		return nil
	}
	switch r.Reason {
	case string(schemas.ReasonBadMessage):
		return newProblem(codeBadRequest, r.Error)
	case string(schemas.ReasonBadImage):
		return newProblem(codeBadImage, r.Error)
	case string(schemas.ReasonTooLarge):
		return newProblem(codeTooLarge, r.Error)
	case string(schemas.EndRefused):
		return newProblem(codeRefused, r.Error)
	case string(schemas.ReasonBadKey):
		return newProblem(codeBadKey, otherKey)
	case string(schemas.ReasonBadOutput), string(schemas.ReasonBadModel):
		return newProblem(codeInternal, "the model made no image: the operator finds the reason in the log, by the request's id")
	}
	return newProblem(codeUnavailable, "no worker could do it: try again; the operator finds the reason in the log, by the request's id")
}

const otherKey = "the model was not trained with this key, and would neither hide nor protect anything with it: GET /v1/models says which of your keys it works with"

// ofError is the problem of a request that got no reply.
func ofError(err error) *problem {
	var already *problem
	switch {
	case errors.As(err, &already):
		return already
	case errors.Is(err, errTimeout):
		return newProblem(codeTimeout, "no worker did it in time: try again")
	case pipeline.NoRoom(err):
		return newProblem(codeStorageFull, "the message queue has no room for your images: older ones make room within the hour")
	}
	return newProblem(codeUnavailable, "the message queue does not answer: try again")
}

// Error lets a problem travel as an error on its way to the answer.
func (p *problem) Error() string { return string(p.Code) + ": " + p.Detail }
