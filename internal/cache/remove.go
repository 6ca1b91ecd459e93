package cache

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// cancelRun marks a run as cancelled. KEYS: spec, state; ARGV: now. Returns 0 when there is no such run.
var cancelRun = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[2], 'cancelled', ARGV[1])
return 1`)

// CancelRun notes that the latest attempt of a run was cancelled, for whoever waits for it. The next attempt forgets it. It returns
// ErrUnknownRun.
func (c *Cache) CancelRun(ctx context.Context, id string) error {
	known, err := cancelRun.Run(ctx, c.rdb, []string{specKey(id), stateKey(id)}, c.now().UnixMilli()).Int()
	if err != nil {
		return fmt.Errorf("cancel run %s: %w", id, err)
	}
	if known == 0 {
		return c.unknownRun(ctx, id)
	}
	return nil
}

// Cancelled says whether the latest attempt of a run was cancelled. A run that is not there was not.
func (c *Cache) Cancelled(ctx context.Context, id string) (bool, error) {
	cancelled, err := c.rdb.HExists(ctx, stateKey(id), cancelledField).Result()
	if err != nil {
		return false, fmt.Errorf("ask whether run %s was cancelled: %w", id, err)
	}
	return cancelled, nil
}

// RemoveRun deletes a run with its scores and failures. It returns ErrUnknownRun.
func (c *Cache) RemoveRun(ctx context.Context, id string) error {
	n, err := c.rdb.Del(ctx, specKey(id), stateKey(id), scoresKey(id), failuresKey(id)).Result()
	if err == nil {
		err = c.rdb.ZRem(ctx, runsKey, id).Err()
	}
	if err != nil {
		return fmt.Errorf("remove run %s: %w", id, err)
	}
	if n == 0 {
		return c.unknownRun(ctx, id)
	}
	return nil
}
