// Package contexts owns the servers that a user has given names: sets of flag values, in a file of the user's configuration folder.
//
// Invariants: the file has mode 0600, since addresses may have passwords in them, and a file that others can read is refused. Changes replace the
// whole file, under a lock.
package contexts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"stegomq/internal/filelock"
)

var (
	// ErrUnknown: there is no context of this name.
	ErrUnknown = errors.New("there is no context")
	// ErrTaken: there is a context of this name already.
	ErrTaken = errors.New("there is already a context")
	// ErrName: a context cannot have this name.
	ErrName = errors.New("a context's name has 1 to 63 letters, digits, '.', '_' and '-', and begins with a letter or a digit")
	// ErrFile: the file of contexts cannot be used.
	ErrFile = errors.New("the file of contexts")
)

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Values are values of flags, by the flags' names.
type Values map[string]string

// Set has every context, and the name of the one in use; empty: none is in use.
type Set struct {
	Use      string            `json:"use,omitempty"`
	Contexts map[string]Values `json:"contexts"`
}

// Names returns the names of the contexts, sorted.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.Contexts)) }

// Get returns a context, or ErrUnknown.
func (s *Set) Get(name string) (Values, error) {
	values, ok := s.Contexts[name]
	if !ok {
		have := "there are none (stegomq context add makes one)"
		if len(s.Contexts) > 0 {
			have = "there are " + strings.Join(s.Names(), ", ")
		}
		return nil, fmt.Errorf("%w %q: %s", ErrUnknown, name, have)
	}
	return values, nil
}

// Add adds a context. The errors are ErrName and ErrTaken.
func (s *Set) Add(name string, values Values) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%w: %q", ErrName, name)
	}
	if _, ok := s.Contexts[name]; ok {
		return fmt.Errorf("%w %q: choose another name, or take that one away first (stegomq context remove %s)", ErrTaken, name, name)
	}
	if s.Contexts == nil {
		s.Contexts = make(map[string]Values)
	}
	s.Contexts[name] = values
	return nil
}

// Remove removes a context, or returns ErrUnknown. If it was in use, none is after that.
func (s *Set) Remove(name string) error {
	if _, err := s.Get(name); err != nil {
		return err
	}
	delete(s.Contexts, name)
	if s.Use == name {
		s.Use = ""
	}
	return nil
}

// Read reads a file of contexts. A file that does not exist has none. The error is ErrFile.
func Read(path string) (*Set, error) {
	set := &Set{}
	info, err := os.Stat(path)
	switch {
	case path == "" || errors.Is(err, fs.ErrNotExist):
		return set, nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%w may have passwords in it and others can read it: chmod 600 %s", ErrFile, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(set); err != nil {
		return nil, fmt.Errorf("%w: %s: %w: mend it, or delete it", ErrFile, path, err)
	}
	return set, nil
}

// Change changes a file of contexts, and makes the file and its folder where they do not exist. If change fails, the file stays as it was.
func Change(path string, change func(*Set) error) (err error) {
	if path == "" {
		return fmt.Errorf("%w: there is no home folder to keep it in: set XDG_CONFIG_HOME", ErrFile)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	release, err := filelock.Beside(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	defer func() { err = errors.Join(err, release()) }()
	set, err := Read(path)
	if err != nil {
		return err
	}
	if err := change(set); err != nil {
		return err
	}
	data, err := json.MarshalIndent(set, "", "  ")
	if err == nil {
		err = renameio.WriteFile(path, append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFile, err)
	}
	return nil
}
