package ort

import (
	"context"
	"fmt"
	"runtime"

	onnx "github.com/yalue/onnxruntime_go"

	"stegomq/internal/model"
	"stegomq/internal/pixel"
)

// channels of an image: RGB.
const channels = 3

// checkInputs compares the images with what the operation takes.
func checkInputs(op model.Operation, minSide int, in []pixel.Tensor) error {
	names := op.Inputs()
	if len(names) == 0 {
		return fmt.Errorf("%w: there is no operation %q", ErrInput, op)
	}
	if len(in) != len(names) {
		return fmt.Errorf("%w: %d given, want %d: %q", ErrInput, len(in), len(names), names)
	}
	for i, t := range in {
		switch {
		case t.N < 1 || t.C != channels:
			return fmt.Errorf("%w: %s is %d images of %d channels, want at least 1 of %d", ErrInput, names[i], t.N, t.C, channels)
		case t.H < minSide || t.W < minSide:
			return fmt.Errorf("%w: %s is %dx%d pixels, the model takes no side below %d", ErrInput, names[i], t.W, t.H, minSide)
		case len(t.Data) != t.N*t.C*t.H*t.W:
			return fmt.Errorf("%w: %s has %d values for %dx%dx%dx%d", ErrInput, names[i], len(t.Data), t.N, t.C, t.H, t.W)
		case t.N != in[0].N || t.H != in[0].H || t.W != in[0].W:
			return fmt.Errorf("%w: %s is %d images of %dx%d, but %s %d of %dx%d", ErrInput,
				names[i], t.N, t.W, t.H, names[0], in[0].N, in[0].W, in[0].H)
		}
	}
	return nil
}

// checkKey compares the key with what the operation takes.
func checkKey(op model.Operation, key *Key) error {
	role, keyed := op.Role()
	switch {
	case !keyed && key != nil:
		return fmt.Errorf("%w: %s takes none", ErrKey, op)
	case !keyed:
		return nil
	case key == nil:
		return fmt.Errorf("%w: %s needs one", ErrKey, op)
	case key.Role != role:
		return fmt.Errorf("%w: %s needs the role %q, not %q", ErrKey, op, role, key.Role)
	case key.Fingerprint == "" || key.Bytes == nil:
		return fmt.Errorf("%w: it has no fingerprint or no bytes", ErrKey)
	}
	return nil
}

// run computes a batch with weights that are laid out for the program. The inputs
// were checked.
func (p *program) run(ctx context.Context, w *patch, in []pixel.Tensor) (pixel.Tensor, error) {
	return p.engine.withImages(in, func(images []onnx.Value, out onnx.Value) error {
		if w.bound != nil {
			return w.bound.run(ctx, p, images, out)
		}
		return runSession(ctx, p.session, append(images, w.tensors...), out)
	})
}

// withImages lends the images and a new output of their shape to the runtime for
// the time of a call. They are Go memory: pinned first and unpinned last.
func (e *Engine) withImages(in []pixel.Tensor, compute func(images []onnx.Value, out onnx.Value) error) (pixel.Tensor, error) {
	var pinned runtime.Pinner
	defer pinned.Unpin()
	var images []onnx.Value
	defer func() { e.destroy(images...) }()

	lend := func(t pixel.Tensor) error {
		pinned.Pin(&t.Data[0])
		v, err := e.tensor([]int64{int64(t.N), int64(t.C), int64(t.H), int64(t.W)}, t.Data)
		if err != nil {
			return err
		}
		images = append(images, v)
		return nil
	}
	out := in[0]
	out.Data = make([]float32, len(out.Data))
	for _, t := range append(in[:len(in):len(in)], out) {
		if err := lend(t); err != nil {
			return pixel.Tensor{}, err
		}
	}
	last := len(images) - 1
	if err := compute(images[:last:last], images[last]); err != nil {
		return pixel.Tensor{}, err
	}
	return out, nil
}

// runSession runs a session and has it stop when the context ends.
func runSession(ctx context.Context, session *onnx.DynamicAdvancedSession, in []onnx.Value, out onnx.Value) error {
	options, err := onnx.NewRunOptions()
	if err != nil {
		return fmt.Errorf("%w: make run options: %w", ErrRun, err)
	}
	defer options.Destroy()
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		options.Terminate() // the run ends with an error, or had ended already
	})
	err = session.RunWithOptions(in, []onnx.Value{out}, options)
	if !stop() {
		<-told // the options must outlive it
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrRun, err)
}
