package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Find returns the directory of a model. A plain name ("invertible-mk") is a directory of that name
// in the first of the roots that has it; anything with a path separator, and "." and "..", is the
// directory itself. ErrNotFound lists the roots and the names that exist.
func Find(nameOrDir string, roots ...string) (string, error) {
	if isPath(nameOrDir) {
		if !isModel(nameOrDir) {
			return "", fmt.Errorf("%w: %s holds no %s", ErrNotFound, nameOrDir, fileManifest)
		}
		return filepath.Clean(nameOrDir), nil
	}
	if modelName.MatchString(nameOrDir) {
		for _, root := range roots {
			if dir := filepath.Join(root, nameOrDir); isModel(dir) {
				return dir, nil
			}
		}
	}
	return "", missing(nameOrDir, roots)
}

// Open is Find and Load.
func Open(nameOrDir string, roots ...string) (*Model, error) {
	dir, err := Find(nameOrDir, roots...)
	if err != nil {
		return nil, err
	}
	return Load(dir)
}

// Entry is one model of a listing. Err says why a manifest could not be read; Manifest and Digest are
// then empty.
type Entry struct {
	Name     string // of the directory: what Find takes
	Dir      string
	Digest   string
	Manifest Manifest
	Err      error
}

// List reads the manifests of all models in the roots, by name. Of two with one name the first root
// wins, as in Find. A root that does not exist is empty; the files beside the manifests are not read.
func List(roots ...string) ([]Entry, error) {
	dirs, err := directories(roots)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(dirs))
	for _, dir := range dirs {
		e := Entry{Name: filepath.Base(dir), Dir: dir}
		e.Manifest, e.Digest, e.Err = ReadManifest(dir)
		entries = append(entries, e)
	}
	return entries, nil
}

// directories returns what Find can find, sorted by name.
func directories(roots []string) ([]string, error) {
	seen := map[string]bool{}
	var dirs []string
	for _, root := range roots {
		children, err := os.ReadDir(root)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list models: %w", err)
		}
		for _, child := range children {
			dir := filepath.Join(root, child.Name())
			if !seen[child.Name()] && modelName.MatchString(child.Name()) && isModel(dir) {
				seen[child.Name()] = true
				dirs = append(dirs, dir)
			}
		}
	}
	slices.SortFunc(dirs, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	return dirs, nil
}

func isPath(s string) bool {
	return s == "." || s == ".." || strings.ContainsRune(s, '/') || strings.ContainsRune(s, filepath.Separator)
}

func isModel(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, fileManifest))
	return err == nil
}

// missing says where was looked and what there is.
func missing(name string, roots []string) error {
	if len(roots) == 0 {
		return fmt.Errorf("%w: %q: there is no directory of models to look in; give the model's directory, such as ./%[2]s", ErrNotFound, name)
	}
	dirs, err := directories(roots)
	if err != nil {
		return fmt.Errorf("%w: %q: %w", ErrNotFound, name, err)
	}
	there := "there are none there"
	if len(dirs) > 0 {
		names := make([]string, len(dirs))
		for i, dir := range dirs {
			names[i] = filepath.Base(dir)
		}
		there = "there are " + strings.Join(names, ", ")
	}
	return fmt.Errorf("%w: no %q in %s: %s; give one of these or a directory, such as ./DIR", ErrNotFound, name, strings.Join(roots, ", "), there)
}
