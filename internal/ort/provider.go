package ort

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	onnx "github.com/yalue/onnxruntime_go"
	"google.golang.org/protobuf/proto"

	"stegomq/internal/ort/onnxpb"
)

// Provider says what computes.
type Provider string

const (
	// CPU is always there.
	CPU Provider = "cpu"
	// CUDA needs the runtime's CUDA build and NVIDIA's libraries. See bound.go
	// for what of it has never been run on a device.
	CUDA Provider = "cuda"
	// Auto is CUDA where it loads, else CPU.
	Auto Provider = "auto"
)

// Valid reports whether p is one of the three; the empty one stands for CPU.
func (p Provider) Valid() bool { return p == "" || p == CPU || p == CUDA || p == Auto }

// cudaLibrary is the file that the runtime loads from beside its own.
const cudaLibrary = "libonnxruntime_providers_cuda.so"

// choose turns what was asked for, a valid provider, into CPU or CUDA.
func choose(asked Provider, library string, log *slog.Logger) (Provider, error) {
	if asked != CUDA && asked != Auto {
		return CPU, nil
	}
	problem := cudaProblem(library)
	if problem != nil && asked == Auto {
		log.Info("compute on the CPU", "reason", problem)
		return CPU, nil
	}
	return CUDA, problem
}

// cudaProblem says why CUDA cannot be used; nil if it can. The environment must
// be live. Making a session, of a graph that does nothing, proves that every
// library loads and that there is a device.
func cudaProblem(library string) error {
	file := filepath.Join(filepath.Dir(library), cudaLibrary)
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("%w: cuda needs %s beside %s: %w; install the CUDA build of ONNX Runtime or use --provider cpu",
			ErrProvider, cudaLibrary, filepath.Base(library), err)
	}
	session, err := newSession(nothing(), []string{"x"}, []string{"y"}, sessionConfig{
		provider: CUDA, level: onnx.GraphOptimizationLevelDisableAll, threads: 1,
	})
	if err != nil {
		// The runtime may only say that loading failed; the loader says which file is missing.
		if _, missing := open(file); missing != nil {
			err = missing
		}
		return fmt.Errorf("%w: cuda: %w; install what is missing or use --provider cpu", ErrProvider, err)
	}
	return session.Destroy()
}

// nothing is an ONNX file of one operator, y = x.
func nothing() []byte {
	data, err := proto.Marshal(&onnxpb.Model{
		IrVersion:   8,
		OpsetImport: []*onnxpb.OperatorSet{{Version: 17}},
		Graph: &onnxpb.Graph{
			Name:   "nothing",
			Node:   []*onnxpb.Node{{OpType: "Identity", Input: []string{"x"}, Output: []string{"y"}}},
			Input:  []*onnxpb.ValueInfo{floatInput("x", []int64{1})},
			Output: []*onnxpb.ValueInfo{floatInput("y", []int64{1})},
		},
	})
	if err != nil {
		panic(err) // a fixed message encodes
	}
	return data
}

// useCUDA puts CUDA before the CPU in a session's providers.
func useCUDA(options *onnx.SessionOptions) error {
	cuda, err := onnx.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer cuda.Destroy()
	// TF32 keeps ten bits of a product's mantissa, which costs more quality than
	// a rounding to 8 bits hides.
	if err := cuda.Update(map[string]string{"use_tf32": "0"}); err != nil {
		return err
	}
	return options.AppendExecutionProviderCUDA(cuda)
}
