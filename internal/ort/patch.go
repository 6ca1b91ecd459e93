package ort

import (
	"fmt"

	onnx "github.com/yalue/onnxruntime_go"

	"stegomq/internal/model"
)

// patch is the weights of one key for one program, in its layout.
type patch struct {
	engine  *Engine
	memory  *block
	tensors []onnx.Value // in the order of the program's weight inputs
	bound   *binding     // nil unless weights are kept on a device
}

// load makes the weights of a key, or W whole for no key. The key's bytes are
// asked for in fill and nowhere else.
func (p *program) load(key *Key) (*patch, error) {
	m := p.owner.model
	if key == nil {
		return p.patch(m.Weights)
	}
	keyed := p.owner.scratch.Get().(*[]float32)
	defer func() {
		clear(*keyed) // they are as good as the key
		p.owner.scratch.Put(keyed)
	}()
	if err := fill(*keyed, m, key); err != nil {
		return nil, err
	}
	return p.patch(*keyed)
}

// fill writes the weights of a key to dst, which holds as many as the model has.
func fill(dst []float32, m *model.Model, key *Key) error {
	bytes := key.Bytes()
	if len(bytes) == 0 {
		return fmt.Errorf("%w: %s is empty", ErrKey, key.Fingerprint)
	}
	if part := key.Part; part == nil {
		m.Apply(dst, key.Fingerprint, key.Role, bytes)
	} else {
		m.Apply(dst, part.Owner, key.Role, bytes)
		m.Mask.Spoil(dst, key.Role, part.Right, part.Wrong)
	}
	return nil
}

// patch lays weights out for the program; w holds those of all layers and is free
// again when it returns.
func (p *program) patch(w []float32) (_ *patch, err error) {
	sizes := make([]int, 0, len(p.layout.inputs)+1)
	for _, f := range p.layout.inputs {
		sizes = append(sizes, f.len())
	}
	if p.engine.bind {
		sizes = append(sizes, 1) // the binding's placeholder
	}
	made := &patch{engine: p.engine}
	if made.memory, err = newBlock(blockSize(sizes...)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			made.destroy()
		}
	}()
	for _, f := range p.layout.inputs {
		data := made.memory.cut(f.len())
		f.fill(data, w[f.layer.Offset:f.layer.Offset+f.layer.Len()])
		t, err := p.engine.tensor(f.dims, data)
		if err != nil {
			return nil, err
		}
		made.tensors = append(made.tensors, t)
	}
	if p.engine.bind {
		if made.bound, err = p.newBinding(made); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// size is in bytes, the copy on a device counted too.
func (w *patch) size() int64 {
	size := int64(len(w.memory.mapped))
	if w.bound != nil {
		size *= 2
	}
	return size
}

// destroy frees the weights; no run may use them. The binding goes first, because
// it refers to the tensors, and they before the memory that they point at.
func (w *patch) destroy() {
	if w.bound != nil {
		w.bound.destroy(w.engine)
	}
	w.engine.destroy(w.tensors...)
	if err := w.memory.free(); err != nil {
		// Only a bug can get here: the mapping is ours and whole.
		w.engine.log.Error("unmap the weights of a key", "error", err)
	}
}
