package ort

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"stegomq/internal/model"
	"stegomq/internal/ort/onnxpb"
)

// outputs says what a graph computes: the image of an operation, and of recover the features if they are wanted. Where
// they are not wanted they are taken out of the graph, because the runtime computes every output of a graph.
type outputs struct {
	op       model.Operation
	features int  // columns of the second output in the model's files; 0: there is none
	wanted   bool // the features too
}

// outputsOf are those of an operation of a model.
func outputsOf(op model.Operation, m *model.Model, wanted bool) outputs {
	o := outputs{op: op, wanted: wanted}
	if op == model.OpRecover {
		o.features = m.Manifest.Features
	}
	return o
}

// names are those of what is computed, the image first.
func (o outputs) names() []string {
	if o.wanted {
		return []string{o.op.Output(), model.Features}
	}
	return []string{o.op.Output()}
}

// only compares the outputs of a file with what the manifest says, takes out what is not wanted, and returns the file
// encoded; data is the encoding of the file as it came. The error wraps ErrGraph.
func (o outputs) only(file *onnxpb.Model, data []byte) ([]byte, error) {
	want := []string{o.op.Output()}
	if o.features > 0 {
		want = append(want, model.Features)
	}
	var names []string
	for _, out := range file.GetGraph().GetOutput() {
		names = append(names, out.GetName())
		if out.GetName() == model.Features && o.features > 0 {
			if err := o.checkFeatures(out); err != nil {
				return nil, fmt.Errorf("%w: output %s: %w", ErrGraph, model.Features, err)
			}
		}
	}
	if !sameNames(names, want) {
		return nil, fmt.Errorf("%w: its outputs are %q, want %q", ErrGraph, names, want)
	}
	if o.features == 0 || o.wanted {
		return data, nil
	}
	dropFeatures(file.Graph)
	data, err := proto.Marshal(file)
	if err != nil {
		return nil, fmt.Errorf("encode ONNX: %w", err)
	}
	return data, nil
}

func (o outputs) checkFeatures(out *onnxpb.ValueInfo) error {
	t := out.GetType().GetTensorType()
	dims := t.GetShape().GetDim()
	if t.GetElemType() != elemFloat || len(dims) != 2 || dims[1].GetDimValue() != int64(o.features) {
		return fmt.Errorf("is not float32 of the shape [batch, %d], as the manifest says", o.features)
	}
	return nil
}

// dropFeatures takes the features and the nodes that nothing else needs out of a graph.
func dropFeatures(g *onnxpb.Graph) {
	g.Output = slices.DeleteFunc(g.Output, func(v *onnxpb.ValueInfo) bool { return v.GetName() == model.Features })
	needed := map[string]bool{}
	for _, out := range g.Output {
		needed[out.GetName()] = true
	}
	var kept []*onnxpb.Node
	for _, n := range slices.Backward(g.Node) { // a node comes after what it needs
		if slices.ContainsFunc(n.Output, func(name string) bool { return needed[name] }) {
			for _, name := range n.Input {
				needed[name] = true
			}
			kept = append(kept, n)
		}
	}
	slices.Reverse(kept)
	g.Node = kept
}
