// Package ort runs the graphs of models on ONNX Runtime. It is the only importer
// of the runtime's Go binding, and all cgo of the project stays here. It owns
//
//   - finding the shared library and the runtime's process-wide environment,
//   - the sessions: one per graph, which serves every key because the conv weights are its inputs, or
//     one per variant of a model that has a network for each key. Once features are asked for, there is
//     another session that also computes them,
//   - the layout probe (layout.go), which lets such a session run as fast as one
//     with constant weights,
//   - the weights of the keys used last, bounded in bytes.
//
// Invariants:
//   - A graph whose weights are inputs is used only after it computed the same as
//     the same graph with constant weights: exactly the same in the runtime's own
//     layout, within tolerance otherwise.
//   - Key bytes are asked for on a cache miss, used to make weights and not kept.
//     Logs, errors and file names hold no key and no weight of one.
//   - Weights are freed only when no run uses them; images only after their run.
//   - Everything may be called from several goroutines at once.
package ort

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stegomq/internal/model"
	"stegomq/internal/pixel"
	"stegomq/internal/stopwatch"
	"stegomq/internal/weights"
)

// DefaultCacheBytes bounds the weights of hot keys if Config does not.
const DefaultCacheBytes = 512 << 20

// Config says how an Engine works. The zero value is a good one.
type Config struct {
	// Library is the path of the ONNX Runtime library, a file or its directory; see Locate for what "" means.
	Library string
	// Provider is what computes; "" is CPU.
	Provider Provider
	// Threads share one run; 0 is 1. Two runs with one thread each beat one run with two.
	Threads int
	// Workers is how many runs may go at once; others wait. 0 is one per core on
	// the CPU, 2 on CUDA.
	Workers int
	// CacheBytes bounds the memory for weights of keys that no run is using, on
	// the device too, and for the sessions of variants; 0 is DefaultCacheBytes.
	CacheBytes int64
	// Layouts is a folder in which the layouts that were found on this host are kept, so that graphs open faster the next time. It is made
	// if it is not there. "" keeps none.
	Layouts string
	// Logger gets one line per graph and fallback; nil is slog.Default().
	Logger *slog.Logger
}

func (c Config) validate() error {
	var broken []error
	if !c.Provider.Valid() {
		broken = append(broken, fmt.Errorf("%w: %q; there are %s, %s and %s", ErrProvider, c.Provider, CPU, CUDA, Auto))
	}
	if c.Threads < 0 {
		broken = append(broken, fmt.Errorf("threads: %d is below 0", c.Threads))
	}
	if c.Workers < 0 {
		broken = append(broken, fmt.Errorf("workers: %d is below 0", c.Workers))
	}
	if c.CacheBytes < 0 {
		broken = append(broken, fmt.Errorf("cache bytes: %d is below 0", c.CacheBytes))
	}
	return errors.Join(broken...)
}

// Key names the weights that a key pair gives for one role, and how to get at the
// key if they are not in the cache.
type Key struct {
	Fingerprint string       // of the pair; with Role it identifies Bytes
	Role        weights.Role // must be the operation's
	Bytes       func() []byte
	Part        *Part // nil, but for a key of whose fill only a share is right
}

// Part says how a partial key fills the weights: Bytes give those of its owner, of which a share stays; see
// weights.Mask.Spoil. The key has a Fingerprint of its own.
type Part struct {
	Owner string // fingerprint of the whole pair, whose fill the model may store
	Right int    // permille of the keyed weights, 0 to weights.Whole
	Wrong []byte // the key that gives the others
}

// Engine runs the graphs of the models that were added to it. Close frees it.
type Engine struct {
	config   Config
	library  string
	version  string
	provider Provider
	log      *slog.Logger
	bind     bool // weights go to the device once per key; see bound.go

	slots chan struct{} // one per run that may go
	cache *weightCache

	layouts layouts

	mu     sync.Mutex
	models map[string]*loadedModel // by digest
	closed bool
	runs   sync.WaitGroup // calls of Run and Prepare under way

	tensors  atomic.Int64
	sessions atomic.Int64
	done     atomic.Uint64
}

// New finds and starts the runtime. Errors wrap ErrNoLibrary, ErrOldLibrary,
// ErrLibraryInUse or ErrProvider and say what to do. Several Engines may live in
// a process; they must use the same library.
func New(c Config) (*Engine, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("configure the inference engine: %w", err)
	}
	log := c.Logger
	if log == nil {
		log = slog.Default()
	}
	library, err := Locate(c.Library)
	if err != nil {
		return nil, err
	}
	version, err := enter(library)
	if err != nil {
		return nil, err
	}
	provider, err := choose(c.Provider, library, log)
	if err != nil {
		return nil, errors.Join(err, leave())
	}
	if c.Threads == 0 {
		c.Threads = 1
	}
	if c.Workers == 0 {
		c.Workers = runtime.GOMAXPROCS(0)
		if provider == CUDA {
			c.Workers = 2
		}
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = DefaultCacheBytes
	}
	return &Engine{
		config:   c,
		library:  library,
		version:  version,
		provider: provider,
		log:      log,
		bind:     provider == CUDA,
		slots:    make(chan struct{}, c.Workers),
		cache:    newWeightCache(c.CacheBytes),
		layouts:  layouts{dir: c.Layouts, host: host(library, version), log: log},
		models:   map[string]*loadedModel{},
	}, nil
}

// Add makes a model known under its digest. It is cheap: a graph is opened when
// it is first needed, or by Prepare. Adding a digest again changes nothing. A model
// without a network has no graphs: ErrGraph.
func (e *Engine) Add(m *model.Model) error {
	if !m.Manifest.Network() {
		return fmt.Errorf("add model %s: %w: it has none", m.Name, ErrGraph)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return fmt.Errorf("add model %s: %w", m.Name, ErrClosed)
	}
	if _, ok := e.models[m.Digest]; !ok {
		e.models[m.Digest] = newLoadedModel(e, m)
	}
	return nil
}

// Prepare opens the graphs of some operations, or of all if none is named, so
// that whatever is wrong with them shows now. Errors wrap ErrUnknownModel,
// ErrOperation or ErrGraph. The outcome is kept either way: the first Run does no
// more. Variants are kept as far as the cache's bound allows.
func (e *Engine) Prepare(digest string, ops ...model.Operation) error {
	m, err := e.begin(digest)
	if err != nil {
		return err
	}
	defer e.runs.Done()
	if len(ops) == 0 {
		ops = slices.DeleteFunc(model.Operations(), func(op model.Operation) bool { return !m.model.Manifest.Does(op) })
	}
	for _, op := range ops {
		if err := m.prepare(op); err != nil {
			return err
		}
	}
	return nil
}

// Run computes one operation of a model on a batch and returns the outcome: N
// images of the size of the inputs, RGB, not clamped. Embed takes the covers and
// the secrets, two tensors of one shape, and a key with weights.RoleEmbed; recover
// the stegos and a key with weights.RoleRecover; purify the noisy images and no
// key. A model of KeyingRotation takes no key for any operation, because its images are rotated before. Sides are at least the
// model's MinSide; N is free.
//
// The inputs must not change meanwhile. Errors wrap ErrUnknownModel, ErrOperation,
// ErrGraph, ErrInput, ErrKey, model.ErrNoVariant, ErrRun, ErrClosed or the context's error. A cancelled context
// stops a run on the CPU after the current operator of the graph. A run on CUDA is not stopped.
func (e *Engine) Run(ctx context.Context, digest string, op model.Operation, key *Key, in ...pixel.Tensor) (pixel.Tensor, error) {
	m, err := e.begin(digest)
	if err != nil {
		return pixel.Tensor{}, err
	}
	defer e.runs.Done()
	out, err := e.run(ctx, m, outputsOf(op, m.model, false), key, in)
	if err != nil {
		return pixel.Tensor{}, fmt.Errorf("%s with model %s: %w", op, m.model.Name, err)
	}
	return out.image, nil
}

// Features is Run of recover that also returns the features of each image: as many as the model's Manifest.Features, the
// means over the image (padded to a multiple of Manifest.Factor) of the activations that go into the last convolution.
// The recovered images are those of Run. It has a session of its own, opened at the first call, and weights of its own for
// each key, so that Run does not pay for it. A model that gives no features is ErrOperation; otherwise errors are those of
// Run.
func (e *Engine) Features(ctx context.Context, digest string, key *Key, stego pixel.Tensor) (recovered pixel.Tensor, features [][]float32, err error) {
	m, err := e.begin(digest)
	if err != nil {
		return pixel.Tensor{}, nil, err
	}
	defer e.runs.Done()
	want := outputsOf(model.OpRecover, m.model, true)
	out, err := e.run(ctx, m, want, key, []pixel.Tensor{stego})
	if err != nil {
		return pixel.Tensor{}, nil, fmt.Errorf("%s with model %s: %w", want.op, m.model.Name, err)
	}
	return out.image, slices.Collect(slices.Chunk(out.features, want.features)), nil
}

func (e *Engine) run(ctx context.Context, m *loadedModel, want outputs, key *Key, in []pixel.Tensor) (outcome, error) {
	if err := CheckInputs(want.op, m.model.Manifest.MinSide, in); err != nil {
		return outcome{}, err
	}
	if err := checkKey(want.op, m.model.Manifest.Keying, key); err != nil {
		return outcome{}, err
	}
	if err := m.does(want); err != nil {
		return outcome{}, err
	}
	if err := ctx.Err(); err != nil {
		return outcome{}, err
	}
	asked := time.Now()
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
		stopwatch.Of(ctx).Wait += time.Since(asked)
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
	compute := m.runKeyed
	if constant(m.model) {
		compute = m.runConstant
	}
	out, err := compute(ctx, want, key, in)
	if err != nil {
		return outcome{}, err
	}
	e.done.Add(1)
	return out, nil
}

// begin finds a model and holds Close off until runs.Done.
func (e *Engine) begin(digest string) (*loadedModel, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	m, ok := e.models[digest]
	if !ok {
		return nil, fmt.Errorf("%w: no model with the digest %.12s was added", ErrUnknownModel, digest)
	}
	e.runs.Add(1)
	return m, nil
}

// Close waits for the runs under way and frees everything. Cancel their contexts
// first to have it soon. Run and Add fail with ErrClosed from its beginning on; a
// second Close does nothing. The order is
//
//  1. no new runs, and the ones under way end: they use all of the below;
//  2. the weights: bindings belong to sessions, and tensors to the environment;
//     with them the sessions of variants;
//  3. the sessions: they belong to the environment;
//  4. the environment, if no other Engine lives. The library stays mapped.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	e.mu.Unlock()

	e.runs.Wait()
	e.cache.clear()
	var broken []error
	for _, m := range e.models {
		broken = append(broken, m.close())
	}
	broken = append(broken, leave())
	return errors.Join(broken...)
}

// ProviderInfo says whether a provider can be used, and if not why not.
type ProviderInfo struct {
	Name    Provider
	Problem error // nil: available
}

// Info is what `doctor` tells of the runtime.
type Info struct {
	Library    string // path
	Version    string // of the library
	APIVersion int    // the C API in use
	Provider   Provider
	Providers  []ProviderInfo
	Threads    int
	Workers    int
	CacheBytes int64
}

// Name names what computes, as far as pixels may differ by it: "onnxruntime 1.24.1 cpu".
func (e *Engine) Name() string { return fmt.Sprintf("onnxruntime %s %s", e.version, e.provider) }

// Info describes the runtime. It tries every provider, which can take a second on
// a host with CUDA. The Engine must not be closed.
func (e *Engine) Info() Info {
	return Info{
		Library:    e.library,
		Version:    e.version,
		APIVersion: APIVersion,
		Provider:   e.provider,
		Providers:  []ProviderInfo{{Name: CPU}, {Name: CUDA, Problem: cudaProblem(e.library)}},
		Threads:    e.config.Threads,
		Workers:    e.config.Workers,
		CacheBytes: e.config.CacheBytes,
	}
}

// Stats counts what the Engine did and holds; it may be read at any time, also
// after Close, when Entries, Bytes, Tensors and Sessions are 0.
type Stats struct {
	Hits, Misses, Evictions uint64 // of the weight cache
	Entries                 int    // keys in the cache, one for each graph and role
	Bytes                   int64  // of their weights, and of variants' sessions
	Tensors                 int64  // live tensors of the runtime, weights and images
	Sessions                int64  // live sessions
	Runs                    uint64 // finished without an error
}

// Stats returns the counters now.
func (e *Engine) Stats() Stats {
	c := e.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{
		Hits: c.hits, Misses: c.misses, Evictions: c.evictions,
		Entries: len(c.entries), Bytes: c.bytes,
		Tensors: e.tensors.Load(), Sessions: e.sessions.Load(), Runs: e.done.Load(),
	}
}
