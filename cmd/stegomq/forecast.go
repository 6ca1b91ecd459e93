package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"stegomq/pipeline"
)

// forecasts are what a command would do: one run, or several.
type forecasts []*pipeline.Forecast

// WriteText prints a line for each figure.
func (all forecasts) WriteText(w io.Writer) error {
	for _, f := range all {
		took := "not known"
		if f.Seconds != nil {
			took = time.Duration(*f.Seconds * float64(time.Second)).Round(time.Second / 10).String()
		}
		bad := ""
		if f.Bad > 0 {
			bad = fmt.Sprintf(", and %d files that cannot be used", f.Bad)
		}
		_, err := fmt.Fprintf(w, `run          %s
model        %s
data         %s: %d pairs, %.1f MB%s
keys         %d
jobs         %d, and %d that follow from them
comparisons  %d: %d in the cache, %d to make
time         %s: %s
`, f.Run, f.Model, f.Data, f.Pairs, float64(f.Bytes)/1e6, bad, f.Keys, f.Jobs, f.FollowUps, f.Comparisons, f.Found, f.Missing, took, f.From)
		if err != nil {
			return err
		}
	}
	return nil
}

// forecast says what evaluate would do.
func (a *app) forecast(cmd *cobra.Command, flags *runFlags, asJSON bool) (err error) {
	req, err := a.checked(flags)
	if err != nil {
		return err
	}
	s := pipeline.New(a.options())
	defer func() { err = errors.Join(err, s.Close()) }()
	f, err := s.Forecast(cmd.Context(), req)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), f)
	}
	return forecasts{f}.WriteText(cmd.OutOrStdout())
}
