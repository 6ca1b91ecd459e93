package pipeline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"stegomq/internal/keyring"
)

// DefaultState is the state folder of a user who names none: $XDG_STATE_HOME/stegomq, or "" without a home.
func DefaultState() string {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "stegomq")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "state", "stegomq")
}

// ours is the place of a name in our part of a user's folder, or "" without a home.
func ours(folder func() (string, error), name string) string {
	dir, err := folder()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "stegomq", name)
}

// DefaultKeyring is the keyring file of a user who names none: $XDG_CONFIG_HOME/stegomq/keyring.json, or "" without a home.
func DefaultKeyring() string { return ours(os.UserConfigDir, "keyring.json") }

// DefaultContexts is the file of the servers that a user has given names: $XDG_CONFIG_HOME/stegomq/contexts.json, or "" without a home.
func DefaultContexts() string { return ours(os.UserConfigDir, "contexts.json") }

// DefaultLayouts is where a process keeps what it found out about networks on this machine: $XDG_CACHE_HOME/stegomq/layouts, or "" without a home.
func DefaultLayouts() string { return ours(os.UserCacheDir, "layouts") }

// DefaultModels looks for a folder called models from the working directory and from the executable upwards.
func DefaultModels() []string {
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if exe, err := os.Executable(); err == nil {
		if exe, err = filepath.EvalSymlinks(exe); err == nil {
			starts = append(starts, filepath.Dir(exe))
		}
	}
	for _, dir := range starts {
		for {
			if found, _ := filepath.Glob(filepath.Join(dir, "models", "*", "manifest.json")); len(found) > 0 {
				return []string{filepath.Join(dir, "models")}
			}
			up := filepath.Dir(dir)
			if up == dir {
				break
			}
			dir = up
		}
	}
	return []string{"models"}
}

// KeyringFiles are the user's keyrings: those that are named, or the default one where it is there.
func KeyringFiles(named []string) []string {
	if len(named) > 0 {
		return named
	}
	if path := DefaultKeyring(); path != "" {
		if _, err := os.Stat(path); err == nil {
			return []string{path}
		}
	}
	return nil
}

// ChangeKeyring changes the one keyring file that is named, or the default one, and gives its path. The file and its folder are made.
func ChangeKeyring(named []string, p keyring.Protection, change func(*keyring.Keyring) error) (path string, err error) {
	switch path = DefaultKeyring(); {
	case len(named) == 1:
		path = named[0]
	case len(named) > 1:
		return "", errors.New("name one --keyring to change")
	case path == "":
		return "", errors.New("there is no home folder: name a file with --keyring")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("make the keyring's folder: %w", err)
	}
	return path, keyring.Update(path, p, change)
}

// AddKey adds a pair to a keyring. It does not put another pair in the place of a key that is there.
func AddKey(ring *keyring.Keyring, pair keyring.Pair) error {
	if old, err := ring.Get(pair.ID); err == nil && old.Fingerprint() != pair.Fingerprint() {
		return fmt.Errorf("the keyring already has a key %s (fingerprint %s): choose another id", pair.ID, old.Fingerprint())
	}
	return ring.Add(pair)
}

// ExportKeys copies pairs of a keyring, by their ids, into a new keyring file.
func ExportKeys(ring *keyring.Keyring, ids []string, path string, p keyring.Protection) error {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is there already: name a new file", path)
	}
	copied := keyring.New()
	for _, id := range ids {
		pair, err := ring.Get(id)
		if err == nil {
			err = copied.Add(pair)
		}
		if err != nil {
			return err
		}
	}
	return copied.Save(path, p)
}

// PublicKey is a keyring of the half of a key that embeds, for those who embed for its owner.
func (l *Library) PublicKey(id string) (*keyring.Keyring, error) {
	ring, err := l.Keys()
	if err != nil {
		return nil, err
	}
	pair, err := ring.Get(id)
	if err != nil {
		return nil, err
	}
	half, err := pair.EmbedOnly()
	if err != nil {
		return nil, err
	}
	public := keyring.NewPublic("The half of a key that embeds. Whoever has it can embed for " + id + ", and recovers nothing.")
	return public, public.Add(half)
}
