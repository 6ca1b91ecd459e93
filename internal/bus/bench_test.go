package bus

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"stegomq/schemas"
)

func quietBus(b *testing.B) *Bus {
	quiet := slog.New(slog.DiscardHandler)
	s, err := StartServer(ServerConfig{StoreDir: b.TempDir(), Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Shutdown)
	return open(b, Config{Server: s, Logger: quiet})
}

// BenchmarkPublishJobs publishes jobs of one item from eight goroutines.
func BenchmarkPublishJobs(b *testing.B) {
	bus := quietBus(b)
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := int(n.Add(1))
			if err := bus.PublishJob(context.Background(), testJob("run", fmt.Sprintf("key-%d", i%16), i)); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// BenchmarkConsumeJobs drains jobs of 16 keys with handlers that do nothing, so that all of the time is
// pulling and settling. pulls/job is the overhead of looking for work; 1/slots is the least.
func BenchmarkConsumeJobs(b *testing.B) {
	for _, slots := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("slots=%d", slots), func(b *testing.B) {
			bus := quietBus(b)
			for i := range b.N {
				if err := bus.PublishJob(context.Background(), testJob("run", fmt.Sprintf("key-%d", i%16), i)); err != nil {
					b.Fatal(err)
				}
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			all := make(chan struct{})
			b.ResetTimer()
			c := consumeJobs(b, bus, "one", slots, func(context.Context, *schemas.Job) error {
				if left.Add(-1) == 0 {
					close(all)
				}
				return nil
			})
			<-all
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
			b.ReportMetric(float64(bus.Stats().Pulls)/float64(b.N), "pulls/job")
			if err := c.stop(); err != nil {
				b.Error(err)
			}
		})
	}
}

// BenchmarkRoundTrip is the time from PublishJob to the handler of an idle worker, and back.
func BenchmarkRoundTrip(b *testing.B) {
	bus := quietBus(b)
	got := make(chan struct{}, 1)
	consumeJobs(b, bus, "one", 1, func(context.Context, *schemas.Job) error { got <- struct{}{}; return nil })
	b.ResetTimer()
	for i := range b.N {
		if err := bus.PublishJob(context.Background(), testJob("run", "alice", i)); err != nil {
			b.Fatal(err)
		}
		<-got
	}
	b.ReportMetric(float64(bus.Stats().Pulls)/float64(b.N), "pulls/job")
}

func BenchmarkBlobs(b *testing.B) {
	const size = 400 << 10
	directory, err := OpenDirectory(b.TempDir(), 0)
	if err != nil {
		b.Fatal(err)
	}
	for name, store := range map[string]BlobStore{"stream": quietBus(b).Blobs(), "directory": directory} {
		b.Run(name+"/put", func(b *testing.B) {
			data := noise(1, size)
			b.SetBytes(size)
			for i := range b.N {
				data[0], data[1], data[2] = byte(i), byte(i>>8), byte(i>>16)
				mustPut(b, store, data)
			}
		})
		digest := mustPut(b, store, noise(2, size))
		b.Run(name+"/put again", func(b *testing.B) {
			data := noise(2, size)
			b.SetBytes(size)
			for range b.N {
				mustPut(b, store, data)
			}
		})
		b.Run(name+"/get", func(b *testing.B) {
			b.SetBytes(size)
			for range b.N {
				if _, err := store.Get(context.Background(), digest); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/has", func(b *testing.B) {
			for range b.N {
				has(b, store, digest)
			}
		})
	}
}

// BenchmarkStart is what a command that starts its own server pays: the server, the streams, and the end.
func BenchmarkStart(b *testing.B) {
	quiet := slog.New(slog.DiscardHandler)
	for range b.N {
		s, err := StartServer(ServerConfig{StoreDir: b.TempDir(), Logger: quiet})
		if err != nil {
			b.Fatal(err)
		}
		bus, err := Open(context.Background(), Config{Server: s, Logger: quiet})
		if err != nil {
			b.Fatal(err)
		}
		if err := bus.Close(); err != nil {
			b.Fatal(err)
		}
		s.Shutdown()
	}
}
