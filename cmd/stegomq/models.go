package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"stegomq/internal/model"
	"stegomq/pipeline"
)

func (a *app) modelsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "models", Short: "List, verify and import model directories"}
	cmd.PersistentFlags().StringSliceVar(&a.models, "models", pipeline.DefaultModels(), "folders that hold model directories")
	list := &cobra.Command{
		Use: "list", Short: "List the models", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			entries, err := model.List(a.models...)
			if err != nil {
				return err
			}
			w := newTable(cmd, "model", "digest", "backbone", "keying", "parameters", "alpha", "keys", "trained")
			for _, e := range entries {
				if e.Err != nil {
					w.AppendRow(table.Row{e.Name, "unreadable: " + e.Err.Error()})
					continue
				}
				m := e.Manifest
				alpha, trained := "-", yesNo(m.Trained)
				if m.Keying == model.KeyingWeights {
					alpha = fmt.Sprint(m.Alpha)
				}
				if !m.Network() {
					trained = "-"
				}
				w.AppendRow(table.Row{e.Name, e.Digest[:12], m.Backbone, m.Keying, m.Parameters, alpha, len(m.Keys), trained})
			}
			w.Render()
			return nil
		},
	}
	verify := &cobra.Command{
		Use: "verify [MODEL...]", Short: "Check every file of models against their manifests", Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				entries, err := model.List(a.models...)
				if err != nil {
					return err
				}
				for _, e := range entries {
					args = append(args, e.Dir)
				}
			}
			for _, name := range args {
				m, err := model.Open(name, a.models...)
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: ok, %s\n", m.Name, m.Digest); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.AddCommand(list, verify, a.modelsImportCommand())
	return cmd
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// noTrainer is what Python says of a module that it does not find.
const noTrainer = "No module named"

// modelsImportCommand hands the work to the trainer: reading PyTorch's files and drawing what PyTorch draws is PyTorch's.
func (a *app) modelsImportCommand() *cobra.Command {
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
			line := []string{"-m", "trainer", "import", args[0]}
			for _, name := range []string{"out", "name", "alpha", "mask-seed", "embed-seed", "recover-seed"} {
				if f := cmd.Flags().Lookup(name); f.Changed {
					line = append(line, "--"+name+"="+f.Value.String())
				}
			}
			importer := exec.CommandContext(cmd.Context(), python, line...)
			said := &strings.Builder{}
			importer.Stdout, importer.Stderr = cmd.OutOrStdout(), said
			err := importer.Run()
			last := said.String()
			if i := strings.LastIndexByte(strings.TrimSpace(last), '\n'); i >= 0 {
				last = last[i+1:]
			}
			last = strings.TrimPrefix(strings.TrimSpace(last), "trainer: ")
			switch {
			case err == nil:
				return nil
			case errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || strings.Contains(last, noTrainer):
				return fmt.Errorf("%s cannot run the trainer: %s; work in the project's folder after `make trainer-env`, or name a Python "+
					"with PyTorch and the trainer by --python", python, cmp.Or(last, err.Error()))
			case last == "":
				return fmt.Errorf("%s -m trainer import: %w", python, err)
			}
			return errors.New(last)
		},
	}
	f := cmd.Flags()
	f.String("out", "", "the model directory to make (required)")
	f.String("name", "", "name of the model (default: that of the directory)")
	f.Float64("alpha", 0.9, "share of the weights that are shared, the public code's sparse_ratio")
	f.Uint64("mask-seed", 1, "seed of the mask")
	f.Uint64("embed-seed", 10101, "the key that hides")
	f.Uint64("recover-seed", 1010, "the key that reveals")
	f.StringVar(&python, "python", filepath.Join(".venv", "bin", "python"), "the Python that has the trainer")
	if err := cmd.MarkFlagRequired("out"); err != nil {
		panic(err) // the flag is there
	}
	return cmd
}
