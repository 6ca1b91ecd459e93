package ort

import "errors"

// What can go wrong, for errors.Is. Every returned error wraps one of these or
// the context's own error, and says in words what was being done.
var (
	// ErrNoLibrary: no ONNX Runtime shared library was found or it could not be loaded.
	ErrNoLibrary = errors.New("the ONNX Runtime library is missing")
	// ErrOldLibrary: the library found does not speak the C API that this build needs.
	ErrOldLibrary = errors.New("the ONNX Runtime library is too old")
	// ErrLibraryInUse: another Engine of this process runs on a different library.
	ErrLibraryInUse = errors.New("another ONNX Runtime library is in use in this process")
	// ErrProvider: the execution provider asked for does not exist or cannot be loaded.
	ErrProvider = errors.New("the execution provider is not available")
	// ErrUnknownModel: Run names a model that was never added.
	ErrUnknownModel = errors.New("the model is not loaded")
	// ErrGraph: an ONNX graph cannot be read, breaks the contract of a model
	// directory, or does not compute the same with its weights as inputs.
	ErrGraph = errors.New("the graph is not usable")
	// ErrOperation: the model does not have the operation.
	ErrOperation = errors.New("the model does not have the operation")
	// ErrInput: the images handed to Run do not fit the operation.
	ErrInput = errors.New("the images do not fit the operation")
	// ErrKey: a key is missing where one is needed, given where none is used, or empty.
	ErrKey = errors.New("the key does not fit the operation")
	// ErrRun: the runtime failed while it ran a graph.
	ErrRun = errors.New("the runtime failed")
	// ErrClosed: the Engine is closed.
	ErrClosed = errors.New("the engine is closed")
)
