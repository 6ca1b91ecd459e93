package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progress shows how far a run is: a bar on a terminal, a line now and then elsewhere.
type progress struct {
	out          io.Writer
	total        int
	found, shown int
	start, last  time.Time

	bars *mpb.Progress
	bar  *mpb.Bar
}

const (
	lineEvery = 5 * time.Second
	// quietAfter is how long nothing may move before a word is said.
	quietAfter = 30 * time.Second
)

func newProgress(out io.Writer, total, found int) *progress {
	p := &progress{out: out, total: total, found: found, shown: -1, start: time.Now(), last: time.Now()}
	if f, ok := out.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		p.bars = mpb.New(mpb.WithOutput(f))
		p.bar = p.bars.AddBar(int64(total),
			mpb.PrependDecorators(decor.Name("comparisons "), decor.CountersNoUnit("%d / %d")),
			mpb.AppendDecorators(decor.AverageSpeed(0, "%.0f/s"), decor.Name("  ETA "), decor.AverageETA(decor.ET_STYLE_GO)))
	}
	return p
}

// set is called with the counts again and again, moved or not.
func (p *progress) set(scores, failures int) {
	done := scores + failures
	moved := done != p.shown
	if p.bar != nil {
		if moved {
			p.shown = done
			p.bar.SetCurrent(int64(done))
		}
		return
	}
	switch {
	case moved && time.Since(p.last) >= lineEvery:
		rate := float64(done-p.found) / time.Since(p.start).Seconds()
		eta := "unknown"
		if rate > 0 {
			eta = time.Duration(float64(p.total-done) / rate * float64(time.Second)).Round(time.Second).String()
		}
		_, _ = fmt.Fprintf(p.out, "%d of %d comparisons, %d failed, %.1f/s, ETA %s\n", done, p.total, failures, rate, eta)
	case !moved && time.Since(p.last) >= quietAfter:
		_, _ = fmt.Fprintf(p.out, "%d of %d comparisons; nothing moved for %s: is the network slow, or does no gpuworker or evaluator run?\n", done, p.total, quietAfter)
	default:
		if moved && p.shown < 0 {
			p.shown = done
		}
		return
	}
	p.shown, p.last = done, time.Now()
}

func (p *progress) close() {
	if p.bars == nil {
		return
	}
	if !p.bar.Completed() {
		p.bar.Abort(false)
	}
	p.bars.Wait()
}
