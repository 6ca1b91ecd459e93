package cache

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// A snapshot file holds all keys of an embedded server:
//
//	magic | entry ... | u32le CRC-32C of everything before
//	entry: kind byte | text key | uvarint expiry, Unix ms, 0 for none | values
//	values: one text (string), or a uvarint count and field, value texts (hash), member texts (set),
//	        or member texts each followed by its score as u64le float bits (sorted set)
//	text: uvarint length | bytes
//
// The version is part of the magic. Values of hashes are never empty, see captureHash.
const (
	snapshotName  = "cache.snapshot"
	snapshotMagic = "stegomq.cache.1\n"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errSnapshot: the file is not a whole snapshot of this version.
var errSnapshot = errors.New("damaged snapshot")

type kind byte

const (
	stringKind kind = iota + 1
	hashKind
	setKind
	zsetKind
)

// kinds are miniredis' names of the types that stegomq uses. Keys of other types are not kept.
var kinds = map[string]kind{"string": stringKind, "hash": hashKind, "set": setKind, "zset": zsetKind}

// entry is one key.
type entry struct {
	kind    kind
	key     string
	expires int64     // Unix ms; 0: never
	values  []string  // the string; fields and values in turn; or members
	scores  []float64 // of the members of a sorted set
}

// append adds the encoded entry to b.
func (e *entry) append(b []byte) []byte {
	b = append(b, byte(e.kind))
	b = appendText(b, e.key)
	b = binary.AppendUvarint(b, uint64(e.expires))
	switch e.kind {
	case hashKind:
		b = binary.AppendUvarint(b, uint64(len(e.values)/2))
	case setKind, zsetKind:
		b = binary.AppendUvarint(b, uint64(len(e.values)))
	}
	for i, v := range e.values {
		b = appendText(b, v)
		if e.kind == zsetKind {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(e.scores[i]))
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// reader takes an encoding apart. Once something is wrong it is empty and broken.
type reader struct {
	rest   string
	broken bool
}

func (r *reader) fail() { r.rest, r.broken = "", true }

func (r *reader) take(n uint64) string {
	if n > uint64(len(r.rest)) {
		r.fail()
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *reader) number() uint64 {
	var n uint64
	for i := range min(len(r.rest), binary.MaxVarintLen64) {
		b := r.rest[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if i == binary.MaxVarintLen64-1 && b > 1 {
				break
			}
			r.rest = r.rest[i+1:]
			return n
		}
	}
	r.fail()
	return 0
}

func (r *reader) text() string { return r.take(r.number()) }

func (r *reader) entry() entry {
	var e entry
	if k := r.take(1); k != "" {
		e.kind = kind(k[0])
	}
	e.key = r.text()
	expires := r.number()
	e.expires = int64(expires)
	values := uint64(1)
	switch e.kind {
	case stringKind:
	case hashKind:
		values = 2 * r.number()
	case setKind, zsetKind:
		values = r.number()
	default:
		r.fail()
	}
	// Every text takes a byte at least, so that a false count cannot ask for more memory than the file has.
	if values == 0 || values > uint64(len(r.rest)) || expires > math.MaxInt64 {
		r.fail()
		return e
	}
	e.values = make([]string, 0, values)
	for range values {
		e.values = append(e.values, r.text())
		if e.kind != zsetKind {
			continue
		}
		if bits := r.take(8); bits != "" {
			e.scores = append(e.scores, math.Float64frombits(binary.LittleEndian.Uint64([]byte(bits))))
		}
	}
	return e
}

// entries takes the entries of a snapshot apart, which lie between the magic and the checksum. It yields
// errSnapshot and stops where they do not decode. Keys and values share the memory of body.
func entries(body string) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for r := (reader{rest: body}); r.rest != ""; {
			e := r.entry()
			if r.broken {
				yield(entry{}, errSnapshot)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// readSnapshot fills db from the snapshot in dir, leaving out what has expired by now. No file is an
// empty snapshot. It returns errSnapshot, and then db may hold a part.
func readSnapshot(dir string, db *miniredis.RedisDB, now time.Time) error {
	data, err := os.ReadFile(filepath.Join(dir, snapshotName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the snapshot: %w", err)
	}
	body, ok := strings.CutPrefix(string(data), snapshotMagic)
	if !ok || len(body) < 4 {
		return errSnapshot
	}
	end := len(data) - 4
	if binary.LittleEndian.Uint32(data[end:]) != crc32.Checksum(data[:end], castagnoli) {
		return errSnapshot
	}
	for e, err := range entries(body[:len(body)-4]) {
		if err != nil {
			return err
		}
		if err := restore(db, e, now); err != nil {
			return fmt.Errorf("%w: key %q: %w", errSnapshot, e.key, err)
		}
	}
	return nil
}

// restore puts an entry into the server unless it has expired.
func restore(db *miniredis.RedisDB, e entry, now time.Time) error {
	lifetime := time.UnixMilli(e.expires).Sub(now)
	if e.expires != 0 && lifetime <= 0 {
		return nil
	}
	var err error
	switch e.kind {
	case stringKind:
		err = db.Set(e.key, e.values[0])
	case hashKind:
		db.HSet(e.key, e.values...)
	case setKind:
		_, err = db.SetAdd(e.key, e.values...)
	case zsetKind:
		for i, member := range e.values {
			if _, err = db.ZAdd(e.key, e.scores[i], member); err != nil {
				break
			}
		}
	}
	if err == nil && e.expires != 0 {
		db.SetTTL(e.key, lifetime)
	}
	return err
}

// capture reads one key; ok is false when it is gone or of a type that is not kept.
func capture(db *miniredis.RedisDB, key string, now time.Time) (e entry, ok bool) {
	e = entry{kind: kinds[db.Type(key)], key: key}
	if ttl := db.TTL(key); ttl > 0 {
		e.expires = now.Add(ttl).UnixMilli()
	}
	var err error
	switch e.kind {
	case stringKind:
		var v string
		v, err = db.Get(key)
		e.values = []string{v}
	case hashKind:
		e.values, err = captureHash(db, key)
	case setKind:
		e.values, err = db.Members(key)
	case zsetKind:
		var members map[string]float64
		members, err = db.SortedSet(key)
		for member, score := range members {
			e.values, e.scores = append(e.values, member), append(e.scores, score)
		}
	}
	return e, e.kind != 0 && err == nil && len(e.values) > 0
}

// captureHash reads the fields one by one, as miniredis offers no better; so one may be deleted between
// the list of fields and its value, and then reads as empty. No value that stegomq stores is empty.
func captureHash(db *miniredis.RedisDB, key string) ([]string, error) {
	fields, err := db.HKeys(key)
	values := make([]string, 0, 2*len(fields))
	for _, f := range fields {
		if v := db.HGet(key, f); v != "" {
			values = append(values, f, v)
		}
	}
	return values, err
}

// writeSnapshot stores all keys of db in dir, replacing the snapshot there as a whole, and returns the
// size of the file. Each key is as it was at one moment, not all keys at the same.
func writeSnapshot(dir string, db *miniredis.RedisDB, now time.Time) (size int64, err error) {
	f, err := os.OpenFile(filepath.Join(dir, snapshotName+".tmp"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("write the snapshot: %w", err)
	}
	defer func() {
		if err != nil {
			_, err = 0, errors.Join(fmt.Errorf("write the snapshot: %w", err), f.Close(), os.Remove(f.Name()))
		}
	}()
	sum := crc32.New(castagnoli)
	w := bufio.NewWriterSize(f, 1<<16)
	both := io.MultiWriter(w, sum)
	if _, err = io.WriteString(both, snapshotMagic); err != nil {
		return 0, err
	}
	size = int64(len(snapshotMagic)) + crc32.Size
	var buf []byte
	for _, key := range db.Keys() {
		e, ok := capture(db, key, now)
		if !ok {
			continue
		}
		buf = e.append(buf[:0])
		size += int64(len(buf))
		if _, err = both.Write(buf); err != nil {
			return 0, err
		}
	}
	if err = binary.Write(w, binary.LittleEndian, sum.Sum32()); err != nil {
		return 0, err
	}
	if err = w.Flush(); err != nil {
		return 0, err
	}
	if err = f.Sync(); err != nil {
		return 0, err
	}
	if err = os.Rename(f.Name(), filepath.Join(dir, snapshotName)); err != nil {
		return 0, err
	}
	if err := f.Close(); err != nil {
		return 0, fmt.Errorf("write the snapshot: %w", err)
	}
	return size, syncDir(dir)
}

// syncDir makes a rename in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
