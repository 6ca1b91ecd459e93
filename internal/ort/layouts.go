package ort

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
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
	"stegomq/internal/weights"
)

// maxLayouts is how many layouts a folder keeps, the newest: each is as large as the weights of its graph.
const maxLayouts = 32

// layouts keeps on disk the layout that the probe of a graph found on this host, and the trial that the graph was checked with. Probing and
// checking take two more sessions, which is most of the time of a short command. Nothing in the files is secret: they hold no key.
// A file that cannot be read or written counts as missing.
type layouts struct {
	dir  string // "": none are kept
	host string
	log  *slog.Logger
}

// keptLayout is a file: the SHA-256 of the rest, then this as a gob.
type keptLayout struct {
	Graph []byte // layout.data
	Forms []keptForm
	Trial trial
}

// keptForm is a form whose table is little-endian uint32, which a gob carries as it is; empty where there is none.
type keptForm struct {
	Name  string
	Dims  []int64
	Layer weights.Layer
	From  []byte
}

// kept is a layout as it is written.
func (l layout) kept(t trial) keptLayout {
	k := keptLayout{Graph: l.data, Trial: t}
	for _, f := range l.inputs {
		from := make([]byte, 0, 4*len(f.from))
		for _, at := range f.from {
			from = binary.LittleEndian.AppendUint32(from, at)
		}
		k.Forms = append(k.Forms, keptForm{Name: f.name, Dims: f.dims, Layer: f.layer, From: from})
	}
	return k
}

// layout reads a kept layout of a graph. It checks that the tables fit the layers; only the trial tells whether the values go to the right places.
func (k *keptLayout) layout(g *graph) (layout, error) {
	l := layout{data: k.Graph, native: true}
	for _, kept := range k.Forms {
		f := form{name: kept.Name, dims: kept.Dims, layer: kept.Layer}
		n := f.len()
		if !slices.Contains(g.layers, f.layer) || len(kept.From) != 4*n && (len(kept.From) != 0 || n != f.layer.Len()) {
			return layout{}, fmt.Errorf("%w: %s is no form of a layer", errLayout, f.name)
		}
		if len(kept.From) > 0 {
			f.from = make([]uint32, n)
		}
		for i := range f.from {
			if f.from[i] = binary.LittleEndian.Uint32(kept.From[4*i:]); int64(f.from[i]) > int64(f.layer.Len()) {
				return layout{}, fmt.Errorf("%w: %s has a weight that is none of layer %s", errLayout, f.name, f.layer.Name)
			}
		}
		l.inputs = append(l.inputs, f)
	}
	return l, nil
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
	for _, part := range [][]byte{[]byte("stegomq.layout.v2"), []byte(l.host), []byte(m.Digest), fmt.Append(nil, g.op, g.names()), g.bytes} {
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
