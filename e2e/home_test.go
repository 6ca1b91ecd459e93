package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Deadlines: of one command, and of one line that is waited for.
const patience = 3 * time.Minute

// home is where one user works: a home folder, a working directory in it, and an environment.
type home struct {
	t   *testing.T
	dir string
	env []string
}

// newHome makes a home in which the tiny model is found by its name.
func newHome(t *testing.T) *home {
	t.Helper()
	h := &home{t: t, dir: t.TempDir()}
	h.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, "TMPDIR=" + h.path("tmp"),
		"XDG_CONFIG_HOME=" + h.path("config"), "XDG_STATE_HOME=" + h.path("state"),
		"STEGOMQ_ORT_LIB=" + ortLibrary, "STEGOMQ_MODELS=" + tinyModels(), "STEGOMQ_MODEL=tiny",
	}
	h.mkdir("tmp")
	return h
}

func (h *home) path(parts ...string) string {
	return filepath.Join(append([]string{h.dir}, parts...)...)
}

func (h *home) mkdir(parts ...string) string {
	h.t.Helper()
	dir := h.path(parts...)
	must(h.t, os.MkdirAll(dir, 0o755))
	return dir
}

func (h *home) write(name string, data []byte) string {
	h.t.Helper()
	path := h.path(name)
	must(h.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(h.t, os.WriteFile(path, data, 0o644))
	return path
}

// result is the result of a command.
type result struct {
	code           int
	stdout, stderr string
	maxRSS         int64 // bytes
}

// run runs the program to its end.
func (h *home) run(args ...string) result { h.t.Helper(); return h.feed("", args...) }

// feed runs the program with text on its standard input.
func (h *home) feed(stdin string, args ...string) result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	cmd := h.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	r := result{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
	if ctx.Err() != nil {
		h.t.Fatalf("stegomq %s did not end within %v\n%s", strings.Join(args, " "), patience, r.stderr)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.maxRSS = usage.Maxrss << 10 // KiB on Linux
	}
	return r
}

func (h *home) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = h.dir, h.env
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// ok runs the program and wants exit code 0.
func (h *home) ok(args ...string) result {
	h.t.Helper()
	r := h.run(args...)
	r.want(h.t, 0, args...)
	return r
}

func (r result) want(t *testing.T, code int, args ...string) {
	t.Helper()
	if r.code != code {
		t.Fatalf("stegomq %s: exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
}

// tree lists what is below a folder with sizes and times, so that two lists are equal only when nothing was
// written in between. A folder that is not there gives nothing.
func (h *home) tree() []string {
	h.t.Helper()
	var list []string
	must(h.t, filepath.WalkDir(h.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		list = append(list, fmt.Sprint(path, " ", info.Size(), " ", info.ModTime().UnixNano()))
		return nil
	}))
	return list
}

func (h *home) wantUnchanged(before []string, what string) {
	h.t.Helper()
	if after := h.tree(); !slices.Equal(before, after) {
		h.t.Errorf("%s wrote something:\nbefore:\n%s\nafter:\n%s", what, strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}
