package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// RunRequest asks for an evaluation of a model on one of the service's data sets. Zero values take the service's defaults (docs/http.md).
type RunRequest struct {
	Name    string `json:"name,omitempty"`
	Dataset string `json:"dataset"`
	Model   string `json:"model"`
	// Keys are ids of the user's. Without any, DemoKeys of the model's public ones are taken.
	Keys     []string `json:"keys,omitempty"`
	DemoKeys int      `json:"demo_keys,omitempty"`
	// Size is the width and height that images are brought to, in pixels. Resize says how: squash or crop.
	Size   int    `json:"size,omitempty"`
	Resize string `json:"resize,omitempty"`
	// Limit is the largest number of image pairs, the first ones. Sample is the number of pairs that SampleSeed draws from all instead.
	Limit      int       `json:"limit,omitempty"`
	Sample     int       `json:"sample,omitempty"`
	SampleSeed uint64    `json:"sample_seed,omitempty"`
	RandomKeys *int      `json:"random_keys,omitempty"`
	NearKeys   int       `json:"near_keys,omitempty"`
	Noise      *float64  `json:"noise,omitempty"`
	Swapped    bool      `json:"swapped,omitempty"`
	NoKey      bool      `json:"no_key,omitempty"`
	Partial    []float64 `json:"partial,omitempty"`
	Attacks    []string  `json:"attacks,omitempty"`
	// IdempotencyKey is as for Embed. The same request with the same key gives the same run.
	IdempotencyKey string `json:"-"`
}

// The states of a run, beside Running, Done and Failed.
const (
	Waiting   State = "waiting"
	Cancelled State = "cancelled"
)

// Run is an evaluation on the service. It is kept until it is deleted.
type Run struct {
	ID    string `json:"id"`
	Owner string `json:"owner"`
	State State  `json:"state"`
	// Created is when the run was asked for, Finished when it ended; zero: it has not.
	Created  time.Time  `json:"created"`
	Finished time.Time  `json:"finished"`
	Request  RunRequest `json:"request"`
	// Pairs counts image pairs, Total comparisons; both are 0 until the run is planned. Scores counts the comparisons that were made or refused,
	// Failed those that cannot be made.
	Pairs  int `json:"pairs"`
	Total  int `json:"total"`
	Scores int `json:"scores"`
	Failed int `json:"failed"`
	// WaitsFor says what holds the run up, where it is more than work.
	WaitsFor string `json:"waits_for"`
	// Problem is why a run failed.
	Problem *Problem `json:"problem"`
}

// Ended says whether the run is done, failed or cancelled.
func (r *Run) Ended() bool { return r.State != Waiting && r.State != Running }

// Evaluate begins a run and does not wait for it: Follow does.
func (c *Client) Evaluate(ctx context.Context, what RunRequest) (*Run, error) {
	body, err := json.Marshal(what)
	if err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {cmp.Or(what.IdempotencyKey, rand.Text())}}
	return c.run(ctx, call{method: http.MethodPost, path: "/v1/runs", body: string(body), header: header})
}

// Run returns a run of the user's.
func (c *Client) Run(ctx context.Context, id string) (*Run, error) {
	return c.run(ctx, call{method: http.MethodGet, path: runPath(id)})
}

// CancelRun takes the waiting jobs of a run out of the queue. The scores of the run stay.
func (c *Client) CancelRun(ctx context.Context, id string) (*Run, error) {
	return c.run(ctx, call{method: http.MethodPost, path: runPath(id) + "/cancel"})
}

// DeleteRun cancels a run, and deletes it with its scores.
func (c *Client) DeleteRun(ctx context.Context, id string) error {
	_, _, err := c.send(ctx, call{method: http.MethodDelete, path: runPath(id)})
	return err
}

// followEvery is the time between two looks at a run.
const followEvery = 500 * time.Millisecond

// Follow looks at a run until it has ended, and calls tell, which may be nil, each time. If the run failed, the error is its Problem. A cancelled run
// is no error.
func (c *Client) Follow(ctx context.Context, id string, tell func(*Run)) (*Run, error) {
	for {
		run, err := c.Run(ctx, id)
		if err != nil {
			return nil, err
		}
		if tell != nil {
			tell(run)
		}
		switch {
		case run.Problem != nil:
			return run, run.Problem
		case run.Ended():
			return run, nil
		}
		if err := sleep(ctx, followEvery); err != nil {
			return nil, err
		}
	}
}

// RunFile returns a file of a run: summary.json, items.csv, report.md or report.html, as `stegomq evaluate` writes them, the reports without images.
func (c *Client) RunFile(ctx context.Context, id, name string) ([]byte, error) {
	_, body, err := c.send(ctx, call{method: http.MethodGet, path: runPath(id) + "/files/" + url.PathEscape(name)})
	return body, err
}

// Runs returns the user's runs, the newest first.
func (c *Client) Runs(ctx context.Context) ([]Run, error) { return list[Run](ctx, c, "runs") }

// Datasets returns the names of the data sets that runs may be made on.
func (c *Client) Datasets(ctx context.Context) (names []string, err error) {
	sets, err := list[struct{ Name string }](ctx, c, "datasets")
	for _, set := range sets {
		names = append(names, set.Name)
	}
	return names, err
}

func (c *Client) run(ctx context.Context, what call) (*Run, error) {
	run, _, err := ask[Run](ctx, c, what)
	return run, err
}

func runPath(id string) string { return "/v1/runs/" + url.PathEscape(id) }
