package pusnet

import (
	"fmt"
	"slices"
	"strings"

	"stegomq/internal/model"
	"stegomq/internal/pytorch"
	"stegomq/internal/weights"
)

// backbone is what manifests call the network.
const backbone = "pusnet"

// kernel is the side of every convolution.
const kernel = 3

// conv is a convolution with its bias.
type conv struct {
	sequence string // the nn.Sequential of the public code that holds it
	index    int    // in the sequence
	layer    string // what it is called in a model
	out, in  int    // channels
	normed   bool   // a group normalisation and a LeakyReLU before it, at the indices below
}

func (c conv) public() string { return fmt.Sprintf("%s.%d", c.sequence, c.index) }
func (c conv) shape() [4]int  { return [4]int{c.out, c.in, kernel, kernel} }
func (c conv) norm() affine {
	return affine{fmt.Sprintf("%s.%d", c.sequence, c.index-2), c.layer + ".norm", c.in}
}

// affine is a group normalisation's scale and shift.
type affine struct {
	public, name string
	channels     int
}

// trailing is the one normalisation that no convolution follows: it ends the third block.
var trailing = affine{"pre_layers_3.6", "first.2.norm", 256}

// convs are all convolutions in the order of the public code's modules, in which it draws their weights.
var convs = func() []conv {
	all := []conv{
		{"in_layers", 0, "stem.0", 64, 3, false},
		{"in_layers", 3, "stem.1", 128, 64, true},
		{"in_layers", 6, "stem.2", 256, 128, true},
	}
	blocks := func(sequence, layer string) {
		for i := range 3 {
			s, l := fmt.Sprintf("%s_%d", sequence, i+1), fmt.Sprintf("%s.%d", layer, i)
			all = append(all, conv{s, 2, l + ".0", 128, 256, true}, conv{s, 5, l + ".1", 256, 128, true})
		}
	}
	blocks("pre_layers", "first")
	all = append(all,
		conv{"mid_secret_path", 0, "middle.secret", 128, 256, false},
		conv{"mid_cover_path", 0, "middle.cover", 128, 256, false},
	)
	blocks("after_concat_layers", "second")
	return append(all,
		conv{"output_layer", 2, "head.0", 128, 256, true},
		conv{"output_layer", 5, "head.1", 64, 128, true},
		conv{"output_layer", 8, "head.2", 3, 64, true},
	)
}()

// check reports whether a model has the layers of the network; withAffines looks at the graphs.
func check(m *model.Model) error {
	if m.Manifest.Backbone != backbone {
		return fmt.Errorf("model %s: %w: its backbone is %s, not %s", m.Name, ErrNetwork, m.Manifest.Backbone, backbone)
	}
	if len(m.Layers) != len(convs) {
		return fmt.Errorf("model %s: %w: it has %d layers, not %d", m.Name, ErrNetwork, len(m.Layers), len(convs))
	}
	for i, c := range convs {
		if l := m.Layers[i]; l.Name != c.layer || l.Shape != c.shape() {
			return fmt.Errorf("model %s: %w: layer %d is %s %v, not %s %v", m.Name, ErrNetwork, i, l.Name, l.Shape, c.layer, c.shape())
		}
	}
	return nil
}

// parameters reads a checkpoint: the convolutions' weights, one after another as the layers are, and by their names in
// a model's graphs the biases, scales and shifts.
func parameters(state *pytorch.StateDict, layers []weights.Layer) (w []float32, affines map[string][]float32, err error) {
	left := map[string]bool{}
	for _, name := range state.Names() {
		left[name] = true
	}
	affines = map[string][]float32{}
	take := func(name string, shape ...int) []float32 {
		var values []float32
		if err == nil {
			values, err = state.Float32(name, shape...)
		}
		delete(left, name)
		return values
	}
	takeNorm := func(a affine) {
		affines[a.name+".scale"] = take(a.public+".weight", a.channels)
		affines[a.name+".shift"] = take(a.public+".bias", a.channels)
	}
	for _, c := range convs {
		shape := c.shape()
		w = append(w, take(c.public()+".weight", shape[:]...)...)
		affines[c.layer+".bias"] = take(c.public()+".bias", c.out)
		if c.normed {
			takeNorm(c.norm())
		}
	}
	takeNorm(trailing)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNetwork, err)
	}
	if len(left) > 0 {
		var names []string
		for name := range left {
			names = append(names, name)
		}
		slices.Sort(names)
		return nil, nil, fmt.Errorf("%w: it has %d tensors more, such as %.100q", ErrNetwork, len(left), names[0])
	}
	if end := layers[len(layers)-1]; len(w) != end.Offset+end.Len() {
		panic("pusnet: the layers were not checked")
	}
	return w, affines, nil
}

// isAffine reports whether an initialiser of a graph is trained, by its name.
func isAffine(name string) bool {
	return strings.HasSuffix(name, ".bias") || strings.HasSuffix(name, ".scale") || strings.HasSuffix(name, ".shift")
}
