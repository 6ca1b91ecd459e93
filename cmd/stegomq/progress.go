package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"stegomq/pipeline"
)

// progress shows the progress of one run after another: as a bar on a terminal, elsewhere as a line from time to time.
type progress struct {
	out         io.Writer
	start, last time.Time
	shown       int
	said        string

	bars    *mpb.Progress
	bar     *mpb.Bar
	waiting atomic.Pointer[string]
}

// lineEvery is the time between two lines.
const lineEvery = 5 * time.Second

// watch names the files that could not be used, and then shows the progress.
func (p *progress) watch() pipeline.Watch {
	return pipeline.Watch{
		Planned: func(run *pipeline.Run) {
			p.close()
			nameBad(p.out, run)
			p.start, p.last, p.shown, p.said = time.Now(), time.Now(), -1, ""
		},
		Progress: p.show,
	}
}

// terminal is the terminal that a writer writes to; nil where it writes elsewhere.
func terminal(w io.Writer) *os.File {
	if f, ok := w.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		return f
	}
	return nil
}

// nameBad tells which files could not be used, and why.
func nameBad(w io.Writer, run *pipeline.Run) {
	for _, bad := range run.Dataset.Bad {
		_, _ = fmt.Fprintf(w, "%s: %s\n", bad.GetName(), bad.GetReason())
	}
}

func (p *progress) startBar(f *os.File, total int) {
	p.bars = mpb.New(mpb.WithOutput(f))
	p.bar = p.bars.AddBar(int64(total),
		mpb.PrependDecorators(decor.Name("comparisons "), decor.CountersNoUnit("%d / %d")),
		mpb.AppendDecorators(decor.AverageSpeed(0, "%.0f/s"), decor.Name("  ETA "), decor.AverageETA(decor.ET_STYLE_GO),
			decor.Any(func(decor.Statistics) string { return *p.waiting.Load() })))
}

// show shows the progress. It is called again and again, whether or not the run has moved.
func (p *progress) show(now pipeline.Progress) {
	done := now.Scores + now.Failures
	if f := terminal(p.out); f != nil {
		note := ""
		if now.Waiting != "" {
			note = "  " + now.Waiting
		}
		p.waiting.Store(&note)
		if p.bar == nil {
			p.startBar(f, now.Total)
		}
		p.bar.SetCurrent(int64(done))
		return
	}
	moved := done != p.shown
	switch {
	case now.Waiting != "" && (p.said == "" || time.Since(p.last) >= 6*lineEvery):
		_, _ = fmt.Fprintf(p.out, "%d of %d comparisons; %s\n", done, now.Total, now.Waiting)
	case moved && now.Waiting == "" && time.Since(p.last) >= lineEvery:
		rate, eta := float64(done-now.Found)/time.Since(p.start).Seconds(), "unknown"
		if rate > 0 {
			eta = time.Duration(float64(now.Total-done) / rate * float64(time.Second)).Round(time.Second).String()
		}
		_, _ = fmt.Fprintf(p.out, "%d of %d comparisons, %d failed, %.1f/s, ETA %s\n", done, now.Total, now.Failures, rate, eta)
	default:
		if now.Waiting == "" {
			p.said = ""
		}
		if p.shown < 0 {
			p.shown = done
		}
		return
	}
	p.shown, p.last, p.said = done, time.Now(), now.Waiting
}

func (p *progress) close() {
	if p.bar == nil {
		return
	}
	if !p.bar.Completed() {
		p.bar.Abort(false)
	}
	p.bars.Wait()
	p.bars, p.bar = nil, nil
}
