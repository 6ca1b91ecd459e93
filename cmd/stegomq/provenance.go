package main

import (
	"bufio"
	"bytes"
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

	"stegomq/evaluator"
	"stegomq/internal/ort"
)

// revision is that of the source, set by the build; go build sets its own in the build information.
var revision = ""

// made says how this command made a run.
func (a *app) made(ev *evaluation, start time.Time, elapsed time.Duration) *evaluator.Provenance {
	p := &evaluator.Provenance{
		Version: version, Revision: sourceRevision(), Command: typed(os.Args), Date: start.UTC().Truncate(time.Second), ElapsedSeconds: elapsed.Seconds(),
		Found: len(ev.plan.Found), Made: ev.plan.Missing, Where: evaluator.Here, Decoder: decoders(), Metrics: ev.spec.GetMetricsVersion(),
	}
	switch {
	case ev.plan.Missing == 0:
		p.Where = evaluator.InTheCache
	case !a.at.Embedded():
		p.Where = evaluator.AtWorkers
	default:
		p.Processor = processorName()
		if ev.runtime != nil {
			p.Runtime, p.Provider = ev.runtime.Version, string(ev.runtime.Provider)
			if ev.runtime.Provider == ort.CUDA {
				p.Processor = gpuName()
			}
		}
	}
	return p
}

// keepMade keeps how a run was made, and gives what was kept when it was made first.
func (s *services) keepMade(ctx context.Context, run string, p *evaluator.Provenance) (*evaluator.Provenance, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("keep how run %s was made: %w", run, err)
	}
	if data, err = s.cache.KeepProvenance(ctx, run, data); err != nil {
		return nil, err
	}
	return provenanceOf(data), nil
}

// provenanceOf reads what was kept. What another version wrote, and this one cannot read, is as if nobody had written it.
func provenanceOf(data []byte) *evaluator.Provenance {
	p := &evaluator.Provenance{}
	if json.Unmarshal(data, p) != nil {
		return nil
	}
	return p
}

// sourceRevision is the commit that the program was built from, where the build knew it.
func sourceRevision() string {
	if revision != "" {
		return revision
	}
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
