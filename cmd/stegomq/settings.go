package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"stegomq/internal/pixel"
	"stegomq/internal/telemetry"
)

// app is what the flags say, and what every command uses.
type app struct {
	config, logLevel, logFormat string

	state, natsURL, natsCreds, redisURL, blobDir string
	ackWait, blobLifetime, unservedAfter         time.Duration
	replicas                                     int

	models, keyrings               []string
	keyringIdentity                string
	ortLib, provider               string
	slots, batchPixels, maxNetwork int
	weightsCacheMiB                int64

	maxBytesMiB, maxMpx int64
	minSide             int
	allow               []string

	metricsAddr string

	log *slog.Logger
}

// passphraseEnv holds the passphrase of an encrypted keyring. It has no flag: arguments are seen by everybody.
const passphraseEnv = "STEGOMQ_KEYRING_PASSPHRASE"

func (a *app) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.config, "config", "", "YAML file of flags (without the dashes)")
	f.StringVar(&a.logLevel, "log-level", "warn", "debug, info, warn or error")
	f.StringVar(&a.logFormat, "log-format", "auto", "auto, text or json")
}

// serviceFlags are for what needs the whole pipeline; busFlags and cacheFlags for what needs one of its servers.
func (a *app) serviceFlags(f *pflag.FlagSet) {
	a.busFlags(f)
	f.StringVar(&a.redisURL, "redis", "", redisUsage)
	f.StringVar(&a.blobDir, "blobs", "", "folder for images that all processes share; the NATS object store when empty")
	f.DurationVar(&a.blobLifetime, "blob-lifetime", 0, "how long images are kept (0: what the server has, at first 168h; in a --blobs folder 168h)")
	f.DurationVar(&a.unservedAfter, "unserved-after", 0, "how long a job may wait for a worker that has its key and model before it becomes a dead letter (0: 2m)")
	f.IntVar(&a.replicas, "replicas", 0, "replicas of each stream that is created (0: 3 where the NATS cluster has three servers or more, else 1)")
	f.DurationVar(&a.ackWait, "ack-wait", 0, "how long a worker or evaluator may give no sign of life before its work goes to another (0: what the server has, at first 30s)")
}

func (a *app) busFlags(f *pflag.FlagSet) {
	f.StringVar(&a.state, "state", defaultState(), stateUsage)
	f.StringVar(&a.natsURL, "nats", "", "NATS server with JetStream, nats://host:4222; embedded when empty")
	f.StringVar(&a.natsCreds, "nats-creds", "", "NATS credentials file")
}

func (a *app) cacheFlags(f *pflag.FlagSet) {
	f.StringVar(&a.state, "state", defaultState(), stateUsage)
	f.StringVar(&a.redisURL, "redis", "", redisUsage)
}

const (
	stateUsage = "folder of the embedded servers' data"
	redisUsage = "Redis server, redis://host:6379; embedded when empty"
)

func (a *app) imageFlags(f *pflag.FlagSet) {
	f.Int64Var(&a.maxBytesMiB, "max-bytes", pixel.DefaultMaxBytes>>20, "largest image file, MiB")
	f.Int64Var(&a.maxMpx, "max-mpx", pixel.DefaultMaxPixels>>20, "largest image, Mi pixels")
	f.IntVar(&a.minSide, "min-side", pixel.DefaultMinSide, "shortest side of an image, pixels")
}

func (a *app) modelFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&a.models, "models", defaultModels(), "folders that hold model directories")
	f.StringSliceVar(&a.keyrings, "keyring", nil, "keyring files (default "+defaultKeyring()+" when it is there)")
	f.StringVar(&a.keyringIdentity, "keyring-identity", "", "age identity file that opens an encrypted keyring (or set "+passphraseEnv+")")
}

func (a *app) engineFlags(f *pflag.FlagSet) {
	f.StringVar(&a.ortLib, "ort-lib", "", "ONNX Runtime library (libonnxruntime.so), a file or its folder")
	f.StringVar(&a.provider, "provider", "auto", "what computes: cpu, cuda or auto")
	f.IntVar(&a.slots, "slots", 0, "jobs worked on at once (0: one per core)")
	f.Int64Var(&a.weightsCacheMiB, "weights-cache", 512, "bound of the hot keys' weights, and of the networks of models that have one for each key, MiB")
	f.IntVar(&a.batchPixels, "batch-pixels", 0, "pixels in one run of the network (0: 524288)")
	f.IntVar(&a.maxNetwork, "max-network-pixels", 0, "largest image that the network is given, pixels (0: 8388608)")
	f.StringSliceVar(&a.allow, "allow", nil, "folders that jobs may name images in by file://")
}

// workerFlags are for every command that may run a worker.
func (a *app) workerFlags(f *pflag.FlagSet) {
	a.serviceFlags(f)
	a.modelFlags(f)
	a.engineFlags(f)
	a.imageFlags(f)
}

func (a *app) metricsFlag(f *pflag.FlagSet) {
	f.StringVar(&a.metricsAddr, "metrics", "", "serve /metrics, /healthz and /readyz at host:port")
}

// prepare fills in what flags did not set from the environment and the configuration file, in this order,
// and makes the logger.
func (a *app) prepare(cmd *cobra.Command) error {
	fromFile, err := readConfig(a.config)
	if err != nil {
		return err
	}
	var broken []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || f.Name == "version" {
			return
		}
		env := "STEGOMQ_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, from := os.Getenv(env), env
		if value == "" {
			value, from = fromFile[f.Name], a.config
		}
		if value == "" {
			return
		}
		if err := cmd.Flags().Set(f.Name, value); err != nil {
			broken = append(broken, fmt.Errorf("%s: %s: %w", from, f.Name, err))
		}
	})
	known := knownFlags(cmd.Root())
	for name := range fromFile {
		if !slices.Contains(known, name) {
			broken = append(broken, fmt.Errorf("%s: no command has a flag %q", a.config, name))
		}
	}
	if err := errors.Join(broken...); err != nil {
		return err
	}
	if a.state == "" && cmd.Flags().Lookup("state") != nil {
		return errors.New("there is no home folder to keep data in: name one with --state")
	}
	both := cmd.Flags().Lookup("nats") != nil && cmd.Flags().Lookup("redis") != nil
	if both && (a.natsURL == "") != (a.redisURL == "") {
		return errors.New("--nats and --redis go together: give both servers, or neither to use embedded ones")
	}
	a.log, err = telemetry.NewLogger(cmd.ErrOrStderr(), a.logLevel, a.logFormat)
	return err
}

// readConfig reads a YAML file of flag names and values; lists become comma-separated.
func readConfig(path string) (map[string]string, error) {
	values := make(map[string]string)
	if path == "" {
		return values, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	var raw map[string]any
	if err := yaml.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("read the configuration %s: %w", path, err)
	}
	for name, v := range raw {
		switch v := v.(type) {
		case []any:
			parts := make([]string, len(v))
			for i, p := range v {
				parts[i] = fmt.Sprint(p)
			}
			values[name] = strings.Join(parts, ",")
		case map[string]any:
			return nil, fmt.Errorf("read the configuration %s: %s must be a value or a list", path, name)
		default:
			values[name] = fmt.Sprint(v)
		}
	}
	return values, nil
}

// knownFlags names the flags of all commands: one file may serve several.
func knownFlags(root *cobra.Command) []string {
	var names []string
	add := func(f *pflag.Flag) { names = append(names, f.Name) }
	root.PersistentFlags().VisitAll(add)
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(add)
		c.PersistentFlags().VisitAll(add)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return names
}

func (a *app) limits() pixel.Limits {
	return pixel.Limits{MaxBytes: a.maxBytesMiB << 20, MaxPixels: a.maxMpx << 20, MinSide: a.minSide}
}

// defaultState is $XDG_STATE_HOME/stegomq, or "" without a home.
func defaultState() string {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "stegomq")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "state", "stegomq")
}

// defaultKeyring is $XDG_CONFIG_HOME/stegomq/keyring.json, or "" without a home.
func defaultKeyring() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "stegomq", "keyring.json")
}

// defaultModels looks for a folder called models from the working directory and from the executable upwards.
func defaultModels() []string {
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if exe, err := os.Executable(); err == nil {
		if exe, err = filepath.EvalSymlinks(exe); err == nil {
			starts = append(starts, filepath.Dir(exe))
		}
	}
	for _, dir := range starts {
		for {
			if found, _ := filepath.Glob(filepath.Join(dir, "models", "*", "manifest.json")); len(found) > 0 {
				return []string{filepath.Join(dir, "models")}
			}
			up := filepath.Dir(dir)
			if up == dir {
				break
			}
			dir = up
		}
	}
	return []string{"models"}
}
