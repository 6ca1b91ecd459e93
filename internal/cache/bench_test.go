package cache

import (
	"fmt"
	"testing"

	"stegomq/schemas"
)

func benchmarkServers(b *testing.B, run func(b *testing.B, c *Cache)) {
	b.Run("redis-server", func(b *testing.B) {
		s, err := startRedis()
		if err != nil {
			b.Fatal(err)
		}
		defer s.stop()
		c, err := Open(b.Context(), "unix://"+s.path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		run(b, c)
	})
	b.Run("embedded", func(b *testing.B) {
		c, err := OpenEmbedded(b.Context(), b.TempDir(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		run(b, c)
	})
}

// A job's worth of look-ups, all found.
func BenchmarkOutputs64(b *testing.B) {
	benchmarkServers(b, func(b *testing.B, c *Cache) {
		ids, values := make([]string, schemas.MaxItems), make(map[string]*schemas.Outcome)
		for i := range ids {
			ids[i] = fmt.Sprintf("%032x", i)
			values[ids[i]] = output(&schemas.Output{Image: digest("a")})
		}
		if err := c.RememberOutcomes(b.Context(), values); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := c.Outcomes(b.Context(), ids); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A result's worth of scores, half of them new.
func BenchmarkPutScores64(b *testing.B) {
	benchmarkServers(b, func(b *testing.B, c *Cache) {
		rows := make([]*schemas.Score, schemas.MaxItems)
		for i := 0; b.Loop(); i++ {
			for j := range rows {
				rows[j] = measured(fmt.Sprint(i*len(rows)/2+j), 1)
			}
			if _, err := c.PutScores(b.Context(), "r", rows); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Start and stop of an empty embedded server.
func BenchmarkOpenEmbedded(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		c, err := OpenEmbedded(b.Context(), dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Outcomes(b.Context(), []string{"w"}); err != nil {
			b.Fatal(err)
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
