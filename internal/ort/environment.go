package ort

import (
	"fmt"
	"os"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"
)

// environment is the runtime's state of the whole process. The binding keeps it
// in globals: one library, one environment. Engines share it by counting; the
// last one that goes destroys it.
var environment struct {
	sync.Mutex
	engines int
	path    string
	version string
}

// enter makes the environment live for one more Engine and returns the version
// of the library.
func enter(path string) (version string, err error) {
	env := &environment
	env.Lock()
	defer env.Unlock()
	if env.engines > 0 {
		if !sameFile(env.path, path) {
			return "", fmt.Errorf("%w: %s is loaded, so %s cannot be", ErrLibraryInUse, env.path, path)
		}
		env.engines++
		return env.version, nil
	}
	version, err = inspectLibrary(path)
	if err != nil {
		return "", err
	}
	// The library starts its telemetry with the environment, before a call could switch it off: it leaves
	// files in the home folder and looks for a server. The variable keeps it from starting.
	if err := os.Setenv("ORT_DISABLE_TELEMETRY", "1"); err != nil {
		return "", fmt.Errorf("switch off the telemetry of %s: %w", path, err)
	}
	onnx.SetSharedLibraryPath(path)
	// Whatever fails comes back as an error with the same words; the runtime's
	// own lines on stderr would only repeat them.
	if err := onnx.InitializeEnvironment(onnx.WithLogLevelFatal()); err != nil {
		return "", fmt.Errorf("%w: start %s: %w", ErrNoLibrary, path, err)
	}
	if err := onnx.DisableTelemetry(); err != nil {
		onnx.DestroyEnvironment()
		return "", fmt.Errorf("switch off the telemetry of %s: %w", path, err)
	}
	env.engines, env.path, env.version = 1, path, version
	return version, nil
}

// leave undoes one enter.
func leave() error {
	env := &environment
	env.Lock()
	defer env.Unlock()
	env.engines--
	if env.engines > 0 {
		return nil
	}
	return onnx.DestroyEnvironment()
}

// sameFile reports whether two paths lead to one file, through links perhaps.
func sameFile(a, b string) bool {
	if a == b {
		return true
	}
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
