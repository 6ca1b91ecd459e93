package ort

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"stegomq/internal/model"
	"stegomq/internal/ort/onnxpb"
	"stegomq/internal/weights"
)

// Values of the ONNX format.
const (
	elemFloat      = 1 // TensorProto.FLOAT
	locationInside = 0 // TensorProto.DEFAULT: the data is in the file itself
)

// graph is the graph of an operation as the model directory holds it, checked
// against the contract. Inputs are the operation's images and, of a model whose keys fill weights, conv weights, named like the layers;
// of another model recover may take noise.
type graph struct {
	outputs
	file   *onnxpb.Model
	bytes  []byte          // file encoded
	layers []weights.Layer // the weights that the graph takes, in the order of its inputs
	noise  int             // channels of noiseInput; 0: there is none
}

// parse reads a graph of a model, so that it gives no more than what is asked for. The error wraps ErrGraph.
func parse(want outputs, m *model.Model, data []byte) (*graph, error) {
	g := &graph{outputs: want, file: &onnxpb.Model{}}
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: there is none", ErrGraph)
	}
	if err := proto.Unmarshal(data, g.file); err != nil {
		return nil, fmt.Errorf("%w: decode ONNX: %w", ErrGraph, err)
	}
	known := make(map[string]weights.Layer, len(m.Layers))
	for _, l := range m.Layers {
		known[l.Name] = l
	}
	var images []string
	for _, in := range g.file.GetGraph().GetInput() {
		l, isLayer := known[in.GetName()]
		var err error
		switch {
		case isLayer:
			g.layers = append(g.layers, l)
			err = checkWeight(in, l)
		case constant(m) && want.op == model.OpRecover && in.GetName() == noiseInput:
			g.noise, err = noiseChannels(in, m.Manifest.Factor)
		default:
			images = append(images, in.GetName())
		}
		if err != nil {
			return nil, fmt.Errorf("%w: input %s: %w", ErrGraph, in.GetName(), err)
		}
	}
	if inputs := want.op.Inputs(); !sameNames(images, inputs) {
		return nil, fmt.Errorf("%w: its inputs are %q, want %q", ErrGraph, images, inputs)
	}
	if len(g.layers) == 0 && !constant(m) {
		return nil, fmt.Errorf("%w: no layer is an input", ErrGraph)
	}
	var err error
	g.bytes, err = want.only(g.file, data)
	return g, err
}

// checkWeight compares an input with the layer of its name.
func checkWeight(in *onnxpb.ValueInfo, l weights.Layer) error {
	t := in.GetType().GetTensorType()
	if t.GetElemType() != elemFloat {
		return errors.New("is not float32")
	}
	same := func(d *onnxpb.Shape_Dimension, side int) bool { return d.GetDimValue() == int64(side) }
	if dims := t.GetShape().GetDim(); !slices.EqualFunc(dims, l.Shape[:], same) {
		return fmt.Errorf("has the shape %v in the graph, %v in the manifest", dims, l.Shape)
	}
	return nil
}

// noiseChannels are those of the noise that a graph takes, of a model whose sides are padded to multiples of factor.
func noiseChannels(in *onnxpb.ValueInfo, factor int) (int, error) {
	t := in.GetType().GetTensorType()
	dims := t.GetShape().GetDim()
	if t.GetElemType() != elemFloat || len(dims) != 4 {
		return 0, errors.New("is not float32 of four dimensions")
	}
	n := dims[1].GetDimValue()
	if n < 1 || n > maxNoise {
		return 0, fmt.Errorf("has %d channels, not 1 to %d", n, maxNoise)
	}
	if factor%2 != 0 {
		return 0, fmt.Errorf("half a side of a multiple of %d is not a whole number", factor)
	}
	return int(n), nil
}

// sameNames compares two lists of names, whatever their order.
func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
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
	file.Graph.Input = slices.DeleteFunc(file.Graph.Input, func(in *onnxpb.ValueInfo) bool { return isLayer[in.GetName()] })
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
