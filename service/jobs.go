package service

import (
	"context"
	"slices"
	"sync"
	"time"

	"stegomq/pipeline"
)

// result is the outcome of a request.
type result struct {
	problem  *problem // nil: there is an output
	digest   string
	warnings []string
	output   []byte // empty of a job that is kept: its digest finds it
}

// job is a request that outlives its connection. It is found by its id, or by its idempotency key.
type job struct {
	id, owner string
	created   time.Time
	// body is the digest of the request, key its idempotency key; empty: it has none.
	body, key string
	request   *pipeline.OperationRequest
	with      string // the id of the key that it uses

	done   chan struct{}
	result result // set before done is closed
}

// called names the job by its owner and idempotency key.
func (j *job) called() [2]string { return [2]string{j.owner, j.key} }

func (j *job) ended() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// mostJobs bounds the jobs that are kept for one user. The oldest job that has ended makes room.
const mostJobs = 1000

// keptFor is how long a job is kept: half the lifetime of an output, since an output that was found may be that old already.
const keptFor = pipeline.AskedLifetime / 2

// jobs are those of this process. A job is forgotten before its output is.
type jobs struct {
	ctx  context.Context // for all work that outlives its connection
	stop context.CancelFunc

	mu    sync.Mutex
	byID  map[string]*job
	order map[string][]*job // by owner, oldest first
	byKey map[[2]string]*job
}

func newJobs() *jobs {
	ctx, stop := context.WithCancel(context.Background())
	return &jobs{ctx: ctx, stop: stop, byID: make(map[string]*job), order: make(map[string][]*job), byKey: make(map[[2]string]*job)}
}

// begin keeps a new job, or returns the owner's job with the same idempotency key. The same key with another body is a problem.
func (s *jobs) begin(j *job) (_ *job, isNew bool, why *problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(j.owner)
	if old := s.byKey[j.called()]; j.key != "" && old != nil {
		if old.body != j.body {
			return nil, false, newProblem(codeOtherBody, "this idempotency key came with other images, another key or model before: use a new one for a new request")
		}
		return old, false, nil
	}
	j.id, j.created, j.done = randomID(), time.Now(), make(chan struct{})
	s.byID[j.id] = j
	s.order[j.owner] = append(s.order[j.owner], j)
	if j.key != "" {
		s.byKey[j.called()] = j
	}
	return j, true, nil
}

// end records the result of a job. Where trying again may give another result, the idempotency key is forgotten.
func (s *jobs) end(j *job, r result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.output = nil
	j.result = r
	if r.problem != nil && r.problem.retryAfter != "" {
		s.dropKey(j)
	}
	close(j.done)
}

// forgetKey forgets the idempotency key of a job whose output is gone before its time, as where somebody emptied the message queue.
func (s *jobs) forgetKey(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropKey(j)
}

func (s *jobs) dropKey(j *job) {
	if s.byKey[j.called()] == j {
		delete(s.byKey, j.called())
	}
}

// find returns a user's job; nil where the user has none of this id.
func (s *jobs) find(owner, id string) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(owner)
	if j := s.byID[id]; j != nil && j.owner == owner {
		return j
	}
	return nil
}

// list returns a user's jobs, the newest first.
func (s *jobs) list(owner string) []*job {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(owner)
	all := slices.Clone(s.order[owner])
	slices.Reverse(all)
	return all
}

// forget drops the jobs of a user that have ended and are older than keptFor, and the oldest ended ones beyond mostJobs.
func (s *jobs) forget(owner string) {
	mine := s.order[owner]
	kept := mine[:0]
	for i, j := range mine {
		if j.ended() && (len(mine)-i > mostJobs || time.Since(j.created) > keptFor) {
			delete(s.byID, j.id)
			s.dropKey(j)
			continue
		}
		kept = append(kept, j)
	}
	clear(mine[len(kept):])
	if s.order[owner] = kept; len(kept) == 0 {
		delete(s.order, owner)
	}
}
