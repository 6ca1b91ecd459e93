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
	"stegomq/internal/stopwatch"
)

// loadedModel is a model and its graphs as far as they were opened.
type loadedModel struct {
	engine  *Engine
	model   *model.Model
	openers map[outputs]func() (*program, error) // each opens once
	scratch sync.Pool                            // of *[]float32, all weights; zeroed

	mu    sync.Mutex
	open  []*program
	forms []form // those of the graphs open, to share their tables
}

func newLoadedModel(e *Engine, m *model.Model) *loadedModel {
	l := &loadedModel{engine: e, model: m, openers: map[outputs]func() (*program, error){}}
	if constant(m) {
		return l
	}
	for _, op := range model.Operations() {
		for _, wanted := range []bool{false, true} {
			o := outputsOf(op, m, wanted)
			l.openers[o] = sync.OnceValues(func() (*program, error) { return l.openProgram(o) })
		}
	}
	l.scratch.New = func() any {
		w := make([]float32, len(m.Weights))
		return &w
	}
	return l
}

// does says that the model has an operation, and features if they are wanted.
func (m *loadedModel) does(o outputs) error {
	switch {
	case !m.model.Manifest.Does(o.op):
		return fmt.Errorf("%w: %s", ErrOperation, o.op)
	case o.wanted && o.features == 0:
		return fmt.Errorf("%w: %s with %s; train or export the model with a trainer that writes them", ErrOperation, o.op, model.Features)
	}
	return nil
}

// prepare opens the graph of an operation, or those of all variants.
func (m *loadedModel) prepare(op model.Operation) error {
	o := outputsOf(op, m.model, false)
	if err := m.does(o); err != nil {
		return fmt.Errorf("model %s: %w", m.model.Name, err)
	}
	if constant(m.model) {
		return m.prepareConstant(op)
	}
	_, err := m.program(o)
	return err
}

// runKeyed computes a batch with the weights of a key in the one network.
func (m *loadedModel) runKeyed(ctx context.Context, want outputs, key *Key, in []pixel.Tensor) (outcome, error) {
	p, err := m.program(want)
	if err != nil {
		return outcome{}, err
	}
	name := weightKey{program: p}
	if key != nil {
		name.fingerprint, name.role = key.Fingerprint, key.Role
	}
	asked := time.Now()
	hot, err := m.engine.cache.acquire(ctx, name, func() (held, error) { return p.load(key) })
	if err != nil {
		return outcome{}, err
	}
	stopwatch.Of(ctx).Patch += time.Since(asked)
	defer m.engine.cache.release(hot)
	return p.run(ctx, hot.held.(*patch), in)
}

// program is an operation of a model, open and checked.
type program struct {
	outputs
	engine     *Engine
	owner      *loadedModel
	session    *onnx.DynamicAdvancedSession
	layout     layout
	difference float64
	kept       bool // its layout was found out at an earlier start
}

// program opens a graph the first time; later calls get the same outcome, an
// error too, because the files that it comes from do not change.
func (m *loadedModel) program(o outputs) (*program, error) {
	open, ok := m.openers[o]
	if !ok {
		return nil, fmt.Errorf("%w: there is no operation %q", ErrGraph, o.op)
	}
	return open()
}

func (m *loadedModel) openProgram(o outputs) (*program, error) {
	begin := time.Now()
	g, err := parse(o, m.model, m.model.Graph(o.op))
	if err != nil {
		return nil, fmt.Errorf("open the graph %s of model %s: %w", o.op, m.model.Name, err)
	}
	log := m.engine.log.With("model", m.model.Name, "operation", o.op, "features", o.wanted)

	var p *program
	var slower error
	if m.engine.provider == CPU { // another one has no layout to probe
		p, slower = m.openNative(g)
	}
	if p == nil {
		if p, err = m.openLayout(g, plain(g), &trial{}); err != nil {
			return nil, fmt.Errorf("open the graph %s of model %s: %w: %w", o.op, m.model.Name, ErrGraph, err)
		}
		if slower != nil {
			log.Warn("the weights are not in the runtime's own layout, which is slower", "reason", slower)
		}
	}
	m.mu.Lock()
	m.share(&p.layout)
	m.open = append(m.open, p)
	m.mu.Unlock()
	log.Info("graph open", "native", p.layout.native, "kept", p.kept, "difference", p.difference, "took", time.Since(begin))
	return p, nil
}

// openNative opens a graph in the runtime's own layout: the layout that an earlier start on this host kept, or a new one, which is then
// kept. A kept layout is tried on the inputs that it was checked with.
func (m *loadedModel) openNative(g *graph) (*program, error) {
	name := m.engine.layouts.name(m.model, g)
	if kept := m.engine.layouts.read(name); kept != nil {
		p, err := m.openKept(g, kept)
		if err == nil {
			return p, nil
		}
		m.engine.log.Warn("a layout that was kept is of no use here: it is made anew", "model", m.model.Name, "operation", g.op, "reason", err)
	}
	probed, err := probe(g)
	if err != nil {
		return nil, err
	}
	l, err := readLayout(g, probed)
	if err != nil {
		return nil, err
	}
	t := trial{}
	p, err := m.openLayout(g, l, &t)
	if err != nil {
		return nil, err
	}
	m.engine.layouts.keep(name, l.kept(t))
	return p, nil
}

func (m *loadedModel) openKept(g *graph, kept *keptLayout) (*program, error) {
	l, err := kept.layout(g)
	if err != nil {
		return nil, err
	}
	p, err := m.openLayout(g, l, &kept.Trial)
	if err != nil {
		return nil, err
	}
	p.kept = true
	return p, nil
}

// openLayout makes a session for a layout and lets it pass if it computes what constant weights do; see check.
func (m *loadedModel) openLayout(g *graph, l layout, t *trial) (*program, error) {
	p := &program{outputs: g.outputs, engine: m.engine, owner: m, layout: l}
	config := m.engine.sessionConfig()
	if l.native {
		// The file is optimised already; optimising twice could undo the layout.
		config.level = onnx.GraphOptimizationLevelDisableAll
	}
	inputs := g.op.Inputs()
	for _, f := range l.inputs {
		inputs = append(inputs, f.name)
	}
	var err error
	if p.session, err = newSession(l.data, inputs, g.names(), config); err != nil {
		return nil, err
	}
	m.engine.sessions.Add(1)
	p.layout.data = nil // the session has what it needs
	if err := p.check(g, t); err != nil {
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
