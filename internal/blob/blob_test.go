package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"stegomq/internal/link"
	"stegomq/internal/streams"
	"stegomq/internal/testrig/natsrig"
	"stegomq/schemas"
)

func TestMain(m *testing.M) { natsrig.Main(m) }

// blobBackend is a store, and direct changes to its data for the contract's tests.
type blobBackend struct {
	store Store
	// corrupt changes the stored bytes of a blob, age moves it into the second half of its lifetime.
	corrupt func(digest string)
	age     func(digest string)
}

const blobLifetime = time.Hour

// onQueue is the store on a message queue of its own.
func onQueue(t testing.TB, cfg streams.Config) *Streams {
	t.Helper()
	all := natsrig.Streams(t, link.Config{Server: natsrig.Server(t, "")}, cfg)
	return OnStreams(all.Link, all.BlobLifetime())
}

var blobBackends = map[string]func(t *testing.T) blobBackend{
	"stream": func(t *testing.T) blobBackend {
		s := onQueue(t, streams.Config{BlobLifetime: blobLifetime})
		return blobBackend{
			store: s,
			corrupt: func(digest string) {
				// Of a blob that is one message, and of one in chunks.
				head, _, err := s.head(natsrig.Context(t), digest)
				if err != nil {
					t.Fatal(err)
				}
				subject, data := schemas.BlobSubject("", digest)+".0", []byte("something else")
				if head.whole != nil {
					subject, data = schemas.BlobSubject("", digest), []byte(fmt.Sprintf("{\"size\":%d}\n%s", len(data), data))
				}
				if _, err := s.link.JS.Publish(natsrig.Context(t), subject, data); err != nil {
					t.Fatal(err)
				}
			},
			// The server's clock cannot be set; the store's idea of a lifetime can.
			age: func(string) { s.lifetime = time.Nanosecond },
		}
	},
	"directory": func(t *testing.T) blobBackend {
		d, err := OpenDirectory(t.TempDir(), blobLifetime)
		if err != nil {
			t.Fatal(err)
		}
		return blobBackend{
			store: d,
			corrupt: func(digest string) {
				if err := os.WriteFile(d.path(context.Background(), digest), []byte("something else"), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			age: func(digest string) {
				at := time.Now().Add(-blobLifetime / 2)
				if err := os.Chtimes(d.path(context.Background(), digest), at, at); err != nil {
					t.Fatal(err)
				}
			},
		}
	},
}

func eachBackend(t *testing.T, test func(t *testing.T, b blobBackend)) {
	for name, start := range blobBackends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
}

// noise is n bytes that do not compress.
func noise(seed uint64, n int) []byte {
	data := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = rng.Read(data)
	return data
}

func mustPut(t testing.TB, s Store, data []byte) string {
	t.Helper()
	digest, err := s.Put(natsrig.Context(t), data)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func has(t testing.TB, s Store, digests ...string) []bool {
	t.Helper()
	got, err := s.Has(natsrig.Context(t), digests...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestBlobsRoundTrip(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, b blobBackend) {
		for i, size := range []int{0, 1, wholeSize, wholeSize + 1, chunkSize - 1, chunkSize, chunkSize + 1, 9*chunkSize + 5} {
			data := noise(uint64(i), size)
			digest := mustPut(t, b.store, data)
			if digest != schemas.Digest(data) {
				t.Errorf("%d bytes: digest %s", size, digest)
			}
			if again := mustPut(t, b.store, data); again != digest {
				t.Errorf("%d bytes: the second Put returned %s", size, again)
			}
			got, err := b.store.Get(natsrig.Context(t), digest)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes: got %d back, %v", size, len(got), err)
			}
		}
	})
}

func TestBlobsMissingAndMalformed(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, b blobBackend) {
		there := mustPut(t, b.store, []byte("there"))
		gone := schemas.Digest([]byte("not there"))
		if _, err := b.store.Get(natsrig.Context(t), gone); !errors.Is(err, ErrMissing) {
			t.Errorf("Get of a missing blob: %v", err)
		}
		if got := has(t, b.store, gone, there, gone); !slices.Equal(got, []bool{false, true, false}) {
			t.Errorf("Has: %v", got)
		}
		if got := has(t, b.store); len(got) != 0 {
			t.Errorf("Has of nothing: %v", got)
		}
		for _, bad := range []string{"", "../../etc/passwd", "abc", there[:63] + "G", there + "0", "*", ">"} {
			if _, err := b.store.Get(natsrig.Context(t), bad); !errors.Is(err, ErrBadDigest) {
				t.Errorf("Get(%q): %v", bad, err)
			}
			if _, err := b.store.Has(natsrig.Context(t), there, bad); !errors.Is(err, ErrBadDigest) {
				t.Errorf("Has(%q): %v", bad, err)
			}
		}
	})
}

func TestCorruptBlobIsFoundAndMended(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, b blobBackend) {
		for _, size := range []int{100, wholeSize + 1} {
			data := noise(1, size)
			digest := mustPut(t, b.store, data)
			b.corrupt(digest)
			if _, err := b.store.Get(natsrig.Context(t), digest); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("Get of a corrupt blob: %v", err)
			}
			if _, err := b.store.Get(natsrig.Context(t), digest); !errors.Is(err, ErrMissing) {
				t.Errorf("a corrupt blob was not removed: %v", err)
			}
			mustPut(t, b.store, data)
			if got, err := b.store.Get(natsrig.Context(t), digest); err != nil || !bytes.Equal(got, data) {
				t.Errorf("after Put: %v", err)
			}
		}
	})
}

func TestOldBlobIsUploadedAgain(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, b blobBackend) {
		data := noise(2, 1000)
		digest := mustPut(t, b.store, data)
		if !has(t, b.store, digest)[0] {
			t.Error("a fresh blob is not there")
		}
		b.age(digest)
		if has(t, b.store, digest)[0] {
			t.Error("Has promises a blob in the second half of its life")
		}
		if _, err := b.store.Get(natsrig.Context(t), digest); err != nil {
			t.Errorf("Get of an old blob: %v", err)
		}
	})
	t.Run("directory again", func(t *testing.T) {
		t.Parallel()
		b := blobBackends["directory"](t)
		digest := mustPut(t, b.store, []byte("data"))
		b.age(digest)
		mustPut(t, b.store, []byte("data"))
		if !has(t, b.store, digest)[0] {
			t.Error("Put did not start a new lifetime")
		}
	})
	t.Run("stream again", func(t *testing.T) {
		t.Parallel()
		s := onQueue(t, streams.Config{})
		digest := mustPut(t, s, []byte("data"))
		count := func() (messages, last uint64) {
			stream, err := s.link.JS.Stream(natsrig.Context(t), schemas.BlobStream(schemas.MainTenant))
			if err != nil {
				t.Fatal(err)
			}
			return stream.CachedInfo().State.Msgs, stream.CachedInfo().State.LastSeq
		}
		messages, last := count()
		mustPut(t, s, []byte("data"))
		if m, l := count(); m != messages || l != last {
			t.Error("a fresh blob was uploaded again")
		}
		s.lifetime = time.Nanosecond
		mustPut(t, s, []byte("data"))
		s.lifetime = blobLifetime
		if m, l := count(); m != messages || l <= last {
			t.Errorf("after uploading again: %d messages up to %d, want %d up to more than %d", m, l, messages, last)
		}
		if _, err := s.Get(natsrig.Context(t), digest); err != nil {
			t.Error(err)
		}
	})
}

// TestMessagesOfABlob: a small blob is one message, as its head says; a blob in chunks can be read whatever its size.
func TestMessagesOfABlob(t *testing.T) {
	t.Parallel()
	s := onQueue(t, streams.Config{})
	stored := func() uint64 {
		stream, err := s.link.JS.Stream(natsrig.Context(t), schemas.BlobStream(schemas.MainTenant))
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().State.Msgs
	}
	for i, c := range []struct {
		size int
		want uint64
	}{{0, 1}, {1, 1}, {wholeSize, 1}, {wholeSize + 1, 2}, {chunkSize + 1, 3}} {
		before := stored()
		mustPut(t, s, noise(uint64(20+i), c.size))
		if n := stored() - before; n != c.want {
			t.Errorf("%d bytes are %d messages, want %d", c.size, n, c.want)
		}
	}
	data := noise(30, 1000)
	digest := schemas.Digest(data)
	if err := s.putChunks(natsrig.Context(t), digest, data); err != nil {
		t.Fatal(err)
	}
	before := stored()
	mustPut(t, s, data)
	if got, err := s.Get(natsrig.Context(t), digest); err != nil || !bytes.Equal(got, data) || stored() != before {
		t.Errorf("a small blob in chunks: %v, and %d messages more", err, stored()-before)
	}
	// A blob that was put here is looked up; if it is lost it is stored again, also by a store that has not put it before.
	if err := s.remove(natsrig.Context(t), digest); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		mustPut(t, s, data)
		if !has(t, s, digest)[0] {
			t.Error("a lost blob was not stored again")
		}
	}
	before = stored()
	mustPut(t, OnStreams(s.link, s.lifetime), data)
	if stored() != before {
		t.Error("another store put a second one")
	}
	for i := range 3 * mostMet {
		s.met(strconv.Itoa(i))
	}
	if n := len(s.newest) + len(s.older); n > 2*mostMet {
		t.Errorf("%d blobs are remembered", n)
	}
	for _, good := range []string{"{\"size\":3}\nabc", "{ \"size\": 3 }\nabc", "{\"size\":3,\"more\":1}\nabc"} {
		if h, ok := parseHeading([]byte(good)); !ok || h.Size != 3 || string(h.whole) != "abc" {
			t.Errorf("%q is read as %+v", good, h)
		}
	}
	for _, bad := range []string{"", "x", "3", "3}", `{"size":3`, `{"size":-1}`, "{\"size\":3}\nab", "{\"size\":3}\nabcd", fmt.Sprintf(`{"size":%d}`, Max+1)} {
		if _, ok := parseHeading([]byte(bad)); ok {
			t.Errorf("%q is taken for a head", bad)
		}
	}
}

// Uploading again while others read must not disturb them.
func TestBlobsTogether(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, b blobBackend) {
		data := noise(3, 3*chunkSize)
		digest := mustPut(t, b.store, data)
		b.age(digest)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 5 {
					if _, err := b.store.Put(natsrig.Context(t), data); err != nil {
						t.Errorf("Put: %v", err)
					}
				}
			})
			wg.Go(func() {
				for range 5 {
					if got, err := b.store.Get(natsrig.Context(t), digest); err != nil || !bytes.Equal(got, data) {
						t.Errorf("Get: %v", err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestBlobLimits(t *testing.T) {
	t.Parallel()
	if err := check(make([]byte, Max+1)); !errors.Is(err, link.ErrTooLarge) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
	b := onQueue(t, streams.Config{MaxBlobBytes: 100 << 10})
	small := mustPut(t, b, noise(4, 50<<10))
	data := noise(5, 90<<10)
	for _, data := range [][]byte{data, noise(6, 60<<10)} {
		if _, err := b.Put(natsrig.Context(t), data); !errors.Is(err, ErrFull) {
			t.Errorf("Put of %d bytes into a full store: %v, want ErrFull", len(data), err)
		}
	}
	// An existing blob needs no room.
	mustPut(t, b, noise(4, 50<<10))
	if got := has(t, b, schemas.Digest(data), small); !slices.Equal(got, []bool{false, true}) {
		t.Errorf("after a failed Put: %v", got)
	}
}

func TestDirectorySweep(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d, err := OpenDirectory(root, blobLifetime)
	if err != nil {
		t.Fatal(err)
	}
	age := func(path string, by time.Duration) {
		at := time.Now().Add(-by)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	old, young := mustPut(t, d, []byte("old")), mustPut(t, d, []byte("young"))
	age(d.path(context.Background(), old), blobLifetime)
	leftover := filepath.Join(root, old[:2], partial+"x")
	if err := os.WriteFile(leftover, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	age(leftover, 2*partialLifetime)
	writing := filepath.Join(root, old[:2], partial+"y")
	if err := os.WriteFile(writing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Get(natsrig.Context(t), old); !errors.Is(err, ErrMissing) {
		t.Errorf("Get of an expired blob: %v", err)
	}
	if n, err := d.sweep(natsrig.Context(t)); err != nil || n != 2 {
		t.Errorf("swept %d files, %v, want 2", n, err)
	}
	if _, err := os.Stat(writing); err != nil {
		t.Errorf("a file that is being written was swept: %v", err)
	}
	if got := has(t, d, old, young); !slices.Equal(got, []bool{false, true}) {
		t.Errorf("Has after the sweep: %v", got)
	}
	c := natsrig.Background(t, d.Run)
	if err := c.Stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	for _, path := range []string{filepath.Dir(d.path(context.Background(), young)), d.path(context.Background(), young)} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v: images are private", path, info.Mode(), err)
		}
	}
}

func TestOpenDirectoryErrors(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDirectory(file, 0); err == nil {
		t.Error("a file was opened as a directory")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	d, err := OpenDirectory(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Put(ctx, []byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Put after cancellation: %v", err)
	}
}

// A tenant's blobs have the lifetime of the tenant's stream, whoever asks.
func TestLifetimeOfTenant(t *testing.T) {
	t.Parallel()
	all := natsrig.Streams(t, link.Config{Server: natsrig.Server(t, "")}, streams.Config{BlobLifetime: blobLifetime})
	for tenant, lifetime := range map[string]time.Duration{"alice": time.Hour / 2, "bob": 0} {
		if err := all.EnsureTenant(natsrig.Context(t), tenant, streams.TenantOptions{BlobLifetime: lifetime}); err != nil {
			t.Fatal(err)
		}
	}
	s := OnStreams(all.Link, time.Nanosecond)
	for tenant, want := range map[string]time.Duration{"": time.Nanosecond, "alice": time.Hour / 2, "bob": blobLifetime} {
		for range 2 {
			if got, err := s.kept(schemas.WithTenant(natsrig.Context(t), tenant)); err != nil || got != want {
				t.Errorf("%q: %v, not %v: %v", tenant, got, want, err)
			}
		}
	}
	ctx := schemas.WithTenant(natsrig.Context(t), "alice")
	digest, err := s.Put(ctx, []byte("of alice"))
	if err != nil {
		t.Fatal(err)
	}
	if there, err := s.Has(ctx, digest); err != nil || !there[0] {
		t.Errorf("it is not there for half its lifetime: %v", err)
	}
}
