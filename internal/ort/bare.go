package ort

import (
	"context"
	"fmt"

	onnx "github.com/yalue/onnxruntime_go"

	"stegomq/internal/model"
	"stegomq/internal/pixel"
)

// Bare is a graph with the weights of one key as constants: what the runtime is fastest with, and what everything else is measured
// against. Several goroutines may run it. Close it before its Engine.
type Bare struct {
	engine  *Engine
	model   *loadedModel
	want    outputs
	key     *Key
	session *onnx.DynamicAdvancedSession // nil where the graphs hold their parameters anyway
}

// Bare opens an operation of a model with the weights of a key, the key being as for Run. Its errors are those of Run.
func (e *Engine) Bare(digest string, op model.Operation, key *Key) (_ *Bare, err error) {
	m, err := e.begin(digest)
	if err != nil {
		return nil, err
	}
	defer e.runs.Done()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s with model %s: %w", op, m.model.Name, err)
		}
	}()
	want := outputsOf(op, m.model, false)
	if err := m.does(want); err != nil {
		return nil, err
	}
	if err := checkKey(op, m.model.Manifest.Keying, key); err != nil {
		return nil, err
	}
	b := &Bare{engine: e, model: m, want: want, key: key}
	if constant(m.model) {
		return b, nil
	}
	g, err := parse(want, m.model, m.model.Graph(op))
	if err != nil {
		return nil, err
	}
	w := m.model.Weights
	if key != nil {
		w = make([]float32, len(m.model.Weights))
		defer clear(w) // they are as good as the key
		if err := fill(w, m.model, key); err != nil {
			return nil, err
		}
	}
	if b.session, err = e.constantSession(g, w); err != nil {
		return nil, err
	}
	e.sessions.Add(1)
	return b, nil
}

// Run is Engine.Run with the key of Bare. It waits for nobody: as many runs go at once as are asked for.
func (b *Bare) Run(ctx context.Context, in ...pixel.Tensor) (pixel.Tensor, error) {
	if err := CheckInputs(b.want.op, b.model.model.Manifest.MinSide, in); err != nil {
		return pixel.Tensor{}, err
	}
	var out outcome
	var err error
	if b.session == nil {
		out, err = b.model.runConstant(ctx, b.want, b.key, in)
	} else {
		out, err = b.engine.withImages(b.want, in, func(images, out []onnx.Value) error { return runSession(ctx, b.session, images, out) })
	}
	return out.image, err
}

// Close frees the graph; no run may be under way.
func (b *Bare) Close() error {
	if b.session == nil {
		return nil
	}
	b.engine.sessions.Add(-1)
	return b.session.Destroy()
}
