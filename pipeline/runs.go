package pipeline

import (
	"cmp"
	"context"
	"time"

	"stegomq/internal/cache"
)

// RunRow is a run as it stands: a row of a list, as JSON too.
type RunRow struct {
	Run string `json:"run"`
	// State is "finished", "cancelled" or "not finished".
	State    string    `json:"state"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
	Model    string    `json:"model"`
	Data     string    `json:"data"`
	Pairs    int       `json:"pairs"`
	Keys     int       `json:"keys"`
	// Scores counts the comparisons that were made or refused, Failed those that cannot be made.
	Scores int `json:"scores"`
	Failed int `json:"failed"`
	// Waiting counts what of the run is in the queue or in somebody's hands; 0 where the queue was not asked.
	Waiting uint64 `json:"waiting,omitempty"`
}

// rowOf is a run as Redis has it, without the counts.
func rowOf(r *cache.RunState) RunRow {
	row := RunRow{
		Run: r.Spec.GetId(), State: "not finished", Started: r.Started, Finished: r.Finished, Model: r.Spec.GetModelName(), Data: r.Spec.GetDataset(),
		Pairs: len(r.Spec.GetPairs()), Keys: len(r.Spec.GetKeys()),
	}
	switch {
	case !r.Finished.IsZero():
		row.State = "finished"
	case !r.Cancelled.IsZero():
		row.State = "cancelled"
	}
	return row
}

// Runs lists the runs in Redis, the latest started first. With a connected bus, and where waiting is asked for, it says what of each waits.
func (s *Services) Runs(ctx context.Context, waiting bool) ([]RunRow, error) {
	states, err := s.Cache.Runs(ctx)
	if err != nil {
		return nil, err
	}
	rows := make([]RunRow, len(states))
	for i := range states {
		if rows[i], err = s.counted(ctx, rowOf(&states[i]), waiting); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// Run is one run, or cache.ErrUnknownRun. With a connected bus it says what of it waits.
func (s *Services) Run(ctx context.Context, id string) (RunRow, error) {
	state, err := s.Cache.Run(ctx, id)
	if err != nil {
		return RunRow{}, err
	}
	return s.counted(ctx, rowOf(state), true)
}

// counted is a row with its counts.
func (s *Services) counted(ctx context.Context, row RunRow, waiting bool) (_ RunRow, err error) {
	if row.Scores, row.Failed, err = s.RunProgress(ctx, row.Run); err == nil && waiting && s.Bus != nil {
		row.Waiting, err = s.Queue.Outstanding(ctx, row.Run)
	}
	return row, err
}

// CancelRun takes what waits of a run out of the queue and tells who waits for it. What is in somebody's hands is finished. The
// scores stay, and the same request resumes the run. It returns cache.ErrUnknownRun, also where something waits of a run that was deleted.
func (s *Services) CancelRun(ctx context.Context, id string) error {
	err := s.Cache.CancelRun(ctx, id)
	if err != nil && !UnknownRun(err) {
		return err
	}
	return cmp.Or(s.Queue.DropRun(ctx, id), err)
}

// RemoveRun deletes a run with its scores, after taking what waits of it out of the queue. What was made of its images is remembered. Who makes
// the run may not know that it was deleted, and go on: RemoveRun then deletes what was made since.
func (s *Services) RemoveRun(ctx context.Context, id string) error {
	if err := s.CancelRun(ctx, id); err != nil && !UnknownRun(err) {
		return err
	}
	return s.Cache.RemoveRun(ctx, id)
}
