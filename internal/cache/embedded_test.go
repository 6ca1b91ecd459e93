package cache

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stegomq/schemas"
)

// fill stores one of everything.
func fill(t *testing.T, c *Cache) {
	t.Helper()
	ctx := t.Context()
	_, errRun := c.StartRun(ctx, testSpec("run-1"))
	_, errScores := c.PutScores(ctx, "run-1", []*schemas.Score{measured("i1", 1), refusedScore("i3")})
	_, errFailures := c.PutFailures(ctx, "run-1", 0, []*schemas.Score{failed("i2", "gone")})
	if err := errors.Join(errRun, errScores, errFailures,
		c.RememberOutcomes(ctx, map[string]*schemas.Outcome{"w": output(&schemas.Output{Image: digest("e")}), "refused": refused("no")}),
		c.RememberMetrics(ctx, map[string]*schemas.Metrics{"m": {Psnr: 30}}),
		c.RememberInspected(ctx, []string{"d"}, "limits"),
	); err != nil {
		t.Fatal(err)
	}
}

// expectFilled checks that what fill stored is there.
func expectFilled(t *testing.T, c *Cache) {
	t.Helper()
	ctx := t.Context()
	r, err := c.Run(ctx, "run-1")
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(r.Spec, testSpec("run-1")) || r.Attempt != 1 || r.Started.IsZero() {
		t.Errorf("run = %+v", r)
	}
	if runs, err := c.Runs(ctx); err != nil || len(runs) != 1 {
		t.Errorf("runs = %v, %v", runs, err)
	}
	scores, failures, err := c.Scores(ctx, "run-1")
	if err != nil || len(scores) != 2 || len(failures) != 1 || !proto.Equal(scores[0], measured("i1", 1)) || !proto.Equal(scores[1], refusedScore("i3")) || !proto.Equal(failures[0], failed("i2", "gone")) {
		t.Errorf("scores = %v, %v, %v", scores, failures, err)
	}
	o, errO := c.Outcomes(ctx, []string{"w", "refused"})
	m, errM := c.Metrics(ctx, []string{"m"})
	good, errI := c.Inspected(ctx, []string{"d"}, "limits")
	if err := errors.Join(errO, errM, errI); err != nil {
		t.Fatal(err)
	}
	if o[0].GetOutput().GetImage() != digest("e") || !proto.Equal(o[1], refused("no")) || m[0].GetPsnr() != 30 || !good[0] {
		t.Errorf("memos = %v, %v, %v", o, m, good)
	}
}

func TestEmbeddedKeeps(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "state")
	c := mustOpenEmbedded(t, dir, Options{})
	if c.URL() != "" {
		t.Errorf("a server that does not listen has the URL %q", c.URL())
	}
	fill(t, c)
	mustClose(t, c)
	for name, mode := range map[string]os.FileMode{".": 0o700, snapshotName: 0o600, lockName: 0o600} {
		if s, err := os.Stat(filepath.Join(dir, name)); err != nil || s.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	again := mustOpenEmbedded(t, dir, Options{})
	expectFilled(t, again)
	// What came from the file can be changed like anything else.
	if n, err := again.PutScores(t.Context(), "run-1", []*schemas.Score{measured("i1", 9), measured("i2", 2)}); n != 1 || err != nil {
		t.Errorf("stored %d, %v", n, err)
	}
	mustClose(t, again)
	third := mustOpenEmbedded(t, dir, Options{})
	expectProgress(t, third, "run-1", 3, 0)
}

// What another process writes is kept as well.
func TestEmbeddedKeepsWhatOthersWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := mustOpenEmbedded(t, dir, Options{Listen: "127.0.0.1:0"})
	fill(t, mustOpen(t, c.URL(), Options{Secret: testSecret}))
	mustClose(t, c)
	expectFilled(t, mustOpenEmbedded(t, dir, Options{}))
}

// A process that is killed loses nothing that the ticker stored.
func TestEmbeddedKeepsWithoutClose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := openEmbedded(t.Context(), dir, Options{}, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, c) })
	fill(t, c)
	writes := c.embedded.writes.Load()
	copied := t.TempDir() // the files as a crash would leave them
	eventually(t, "a snapshot of everything", func() bool {
		data, err := os.ReadFile(filepath.Join(dir, snapshotName))
		if err != nil || !bytes.Contains(data, []byte(inspectedKey("limits")("d"))) {
			return false
		}
		return os.WriteFile(filepath.Join(copied, snapshotName), data, 0o600) == nil
	})
	expectFilled(t, mustOpenEmbedded(t, copied, Options{}))
	if n := c.embedded.writes.Load(); n != writes {
		t.Errorf("%d writes were counted while nobody wrote", n-writes)
	}
}

func TestEmbeddedStoresOnlyChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := mustOpenEmbedded(t, dir, Options{})
	e, now, path := c.embedded, time.Now(), filepath.Join(dir, snapshotName)
	tick := func() (stored bool) {
		t.Helper()
		now = now.Add(saveInterval)
		_ = os.Remove(path)
		e.tick(now)
		_, err := os.Stat(path)
		return err == nil
	}
	if tick() {
		t.Error("an empty cache was stored")
	}
	fill(t, c)
	if !tick() {
		t.Error("changes were not stored")
	}
	if s, err := c.Status(t.Context()); err != nil || s.Memory == 0 || !s.Embedded {
		t.Errorf("status = %+v, %v", s, err)
	}
	expectFilled(t, c) // reads everything
	if tick() {
		t.Error("reading counts as a change")
	}
	if err := c.FinishRun(t.Context(), "run-1"); err != nil {
		t.Fatal(err)
	}
	e.earliest = now.Add(2 * saveInterval) // the last one took long
	if tick() {
		t.Error("stored again too early")
	}
	if !tick() {
		t.Error("not stored when the time had come")
	}
}

func TestEmbeddedExpires(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := mustOpenEmbedded(t, dir, Options{Lifetime: time.Hour})
	fill(t, c)
	found := func(c *Cache) bool {
		t.Helper()
		o, err := c.Outcomes(t.Context(), []string{"w"})
		if err != nil {
			t.Fatal(err)
		}
		return o[0] != nil
	}
	start := time.Now()
	c.embedded.tick(start.Add(59 * time.Minute))
	if !found(c) {
		t.Error("gone before its time")
	}
	c.embedded.tick(start.Add(61 * time.Minute))
	if found(c) {
		t.Error("there after its time")
	}
	expectProgress(t, c, "run-1", 2, 1) // scores stay
	mustClose(t, c)

	// Time passes while no process runs, too.
	for elapsed, want := range map[time.Duration]bool{59 * time.Minute: true, 61 * time.Minute: false} {
		dir := t.TempDir()
		c := mustOpenEmbedded(t, dir, Options{Lifetime: time.Hour})
		fill(t, c)
		if _, err := writeSnapshot(dir, c.embedded.db, time.Now().Add(-elapsed)); err != nil {
			t.Fatal(err)
		}
		c.embedded.writes.Store(0) // so that Close leaves that snapshot
		mustClose(t, c)
		again := mustOpenEmbedded(t, dir, Options{})
		if found(again) != want {
			t.Errorf("an hour's memo after %v: found %v", elapsed, !want)
		}
		if ttl := again.rdb.PTTL(t.Context(), outputKey("w")).Val(); want && (ttl <= 0 || ttl > time.Minute) {
			t.Errorf("a memo with a minute left has %v", ttl)
		}
		expectProgress(t, again, "run-1", 2, 1)
	}
}

func TestEmbeddedLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := mustOpenEmbedded(t, dir, Options{})
	for range 2 {
		_, err := OpenEmbedded(t.Context(), dir, Options{})
		if !errors.Is(err, ErrLocked) {
			t.Fatalf("opened twice: %v", err)
		}
		for _, w := range []string{dir, fmt.Sprintf("process %d ", os.Getpid()), "--nats", "--redis", "--state", "stegomq up"} {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q does not say %q", err, w)
			}
		}
	}
	fill(t, c) // the owner goes on
	mustClose(t, c)
	expectFilled(t, mustOpenEmbedded(t, dir, Options{}))
}

func TestEmbeddedDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := mustOpenEmbedded(t, dir, Options{})
	fill(t, c)
	mustClose(t, c)
	path := filepath.Join(dir, snapshotName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(whole)/2] ^= 4
	for name, damaged := range map[string][]byte{
		"empty": {}, "short": whole[:10], "cut": whole[:len(whole)-1], "flipped": flipped, "longer": append(bytes.Clone(whole), 0),
		"another version": append([]byte("stegomq.cache.9\n"), whole[16:]...), "another file": []byte("PNG"),
	} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		c := mustOpenEmbedded(t, dir, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if s, err := c.Status(t.Context()); err != nil || s.Keys != 0 {
			t.Errorf("%s: status %+v, %v", name, s, err)
		}
		if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), damagedName) {
			t.Errorf("%s: logged %q", name, log.String())
		}
		if aside, err := os.ReadFile(filepath.Join(dir, damagedName)); err != nil || !bytes.Equal(aside, damaged) {
			t.Errorf("%s: moved aside %d bytes, %v", name, len(aside), err)
		}
		fill(t, c)
		mustClose(t, c)
		again := mustOpenEmbedded(t, dir, Options{})
		expectFilled(t, again)
		mustClose(t, again)
	}
}

func TestEmbeddedRefuses(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:6379", "example.org:6379"} {
		if _, err := OpenEmbedded(t.Context(), dir, Options{Listen: addr}); !errors.Is(err, ErrNotLoopback) {
			t.Errorf("listen on %s: %v", addr, err)
		}
	}
	if _, err := OpenEmbedded(t.Context(), dir, Options{Listen: "127.0.0.1:0"}); !errors.Is(err, ErrNoSecret) {
		t.Errorf("listen without a secret: %v", err)
	}
	if _, err := OpenEmbedded(t.Context(), dir, Options{Listen: "127.0.0.1", Secret: testSecret}); err == nil {
		t.Error("listens without a port")
	}
	c := mustOpenEmbedded(t, dir, Options{Listen: "127.0.0.1:0"})
	taken := strings.TrimSuffix(strings.TrimPrefix(c.URL(), "redis://"), "/0")
	other := filepath.Join(t.TempDir(), "other")
	if _, err := OpenEmbedded(t.Context(), other, Options{Listen: taken, Secret: testSecret}); err == nil || !strings.Contains(err.Error(), taken) {
		t.Errorf("a taken address: %v", err)
	}
	mustOpenEmbedded(t, other, Options{}) // the lock was given back

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenEmbedded(t.Context(), file, Options{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file as directory: %v", err)
	}
}

// Close returns an error when its keys could not be stored.
func TestEmbeddedCannotStore(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	c, err := openEmbedded(t.Context(), dir, Options{}, time.Hour) // a snapshot while the folder is removed would bring it back
	if err != nil {
		t.Fatal(err)
	}
	fill(t, c)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err == nil || !strings.Contains(err.Error(), "write the snapshot") {
		t.Errorf("Close without a directory: %v", err)
	}
}
