// Package filelock locks files between the processes of a machine (flock).
//
// Invariant: the kernel releases a lock however its process ends, so that a crash leaves nothing locked. The file itself stays: removing
// it would let two processes lock two files of one name.
package filelock

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ErrHeld: somebody else has the lock.
var ErrHeld = errors.New("the file is locked by another process")

// Try locks an open file for its holder alone, or returns ErrHeld at once.
func Try(f *os.File) error { return lock(f, unix.LOCK_EX|unix.LOCK_NB) }

// TryShared locks an open file together with others who share it, or returns ErrHeld where one has it alone.
func TryShared(f *os.File) error { return lock(f, unix.LOCK_SH|unix.LOCK_NB) }

func lock(f *os.File, how int) error {
	for {
		switch err := unix.Flock(int(f.Fd()), how); {
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrHeld
		case !errors.Is(err, unix.EINTR):
			return err
		}
	}
}

// Release unlocks a file before it closes it: a child process that is just being started shares the open file until it executes, and would
// hold the lock until then.
func Release(f *os.File) error {
	return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close())
}

// Own locks a file for its holder alone and writes the process's number into it. The file is made, with mode 0600, and stays. Where somebody
// else has it, the error is an ErrHeld that says which process does.
func Own(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = Try(f)
	if errors.Is(err, ErrHeld) {
		if holder, _ := io.ReadAll(io.LimitReader(f, 20)); len(holder) > 0 { // one that has just locked it has not said so yet
			err = fmt.Errorf("%w: process %s has it", ErrHeld, bytes.TrimSpace(holder))
		}
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Beside waits for the lock of a file that every change replaces: a lock on the file itself would be one on the old file. It locks path.lock,
// which is made, with mode 0600, and stays empty.
func Beside(path string) (release func() error, err error) {
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f, unix.LOCK_EX); err != nil {
		return nil, errors.Join(&os.PathError{Op: "lock", Path: f.Name(), Err: err}, f.Close())
	}
	return func() error { return Release(f) }, nil
}
