// Package state owns what a state folder tells other processes of the same user: the secret of the embedded servers, and where those
// of a running `stegomq up` are.
//
// Invariants:
//   - The secret is made once, has 256 random bits, and lies in a file that only its owner can read. It is in no other file.
//   - Addresses are believed only while the process that wrote them lives: it holds the file locked, and the kernel lets go of the
//     lock however the process ends.
package state

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"stegomq/internal/filelock"
)

var (
	// ErrSecret: the file of the secret does not hold one, or others can read it.
	ErrSecret = errors.New("not a secret")
	// ErrRunning: another process has announced its servers in the folder.
	ErrRunning = errors.New("stegomq up runs on this state folder already")
)

const (
	secretName = "secret"
	upName     = "up.json"
)

var secretForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Secret is that of the folder, 64 hexadecimal digits, made now if there is none. The folder is made too (mode 0700). It returns
// ErrSecret where the file is damaged or has a mode other than 0600.
func Secret(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the state folder: %w", err)
	}
	path := filepath.Join(dir, secretName)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := writeSecret(path); err != nil {
			return "", fmt.Errorf("make the secret of the state folder: %w", err)
		}
	}
	return readSecret(path)
}

// writeSecret makes a whole file or none. Where another process is first, its secret stands.
func writeSecret(path string) error {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	f, err := os.CreateTemp(filepath.Dir(path), secretName+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = fmt.Fprintln(f, hex.EncodeToString(random[:])) // CreateTemp makes files of mode 0600
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func readSecret(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", fmt.Errorf("read the secret of the state folder: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%w: %s can be read by others: remove it, and a new one is made (mode 0600) by the next stegomq up", ErrSecret, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the secret of the state folder: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if !secretForm.MatchString(secret) {
		return "", fmt.Errorf("%w: %s is damaged: remove it, and a new one is made by the next stegomq up", ErrSecret, path)
	}
	return secret, nil
}

// Up says where the servers of a running `stegomq up` are. The addresses hold no secret.
type Up struct {
	NATS  string `json:"nats"`
	Redis string `json:"redis"`
	PID   int    `json:"pid"`
}

// Announcement is an Up that others find until it is withdrawn, or its process ends.
type Announcement struct {
	file *os.File
	path string
}

// Announce tells other processes of up. It returns ErrRunning where another process has done so and lives.
func Announce(dir string, up Up) (*Announcement, error) {
	path := filepath.Join(dir, upName)
	if other, ok, err := Find(dir); err != nil {
		return nil, err
	} else if ok {
		return nil, fmt.Errorf("%w (process %d, %s)", ErrRunning, other.PID, dir)
	}
	f, err := os.CreateTemp(dir, upName+"-*")
	if err != nil {
		return nil, fmt.Errorf("announce the servers: %w", err)
	}
	// Locked and whole before it has its name.
	err = filelock.Try(f)
	if err == nil {
		err = json.NewEncoder(f).Encode(up)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = errors.Join(os.Remove(f.Name()), f.Close())
		return nil, fmt.Errorf("announce the servers: %w", err)
	}
	return &Announcement{file: f, path: path}, nil
}

// Withdraw ends the announcement. It comes before the servers stop.
func (a *Announcement) Withdraw() error {
	return errors.Join(os.Remove(a.path), filelock.Release(a.file))
}

// Find is the running `stegomq up` of a state folder. What a dead one left is not found, and not removed: another may be about to
// write it anew.
func Find(dir string) (up Up, ok bool, err error) {
	f, err := os.Open(filepath.Join(dir, upName))
	if errors.Is(err, fs.ErrNotExist) {
		return Up{}, false, nil
	}
	if err != nil {
		return Up{}, false, fmt.Errorf("look for a running stegomq up: %w", err)
	}
	defer func() { _ = f.Close() }()
	switch err := filelock.TryShared(f); {
	case err == nil:
		return Up{}, false, filelock.Release(f)
	case !errors.Is(err, filelock.ErrHeld):
		return Up{}, false, fmt.Errorf("look for a running stegomq up: %w", err)
	}
	if err := json.NewDecoder(f).Decode(&up); err != nil {
		return Up{}, false, fmt.Errorf("look for a running stegomq up: %s: %w", f.Name(), err)
	}
	return up, true, nil
}
