package ort

import (
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
	err = c.apply(options)
	if err != nil {
		return nil, fmt.Errorf("set session options: %w", err)
	}
	session, err := onnx.NewDynamicAdvancedSessionWithONNXData(data, inputs, outputs, options)
	if err != nil {
		return nil, fmt.Errorf("make a session: %w", err)
	}
	return session, nil
}

func (c sessionConfig) apply(o *onnx.SessionOptions) error {
	// What fails comes back as an error; the runtime would print it as well, and
	// a run that is told to stop is no error worth a line.
	if err := o.SetLogSeverityLevel(onnx.LoggingLevelFatal); err != nil {
		return err
	}
	if err := o.SetGraphOptimizationLevel(c.level); err != nil {
		return err
	}
	if err := o.SetIntraOpNumThreads(c.threads); err != nil {
		return err
	}
	if err := o.SetInterOpNumThreads(1); err != nil {
		return err
	}
	if c.saveTo != "" {
		if err := o.SetOptimizedModelFilePath(c.saveTo); err != nil {
			return err
		}
	}
	if c.provider == CUDA {
		return useCUDA(o)
	}
	return nil
}
