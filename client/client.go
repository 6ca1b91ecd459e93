// Package client lets a Go program use the HTTP API of a stegomq service (docs/http.md): it owns requests, retries and the meaning of answers.
// It uses the standard library alone.
//
// Images go in as an io.Reader of a PNG, JPEG, WebP, TIFF or BMP file: File reads one from a path, PNG makes one of an image.Image. Images come out
// as PNG. Where the service refuses a request, the error is a *Problem (errors.As) with a code.
package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Defaults of a Config.
const (
	DefaultURL      = "http://127.0.0.1:8080"
	DefaultPatience = 2 * time.Minute
)

// tryTimeout bounds one try: it is more than the service gives a request by default.
const tryTimeout = 2 * time.Minute

// firstPause and lastPause bound the time between two tries. Where the service asks for a longer pause, the client comes back after lastPause.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 30 * time.Second
)

// largestText bounds the bytes that are read of an answer that is not a success.
const largestText = 16 << 20

// Config says where the service is, and who asks. Zero values take the defaults.
type Config struct {
	// URL is where the service is. Default: STEGOMQ_URL in the environment, and else DefaultURL.
	URL string
	// Token is the user's. Default: STEGOMQ_TOKEN. `stegomq users add NAME` makes one.
	Token string
	// Patience is how long the client tries again while the service cannot do something. Default: DefaultPatience; below 0: it does not try again.
	Patience time.Duration
	// HTTP sends the requests. Default: a client that gives each try two minutes, and follows no redirects, so that the token goes nowhere else.
	HTTP *http.Client
}

// Client is a service as one user sees it. It is safe for concurrent use.
//
// When the service is full or away, the client tries again at the time that the service names (Retry-After), within Config.Patience and the
// context. Every operation and run carries an idempotency key, so that it is done once however often it is sent. The error is a *Problem where the
// service refused, that of the context where it ended, and otherwise one of package net/http.
type Client struct {
	base     *url.URL
	token    string
	patience time.Duration
	http     *http.Client
}

// ErrConfig: the Config cannot be used.
var ErrConfig = errors.New("the client cannot be made")

// New makes a client. It sends no request. The error is ErrConfig.
func New(cfg Config) (*Client, error) {
	token := strings.TrimSpace(cmp.Or(cfg.Token, os.Getenv("STEGOMQ_TOKEN"))) // a file of a token ends with a newline
	c := &Client{token: token, patience: cmp.Or(cfg.Patience, DefaultPatience), http: cfg.HTTP}
	switch {
	case token == "":
		return nil, fmt.Errorf("%w: there is no token: give one, or set STEGOMQ_TOKEN (stegomq users add NAME makes one)", ErrConfig)
	case strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' }):
		return nil, fmt.Errorf("%w: the token is not one of stegomq: it has a character that no token has", ErrConfig)
	}
	address := cmp.Or(cfg.URL, os.Getenv("STEGOMQ_URL"), DefaultURL)
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("%w: %q is no address of a service: write it as %s", ErrConfig, address, DefaultURL)
	}
	c.base = base
	if c.http == nil {
		c.http = &http.Client{Timeout: tryTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return c, nil
}

// call is a request that may be sent again.
type call struct {
	method, path string
	body         string
	header       http.Header
}

// send sends a call until the answer is final, and returns the header and the body of that answer.
func (c *Client) send(ctx context.Context, what call) (http.Header, []byte, error) {
	deadline := time.Now().Add(c.patience)
	for tries := 0; ; tries++ {
		header, body, err := c.try(ctx, what)
		if err == nil {
			return header, body, nil
		}
		wait, again := pause(tries, err)
		if !again || ctx.Err() != nil || time.Now().Add(wait).After(deadline) {
			return nil, nil, err
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, nil, err
		}
	}
}

func (c *Client) try(ctx context.Context, what call) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, what.method, c.base.JoinPath(what.path).String(), strings.NewReader(what.body))
	if err != nil {
		return nil, nil, err
	}
	if what.header != nil {
		req.Header = what.header.Clone()
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		return nil, nil, readProblem(resp)
	}
	body, err := io.ReadAll(resp.Body)
	return resp.Header, body, err
}

// ask sends a call that is answered with JSON.
func ask[T any](ctx context.Context, c *Client, what call) (*T, http.Header, error) {
	header, body, err := c.send(ctx, what)
	if err != nil {
		return nil, nil, err
	}
	answer := new(T)
	if err := json.Unmarshal(body, answer); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errForeign, err)
	}
	return answer, header, nil
}

// list returns the list at /v1/NAME, such as the user's jobs or keys.
func list[T any](ctx context.Context, c *Client, name string) ([]T, error) {
	answer, _, err := ask[map[string][]T](ctx, c, call{method: http.MethodGet, path: "/v1/" + name})
	if err != nil {
		return nil, err
	}
	return (*answer)[name], nil
}

// pause says how long to wait after a try that failed, and whether another can end otherwise.
func pause(tries int, err error) (wait time.Duration, again bool) {
	var p *Problem
	switch {
	case errors.As(err, &p):
		wait, again = min(p.RetryAfter, lastPause), p.RetryAfter > 0
	case errors.Is(err, errForeign):
	default: // the service was not reached, or its answer broke off
		wait, again = min(firstPause<<min(tries, 16), lastPause), true
	}
	// Clients that were sent away together do not come back together.
	return wait + time.Duration(rand.Float64()*float64(wait)/4), again
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retryAfter is the time in Retry-After, in whole seconds as the service writes it; 0: there is none.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(max(seconds, 1)) * time.Second
}
