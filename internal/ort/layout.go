package ort

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	onnx "github.com/yalue/onnxruntime_go"
	"google.golang.org/protobuf/proto"

	"stegomq/internal/ort/onnxpb"
	"stegomq/internal/weights"
)

// The layout probe.
//
// With constant weights the runtime reorders them once, at session creation, into
// the blocked layout that its convolution kernels read fastest (NCHWc; which one
// depends on the host's instruction set and on the layer). With weights as graph
// inputs it cannot, and runs slower: by a tenth on wide networks, by half on narrow
// ones (BenchmarkWeights). So we ask it what it would have
// done: a session whose weights are constants, each weight another integer, saves
// its optimised graph; where an integer went is where that weight belongs. In the
// saved graph those initializers become graph inputs of the new shape. A session
// on that graph runs the same kernels on the same layout as one with constants.
//
// The integers end just below 2^24, up to where float32 holds every integer, so
// that no honest constant (a zero, a one, a bias) is taken for a weight. Zero is
// padding. The saved file holds no key and is good on this host only; layouts keep it for
// the next start.

// errLayout: the optimiser changed the weights in a way that the probe does not
// understand. The graph then runs with its weights as plain inputs.
var errLayout = errors.New("the optimised layout is not a permutation of the weights")

// maxProbe is the number of integers, counted from 0, that float32 holds exactly.
const maxProbe = 1 << 24

// layout is a graph in the form in which it runs, and where each weight goes.
type layout struct {
	data   []byte // the ONNX file
	inputs []form // the weight inputs, in order
	native bool   // the runtime's own layout, not OIHW
}

// form is one weight input: a layer in some layout. A layer has several where the
// graph uses it in convolutions of different kinds.
type form struct {
	name  string
	dims  []int64
	layer weights.Layer
	// from[i] is 1 + the index within the layer of the value at i, or 0 where i is
	// padding; nil stands for the layer as it is.
	from []uint32
}

// len is the number of values, padding included.
func (f form) len() int {
	n := 1
	for _, d := range f.dims {
		n *= int(d)
	}
	return n
}

// fill writes a layer's values to dst in the layout; dst must be zero where the
// form has padding.
func (f form) fill(dst, layer []float32) {
	if f.from == nil {
		copy(dst, layer)
		return
	}
	for i, at := range f.from {
		if at != 0 {
			dst[i] = layer[at-1]
		}
	}
}

// plain is the layout of the file itself: OIHW inputs.
func plain(g *graph) layout {
	l := layout{data: g.bytes}
	for _, layer := range g.layers {
		l.inputs = append(l.inputs, form{name: layer.Name, dims: dims64(layer.Shape[:]), layer: layer})
	}
	return l
}

// probe has the runtime optimise a graph of numbered weights on the CPU, and returns the ONNX file that came out. readLayout
// says what it means.
func probe(g *graph) ([]byte, error) {
	if total := g.weightCount(); total >= maxProbe {
		return nil, fmt.Errorf("%w: %d weights, at most %d can be told apart", errLayout, total, maxProbe-1)
	}
	next := g.numbering().first
	numbered, err := g.withConstants(func(l weights.Layer) []float32 {
		ids := make([]float32, l.Len())
		for i := range ids {
			ids[i] = float32(next)
			next++
		}
		return ids
	})
	if err != nil {
		return nil, err
	}
	return optimise(numbered, g)
}

// numbering numbers the weights of a graph, layer by layer.
func (g *graph) numbering() numbering {
	n := numbering{first: maxProbe - g.weightCount(), layers: g.layers}
	next := n.first
	for _, l := range g.layers {
		n.starts = append(n.starts, next)
		next += l.Len()
	}
	return n
}

// readLayout finds the native layout of a graph in what probe returned.
func readLayout(g *graph, probed []byte) (layout, error) {
	optimised := &onnxpb.Model{}
	if err := proto.Unmarshal(probed, optimised); err != nil {
		return layout{}, fmt.Errorf("decode the optimised graph: %w", err)
	}
	if optimised.Graph == nil {
		return layout{}, errors.New("decode the optimised graph: it is empty")
	}
	n := g.numbering()
	l := layout{native: true}
	found := make(map[string]bool, len(g.layers))
	constants := optimised.Graph.Initializer
	optimised.Graph.Initializer = nil
	for _, t := range constants {
		values, ok := floats(t)
		if !ok || !n.in(values) {
			optimised.Graph.Initializer = append(optimised.Graph.Initializer, t)
			continue
		}
		f, err := n.read(t, values)
		if err != nil {
			return layout{}, err
		}
		found[f.layer.Name] = true
		l.inputs = append(l.inputs, f)
		optimised.Graph.Input = append(optimised.Graph.Input, floatInput(f.name, f.dims))
	}
	for _, layer := range g.layers {
		if !found[layer.Name] {
			return layout{}, fmt.Errorf("%w: layer %s is gone", errLayout, layer.Name)
		}
	}
	var err error
	if l.data, err = proto.Marshal(optimised); err != nil {
		return layout{}, fmt.Errorf("encode the optimised graph: %w", err)
	}
	return l, nil
}

// optimise has the runtime optimise a graph whose weights are constants for this
// host and returns what came out.
func optimise(numbered []byte, g *graph) ([]byte, error) {
	dir, err := os.MkdirTemp("", "stegomq-ort-")
	if err != nil {
		return nil, fmt.Errorf("make a place for the optimised graph: %w", err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "optimised.onnx")

	session, err := newSession(numbered, g.op.Inputs(), g.names(), sessionConfig{
		provider: CPU,
		level:    onnx.GraphOptimizationLevelEnableAll,
		threads:  1,
		saveTo:   file,
	})
	if err != nil {
		return nil, fmt.Errorf("optimise: %w", err)
	}
	if err := session.Destroy(); err != nil {
		return nil, fmt.Errorf("close the optimising session: %w", err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the optimised graph: %w", err)
	}
	return data, nil
}

// numbering says which integer stands for which weight.
type numbering struct {
	first  int // the least integer
	layers []weights.Layer
	starts []int // the integer of each layer's first weight
}

// in reports whether a constant holds any of the integers.
func (n numbering) in(values []float32) bool {
	for _, v := range values {
		if v >= float32(n.first) && v < maxProbe {
			return true
		}
	}
	return false
}

// read finds the layer that an initializer of the optimised graph holds, and
// where each weight went. Every weight of the layer must be there exactly once,
// and nothing else but zeros.
func (n numbering) read(t *onnxpb.Tensor, values []float32) (form, error) {
	f := form{name: t.GetName(), dims: t.GetDims(), from: make([]uint32, len(values))}
	if f.len() != len(values) {
		return form{}, fmt.Errorf("%w: %s has %d values for the shape %v", errLayout, f.name, len(values), f.dims)
	}
	start, seen := -1, 0
	inOrder := true
	var once []bool
	for i, v := range values {
		if v == 0 {
			inOrder = false
			continue
		}
		id := int(v)
		if float32(id) != v || id < n.first || id >= maxProbe {
			return form{}, fmt.Errorf("%w: %s holds %v, which is no weight", errLayout, f.name, v)
		}
		if start < 0 {
			layer := n.layerOf(id)
			f.layer, start = n.layers[layer], n.starts[layer]
			once = make([]bool, f.layer.Len())
		}
		at := id - start
		if at < 0 || at >= len(once) {
			return form{}, fmt.Errorf("%w: %s mixes layer %s with layer %s", errLayout, f.name, f.layer.Name, n.layers[n.layerOf(id)].Name)
		}
		if once[at] {
			return form{}, fmt.Errorf("%w: %s holds weight %d of layer %s twice", errLayout, f.name, at, f.layer.Name)
		}
		once[at] = true
		seen++
		inOrder = inOrder && at == i
		f.from[i] = uint32(at) + 1
	}
	if seen != f.layer.Len() {
		return form{}, fmt.Errorf("%w: %s holds %d of the %d weights of layer %s", errLayout, f.name, seen, f.layer.Len(), f.layer.Name)
	}
	if inOrder {
		f.from = nil
	}
	return f, nil
}

// layerOf is the index of the layer of an integer that is in the numbering.
func (n numbering) layerOf(id int) int {
	i, exact := slices.BinarySearch(n.starts, id)
	if !exact {
		i--
	}
	return i
}
