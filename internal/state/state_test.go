package state

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

func TestSecretIsMadeOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "state")
	// Many at once agree on one.
	secrets := make([]string, 16)
	var all sync.WaitGroup
	for i := range secrets {
		all.Go(func() {
			var err error
			if secrets[i], err = Secret(dir); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, s := range secrets {
		if s != secrets[0] || !secretForm.MatchString(s) {
			t.Fatalf("secrets %q", secrets)
		}
	}
	for name, mode := range map[string]os.FileMode{".": 0o700, secretName: 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("the folder holds %q", left)
	}
	other, err := Secret(t.TempDir())
	if err != nil || other == secrets[0] {
		t.Errorf("two folders share a secret (%v)", err)
	}
}

func TestSecretThatIsNone(t *testing.T) {
	t.Parallel()
	good, err := Secret(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"empty":            {"", 0o600},
		"short":            {good[1:], 0o600},
		"not hexadecimal":  {"g" + good[1:], 0o600},
		"two lines":        {good + "\n" + good, 0o600},
		"group can read":   {good, 0o640},
		"others can read":  {good, 0o604},
		"others can write": {good, 0o602},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, secretName)
			if err := errors.Join(os.WriteFile(path, []byte(c.text), 0o600), os.Chmod(path, c.mode)); err != nil {
				t.Fatal(err)
			}
			if got, err := Secret(dir); !errors.Is(err, ErrSecret) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "elsewhere"), []byte(good), 0o600), os.Symlink("elsewhere", filepath.Join(dir, secretName))); err != nil {
		t.Fatal(err)
	}
	if _, err := Secret(dir); !errors.Is(err, ErrSecret) {
		t.Errorf("a link: %v", err)
	}
}

func TestAnnouncement(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	none := func() {
		t.Helper()
		if up, ok, err := Find(dir); ok || err != nil {
			t.Errorf("found %+v, %v", up, err)
		}
	}
	none()
	want := Up{NATS: "nats://127.0.0.1:4222", Redis: "redis://127.0.0.1:6379/0", PID: os.Getpid()}
	a, err := Announce(dir, want)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if up, ok, err := Find(dir); up != want || !ok || err != nil {
			t.Errorf("found %+v, %v, %v", up, ok, err)
		}
	}
	if _, err := Announce(dir, want); !errors.Is(err, ErrRunning) {
		t.Errorf("a second announcement: %v", err)
	}
	if err := a.Withdraw(); err != nil {
		t.Error(err)
	}
	none()
}

// A process that was killed withdraws nothing, and is not found all the same.
func TestAnnouncementOfTheDead(t *testing.T) {
	if dir := os.Getenv("STEGOMQ_TEST_ANNOUNCE"); dir != "" {
		if _, err := Announce(dir, Up{NATS: "nats://127.0.0.1:1", PID: os.Getpid()}); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString("announced\n")
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
		return
	}
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestAnnouncementOfTheDead$")
	cmd.Env = append(os.Environ(), "STEGOMQ_TEST_ANNOUNCE="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if up, ok, err := Find(dir); !ok || up.PID != cmd.Process.Pid || err != nil {
		t.Errorf("found %+v, %v, %v", up, ok, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if _, err := os.Stat(filepath.Join(dir, upName)); err != nil {
		t.Errorf("the file of the dead process is not there: %v", err)
	}
	if up, ok, err := Find(dir); ok || err != nil {
		t.Errorf("found the dead %+v, %v", up, err)
	}
	a, err := Announce(dir, Up{PID: 1})
	if err != nil {
		t.Fatal(err)
	}
	if up, ok, err := Find(dir); !ok || up.PID != 1 || err != nil {
		t.Errorf("found %+v, %v, %v", up, ok, err)
	}
	if err := a.Withdraw(); err != nil {
		t.Error(err)
	}
}
