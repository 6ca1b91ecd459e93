package ort

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"stegomq/internal/model"
	"stegomq/internal/ort/onnxpb"
	"stegomq/internal/weights"
)

// network is a purify graph made by hand, for what exported models do not have.
type network struct {
	layers []weights.Layer
	nodes  []*onnxpb.Node
	consts []*onnxpb.Tensor
}

// node adds an operator; its output has the given name.
func (n *network) node(op, out string, in ...string) *onnxpb.Node {
	made := &onnxpb.Node{OpType: op, Input: in, Output: []string{out}}
	n.nodes = append(n.nodes, made)
	return made
}

// conv adds a convolution that keeps the size, with the weights of a layer.
func (n *network) conv(out, in, layer string) {
	side := 0
	for _, l := range n.layers {
		if l.Name == layer {
			side = l.Shape[2]
		}
	}
	// attribute = 5 {name = 1: "pads", ints = 8: one for each side, type = 20: INTS}
	var pads []byte
	pads = protowire.AppendTag(pads, 1, protowire.BytesType)
	pads = protowire.AppendString(pads, "pads")
	for range 4 {
		pads = protowire.AppendTag(pads, 8, protowire.VarintType)
		pads = protowire.AppendVarint(pads, uint64(side/2))
	}
	pads = protowire.AppendTag(pads, 20, protowire.VarintType)
	pads = protowire.AppendVarint(pads, 7)
	made := n.node("Conv", out, in, layer)
	made.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), pads))
}

// layer adds a layer of the given shape.
func (n *network) layer(name string, shape ...int) {
	at := 0
	for _, l := range n.layers {
		at += l.Len()
	}
	n.layers = append(n.layers, weights.Layer{Name: name, Shape: [4]int(shape), Offset: at})
}

func (n *network) constant(name string, values ...float32) {
	n.consts = append(n.consts, &onnxpb.Tensor{Name: name, DataType: elemFloat, Dims: []int64{int64(len(values))}, FloatData: values})
}

// encode returns the ONNX file, from the image "noisy" to "purified".
func (n *network) encode(t testing.TB) []byte {
	image := func(name string) *onnxpb.ValueInfo {
		free := func(name string) *onnxpb.Shape_Dimension {
			return &onnxpb.Shape_Dimension{Value: &onnxpb.Shape_Dimension_DimParam{DimParam: name}}
		}
		v := floatInput(name, []int64{3})
		dims := v.GetType().GetTensorType().GetShape()
		dims.Dim = []*onnxpb.Shape_Dimension{free("batch"), dims.Dim[0], free("height"), free("width")}
		return v
	}
	inputs := []*onnxpb.ValueInfo{image("noisy")}
	for _, l := range n.layers {
		inputs = append(inputs, floatInput(l.Name, dims64(l.Shape[:])))
	}
	data, err := proto.Marshal(&onnxpb.Model{
		IrVersion:   8,
		OpsetImport: []*onnxpb.OperatorSet{{Version: 17}},
		Graph: &onnxpb.Graph{Name: "test", Node: n.nodes, Initializer: n.consts, Input: inputs,
			Output: []*onnxpb.ValueInfo{image("purified")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// asModel makes a model directory with the graph as its purify graph. The other
// two hold no graph: a model is opened graph by graph.
func asModel(t testing.TB, layers []weights.Layer, purify []byte) *model.Model {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("weights from seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var w []byte
	for _, l := range layers {
		values := make([]float32, l.Len())
		for i := range values {
			values[i] = (2*r.Float32() - 1) / float32(l.Shape[1]*l.Shape[2]*l.Shape[3])
		}
		data, err := (&graph{file: &onnxpb.Model{Graph: &onnxpb.Graph{}}, layers: []weights.Layer{l}}).withConstants(
			func(weights.Layer) []float32 { return values })
		if err != nil {
			t.Fatal(err)
		}
		var file onnxpb.Model
		if err := proto.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		w = append(w, file.Graph.Initializer[0].RawData...) // little-endian, as in weights.bin
	}
	dir := t.TempDir()
	manifest := model.Manifest{
		Format: model.Format, Name: "handmade", Backbone: "handmade", Keying: model.KeyingWeights, Parameters: len(w) / 4,
		Factor: 1, MinSide: 8, Alpha: 0.5, MaskSeed: strings.Repeat("5e", 32), Derivation: weights.Version, Layers: layers,
		Files: map[string]string{},
	}
	for name, data := range map[string][]byte{"weights.bin": w, "embed.onnx": []byte("no graph"), "recover.onnx": nil, "purify.onnx": purify} {
		sum := sha256.Sum256(data)
		manifest.Files[name] = hex.EncodeToString(sum[:])
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Graphs that the probe must understand, or not, and what then comes out.
func TestLayoutOfHandmadeGraphs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		build  func(n *network)
		native bool
	}{
		"one layer in two convolutions": {func(n *network) {
			n.layer("in", 32, 3, 3, 3)
			n.layer("twice", 32, 32, 3, 3)
			n.layer("out", 3, 32, 1, 1)
			n.conv("a", "noisy", "in")
			n.node("Relu", "b", "a")
			n.conv("c", "b", "twice")
			n.node("Relu", "d", "c")
			n.conv("e", "d", "twice")
			n.conv("purified", "e", "out")
		}, true},
		"a layer too narrow for the blocked layout": {func(n *network) {
			n.layer("narrow", 3, 3, 1, 1)
			n.conv("purified", "noisy", "narrow")
		}, true},
		"widths that need padding": {func(n *network) {
			n.layer("in", 19, 3, 3, 3)
			n.layer("out", 3, 19, 3, 3)
			n.conv("a", "noisy", "in")
			n.conv("purified", "a", "out")
		}, true},
		// The optimiser multiplies the scale into the weights.
		"a norm folded into the weights": {func(n *network) {
			n.layer("in", 32, 3, 3, 3)
			n.layer("out", 3, 32, 1, 1)
			n.conv("a", "noisy", "in")
			n.conv("b", "a", "out")
			n.constant("scale", 0.3, 0.5, 0.7)
			n.constant("bias", 0.1, 0.2, 0.3)
			n.constant("mean", 0.01, 0.02, 0.03)
			n.constant("variance", 1.1, 1.2, 1.3)
			n.node("BatchNormalization", "purified", "b", "scale", "bias", "mean", "variance")
		}, false},
		// The optimiser computes a number from the weights that looks like any
		// other; only the comparison with constant weights can tell.
		"a constant made of weights": {func(n *network) {
			n.layer("in", 32, 3, 3, 3)
			n.layer("out", 3, 32, 1, 1)
			n.conv("a", "noisy", "in")
			n.conv("b", "a", "out")
			n.node("ReduceMax", "most", "out")
			n.node("ReduceMin", "least", "out")
			n.node("Sub", "range", "most", "least")
			n.node("Add", "purified", "b", "range")
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := &network{}
			c.build(n)
			m := asModel(t, n.layers, n.encode(t))
			log := newJournal(t, !c.native)
			e := start(t, Config{Logger: slog.New(log)})
			add(t, e, m)
			if err := e.Prepare(m.Digest, model.OpPurify); err != nil {
				t.Fatal(err)
			}
			in := images(t, model.OpPurify, 2, 13, 21)
			d := distance(mustRun(t, e, m, model.OpPurify, nil, in).Data, reference(t, e, m, model.OpPurify, nil, in).Data)
			if p := opened(e); len(p) != 1 || p[0].layout.native != c.native {
				t.Errorf("want native %v: %d graphs are open", c.native, len(p))
			}
			if limit := map[bool]float64{true: 0, false: 1e-5}[c.native]; d > limit {
				t.Errorf("off by %g from constant weights, allowed is %g", d, limit)
			}
			if want := map[bool]int{true: 0, false: 1}[c.native]; log.warnings != want {
				t.Errorf("%d warnings, want %d", log.warnings, want)
			}
			for range 2 { // opening again warns no more
				mustRun(t, e, m, model.OpPurify, nil, in)
			}
			if e.Stats().Sessions != 1 {
				t.Errorf("%+v", e.Stats())
			}
		})
	}
}

// A layout that is wrong by two weights does not pass the comparison.
func TestCheckFindsAWrongLayout(t *testing.T) {
	t.Parallel()
	e := start(t, Config{})
	m := tiny(t)
	loaded := add(t, e, m)
	g, err := parse(outputsOf(model.OpEmbed, m, false), m, m.Graph(model.OpEmbed))
	if err != nil {
		t.Fatal(err)
	}
	probed, err := probe(g)
	if err != nil {
		t.Fatal(err)
	}
	l, err := readLayout(g, probed)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(l.inputs, func(f form) bool { return f.from != nil })
	if i < 0 {
		t.Fatal("the runtime chose no layout of its own for any layer")
	}
	from := l.inputs[i].from
	last := slices.IndexFunc(from, func(at uint32) bool { return at == uint32(l.inputs[i].layer.Len()) })
	first := slices.IndexFunc(from, func(at uint32) bool { return at == 1 })
	from[first], from[last] = from[last], from[first]
	if _, err := loaded.openLayout(g, l, &trial{}); !errors.Is(err, errDiffers) {
		t.Errorf("got %v", err)
	}
}

// read takes permutations with padding, and nothing else.
func TestReadLayout(t *testing.T) {
	t.Parallel()
	n := numbering{
		first:  1000,
		layers: []weights.Layer{{Name: "a", Shape: [4]int{2, 2, 1, 1}}, {Name: "b", Shape: [4]int{3, 1, 1, 1}, Offset: 4}},
		starts: []int{1000, 1004},
	}
	for name, c := range map[string]struct {
		values []float32
		layer  string // "" where it must fail
		from   []uint32
	}{
		"as it is":            {[]float32{1000, 1001, 1002, 1003}, "a", nil},
		"turned":              {[]float32{1003, 1001, 1002, 1000}, "a", []uint32{4, 2, 3, 1}},
		"padded":              {[]float32{0, 1006, 1004, 0, 1005}, "b", []uint32{0, 3, 1, 0, 2}},
		"padded at the end":   {[]float32{1004, 1005, 1006, 0}, "b", []uint32{1, 2, 3, 0}},
		"one missing":         {[]float32{1004, 1005, 0}, "", nil},
		"one twice":           {[]float32{1004, 1005, 1005}, "", nil},
		"two layers":          {[]float32{1000, 1001, 1002, 1004}, "", nil},
		"the layer before":    {[]float32{1004, 1005, 1003}, "", nil},
		"scaled":              {[]float32{1000.5, 1001, 1002, 1003}, "", nil},
		"a foreign number":    {[]float32{1, 1001, 1002, 1003}, "", nil},
		"a negative number":   {[]float32{-1000, 1001, 1002, 1003}, "", nil},
		"not the dims' count": {[]float32{1000, 1001, 1002}, "", nil},
	} {
		dims := []int64{int64(len(c.values))}
		if name == "not the dims' count" {
			dims[0]++
		}
		f, err := n.read(&onnxpb.Tensor{Name: "w", Dims: dims}, c.values)
		if c.layer == "" {
			if !errors.Is(err, errLayout) {
				t.Errorf("%s: got %v", name, err)
			}
			continue
		}
		if err != nil || f.layer.Name != c.layer || !slices.Equal(f.from, c.from) {
			t.Errorf("%s: got %+v, %v", name, f, err)
			continue
		}
		// Filling must undo the numbering.
		layer := make([]float32, f.layer.Len())
		for i := range layer {
			layer[i] = float32(n.starts[slices.Index(n.layers, f.layer)] + i)
		}
		dst := make([]float32, f.len())
		f.fill(dst, layer)
		if !slices.Equal(dst, c.values) {
			t.Errorf("%s: filled %v", name, dst)
		}
	}
	for _, values := range [][]float32{nil, {0, 1, -1, 0.5}, {999, maxProbe, 1e30}} {
		if n.in(values) {
			t.Errorf("%v was taken for weights", values)
		}
	}
}

func TestTooManyWeightsToTellApart(t *testing.T) {
	t.Parallel()
	g := &graph{layers: []weights.Layer{{Name: "huge", Shape: [4]int{4096, 4096, 1, 1}}}}
	if _, err := probe(g); !errors.Is(err, errLayout) {
		t.Errorf("got %v", err)
	}
}

// Files that are no graph, or not the operation's, are errors that say so.
func TestBadGraphs(t *testing.T) {
	t.Parallel()
	good := func() *network {
		n := &network{}
		n.layer("w", 3, 3, 1, 1)
		n.conv("purified", "noisy", "w")
		return n
	}
	edit := func(change func(*onnxpb.Model)) []byte {
		var m onnxpb.Model
		if err := proto.Unmarshal(good().encode(t), &m); err != nil {
			t.Fatal(err)
		}
		change(&m)
		data, err := proto.Marshal(&m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	whole := good().encode(t)
	for name, data := range map[string][]byte{
		"empty":               nil,
		"no protobuf":         []byte("PK\x03\x04 this is no graph"),
		"cut short":           whole[:len(whole)-5],
		"unknown operator":    edit(func(m *onnxpb.Model) { m.Graph.Node[0].OpType = "Convolute" }),
		"unconnected":         edit(func(m *onnxpb.Model) { m.Graph.Node[0].Input[0] = "nowhere" }),
		"no graph":            edit(func(m *onnxpb.Model) { m.Graph = nil }),
		"another image":       edit(func(m *onnxpb.Model) { m.Graph.Input[0].Name = "stego" }),
		"another output":      edit(func(m *onnxpb.Model) { m.Graph.Output[0].Name = "stego" }),
		"weight renamed":      edit(func(m *onnxpb.Model) { m.Graph.Input[1].Name = "v" }),
		"no weight":           edit(func(m *onnxpb.Model) { m.Graph.Input = m.Graph.Input[:1] }),
		"weight of one shape": edit(func(m *onnxpb.Model) { m.Graph.Input[1] = floatInput("w", []int64{3, 3, 3, 3}) }),
		"weight of no shape":  edit(func(m *onnxpb.Model) { m.Graph.Input[1].Type = nil }),
		"operators of 2090":   edit(func(m *onnxpb.Model) { m.OpsetImport[0].Version = 9000 }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := asModel(t, good().layers, data)
			e := start(t, Config{})
			add(t, e, m)
			for range 2 { // the outcome is kept
				err := e.Prepare(m.Digest)
				if !errors.Is(err, ErrGraph) || !strings.Contains(fmt.Sprint(err), "embed") {
					t.Errorf("embed: %v", err)
				}
				err = e.Prepare(m.Digest, model.OpPurify)
				if !errors.Is(err, ErrGraph) || !strings.Contains(fmt.Sprint(err), "purify") {
					t.Errorf("purify: %v", err)
				}
			}
			if _, err := e.Run(t.Context(), m.Digest, model.OpPurify, nil, images(t, model.OpPurify, 1, 8, 8)...); !errors.Is(err, ErrGraph) {
				t.Errorf("run: %v", err)
			}
		})
	}
}
