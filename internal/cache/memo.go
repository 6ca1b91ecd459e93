package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	"stegomq/schemas"
)

// chunk bounds the rows of one script call, so that no call holds the server for long.
const chunk = 500

// remember stores each value with one lifetime. KEYS: the keys; ARGV: the lifetime in ms, the values.
var remember = redis.NewScript(`
for i, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1])
end
return #KEYS`)

// first stores each value with one lifetime where there is none, and returns what there is. KEYS: the keys; ARGV: the lifetime
// in ms, the values.
var first = redis.NewScript(`
local there = {}
for i, key in ipairs(KEYS) do
  there[i] = redis.call('GET', key)
  if not there[i] then
    redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1])
  end
end
return there`)

// Memo counts what this process looked for among memos of one kind.
type Memo struct{ Hits, Misses int64 }

// Stats counts the memos looked for since the Cache was opened.
type Stats struct{ Outputs, Metrics, Inspections Memo }

type counter struct{ hits, misses atomic.Int64 }

func (c *counter) memo() Memo { return Memo{Hits: c.hits.Load(), Misses: c.misses.Load()} }

// Stats returns the counts of this process.
func (c *Cache) Stats() Stats {
	return Stats{Outputs: c.outputs.memo(), Metrics: c.metrics.memo(), Inspections: c.inspections.memo()}
}

// NoteRuntime keeps the name of what computes networks at a worker that starts (schemas.RunSpec.runtime), and Runtime gives that of the last: who
// plans the work of workers elsewhere looks for what it has made. Empty where no such worker has started.
func (c *Cache) NoteRuntime(ctx context.Context, name string) error {
	if err := c.rdb.Set(ctx, runtimeKey, name, 0).Err(); err != nil {
		return fmt.Errorf("note the runtime: %w", err)
	}
	return nil
}

// Runtime is described at NoteRuntime.
func (c *Cache) Runtime(ctx context.Context) (string, error) {
	name, err := c.rdb.Get(ctx, runtimeKey).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("look for the workers' runtime: %w", err)
	}
	return name, nil
}

// Outcomes returns how the work of each id (schemas.MemoID) ended before, in the order of the ids: an output or a refusal,
// and no item; nil where nothing is remembered. It takes one round trip. An output's blobs may be gone by now.
func (c *Cache) Outcomes(ctx context.Context, ids []string) ([]*schemas.Outcome, error) {
	return recall(ctx, c, "outcomes", &c.outputs, ids, outputKey, decodeOutcome)
}

// FirstOutcomes stores how work ended, by schemas.MemoID, where nothing is remembered, and returns what others have remembered before:
// of workers that do the same work at a time, the first one wins. It is for the items of one job.
func (c *Cache) FirstOutcomes(ctx context.Context, outcomes map[string]*schemas.Outcome) (before map[string]*schemas.Outcome, err error) {
	if len(outcomes) == 0 {
		return nil, nil
	}
	ids := slices.Sorted(maps.Keys(outcomes))
	keys, args := make([]string, len(ids)), []any{c.lifetimeArgument()}
	for i, id := range ids {
		data, err := encodeOutcome(outcomes[id])
		if err != nil {
			return nil, fmt.Errorf("remember outcomes %s: %w", id, err)
		}
		keys[i], args = outputKey(id), append(args, data)
	}
	there, err := first.Run(ctx, c.rdb, keys, args...).Slice()
	if err != nil {
		return nil, fmt.Errorf("remember outcomes: %w", err)
	}
	before = make(map[string]*schemas.Outcome)
	for i, value := range there {
		if text, ok := value.(string); ok {
			o, err := decodeOutcome([]byte(text))
			if err != nil {
				o = new(schemas.Outcome) // as good as none
			}
			before[ids[i]] = o
		}
	}
	return before, nil
}

// RememberOutcomes stores how work ended, by schemas.MemoID: with an output, or refused. One that failed is an error.
func (c *Cache) RememberOutcomes(ctx context.Context, outcomes map[string]*schemas.Outcome) error {
	return keep(ctx, c, "outcomes", outcomes, outputKey, encodeOutcome)
}

// encodeOutcome writes an output as it is, and a refusal as an Outcome, whose field no Output has: what was remembered
// before there were refusals reads as it did.
func encodeOutcome(o *schemas.Outcome) ([]byte, error) {
	switch o.End() {
	case schemas.EndDone:
		return proto.Marshal(o.GetOutput())
	case schemas.EndRefused:
		return proto.Marshal(&schemas.Outcome{Refusal: o.GetRefusal()})
	}
	return nil, errNotToRemember
}

func decodeOutcome(data []byte) (*schemas.Outcome, error) {
	out := new(schemas.Output)
	if err := proto.Unmarshal(data, out); err != nil {
		return nil, err
	}
	if len(out.ProtoReflect().GetUnknown()) == 0 {
		return &schemas.Outcome{Output: out}, nil
	}
	o := new(schemas.Outcome)
	if err := proto.Unmarshal(data, o); err != nil {
		return nil, err
	}
	if o.End() != schemas.EndRefused {
		return nil, errNotToRemember
	}
	return o, nil
}

// Metrics returns the metrics that each id (schemas.MetricsID) was measured to have, in the order of the
// ids; nil where nothing is remembered. It takes one round trip.
func (c *Cache) Metrics(ctx context.Context, ids []string) ([]*schemas.Metrics, error) {
	return recall(ctx, c, "metrics", &c.metrics, ids, metricsKey, func(data []byte) (*schemas.Metrics, error) {
		m := new(schemas.Metrics)
		return m, proto.Unmarshal(data, m)
	})
}

// RememberMetrics stores measured metrics, by id.
func (c *Cache) RememberMetrics(ctx context.Context, metrics map[string]*schemas.Metrics) error {
	return keep(ctx, c, "metrics", metrics, metricsKey, marshal)
}

var (
	errNil           = errors.New("the value is nil")
	errNotToRemember = errors.New("it is neither an output nor a refusal")
)

func marshal[M interface {
	comparable
	proto.Message
}](m M) ([]byte, error) {
	var none M
	if m == none {
		return nil, errNil
	}
	return proto.Marshal(m)
}

// recall reads memos of one kind. One that does not decode is as good as none: it is made again.
func recall[V any](ctx context.Context, c *Cache, kind string, count *counter, ids []string, key func(string) string, decode func([]byte) (*V, error)) ([]*V, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = key(id)
	}
	found, err := c.rdb.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, fmt.Errorf("read remembered %s: %w", kind, err)
	}
	values := make([]*V, len(ids))
	hits := 0
	for i, f := range found {
		text, ok := f.(string)
		if !ok {
			continue
		}
		if v, err := decode([]byte(text)); err == nil {
			values[i] = v
			hits++
		}
	}
	count.hits.Add(int64(hits))
	count.misses.Add(int64(len(ids) - hits))
	return values, nil
}

func (c *Cache) lifetimeArgument() string {
	return strconv.FormatInt(max(c.lifetime.Milliseconds(), 1), 10)
}

// keep stores memos of one kind, all with the cache's lifetime.
func keep[V any](ctx context.Context, c *Cache, kind string, values map[string]V, key func(string) string, encode func(V) ([]byte, error)) error {
	lifetime := c.lifetimeArgument()
	keys := make([]string, 0, min(len(values), chunk))
	args := append(make([]any, 0, cap(keys)+1), lifetime)
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		if err := remember.Run(ctx, c.rdb, keys, args...).Err(); err != nil {
			return fmt.Errorf("remember %s: %w", kind, err)
		}
		keys, args = keys[:0], args[:1]
		return nil
	}
	for id, v := range values {
		data, err := encode(v)
		if err != nil {
			return fmt.Errorf("remember %s %s: %w", kind, id, err)
		}
		keys, args = append(keys, key(id)), append(args, data)
		if len(keys) == chunk {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
