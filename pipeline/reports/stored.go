package reports

import (
	"context"
	"errors"
	"os"

	"stegomq/pipeline"
	"stegomq/schemas"
	"stegomq/study"
)

// Measured gives the runs that ids or folders name. The cache is only asked for ids. A folder without a run whose name is a valid id is
// taken as an id.
func Measured(ctx context.Context, opts pipeline.Options, names []string) (runs []study.Measured, err error) {
	var s *pipeline.Services
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.IsDir() && (study.HasRun(name) || !schemas.ValidRunID(name)) {
			saved, err := study.ReadRun(name)
			if err != nil {
				return nil, err
			}
			runs = append(runs, saved)
			continue
		}
		if s == nil {
			if s, err = pipeline.Open(ctx, opts); err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
		}
		found, err := s.Results(ctx, name, false)
		if err != nil {
			return nil, err
		}
		runs = append(runs, found.Measured)
	}
	return runs, nil
}
