package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// latency is how long embed --stream takes for a request, alone and beside a bulk run.
type latency struct {
	Jobs   int       `json:"jobs"` // of the bulk run
	Idle   quantiles `json:"idle"`
	Beside quantiles `json:"beside"`
	// Job is what one job of the bulk run took, at the 99th percentile: the upper end of a bucket of the workers' histogram.
	Job time.Duration `json:"job"`
	// Progress is the share of the bulk run that was done when the last request was answered: below 1 all requests had it beside them.
	Progress float64 `json:"progress"`
}

type quantiles struct {
	N       int           `json:"n"`
	Waiting int           `json:"waiting"` // requests that had no reply when the time was over; they count with the time that they had waited
	P50     time.Duration `json:"p50"`
	P99     time.Duration `json:"p99"`
}

// bound is what the 99th percentile beside a bulk run may be.
func (l *latency) bound() time.Duration { return 3*l.Idle.P99 + l.Job }

func quantilesOf(times []time.Duration, waiting int) quantiles {
	slices.Sort(times)
	at := func(q float64) time.Duration {
		if len(times) == 0 {
			return 0
		}
		return times[min(len(times)-1, int(math.Ceil(q*float64(len(times))))-1)]
	}
	return quantiles{N: len(times), Waiting: waiting, P50: at(0.5), P99: at(0.99)}
}

// asker is an embed --stream that is asked one request at a time.
type asker struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	replies chan string
	dir     string
	n       int
}

func (s *system) newAsker(requests string) (*asker, error) {
	p, err := s.client("stream", "embed", "--stream", "--model", model, "--size", strconv.Itoa(side))
	if err != nil {
		return nil, err
	}
	a := &asker{cmd: exec.Command(p.argv[0], p.argv[1:]...), replies: make(chan string), dir: requests} //nolint:gosec // the program that the user named
	a.cmd.Dir, a.cmd.Env = p.dir, p.env
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if a.in, err = a.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(p.logFile())
	if err != nil {
		return nil, err
	}
	a.cmd.Stderr = log
	if err := a.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(a.replies)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			a.replies <- lines.Text()
		}
	}()
	return a, nil
}

func (a *asker) close() {
	_ = a.cmd.Process.Kill()
	_ = a.in.Close()
	for range a.replies {
		// The reader must not wait for ever.
	}
	_ = a.cmd.Wait()
}

// ask makes requests, one after another and each with pictures of its own, until there are n or the time is over.
func (a *asker) ask(ctx context.Context, n int, limit time.Duration, enough func() bool) (quantiles, error) {
	over := time.After(limit)
	var times []time.Duration
	for len(times) < n && !enough() {
		file := func(i int) string { return filepath.Join(a.dir, fmt.Sprintf("%05d.png", i)) }
		request, err := json.Marshal(map[string]string{
			"id": fmt.Sprint("request-", a.n), "key": "demo-1", "cover": file(2 * a.n), "secret": file(2*a.n + 1), "out": filepath.Join(a.dir, "stego.png"),
		})
		if err != nil {
			return quantiles{}, err
		}
		a.n++
		start := time.Now()
		if _, err := a.in.Write(append(request, '\n')); err != nil {
			return quantiles{}, fmt.Errorf("embed --stream: %w", err)
		}
		select {
		case line, open := <-a.replies:
			var reply struct {
				OK    bool   `json:"ok"`
				Error string `json:"error"`
			}
			if !open {
				return quantiles{}, fmt.Errorf("embed --stream ended after %d requests", a.n)
			}
			if err := json.Unmarshal([]byte(line), &reply); err != nil || !reply.OK {
				return quantiles{}, fmt.Errorf("embed --stream answered %s", line)
			}
			times = append(times, time.Since(start))
		case <-over:
			return quantilesOf(append(times, time.Since(start)), 1), nil
		case <-ctx.Done():
			return quantiles{}, ctx.Err()
		}
	}
	return quantilesOf(times, 0), nil
}

// askFor is how long requests are made beside a bulk run, at most.
const askFor = 2 * time.Minute

// latencies asks an idle pipeline n requests, then as many again beside a bulk run of everything in a folder.
func (s *system) latencies(ctx context.Context, requests, bulk string, total, n int) (*latency, error) {
	asks, err := s.newAsker(requests)
	if err != nil {
		return nil, err
	}
	defer asks.close()
	l := &latency{Jobs: total}
	never := func() bool { return false }
	if _, err := asks.ask(ctx, 20, askFor, never); err != nil { // the first ones make sessions and connections
		return nil, err
	}
	if l.Idle, err = asks.ask(ctx, n, askFor, never); err != nil {
		return nil, err
	}
	const name = "beside"
	if s.command, err = s.client("command", append([]string{"evaluate", "--data", bulk, "--run", name, "--out", filepath.Join(s.dir, name)}, workFlags()...)...); err != nil {
		return nil, err
	}
	s.command.once = true
	if err := s.command.start(); err != nil {
		return nil, err
	}
	done := s.command.done()
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
	if l.Beside, err = asks.ask(ctx, n, askFor, ended); err != nil {
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

// comparisonsPerPair are the rows of items.csv for one pair: what each of two keys hid, beside its cover; three keys that decode each
// of both, the wrong ones of which are compared with the secret and the cover; the pair itself; noise, and what purifying leaves of it.
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
