package ort

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"stegomq/internal/ort/onnxpb"
	"stegomq/internal/weights"
)

// Values of the ONNX format.
const (
	elemFloat      = 1 // TensorProto.FLOAT
	locationInside = 0 // TensorProto.DEFAULT: the data is in the file itself
)

// graph is the graph of an operation as the model directory holds it, checked
// against the contract: conv weights are inputs named like the layers, all other
// inputs are the operation's images.
type graph struct {
	outputs
	file   *onnxpb.Model
	bytes  []byte          // what file was read from
	layers []weights.Layer // the weights that the graph takes, in the order of its inputs
}

// parse reads a graph that gives no more than what is asked for. The error wraps ErrGraph.
func parse(want outputs, data []byte, layers []weights.Layer) (*graph, error) {
	g := &graph{outputs: want, file: &onnxpb.Model{}, bytes: data}
	op := want.op
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: there is none", ErrGraph)
	}
	if err := proto.Unmarshal(data, g.file); err != nil {
		return nil, fmt.Errorf("%w: decode ONNX: %w", ErrGraph, err)
	}
	known := make(map[string]weights.Layer, len(layers))
	for _, l := range layers {
		known[l.Name] = l
	}
	var images []string
	for _, in := range g.file.GetGraph().GetInput() {
		l, ok := known[in.GetName()]
		if !ok {
			images = append(images, in.GetName())
			continue
		}
		if err := checkWeight(in, l); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrGraph, err)
		}
		g.layers = append(g.layers, l)
	}
	if want := op.Inputs(); !sameNames(images, want) {
		return nil, fmt.Errorf("%w: its inputs beside the layers are %q, want %q", ErrGraph, images, want)
	}
	if len(g.layers) == 0 {
		return nil, fmt.Errorf("%w: no layer is an input", ErrGraph)
	}
	var err error
	if g.bytes, err = want.only(g.file, g.bytes); err != nil {
		return nil, err
	}
	return g, nil
}

// checkWeight compares an input with the layer of its name.
func checkWeight(in *onnxpb.ValueInfo, l weights.Layer) error {
	t := in.GetType().GetTensorType()
	if t.GetElemType() != elemFloat {
		return fmt.Errorf("layer %s is not float32", l.Name)
	}
	dims := t.GetShape().GetDim()
	same := len(dims) == len(l.Shape)
	for i := 0; same && i < len(dims); i++ {
		same = dims[i].GetDimValue() == int64(l.Shape[i])
	}
	if !same {
		return fmt.Errorf("layer %s has the shape %v in the graph, %v in the manifest", l.Name, dims, l.Shape)
	}
	return nil
}

// sameNames compares two lists of distinct names, whatever their order.
func sameNames(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	in := make(map[string]bool, len(a))
	for _, name := range a {
		in[name] = true
	}
	for _, name := range b {
		if !in[name] {
			return false
		}
	}
	return len(in) == len(b)
}

// weightCount is the number of weights that the graph takes.
func (g *graph) weightCount() int {
	total := 0
	for _, l := range g.layers {
		total += l.Len()
	}
	return total
}

// withConstants returns the graph as a file with its weights as initializers
// instead of inputs; value returns those of a layer.
func (g *graph) withConstants(value func(weights.Layer) []float32) ([]byte, error) {
	file := proto.CloneOf(g.file)
	isLayer := make(map[string]bool, len(g.layers))
	for _, l := range g.layers {
		isLayer[l.Name] = true
		w := value(l)
		raw := make([]byte, 0, 4*len(w))
		for _, v := range w {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		file.Graph.Initializer = append(file.Graph.Initializer, &onnxpb.Tensor{
			Name:     l.Name,
			DataType: elemFloat,
			Dims:     dims64(l.Shape[:]),
			RawData:  raw,
		})
	}
	inputs := file.Graph.Input
	file.Graph.Input = nil
	for _, in := range inputs {
		if !isLayer[in.GetName()] {
			file.Graph.Input = append(file.Graph.Input, in)
		}
	}
	data, err := proto.Marshal(file)
	if err != nil {
		return nil, fmt.Errorf("encode ONNX: %w", err)
	}
	return data, nil
}

// floats returns the values of a float32 initializer; ok is false for another
// type and for data that lies in another file.
func floats(t *onnxpb.Tensor) (values []float32, ok bool) {
	if t.GetDataType() != elemFloat || t.GetDataLocation() != locationInside {
		return nil, false
	}
	raw := t.GetRawData()
	if len(raw) == 0 {
		return t.GetFloatData(), true
	}
	values = make([]float32, len(raw)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return values, true
}

// floatInput describes a float32 graph input of a fixed shape.
func floatInput(name string, dims []int64) *onnxpb.ValueInfo {
	shape := &onnxpb.Shape{}
	for _, d := range dims {
		shape.Dim = append(shape.Dim, &onnxpb.Shape_Dimension{Value: &onnxpb.Shape_Dimension_DimValue{DimValue: d}})
	}
	return &onnxpb.ValueInfo{Name: name, Type: &onnxpb.Type{Value: &onnxpb.Type_TensorType{
		TensorType: &onnxpb.Type_Tensor{ElemType: elemFloat, Shape: shape},
	}}}
}

func dims64(dims []int) []int64 {
	wide := make([]int64, len(dims))
	for i, d := range dims {
		wide[i] = int64(d)
	}
	return wide
}
