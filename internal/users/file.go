package users

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"stegomq/internal/filelock"
)

const (
	fileName    = "users.json"
	adminName   = "admin"
	adminFile   = "admin-token"
	fileVersion = 1
	private     = 0o600
)

// File is the file of users in a state folder. It is safe for concurrent use, also by several processes. Where there is none there are no users.
type File struct {
	dir string

	mu   sync.Mutex
	data []byte // as last read
	all  []User
}

// In is the file of a state folder, which need not be there yet.
func In(dir string) *File { return &File{dir: dir} }

func (f *File) path() string { return filepath.Join(f.dir, fileName) }

// format is what the file holds.
type format struct {
	Version int    `json:"version"`
	Users   []User `json:"users"`
}

// Users returns the users of the file as it is now, by name. The errors are ErrPermissions, ErrFormat and those of reading.
func (f *File) Users() ([]User, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, err := readPrivate(f.path())
	if errors.Is(err, fs.ErrNotExist) {
		f.data, f.all = nil, nil
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the users: %w", err)
	}
	if f.data == nil || !bytes.Equal(data, f.data) {
		all, err := parse(data)
		if err != nil {
			return nil, fmt.Errorf("read the users: %s: %w", f.path(), err)
		}
		f.data, f.all = data, all
	}
	return f.all, nil
}

// Find returns the user of a name and a token's hash, if there still is one whose token is valid. The errors are those of Users.
func (f *File) Find(name, hash string) (u User, there bool, err error) {
	all, err := f.Users()
	i := slices.IndexFunc(all, func(u User) bool { return u.Name == name && u.Hash == hash && !u.expired() })
	if i < 0 {
		return User{}, false, err
	}
	return all[i], true, nil
}

// Authenticate returns the user of a token. The errors are ErrToken; ErrExpired, with the user; and those of Users.
func (f *File) Authenticate(token string) (User, error) {
	all, err := f.Users()
	if err != nil {
		return User{}, err
	}
	u, err := find(all, token)
	if err == nil && u.expired() {
		err = ErrExpired
	}
	return u, err
}

// Add adds a user and returns the user's new token. The errors are ErrUser, ErrTaken and those of the file.
func (f *File) Add(u User) (token string, err error) {
	err = f.update(func(all []User) ([]User, error) {
		all, token, err = add(all, u)
		return all, err
	})
	return token, err
}

func add(all []User, u User) (_ []User, token string, err error) {
	if err := u.check(); err != nil {
		return nil, "", err
	}
	if err := conflict(all, u); err != nil {
		return nil, "", err
	}
	u.Created = time.Now().UTC().Truncate(time.Second)
	token, u.Hash = newToken()
	return append(slices.Clone(all), u), token, nil
}

// Revoke removes a user, or returns ErrUnknown.
func (f *File) Revoke(name string) error {
	return f.update(func(all []User) ([]User, error) {
		i := slices.IndexFunc(all, func(u User) bool { return u.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("%w: %q (stegomq users list shows who there is)", ErrUnknown, name)
		}
		return slices.Delete(slices.Clone(all), i, i+1), nil
	})
}

// Admin makes an administrator where there is none, for a service that only this machine reaches. It returns the file that holds the token, and the
// token itself if it has just been made; otherwise "".
func (f *File) Admin() (file, token string, err error) {
	file = filepath.Join(f.dir, adminFile)
	err = f.update(func(all []User) ([]User, error) {
		if slices.ContainsFunc(all, func(u User) bool { return u.Name == adminName }) {
			return all, nil
		}
		var err error
		if all, token, err = add(all, User{Name: adminName, Scopes: []Scope{Admin}}); err != nil {
			return nil, err
		}
		return all, renameio.WriteFile(file, []byte(token+"\n"), private)
	})
	return file, token, err
}

// update changes the file. Processes take turns.
func (f *File) update(change func([]User) ([]User, error)) (err error) {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	release, err := filelock.Beside(f.path())
	if err != nil {
		return fmt.Errorf("change the users: %w", err)
	}
	defer func() { err = errors.Join(err, release()) }()
	all, err := f.Users()
	if err != nil {
		return err
	}
	if all, err = change(all); err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b User) int { return strings.Compare(a.Name, b.Name) })
	data, err := json.MarshalIndent(format{Version: fileVersion, Users: all}, "", "  ")
	if err == nil {
		err = renameio.WriteFile(f.path(), append(data, '\n'), private)
	}
	if err != nil {
		return fmt.Errorf("change the users: %w", err)
	}
	return nil
}

func readPrivate(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: %w: chmod 600 %[1]s", path, ErrPermissions)
	}
	return io.ReadAll(file)
}

// parse reads the file strictly. No error repeats a value of the file.
func parse(data []byte) ([]User, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var f format
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("%w: it does not parse near byte %d", ErrFormat, dec.InputOffset())
	}
	if f.Version != fileVersion {
		return nil, fmt.Errorf("%w: version %d, this stegomq reads version %d", ErrFormat, f.Version, fileVersion)
	}
	for i, u := range f.Users {
		err := u.check()
		if err == nil {
			err = conflict(f.Users[:i], u)
		}
		if err == nil && len(u.Hash) != len(hashOf("")) {
			err = errors.New("a user has no token")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
	}
	return f.Users, nil
}
