package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"pgregory.net/rapid"
)

var testTime = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// storedEntries draws keys of every kind, with and without an expiry.
func storedEntries() *rapid.Generator[[]entry] {
	texts := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 300), func(b []byte) string { return string(b) }))
	one := rapid.Custom(func(t *rapid.T) entry {
		e := entry{Key: texts.Draw(t, "key")}
		if rapid.Bool().Draw(t, "expires") {
			e.Expires = testTime.UnixMilli() + rapid.Int64Range(1, 1e11).Draw(t, "in")
		}
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			e.Text = texts.Draw(t, "value")
		case 1:
			values := rapid.Map(texts, func(v string) string { return "v" + v }) // never empty
			e.Hash = rapid.MapOfN(texts, values, 1, 6).Draw(t, "fields")
		case 2:
			e.Sorted = rapid.MapOfN(texts, rapid.Float64(), 1, 6).Draw(t, "members")
		}
		return e
	})
	return rapid.SliceOfNDistinct(one, 0, 12, func(e entry) string { return e.Key })
}

// contents is everything that a server holds.
func contents(db *miniredis.RedisDB) map[string]any {
	all := make(map[string]any)
	for _, key := range db.Keys() {
		switch db.Type(key) {
		case "string":
			all[key], _ = db.Get(key)
		case "hash":
			fields, _ := db.HKeys(key)
			h := make(map[string]string)
			for _, f := range fields {
				h[f] = db.HGet(key, f)
			}
			all[key] = h
		case "zset":
			all[key], _ = db.SortedSet(key)
		}
		all[key] = []any{all[key], db.TTL(key)}
	}
	return all
}

func TestSnapshotRoundTrip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		was, is := miniredis.NewMiniRedis().DB(0), miniredis.NewMiniRedis().DB(0)
		drawn := storedEntries().Draw(t, "entries")
		for _, e := range drawn {
			if err := e.restore(was, testTime); err != nil {
				t.Fatal(err)
			}
		}
		if len(was.Keys()) != len(drawn) {
			t.Fatalf("%d keys of %d entries", len(was.Keys()), len(drawn))
		}
		size, err := writeSnapshot(dir, was, testTime)
		if err != nil {
			t.Fatal(err)
		}
		if err := readSnapshot(dir, is, testTime); err != nil {
			t.Fatal(err)
		}
		if a, b := contents(was), contents(is); !reflect.DeepEqual(a, b) {
			t.Fatalf("%v came back as %v", a, b)
		}
		if s, err := os.Stat(filepath.Join(dir, snapshotName)); err != nil || s.Size() != size {
			t.Fatalf("the file has %v bytes, %d were announced (%v)", s, size, err)
		}
	})
}

// A change of any byte of a snapshot is detected.
func TestSnapshotDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, snapshotName)
	rapid.Check(t, func(t *rapid.T) {
		db := miniredis.NewMiniRedis().DB(0)
		for _, e := range storedEntries().Draw(t, "entries") {
			if err := e.restore(db, testTime); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := writeSnapshot(dir, db, testTime); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
		if rapid.Bool().Draw(t, "cut") {
			data = data[:at]
		} else {
			data[at] ^= rapid.ByteRange(1, 255).Draw(t, "flip")
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := readSnapshot(dir, miniredis.NewMiniRedis().DB(0), testTime); !errors.Is(err, errSnapshot) {
			t.Fatalf("a damaged snapshot reads: %v", err)
		}
	})
}

// A hash is read field by field, while others delete fields: none may come out with a value it never had.
func TestSnapshotUnderDeletes(t *testing.T) {
	t.Parallel()
	const fields, wanted = 50, 5_000
	m := miniredis.NewMiniRedis()
	db := m.DB(0)
	db.HSet("h", "stays", "v")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			for i := range fields {
				db.HSet("h", fmt.Sprint(i), "v")
			}
			for i := range fields {
				db.HDel("h", fmt.Sprint(i))
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	// A capture that found some of the fields shows that the other goroutine was in the middle of them.
	deadline := time.Now().Add(patience)
	for partly := 0; partly < wanted; {
		if time.Now().After(deadline) {
			t.Error("the two hardly interleave")
			break
		}
		e, ok := capture(db, "h", testTime)
		if !ok {
			t.Error("the hash was left out")
		}
		for field, value := range e.Hash {
			if value != "v" {
				t.Errorf("field %s = %q", field, value)
			}
		}
		if found := len(e.Hash) - 1; found > 0 && found < fields {
			partly++
		}
	}
	close(stop)
	<-stopped
}

// memos fills a server with n outputs.
func memos(db *miniredis.RedisDB, n int) {
	value := strings.Repeat("x", 130)
	for i := range n {
		e := entry{Key: outputKey(fmt.Sprintf("%032x", i*7919)), Expires: testTime.Add(DefaultLifetime).UnixMilli(), Text: value}
		_ = e.restore(db, testTime)
	}
}

// The budget for loading is 10 ms.
func BenchmarkReadSnapshot10k(b *testing.B) {
	dir := b.TempDir()
	db := miniredis.NewMiniRedis().DB(0)
	memos(db, 10_000)
	if _, err := writeSnapshot(dir, db, testTime); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := readSnapshot(dir, miniredis.NewMiniRedis().DB(0), testTime); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteSnapshot10k(b *testing.B) {
	dir := b.TempDir()
	db := miniredis.NewMiniRedis().DB(0)
	memos(db, 10_000)
	for b.Loop() {
		if _, err := writeSnapshot(dir, db, testTime); err != nil {
			b.Fatal(err)
		}
	}
}
