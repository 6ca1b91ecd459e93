package filelock

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// must fails the test where what was done has an error.
func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestLocksExcludeEachOther(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	first := open(t, path)
	must(t, "the first lock", Try(first))
	for name, try := range map[string]func(*os.File) error{"alone": Try, "shared": TryShared} {
		if err := try(open(t, path)); !errors.Is(err, ErrHeld) {
			t.Errorf("a second lock, %s: %v, want ErrHeld", name, err)
		}
	}
	got := make(chan error, 1)
	waiter := open(t, path)
	go func() { got <- lock(waiter, unix.LOCK_EX) }()
	must(t, "release", Release(first))
	must(t, "the lock that was waited for", <-got)
	must(t, "release", Release(waiter))
	must(t, "a shared lock", TryShared(open(t, path)))
	must(t, "a second shared lock", TryShared(open(t, path)))
	if err := Try(open(t, path)); !errors.Is(err, ErrHeld) {
		t.Errorf("a lock beside shared ones: %v, want ErrHeld", err)
	}
}

// Who finds a lock taken is told by whom.
func TestOwn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	must(t, "what another left", os.WriteFile(path, []byte("12345678901\n"), 0o600))
	f, err := Own(path)
	must(t, "own", err)
	if _, err := Own(path); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), fmt.Sprintf("process %d has it", os.Getpid())) {
		t.Errorf("a second owner: %v", err)
	}
	must(t, "release", Release(f))
	f, err = Own(path)
	must(t, "own again", err)
	must(t, "release", Release(f))
}

// A child process that has the open file keeps no lock that its parent has let go of.
func TestReleaseBesideAChild(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	f := open(t, path)
	must(t, "lock", Try(f))
	child := exec.Command("cat") // until its input ends
	child.ExtraFiles = []*os.File{f}
	in, err := child.StdinPipe()
	must(t, "pipe", err)
	must(t, "start", child.Start())
	must(t, "release", Release(f))
	must(t, "lock again", Try(open(t, path)))
	must(t, "end of input", in.Close())
	must(t, "child", child.Wait())
}
