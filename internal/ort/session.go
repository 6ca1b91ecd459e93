package ort

import (
	"errors"
	"fmt"

	onnx "github.com/yalue/onnxruntime_go"
)

// sessionConfig says how a session is made.
type sessionConfig struct {
	provider Provider // CPU or CUDA
	level    onnx.GraphOptimizationLevel
	threads  int    // that share one run
	saveTo   string // where to write the optimised graph, or ""
}

// newSession makes a session of an ONNX file; the runtime has copied what it
// needs of data when it returns.
func newSession(data []byte, inputs, outputs []string, c sessionConfig) (*onnx.DynamicAdvancedSession, error) {
	options, err := onnx.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("make session options: %w", err)
	}
	defer options.Destroy()
	if err := c.apply(options); err != nil {
		return nil, fmt.Errorf("set session options: %w", err)
	}
	session, err := onnx.NewDynamicAdvancedSessionWithONNXData(data, inputs, outputs, options)
	if err != nil {
		return nil, fmt.Errorf("make a session: %w", err)
	}
	return session, nil
}

func (c sessionConfig) apply(o *onnx.SessionOptions) error {
	err := errors.Join(
		// What fails comes back as an error; the runtime would print it as well, and
		// a run that is told to stop is no error worth a line.
		o.SetLogSeverityLevel(onnx.LoggingLevelFatal),
		o.SetGraphOptimizationLevel(c.level),
		o.SetIntraOpNumThreads(c.threads),
		o.SetInterOpNumThreads(1),
	)
	if c.saveTo != "" {
		err = errors.Join(err, o.SetOptimizedModelFilePath(c.saveTo))
	}
	if c.provider == CUDA {
		err = errors.Join(err, useCUDA(o))
	}
	return err
}
