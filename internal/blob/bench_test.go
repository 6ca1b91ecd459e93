package blob

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"stegomq/internal/link"
	"stegomq/internal/natsserver"
	"stegomq/internal/streams"
	"stegomq/internal/testrig/natsrig"
)

func BenchmarkBlobs(b *testing.B) {
	for _, size := range []int{800, 30 << 10, 400 << 10} {
		b.Run(fmt.Sprintf("%d bytes", size), func(b *testing.B) { benchmarkBlobs(b, size) })
	}
}

func benchmarkBlobs(b *testing.B, size int) {
	directory, err := OpenDirectory(b.TempDir(), 0)
	if err != nil {
		b.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	all := natsrig.Streams(b, link.Config{Server: natsrig.Start(b, natsserver.Config{Logger: quiet}), Logger: quiet}, streams.Config{})
	for name, store := range map[string]Store{"stream": OnStreams(all.Link, all.BlobLifetime()), "directory": directory} {
		b.Run(name+"/put", func(b *testing.B) {
			data := noise(1, size)
			b.SetBytes(int64(size))
			for i := range b.N {
				data[0], data[1], data[2] = byte(i), byte(i>>8), byte(i>>16)
				mustPut(b, store, data)
			}
		})
		digest := mustPut(b, store, noise(2, size))
		b.Run(name+"/put again", func(b *testing.B) {
			data := noise(2, size)
			b.SetBytes(int64(size))
			for range b.N {
				mustPut(b, store, data)
			}
		})
		b.Run(name+"/get", func(b *testing.B) {
			b.SetBytes(int64(size))
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
