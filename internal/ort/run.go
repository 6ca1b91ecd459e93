package ort

import (
	"context"
	"fmt"
	"runtime"

	onnx "github.com/yalue/onnxruntime_go"

	"stegomq/internal/model"
	"stegomq/internal/pixel"
	"stegomq/internal/weights"
)

// channels of an image: RGB.
const channels = 3

// CheckInputs compares the images with what the operation takes: as many as it has inputs, all of one size, whose sides are minSide or more.
// The error wraps ErrInput.
func CheckInputs(op model.Operation, minSide int, in []pixel.Tensor) error {
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
func checkKey(op model.Operation, keying string, key *Key) error {
	role, keyed := op.Role()
	keyed = keyed && keying != model.KeyingRotation
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
	case key.Part != nil && (key.Part.Owner == "" || len(key.Part.Wrong) == 0 || key.Part.Right < 0 || key.Part.Right > weights.Whole):
		return fmt.Errorf("%w: of a part, it has no owner, no wrong key, or a share that is not in 0..%d permille", ErrKey, weights.Whole)
	}
	return nil
}

// outcome is what a run gives.
type outcome struct {
	image    pixel.Tensor
	features []float32 // a row for each image, or nil where they are not wanted
}

// run computes a batch with weights that are laid out for the program. The inputs
// were checked.
func (p *program) run(ctx context.Context, w *patch, in []pixel.Tensor) (outcome, error) {
	return p.engine.withImages(p.outputs, in, func(images, out []onnx.Value) error {
		if w.bound != nil {
			return w.bound.run(ctx, p, images, out)
		}
		return runSession(ctx, p.session, append(images, w.tensors...), out)
	})
}

// withImages lends the images and new outputs, the first of their shape, to the
// runtime for the time of a call. They are Go memory: pinned first and unpinned last.
func (e *Engine) withImages(want outputs, in []pixel.Tensor, compute func(images, out []onnx.Value) error) (outcome, error) {
	var pinned runtime.Pinner
	defer pinned.Unpin()
	var lent []onnx.Value
	defer func() { e.destroy(lent...) }()

	lend := func(data []float32, dims ...int) error {
		pinned.Pin(&data[0])
		v, err := e.tensor(dims64(dims), data)
		if err != nil {
			return err
		}
		lent = append(lent, v)
		return nil
	}
	made := outcome{image: in[0]}
	made.image.Data = make([]float32, len(in[0].Data))
	for _, t := range append(in[:len(in):len(in)], made.image) {
		if err := lend(t.Data, t.N, t.C, t.H, t.W); err != nil {
			return outcome{}, err
		}
	}
	if want.wanted {
		made.features = make([]float32, in[0].N*want.features)
		if err := lend(made.features, in[0].N, want.features); err != nil {
			return outcome{}, err
		}
	}
	if err := compute(lent[:len(in):len(in)], lent[len(in):]); err != nil {
		return outcome{}, err
	}
	return made, nil
}

// runSession runs a session and has it stop when the context ends.
func runSession(ctx context.Context, session *onnx.DynamicAdvancedSession, in, out []onnx.Value) error {
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
	err = session.RunWithOptions(in, out, options)
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
