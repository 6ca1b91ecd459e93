//go:build unix

package bus

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// dirLock keeps two servers from one directory: nats-server itself does not, and both would write the
// same files. The kernel drops it when the process ends, however it ends.
type dirLock struct{ f *os.File }

func lockDir(path string) (*dirLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStoreDir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w (%s)", ErrStoreInUse, path)
		}
		return nil, fmt.Errorf("%w: lock %s: %w", ErrStoreDir, path, err)
	}
	return &dirLock{f: f}, nil
}

// release unlocks before it closes: a child process that is just being started shares the open file until it
// executes, and would hold the lock so long.
func (l *dirLock) release() {
	_ = unix.Flock(int(l.f.Fd()), unix.LOCK_UN)
	_ = l.f.Close()
}
