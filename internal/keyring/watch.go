package keyring

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// Watched is the keyring of some files as they are now, merged as OpenAll does: a key that was added to a file is there, and one that was
// taken out is gone, at the next call. It is safe for concurrent use.
//
// Every call opens each file and asks for its state. That costs about ten microseconds, where a job takes milliseconds; checking once a
// second would serve a key for a second after it was revoked. The file is opened because an NFS client may answer a question for the state of a
// name from memory. A file is read again only if it changed, and decrypted only if its bytes changed.
//
// A file that is not there any more has no keys. One that cannot be read, or does not parse, is an error at every call until it is mended: it is
// not known then which keys were revoked.
type Watched struct {
	unlock Protection

	mu     sync.Mutex
	files  []watchedFile
	merged *Keyring
	err    error // instead of merged
}

// watchedFile is a file as it was last read.
type watchedFile struct {
	path   string
	info   fs.FileInfo // nil where there was none
	read   time.Time   // when info was taken, before the bytes were read
	sum    [sha256.Size]byte
	ring   *Keyring
	err    error
	parsed bool // ring and err are of the bytes with sum
}

// Watch opens keyring files as OpenAll does, with its errors, and keeps to what becomes of them.
func Watch(unlock Protection, paths ...string) (*Watched, error) {
	w := &Watched{unlock: unlock}
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("open keyring: %w", err)
		}
		w.files = append(w.files, watchedFile{path: path})
	}
	_, err := w.Now()
	return w, err
}

// Resolve is Keyring.Resolve of the files as they are now. Its other errors are those of Now.
func (w *Watched) Resolve(id, fingerprint string) (Pair, error) {
	k, err := w.Now()
	if err != nil {
		return Pair{}, err
	}
	return k.Resolve(id, fingerprint)
}

// Now is the keyring of the files as they are now; do not change it. The errors are those of OpenAll.
func (w *Watched) Now() (*Keyring, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := w.merged == nil && w.err == nil
	for i := range w.files {
		if w.files[i].refresh(w.unlock) {
			changed = true
		}
	}
	if changed {
		w.merged, w.err = merge(w.files)
	}
	return w.merged, w.err
}

func merge(files []watchedFile) (*Keyring, error) {
	all := New()
	for _, f := range files {
		if f.err != nil {
			return nil, f.err
		}
		if err := all.Merge(f.ring); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// settled is how long after a change a file may change again without another time of change: file systems' clocks tick in
// milliseconds, and in two seconds at the coarsest. A file is read again as long as it is that new.
const settled = 3 * time.Second

// refresh reads the file again where it changed, and says whether ring and err did.
func (f *watchedFile) refresh(unlock Protection) (changed bool) {
	now := time.Now()
	file, err := os.Open(f.path)
	if err != nil {
		return f.lost(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return f.lost(err)
	}
	if f.info != nil && same(f.info, info) && f.read.Sub(info.ModTime()) > settled {
		return false
	}
	data, err := readAll(file, f.path)
	if err != nil {
		return f.lost(err)
	}
	before, sum := f.info, sha256.Sum256(data)
	f.info, f.read = info, now
	if f.parsed && f.sum == sum && before != nil && before.Mode() == info.Mode() {
		return false
	}
	f.sum, f.parsed = sum, true
	f.ring, f.err = open(f.path, data, info.Mode(), unlock)
	return true
}

// same says whether two states are of one file that was not written in between.
func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

// lost notes that the file cannot be read, and so has no keys that are known.
func (f *watchedFile) lost(err error) (changed bool) {
	f.info, f.parsed = nil, false
	f.ring, f.err = New(), nil
	if !errors.Is(err, fs.ErrNotExist) {
		f.ring, f.err = nil, fmt.Errorf("open keyring: %w", err)
	}
	return true
}
