// Package e2e runs the real program as its users do: the binary is built once, every test has a home, a
// working directory and servers of its own, and checks exit codes, files and output.
//
// Invariants: nothing is mocked or skipped; a missing part fails the test with a message that says how to get
// it. No test sleeps: it waits for a line, a file or the end of a process, always with a deadline. Every
// process that a test starts has ended when the test ends.
//
// STEGOMQ_ORT_LIB, STEGOMQ_NATS_SERVER and STEGOMQ_PYTHON name the library, a nats-server and the trainer's Python
// elsewhere; STEGOMQ_EVAL_DATA names a folder of photographs to be used instead of the samples.
package e2e

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Set by TestMain.
var (
	repository string // its root
	binaries   string // a folder of what is built here
	program    string // stegomq
	ortLibrary string
)

// buildFlags are for the program alone.
var buildFlags []string

// programVersion is what the binary is told to be.
const programVersion = "e2e-test"

func TestMain(m *testing.M) {
	code, err := prepareAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func prepareAndRun(m *testing.M) (code int, err error) {
	if repository, err = filepath.Abs(".."); err != nil {
		return 1, err
	}
	if binaries, err = os.MkdirTemp("", "stegomq-e2e-"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(binaries)) }()
	if ortLibrary = os.Getenv("STEGOMQ_ORT_LIB"); ortLibrary == "" {
		ortLibrary = filepath.Join(repository, ".cache", "onnxruntime")
	}
	if _, err := os.Stat(ortLibrary); err != nil {
		return 1, fmt.Errorf("these tests need the ONNX Runtime library: run `make ort`, or set STEGOMQ_ORT_LIB: %w", err)
	}
	program = filepath.Join(binaries, "stegomq")
	if err := build(program, "./cmd/stegomq", append(buildFlags, "-ldflags", "-X main.version="+programVersion)...); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func build(output, pkg string, flags ...string) error {
	args := append([]string{"build", "-buildvcs=false", "-o", output}, flags...)
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = repository
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// natsServer is a nats-server of the version in go.mod: the one that STEGOMQ_NATS_SERVER names, the one of
// `make nats-server` where it is of that version, or one built now.
var natsServer = sync.OnceValues(func() (string, error) {
	const pkg = "github.com/nats-io/nats-server/v2"
	if path := os.Getenv("STEGOMQ_NATS_SERVER"); path != "" {
		return path, nil
	}
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Version}}", pkg)
	cmd.Dir = repository
	version, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("version of %s: %w", pkg, err)
	}
	made := filepath.Join(repository, ".bin", "nats-server")
	if info, err := buildinfo.ReadFile(made); err == nil && info.Main.Version == strings.TrimSpace(string(version)) {
		return made, nil
	}
	path := filepath.Join(binaries, "nats-server")
	return path, build(path, pkg)
})

// The models of these tests. The tiny one is quick, has two demo keys and is not trained.
func tinyModels() string    { return filepath.Join(repository, "internal", "ort", "testdata") }
func shippedModels() string { return filepath.Join(repository, "models") }
