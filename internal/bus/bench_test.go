package bus

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"stegomq/internal/link"
	"stegomq/internal/natsserver"
	"stegomq/internal/streams"
	"stegomq/internal/testrig/natsrig"
	"stegomq/schemas"
)

func quietBus(b *testing.B) *Bus {
	quiet := slog.New(slog.DiscardHandler)
	return open(b, settings{Link: link.Config{Server: natsrig.Start(b, natsserver.Config{Logger: quiet}), Logger: quiet}})
}

// BenchmarkPublishJobs publishes jobs of one item from eight goroutines.
func BenchmarkPublishJobs(b *testing.B) {
	bus := quietBus(b)
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := int(n.Add(1))
			if err := bus.PublishJob(context.Background(), natsrig.Job("run", fmt.Sprintf("key-%d", i%16), i)); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// BenchmarkConsumeJobs drains jobs of 16 keys with handlers that do nothing, so that all of the time is
// pulling and settling. sent/job counts the messages to the server: acknowledgements and pulls.
func BenchmarkConsumeJobs(b *testing.B) {
	for _, slots := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("slots=%d", slots), func(b *testing.B) {
			bus := quietBus(b)
			for i := range b.N {
				if err := bus.PublishJob(context.Background(), natsrig.Job("run", fmt.Sprintf("key-%d", i%16), i)); err != nil {
					b.Fatal(err)
				}
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			all := make(chan struct{})
			sent := bus.link.NC.Stats().OutMsgs
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
			b.ReportMetric(float64(bus.link.NC.Stats().OutMsgs-sent)/float64(b.N), "sent/job")
			if err := c.Stop(); err != nil {
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
	sent := bus.link.NC.Stats().OutMsgs
	b.ResetTimer()
	for i := range b.N {
		if err := bus.PublishJob(context.Background(), natsrig.Job("run", "alice", i)); err != nil {
			b.Fatal(err)
		}
		<-got
	}
	b.ReportMetric(float64(bus.link.NC.Stats().OutMsgs-sent)/float64(b.N), "sent/job")
}

// BenchmarkStart is the overhead of a command with its own server: starting the server and the streams, and stopping.
func BenchmarkStart(b *testing.B) {
	quiet := slog.New(slog.DiscardHandler)
	for range b.N {
		s, err := natsserver.Start(natsserver.Config{StoreDir: b.TempDir(), Logger: quiet})
		if err != nil {
			b.Fatal(err)
		}
		l, err := link.Dial(context.Background(), link.Config{Server: s, Logger: quiet})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := streams.Open(context.Background(), l, streams.Config{}); err != nil {
			b.Fatal(err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		s.Shutdown()
	}
}
