package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Code is the stable word of a problem.
type Code string

// The codes of the service. docs/http.md says when each is answered.
const (
	BadRequest           Code = "bad_request"
	Unauthorized         Code = "unauthorized"
	MissingScope         Code = "missing_scope"
	EmbedOnlyKey         Code = "embed_only_key"
	NotFound             Code = "not_found"
	UnknownKey           Code = "unknown_key"
	UnknownModel         Code = "unknown_model"
	UnknownJob           Code = "unknown_job"
	UnknownRun           Code = "unknown_run"
	UnknownDataset       Code = "unknown_dataset"
	ImageGone            Code = "image_gone"
	MethodNotAllowed     Code = "method_not_allowed"
	SlowBody             Code = "slow_body"
	JobRunning           Code = "job_running"
	NoResults            Code = "no_results"
	TooManyRuns          Code = "too_many_runs"
	RunDiffers           Code = "run_differs"
	TooLarge             Code = "too_large"
	UnsupportedMediaType Code = "unsupported_media_type"
	BadImage             Code = "bad_image"
	BadKey               Code = "bad_key"
	UnsupportedOperation Code = "unsupported_operation"
	// Refused: recovery is authenticated and refused the image: another key, or it was changed, or nothing is hidden in it.
	Refused              Code = "refused"
	IdempotencyKeyReused Code = "idempotency_key_reused"
	TooManyRequests      Code = "too_many_requests"
	Internal             Code = "internal"
	Draining             Code = "draining"
	Unavailable          Code = "unavailable"
	StorageFull          Code = "storage_full"
	Timeout              Code = "timeout"
)

// Problem is why the service did not do what it was asked (RFC 9457).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail says what to do.
	Detail string `json:"detail"`
	Code   Code   `json:"code"`
	// RequestID finds the request in the service's log.
	RequestID string `json:"request_id"`
	// RetryAfter is how long to wait before another try may succeed; 0: another try will not.
	RetryAfter time.Duration `json:"-"`
}

// Error is the code, the detail and the request's id.
func (p *Problem) Error() string {
	text := fmt.Sprintf("%s: %s", p.Code, p.Detail)
	if p.RequestID != "" {
		text += " (request " + p.RequestID + ")"
	}
	return text
}

// errForeign: the answer is not one of stegomq.
var errForeign = errors.New("this is no answer of stegomq: is the address right?")

// readProblem makes an error of an answer that is not a success.
func readProblem(resp *http.Response) error {
	p := &Problem{}
	body, err := io.ReadAll(io.LimitReader(resp.Body, largestText))
	if err != nil {
		return err
	}
	if json.Unmarshal(body, p) != nil || p.Code == "" {
		if wait := retryAfter(resp.Header); wait > 0 { // a proxy before the service
			return &Problem{Status: resp.StatusCode, Code: Unavailable, Detail: resp.Status, RetryAfter: wait}
		}
		return fmt.Errorf("%w: status %s", errForeign, resp.Status)
	}
	p.RetryAfter = retryAfter(resp.Header)
	return p
}
