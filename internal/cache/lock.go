package cache

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"stegomq/internal/filelock"
)

// lockName is the file in a state directory that its owner holds locked. It stays there, unlocked, when
// nobody owns the directory.
const lockName = "lock"

// lockDir locks dir for this process, or returns ErrLocked.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the state directory: %w", err)
	}
	err = filelock.Try(f)
	if errors.Is(err, filelock.ErrHeld) {
		holder, _ := io.ReadAll(io.LimitReader(f, 20))
		_ = f.Close()
		who := "process " + strings.TrimSpace(string(holder))
		if len(holder) == 0 {
			who = "another process" // it has the lock and has not said who it is yet
		}
		return nil, fmt.Errorf("%w: %s has %s; give the --nats and --redis of that running \"stegomq up\", or another --state",
			ErrLocked, who, dir)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock the state directory %s: %w", dir, err)
	}
	return f, nil
}
