package ort

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	onnx "github.com/yalue/onnxruntime_go"

	"stegomq/internal/pixel"
	"stegomq/internal/weights"
)

// tolerance is how far a graph with weights as plain inputs may be from the same
// graph with constant weights: the largest difference of two values over the
// largest value, or over 1 where that is less. On CUDA the two may use different
// convolution algorithms. In the native layout the difference must be 0: the same
// kernels run on the same numbers.
func (p *program) tolerance() float64 {
	switch {
	case p.layout.native:
		return 0
	case p.engine.provider == CUDA:
		return 1e-3
	}
	return 1e-5
}

// errDiffers: the comparison with constant weights failed.
var errDiffers = errors.New("weights as inputs do not give what constant weights give")

// trial is what a session with constant weights computed of the random inputs of a seed.
type trial struct {
	Seed            [32]byte
	Image, Features []float32
}

// inputs are the weights and images of a trial. Each weight of the model is multiplied by a random number from 0.75 to 1.25, so that no two are
// alike and outputs keep their usual size. The images are random and of an odd size. The trial takes no key, because filling weights from one
// takes longer than the trial itself.
func (p *program) inputs(seed [32]byte) (w []float32, in []pixel.Tensor) {
	random := rand.New(rand.NewChaCha8(seed))
	m := p.owner.model
	w = make([]float32, len(m.Weights))
	for i, v := range m.Weights {
		w[i] = v * (0.75 + random.Float32()/2)
	}
	side := m.Manifest.MinSide + m.Manifest.Factor
	for range p.op.Inputs() {
		in = append(in, noise(random, 1, side+1, side+2))
	}
	return w, in
}

// check compares the program with a session that has the same weights as constants, on a trial's inputs, and notes the difference. One above the
// tolerance is an error. An empty trial is made first, with a new seed.
func (p *program) check(g *graph, t *trial) error {
	made := t.Image == nil
	if made {
		crand.Read(t.Seed[:])
	}
	w, in := p.inputs(t.Seed)
	if made {
		want, err := p.constant(g, w, in)
		if err != nil {
			return fmt.Errorf("check against constant weights: %w", err)
		}
		t.Image, t.Features = want.image.Data, want.features
	}
	patch, err := p.patch(w)
	if err != nil {
		return fmt.Errorf("check against constant weights: %w", err)
	}
	defer patch.destroy()
	got, err := p.run(context.Background(), patch, in)
	if err != nil {
		return fmt.Errorf("check against constant weights: %w", err)
	}
	if len(got.image.Data) != len(t.Image) || len(got.features) != len(t.Features) {
		return fmt.Errorf("%w: there are %d values and %d features, not %d and %d", errDiffers,
			len(got.image.Data), len(got.features), len(t.Image), len(t.Features))
	}
	p.difference = max(distance(got.image.Data, t.Image), distance(got.features, t.Features)) // NaN if either is
	if !(p.difference <= p.tolerance()) {                                                     // also if it is not a number
		return fmt.Errorf("%w: they are %g apart, allowed is %g (seed %s)", errDiffers, p.difference, p.tolerance(), hex.EncodeToString(t.Seed[:]))
	}
	return nil
}

// constant computes a batch with the weights as constants in a session of its own.
func (p *program) constant(g *graph, w []float32, in []pixel.Tensor) (outcome, error) {
	session, err := p.engine.constantSession(g, w)
	if err != nil {
		return outcome{}, err
	}
	defer session.Destroy()
	return p.engine.withImages(g.outputs, in, func(images, out []onnx.Value) error {
		return runSession(context.Background(), session, images, out)
	})
}

// constantSession makes the session that the runtime is fastest with: weights as
// constants, all optimisations. w holds the weights of all layers.
func (e *Engine) constantSession(g *graph, w []float32) (*onnx.DynamicAdvancedSession, error) {
	data, err := g.withConstants(func(l weights.Layer) []float32 { return w[l.Offset : l.Offset+l.Len()] })
	if err != nil {
		return nil, err
	}
	return newSession(data, g.op.Inputs(), g.names(), e.sessionConfig())
}

// noise is a batch of random images in [0, 1).
func noise(r *rand.Rand, n, h, w int) pixel.Tensor {
	t := pixel.Tensor{N: n, C: channels, H: h, W: w, Data: make([]float32, n*channels*h*w)}
	for i := range t.Data {
		t.Data[i] = r.Float32()
	}
	return t
}

// distance is the largest difference between two slices of one length, over the
// largest value of b or 1. It is not a number if a or b holds one that is not.
func distance(a, b []float32) float64 {
	most, scale := 0.0, 1.0
	for i := range a {
		d := math.Abs(float64(a[i]) - float64(b[i]))
		if math.IsNaN(d) {
			return d
		}
		most = max(most, d)
		scale = max(scale, math.Abs(float64(b[i])))
	}
	return most / scale
}
