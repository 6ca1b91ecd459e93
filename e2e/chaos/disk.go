package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// disk is a small file system that can be filled: a tmpfs.
type disk struct{ dir string }

// disks makes the folders of servers. If this machine does not allow mounting, no folder has a disk of its own, why says
// so, and no disk is ever filled.
type disks struct {
	dir     string
	why     error
	mounted []*disk
}

// diskSize is several times the data that servers store for 10,000 jobs.
const diskSize = "768m"

// folder makes a folder for a server, on a disk of its own if asked for and possible.
func (d *disks) folder(name string, own bool) (string, *disk, error) {
	dir := filepath.Join(d.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	if own && d.why == nil {
		d.why = mount(dir)
	}
	if own && d.why == nil {
		mounted := &disk{dir}
		d.mounted = append(d.mounted, mounted)
		// The content of a mounted disk can be removed, but not its mount point.
		store := filepath.Join(dir, "store")
		return store, mounted, os.MkdirAll(store, 0o700)
	}
	return dir, nil, nil
}

func mount(dir string) error {
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "mode=700,size="+diskSize, "tmpfs", dir).CombinedOutput() //nolint:gosec // a folder of ours
	if err != nil {
		return fmt.Errorf("mount a tmpfs: %w: %s", err, out)
	}
	return nil
}

func (d *disks) close() error {
	var failed []error
	for _, m := range d.mounted {
		if out, err := exec.Command("umount", m.dir).CombinedOutput(); err != nil { //nolint:gosec // a folder of ours
			failed = append(failed, fmt.Errorf("umount %s: %w: %s", m.dir, err, out))
		}
	}
	return errors.Join(failed...)
}

func (d *disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill writes until nothing more fits.
func (d *disk) fill() error {
	f, err := os.Create(d.ballast())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for size := 1 << 20; size > 0; size /= 64 {
		block := make([]byte, size)
		for {
			if _, err := f.Write(block); err != nil {
				break
			}
		}
	}
	return nil
}

// free removes what fill wrote.
func (d *disk) free() error { return os.Remove(d.ballast()) }
