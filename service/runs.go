package service

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/tracing"
	"stegomq/internal/users"
	"stegomq/pipeline"
	"stegomq/schemas"
)

// runRequest is what a run is asked for with.
type runRequest struct {
	// Name is the owner's for the run, Dataset one of Config.Datasets, Model a model's name.
	Name    string `json:"name,omitempty"`
	Dataset string `json:"dataset"`
	Model   string `json:"model"`
	// Keys are ids of the owner's keys. Without any, DemoKeys of the model's public keys are taken; 0: 2 of them.
	Keys     []string `json:"keys,omitempty"`
	DemoKeys int      `json:"demo_keys,omitempty"`
	Size     int      `json:"size,omitempty"`
	Resize   string   `json:"resize,omitempty"`
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
}

// same says whether two requests ask for the same run.
func (r *runRequest) same(other *runRequest) bool {
	a, err := json.Marshal(r)
	b, err2 := json.Marshal(other)
	return err == nil && err2 == nil && bytes.Equal(a, b)
}

const (
	defaultPairs = 32
	// mostComparisons bounds the scores of a run. All are in memory while results are made: half a kilobyte each.
	mostComparisons = 50000
	// Bounds of one user's runs: those that have not ended, and all.
	mostUnfinished, mostRuns = 8, 200
	maxRunBody               = 64 << 10
	maxRunName               = 100
)

// The states of a run. A run is waiting before it begins; when its service ends, it stays as it is until another goes on with it.
const (
	runWaiting   = "waiting"
	runRunning   = "running"
	runDone      = "done"
	runFailed    = "failed"
	runCancelled = "cancelled"
)

// run is a run as Redis keeps it. It outlives the process.
type run struct {
	runView
	// Hash is that of the owner's token. It tells the owner from a later user of the same name.
	Hash string `json:"token_sha256"`
	// Idempotency is the idempotency key of the request, and Trace its traceparent; empty: it had none.
	Idempotency string `json:"idempotency_key,omitempty"`
	Trace       string `json:"traceparent,omitempty"`
}

func (r *run) owner() string { return r.Owner + " " + r.Hash }

// runView is a run as it is answered.
type runView struct {
	ID string `json:"id"`
	// Owner is the user's name; empty of a command's run.
	Owner   string     `json:"owner,omitempty"`
	State   string     `json:"state"`
	Created time.Time  `json:"created"`
	Request runRequest `json:"request"`
	// Pairs counts image pairs, Total comparisons; both are 0 until the run is planned. Scores counts the comparisons that were made or refused, Failed
	// those that cannot be made.
	Pairs    int       `json:"pairs"`
	Total    int       `json:"total"`
	Scores   int       `json:"scores"`
	Failed   int       `json:"failed"`
	Finished time.Time `json:"finished,omitzero"`
	// WaitsFor says what holds the run up, where it is more than work.
	WaitsFor string   `json:"waits_for,omitempty"`
	Problem  *problem `json:"problem,omitempty"`
}

// Made counts the comparisons that have ended.
func (v *runView) Made() int { return v.Scores + v.Failed }

// Unfinished says whether the run has not ended.
func (v *runView) Unfinished() bool { return v.State == runWaiting || v.State == runRunning }

// view is a run as it is answered, with its present progress.
func (s *Service) view(ctx context.Context, r *run) runView {
	v := r.runView
	if r.State != runRunning {
		return v
	}
	if p, here := s.runs.progress(r.ID); here {
		v.Scores, v.Failed, v.WaitsFor = p.Scores, p.Failures, p.Waiting
	} else if scores, failed, err := s.Pipeline.RunProgress(ctx, r.ID); err == nil { // another process makes it
		v.Scores, v.Failed = scores, failed
	}
	return v
}

// commanded is a run that a command began, as an administrator sees it.
func commanded(row pipeline.RunRow) *run {
	r := &run{runView: runView{
		ID: row.Run, State: runRunning, Created: row.Started, Finished: row.Finished, Pairs: row.Pairs, Scores: row.Scores, Failed: row.Failed,
		Total: row.Scores + row.Failed, Request: runRequest{Dataset: row.Data, Model: row.Model},
	}}
	switch row.State {
	case "finished":
		r.State = runDone
	case "cancelled":
		r.State = runCancelled
	}
	return r
}

// records are all runs that were asked for over HTTP, the newest first.
func (s *Service) records(ctx context.Context) ([]*run, error) {
	all, err := s.Records.Asked(ctx)
	if err != nil {
		return nil, err
	}
	var list []*run
	for id, text := range all {
		var r run
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			s.log.Error("what is kept of a run does not read", "run", id, "error", err)
			continue
		}
		list = append(list, &r)
	}
	slices.SortFunc(list, func(a, b *run) int { return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID)) })
	return list, nil
}

// runsOf returns the runs that a user may see, the newest first. An administrator sees all, with those of commands.
func (s *Service) runsOf(c *call) ([]runView, *problem) {
	records, err := s.records(c.Context())
	if err != nil {
		return nil, s.away(c, err)
	}
	views := []runView{}
	known := make(map[string]bool)
	for _, r := range records {
		known[r.ID] = true
		if r.owner() == c.owner() || c.user.Has(users.Admin) {
			views = append(views, s.view(c.Context(), r))
		}
	}
	if !c.user.Has(users.Admin) {
		return views, nil
	}
	rows, err := s.Pipeline.Runs(c.Context(), false)
	if err != nil {
		return nil, s.away(c, err)
	}
	for _, row := range rows {
		if !known[row.Run] {
			views = append(views, s.view(c.Context(), commanded(row)))
		}
	}
	slices.SortStableFunc(views, func(a, b runView) int { return b.Created.Compare(a.Created) })
	return views, nil
}

// away logs that a server does not answer, and is the problem of it.
func (s *Service) away(c *call, err error) *problem {
	if c.Context().Err() != nil {
		return ofError(c.Context().Err())
	}
	c.log.Warn("a server does not answer", "user", c.user.Name, "error", err)
	return newProblem(codeUnavailable, "a server of the pipeline does not answer: try again")
}

// findRun returns the run of an id, if the user may see it.
func (s *Service) findRun(c *call, id string) (*run, *problem) {
	unknown := newProblem(codeUnknownRun, "you have no run of this id: GET /v1/runs lists yours")
	if !schemas.ValidRunID(id) {
		return nil, unknown
	}
	r, err := s.record(c.Context(), id)
	admin := c.user.Has(users.Admin)
	switch {
	case err != nil:
		return nil, s.away(c, err)
	case r != nil && (admin || r.owner() == c.owner()):
		return r, nil
	case r != nil || !admin:
		return nil, c.refuse(unknown, "")
	}
	row, err := s.Pipeline.Run(c.Context(), id)
	if pipeline.UnknownRun(err) {
		return nil, c.refuse(unknown, "")
	} else if err != nil {
		return nil, s.away(c, err)
	}
	return commanded(row), nil
}

// withRun is a handler of the run that a request names, which is then call.run.
func withRun(serve handler) handler {
	return func(s *Service, w http.ResponseWriter, c *call) (why *problem) {
		if c.run, why = s.findRun(c, c.PathValue("id")); why != nil {
			return why
		}
		return serve(s, w, c)
	}
}

// record returns the record of a run; nil where there is none.
func (s *Service) record(ctx context.Context, id string) (*run, error) {
	text, err := s.Records.AskedRun(ctx, id)
	if err != nil || text == nil {
		return nil, err
	}
	r := new(run)
	return r, json.Unmarshal(text, r)
}

// replace stores a run as it is now and tells of it, unless its record was dropped: then there is false.
func (s *Service) replace(ctx context.Context, r *run) (there bool, err error) {
	text, err := json.Marshal(r)
	if err != nil {
		return false, err
	}
	if there, err = s.Records.ReplaceAsked(ctx, r.ID, text); there && err == nil {
		s.tell(ctx, r)
	}
	return there, err
}

// evaluation turns a user's request into what is asked of the pipeline, or says why it cannot be made.
func (s *Service) evaluation(c *call, asked *runRequest) (*pipeline.Request, *problem) {
	where, ok := s.cfg.Datasets[asked.Dataset]
	if !ok {
		return nil, newProblem(codeUnknownDataset, "there is no such data set: GET /v1/datasets lists them")
	}
	i := slices.IndexFunc(s.Models, func(m *model.Model) bool { return m.Name == asked.Model })
	if i < 0 {
		return nil, newProblem(codeUnknownModel, "there is no such model: GET /v1/models lists them")
	}
	m := s.Models[i]
	keys, why := s.runKeys(c, m, asked)
	if why != nil {
		return nil, why
	}
	req := pipeline.NewRequest(m, keys, where)
	req.DatasetName, req.Images, req.Detach = asked.Dataset, true, true
	req.Dataset.Limit, req.Dataset.Sample, req.Dataset.Seed = asked.Limit, asked.Sample, asked.SampleSeed
	if asked.Limit == 0 && asked.Sample == 0 {
		req.Dataset.Limit = defaultPairs
	}
	var err error
	if req.Geometry, err = pipeline.Geometry(cmp.Or(asked.Size, pipeline.DefaultSide), cmp.Or(asked.Resize, "squash")); err != nil {
		return nil, newProblem(codeBadRequest, err.Error())
	}
	if asked.RandomKeys != nil {
		req.RandomKeys = *asked.RandomKeys
	}
	if asked.Noise != nil {
		req.Noise = *asked.Noise
	}
	req.NearKeys = asked.NearKeys
	req.Trials = pipeline.Trials{Swapped: asked.Swapped, NoKey: asked.NoKey, Partial: asked.Partial, Attacks: asked.Attacks}
	return req, s.checkRun(c, req)
}

// checkRun finds what is wrong with a run, or too large.
func (s *Service) checkRun(c *call, req *pipeline.Request) *problem {
	if side := int64(req.Geometry.GetWidth()); side*side > s.cfg.Images.MaxPixels {
		return newProblem(codeTooLarge, fmt.Sprintf("an image has at most %d pixels: choose a smaller size", s.cfg.Images.MaxPixels))
	}
	if n := comparisons(req); n > mostComparisons {
		return newProblem(codeTooLarge, fmt.Sprintf("it would make %d comparisons, and a run over HTTP makes at most %d: take fewer pairs, or fewer keys", n, mostComparisons))
	}
	err := req.Check(s.cfg.Images.MinSide)
	var field *pipeline.FieldError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &field):
		return newProblem(codeBadRequest, field.Error())
	}
	// The answer does not repeat the error, which may name folders.
	c.log.Error("a data set cannot be used", "dataset", req.DatasetName, "error", err)
	return newProblem(codeUnavailable, "the data set cannot be used now: the operator finds the reason in the log")
}

// comparisons is an upper bound of the comparisons that a run makes.
func comparisons(req *pipeline.Request) int {
	keys := len(req.Keys)
	wrong := keys - 1
	if req.WrongKeys > 0 {
		wrong = min(wrong, req.WrongKeys)
	}
	// Request.Check refuses numbers below 0 and far too large ones; here they must only not overflow.
	bounded := func(n int) int { return min(max(n, 0), mostComparisons) }
	perKey := 2 + 2*(wrong+bounded(req.RandomKeys)+bounded(req.NearKeys)+len(req.Partial)+2) + len(req.Attacks)
	return bounded(max(req.Dataset.Limit, req.Dataset.Sample)) * (3 + keys*perKey)
}

// runKeys returns the pairs of keys that a run works with: the user's own, or public ones of the model.
func (s *Service) runKeys(c *call, m *model.Model, asked *runRequest) ([]keyring.Pair, *problem) {
	if len(asked.Keys) == 0 {
		n := cmp.Or(asked.DemoKeys, 2)
		pairs, err := pipeline.DemoKeys(m)
		if err != nil {
			c.log.Error("a model's keys cannot be read", "model", m.Name, "error", err)
			return nil, newProblem(codeUnavailable, "the model's keys cannot be read now: the operator finds the reason in the log")
		}
		if n < 1 || n > len(pairs) {
			return nil, newProblem(codeBadKey, fmt.Sprintf("the model %s has %d public keys: name keys of yours, or fewer demo_keys", m.Name, len(pairs)))
		}
		return pairs[:n], nil
	}
	if asked.DemoKeys > 0 {
		return nil, newProblem(codeBadRequest, "keys and demo_keys exclude each other: give one of them")
	}
	var pairs []keyring.Pair
	for i, id := range asked.Keys {
		if slices.Contains(asked.Keys[:i], id) {
			return nil, newProblem(codeBadRequest, "a key is there twice")
		}
		pair, why := s.granted(c, users.Evaluate, id)
		if why == nil {
			why = worksWith(m, pair)
		}
		if why != nil {
			return nil, why
		}
		pairs = append(pairs, pair)
	}
	return pairs, nil
}

// readRun reads the body of POST /v1/runs.
func (s *Service) readRun(w http.ResponseWriter, c *call) (*runRequest, *problem) {
	if kind, _, err := mime.ParseMediaType(c.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, newProblem(codeMediaType, "send the request for a run as application/json")
	}
	var body []byte
	if why := s.inTime(w, func() (err error) {
		body, err = io.ReadAll(http.MaxBytesReader(w, c.Body, maxRunBody))
		return err
	}); why != nil {
		return nil, why
	}
	asked := new(runRequest)
	in := json.NewDecoder(bytes.NewReader(body))
	in.DisallowUnknownFields()
	if err := in.Decode(asked); err != nil {
		return nil, newProblem(codeBadRequest, fmt.Sprintf("the body is not the JSON of a run, near byte %d: see RunRequest in /v1/openapi.json", in.InputOffset()))
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return nil, newProblem(codeBadRequest, "there is more in the body than the JSON of a run")
	}
	return asked, nil
}

func (s *Service) createRun(w http.ResponseWriter, c *call) *problem {
	key, why := idempotency(c)
	if why != nil {
		return why
	}
	asked, why := s.readRun(w, c)
	if why != nil {
		return why
	}
	r, why := s.begin(c, asked, key)
	if why != nil {
		return why
	}
	w.Header().Set("Location", "/v1/runs/"+r.ID)
	writeJSON(w, http.StatusCreated, s.view(c.Context(), r))
	return nil
}

// begin takes a run: from then on this process makes it, or one that comes after it. If the owner has asked for a run with the same idempotency
// key within keptFor, begin returns that run. A key of "" is none.
func (s *Service) begin(c *call, asked *runRequest, key string) (*run, *problem) {
	if s.slots.draining.Load() {
		return nil, newProblem(codeDraining, "the service is about to end: ask again, and another one will answer")
	}
	if len(asked.Name) > maxRunName {
		return nil, newProblem(codeBadRequest, fmt.Sprintf("a name has at most %d bytes", maxRunName))
	}
	if _, why := s.evaluation(c, asked); why != nil {
		return nil, why
	}
	s.runs.asking.Lock() // two of a user at once would not see each other
	defer s.runs.asking.Unlock()
	records, err := s.records(c.Context())
	if err != nil {
		return nil, s.away(c, err)
	}
	all, unfinished := 0, 0
	for _, r := range records {
		if r.owner() != c.owner() {
			continue
		}
		if key != "" && r.Idempotency == key && time.Since(r.Created) < keptFor {
			return askedAgain(r, asked)
		}
		if all++; r.Unfinished() {
			unfinished++
		}
	}
	switch {
	case unfinished >= mostUnfinished:
		return nil, newProblem(codeTooMany, fmt.Sprintf("%d runs of yours are under way: wait for one to end, or cancel one", unfinished))
	case all >= mostRuns:
		return nil, newProblem(codeTooManyRuns, fmt.Sprintf("you have %d runs: delete some first", all))
	}
	r := &run{
		runView: runView{ID: "http-" + randomID(), Owner: c.user.Name, Request: *asked, Created: time.Now().UTC().Truncate(time.Microsecond), State: runWaiting},
		Hash:    c.user.Hash, Idempotency: key, Trace: tracing.Of(c.Context()).Traceparent(),
	}
	text, err := json.Marshal(r)
	if err != nil {
		return nil, s.away(c, err)
	}
	request := ""
	if key != "" {
		request = c.owner() + "\x00" + key
	}
	earlier, err := s.Records.KeepAsked(c.Context(), r.ID, text, request, keptFor)
	if err == nil && earlier != nil { // another service has taken the same request since the records were read
		r = new(run)
		if err = json.Unmarshal(earlier, r); err == nil {
			return askedAgain(r, asked)
		}
	}
	if err != nil {
		return nil, s.away(c, err)
	}
	c.log.Info("a run is asked for", "user", c.user.Name, "run", r.ID, "dataset", asked.Dataset, "model", asked.Model)
	s.tell(c.Context(), r)
	s.runs.rouse()
	return r, nil
}

// askedAgain is the run that has the idempotency key of a request, unless it was asked for with another body.
func askedAgain(r *run, asked *runRequest) (*run, *problem) {
	if !r.Request.same(asked) {
		return nil, newProblem(codeOtherBody, "this idempotency key came with another run before: use a new one for a new run")
	}
	return r, nil
}

func (s *Service) listRuns(c *call) (any, *problem) {
	views, why := s.runsOf(c)
	return map[string]any{"runs": views}, why
}

func (s *Service) showRun(c *call) (any, *problem) { return s.view(c.Context(), c.run), nil }

func (s *Service) cancelRun(c *call) (any, *problem) {
	why := s.stopRun(c)
	return s.view(c.Context(), c.run), why
}

// stopRun cancels the run that a request names, unless it has ended. Its scores stay.
func (s *Service) stopRun(c *call) *problem {
	r := c.run
	if !r.Unfinished() {
		return nil
	}
	r.State, r.Finished = runCancelled, time.Now().UTC().Truncate(time.Millisecond)
	if r.Owner != "" {
		if _, err := s.replace(c.Context(), r); err != nil {
			return s.away(c, err)
		}
	}
	// Where this process makes the run it stops at once; another process sees the mark in Redis within seconds.
	s.runs.cancel(c.Context(), r.ID)
	if err := s.Pipeline.CancelRun(c.Context(), r.ID); err != nil && !pipeline.UnknownRun(err) {
		return s.away(c, err)
	}
	return nil
}

func (s *Service) deleteRun(w http.ResponseWriter, c *call) *problem {
	why := s.removeRun(c)
	if why == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return why
}

// removeRun cancels the run that a request names, and deletes it with its scores.
func (s *Service) removeRun(c *call) *problem {
	if why := s.stopRun(c); why != nil {
		return why
	}
	if err := s.Pipeline.RemoveRun(c.Context(), c.run.ID); err != nil && !pipeline.UnknownRun(err) {
		return s.away(c, err)
	}
	if err := s.Records.DropAsked(c.Context(), c.run.ID); err != nil {
		return s.away(c, err)
	}
	return nil
}

// datasetName is the form of the names that an operator may give to data sets.
var datasetName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (s *Service) listDatasets(*call) (any, *problem) {
	views := []map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Datasets)) {
		views = append(views, map[string]string{"name": name})
	}
	return map[string]any{"datasets": views}, nil
}
