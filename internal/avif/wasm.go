package avif

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	_ "unsafe" // for go:linkname

	_ "github.com/gen2brain/avif" // holds the modules
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// The two modules, gzip, as the library embeds them. It does not export them.
//
//go:linkname encoderModule github.com/gen2brain/avif.encodeWasm
var encoderModule []byte

//go:linkname decoderModule github.com/gen2brain/avif.decodeWasm
var decoderModule []byte

// program is a module in machine code, from which instances are made.
type program struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
}

var (
	encoder = sync.OnceValues(func() (*program, error) { return compile(encoderModule) })
	decoder = sync.OnceValues(func() (*program, error) { return compile(decoderModule) })
)

func compile(zipped []byte) (*program, error) {
	unzip, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		return nil, fmt.Errorf("avif: read the module: %w", err)
	}
	code, err := io.ReadAll(unzip)
	if err != nil {
		return nil, fmt.Errorf("avif: read the module: %w", err)
	}
	ctx := context.Background()
	config := wazero.NewRuntimeConfig().WithDebugInfoEnabled(false).WithCloseOnContextDone(false)
	if cache := onDisk(); cache != nil {
		config = config.WithCompilationCache(cache)
	}
	p := &program{runtime: wazero.NewRuntimeWithConfig(ctx, config)}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, p.runtime); err != nil {
		return nil, fmt.Errorf("avif: %w", err)
	}
	if p.compiled, err = p.runtime.CompileModule(ctx, code); err != nil {
		return nil, fmt.Errorf("avif: compile: %w", err)
	}
	return p, nil
}

// onDisk is where compiled modules are kept: compiling takes a second or more, reading what was compiled a twentieth of one. It is machine
// code that this user's programs run, so that nobody else may write there. Without such a folder each process compiles.
func onDisk() wazero.CompilationCache {
	base, err := os.UserCacheDir()
	if err != nil {
		return nil
	}
	dir := filepath.Join(base, "stegomq", "wasm")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm()&0o022 != 0 || !mine(info) {
		return nil
	}
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return nil
	}
	return cache
}

// instance is one run of a module, with memory of its own. What it allocates is freed with it. After an error its methods do nothing.
type instance struct {
	ctx    context.Context
	module api.Module
	err    error // the first
}

// start gives a module at most limit bytes of memory.
func (p *program) start(ctx context.Context, limit int) (*instance, error) {
	ctx = experimental.WithMemoryAllocator(ctx, bounded(limit))
	module, err := p.runtime.InstantiateModule(ctx, p.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize"))
	if err != nil {
		return nil, fmt.Errorf("avif: start: %w", err)
	}
	return &instance{ctx: ctx, module: module}, nil
}

func (i *instance) close() { _ = i.module.Close(i.ctx) }

// call runs an exported function. Its traps are errors: the modules have no longjmp, so that libaom ends in one where it would
// give up.
func (i *instance) call(name string, args ...uint64) uint32 {
	if i.err != nil {
		return 0
	}
	out, err := i.module.ExportedFunction(name).Call(i.ctx, args...)
	if err != nil {
		what, _, _ := strings.Cut(err.Error(), "\n") // what follows is a stack of numbers
		i.err = fmt.Errorf("avif: %s: %s", name, what)
		return 0
	}
	return uint32(out[0])
}

// allocate reserves n bytes, all zero, and may have them filled.
func (i *instance) allocate(n int, content []byte) uint32 {
	at := i.call("malloc", uint64(n))
	if i.err == nil && (at == 0 || !i.module.Memory().Write(at, content)) {
		i.err = errMemory
	}
	return at
}

func (i *instance) read(at uint32, n int) []byte {
	if i.err != nil {
		return nil
	}
	view, ok := i.module.Memory().Read(at, uint32(n))
	if !ok {
		i.err = errMemory
	}
	return bytes.Clone(view)
}

var errMemory = errors.New("avif: out of memory")

// bounded gives memory up to a number of bytes.
type bounded int

// Allocate is for wazero.
func (b bounded) Allocate(capacity, _ uint64) experimental.LinearMemory {
	return &memory{limit: int(b), bytes: make([]byte, 0, max(int(capacity), min(int(b), 8<<20)))}
}

type memory struct {
	limit int
	bytes []byte
}

// Reallocate is for wazero. New memory is zero: nothing was ever written beyond the length.
func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(m.limit) {
		return nil
	}
	if int(size) > cap(m.bytes) {
		grown := make([]byte, len(m.bytes), min(m.limit, max(int(size), 2*cap(m.bytes))))
		copy(grown, m.bytes)
		m.bytes = grown
	}
	m.bytes = m.bytes[:size]
	return m.bytes
}

// Free is for wazero.
func (m *memory) Free() { m.bytes = nil }
