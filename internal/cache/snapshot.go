package cache

import (
	"bufio"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// A snapshot file holds all keys of an embedded server: the magic with the version, a gob stream of entries, and the CRC-32C of everything
// before it (uint32, little endian).
const (
	snapshotName  = "cache.snapshot"
	snapshotMagic = "stegomq.cache.2\n"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errSnapshot: the file is not a complete snapshot of this version.
var errSnapshot = errors.New("damaged snapshot")

// entry is one key: a string (Text), a hash or a sorted set. stegomq uses no other types, and others are not kept.
type entry struct {
	Key     string
	Expires int64 // Unix ms; 0: never
	Text    string
	Hash    map[string]string
	Sorted  map[string]float64 // scores by member
}

// readSnapshot fills db from the snapshot in dir, without expired entries. A missing file is an empty
// snapshot. After errSnapshot db may hold a part.
func readSnapshot(dir string, db *miniredis.RedisDB, now time.Time) error {
	f, err := os.Open(filepath.Join(dir, snapshotName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the snapshot: %w", err)
	}
	defer func() { _ = f.Close() }()
	body, err := checkSnapshot(f)
	if err != nil {
		return err
	}
	for entries := gob.NewDecoder(bufio.NewReaderSize(body, 1<<16)); ; {
		var e entry
		err := entries.Decode(&e)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = e.restore(db, now)
		}
		if err != nil {
			return fmt.Errorf("%w: key %q: %w", errSnapshot, e.Key, err)
		}
	}
}

// checkSnapshot returns the entries of a complete snapshot, or errSnapshot.
func checkSnapshot(f *os.File) (entries io.Reader, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the snapshot: %w", err)
	}
	sum, magic, end := crc32.New(castagnoli), make([]byte, len(snapshotMagic)), info.Size()-crc32.Size
	whole := io.TeeReader(io.NewSectionReader(f, 0, end), sum)
	if _, err := io.ReadFull(whole, magic); err != nil || string(magic) != snapshotMagic {
		return nil, errSnapshot
	}
	if _, err := io.Copy(io.Discard, whole); err != nil {
		return nil, fmt.Errorf("read the snapshot: %w", err)
	}
	var stored uint32
	if binary.Read(io.NewSectionReader(f, end, crc32.Size), binary.LittleEndian, &stored) != nil || stored != sum.Sum32() {
		return nil, errSnapshot
	}
	return io.NewSectionReader(f, int64(len(magic)), end-int64(len(magic))), nil
}

// restore puts an entry into the server unless it has expired.
func (e *entry) restore(db *miniredis.RedisDB, now time.Time) (err error) {
	lifetime := time.UnixMilli(e.Expires).Sub(now)
	if e.Expires != 0 && lifetime <= 0 {
		return nil
	}
	switch {
	case e.Hash != nil:
		for field, value := range e.Hash {
			db.HSet(e.Key, field, value)
		}
	case e.Sorted != nil:
		for member, score := range e.Sorted {
			if _, err = db.ZAdd(e.Key, score, member); err != nil {
				return err
			}
		}
	default:
		err = db.Set(e.Key, e.Text)
	}
	if err == nil && e.Expires != 0 {
		db.SetTTL(e.Key, lifetime)
	}
	return err
}

// capture reads one key; ok is false when it is gone or of a type that is not kept.
func capture(db *miniredis.RedisDB, key string, now time.Time) (e entry, ok bool) {
	e.Key = key
	if ttl := db.TTL(key); ttl > 0 {
		e.Expires = now.Add(ttl).UnixMilli()
	}
	var err error
	switch db.Type(key) {
	case "string":
		e.Text, err = db.Get(key)
		return e, err == nil
	case "hash":
		// miniredis gives the fields one by one. A field that is deleted meanwhile reads as empty; stegomq stores no empty values.
		fields, _ := db.HKeys(key)
		e.Hash = make(map[string]string, len(fields))
		for _, f := range fields {
			if v := db.HGet(key, f); v != "" {
				e.Hash[f] = v
			}
		}
		return e, len(e.Hash) > 0
	case "zset":
		e.Sorted, err = db.SortedSet(key)
		return e, err == nil && len(e.Sorted) > 0
	}
	return e, false
}

// writeSnapshot stores all keys of db in dir, replaces the snapshot there as a whole, and returns the
// size of the file. Each key is consistent, but different keys may be from different moments.
func writeSnapshot(dir string, db *miniredis.RedisDB, now time.Time) (size int64, err error) {
	f, err := os.OpenFile(filepath.Join(dir, snapshotName+".tmp"), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return 0, fmt.Errorf("write the snapshot: %w", err)
	}
	size, err = encodeSnapshot(f, db, now)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, snapshotName))
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("write the snapshot: %w", err), os.Remove(f.Name()))
	}
	return size, syncDir(dir)
}

func encodeSnapshot(f *os.File, db *miniredis.RedisDB, now time.Time) (size int64, err error) {
	sum, file := crc32.New(castagnoli), bufio.NewWriterSize(f, 1<<16)
	both := io.MultiWriter(file, sum)
	_, err = io.WriteString(both, snapshotMagic)
	entries := gob.NewEncoder(both)
	for _, key := range db.Keys() {
		if e, ok := capture(db, key, now); ok && err == nil {
			err = entries.Encode(e)
		}
	}
	if err = errors.Join(err, binary.Write(file, binary.LittleEndian, sum.Sum32()), file.Flush()); err != nil {
		return 0, err
	}
	return f.Seek(0, io.SeekCurrent)
}

// syncDir makes a rename in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
