package keyring

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"stegomq/internal/filelock"
)

// FileVersion is the version of the file that this package reads and writes.
const FileVersion = 1

// maxFile bounds what Open reads: about 80,000 pairs.
const maxFile = 16 << 20

// file is the JSON of a keyring. The keys are strings here and nowhere else.
type file struct {
	Version int       `json:"version"`
	Public  bool      `json:"public"`
	Note    string    `json:"note"`
	Keys    []fileKey `json:"keys"`
}

type fileKey struct {
	ID      string    `json:"id"`
	Embed   string    `json:"embed"`
	Recover *string   `json:"recover,omitempty"` // nil in an entry that only embeds
	Created time.Time `json:"created"`
}

// Open reads a keyring file. The errors are those of the file system, ErrPermissions, ErrLocked and
// ErrFormat; each says what to do.
func Open(path string, unlock Protection) (*Keyring, error) {
	data, mode, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("open keyring: %w", err)
	}
	return open(path, data, mode, unlock)
}

// open reads what a keyring file holds.
func open(path string, data []byte, mode fs.FileMode, unlock Protection) (k *Keyring, err error) {
	if encrypted(data) {
		if data, err = unlock.decrypt(data); err != nil {
			return nil, fmt.Errorf("open keyring %s: %w", path, err)
		}
	}
	if k, err = parse(data, path); err != nil {
		return nil, fmt.Errorf("open keyring %s: %w", path, err)
	}
	if !k.public {
		if err := private(path, mode); err != nil {
			return nil, fmt.Errorf("open keyring: %w", err)
		}
	}
	return k, nil
}

// OpenAll reads several keyring files and merges them into one private keyring. The order does not
// matter: ids in conflict are an error.
func OpenAll(unlock Protection, paths ...string) (*Keyring, error) {
	w, err := Watch(unlock, paths...)
	if err != nil {
		return nil, err
	}
	return w.merged, nil
}

// Save writes the keyring to a file, which is replaced whole or not at all: mode 0600, or 0644 if the
// keyring is public. A zero Protection writes plain JSON, but never over an encrypted file (ErrLocked).
func (k *Keyring) Save(path string, lock Protection) error {
	data, err := k.marshal()
	if err == nil && !lock.IsZero() {
		data, err = lock.encrypt(data)
	} else if err == nil {
		err = refuseDowngrade(path)
	}
	if err != nil {
		return fmt.Errorf("save keyring %s: %w", path, err)
	}
	mode := os.FileMode(0o600)
	if k.public {
		mode = 0o644
	}
	if err := replace(path, data, mode); err != nil {
		return fmt.Errorf("save keyring: %w", err)
	}
	return nil
}

// Update opens the keyring in a file, or a new private one if there is no file, changes it and saves it.
// A lock beside the file makes updates of several processes follow one another, so that none is lost, whatever links they
// name the file by. If change fails, its error is returned and the file stays as it is.
func Update(path string, protection Protection, change func(*Keyring) error) error {
	path, err := target(path)
	if err != nil {
		return fmt.Errorf("update keyring: %w", err)
	}
	release, err := filelock.Beside(path)
	if err != nil {
		return fmt.Errorf("update keyring: %w", err)
	}
	defer func() { _ = release() }() // the keyring is as it should be
	k, err := Open(path, protection)
	if errors.Is(err, fs.ErrNotExist) {
		k, err = New(), nil
	}
	if err != nil {
		return err
	}
	if err := change(k); err != nil {
		return err
	}
	return k.Save(path, protection)
}

// parse reads the JSON strictly: unknown fields, anything after the object, and an id that is there twice
// are errors. No error repeats an embed or recover key.
func parse(data []byte, source string) (*Keyring, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var f file
	if err := decoder.Decode(&f); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			// Its text repeats the value, which may be a key.
			return nil, fmt.Errorf("%w: the value of %q before byte %d has the wrong type", ErrFormat, wrong.Field, wrong.Offset)
		}
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: there is more after the keyring", ErrFormat)
	}
	if f.Version != FileVersion {
		return nil, fmt.Errorf("%w: version %d, this stegomq reads version %d", ErrFormat, f.Version, FileVersion)
	}
	k := New()
	k.public, k.note = f.Public, f.Note
	var broken []error
	for i, fk := range f.Keys {
		e, err := fk.entry(source)
		if err == nil {
			if _, ok := k.pairs[fk.ID]; ok {
				err = fmt.Errorf("id: %q is there twice", fk.ID)
			}
		}
		if err != nil {
			broken = append(broken, fmt.Errorf("keys[%d].%w", i, err))
			continue
		}
		k.pairs[fk.ID] = e
	}
	if len(broken) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrFormat, errors.Join(broken...))
	}
	return k, nil
}

func (fk fileKey) entry(source string) (entry, error) {
	if err := checkID(fk.ID); err != nil {
		// Not the id itself: it may be a key in the wrong place.
		return entry{}, fmt.Errorf("id: %w", ErrInvalidID)
	}
	embed, err := ParseKey(fk.Embed)
	if err != nil {
		return entry{}, fmt.Errorf("embed: %w", err)
	}
	p := Pair{ID: fk.ID, Embed: embed, Created: fk.Created.UTC()}
	if fk.Recover != nil {
		if p.Recover, err = ParseKey(*fk.Recover); err != nil {
			return entry{}, fmt.Errorf("recover: %w", err)
		}
	} else if !p.Matched() {
		return entry{}, errors.New("recover: it is missing, and embed is not the public key of a pair that stegomq keys new made")
	}
	return entry{pair: p, fingerprint: p.Fingerprint(), source: source}, nil
}

// marshal is the inverse of parse: sorted by id, indented, for people and for diffs of public ones.
func (k *Keyring) marshal() ([]byte, error) {
	f := file{Version: FileVersion, Public: k.public, Note: k.note, Keys: []fileKey{}}
	for _, e := range k.entries() {
		fk := fileKey{ID: e.pair.ID, Embed: hex.EncodeToString(e.pair.Embed.Expose()), Created: e.pair.Created}
		if !e.pair.Recover.IsZero() {
			recover := hex.EncodeToString(e.pair.Recover.Expose())
			fk.Recover = &recover
		}
		f.Keys = append(f.Keys, fk)
	}
	data, err := json.MarshalIndent(f, "", "  ")
	return append(data, '\n'), err
}

// WritePublic writes the file of a public keyring, for those who send it on. A private one is ErrPublic.
func (k *Keyring) WritePublic(w io.Writer) error {
	if !k.public {
		return fmt.Errorf("write keyring: %w: this one is private", ErrPublic)
	}
	data, err := k.marshal()
	if err != nil {
		return fmt.Errorf("write keyring: %w", err)
	}
	_, err = w.Write(data)
	return err
}

// readFile reads a bounded file and its mode, which belong together because both come from one handle.
func readFile(path string) ([]byte, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	data, err := readAll(f, path)
	if err != nil {
		return nil, 0, err
	}
	return data, info.Mode(), nil
}

// readAll reads an open file, within the bound.
func readAll(f io.Reader, path string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s: %w: more than %d bytes", path, ErrFormat, maxFile)
	}
	return data, err
}

// private refuses a mode that lets anybody but the owner in.
func private(path string, mode fs.FileMode) error {
	if mode.Perm()&0o077 == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s has mode %04o; run: chmod 600 %[2]s", ErrPermissions, path, mode.Perm())
}

// refuseDowngrade keeps a forgotten passphrase option from writing keys in the clear.
func refuseDowngrade(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return err
	}
	if encrypted(head) {
		return fmt.Errorf("%w, and would be replaced by plain text; give its passphrase or identity file, or another file name", ErrLocked)
	}
	return nil
}

// maxLinks is as many links as Linux follows.
const maxLinks = 40

// target is the one name of a file, behind all links to it and to its folders. The file itself need not be there.
func target(path string) (string, error) {
	for range maxLinks {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		link, err := os.Readlink(path)
		if err != nil { // no link: a file, or nothing yet
			return path, nil //nolint:nilerr // what else is wrong shows when the file is opened
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(dir, link)
		}
		path = link
	}
	return "", &fs.PathError{Op: "follow", Path: path, Err: errors.New("too many links")}
}

// replace writes a file beside the old one, makes it durable and puts it in the old one's place.
func replace(path string, data []byte, mode fs.FileMode) error {
	path, err := target(path) // the file is replaced, not a link to it
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir), renameio.WithStaticPermissions(mode))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }() // nothing to do once the file is in its place
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync() // which makes the change of name durable
}
