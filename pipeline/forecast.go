package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/internal/ort"
	"stegomq/producer"
	"stegomq/schemas"
)

// Forecast is what a run would do.
type Forecast struct {
	Run   string `json:"run"`
	Model string `json:"model"`
	Data  string `json:"data"`
	Pairs int    `json:"pairs"`
	// Bytes are those of the files of the pairs, each once, and Bad counts files that cannot be used.
	Bytes int64 `json:"bytes"`
	Bad   int   `json:"bad"`
	Keys  int   `json:"keys"`
	// Jobs are published by the run; workers publish FollowUps, which recover what was embedded.
	Jobs      int `json:"jobs"`
	FollowUps int `json:"follow_ups"`
	// Comparisons are those of the run, Found the ones that the cache has, and Missing the others.
	Comparisons int `json:"comparisons"`
	Found       int `json:"found"`
	Missing     int `json:"missing"`
	// Seconds is how long it would take, where From names what was measured; else From says why it is not known.
	Seconds *float64 `json:"seconds,omitempty"`
	From    string   `json:"from"`
}

// known is what a forecast asks about earlier work.
type known interface {
	producer.Memo
	producer.Inspections
	Runtime(ctx context.Context) (string, error)
}

// onlyAsked asks what is known, and writes nothing. It remembers in this process which images were inspected.
type onlyAsked struct {
	known
	inspected *sync.Map
}

// Inspected adds what was inspected here to what is known.
func (o onlyAsked) Inspected(ctx context.Context, digests []string, limits string) ([]bool, error) {
	good, err := o.known.Inspected(ctx, digests, limits)
	if err != nil {
		return nil, err
	}
	for i, digest := range digests {
		if _, here := o.inspected.Load([2]string{limits, digest}); here {
			good[i] = true
		}
	}
	return good, nil
}

// RememberInspected remembers until the process ends.
func (o onlyAsked) RememberInspected(_ context.Context, digests []string, limits string) error {
	for _, digest := range digests {
		o.inspected.Store([2]string{limits, digest}, true)
	}
	return nil
}

// nothing knows nothing: there is no data yet, or it is not to be used.
type nothing struct{}

func (nothing) Outcomes(_ context.Context, ids []string) ([]*schemas.Outcome, error) {
	return make([]*schemas.Outcome, len(ids)), nil
}

func (nothing) Metrics(_ context.Context, ids []string) ([]*schemas.Metrics, error) {
	return make([]*schemas.Metrics, len(ids)), nil
}

func (nothing) Inspected(_ context.Context, digests []string, _ string) ([]bool, error) {
	return make([]bool, len(digests)), nil
}

func (nothing) RememberInspected(context.Context, []string, string) error { return nil }
func (nothing) Runtime(context.Context) (string, error)                   { return "", nil }

// Forecast says what a run would do, and writes nothing. The request is checked; nothing need be open. An output that the blob store has
// lost counts as found, since the message queue is not asked.
func (s *Services) Forecast(ctx context.Context, req *Request) (*Forecast, error) {
	memo := onlyAsked{nothing{}, s.inspected}
	if !s.noData("redis") {
		if err := s.OpenCache(ctx); err != nil {
			return nil, err
		}
		memo.known = patientCache{s.Cache, newPatience(s.opts.Patience)}
	}
	runtime, err := s.runtimeOf(ctx, req, memo)
	if err != nil {
		return nil, err
	}
	d, err := s.dataset(ctx, req.Dataset, memo)
	if err != nil {
		return nil, err
	}
	here := runtime
	if !s.Embedded() {
		here = "" // as Evaluate has it: others compute
	}
	spec := req.spec(d, here)
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	plan, err := producer.MakePlan(ctx, spec, newAttempt(), runtime, memo, nil)
	if err != nil {
		return nil, err
	}
	f := &Forecast{
		Run: spec.GetId(), Model: req.Model.Name, Data: spec.GetDataset(), Pairs: len(d.Pairs), Bad: len(d.Bad), Keys: len(req.Keys),
		Comparisons: plan.Total, Found: len(plan.Found), Missing: plan.Missing,
	}
	counted := make(map[string]bool)
	for _, p := range d.Pairs {
		for _, ref := range p.Refs() {
			if digest := ref.GetDigest(); !counted[digest] {
				counted[digest] = true
				size, err := d.Files[digest].Bytes()
				if err != nil {
					return nil, err
				}
				f.Bytes += size
			}
		}
	}
	f.Jobs, f.FollowUps = plan.Jobs(req.Batch)
	return f, s.foresee(ctx, f, spec)
}

// noData says whether a server is embedded and has no data yet: to start it would make some.
func (s *Services) noData(server string) bool {
	if server == "redis" && s.opts.Redis != "" || server == "nats" && !s.Embedded() {
		return false
	}
	_, err := os.Stat(filepath.Join(s.opts.State, server))
	return errors.Is(err, os.ErrNotExist)
}

// runtimeOf names what would compute.
func (s *Services) runtimeOf(ctx context.Context, req *Request, memo known) (string, error) {
	switch {
	case !req.Model.Manifest.Network():
		return "", nil
	case !s.Embedded():
		return memo.Runtime(ctx)
	}
	e, err := ort.New(ort.Config{Library: s.opts.Library, Provider: s.opts.Provider, Logger: s.log})
	if err != nil {
		return "", err
	}
	return e.Name(), e.Close()
}

// foresee says how long a run would take, by the latest one of the same model and size on these servers that made something.
func (s *Services) foresee(ctx context.Context, f *Forecast, spec *schemas.RunSpec) error {
	if f.Missing == 0 {
		f.Seconds, f.From = new(float64), "everything is in the cache"
		return nil
	}
	f.From = fmt.Sprintf("no run of %s at %dx%d was measured on these servers", f.Model, spec.GetGeometry().GetWidth(), spec.GetGeometry().GetHeight())
	if s.Cache == nil {
		return nil
	}
	runs, err := s.Cache.Runs(ctx)
	if err != nil {
		return err
	}
	for _, run := range runs {
		made := ProvenanceOf(run.Provenance)
		if made == nil || made.Made == 0 || made.ElapsedSeconds <= 0 {
			continue
		}
		if run.Spec.GetModel() != spec.GetModel() || !proto.Equal(run.Spec.GetGeometry(), spec.GetGeometry()) {
			continue
		}
		rate := float64(made.Made) / made.ElapsedSeconds
		seconds := float64(f.Missing) / rate
		f.Seconds = &seconds
		f.From = fmt.Sprintf("%.3g comparisons a second, as run %s of %s on %s", rate, run.Spec.GetId(), made.Date.Format(time.DateOnly), cmp.Or(made.Processor, "the workers"))
		return nil
	}
	return nil
}
