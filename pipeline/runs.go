package pipeline

import (
	"context"
	"time"

	"stegomq/internal/cache"
)

// RunStatus is a run as it stands.
type RunStatus struct {
	*cache.RunState
	// Scores counts the comparisons that were made or refused, Failures those that cannot be made.
	Scores, Failures int
	// Waiting counts what of the run is in the queue or in somebody's hands; 0 where the queue was not asked.
	Waiting uint64
}

// RunRow is a run in a list, as JSON too.
type RunRow struct {
	Run      string    `json:"run"`
	State    string    `json:"state"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
	Model    string    `json:"model"`
	Data     string    `json:"data"`
	Pairs    int       `json:"pairs"`
	Keys     int       `json:"keys"`
	Scores   int       `json:"scores"`
	Failed   int       `json:"failed"`
	Waiting  uint64    `json:"waiting,omitempty"`
}

// Row is the run in a list.
func (r RunStatus) Row() RunRow {
	return RunRow{
		Run: r.Spec.GetId(), State: r.state(), Started: r.Started, Finished: r.Finished, Model: r.Spec.GetModelName(), Data: r.Spec.GetDataset(),
		Pairs: len(r.Spec.GetPairs()), Keys: len(r.Spec.GetKeys()), Scores: r.Scores, Failed: r.Failures, Waiting: r.Waiting,
	}
}

// state is "finished", "cancelled" or "not finished".
func (r RunStatus) state() string {
	switch {
	case !r.Finished.IsZero():
		return "finished"
	case !r.Cancelled.IsZero():
		return "cancelled"
	}
	return "not finished"
}

// Runs lists the runs in Redis, the latest started first.
func (s *Services) Runs(ctx context.Context) ([]RunStatus, error) {
	states, err := s.Cache.Runs(ctx)
	if err != nil {
		return nil, err
	}
	runs := make([]RunStatus, len(states))
	for i := range states {
		if runs[i], err = s.status(ctx, &states[i]); err != nil {
			return nil, err
		}
	}
	return runs, nil
}

// Run is one run, or cache.ErrUnknownRun. With a connected bus it says what of it waits.
func (s *Services) Run(ctx context.Context, id string) (RunStatus, error) {
	state, err := s.Cache.Run(ctx, id)
	if err != nil {
		return RunStatus{}, err
	}
	return s.status(ctx, state)
}

func (s *Services) status(ctx context.Context, state *cache.RunState) (RunStatus, error) {
	st := RunStatus{RunState: state}
	scores, failures, err := s.Cache.Progress(ctx, state.Spec.GetId())
	if err != nil {
		return st, err
	}
	st.Scores, st.Failures = int(scores), int(failures)
	if s.Bus != nil {
		st.Waiting, err = s.Queue.Outstanding(ctx, state.Spec.GetId())
	}
	return st, err
}

// CancelRun takes what waits of a run out of the queue and tells who waits for it. What is in somebody's hands is finished. The
// scores stay, and the same request resumes the run.
func (s *Services) CancelRun(ctx context.Context, id string) error {
	if err := s.Cache.CancelRun(ctx, id); err != nil {
		return err
	}
	return s.Queue.DropRun(ctx, id)
}

// RemoveRun deletes a run with its scores, after taking what waits of it out of the queue. What was made of its images is remembered.
func (s *Services) RemoveRun(ctx context.Context, id string) error {
	if err := s.CancelRun(ctx, id); err != nil {
		return err
	}
	return s.Cache.RemoveRun(ctx, id)
}
