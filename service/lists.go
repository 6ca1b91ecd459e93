package service

import (
	"net/http"
	"time"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/users"
	"stegomq/pipeline"
	"stegomq/schemas"
)

// jobView is a job as it is answered.
type jobView struct {
	ID        string    `json:"id"`
	Operation string    `json:"operation"`
	State     string    `json:"state"`
	Created   time.Time `json:"created"`
	Output    string    `json:"output,omitempty"`
	Warnings  []string  `json:"warnings,omitempty"`
	Problem   *problem  `json:"problem,omitempty"`
}

// The states of a job.
const (
	stateRunning = "running"
	stateDone    = "done"
	stateFailed  = "failed"
)

func describe(j *job) jobView {
	v := jobView{ID: j.id, Operation: j.request.Operation.Token(), State: stateRunning, Created: j.created.UTC().Truncate(time.Millisecond)}
	switch {
	case !j.ended():
	case j.result.problem != nil:
		v.State, v.Problem = stateFailed, j.result.problem
	default:
		v.State, v.Output, v.Warnings = stateDone, "/v1/jobs/"+j.id+"/output", j.result.warnings
	}
	return v
}

func (s *Service) listJobs(c *call) (any, *problem) {
	views := []jobView{}
	for _, j := range s.jobs.list(c.owner()) {
		views = append(views, describe(j))
	}
	return map[string]any{"jobs": views}, nil
}

// job is the user's job that a request names.
func (s *Service) job(c *call) (*job, *problem) {
	j := s.jobs.find(c.owner(), c.PathValue("id"))
	if j == nil {
		return nil, newProblem(codeUnknownJob, "you have no job of this id: jobs are kept for half an hour, by the process that took them")
	}
	return j, nil
}

func (s *Service) showJob(w http.ResponseWriter, c *call) *problem {
	j, why := s.job(c)
	if why != nil {
		return why
	}
	view := describe(j)
	if view.State == stateRunning {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, http.StatusOK, view)
	return nil
}

func (s *Service) jobOutput(w http.ResponseWriter, c *call) *problem {
	j, why := s.job(c)
	if why != nil {
		return why
	}
	if !j.ended() {
		return newProblem(codeRunning, "the job has no output yet: ask again")
	}
	return s.output(w, c, j)
}

// modelView is a model as it is answered.
type modelView struct {
	Name       string            `json:"name"`
	Digest     string            `json:"digest"`
	Keying     string            `json:"keying"`
	Operations []model.Operation `json:"operations"`
	Trained    bool              `json:"trained"`
	// Keys are the ids of the user's keys that the model works with.
	Keys    []string `json:"keys"`
	Default []string `json:"default_for,omitempty"`
}

func (s *Service) listModels(c *call) (any, *problem) {
	ring, mine, why := s.keysOf(c)
	if why != nil {
		return nil, why
	}
	views := []modelView{}
	for _, m := range s.Models {
		v := modelView{Name: m.Name, Digest: m.Digest, Keying: m.Manifest.Keying, Trained: m.Trained(), Keys: []string{}}
		for _, op := range model.Operations() {
			if m.Manifest.Does(op) {
				v.Operations = append(v.Operations, op)
			}
		}
		for _, pair := range mine {
			if _, err := pipeline.UsableKey(schemas.Operation_OPERATION_EMBED, m, ring, pair.ID); err == nil {
				v.Keys = append(v.Keys, pair.ID)
			}
		}
		for _, op := range schemas.Operations() {
			if s.cfg.DefaultModel(op.Operation) == m.Name {
				v.Default = append(v.Default, op.Token)
			}
		}
		views = append(views, v)
	}
	return map[string]any{"models": views}, nil
}

// keyView is a key as it is answered: never its bytes.
type keyView struct {
	ID          string        `json:"id"`
	Fingerprint string        `json:"fingerprint"`
	Allows      []users.Scope `json:"allows"`
}

// keysOf returns the service's keyring, and the pairs in it that the user may know of.
func (s *Service) keysOf(c *call) (ring *keyring.Keyring, mine []keyring.Pair, why *problem) {
	ring, why = s.ring(c)
	if why != nil {
		return nil, nil, why
	}
	for _, pair := range ring.List() {
		if c.user.Knows(pair.ID) {
			mine = append(mine, pair)
		}
	}
	return ring, mine, nil
}

func (s *Service) ring(c *call) (*keyring.Keyring, *problem) {
	ring, err := s.Keys.Now()
	if err != nil {
		c.log.Error("the keys cannot be read", "error", err)
		return nil, newProblem(codeUnavailable, "the keys cannot be read now: the operator finds the reason in the log")
	}
	return ring, nil
}

func (s *Service) listKeys(c *call) (any, *problem) {
	_, mine, why := s.keysOf(c)
	if why != nil {
		return nil, why
	}
	views := []keyView{}
	for _, pair := range mine {
		v := keyView{ID: pair.ID, Fingerprint: pair.Fingerprint(), Allows: []users.Scope{}}
		if c.user.May(users.Embed, pair.ID) {
			v.Allows = append(v.Allows, users.Embed)
		}
		if c.user.May(users.Recover, pair.ID) && !pair.Recover.IsZero() {
			v.Allows = append(v.Allows, users.Recover)
		}
		views = append(views, v)
	}
	return map[string]any{"keys": views}, nil
}
