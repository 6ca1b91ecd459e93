package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stegomq/internal/flagfile"
	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/internal/ort"
	"stegomq/internal/pixel"
	"stegomq/internal/telemetry"
	"stegomq/pipeline"
)

// app has the values of the flags, and what every command uses.
type app struct {
	config, logLevel, logFormat string
	context                     string

	at pipeline.Endpoints

	models, keyrings, modelFolders []string // modelFolders are the default of models
	keyringIdentity                string
	ortLib, provider               string
	slots, batchPixels, maxNetwork int
	weightsCacheMiB                int64
	layouts                        string

	maxBytesMiB, maxMpx int64
	minSide             int
	allow               []string

	metricsAddr string
	patience    time.Duration
	timeout     time.Duration

	log    *slog.Logger
	traces *telemetry.Traces // nil: nowhere
}

// envPrefix begins the names of the environment variables that set flags.
const envPrefix = "STEGOMQ_"

// passphraseEnv names the variable with the passphrase of an encrypted keyring. There is no flag for it: everybody on the machine sees arguments.
const passphraseEnv = "STEGOMQ_KEYRING_PASSPHRASE"

func (a *app) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.config, "config", "", "YAML file of flags (without the dashes)")
	f.StringVar(&a.context, "context", "", "use the servers of this context (stegomq context add makes one); default: the one in use (stegomq context use)")
	f.StringVar(&a.logLevel, "log-level", "warn", "debug, info, warn or error")
	f.StringVar(&a.logFormat, "log-format", "auto", "auto, text or json")
}

func (a *app) imageFlags(f *pflag.FlagSet) {
	group(groupImages, f, func(f *pflag.FlagSet) {
		f.Int64Var(&a.maxBytesMiB, "max-bytes", pixel.DefaultMaxBytes>>20, "largest image file, MiB")
		f.Int64Var(&a.maxMpx, "max-mpx", pixel.DefaultMaxPixels>>20, "largest image, Mi pixels")
		f.IntVar(&a.minSide, "min-side", pixel.DefaultMinSide, "shortest side of an image, pixels")
	})
}

func (a *app) modelFlags(f *pflag.FlagSet) {
	group(groupModels, f, func(f *pflag.FlagSet) {
		a.foldersFlag(f)
		a.keyringFlags(f)
	})
}

func (a *app) foldersFlag(f *pflag.FlagSet) {
	f.StringSliceVar(&a.models, "models", a.modelFolders, "folders that hold model directories")
}

func (a *app) keyringFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&a.keyrings, "keyring", nil, "keyring files (default "+pipeline.DefaultKeyring()+" when it is there)")
	f.StringVar(&a.keyringIdentity, "keyring-identity", "", "age identity file that opens an encrypted keyring (or set "+passphraseEnv+")")
}

func (a *app) engineFlags(f *pflag.FlagSet) {
	group(groupEngine, f, func(f *pflag.FlagSet) {
		f.StringVar(&a.ortLib, "ort-lib", "", "ONNX Runtime library (libonnxruntime.so), a file or its folder")
		f.StringVar(&a.provider, "provider", "auto", "what computes: cpu, cuda or auto")
		f.IntVar(&a.slots, "slots", 0, "jobs worked on at once (0: one per core)")
		f.Int64Var(&a.weightsCacheMiB, "weights-cache", 512, "memory for the weights of keys, and for the networks of models that have one for each key, MiB")
		f.StringVar(&a.layouts, "layouts", pipeline.DefaultLayouts(), "folder for what was measured of networks on this machine, so that they open faster the next time (empty: none)")
		f.IntVar(&a.batchPixels, "batch-pixels", 0, "pixels in one run of the network (0: 524288)")
		f.IntVar(&a.maxNetwork, "max-network-pixels", 0, "largest image that the network is given, pixels (0: 8388608)")
		a.allowFlag(f)
	})
}

// workerFlags are for every command that may run a worker.
func (a *app) workerFlags(f *pflag.FlagSet) {
	a.serviceFlags(f)
	a.modelFlags(f)
	a.engineFlags(f)
	a.imageFlags(f)
}

func (a *app) allowFlag(f *pflag.FlagSet) {
	f.StringSliceVar(&a.allow, "allow", nil, "folders that jobs may name images in by file://")
}

func (a *app) metricsFlag(f *pflag.FlagSet) {
	f.StringVar(&a.metricsAddr, "metrics", "", "serve /metrics, /healthz and /readyz at host:port")
}

// prepare sets the flags that the command was not given from the environment, and then from the configuration file, and makes the logger.
func (a *app) prepare(cmd *cobra.Command) error {
	if err := refuseSecretsInFlags(cmd.Flags()); err != nil {
		return err
	}
	fromFile, err := flagfile.Read(a.config)
	if err != nil {
		return err
	}
	if err := pipeline.CheckOpenSecrets(a.config, fromFile); err != nil {
		return err
	}
	if err := a.takeContext(cmd, fromFile); err != nil {
		return err
	}
	if err := flagfile.Fill(cmd, envPrefix, a.config, fromFile); err != nil {
		return err
	}
	if err := a.startClock(cmd); err != nil {
		return err
	}
	if err := a.checkConnection(cmd); err != nil {
		return err
	}
	if a.log, err = telemetry.NewLogger(cmd.ErrOrStderr(), a.logLevel, a.logFormat); err != nil {
		return err
	}
	return a.openTraces(cmd)
}

// openTraces sends the command's traces until it has ended, where the environment asks for traces.
func (a *app) openTraces(cmd *cobra.Command) (err error) {
	if a.traces, err = telemetry.OpenTraces(cmd.Context(), telemetry.TracesConfig{Version: version, Logger: a.log}); a.traces == nil {
		return err
	}
	work := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		defer a.traces.Close()
		return work(cmd, args)
	}
	return nil
}

// patienceFlag is for commands that wait for work. They have --timeout, too.
func (a *app) patienceFlag(f *pflag.FlagSet) {
	group(groupWait, f, func(f *pflag.FlagSet) {
		f.DurationVar(&a.patience, "patience", pipeline.DefaultPatience, "how long to wait for a server that went away")
		a.timeoutFlag(f)
	})
}

// timeoutFlag is for commands that may take long.
func (a *app) timeoutFlag(f *pflag.FlagSet) {
	group(groupWait, f, func(f *pflag.FlagSet) {
		f.DurationVar(&a.timeout, "timeout", 0, "end softly after this time, as by Ctrl-C, with exit code 124 (0: no bound)")
	})
}

// errTimeout ends a command that took longer than --timeout.
var errTimeout = errors.New("--timeout has passed")

// startClock ends the command's context when its time is over.
func (a *app) startClock(cmd *cobra.Command) error {
	if a.timeout < 0 {
		return fmt.Errorf("--timeout %s: it must not be negative", a.timeout)
	}
	if a.timeout > 0 {
		ctx, end := context.WithCancelCause(cmd.Context())
		time.AfterFunc(a.timeout, func() { end(errTimeout) })
		cmd.SetContext(ctx)
	}
	return nil
}

// options are the settings of the pipeline that the flags give.
func (a *app) options() pipeline.Options {
	return pipeline.Options{
		Endpoints: a.at, Runtime: a.runtime(), Allow: a.allow, Patience: a.patience, Logger: a.log, Traces: a.traces.Tracer(),
		Limits: pixel.Limits{MaxBytes: a.maxBytesMiB << 20, MaxPixels: a.maxMpx << 20, MinSide: a.minSide},
	}
}

func (a *app) runtime() pipeline.Runtime {
	return pipeline.Runtime{
		Library: a.ortLib, Provider: ort.Provider(a.provider), Slots: a.slots, WeightsBytes: a.weightsCacheMiB << 20, Layouts: a.layouts,
		BatchPixels: a.batchPixels, MaxPixels: a.maxNetwork,
	}
}

// withServices calls f with services that are not connected yet, and closes the connections that f opened.
func (a *app) withServices(f func(*pipeline.Services) error) (err error) {
	s := pipeline.New(a.options())
	defer func() { err = errors.Join(err, s.Close()) }()
	return f(s)
}

// withCache calls f with services that are connected to Redis.
func (a *app) withCache(ctx context.Context, f func(*pipeline.Services) error) error {
	return a.withServices(func(s *pipeline.Services) error {
		if err := s.OpenCache(ctx); err != nil {
			return err
		}
		return f(s)
	})
}

// withBus calls f with services that are connected to the message queue.
func (a *app) withBus(ctx context.Context, f func(*pipeline.Services) error) error {
	return a.withServices(func(s *pipeline.Services) error {
		if err := s.OpenBus(ctx); err != nil {
			return err
		}
		return f(s)
	})
}

// protection opens encrypted keyrings.
func (a *app) protection() keyring.Protection {
	return keyring.Protection{Passphrase: os.Getenv(passphraseEnv), IdentityFile: a.keyringIdentity}
}

// library is that of the models and the keys that the flags name.
func (a *app) library() *pipeline.Library {
	return &pipeline.Library{Folders: a.models, Keyrings: pipeline.KeyringFiles(a.keyrings), Protection: a.protection(), Logger: a.log}
}

// registeredKeys are those that --keys names: a number of the model's demo keys, all keys of a keyring file, or keys by their ids.
func (a *app) registeredKeys(keys string, m *model.Model) ([]keyring.Pair, error) {
	if n, err := strconv.Atoi(keys); err == nil {
		return a.library().DemoKeys(m, n)
	}
	ids := strings.Split(keys, ",")
	if _, err := os.Stat(keys); !errors.Is(err, os.ErrNotExist) {
		return a.library().RegisteredKeys(m, keys)
	}
	if slices.ContainsFunc(ids, func(id string) bool { return !keyring.ValidID(id) }) {
		return nil, fmt.Errorf("--keys %s: there is no keyring file of this name; give one, a number of demo keys, or ids of keys with commas between them", keys)
	}
	return a.library().NamedKeys(m, ids)
}

// The default models: of commands that measure a network, and of those that embed and recover for a user. The second takes any key.
const (
	defaultModel = "invertible-mk"
	sealedModel  = "sealed"
)

func (a *app) loadModel(nameOrDir string) (*model.Model, error) { return a.library().Model(nameOrDir) }
