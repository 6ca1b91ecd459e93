package report

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
)

// Folder is where a run's files go. Whatever is written lies in it: a name that leads out, by ".." or through a link, is an error. Names have
// slashes.
type Folder struct{ root *os.Root }

// OpenFolder opens a folder, which it makes.
func OpenFolder(dir string) (Folder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Folder{}, fmt.Errorf("make the output folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Folder{}, fmt.Errorf("open the output folder: %w", err)
	}
	return Folder{root}, nil
}

// Close gives the folder back.
func (f Folder) Close() { _ = f.root.Close() }

// Write replaces a file whole, and makes the folders that it needs: readers see the old one or the new one.
func (f Folder) Write(name string, data []byte) error {
	if err := f.replace(name, data); err != nil {
		return fmt.Errorf("write %s in %s: %w", name, f.root.Name(), err)
	}
	return nil
}

func (f Folder) replace(name string, data []byte) (err error) {
	if err := f.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	next := path.Join(path.Dir(name), ".next-"+rand.Text())
	defer func() {
		if err != nil {
			_ = f.root.Remove(next)
		}
	}()
	file, err := f.root.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return f.root.Rename(next, name)
}

// Remove removes a file that may not be there.
func (f Folder) Remove(name string) error {
	if err := f.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Has says whether there is such a file.
func (f Folder) Has(name string) bool {
	_, err := f.root.Stat(name)
	return err == nil
}

// ReadFile reads a file.
func (f Folder) ReadFile(name string) ([]byte, error) { return f.root.ReadFile(name) }

// WriteFolder writes files into a folder, which it makes: each whole or not at all, so that readers see the old one or
// the new one. Then it removes those that are gone.
func WriteFolder(dir string, files []File, gone ...string) error {
	out, err := OpenFolder(dir)
	if err != nil {
		return err
	}
	defer out.Close()
	for _, f := range files {
		if err := out.Write(f.Name, f.Data); err != nil {
			return err
		}
	}
	for _, name := range gone {
		if err := out.Remove(name); err != nil {
			return fmt.Errorf("remove the old %s: %w", name, err)
		}
	}
	return nil
}
