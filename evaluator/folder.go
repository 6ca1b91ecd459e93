package evaluator

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
)

// folder is where a run's files go. Whatever is written lies in it: a name that leads out, by ".." or through a link, is an error. Names have
// slashes.
type folder struct{ root *os.Root }

// openFolder opens a folder, which it makes.
func openFolder(dir string) (folder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return folder{}, fmt.Errorf("make the output folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return folder{}, fmt.Errorf("open the output folder: %w", err)
	}
	return folder{root}, nil
}

func (f folder) close() { _ = f.root.Close() }

// write replaces a file whole, and makes the folders that it needs: readers see the old one or the new one.
func (f folder) write(name string, data []byte) error {
	if err := f.replace(name, data); err != nil {
		return fmt.Errorf("write %s in %s: %w", name, f.root.Name(), err)
	}
	return nil
}

func (f folder) replace(name string, data []byte) (err error) {
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

// remove removes a file that may not be there.
func (f folder) remove(name string) error {
	if err := f.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// has says whether there is such a file.
func (f folder) has(name string) bool {
	_, err := f.root.Stat(name)
	return err == nil
}
