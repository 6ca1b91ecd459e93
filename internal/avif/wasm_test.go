package avif

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// Compiled code is kept where nobody else may write, or nowhere.
func TestCacheOnDisk(t *testing.T) {
	base := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", base)
	t.Setenv("HOME", base)
	cache := onDisk()
	if cache == nil {
		t.Fatal("there is no cache in a new folder")
	}
	if err := cache.Close(context.Background()); err != nil {
		t.Error(err)
	}
	root, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "stegomq", "wasm")
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%s: %v, %v", dir, info, err)
	}
	for _, mode := range []os.FileMode{0o720, 0o702, 0o777} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if onDisk() != nil {
			t.Errorf("a folder of mode %v is trusted", mode)
		}
	}
	blocked := filepath.Join(base, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", blocked)
	t.Setenv("HOME", blocked)
	if onDisk() != nil {
		t.Error("there is a cache below a file")
	}
}

// What is compiled once is found by the next process, as it is by another runtime here.
func TestCompiledCodeIsKept(t *testing.T) {
	base := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", base)
	t.Setenv("HOME", base)
	files := func() (n int) {
		err := filepath.WalkDir(base, func(_ string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				n++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 2 {
		p, err := compile(decoderModule)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.runtime.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if got := files(); got != 1 {
			t.Errorf("%d files of compiled code, want 1", got)
		}
	}
}

// An instance gets no more memory than its bound.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m := bounded(1<<20).Allocate(1<<16, 1<<32)
	if b := m.Reallocate(1 << 19); len(b) != 1<<19 {
		t.Errorf("%d bytes", len(b))
	}
	copy(m.Reallocate(1<<19), []byte{1, 2, 3})
	if b := m.Reallocate(1 << 20); len(b) != 1<<20 || b[1] != 2 || b[1<<20-1] != 0 {
		t.Errorf("%d bytes, or other ones", len(b))
	}
	if m.Reallocate(1<<20+1) != nil {
		t.Error("more than the bound")
	}
}
