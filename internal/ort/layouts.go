package ort

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/cpu"

	"stegomq/internal/model"
)

// maxLayouts is how many layouts a folder keeps, the newest: each is as large as the weights of its graph.
const maxLayouts = 32

// layouts keeps on disk what the probe of a graph found on this host, and what the graph was checked with. To probe and to check takes two sessions
// beside the one that is used, most of the time that a short command takes. Nothing in the files is secret: they hold no key.
// What cannot be read or written is as good as not there.
type layouts struct {
	dir  string // "": none are kept
	host string
	log  *slog.Logger
}

// keptLayout is a file: the SHA-256 of the rest, then this as a gob.
type keptLayout struct {
	Probed []byte
	Trial  trial
}

// host names all that the runtime's choice depends on: the library, and what the processor can do.
func host(library, version string) string {
	size, changed := int64(0), int64(0)
	if info, err := os.Stat(library); err == nil {
		size, changed = info.Size(), info.ModTime().UnixNano()
	}
	return fmt.Sprintf("%s %d %d %s %+v %+v", version, size, changed, runtime.GOARCH, cpu.X86, cpu.ARM64)
}

// name is the file of a graph; "" where none are kept.
func (l layouts) name(m *model.Model, g *graph) string {
	if l.dir == "" {
		return ""
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte("stegomq.layout.v1"), []byte(l.host), []byte(m.Digest), fmt.Append(nil, g.op, g.names()), g.bytes} {
		fmt.Fprintf(h, "%d:", len(part))
		h.Write(part)
	}
	return filepath.Join(l.dir, hex.EncodeToString(h.Sum(nil)[:16])+".layout")
}

// read returns nil where there is no whole file.
func (l layouts) read(name string) *keptLayout {
	if name == "" {
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.log.Info("read a layout", "error", err)
		}
		return nil
	}
	kept := &keptLayout{}
	if len(data) < sha256.Size || sha256.Sum256(data[sha256.Size:]) != [sha256.Size]byte(data) ||
		gob.NewDecoder(bytes.NewReader(data[sha256.Size:])).Decode(kept) != nil {
		l.log.Info("a layout that was kept is damaged: it is made anew", "file", name)
		return nil
	}
	return kept
}

// keep writes a file, whole or not at all, and removes the oldest ones above the bound.
func (l layouts) keep(name string, kept keptLayout) {
	if name == "" {
		return
	}
	if err := l.write(name, kept); err != nil {
		l.log.Info("keep a layout", "error", err)
	}
}

func (l layouts) write(name string, kept keptLayout) error {
	data := bytes.NewBuffer(make([]byte, sha256.Size))
	if err := gob.NewEncoder(data).Encode(kept); err != nil {
		return err
	}
	sum := sha256.Sum256(data.Bytes()[sha256.Size:])
	copy(data.Bytes(), sum[:])
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	if err := renameio.WriteFile(name, data.Bytes(), 0o600); err != nil {
		return err
	}
	return l.prune()
}

func (l layouts) prune() error {
	names, err := filepath.Glob(filepath.Join(l.dir, "*.layout"))
	if err != nil || len(names) <= maxLayouts {
		return err
	}
	age := func(name string) int64 {
		info, err := os.Stat(name)
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(age(b), age(a)) })
	for _, name := range names[maxLayouts:] {
		if removed := os.Remove(name); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	return err
}
