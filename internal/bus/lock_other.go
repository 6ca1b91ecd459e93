//go:build !unix

package bus

import (
	"fmt"
	"os"
)

// dirLock only proves here that the directory can be written to.
type dirLock struct{ f *os.File }

func lockDir(path string) (*dirLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStoreDir, err)
	}
	return &dirLock{f: f}, nil
}

func (l *dirLock) release() { _ = l.f.Close() }
