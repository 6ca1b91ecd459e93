package blob

import (
	"context"
	"log/slog"
	"testing"

	"stegomq/internal/link"
	"stegomq/internal/natsserver"
	"stegomq/internal/streams"
	"stegomq/internal/testrig/natsrig"
)

func BenchmarkBlobs(b *testing.B) {
	const size = 400 << 10
	directory, err := OpenDirectory(b.TempDir(), 0)
	if err != nil {
		b.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	all := natsrig.Streams(b, link.Config{Server: natsrig.Start(b, natsserver.Config{Logger: quiet}), Logger: quiet}, streams.Config{})
	for name, store := range map[string]Store{"stream": OnStreams(all.Link, all.BlobLifetime()), "directory": directory} {
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
