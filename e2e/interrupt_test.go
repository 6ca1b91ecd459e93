package e2e

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

// An evaluation that is stopped, or killed, resumes when the same command is given again, and ends with the
// scores of an undisturbed one.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		signal os.Signal
		code   int
	}{
		"interrupted": {os.Interrupt, 130},
		"terminated":  {syscall.SIGTERM, 130},
		"killed":      {os.Kill, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			h.photographs("photos", 16, 120, 100)
			command := []string{"evaluate", "--data", "photos", "--keys", "2", "--size", "64", "--batch", "1", "--log-level", "debug"}
			// A part of it is done, but far from all.
			const part = `(?s)(msg="job settled".*){12}`
			first := h.startHeld(part, append(command, "--slots", "1", "--out", "resumed")...)
			first.await(part)
			first.signal(c.signal)
			first.release()
			if code := first.end(); code != c.code {
				t.Errorf("exit code %d, want %d\n%s", code, c.code, first.log)
			}
			if done := len(handled(first, "settled")); done > 60 {
				t.Fatalf("%d jobs were done before the signal: the test says nothing", done)
			}
			if _, err := os.Stat(h.path("resumed")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("an unfinished run wrote its files: %v", err)
			}
			h.ok(append(command, "--out", "resumed")...)
			wantCounts(t, h.summary("resumed"), h.items("resumed"), 8, 2, 1, 0)
			h.ok(append(command, "--out", "whole", "--state", h.path("another"))...)
			if !bytes.Equal(read(t, h.path("resumed", "items.csv")), read(t, h.path("whole", "items.csv"))) {
				t.Error("the scores of the resumed run are not those of a whole one")
			}
		})
	}
}
