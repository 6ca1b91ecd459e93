package streams_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"stegomq/internal/link"
	"stegomq/internal/natsserver"
	"stegomq/internal/streams"
	"stegomq/internal/testrig/natsrig"
	"stegomq/schemas"
)

func TestMain(m *testing.M) { natsrig.Main(m) }

func configOf(t testing.TB, l *link.Link, stream string) jetstream.StreamConfig {
	t.Helper()
	s, err := l.JS.Stream(natsrig.Context(t), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().Config
}

func TestOpenWithoutJetStream(t *testing.T) {
	t.Parallel()
	l := natsrig.Dial(t, link.Config{URL: "nats://" + natsrig.Configured(t, "")})
	if _, err := streams.Open(natsrig.Context(t), l, streams.Config{}); !errors.Is(err, link.ErrNoJetStream) {
		t.Errorf("error %v, want ErrNoJetStream", err)
	}
}

func TestOpenTogether(t *testing.T) {
	t.Parallel()
	s := natsrig.Server(t, "127.0.0.1:0")
	var wg sync.WaitGroup
	for range 8 {
		l := natsrig.Dial(t, link.Config{URL: s.URL(), Secret: natsrig.Secret})
		wg.Go(func() {
			if _, err := streams.Open(natsrig.Context(t), l, streams.Config{}); err != nil {
				t.Errorf("Open: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestSettings(t *testing.T) {
	t.Parallel()
	to := link.Config{Server: natsrig.Server(t, "")}
	l := natsrig.Streams(t, to, streams.Config{}).Link
	jobs := configOf(t, l, natsrig.Interactive)
	if jobs.Retention != jetstream.WorkQueuePolicy || jobs.Discard != jetstream.DiscardNew || jobs.MaxBytes != 1<<30 {
		t.Errorf("JOBS: %+v", jobs)
	}
	if results := configOf(t, l, schemas.ResultStream(schemas.MainTenant)); results.Retention != jetstream.LimitsPolicy || results.MaxAge != 24*time.Hour {
		t.Errorf("RESULTS: %+v", results)
	}
	changed := natsrig.Streams(t, to, streams.Config{MaxJobBytes: 1 << 20, BlobLifetime: time.Hour})
	natsrig.Streams(t, to, streams.Config{})                                                        // says nothing, so keeps what is there
	natsrig.Streams(t, to, streams.Config{MaxJobBytes: 2 << 20, BlobLifetime: 1, KeepStored: true}) // may not change it
	if got := configOf(t, l, natsrig.Interactive).MaxBytes; got != 1<<20 || changed.QueueBytes() != got {
		t.Errorf("JOBS holds %d bytes", got)
	}
	if got := configOf(t, l, schemas.BlobStream(schemas.MainTenant)); got.MaxAge != time.Hour || changed.BlobLifetime() != time.Hour {
		t.Errorf("BLOBS keeps %v", got.MaxAge)
	}
}

func TestConflict(t *testing.T) {
	t.Parallel()
	to := link.Config{Server: natsrig.Server(t, "")}
	l, ctx := natsrig.Streams(t, to, streams.Config{}).Link, natsrig.Context(t)
	if err := l.JS.DeleteStream(ctx, natsrig.Interactive); err != nil {
		t.Fatal(err)
	}
	if _, err := l.JS.CreateStream(ctx, jetstream.StreamConfig{Name: natsrig.Interactive, Subjects: []string{"job.interactive.>"}}); err != nil {
		t.Fatal(err)
	}
	_, err := streams.Open(ctx, natsrig.Dial(t, to), streams.Config{})
	if !errors.Is(err, streams.ErrStreamConflict) || !strings.Contains(err.Error(), natsrig.Interactive) {
		t.Errorf("error %v, want ErrStreamConflict with the name of the stream", err)
	}
}

func TestAnotherHasTheSubjects(t *testing.T) {
	t.Parallel()
	l, ctx := natsrig.Dial(t, link.Config{Server: natsrig.Server(t, "")}), natsrig.Context(t)
	if _, err := l.JS.CreateStream(ctx, jetstream.StreamConfig{Name: "JOBS", Subjects: []string{"job.>"}}); err != nil {
		t.Fatal(err)
	}
	_, err := streams.Open(ctx, l, streams.Config{})
	if !errors.Is(err, streams.ErrStreamConflict) || !strings.Contains(err.Error(), "job.") {
		t.Errorf("error %v, want ErrStreamConflict with the subjects", err)
	}
}

func TestOpenWithoutStorage(t *testing.T) {
	t.Parallel()
	s := natsrig.Start(t, natsserver.Config{MaxStore: 1 << 20})
	if _, err := streams.Open(natsrig.Context(t), natsrig.Dial(t, link.Config{Server: s}), streams.Config{}); !errors.Is(err, streams.ErrNoStorage) {
		t.Errorf("error %v, want ErrNoStorage", err)
	}
}

// TestMadeAgainAfterAReconnection has the server come back with an empty store.
func TestMadeAgainAfterAReconnection(t *testing.T) {
	t.Parallel()
	first, err := natsserver.Start(natsserver.Config{StoreDir: t.TempDir(), Listen: natsrig.Again, Secret: natsrig.Secret, Logger: natsrig.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(first.URL(), "nats://")
	s := natsrig.Streams(t, link.Config{URL: first.URL(), Secret: natsrig.Secret}, streams.Config{})
	first.Shutdown()
	second := natsrig.Start(t, natsserver.Config{Listen: address})
	natsrig.Eventually(t, "the streams", func() bool { _, err := s.List(natsrig.Context(t)); return err == nil })
	if err := s.Link.Close(); err != nil { // before its server
		t.Error(err)
	}
	second.Shutdown()
}
