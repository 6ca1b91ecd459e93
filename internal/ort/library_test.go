package ort

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// compile makes a shared library of C source; cgo needs the same compiler.
func compile(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	code, library := filepath.Join(dir, "lib.c"), filepath.Join(dir, libraryNames()[0])
	if err := os.WriteFile(code, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-o", library, code).CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	return library
}

// place makes an empty file where Locate would find a library.
func place(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, libraryNames()[0])
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// The order is flag, environment, cache upwards; what is named is never passed over.
func TestLocate(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cached := place(t, filepath.Join(root, filepath.FromSlash(cacheDir)))
	byEnv := place(t, filepath.Join(root, "env"))
	byFlag := place(t, filepath.Join(root, "flag"))
	deep := filepath.Join(root, "some", "where", "deep")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(deep)

	find := func(flag, want string) {
		t.Helper()
		if got, err := Locate(flag); err != nil || got != want {
			t.Errorf("Locate(%q) = %q, %v; want %q", flag, got, err, want)
		}
	}
	refuse := func(flag string, say ...string) {
		t.Helper()
		got, err := Locate(flag)
		if !errors.Is(err, ErrNoLibrary) {
			t.Errorf("Locate(%q) = %q, %v", flag, got, err)
			return
		}
		for _, words := range append(say, "make ort", "--ort-lib", LibraryEnv) {
			if !strings.Contains(err.Error(), words) {
				t.Errorf("Locate(%q) does not say %q: %v", flag, words, err)
			}
		}
	}
	t.Setenv(LibraryEnv, "")
	t.Setenv("LD_LIBRARY_PATH", "")
	find("", cached)
	find(byFlag, byFlag)
	find(filepath.Join(root, "flag"), byFlag)
	find(filepath.Join("..", "..", "..", "flag"), byFlag)
	t.Setenv(LibraryEnv, byEnv)
	find("", byEnv)
	find(byFlag, byFlag)
	refuse(filepath.Join(root, "nowhere.so"), "nowhere.so", "does not exist")
	refuse(deep, deep, libraryNames()[0])
	t.Setenv(LibraryEnv, filepath.Join(root, "gone"))
	refuse("", LibraryEnv+" names", "gone")

	// Without any of them the library path is next, and then the error lists every
	// place. The places of the system may hold a library on this machine.
	t.Setenv(LibraryEnv, "")
	if err := os.Remove(cached); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LD_LIBRARY_PATH", filepath.Join(root, "empty")+":"+filepath.Join(root, "flag"))
	find("", byFlag)
	t.Setenv("LD_LIBRARY_PATH", filepath.Join(root, "empty"))
	if got, err := Locate(""); err == nil {
		t.Logf("this system has a library of its own: %s", got)
	} else {
		refuse("", filepath.Join(deep, filepath.FromSlash(cacheDir)), filepath.Dir(cached), filepath.Join(root, "empty"), "/usr/local/lib")
	}
}

func TestWrongLibrary(t *testing.T) {
	t.Parallel()
	text := filepath.Join(t.TempDir(), "text.so")
	if err := os.WriteFile(text, []byte("this is no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := inspectLibrary(text); !errors.Is(err, ErrNoLibrary) || !strings.Contains(err.Error(), "make ort") {
		t.Errorf("a text file: %v", err)
	}
	foreign := compile(t, `int foreign(void) { return 1; }`)
	if _, err := inspectLibrary(foreign); !errors.Is(err, ErrNoLibrary) || !strings.Contains(err.Error(), "another library") {
		t.Errorf("another library: %v", err)
	}
	// What an old runtime answers, without its 40 MB.
	old := compile(t, `
		static const void *api(unsigned v) { return v <= 23 ? "api" : 0; }
		static const char *version(void) { return "1.23.2"; }
		static const struct { const void *(*api)(unsigned); const char *(*version)(void); } base = { api, version };
		const void *OrtGetApiBase(void) { return &base; }`)
	_, err := inspectLibrary(old)
	if !errors.Is(err, ErrOldLibrary) {
		t.Fatalf("an old library: %v", err)
	}
	for _, words := range []string{"1.23.2", "1.24", "make ort"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("the error does not say %q: %v", words, err)
		}
	}
}

// Engines share the environment; the last one that goes ends it, and another may
// start it again. Not parallel: no other test may hold the environment.
func TestEnvironment(t *testing.T) {
	quiet := Config{Logger: slog.New(newJournal(t, false))}
	for round := range 3 {
		first, err := New(quiet)
		if err != nil {
			t.Fatalf("round %d (`make ort` gets the library): %v", round, err)
		}
		second, err := New(quiet)
		if err != nil {
			t.Fatal(err)
		}
		if environment.engines != 2 {
			t.Errorf("%d engines are counted, want 2", environment.engines)
		}
		other := quiet
		other.Library = compile(t, `int other(void) { return 1; }`)
		if _, err := New(other); !errors.Is(err, ErrLibraryInUse) {
			t.Errorf("another library beside a live engine: %v", err)
		}
		// The same file through a link is no other library.
		link := filepath.Join(t.TempDir(), "linked.so")
		if err := os.Symlink(first.library, link); err != nil {
			t.Fatal(err)
		}
		other.Library = link
		third, err := New(other)
		if err != nil {
			t.Fatalf("the same library through a link: %v", err)
		}
		m := tiny(t)
		for _, e := range []*Engine{first, third, second} {
			add(t, e, m)
			if err := e.Prepare(m.Digest, "purify"); err != nil {
				t.Fatal(err)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
		if environment.engines != 0 {
			t.Errorf("%d engines are counted after all closed", environment.engines)
		}
	}
}

func TestProviders(t *testing.T) {
	t.Parallel()
	for _, p := range []Provider{"", CPU, CUDA, Auto} {
		if !p.Valid() {
			t.Errorf("%q is not valid", p)
		}
	}
	_, err := New(Config{Provider: "tpu", Threads: -1, Workers: -1, CacheBytes: -1})
	if !errors.Is(err, ErrProvider) {
		t.Fatalf("provider tpu: %v", err)
	}
	for _, words := range []string{`"tpu"`, "threads", "workers", "cache"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("the error does not say %q: %v", words, err)
		}
	}

	// What follows holds on hosts with and without CUDA alike.
	e := start(t, Config{})
	problem := cudaProblem(e.library)
	got, err := New(Config{Provider: CUDA, Logger: slog.New(newJournal(t, false))})
	if (err == nil) != (problem == nil) {
		t.Errorf("CUDA: %v, but doctor would say: %v", err, problem)
	}
	if err == nil {
		got.Close()
	} else if !errors.Is(err, ErrProvider) || !strings.Contains(err.Error(), ".so") || !strings.Contains(err.Error(), "--provider cpu") {
		t.Errorf("the error names no file or no way out: %v", err)
	}
	want := CUDA
	if problem != nil {
		want = CPU
	}
	auto := start(t, Config{Provider: Auto})
	if auto.provider != want {
		t.Errorf("auto chose %s, want %s", auto.provider, want)
	}
}

// A provider library that cannot be loaded is named with the loader's words.
func TestBrokenCUDALibrary(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Fatalf("CUDA is looked for on linux only, this is %s", runtime.GOOS)
	}
	e := start(t, Config{})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, cudaLibrary), []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := cudaProblem(filepath.Join(dir, filepath.Base(e.library)))
	if !errors.Is(err, ErrProvider) || !strings.Contains(err.Error(), filepath.Join(dir, cudaLibrary)) {
		t.Errorf("got %v", err)
	}
}
