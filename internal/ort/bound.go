package ort

import (
	"context"
	"fmt"

	onnx "github.com/yalue/onnxruntime_go"
)

// binding keeps the weights of a key on the device: an IoBinding copies an input
// there when it is bound, so weights are bound once per key and images once per
// run. One run at a time can use it; runs of other keys go beside it.
//
// What was exercised: this code with the CPU provider, where binding copies
// nothing (TestBinding). What was not, for want of a device: CUDA itself. The
// sessions there take plain OIHW weights, since the blocked layout is the CPU's.
// A run through a binding cannot be told to stop: the Go binding takes no run
// options there.
type binding struct {
	io          *onnx.IoBinding
	turn        chan struct{} // holds one token while nobody runs
	placeholder onnx.Value    // stands in for the images between runs
}

func (p *program) newBinding(w *patch) (_ *binding, err error) {
	b := &binding{turn: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			b.destroy(p.engine)
		}
	}()
	if b.placeholder, err = p.engine.tensor([]int64{1, 1, 1, 1}, w.memory.cut(1)); err != nil {
		return nil, err
	}
	if b.io, err = p.session.CreateIoBinding(); err != nil {
		return nil, fmt.Errorf("make a binding: %w", err)
	}
	for i, f := range p.layout.inputs {
		if err := b.io.BindInput(f.name, w.tensors[i]); err != nil {
			return nil, fmt.Errorf("bind layer %s: %w", f.layer.Name, err)
		}
	}
	b.turn <- struct{}{}
	return b, nil
}

// run is program.run through the binding; the tensors are those of the images.
func (b *binding) run(ctx context.Context, p *program, in, out []onnx.Value) error {
	select {
	case <-b.turn:
		defer func() { b.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	// The binding holds on to what it is given. Images are the caller's memory,
	// pinned for this run only, so nothing of them may stay behind.
	defer func() {
		b.io.ClearBoundOutputs()
		for _, name := range p.op.Inputs() {
			if err := b.io.BindInput(name, b.placeholder); err != nil {
				p.engine.log.Error("unbind an image", "input", name, "error", err)
			}
		}
	}()
	for i, name := range p.op.Inputs() {
		if err := b.io.BindInput(name, in[i]); err != nil {
			return fmt.Errorf("bind %s: %w", name, err)
		}
	}
	for i, name := range p.names() {
		if err := b.io.BindOutput(name, out[i]); err != nil {
			return fmt.Errorf("bind %s: %w", name, err)
		}
	}
	return p.session.RunWithBinding(b.io)
}

func (b *binding) destroy(e *Engine) {
	if b.io != nil {
		b.io.Destroy() // cannot fail: it frees
	}
	e.destroy(b.placeholder)
}
