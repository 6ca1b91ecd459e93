package pipeline

import (
	"context"
	"fmt"

	"stegomq/internal/cache"
)

// Eviction says what is wrong with a Redis that may evict scores and runs; nil for one that does not. Policies that evict only keys with
// a lifetime cost memos, which are made again.
func Eviction(st cache.Status) error {
	if !st.EvictsAll() {
		return nil
	}
	return fmt.Errorf("its maxmemory-policy is %s, by which it deletes scores and runs when memory is short: "+
		"set it to noeviction or volatile-lru (redis-cli config set maxmemory-policy volatile-lru)", st.Policy)
}

// WarnOfEviction logs a warning where Redis may evict scores and runs.
func (s *Services) WarnOfEviction(ctx context.Context) {
	st, err := s.Cache.Status(ctx)
	if err == nil {
		err = Eviction(st)
	}
	if err != nil {
		s.log.Warn("Redis is not fit to keep scores", "error", err)
	}
}
