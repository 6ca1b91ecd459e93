package ort

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const (
	// LibraryEnv names the environment variable that holds the path of the library.
	LibraryEnv = "STEGOMQ_ORT_LIB"
	// APIVersion is the C API that the pinned binding asks for; ONNX Runtime 1.24 was the first to offer it.
	APIVersion = 24

	// cacheDir is where `make ort` puts the library, below the repository root.
	cacheDir = ".cache/onnxruntime"
)

// libraryNames are the file names to look for, the exact one first.
func libraryNames() []string {
	if runtime.GOOS == "darwin" {
		return []string{"libonnxruntime.dylib"}
	}
	return []string{"libonnxruntime.so.1", "libonnxruntime.so"}
}

// systemDirs are the directories of the system's libraries, the ones of
// LD_LIBRARY_PATH first.
func systemDirs() []string {
	dirs := filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	for _, root := range []string{"/usr/local", "/usr"} {
		dirs = append(dirs, root+"/lib", root+"/lib64")
		if triplet != "" {
			dirs = append(dirs, root+"/lib/"+triplet)
		}
	}
	return append(dirs, "/opt/onnxruntime/lib")
}

// Locate finds the ONNX Runtime shared library: the path given (the flag
// --ort-lib), else the path in STEGOMQ_ORT_LIB, else .cache/onnxruntime in a
// directory from the working directory upwards or from the executable's upwards,
// else the system's library directories. A path may name the file or the
// directory that holds it; one that is given and wrong is an error, never a
// reason to look elsewhere. The error wraps ErrNoLibrary and lists every place
// looked at.
func Locate(path string) (string, error) {
	if path != "" {
		return explicit(path, "--ort-lib")
	}
	if path = os.Getenv(LibraryEnv); path != "" {
		return explicit(path, LibraryEnv)
	}
	var places []string
	if dir, err := os.Getwd(); err == nil {
		places = append(places, upwards(dir)...)
	}
	if exe, err := os.Executable(); err == nil {
		if exe, err = filepath.EvalSymlinks(exe); err == nil {
			places = append(places, upwards(filepath.Dir(exe))...)
		}
	}
	places = append(places, systemDirs()...)

	var looked []string
	for _, dir := range places {
		if dir == "" || slices.Contains(looked, dir) {
			continue
		}
		if file, ok := inDir(dir); ok {
			return file, nil
		}
		looked = append(looked, dir)
	}
	return "", fmt.Errorf("%w: no %s in\n  %s\n%s", ErrNoLibrary,
		strings.Join(libraryNames(), " or "), strings.Join(looked, "\n  "), remedy)
}

const remedy = "get it with `make ort`, or name it with --ort-lib or " + LibraryEnv

func explicit(path, source string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w: %s names %s, which does not exist; %s", ErrNoLibrary, source, path, remedy)
	case err != nil:
		return "", fmt.Errorf("%w: look at %s from %s: %w", ErrNoLibrary, path, source, err)
	case info.IsDir():
		file, ok := inDir(path)
		if !ok {
			return "", fmt.Errorf("%w: %s names the directory %s, which holds no %s; %s", ErrNoLibrary,
				source, path, strings.Join(libraryNames(), " or "), remedy)
		}
		path = file
	}
	// A name without a slash would make the loader search its own path instead.
	path, err = filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrNoLibrary, path, err)
	}
	return path, nil
}

func inDir(dir string) (string, bool) {
	for _, name := range libraryNames() {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file, true
		}
	}
	return "", false
}

// upwards lists the cache directory below dir and below each of its parents.
func upwards(dir string) []string {
	var dirs []string
	for {
		dirs = append(dirs, filepath.Join(dir, filepath.FromSlash(cacheDir)))
		parent := filepath.Dir(dir)
		if parent == dir {
			return dirs
		}
		dir = parent
	}
}
