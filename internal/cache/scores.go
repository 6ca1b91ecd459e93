package cache

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"stegomq/schemas"
)

// putFailures stores failures of comparisons that have no score, unless the run was started again after
// their attempt. KEYS: scores, failures, state; ARGV: the attempt, then field, score, field, score, ... Returns how many were new.
var putFailures = redis.NewScript(`
local attempt = tonumber(ARGV[1])
local started = tonumber(redis.call('HGET', KEYS[3], 'started') or '0')
if attempt > 0 and attempt < started then
  return 0
end
local added = 0
for i = 2, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then
    added = added + redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
return added`)

// PutScores stores scores with metrics, or with a refusal, and returns how many were new. An existing score with the same
// schemas.ScoreKey is not changed; a failure under the same key is removed. An invalid row, or one with a failure, is
// schemas.ErrInvalid, and then nothing is stored.
func (c *Cache) PutScores(ctx context.Context, run string, rows []*schemas.Score) (added int, err error) {
	for _, row := range rows {
		if end := row.End(); end != schemas.EndDone && end != schemas.EndRefused {
			return 0, fmt.Errorf("store scores of run %s: %s: %w: neither metrics nor a refusal", run, schemas.ScoreKey(row), schemas.ErrInvalid)
		}
	}
	fields, err := encodeRows("scores", run, rows)
	if err != nil {
		return 0, err
	}
	for part := range slices.Chunk(fields, chunk) {
		new := make([]*redis.BoolCmd, len(part))
		// In one transaction, so that nobody sees a score beside the failure that it replaces.
		_, err := c.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
			keys := make([]string, len(part))
			for i, f := range part {
				new[i], keys[i] = p.HSetNX(ctx, scoresKey(run), f.key, f.row), f.key
			}
			p.HDel(ctx, failuresKey(run), keys...)
			return nil
		})
		if err != nil {
			return added, fmt.Errorf("store scores of run %s: %w", run, err)
		}
		for _, n := range new {
			if n.Val() {
				added++
			}
		}
	}
	return added, nil
}

// PutFailures stores scores with a failure and returns how many were new. A failure is dropped if its comparison has
// metrics or a refusal already, and replaces an earlier failure. Failures of an earlier attempt (schemas.Job.attempt; 0:
// unknown) than the run's latest are dropped too, because their comparisons are being made again.
// An invalid row, or one without a failure, is schemas.ErrInvalid, and then nothing is stored.
func (c *Cache) PutFailures(ctx context.Context, run string, attempt int64, rows []*schemas.Score) (added int, err error) {
	for _, row := range rows {
		if row.End() != schemas.EndFailed {
			return 0, fmt.Errorf("store failures of run %s: %s: %w: no failure", run, schemas.ScoreKey(row), schemas.ErrInvalid)
		}
	}
	keys := []string{scoresKey(run), failuresKey(run), stateKey(run)}
	fields, err := encodeRows("failures", run, rows)
	if err != nil {
		return 0, err
	}
	for part := range slices.Chunk(fields, chunk) {
		args := append(make([]any, 0, 1+2*len(part)), attempt)
		for _, f := range part {
			args = append(args, f.key, f.row)
		}
		n, err := putFailures.Run(ctx, c.rdb, keys, args...).Int()
		if err != nil {
			return added, fmt.Errorf("store failures of run %s: %w", run, err)
		}
		added += n
	}
	return added, nil
}

// field is a row of a hash.
type field struct {
	key string
	row []byte
}

func encodeRows(what, run string, rows []*schemas.Score) ([]field, error) {
	fields := make([]field, len(rows))
	for i, row := range rows {
		data, err := schemas.Encode(row)
		if err != nil {
			return nil, fmt.Errorf("store %s of run %s: %s: %w", what, run, schemas.ScoreKey(row), err)
		}
		fields[i] = field{schemas.ScoreKey(row), data}
	}
	return fields, nil
}

// Progress counts the comparisons of a run that were made or refused, and those that failed; 0 and 0 for an unknown run.
func (c *Cache) Progress(ctx context.Context, run string) (scores, failures int64, err error) {
	var s, f *redis.IntCmd
	_, err = c.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		s, f = p.HLen(ctx, scoresKey(run)), p.HLen(ctx, failuresKey(run))
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("count scores of run %s: %w", run, err)
	}
	return s.Val(), f.Val(), nil
}

// Scores returns the comparisons of a run that were made or refused, and those that failed. Both are sorted by item, role,
// embed key, decode key and attack.
func (c *Cache) Scores(ctx context.Context, run string) (scores, failures []*schemas.Score, err error) {
	var s, f *redis.StringSliceCmd
	_, err = c.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		s, f = p.HVals(ctx, scoresKey(run)), p.HVals(ctx, failuresKey(run))
		return nil
	})
	if err == nil {
		scores, err = decodeScores(s.Val())
	}
	if err == nil {
		failures, err = decodeScores(f.Val())
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read scores of run %s: %w", run, err)
	}
	return scores, failures, nil
}

func decodeScores(values []string) ([]*schemas.Score, error) {
	scores := make([]*schemas.Score, len(values))
	var broken []error
	for i, v := range values {
		var err error
		if scores[i], err = schemas.DecodeScore([]byte(v)); err != nil {
			broken = append(broken, err)
		}
	}
	if len(broken) > 0 {
		return nil, fmt.Errorf("%d of %d do not decode, the first: %w", len(broken), len(values), broken[0])
	}
	slices.SortFunc(scores, func(a, b *schemas.Score) int {
		return cmp.Or(
			cmp.Compare(a.GetItem(), b.GetItem()),
			a.Role().Compare(b.Role()),
			cmp.Compare(a.GetEmbedKey(), b.GetEmbedKey()),
			cmp.Compare(a.GetDecodeKey(), b.GetDecodeKey()),
			cmp.Compare(a.GetAttack(), b.GetAttack()),
		)
	})
	return scores, nil
}

// Ended returns the score or the failure of each key (schemas.ScoreKey) of a run, in the order of the keys; nil if there is neither yet. It
// takes one round trip.
func (c *Cache) Ended(ctx context.Context, run string, keys []string) ([]*schemas.Score, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	var s, f *redis.SliceCmd
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		s, f = p.HMGet(ctx, scoresKey(run), keys...), p.HMGet(ctx, failuresKey(run), keys...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for scores of run %s: %w", run, err)
	}
	ended := make([]*schemas.Score, len(keys))
	for i := range keys {
		text, ok := s.Val()[i].(string)
		if !ok {
			if text, ok = f.Val()[i].(string); !ok {
				continue
			}
		}
		if ended[i], err = schemas.DecodeScore([]byte(text)); err != nil {
			return nil, fmt.Errorf("read a score of run %s: %w", run, err)
		}
	}
	return ended, nil
}
