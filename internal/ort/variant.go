package ort

import (
	"context"
	"fmt"
	"time"

	onnx "github.com/yalue/onnxruntime_go"

	"stegomq/internal/model"
	"stegomq/internal/pixel"
	"stegomq/internal/weights"
)

// Variants belong to a model that has a network for each key, or one that keys do not change. The parameters are constants of the graph, so
// there is nothing to patch and no layout to check. Sessions take much memory; they are held in the cache of weights, under the same bound.

// noiseInput is the one input of a recover graph beside the stego image: normal
// values, [batch, channels, height/2, width/2] of the padded image, the same for
// each image of a batch and for each run, so that results repeat.
const noiseInput = "z"

// noiseSeed is that of all runs; see weights.Normal.
const noiseSeed = 0

// maxNoise bounds the channels of the noise.
const maxNoise = 1024

// variantCost is what a session takes for each byte of its file: the parameters as they came, as the
// kernels want them, and what the runtime makes beside. Measured on the CPU: 2.2 for files of 16 and
// 67 MB, up to 3.3 for the first sessions of a process.
const variantCost = 3

// variant is the network of one key, or of all, for one operation.
type variant struct {
	engine  *Engine
	session *onnx.DynamicAdvancedSession
	noise   int // channels of noiseInput; 0: there is none
	bytes   int64
}

// constant says whether the graphs of a model hold their parameters: there is nothing to patch with a key.
func constant(m *model.Model) bool { return m.Manifest.Keying != model.KeyingWeights }

// runConstant computes a batch with the network of a key, or with that of all keys. The inputs were checked.
func (m *loadedModel) runConstant(ctx context.Context, want outputs, key *Key, in []pixel.Tensor) (outcome, error) {
	fingerprint := ""
	if key != nil {
		fingerprint = key.Fingerprint
	}
	hot, err := m.acquireVariant(ctx, want, fingerprint)
	if err != nil {
		return outcome{}, err
	}
	defer m.engine.cache.release(hot)
	v := hot.held.(*variant)
	if v.noise > 0 {
		in = append(in[:len(in):len(in)], noiseFor(in[0], v.noise, m.model.Manifest.Factor))
	}
	return m.engine.withImages(want, in, func(images, out []onnx.Value) error {
		return runSession(ctx, v.session, images, out)
	})
}

func (m *loadedModel) acquireVariant(ctx context.Context, want outputs, fingerprint string) (*weightEntry, error) {
	// What stands for the role tells the operations apart, purification too.
	name := weightKey{variantOf: m, features: want.wanted, fingerprint: fingerprint, role: weights.Role(want.op)}
	return m.engine.cache.acquire(ctx, name, func() (held, error) { return m.openVariant(want, fingerprint) })
}

// prepareConstant opens the graphs of an operation of every key, one after another, or the one of all keys.
func (m *loadedModel) prepareConstant(op model.Operation) error {
	fingerprints := []string{""}
	if m.model.Manifest.Keying == model.KeyingVariant {
		fingerprints = fingerprints[:0]
		for _, v := range m.model.Manifest.Variants {
			fingerprints = append(fingerprints, v.Fingerprint)
		}
	}
	for _, fingerprint := range fingerprints {
		hot, err := m.acquireVariant(context.Background(), outputsOf(op, m.model, false), fingerprint)
		if err != nil {
			return err
		}
		m.engine.cache.release(hot)
	}
	return nil
}

// openVariant makes the session of a key.
func (m *loadedModel) openVariant(want outputs, fingerprint string) (*variant, error) {
	begin, op := time.Now(), want.op
	data := m.model.Graph(op)
	if data == nil {
		var err error
		if data, err = m.model.VariantGraph(op, fingerprint); err != nil {
			return nil, err
		}
	}
	g, err := parse(want, m.model, data)
	if err != nil {
		return nil, fmt.Errorf("open the graph %s of %s of model %s: %w", op, fingerprint, m.model.Name, err)
	}
	v := &variant{engine: m.engine, noise: g.noise, bytes: variantCost * int64(len(data))}
	inputs := op.Inputs()
	if v.noise > 0 {
		inputs = append(inputs, noiseInput)
	}
	if v.session, err = newSession(g.bytes, inputs, want.names(), m.engine.sessionConfig()); err != nil {
		return nil, fmt.Errorf("open the graph %s of %s of model %s: %w: %w", op, fingerprint, m.model.Name, ErrGraph, err)
	}
	m.engine.sessions.Add(1)
	m.engine.log.Info("variant open", "model", m.model.Name, "operation", op, "features", want.wanted,
		"fingerprint", fingerprint, "bytes", v.bytes, "took", time.Since(begin))
	return v, nil
}

// noiseFor makes the noise for a batch of images.
func noiseFor(in pixel.Tensor, noise, factor int) pixel.Tensor {
	half := func(side int) int { return (side + factor - 1) / factor * factor / 2 }
	z := pixel.Tensor{N: in.N, C: noise, H: half(in.H), W: half(in.W)}
	one := z.C * z.H * z.W
	z.Data = make([]float32, z.N*one)
	weights.Normal(z.Data[:one], noiseSeed)
	for n := 1; n < z.N; n++ {
		copy(z.Data[n*one:], z.Data[:one])
	}
	return z
}

// size is in bytes; see variantCost.
func (v *variant) size() int64 { return v.bytes }

func (v *variant) destroy() {
	v.engine.sessions.Add(-1)
	if err := v.session.Destroy(); err != nil {
		v.engine.log.Error("close the session of a variant", "error", err)
	}
}
