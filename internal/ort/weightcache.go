package ort

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"stegomq/internal/weights"
)

// weightKey names the weights of a key for one program, or a key's variant of a
// model for the operation of the role.
type weightKey struct {
	program     *program     // nil for a variant
	variantOf   *loadedModel // nil for weights
	features    bool         // of a variant; a program gives them or not
	fingerprint string       // empty: W whole
	role        weights.Role
}

// held is what the cache keeps for a key: a patch, or a variant's session.
type held interface {
	size() int64 // in bytes, always the same
	destroy()    // no run may use it
}

// weightCache holds the weights of the keys used last.
//
// Invariants:
//   - All that is held is in entries, and is loaded once however many ask.
//   - What is in use is never destroyed.
//   - bytes is the sum over entries that are loaded. It is above bound only by
//     what is in use: idle entries go, least recently used first.
type weightCache struct {
	bound int64

	mu        sync.Mutex
	entries   map[weightKey]*weightEntry
	idle      list.List // of *weightEntry without users, the latest in front
	bytes     int64
	hits      uint64
	misses    uint64
	evictions uint64
}

// weightEntry is a place in the cache. Whoever acquired it may use held until
// it releases it.
type weightEntry struct {
	key    weightKey
	loaded chan struct{} // closed once held or err is set
	held   held
	err    error
	users  int
	place  *list.Element // in idle, while users is 0
}

func newWeightCache(bound int64) *weightCache {
	return &weightCache{bound: bound, entries: map[weightKey]*weightEntry{}}
}

var errLoadPanicked = errors.New("loading the weights panicked")

// acquire returns the weights of a key and marks them as in use; the first that
// asks loads them, others wait for it or for their context. A load that fails is
// forgotten, so that the next call tries again.
func (c *weightCache) acquire(ctx context.Context, key weightKey, load func() (held, error)) (*weightEntry, error) {
	c.mu.Lock()
	if e, ok := c.entries[key]; ok {
		c.hits++
		e.users++
		if e.place != nil {
			c.idle.Remove(e.place)
			e.place = nil
		}
		c.mu.Unlock()
		select {
		case <-e.loaded:
		case <-ctx.Done():
			c.release(e)
			return nil, ctx.Err()
		}
		if e.err != nil {
			c.release(e)
			return nil, e.err
		}
		return e, nil
	}
	e := &weightEntry{key: key, loaded: make(chan struct{}), users: 1, err: errLoadPanicked}
	c.entries[key] = e
	c.misses++
	c.mu.Unlock()

	defer func() {
		c.mu.Lock()
		if e.err != nil {
			delete(c.entries, key)
		} else {
			c.bytes += e.held.size()
		}
		gone := c.trim()
		close(e.loaded)
		c.mu.Unlock()
		free(gone)
	}()
	e.held, e.err = load()
	if e.err != nil {
		return nil, e.err
	}
	return e, nil
}

// release ends a use.
func (c *weightCache) release(e *weightEntry) {
	c.mu.Lock()
	e.users--
	if e.users == 0 && c.entries[e.key] == e {
		e.place = c.idle.PushFront(e)
	}
	gone := c.trim()
	c.mu.Unlock()
	free(gone)
}

// trim takes idle entries out until the rest fits, and returns them for the
// caller to free without the lock.
func (c *weightCache) trim() (gone []held) {
	for c.bytes > c.bound && c.idle.Len() > 0 {
		gone = append(gone, c.drop(c.idle.Back()))
		c.evictions++
	}
	return gone
}

// drop takes an idle entry out.
func (c *weightCache) drop(place *list.Element) held {
	e := c.idle.Remove(place).(*weightEntry)
	e.place = nil
	delete(c.entries, e.key)
	c.bytes -= e.held.size()
	return e.held
}

// clear empties the cache; nothing may be in use.
func (c *weightCache) clear() {
	c.mu.Lock()
	var gone []held
	for c.idle.Len() > 0 {
		gone = append(gone, c.drop(c.idle.Back()))
	}
	left := len(c.entries)
	c.mu.Unlock()
	free(gone)
	if left != 0 {
		panic("ort: weights are in use while the engine closes")
	}
}

func free(gone []held) {
	for _, h := range gone {
		h.destroy()
	}
}
