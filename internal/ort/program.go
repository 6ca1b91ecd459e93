package ort

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	onnx "github.com/yalue/onnxruntime_go"

	"stegomq/internal/model"
	"stegomq/internal/pixel"
)

// loadedModel is a model and its graphs as far as they were opened.
type loadedModel struct {
	engine  *Engine
	model   *model.Model
	openers map[model.Operation]func() (*program, error) // each opens once
	scratch sync.Pool                                    // of *[]float32, all weights; zeroed

	mu    sync.Mutex
	open  []*program
	forms []form // those of the graphs open, to share their tables
}

func newLoadedModel(e *Engine, m *model.Model) *loadedModel {
	l := &loadedModel{engine: e, model: m, openers: map[model.Operation]func() (*program, error){}}
	if m.Manifest.Keying != model.KeyingWeights {
		return l
	}
	for _, op := range model.Operations() {
		l.openers[op] = sync.OnceValues(func() (*program, error) { return l.openProgram(op) })
	}
	l.scratch.New = func() any {
		w := make([]float32, len(m.Weights))
		return &w
	}
	return l
}

// does says that the model has an operation.
func (m *loadedModel) does(op model.Operation) error {
	if !m.model.Manifest.Does(op) {
		return fmt.Errorf("%w: %s", ErrOperation, op)
	}
	return nil
}

// prepare opens the graph of an operation, or those of all variants.
func (m *loadedModel) prepare(op model.Operation) error {
	if err := m.does(op); err != nil {
		return fmt.Errorf("model %s: %w", m.model.Name, err)
	}
	if m.model.Manifest.Keying == model.KeyingVariant {
		return m.prepareVariants(op)
	}
	_, err := m.program(op)
	return err
}

// runKeyed computes a batch with the weights of a key in the one network.
func (m *loadedModel) runKeyed(ctx context.Context, op model.Operation, key *Key, in []pixel.Tensor) (pixel.Tensor, error) {
	p, err := m.program(op)
	if err != nil {
		return pixel.Tensor{}, err
	}
	name := weightKey{program: p}
	if key != nil {
		name.fingerprint, name.role = key.Fingerprint, key.Role
	}
	hot, err := m.engine.cache.acquire(ctx, name, func() (held, error) { return p.load(key) })
	if err != nil {
		return pixel.Tensor{}, err
	}
	defer m.engine.cache.release(hot)
	return p.run(ctx, hot.held.(*patch), in)
}

// program is an operation of a model, open and checked.
type program struct {
	engine     *Engine
	owner      *loadedModel
	op         model.Operation
	session    *onnx.DynamicAdvancedSession
	layout     layout
	difference float64
	took       time.Duration
}

// program opens a graph the first time; later calls get the same outcome, an
// error too, because the files that it comes from do not change.
func (m *loadedModel) program(op model.Operation) (*program, error) {
	open, ok := m.openers[op]
	if !ok {
		return nil, fmt.Errorf("%w: there is no operation %q", ErrGraph, op)
	}
	return open()
}

func (m *loadedModel) openProgram(op model.Operation) (*program, error) {
	begin := time.Now()
	g, err := parse(op, m.model.Graph(op), m.model.Layers)
	if err != nil {
		return nil, fmt.Errorf("open the graph %s of model %s: %w", op, m.model.Name, err)
	}
	log := m.engine.log.With("model", m.model.Name, "operation", op)

	var p *program
	slower := errNoLayout
	if m.engine.provider == CPU {
		p, slower = m.openNative(g)
	}
	if p == nil {
		if p, err = m.openChecked(g, plain(g)); err != nil {
			return nil, fmt.Errorf("open the graph %s of model %s: %w: %w", op, m.model.Name, ErrGraph, err)
		}
		if !errors.Is(slower, errNoLayout) {
			log.Warn("the weights are not in the runtime's own layout, which is slower", "reason", slower)
		}
	}
	p.took = time.Since(begin)
	m.mu.Lock()
	m.share(&p.layout)
	m.open = append(m.open, p)
	m.mu.Unlock()
	log.Info("graph open", "native", p.layout.native, "difference", p.difference, "took", p.took)
	return p, nil
}

// errNoLayout: a provider other than the CPU has no layout to probe.
var errNoLayout = errors.New("no layout of its own")

func (m *loadedModel) openNative(g *graph) (*program, error) {
	l, err := probe(g)
	if err != nil {
		return nil, err
	}
	return m.openChecked(g, l)
}

// openChecked makes a session for a layout and lets it pass if it computes what
// constant weights do.
func (m *loadedModel) openChecked(g *graph, l layout) (*program, error) {
	p := &program{engine: m.engine, owner: m, op: g.op, layout: l}
	config := m.engine.sessionConfig()
	if l.native {
		// The file is optimised already; optimising twice could undo the layout.
		config.level = onnx.GraphOptimizationLevelDisableAll
	}
	names := g.op.Inputs()
	for _, f := range l.inputs {
		names = append(names, f.name)
	}
	var err error
	if p.session, err = newSession(l.data, names, []string{g.op.Output()}, config); err != nil {
		return nil, err
	}
	m.engine.sessions.Add(1)
	p.layout.data = nil // the session has what it needs
	if p.difference, err = p.check(g); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// sessionConfig is that of a session that optimises its graph itself.
func (e *Engine) sessionConfig() sessionConfig {
	return sessionConfig{provider: e.provider, level: onnx.GraphOptimizationLevelEnableAll, threads: e.config.Threads}
}

// share replaces the tables of a layout that another graph of the model has too:
// graphs mostly use a layer alike, and a table is as large as the layer.
func (m *loadedModel) share(l *layout) {
	for i, f := range l.inputs {
		if f.from == nil {
			continue
		}
		at := slices.IndexFunc(m.forms, func(known form) bool {
			return known.layer == f.layer && slices.Equal(known.from, f.from)
		})
		if at >= 0 {
			l.inputs[i].from = m.forms[at].from
		} else {
			m.forms = append(m.forms, f)
		}
	}
}

func (m *loadedModel) graphs() []GraphInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []GraphInfo
	for _, p := range m.open {
		all = append(all, GraphInfo{
			Model: m.model.Name, Digest: m.model.Digest, Operation: p.op,
			Native: p.layout.native, Difference: p.difference, Opened: p.took,
		})
	}
	return all
}

func (m *loadedModel) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var broken []error
	for _, p := range m.open {
		broken = append(broken, p.close())
	}
	m.open = nil
	return errors.Join(broken...)
}

func (p *program) close() error {
	p.engine.sessions.Add(-1)
	if err := p.session.Destroy(); err != nil {
		return fmt.Errorf("close the session of %s: %w", p.op, err)
	}
	return nil
}
