package pusnet

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"stegomq/internal/ort/onnxpb"
)

// elemFloat is TensorProto.FLOAT of ONNX.
const elemFloat = 1

// withAffines returns a graph with other values in its initialisers: all that are trained, and each in its size.
func withAffines(graph []byte, affines map[string][]float32) ([]byte, error) {
	file := &onnxpb.Model{}
	if err := proto.Unmarshal(graph, file); err != nil {
		return nil, fmt.Errorf("decode ONNX: %w", err)
	}
	replaced := 0
	for _, t := range file.GetGraph().GetInitializer() {
		values, ok := affines[t.GetName()]
		if !ok && isAffine(t.GetName()) {
			return nil, fmt.Errorf("%w: it has the parameter %s", ErrNetwork, t.GetName())
		}
		if !ok {
			continue
		}
		size := int64(1)
		for _, d := range t.GetDims() {
			size *= d
		}
		if t.GetDataType() != elemFloat || size != int64(len(values)) {
			return nil, fmt.Errorf("%w: its %s has the shape %v, not %d channels", ErrNetwork, t.GetName(), t.GetDims(), len(values))
		}
		t.FloatData, t.RawData = nil, make([]byte, 0, 4*len(values))
		for _, v := range values {
			t.RawData = binary.LittleEndian.AppendUint32(t.RawData, math.Float32bits(v))
		}
		replaced++
	}
	if replaced != len(affines) {
		return nil, fmt.Errorf("%w: it has %d of its %d biases, scales and shifts", ErrNetwork, replaced, len(affines))
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(file)
	if err != nil {
		return nil, fmt.Errorf("encode ONNX: %w", err)
	}
	return data, nil
}
