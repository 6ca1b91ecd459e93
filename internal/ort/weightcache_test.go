package ort

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// page is the size of a patch of the tests. Such a patch has memory, but no tensors.
const page = 4096

func loadPage() (held, error) {
	memory, err := newBlock(page)
	return &patch{memory: memory}, err
}

func pageKey(n int) weightKey { return weightKey{fingerprint: fmt.Sprint(n)} }

// has reports whether a key is in the cache, and changes nothing.
func (c *weightCache) has(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[pageKey(n)] != nil
}

func mustAcquire(t *testing.T, c *weightCache, n int) *weightEntry {
	t.Helper()
	e, err := c.acquire(t.Context(), pageKey(n), loadPage)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestCacheEvictsLeastRecentlyUsed(t *testing.T) {
	t.Parallel()
	c := newWeightCache(3 * page)
	for _, n := range []int{1, 2, 3, 1, 4} { // 1 was used again, so 2 is the oldest
		c.release(mustAcquire(t, c, n))
	}
	for n, want := range map[int]bool{1: true, 2: false, 3: true, 4: true} {
		if c.has(n) != want {
			t.Errorf("key %d in the cache: %v, want %v", n, !want, want)
		}
	}
	if c.hits != 1 || c.misses != 4 || c.evictions != 1 || c.bytes != 3*page {
		t.Errorf("hits %d, misses %d, evictions %d, bytes %d", c.hits, c.misses, c.evictions, c.bytes)
	}
	c.clear()
	if c.bytes != 0 || len(c.entries) != 0 {
		t.Errorf("after clear: %d bytes, %d entries", c.bytes, len(c.entries))
	}
}

func TestCacheKeepsWhatIsInUse(t *testing.T) {
	t.Parallel()
	c := newWeightCache(page)
	first, again, second := mustAcquire(t, c, 1), mustAcquire(t, c, 1), mustAcquire(t, c, 2)
	if first.held != again.held {
		t.Error("one key was loaded twice")
	}
	if c.bytes != 2*page || c.evictions != 0 {
		t.Errorf("%d bytes, %d evictions while all is in use", c.bytes, c.evictions)
	}
	c.release(first) // again still uses it
	first.held.(*patch).memory.mapped[0] = 1
	if !c.has(1) || c.evictions != 0 {
		t.Error("evicted while in use")
	}
	c.release(again)
	if c.has(1) || !c.has(2) || c.bytes != page {
		t.Error("the idle one should have gone, and only it")
	}
	c.release(second)
	if !c.has(2) {
		t.Error("it fits, and was evicted")
	}
	c.clear()
}

func TestCacheLoadsOnce(t *testing.T) {
	t.Parallel()
	c := newWeightCache(1 << 20)
	loading, finish := make(chan struct{}), make(chan struct{})
	loads := 0 // no lock: the race detector tells if two load
	slow := func() (held, error) {
		loads++
		close(loading)
		<-finish
		return loadPage()
	}
	var wg sync.WaitGroup
	use := func() {
		e, err := c.acquire(t.Context(), pageKey(1), slow)
		if err != nil {
			t.Error(err)
			return
		}
		c.release(e)
	}
	wg.Go(use)
	<-loading
	for range 7 {
		wg.Go(use)
	}
	// One that gives up waiting leaves the others alone.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.acquire(gone, pageKey(1), slow); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with a cancelled context: %v", err)
	}
	close(finish)
	wg.Wait()
	if loads != 1 || c.misses != 1 || c.hits != 8 {
		t.Errorf("%d loads, %d misses, %d hits", loads, c.misses, c.hits)
	}
	c.clear()
}

func TestCacheForgetsAFailure(t *testing.T) {
	t.Parallel()
	c := newWeightCache(1 << 20)
	broken := errors.New("broken")
	if _, err := c.acquire(t.Context(), pageKey(1), func() (held, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was lost")
			}
		}()
		_, _ = c.acquire(t.Context(), pageKey(1), func() (held, error) { panic("broken") })
	}()
	if c.has(1) || c.bytes != 0 {
		t.Error("a failure was kept")
	}
	c.release(mustAcquire(t, c, 1))
	c.clear()
}
