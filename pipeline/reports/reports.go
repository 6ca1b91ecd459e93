// Package reports makes runs and the reports on them: those of one run, of an audit, and of the paper's study. It owns which runs an audit
// and a study consist of; package study and those below it own the figures.
package reports

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"stegomq/pipeline"
	"stegomq/study"
)

// ErrSomeFailed: some items could not be done, and the files name them. The rest was done.
var ErrSomeFailed = errors.New("some items failed")

// Made is a run that has ended, with its files in Dir.
type Made struct {
	*pipeline.Run
	Summary *study.Summary
	Dir     string
}

// Make makes what a run still needs, and writes its files into dir (empty: out/RUN), with the images where the request wants them.
func Make(ctx context.Context, s *pipeline.Services, by Program, req *pipeline.Request, dir string, watch pipeline.Watch) (*Made, error) {
	start := time.Now()
	run, err := s.Evaluate(ctx, req, watch)
	if err != nil {
		return nil, err
	}
	made := &Made{Run: run, Dir: cmp.Or(dir, filepath.Join("out", run.Spec.GetId()))}
	if req.Images {
		err := s.Patiently(ctx, func(ctx context.Context) error {
			return study.SaveImages(ctx, made.Dir, run.Spec, run.Scores, s.Source, s.Blobs)
		})
		if err != nil {
			return nil, err
		}
	}
	provenance, err := keepMade(ctx, s, run.Spec.GetId(), by.made(s, run, start))
	if err != nil {
		return nil, err
	}
	made.Summary = study.Summarise(run.Spec, run.Scores, run.Failures, study.Invocation{
		Hits: len(run.Plan.Found), Misses: run.Plan.Missing, Elapsed: run.Elapsed, Provenance: provenance,
	})
	return made, study.WriteFiles(made.Dir, made.Summary, run.Scores)
}

// Failed is an ErrSomeFailed of a run that could not do everything, or whose images were refused to the keys that embedded them.
func (m *Made) Failed() error {
	bad, failures, refused := len(m.Dataset.Bad), len(m.Failures), len(m.Summary.RefusedItems)
	if bad+failures+refused == 0 {
		return nil
	}
	words := fmt.Sprintf("files that could not be used: %d, comparisons that could not be made: %d", bad, failures)
	if refused > 0 {
		words += fmt.Sprintf(", images refused to the key that embedded them: %d of %d", refused, m.Summary.Recoverability.Of())
	}
	return fmt.Errorf("%w: %s; %s names them", ErrSomeFailed, words, filepath.Join(m.Dir, "report.md"))
}
