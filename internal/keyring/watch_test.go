package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// store writes a private keyring of new pairs.
func store(t testing.TB, path string, ids ...string) *Keyring {
	t.Helper()
	k := New()
	for _, id := range ids {
		p, err := Generate(id, time.Unix(0, 0))
		if err == nil {
			err = k.Add(p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Save(path, Protection{}); err != nil {
		t.Fatal(err)
	}
	return k
}

func watch(t testing.TB, unlock Protection, paths ...string) *Watched {
	t.Helper()
	w, err := Watch(unlock, paths...)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// expect resolves the pair of an id, and wants the error.
func (w *Watched) expect(t *testing.T, p Pair, want error) {
	t.Helper()
	got, err := w.Resolve(p.ID, p.Fingerprint())
	if !errors.Is(err, want) || want == nil && !got.Embed.Equal(p.Embed) {
		t.Errorf("%s: %v, want %v", p.ID, err, want)
	}
}

func TestWatchedSeesEveryChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, other := filepath.Join(dir, "keys.json"), filepath.Join(dir, "other.json")
	pairs := store(t, path, "alice", "bob").List()
	alice, bob := pairs[0], pairs[1]
	carol := store(t, other, "carol").List()[0]
	link := filepath.Join(dir, "link.json")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	w := watch(t, Protection{}, link, other)
	for _, p := range []Pair{alice, bob, carol} {
		w.expect(t, p, nil)
	}
	update := func(change func(*Keyring) error) {
		t.Helper()
		if err := Update(link, Protection{}, change); err != nil {
			t.Fatal(err)
		}
	}
	update(func(k *Keyring) error { return k.Remove("alice") })
	w.expect(t, alice, ErrUnknownKey)
	w.expect(t, bob, nil)
	w.expect(t, carol, nil)
	update(func(k *Keyring) error { return k.Add(alice) })
	w.expect(t, alice, nil)
	// Another pair of the same id.
	update(func(k *Keyring) error {
		p, err := Generate("alice", time.Unix(0, 0))
		return errors.Join(err, k.Remove("alice"), k.Add(p))
	})
	w.expect(t, alice, ErrKeyMismatch)

	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, good[:len(good)-9], 0o600); err != nil {
		t.Fatal(err)
	}
	w.expect(t, bob, ErrFormat)
	w.expect(t, carol, ErrFormat)
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	w.expect(t, bob, nil)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	w.expect(t, bob, ErrPermissions)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	w.expect(t, bob, nil)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.expect(t, bob, ErrUnknownKey)
	w.expect(t, carol, nil)
	store(t, path, "carol")
	w.expect(t, carol, ErrConflict)
}

// TestWatchedSeesWritesInPlace writes files of one size again and again, as fast as it can: many have the same time.
func TestWatchedSeesWritesInPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.json")
	var files [2][]byte
	var pairs [2]Pair
	for i, id := range []string{"alice", "carol"} {
		pairs[i] = store(t, path, id).List()[0]
		var err error
		if files[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if len(files[0]) != len(files[1]) {
		t.Fatalf("files of %d and %d bytes", len(files[0]), len(files[1]))
	}
	w := watch(t, Protection{}, path)
	for n := range 500 {
		if err := os.WriteFile(path, files[n%2], 0o600); err != nil {
			t.Fatal(err)
		}
		w.expect(t, pairs[n%2], nil)
		w.expect(t, pairs[(n+1)%2], ErrUnknownKey)
	}
}

// A file that was touched and not changed is not decrypted again, which takes a second.
func TestWatchedDecryptsOnce(t *testing.T) {
	t.Parallel()
	k, p := alice(t)
	path := filepath.Join(t.TempDir(), "keyring.age")
	if err := k.Save(path, quick("correct horse")); err != nil {
		t.Fatal(err)
	}
	w := watch(t, quick("correct horse"), path)
	w.unlock = quick("forgotten")
	if err := os.Chtimes(path, time.Now(), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.expect(t, p, nil)
	}
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(bytes.Clone(data[:len(data)-1]), data[len(data)-1]^1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.expect(t, p, ErrLocked)
}

func TestWatchNeedsTheFiles(t *testing.T) {
	t.Parallel()
	if _, err := Watch(Protection{}, filepath.Join(t.TempDir(), "nothing.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want ErrNotExist", err)
	}
	path := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Watch(Protection{}, path); !errors.Is(err, ErrFormat) {
		t.Errorf("%v, want ErrFormat", err)
	}
}

// BenchmarkWatched is what a check of a key costs: of a file that was not changed, and of one that just was.
func BenchmarkWatched(b *testing.B) {
	for _, age := range []time.Duration{time.Hour, 0} {
		b.Run(fmt.Sprint("age=", age), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "keys.json")
			var ids []string
			for n := range 100 {
				ids = append(ids, fmt.Sprint("user-", n))
			}
			p := store(b, path, ids...).List()[0]
			changed := time.Now().Add(-age)
			if age == 0 {
				changed = changed.Add(time.Hour) // stays new
			}
			if err := os.Chtimes(path, changed, changed); err != nil {
				b.Fatal(err)
			}
			w, print := watch(b, Protection{}, path), p.Fingerprint()
			for b.Loop() {
				if _, err := w.Resolve(p.ID, print); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
