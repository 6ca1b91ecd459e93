package cache

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
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
	distinct := rapid.SliceOfNDistinct(texts, 1, 6, rapid.ID)
	one := rapid.Custom(func(t *rapid.T) entry {
		e := entry{kind: kind(rapid.IntRange(int(stringKind), int(zsetKind)).Draw(t, "kind")), key: texts.Draw(t, "key")}
		if rapid.Bool().Draw(t, "expires") {
			e.expires = testTime.UnixMilli() + rapid.Int64Range(1, 1e11).Draw(t, "in")
		}
		if e.kind == stringKind {
			e.values = []string{texts.Draw(t, "value")}
			return e
		}
		for _, v := range distinct.Draw(t, "values") {
			e.values = append(e.values, v)
			switch e.kind {
			case hashKind:
				e.values = append(e.values, "v"+texts.Draw(t, "value")) // never empty
			case zsetKind:
				e.scores = append(e.scores, rapid.Float64().Draw(t, "score"))
			}
		}
		return e
	})
	return rapid.SliceOfNDistinct(one, 0, 12, func(e entry) string { return e.key })
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
		case "set":
			all[key], _ = db.Members(key)
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
			if err := restore(was, e, testTime); err != nil {
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

// Whatever byte of a snapshot is changed, it is found out.
func TestSnapshotDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, snapshotName)
	rapid.Check(t, func(t *rapid.T) {
		db := miniredis.NewMiniRedis().DB(0)
		for _, e := range storedEntries().Draw(t, "entries") {
			if err := restore(db, e, testTime); err != nil {
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
	deadline := time.Now().Add(20 * time.Second)
	for partly := 0; partly < wanted; {
		if time.Now().After(deadline) {
			t.Error("the two hardly interleave")
			break
		}
		e, ok := capture(db, "h", testTime)
		if !ok {
			t.Error("the hash was left out")
		}
		for i := 1; i < len(e.values); i += 2 {
			if e.values[i] != "v" {
				t.Errorf("field %s = %q", e.values[i-1], e.values[i])
			}
		}
		if found := len(e.values)/2 - 1; found > 0 && found < fields {
			partly++
		}
	}
	close(stop)
	<-stopped
}

func (e entry) equal(o entry) bool {
	sameBits := func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }
	return e.kind == o.kind && e.key == o.key && e.expires == o.expires &&
		slices.Equal(e.values, o.values) && slices.EqualFunc(e.scores, o.scores, sameBits)
}

// What decodes must encode to something that decodes to the same; nothing may panic, nor ask for more
// memory than the input has.
func FuzzEntries(f *testing.F) {
	var all []byte
	for _, e := range []entry{
		{kind: stringKind, key: "k", values: []string{"v"}},
		{kind: hashKind, key: "h", expires: 1_900_000_000_000, values: []string{"f", "v", "g", ""}},
		{kind: setKind, key: "s", values: []string{"", "m"}},
		{kind: zsetKind, key: "z", values: []string{"m"}, scores: []float64{math.Pi}},
	} {
		f.Add(e.append(nil))
		all = e.append(all)
	}
	f.Add(all)
	f.Add([]byte{byte(hashKind), 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		var decoded []entry
		var encoded []byte
		for e, err := range entries(string(data)) {
			if err != nil {
				break
			}
			decoded, encoded = append(decoded, e), e.append(encoded)
		}
		i := 0
		for e, err := range entries(string(encoded)) {
			if err != nil || !e.equal(decoded[i]) {
				t.Fatalf("%+v came back as %+v, %v", decoded[i], e, err)
			}
			i++
		}
		if i != len(decoded) {
			t.Fatalf("%d of %d entries came back", i, len(decoded))
		}
	})
}

// memos fills a server with n outputs.
func memos(db *miniredis.RedisDB, n int) {
	value := strings.Repeat("x", 130)
	for i := range n {
		_ = restore(db, entry{
			kind: stringKind, key: outputKey(fmt.Sprintf("%032x", i*7919)),
			expires: testTime.Add(DefaultLifetime).UnixMilli(), values: []string{value},
		}, testTime)
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
