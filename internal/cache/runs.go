package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	"stegomq/schemas"
)

// RunState is the state of a run.
type RunState struct {
	Spec *schemas.RunSpec
	// Attempt counts the times the run was started, from 1.
	Attempt int64
	// Started is when the latest attempt began.
	Started time.Time
	// Finished is when the latest attempt ended; zero when it has not.
	Finished time.Time
	// Cancelled is when the latest attempt was cancelled (CancelRun); zero when it was not.
	Cancelled time.Time
	// Provenance is the one that KeepProvenance keeps; nil before.
	Provenance []byte
}

// Fields of a run's state.
const (
	attemptField  = "attempt"
	startedField  = "started"  // Unix ms
	finishedField = "finished" // Unix ms
	madeField     = "made"     // the first provenance, as it was given

	cancelledField = "cancelled" // Unix ms
)

// startRun stores a run's specification unless there is another, and begins an attempt: earlier failures are
// forgotten. KEYS: spec, state, failures; ARGV: the specification, now. Returns the attempt, or 0 and the other specification.
var startRun = redis.NewScript(`
local old = redis.call('GET', KEYS[1])
if old and old ~= ARGV[1] then
  return {0, old}
end
if not old then
  redis.call('SET', KEYS[1], ARGV[1])
end
local attempt = redis.call('HINCRBY', KEYS[2], 'attempt', 1)
redis.call('HSET', KEYS[2], 'started', ARGV[2])
redis.call('HDEL', KEYS[2], 'finished', 'cancelled')
redis.call('DEL', KEYS[3])
return {attempt}`)

// markRun sets a time in a run's state. KEYS: spec, state; ARGV: the field, now. Returns 0 when there is no such run.
var markRun = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 1`)

// StartRun begins an attempt of the run that spec describes and returns its number, from 1. The first
// attempt stores the specification; a later one resumes the run and forgets its failures. If the run was
// started with another specification, the error is ErrRunDiffers. An invalid specification is schemas.ErrInvalid.
func (c *Cache) StartRun(ctx context.Context, spec *schemas.RunSpec) (attempt int64, err error) {
	encoded, err := schemas.Encode(spec)
	if err != nil {
		return 0, fmt.Errorf("start run %s: %w", spec.GetId(), err)
	}
	id, now := spec.GetId(), c.now().UnixMilli()
	start := func(encoded []byte) (int64, string, error) {
		reply, err := startRun.Run(ctx, c.rdb, []string{specKey(id), stateKey(id), failuresKey(id)}, encoded, now).Slice()
		if err != nil {
			return 0, "", fmt.Errorf("start run %s: %w", id, err)
		}
		attempt, _ := reply[0].(int64)
		if attempt > 0 {
			return attempt, "", nil
		}
		old, _ := reply[1].(string)
		return 0, old, nil
	}
	attempt, old, err := start(encoded)
	if err != nil {
		return 0, err
	}
	if attempt == 0 {
		stored, err := schemas.DecodeRunSpec([]byte(old))
		if err != nil {
			return 0, fmt.Errorf("start run %s: the stored specification: %w", id, err)
		}
		if !proto.Equal(stored, spec) {
			return 0, fmt.Errorf("%w: run %s was started with another %s; choose another --run, or leave it out",
				ErrRunDiffers, id, strings.Join(differences(stored, spec), ", "))
		}
		// Equal in another encoding: protobuf's is stable within a version of the library only.
		if attempt, _, err = start([]byte(old)); err != nil {
			return 0, err
		}
	}
	// The index is not one of the run's keys and so not in the script. If the process dies before this line,
	// the run is listed from its next attempt on.
	if err := c.rdb.ZAdd(ctx, runsKey, redis.Z{Score: float64(now), Member: id}).Err(); err != nil {
		return 0, fmt.Errorf("list run %s: %w", id, err)
	}
	return attempt, nil
}

// differences names the fields of two specifications that differ.
func differences(a, b *schemas.RunSpec) []string {
	ra, rb := a.ProtoReflect(), b.ProtoReflect()
	var names []string
	fields := ra.Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); !ra.Get(f).Equal(rb.Get(f)) {
			names = append(names, strings.ReplaceAll(string(f.Name()), "_", " "))
		}
	}
	return names
}

// FinishRun records that the latest attempt of a run ended. It returns ErrUnknownRun.
func (c *Cache) FinishRun(ctx context.Context, id string) error {
	return c.markRun(ctx, id, finishedField)
}

// CancelRun records that the latest attempt of a run was cancelled, for processes that wait for it. The next attempt forgets this. It
// returns ErrUnknownRun.
func (c *Cache) CancelRun(ctx context.Context, id string) error {
	return c.markRun(ctx, id, cancelledField)
}

func (c *Cache) markRun(ctx context.Context, id, field string) error {
	known, err := markRun.Run(ctx, c.rdb, []string{specKey(id), stateKey(id)}, field, c.now().UnixMilli()).Int()
	if err != nil {
		return fmt.Errorf("note that run %s is %s: %w", id, field, err)
	}
	if known == 0 {
		return c.unknownRun(ctx, id)
	}
	return nil
}

// Cancelled says whether the latest attempt of a run was cancelled; false for an unknown run.
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

// KeepProvenance stores a record of how a run was made, unless there is one already, and returns the stored one: the first.
func (c *Cache) KeepProvenance(ctx context.Context, id string, provenance []byte) (first []byte, err error) {
	var kept *redis.StringCmd
	if _, err := c.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSetNX(ctx, stateKey(id), madeField, provenance)
		kept = p.HGet(ctx, stateKey(id), madeField)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("keep how run %s was made: %w", id, err)
	}
	return kept.Bytes()
}

// Run returns the state of a run, or ErrUnknownRun, which names existing runs.
func (c *Cache) Run(ctx context.Context, id string) (*RunState, error) {
	state, err := c.run(ctx, id)
	if errors.Is(err, redis.Nil) {
		return nil, c.unknownRun(ctx, id)
	}
	if err != nil {
		return nil, fmt.Errorf("read run %s: %w", id, err)
	}
	return state, nil
}

// Spec returns the specification of a run; nil for an unknown run.
func (c *Cache) Spec(ctx context.Context, id string) (*schemas.RunSpec, error) {
	data, err := c.rdb.Get(ctx, specKey(id)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	var spec *schemas.RunSpec
	if err == nil {
		spec, err = schemas.DecodeRunSpec(data)
	}
	if err != nil {
		return nil, fmt.Errorf("read run %s: %w", id, err)
	}
	return spec, nil
}

// run returns redis.Nil for an unknown run.
func (c *Cache) run(ctx context.Context, id string) (*RunState, error) {
	var spec *redis.StringCmd
	var state *redis.MapStringStringCmd
	_, err := c.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		spec, state = p.Get(ctx, specKey(id)), p.HGetAll(ctx, stateKey(id))
		return nil
	})
	if err != nil {
		return nil, err
	}
	s, err := schemas.DecodeRunSpec([]byte(spec.Val()))
	if err != nil {
		return nil, err
	}
	fields := state.Val()
	number := func(field string) int64 { // 0 when absent
		n, _ := strconv.ParseInt(fields[field], 10, 64)
		return n
	}
	r := &RunState{Spec: s, Attempt: number(attemptField), Started: time.UnixMilli(number(startedField))}
	if ms := number(finishedField); ms > 0 {
		r.Finished = time.UnixMilli(ms)
	}
	if ms := number(cancelledField); ms > 0 {
		r.Cancelled = time.UnixMilli(ms)
	}
	if made, ok := fields[madeField]; ok {
		r.Provenance = []byte(made)
	}
	return r, nil
}

// Runs returns all runs, the latest started first. It takes a round trip for each run.
func (c *Cache) Runs(ctx context.Context) ([]RunState, error) {
	ids, err := c.runIDs(ctx, -1)
	if err != nil {
		return nil, err
	}
	runs := make([]RunState, 0, len(ids))
	for _, id := range ids {
		r, err := c.run(ctx, id)
		if errors.Is(err, redis.Nil) {
			continue // evicted, or deleted by hand
		}
		if err != nil {
			return nil, fmt.Errorf("read run %s: %w", id, err)
		}
		runs = append(runs, *r)
	}
	return runs, nil
}

// runIDs lists the run ids from the latest started one, number 0, to number last; -1: all.
func (c *Cache) runIDs(ctx context.Context, last int64) ([]string, error) {
	ids, err := c.rdb.ZRangeArgs(ctx, redis.ZRangeArgs{Key: runsKey, Start: 0, Stop: last, Rev: true}).Result()
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return ids, nil
}

// unknownRun is ErrUnknownRun with suggested ids: those spelt alike, else the newest.
func (c *Cache) unknownRun(ctx context.Context, id string) error {
	ids, err := c.runIDs(ctx, 99)
	switch {
	case err != nil:
		return err
	case len(ids) == 0:
		return fmt.Errorf("%w: %q; there are no runs here: is this the --redis or --state of the run?", ErrUnknownRun, id)
	}
	if near := nearest(id, ids); len(near) > 0 {
		return fmt.Errorf("%w: %q; did you mean %s?", ErrUnknownRun, id, strings.Join(near, ", "))
	}
	return fmt.Errorf("%w: %q; the newest are %s", ErrUnknownRun, id, strings.Join(ids[:min(len(ids), 5)], ", "))
}

// nearest returns up to 3 of ids that continue id or differ from it by at most a third of it, the nearest
// first.
func nearest(id string, ids []string) []string {
	distance := make(map[string]int)
	for _, other := range ids {
		if d := editDistance(id, other); d <= max(1, len(id)/3) || id != "" && strings.HasPrefix(other, id) {
			distance[other] = d
		}
	}
	near := slices.DeleteFunc(slices.Clone(ids), func(other string) bool { _, ok := distance[other]; return !ok })
	slices.SortStableFunc(near, func(a, b string) int { return cmp.Compare(distance[a], distance[b]) })
	return near[:min(len(near), 3)]
}

// editDistance is Levenshtein's, in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
