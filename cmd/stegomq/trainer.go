package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stegomq/internal/keyring"
	"stegomq/internal/model"
	"stegomq/pipeline"
)

// trainerFlag adds the flag of the Python that runs the trainer.
func trainerFlag(f *pflag.FlagSet, python *string) {
	f.StringVar(python, "python", filepath.Join(".venv", "bin", "python"), "the Python that has the trainer")
}

// runTrainer runs `python -m trainer`. Its standard error goes to log as it comes; where it fails, the last line of that is the error.
func runTrainer(ctx context.Context, python string, out, log io.Writer, args ...string) error {
	said := &bytes.Buffer{}
	cmd := exec.CommandContext(ctx, python, append([]string{"-m", "trainer"}, args...)...) //nolint:gosec // G204: the Python is the user's own choice
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stdout, cmd.Stderr = out, io.MultiWriter(said, log)
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	lines := strings.Split(strings.TrimSpace(said.String()), "\n")
	last := strings.TrimPrefix(lines[len(lines)-1], "trainer: ")
	switch {
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || strings.Contains(last, "No module named"):
		return fmt.Errorf("%s cannot run the trainer: %s; work in the project's folder after `make trainer-env`, or name a Python "+
			"with PyTorch and the trainer by --python", python, cmp.Or(last, err.Error()))
	case last == "":
		return fmt.Errorf("%s -m trainer %s: %w", python, args[0], err)
	}
	return errors.New(last)
}

// importCommand hands the work to the trainer: PyTorch alone reads its files, and draws its random numbers.
func importCommand() *cobra.Command {
	var python string
	cmd := &cobra.Command{
		Use:   "import CHECKPOINT --out DIR",
		Short: "Make a model of a checkpoint of the public PUSNet code",
		Long: `Make a model of a checkpoint of the public PUSNet code (github.com/albblgb/PUSNet): a state dict in a .pt or
.pth file. Nothing in the file is executed. The model computes what the public code computes with the same integer
keys; they become one public key pair, imported-<embed seed>-<recover seed>. It runs "python -m trainer import", so
Python needs the trainer: work in the project's folder after "make trainer-env", or name another Python.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			line := []string{"import", args[0]}
			for _, name := range []string{"out", "name", "alpha", "mask-seed", "embed-seed", "recover-seed"} {
				if f := cmd.Flags().Lookup(name); f.Changed {
					line = append(line, "--"+name+"="+f.Value.String())
				}
			}
			return runTrainer(cmd.Context(), python, cmd.OutOrStdout(), io.Discard, line...)
		},
	}
	f := cmd.Flags()
	f.String("out", "", "the model directory to make (required)")
	f.String("name", "", "name of the model (default: that of the directory)")
	f.Float64("alpha", 0.9, "share of the weights that are shared, the public code's sparse_ratio")
	f.Uint64("mask-seed", 1, "seed of the mask")
	f.Uint64("embed-seed", 10101, "the key that hides")
	f.Uint64("recover-seed", 1010, "the key that reveals")
	trainerFlag(f, &python)
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

func (a *app) enrollCommand() *cobra.Command {
	var python, data, out, run, config string
	var ids []string
	var seconds float64
	var threads int
	cmd := &cobra.Command{
		Use:   "enroll MODEL --key ID --data PHOTOGRAPHS --out DIR",
		Short: "Train a network further so that it knows another user's key",
		Long: `Make a new model that knows the keys of MODEL and yours, by a short training on a folder of photographs. MODEL stays as it
is and goes on serving; workers serve both when both are in their --models. The command prints the quality for each user before and after,
since every new user costs the others some. Models that encrypt or rotate need no training: any key works with them at once.

The pairs come from the keyring, and so do those of users who were enrolled before. The trainer sees their bytes, and the new model
holds none. Ctrl-C keeps what was trained in --run, and the same command goes on there.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			m, err := model.Open(args[0], a.models...)
			if err != nil {
				return err
			}
			if m.Manifest.Keying != model.KeyingWeights {
				return fmt.Errorf("model %s (keying %s) is not trained for keys: any key works with it at once, or every key has a network of its own",
					m.Name, m.Manifest.Keying)
			}
			pairs, err := a.toEnroll(m, ids)
			if err != nil {
				return err
			}
			folder, err := os.MkdirTemp("", "stegomq-enroll-") // for the user alone
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
			ring := keyring.New()
			for _, p := range pairs {
				if err := ring.Add(p); err != nil {
					return err
				}
			}
			file := filepath.Join(folder, "keyring.json")
			if err := ring.Save(file, keyring.Protection{}); err != nil {
				return err
			}
			out = filepath.Clean(out)
			return runTrainer(cmd.Context(), python, cmd.OutOrStdout(), cmd.ErrOrStderr(), "enroll", m.Dir,
				"--config", cmp.Or(config, filepath.Join("trainer", "configs", cmp.Or(configs[m.Manifest.Backbone], m.Manifest.Backbone)+".toml")),
				"--keyring", file, "--data", data, "--out", cmp.Or(run, out+".run"), "--model", out,
				"--seconds", fmt.Sprint(seconds), "--threads", fmt.Sprint(threads))
		},
	}
	f := cmd.Flags()
	a.keyringFlags(f)
	f.StringSliceVar(&ids, "key", nil, "ids of the key pairs to add, in the keyring (required)")
	f.StringVar(&data, "data", "", "folder of photographs to train on (required)")
	f.StringVar(&out, "out", "", "the model directory to make (required)")
	f.StringVar(&run, "run", "", "folder of the training run (default: that of --out with .run behind it)")
	f.StringVar(&config, "config", "", "the configuration that the model was trained with (default: the trainer's for the backbone)")
	f.Float64Var(&seconds, "seconds", 660, "how long to train, in seconds of the processor")
	f.IntVar(&threads, "threads", 1, "threads that train")
	trainerFlag(f, &python)
	for _, name := range []string{"key", "data", "out"} {
		must(cmd.MarkFlagRequired(name))
	}
	return cmd
}

// configs names the file in trainer/configs that the shipped models of a backbone were trained with.
var configs = map[string]string{"invertible": "invertible-mk", "pusnet": "pusnet-mk"}

// toEnroll returns the pairs that the trainer needs and the model does not hold: those of users who were enrolled before, and the new ones.
func (a *app) toEnroll(m *model.Model, ids []string) ([]keyring.Pair, error) {
	public, err := pipeline.DemoKeys(m)
	if err != nil {
		return nil, err
	}
	ring, err := a.library().Keys()
	if err != nil {
		return nil, err
	}
	var pairs []keyring.Pair
	for _, k := range m.Keys() {
		if slices.ContainsFunc(public, func(p keyring.Pair) bool { return p.Fingerprint() == k.Fingerprint }) {
			continue
		}
		pair, err := ring.Resolve(k.ID, k.Fingerprint)
		if err != nil {
			return nil, fmt.Errorf("model %s serves the key %s too, which the training needs, or its user would lose it: %w", m.Name, k.ID, err)
		}
		pairs = append(pairs, pair)
	}
	for _, id := range ids {
		pair, err := ring.Get(id)
		if err != nil {
			return nil, err
		}
		if m.Takes(pair.Fingerprint()) {
			return nil, fmt.Errorf("model %s knows the key %s already", m.Name, id)
		}
		pairs = append(pairs, pair)
	}
	return pairs, nil
}
