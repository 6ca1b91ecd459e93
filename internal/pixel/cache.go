package pixel

import (
	"container/list"
	"errors"
	"fmt"
	"image"
	"sync"
)

// Cache keeps decoded and fitted images, least recently used out first, within a bound of bytes.
// One evaluation reads a cover once for every key; decoding it once is most of the saving.
// It is safe for concurrent use.
//
// The images are shared: whoever gets one must not write to it.
type Cache struct {
	maxBytes int64
	limits   Limits

	mu      sync.Mutex
	entries map[cacheKey]*cacheEntry
	recent  *list.List // of *cacheEntry that are loaded, most recently used first
	stats   cacheStats
}

// cacheStats are totals since the cache was made, and what it holds now.
type cacheStats struct {
	hits, misses, evictions uint64 // a caller that waits for another's load counts as a hit
	bytes                   int64  // of pixels held
	images                  int
}

type cacheKey struct {
	digest   string
	geometry Geometry
}

type cacheEntry struct {
	key    cacheKey
	loaded chan struct{} // closed when image or err is set
	image  *image.NRGBA
	err    error
	unread bool          // err is the load's, which is of one caller, and not of the bytes
	place  *list.Element // nil until loaded
}

func (e *cacheEntry) bytes() int64 { return int64(len(e.image.Pix)) }

// NewCache makes a cache of at most maxBytes of pixels (4 bytes a pixel). With maxBytes of 0 or less
// it keeps nothing, but callers who ask for the same image at the same time still share one load.
func NewCache(maxBytes int64, limits Limits) *Cache {
	return &Cache{
		maxBytes: maxBytes, limits: limits,
		entries: make(map[cacheKey]*cacheEntry), recent: list.New(),
	}
}

// Get returns the image with this digest in this geometry. On a miss it calls load for the file,
// decodes and fits it; callers that ask meanwhile wait for that one load and share what becomes of its
// bytes, an error included. The digest is trusted: load must return the bytes that it names.
//
// Errors are not kept. An error of load itself goes to its caller alone: others may get the bytes from somewhere else, or
// were not cancelled. A waiter then tries its own load.
func (c *Cache) Get(digest string, g Geometry, load func() ([]byte, error)) (*image.NRGBA, error) {
	key := cacheKey{digest, g}
	for {
		c.mu.Lock()
		e := c.find(key)
		if e == nil {
			e = &cacheEntry{key: key, loaded: make(chan struct{})}
			c.entries[key] = e
			c.stats.misses++
			c.mu.Unlock()
			c.fill(e, load)
			return e.image, e.err
		}
		c.stats.hits++
		if e.place != nil {
			c.recent.MoveToFront(e.place)
		}
		c.mu.Unlock()

		<-e.loaded
		if e.unread {
			continue
		}
		return e.image, e.err
	}
}

// Put keeps m for Get as the image in a file that this process has just written and whose pixels m has. A file that Get would refuse is not kept,
// and an entry that is there already stays. m is shared from then on: nobody may write to it.
func (c *Cache) Put(digest string, file []byte, m *image.NRGBA) {
	if _, err := Header(file, c.limits); err != nil {
		return
	}
	e := &cacheEntry{key: cacheKey{digest: digest}, loaded: make(chan struct{}), image: m}
	close(e.loaded)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.find(e.key) == nil {
		c.entries[e.key] = e
		c.settle(e)
	}
}

// find is the entry of a key, or that of the image in its own size, where it has the one that is asked for; nil: there is none.
func (c *Cache) find(key cacheKey) *cacheEntry {
	if e := c.entries[key]; e != nil {
		return e
	}
	own := c.entries[cacheKey{digest: key.digest}]
	if own != nil && own.place != nil && own.image.Rect.Size() == image.Pt(key.geometry.Width, key.geometry.Height) && key.geometry.Validate() == nil {
		return own
	}
	return nil
}

// fill loads e and settles it. It settles even if load panics, so that waiters are not left behind.
func (c *Cache) fill(e *cacheEntry, load func() ([]byte, error)) {
	e.err, e.unread = errors.New("load panicked"), true
	defer func() {
		c.mu.Lock()
		c.settle(e)
		c.mu.Unlock()
		close(e.loaded)
	}()
	data, err := load()
	if err != nil {
		e.err = fmt.Errorf("load: %w", err)
		return
	}
	e.unread = false
	e.image, e.err = c.read(e.key.geometry, data)
}

func (c *Cache) read(g Geometry, data []byte) (*image.NRGBA, error) {
	m, _, err := Decode(data, c.limits)
	if err != nil {
		return nil, err
	}
	return Fit(m, g)
}

// settle keeps a loaded entry and makes room for it, or forgets one that failed or cannot fit.
func (c *Cache) settle(e *cacheEntry) {
	if e.err != nil || e.bytes() > c.maxBytes {
		delete(c.entries, e.key)
		return
	}
	e.place = c.recent.PushFront(e)
	c.stats.bytes += e.bytes()
	c.stats.images++
	for c.stats.bytes > c.maxBytes {
		oldest := c.recent.Remove(c.recent.Back()).(*cacheEntry)
		delete(c.entries, oldest.key)
		c.stats.bytes -= oldest.bytes()
		c.stats.images--
		c.stats.evictions++
	}
}
