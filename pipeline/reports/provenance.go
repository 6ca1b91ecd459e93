package reports

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"stegomq/internal/ort"
	"stegomq/pipeline"
	"stegomq/study"
)

// Program is what makes a run.
type Program struct {
	Version string
	// Revision is the commit that it was built from; empty where the build did not say.
	Revision string
	// Command is the command as a shell would take it, without passwords.
	Command string
}

// ThisProgram is this process: its version and its revision are those that the build set, and where it set no revision that of the build
// information.
func ThisProgram(version, revision string, args []string) Program {
	return Program{Version: version, Revision: cmp.Or(revision, builtFrom()), Command: typed(args)}
}

// made says how a run was made.
func (p Program) made(s *pipeline.Services, run *pipeline.Run, start time.Time) *study.Provenance {
	made := &study.Provenance{
		Version: p.Version, Revision: p.Revision, Command: p.Command, Date: start.UTC().Truncate(time.Second), ElapsedSeconds: run.Elapsed.Seconds(),
		Found: len(run.Plan.Found), Made: run.Plan.Missing, Where: study.Here, Decoder: decoders(), Metrics: run.Spec.GetMetricsVersion(),
	}
	switch {
	case run.Plan.Missing == 0:
		made.Where = study.InTheCache
	case !s.Embedded():
		made.Where = study.AtWorkers
	default:
		made.Processor = processorName()
		if run.Runtime != nil {
			made.Runtime, made.Provider = run.Runtime.Version, string(run.Runtime.Provider)
			if run.Runtime.Provider == ort.CUDA {
				made.Processor = gpuName()
			}
		}
	}
	return made
}

// keepMade keeps how a run was made, and gives what was kept when it was made first.
func keepMade(ctx context.Context, s *pipeline.Services, run string, p *study.Provenance) (*study.Provenance, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("keep how run %s was made: %w", run, err)
	}
	if data, err = s.Cache.KeepProvenance(ctx, run, data); err != nil {
		return nil, err
	}
	return pipeline.ProvenanceOf(data), nil
}

// builtFrom is the commit that go build says this program was built from, where it says one.
func builtFrom() string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return ""
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["vcs.modified"] == "true" {
		return settings["vcs.revision"] + "+changes"
	}
	return settings["vcs.revision"]
}

// decoderModules make pixels of files, beside Go's own library.
var decoderModules = []string{"golang.org/x/image", "github.com/gen2brain/avif", "github.com/disintegration/imaging"}

// decoders names them with their versions, and the toolchain, whose library has the decoders of PNG, JPEG and GIF.
func decoders() string {
	names := []string{runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range decoderModules {
			for _, m := range info.Deps {
				if m.Path == module {
					names = append(names, module+" "+m.Version)
				}
			}
		}
	}
	return strings.Join(names, ", ")
}

// typed is a command as a shell would take it, with the passwords of addresses replaced.
func typed(args []string) string {
	var words []string
	for i, arg := range args {
		if i == 0 {
			arg = filepath.Base(arg)
		}
		flag, value, both := strings.Cut(arg, "=")
		if !both {
			flag, value = "", arg
		} else {
			flag += "="
		}
		if u, err := url.Parse(value); err == nil && u.Host != "" && u.User != nil {
			u.User = url.User("xxxxx") // a token stands where a user does
			arg = flag + u.String()
		}
		if arg == "" || strings.ContainsAny(arg, " \t\n\"'$&;|<>()*?#~`\\") {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

// processorName is the CPU's name, or its architecture where the system does not tell.
func processorName() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	if name := field(data, "model name"); name != "" {
		return name
	}
	return runtime.GOARCH
}

// gpuName is the name of the first GPU that NVIDIA's driver lists.
func gpuName() string {
	files, _ := filepath.Glob("/proc/driver/nvidia/gpus/*/information")
	for _, file := range files {
		data, _ := os.ReadFile(file)
		if name := field(data, "Model"); name != "" {
			return name
		}
	}
	return "an unnamed GPU"
}

// field is the value of the first line "name : value".
func field(data []byte, name string) string {
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
