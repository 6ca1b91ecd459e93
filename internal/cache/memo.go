package cache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	"stegomq/schemas"
)

// chunk bounds the rows of one pipeline, so that none holds the server for long.
const chunk = 500

// Memo counts this process's look-ups of memos of one kind.
type Memo struct{ Hits, Misses int64 }

// Stats counts the look-ups since the Cache was opened.
type Stats struct{ Outputs, Metrics, Inspections Memo }

type counter struct{ hits, misses atomic.Int64 }

func (c *counter) memo() Memo { return Memo{Hits: c.hits.Load(), Misses: c.misses.Load()} }

// Stats returns the counts of this process.
func (c *Cache) Stats() Stats {
	return Stats{Outputs: c.outputs.memo(), Metrics: c.metrics.memo(), Inspections: c.inspections.memo()}
}

// NoteRuntime records the name of a worker's runtime (schemas.RunSpec.runtime) when the worker starts. Planning work for workers in other
// processes needs it, because memos are for one runtime.
func (c *Cache) NoteRuntime(ctx context.Context, name string) error {
	if err := c.rdb.Set(ctx, runtimeKey, name, 0).Err(); err != nil {
		return fmt.Errorf("note the runtime: %w", err)
	}
	return nil
}

// Runtime is the name that was recorded last; empty if there is none.
func (c *Cache) Runtime(ctx context.Context) (string, error) {
	name, err := c.rdb.Get(ctx, runtimeKey).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("look for the workers' runtime: %w", err)
	}
	return name, nil
}

// TraceKey is a key of 32 bytes, the same for all users of this Redis. The first call makes it.
func (c *Cache) TraceKey(ctx context.Context) ([]byte, error) {
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // never fails
	if err := c.rdb.SetNX(ctx, traceKey, fresh, 0).Err(); err != nil {
		return nil, fmt.Errorf("make the key of traces: %w", err)
	}
	key, err := c.rdb.Get(ctx, traceKey).Bytes()
	if err != nil {
		return nil, fmt.Errorf("get the key of traces: %w", err)
	}
	return key, nil
}

// Outcomes returns the remembered outcome of each id (schemas.MemoID), in the order of the ids: an output or a refusal,
// without an item; nil if there is none. It takes one round trip. An output's blobs may be gone by now.
func (c *Cache) Outcomes(ctx context.Context, ids []string) ([]*schemas.Outcome, error) {
	return recall(ctx, c, "outcomes", &c.outputs, ids, outputKey, decodeOutcome)
}

// FirstOutcomes stores outcomes, by schemas.MemoID, if none are remembered, and returns the remembered ones: if several workers do the same work
// at the same time, the first one wins. It is for the items of one job.
func (c *Cache) FirstOutcomes(ctx context.Context, outcomes map[string]*schemas.Outcome) (before map[string]*schemas.Outcome, err error) {
	if len(outcomes) == 0 {
		return nil, nil
	}
	data := make(map[string][]byte, len(outcomes))
	for id, o := range outcomes {
		if data[id], err = encodeOutcome(o); err != nil {
			return nil, fmt.Errorf("remember outcomes %s: %w", id, err)
		}
	}
	// For each key the first writer wins. This uses no script, which would take longer than all commands of a job.
	set, there := make(map[string]*redis.BoolCmd, len(data)), make(map[string]*redis.StringCmd, len(data))
	_, err = c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for id, value := range data {
			set[id], there[id] = p.SetNX(ctx, outputKey(id), value, c.keepFor()), p.Get(ctx, outputKey(id))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("remember outcomes: %w", err)
	}
	before = make(map[string]*schemas.Outcome)
	for id, value := range there {
		if set[id].Err() != nil && !errors.Is(set[id].Err(), redis.Nil) {
			return nil, fmt.Errorf("remember outcomes: %w", set[id].Err())
		}
		if set[id].Val() || errors.Is(value.Err(), redis.Nil) { // or it expired in between
			continue
		}
		if value.Err() != nil {
			return nil, fmt.Errorf("remember outcomes: %w", value.Err())
		}
		o, err := decodeOutcome([]byte(value.Val()))
		if err != nil {
			o = new(schemas.Outcome) // as good as none
		}
		before[id] = o
	}
	return before, nil
}

// RememberOutcomes stores outcomes, by schemas.MemoID: outputs and refusals. A failed outcome is an error.
func (c *Cache) RememberOutcomes(ctx context.Context, outcomes map[string]*schemas.Outcome) error {
	return keep(ctx, c, "outcomes", outcomes, outputKey, encodeOutcome)
}

// encodeOutcome encodes an output as an Output, and a refusal as an Outcome, whose field no Output has. So memos from before
// refusals existed can still be read.
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

// Metrics returns the remembered metrics of each id (schemas.MetricsID), in the order of the ids; nil if
// there are none. It takes one round trip.
func (c *Cache) Metrics(ctx context.Context, ids []string) ([]*schemas.Metrics, error) {
	return recall(ctx, c, "metrics", &c.metrics, ids, metricsKey, func(data []byte) (*schemas.Metrics, error) {
		m := new(schemas.Metrics)
		return m, proto.Unmarshal(data, m)
	})
}

// RememberMetrics stores measured metrics, by id.
func (c *Cache) RememberMetrics(ctx context.Context, metrics map[string]*schemas.Metrics) error {
	return keep(ctx, c, "metrics", metrics, metricsKey, func(m *schemas.Metrics) ([]byte, error) {
		if m == nil {
			return nil, errors.New("there are none")
		}
		return proto.Marshal(m)
	})
}

var errNotToRemember = errors.New("it is neither an output nor a refusal")

// recall reads memos of one kind. An undecodable memo counts as missing: it is made again.
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

// keepFor is the lifetime of memos.
func (c *Cache) keepFor() time.Duration { return max(c.lifetime, time.Millisecond) }

// keep stores memos of one kind, all with the cache's lifetime.
func keep[V any](ctx context.Context, c *Cache, kind string, values map[string]V, key func(string) string, encode func(V) ([]byte, error)) error {
	p := c.rdb.Pipeline()
	flush := func() error {
		if _, err := p.Exec(ctx); err != nil { // without commands it does nothing
			return fmt.Errorf("remember %s: %w", kind, err)
		}
		return nil
	}
	for id, v := range values {
		data, err := encode(v)
		if err != nil {
			return fmt.Errorf("remember %s %s: %w", kind, id, err)
		}
		p.Set(ctx, key(id), data, c.keepFor())
		if p.Len() == chunk {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
