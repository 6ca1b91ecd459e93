package pixel

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func encode(t *testing.T, m *image.NRGBA) []byte {
	t.Helper()
	data, err := EncodePNG(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func statsOf(c *Cache) cacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// waitHits returns once n callers have found an entry, loaded or not.
func waitHits(t *testing.T, c *Cache, n uint64) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); statsOf(c).hits < n; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("only %d of %d callers came", statsOf(c).hits, n)
		}
	}
}

func TestCacheHit(t *testing.T) {
	t.Parallel()
	m := photo(40, 30)
	data := encode(t, m)
	c := NewCache(1<<20, Limits{})
	loads := 0
	load := func() ([]byte, error) { loads++; return data, nil }
	first, err := c.Get("a", Geometry{}, load)
	if err != nil || difference(first, m) != 0 {
		t.Fatal(err)
	}
	if again, err := c.Get("a", Geometry{}, load); err != nil || again != first {
		t.Errorf("not the kept image: %v", err)
	}
	fitted, err := c.Get("a", Geometry{20, 20, Crop}, load)
	if err != nil || fitted.Rect != image.Rect(0, 0, 20, 20) {
		t.Errorf("another geometry: %v", err)
	}
	if loads != 2 {
		t.Errorf("%d loads, want 2", loads)
	}
	want := cacheStats{hits: 1, misses: 2, bytes: 4 * (40*30 + 20*20), images: 2}
	if got := statsOf(c); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestCacheEvicts holds three images of equal size in room for two.
func TestCacheEvicts(t *testing.T) {
	t.Parallel()
	data := encode(t, photo(20, 20))
	c := NewCache(2*4*20*20, Limits{})
	get := func(digest string) (loaded bool) {
		if _, err := c.Get(digest, Geometry{}, func() ([]byte, error) { loaded = true; return data, nil }); err != nil {
			t.Fatal(err)
		}
		return loaded
	}
	for i, step := range []struct {
		digest string
		loaded bool
	}{{"a", true}, {"b", true}, {"a", false}, {"c", true}, {"a", false}, {"b", true}, {"c", true}} {
		if got := get(step.digest); got != step.loaded {
			t.Errorf("step %d, %s: loaded %v, want %v", i, step.digest, got, step.loaded)
		}
	}
	want := cacheStats{hits: 2, misses: 5, evictions: 3, bytes: 2 * 4 * 20 * 20, images: 2}
	if got := statsOf(c); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestCachePut(t *testing.T) {
	t.Parallel()
	m := photo(40, 30)
	data := encode(t, m)
	c := NewCache(1<<20, Limits{MaxPixels: 40 * 30})
	loads := 0
	load := func() ([]byte, error) { loads++; return data, nil }
	c.Put("a", data, m)
	for _, g := range []Geometry{{}, {40, 30, Squash}, {40, 30, Crop}} {
		if got, err := c.Get("a", g, load); err != nil || got != m {
			t.Errorf("%v: not the image that was put: %v", g, err)
		}
	}
	if loads != 0 {
		t.Errorf("%d loads", loads)
	}
	if got, err := c.Get("a", Geometry{20, 30, Squash}, load); err != nil || got.Rect != image.Rect(0, 0, 20, 30) || loads != 1 {
		t.Errorf("another size: %v, %d loads", err, loads)
	}
	if _, err := c.Get("a", Geometry{40, 30, Crop + 1}, load); !errors.Is(err, ErrGeometry) {
		t.Errorf("a bad policy: %v", err)
	}
	c.Put("a", data, photo(40, 30))
	if got, err := c.Get("a", Geometry{}, load); err != nil || got != m {
		t.Errorf("what is there was replaced: %v", err)
	}
	// What a file is refused for it is refused for here.
	large := photo(41, 30)
	c.Put("b", encode(t, large), large)
	if _, err := c.Get("b", Geometry{}, func() ([]byte, error) { return encode(t, large), nil }); !errors.Is(err, ErrTooManyPixels) {
		t.Errorf("an image over the limit: %v", err)
	}
	want := cacheStats{hits: 4, misses: 3, bytes: 4 * (40*30 + 20*30), images: 2}
	if got := statsOf(c); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestCachePutIsBounded puts three images of equal size into room for two, and one that has no room.
func TestCachePutIsBounded(t *testing.T) {
	t.Parallel()
	m := photo(20, 20)
	data := encode(t, m)
	c := NewCache(2*4*20*20, Limits{})
	for _, digest := range []string{"a", "b", "c"} {
		c.Put(digest, data, m)
	}
	large := photo(40, 40)
	c.Put("d", encode(t, large), large)
	if got, want := statsOf(c), (cacheStats{evictions: 1, bytes: 2 * 4 * 20 * 20, images: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	loads := 0
	for _, digest := range []string{"b", "c", "a"} {
		if _, err := c.Get(digest, Geometry{}, func() ([]byte, error) { loads++; return data, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if loads != 1 {
		t.Errorf("%d loads, want one of the image that was put first", loads)
	}
}

func TestCacheKeepsNothing(t *testing.T) {
	t.Parallel()
	data := encode(t, photo(20, 20))
	for _, maxBytes := range []int64{-1, 0, 4*20*20 - 1} {
		c := NewCache(maxBytes, Limits{})
		for range 2 {
			if _, err := c.Get("a", Geometry{}, func() ([]byte, error) { return data, nil }); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := statsOf(c), (cacheStats{misses: 2}); got != want {
			t.Errorf("%d bytes: %+v, want %+v", maxBytes, got, want)
		}
	}
}

func TestCacheErrors(t *testing.T) {
	t.Parallel()
	c := NewCache(1<<20, Limits{MaxPixels: 500})
	gone := errors.New("gone")
	if _, err := c.Get("a", Geometry{}, func() ([]byte, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("error %v, want the load's", err)
	}
	large := encode(t, photo(30, 30))
	if _, err := c.Get("a", Geometry{}, func() ([]byte, error) { return large, nil }); !errors.Is(err, ErrTooManyPixels) {
		t.Errorf("error %v, want ErrTooManyPixels", err)
	}
	small := encode(t, photo(20, 20))
	if _, err := c.Get("a", Geometry{5, 0, Crop}, func() ([]byte, error) { return small, nil }); !errors.Is(err, ErrGeometry) {
		t.Errorf("error %v, want ErrGeometry", err)
	}
	if _, err := c.Get("a", Geometry{}, func() ([]byte, error) { return small, nil }); err != nil {
		t.Errorf("an error was kept: %v", err)
	}
}

// TestCacheSingleFlight: the first caller's load waits until all others have asked.
func TestCacheSingleFlight(t *testing.T) {
	t.Parallel()
	const callers = 16
	data := encode(t, photo(20, 20))
	c := NewCache(1<<20, Limits{})
	loading, release := make(chan struct{}), make(chan struct{})
	var loads atomic.Int32
	var group sync.WaitGroup
	images := make([]*image.NRGBA, callers)
	get := func(i int) {
		var err error
		images[i], err = c.Get("a", Geometry{}, func() ([]byte, error) {
			loads.Add(1)
			close(loading)
			<-release
			return data, nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	group.Go(func() { get(0) })
	<-loading
	for i := 1; i < callers; i++ {
		group.Go(func() { get(i) })
	}
	waitHits(t, c, callers-1)
	close(release)
	group.Wait()
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads", n)
	}
	for _, m := range images {
		if m != images[0] {
			t.Error("different images")
		}
	}
	if got := statsOf(c); got.misses != 1 || got.hits != callers-1 {
		t.Errorf("%+v", got)
	}
}

// TestCacheOwnLoad: a waiter does not inherit what went wrong in the load of the caller that it waits for.
func TestCacheOwnLoad(t *testing.T) {
	t.Parallel()
	data := encode(t, photo(20, 20))
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded, fs.ErrNotExist, errors.New("permanent")} {
		c := NewCache(1<<20, Limits{})
		loading, release := make(chan struct{}), make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			_, err := c.Get("a", Geometry{}, func() ([]byte, error) {
				close(loading)
				<-release
				return nil, fmt.Errorf("fetch: %w", cause)
			})
			if !errors.Is(err, cause) {
				t.Errorf("the caller whose load fails: %v", err)
			}
		})
		<-loading
		group.Go(func() {
			if _, err := c.Get("a", Geometry{}, func() ([]byte, error) { return data, nil }); err != nil {
				t.Errorf("the waiter: %v", err)
			}
		})
		waitHits(t, c, 1)
		close(release)
		group.Wait()
	}
}

// TestCacheSharedError: what is wrong with the bytes is so for all that wait for them.
func TestCacheSharedError(t *testing.T) {
	t.Parallel()
	c := NewCache(1<<20, Limits{})
	loading, release := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	get := func(load func() ([]byte, error)) {
		if _, err := c.Get("a", Geometry{}, load); !errors.Is(err, ErrFormat) {
			t.Errorf("%v, want ErrFormat", err)
		}
	}
	group.Go(func() {
		get(func() ([]byte, error) { close(loading); <-release; return []byte("no image"), nil })
	})
	<-loading
	group.Go(func() {
		get(func() ([]byte, error) { t.Error("the bytes are read twice"); return []byte("no image"), nil })
	})
	waitHits(t, c, 1)
	close(release)
	group.Wait()
}

// TestCachePanic: a load that panics leaves nobody waiting and nothing behind.
func TestCachePanic(t *testing.T) {
	t.Parallel()
	c := NewCache(1<<20, Limits{})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = c.Get("a", Geometry{}, func() ([]byte, error) { panic("load") })
	}()
	data := encode(t, photo(20, 20))
	if _, err := c.Get("a", Geometry{}, func() ([]byte, error) { return data, nil }); err != nil {
		t.Error(err)
	}
}
