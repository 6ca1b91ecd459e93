package service

import (
	"encoding/json"
	"errors"
	"net/http"

	"stegomq/pipeline"
	"stegomq/producer"
	"stegomq/schemas"
)

// code is a stable word for what went wrong.
type code string

// The codes. Each stands in problems, in openapi.json and in docs/http.md.
const (
	codeBadRequest     code = "bad_request"
	codeUnauthorized   code = "unauthorized"
	codeMissingScope   code = "missing_scope"
	codeEmbedOnly      code = "embed_only_key"
	codeNotFound       code = "not_found"
	codeUnknownKey     code = "unknown_key"
	codeUnknownModel   code = "unknown_model"
	codeUnknownJob     code = "unknown_job"
	codeUnknownRun     code = "unknown_run"
	codeUnknownDataset code = "unknown_dataset"
	codeImageGone      code = "image_gone"
	codeMethod         code = "method_not_allowed"
	codeSlowBody       code = "slow_body"
	codeRunning        code = "job_running"
	codeNoResults      code = "no_results"
	codeTooManyRuns    code = "too_many_runs"
	codeConflict       code = "run_differs"
	codeTooLarge       code = "too_large"
	codeMediaType      code = "unsupported_media_type"
	codeBadImage       code = "bad_image"
	codeBadKey         code = "bad_key"
	codeOperation      code = "unsupported_operation"
	codeRefused        code = "refused"
	codeOtherBody      code = "idempotency_key_reused"
	codeTooMany        code = "too_many_requests"
	codeInternal       code = "internal"
	codeDraining       code = "draining"
	codeUnavailable    code = "unavailable"
	codeStorageFull    code = "storage_full"
	codeTimeout        code = "timeout"
)

// problems say how each code is answered. What is tried again later says when (Retry-After, in seconds).
var problems = map[code]struct {
	status     int
	title      string
	retryAfter string
}{
	codeBadRequest:     {http.StatusBadRequest, "The request is not one", ""},
	codeUnauthorized:   {http.StatusUnauthorized, "No user has this token", ""},
	codeMissingScope:   {http.StatusForbidden, "The token does not allow this", ""},
	codeEmbedOnly:      {http.StatusForbidden, "This key only embeds for you", ""},
	codeNotFound:       {http.StatusNotFound, "There is nothing here", ""},
	codeUnknownKey:     {http.StatusNotFound, "You have no such key", ""},
	codeUnknownModel:   {http.StatusNotFound, "There is no such model", ""},
	codeUnknownJob:     {http.StatusNotFound, "You have no such job", ""},
	codeUnknownRun:     {http.StatusNotFound, "You have no such run", ""},
	codeUnknownDataset: {http.StatusNotFound, "There is no such data set", ""},
	codeImageGone:      {http.StatusNotFound, "There is no such image", ""},
	codeMethod:         {http.StatusMethodNotAllowed, "Not with this method", ""},
	codeSlowBody:       {http.StatusRequestTimeout, "The body came too slowly", "1"},
	codeRunning:        {http.StatusConflict, "The job is under way", "1"},
	codeNoResults:      {http.StatusConflict, "The run has no results yet", "1"},
	codeTooManyRuns:    {http.StatusConflict, "You have too many runs", ""},
	codeConflict:       {http.StatusConflict, "The run began with something else", ""},
	codeTooLarge:       {http.StatusRequestEntityTooLarge, "Too large", ""},
	codeMediaType:      {http.StatusUnsupportedMediaType, "The body is no form", ""},
	codeBadImage:       {http.StatusUnprocessableEntity, "The image cannot be used", ""},
	codeBadKey:         {http.StatusUnprocessableEntity, "The model does not work with this key", ""},
	codeOperation:      {http.StatusUnprocessableEntity, "The model does not do this", ""},
	codeRefused:        {http.StatusUnprocessableEntity, "Recovery refused the image", ""},
	codeOtherBody:      {http.StatusUnprocessableEntity, "The idempotency key is of another request", ""},
	codeTooMany:        {http.StatusTooManyRequests, "Too many requests at once", "1"},
	codeInternal:       {http.StatusInternalServerError, "The service failed", ""},
	codeDraining:       {http.StatusServiceUnavailable, "The service ends", "5"},
	codeUnavailable:    {http.StatusServiceUnavailable, "A part of the service does not answer", "5"},
	codeStorageFull:    {http.StatusServiceUnavailable, "There is no room for images", "60"},
	codeTimeout:        {http.StatusGatewayTimeout, "It took too long", "5"},
}

// problem is why a request failed, as it is answered.
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

// ofReply is the problem of a request that has its reply; nil of one that did not fail. The text of an error that may name what is others'
// stays in the log.
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
		return newProblem(codeInternal, "the model gave no image: its operator finds the reason in the log, by the request's id")
	}
	return newProblem(codeUnavailable, "no worker could do it: try again; its operator finds the reason in the log, by the request's id")
}

const otherKey = "the model was not trained with this key, so that it would neither hide nor protect anything: GET /v1/models says which of your keys it works with"

// ofError is the problem of a request that got no reply.
func ofError(err error) *problem {
	var already *problem
	switch {
	case errors.As(err, &already):
		return already
	case errors.Is(err, errTimeout):
		return newProblem(codeTimeout, "no worker had done it in time: try again")
	case pipeline.NoRoom(err):
		return newProblem(codeStorageFull, "the message queue has no room for your images: older ones make room within the hour")
	}
	return newProblem(codeUnavailable, "the message queue does not answer: try again")
}

// Error makes a problem an error on its way to the answer.
func (p *problem) Error() string { return string(p.Code) + ": " + p.Detail }
