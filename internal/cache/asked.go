package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"stegomq/schemas"
)

// This file is for runs that no command waits for, asked for over HTTP. A record of each is kept under the run's id; the caller defines its
// content. A lease says which process makes the run now. Its holder has to renew it.

// keepOnce keeps the record of a new run, unless a run of the same request is still kept: then it returns that run's record. It is a script, so
// that two processes with the same request at the same moment keep one run. A record of the run itself is from an attempt whose answer was lost.
// KEYS: asked, the request; ARGV: the run, the record, how long the request is remembered (ms).
var keepOnce = redis.NewScript(`
local old = redis.call('GET', KEYS[2])
if old and old ~= ARGV[1] then
  local record = redis.call('HGET', KEYS[1], old)
  if record then
    return record
  end
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return false`)

// replaceAsked replaces the record of a run, unless it was dropped. KEYS: asked; ARGV: the run, the record. Returns whether it was there.
var replaceAsked = redis.NewScript(`
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1`)

// lease gives a run to a holder, unless another has it. KEYS: leases; ARGV: the run, the holder, now, the end (Unix ms). Returns whether the holder has it.
var lease = redis.NewScript(`
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old then
  local last, holder = string.match(old, '^(%d+) (.*)$')
  if holder ~= ARGV[2] and tonumber(last) > tonumber(ARGV[3]) then
    return 0
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4] .. ' ' .. ARGV[2])
return 1`)

// release ends the lease of a holder. KEYS: leases; ARGV: the run, the holder.
var release = redis.NewScript(`
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and string.match(old, '^%d+ (.*)$') == ARGV[2] then
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return 1`)

// KeepAsked keeps the record of a new run. A request that is not empty names the request for the run: if a run was kept under the same name
// within the time remember and was not dropped, that run's record is returned as earlier, and nothing is kept. The name is stored as its SHA-256.
func (c *Cache) KeepAsked(ctx context.Context, run string, record []byte, request string, remember time.Duration) (earlier []byte, err error) {
	if request == "" {
		err = c.rdb.HSet(ctx, askedKey, run, record).Err()
	} else {
		var text string
		text, err = keepOnce.Run(ctx, c.rdb, []string{askedKey, requestKey(request)}, run, record, remember.Milliseconds()).Text()
		earlier = []byte(text)
		if errors.Is(err, redis.Nil) {
			return nil, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("keep that run %s is asked for: %w", run, err)
	}
	return earlier, nil
}

// requestKey holds the id of the run that was asked for with a request of this name.
func requestKey(request string) string { return requestPrefix + schemas.Digest([]byte(request)) }

// ReplaceAsked replaces the record of a run and says whether there was one: a dropped record stays dropped.
func (c *Cache) ReplaceAsked(ctx context.Context, run string, record []byte) (there bool, err error) {
	n, err := replaceAsked.Run(ctx, c.rdb, []string{askedKey}, run, record).Int()
	if err != nil {
		return false, fmt.Errorf("change what is kept of run %s: %w", run, err)
	}
	return n == 1, nil
}

// Asked returns the records of all runs, by id.
func (c *Cache) Asked(ctx context.Context) (map[string]string, error) {
	records, err := c.rdb.HGetAll(ctx, askedKey).Result()
	if err != nil {
		return nil, fmt.Errorf("list the runs that are asked for: %w", err)
	}
	return records, nil
}

// AskedRun returns the record of a run; nil if there is none.
func (c *Cache) AskedRun(ctx context.Context, run string) ([]byte, error) {
	record, err := c.rdb.HGet(ctx, askedKey, run).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what is kept of run %s: %w", run, err)
	}
	return record, nil
}

// DropAsked drops the record of a run and its lease. They need not be there.
func (c *Cache) DropAsked(ctx context.Context, run string) error {
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.HDel(ctx, askedKey, run)
		p.HDel(ctx, leasesKey, run)
		return nil
	})
	if err != nil {
		return fmt.Errorf("drop what is kept of run %s: %w", run, err)
	}
	return nil
}

// LeaseAsked gives a run to a holder, or renews its lease, for the given time from now. It returns false if another holder has the run.
func (c *Cache) LeaseAsked(ctx context.Context, run, holder string, long time.Duration) (bool, error) {
	now := c.now()
	n, err := lease.Run(ctx, c.rdb, []string{leasesKey}, run, holder, now.UnixMilli(), now.Add(long).UnixMilli()).Int()
	if err != nil {
		return false, fmt.Errorf("take run %s: %w", run, err)
	}
	return n == 1, nil
}

// ReleaseAsked ends the lease of a holder. If another holder has the run it does nothing.
func (c *Cache) ReleaseAsked(ctx context.Context, run, holder string) error {
	if err := release.Run(ctx, c.rdb, []string{leasesKey}, run, holder).Err(); err != nil {
		return fmt.Errorf("give run %s back: %w", run, err)
	}
	return nil
}
