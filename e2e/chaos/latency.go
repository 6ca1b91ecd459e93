package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// latency is how long requests to embed take, alone and beside a bulk run.
type latency struct {
	Jobs   int       `json:"jobs"` // of the bulk run
	Idle   quantiles `json:"idle"`
	Beside quantiles `json:"beside"`
	// Job is what one job of the bulk run took, at the 99th percentile: the upper end of a bucket of the workers' histogram.
	Job time.Duration `json:"job"`
	// Progress is the share of the bulk run that was done when the last request was answered: below 1 the run was beside all requests.
	Progress float64 `json:"progress"`
}

type quantiles struct {
	N   int           `json:"n"`
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
}

// bound is the bound of the 99th percentile beside a bulk run.
func (l *latency) bound() time.Duration { return 3*l.Idle.P99 + l.Job }

// askFor bounds the time of one measurement.
const askFor = 2 * time.Minute

// ask has `stegomq bench` embed n images, one request at a time.
func (s *system) ask(ctx context.Context, name string, n int) (q quantiles, err error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	p, err := s.client(name, "bench", "--model", model, "--size", strconv.Itoa(side), "--in-flight", "1", "--requests", strconv.Itoa(n), "--json", "-")
	if err != nil {
		return q, err
	}
	cmd := exec.CommandContext(ctx, p.argv[0], p.argv[1:]...) //nolint:gosec // the program that the user named
	cmd.Dir, cmd.Env = p.dir, p.env
	var told bytes.Buffer
	cmd.Stderr = &told
	out, err := cmd.Output()
	if err != nil {
		return q, fmt.Errorf("stegomq bench (%s): %w: %s", name, errors.Join(err, ctx.Err()), told.Bytes())
	}
	var report struct {
		Measured struct {
			Latency struct {
				Count int     `json:"count"`
				P50   float64 `json:"p50_ms"`
				P99   float64 `json:"p99_ms"`
			} `json:"latency"`
		} `json:"measured"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return q, fmt.Errorf("stegomq bench (%s): %w", name, err)
	}
	l, ms := report.Measured.Latency, float64(time.Millisecond)
	return quantiles{l.Count, time.Duration(l.P50 * ms), time.Duration(l.P99 * ms)}, nil
}

// latencies makes n requests of an idle pipeline, then as many beside a bulk run of everything in a folder.
func (s *system) latencies(ctx context.Context, bulk string, total, n int) (l *latency, err error) {
	l = &latency{Jobs: total}
	if l.Idle, err = s.ask(ctx, "idle", n); err != nil {
		return nil, err
	}
	const name = "beside"
	_, done, err := s.evaluate(bulk, name)
	if err != nil {
		return nil, err
	}
	ended := func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
	if err := eventually(ctx, func() bool { c, err := s.redis.count(ctx, name); return err == nil && c > 20 || ended() }); err != nil {
		return nil, fmt.Errorf("the bulk run does not begin: %w", err)
	}
	if l.Beside, err = s.ask(ctx, "requests", n); err != nil {
		return nil, err
	}
	count, err := s.redis.count(ctx, name)
	if err != nil {
		return nil, err
	}
	l.Progress = float64(count) / float64(total/jobsPerPair*comparisonsPerPair)
	l.Job, err = s.jobTime(ctx)
	s.command.close()
	return l, err
}

// comparisonsPerPair counts the rows of items.csv for one pair: the stego image of each of two keys; the outputs of three keys for each
// of the two, those of wrong keys against the secret and the cover; the pair itself; the noisy and the purified image.
const comparisonsPerPair = 2 + 2*(1+2+2) + 1 + 2

var bucket = regexp.MustCompile(`(?m)^stegomq_job_seconds_bucket\{operation="[a-z]+",le="([^"]+)"\} (\S+)$`)

// jobTime reads the workers' histograms: 99 of 100 jobs took no longer.
func (s *system) jobTime(ctx context.Context) (time.Duration, error) {
	below := make(map[float64]float64)
	for _, addr := range s.metrics {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
		if err != nil {
			return 0, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return 0, err
		}
		for _, found := range bucket.FindAllStringSubmatch(string(text), -1) {
			le, err := strconv.ParseFloat(found[1], 64) // +Inf too
			if err != nil {
				return 0, err
			}
			n, err := strconv.ParseFloat(found[2], 64)
			if err != nil {
				return 0, err
			}
			below[le] += n
		}
	}
	bounds := make([]float64, 0, len(below))
	for le := range below {
		bounds = append(bounds, le)
	}
	slices.Sort(bounds)
	for _, le := range bounds {
		if below[le] >= 0.99*below[math.Inf(1)] && !math.IsInf(le, 1) {
			return time.Duration(le * float64(time.Second)), nil
		}
	}
	return 0, fmt.Errorf("the workers' histograms say nothing: %v", below)
}
