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
	var asJSON bool
	list := &cobra.Command{
		Use: "list", Short: "List the models", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			entries, err := model.List(a.models...)
			if err != nil {
				return err
			}
			rows := []modelRow{}
			for _, e := range entries {
				rows = append(rows, rowOf(e))
			}
			return printRows(cmd, rows, asJSON, modelRow.cells, "model", "digest", "backbone", "keying", "parameters", "alpha", "keys", "trained")
		},
	}
	jsonFlag(list, &asJSON)
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

// modelRow is a model in a list.
type modelRow struct {
	Name       string   `json:"name"`
	Error      string   `json:"error,omitempty"` // why it cannot be read; then nothing else is known
	Digest     string   `json:"digest,omitempty"`
	Backbone   string   `json:"backbone,omitempty"`
	Keying     string   `json:"keying,omitempty"`
	Parameters int64    `json:"parameters,omitempty"`
	Alpha      *float64 `json:"alpha,omitempty"` // of keyed weights
	Keys       []string `json:"keys,omitempty"`
	Trained    *bool    `json:"trained,omitempty"` // of networks
}

func rowOf(e model.Entry) modelRow {
	if e.Err != nil {
		return modelRow{Name: e.Name, Error: e.Err.Error()}
	}
	m := e.Manifest
	row := modelRow{Name: e.Name, Digest: e.Digest, Backbone: m.Backbone, Keying: m.Keying, Parameters: int64(m.Parameters)}
	for _, k := range m.Keys {
		row.Keys = append(row.Keys, k.ID)
	}
	if m.Keying == model.KeyingWeights {
		row.Alpha = &m.Alpha
	}
	if m.Network() {
		row.Trained = &m.Trained
	}
	return row
}

func (r modelRow) cells() table.Row {
	if r.Error != "" {
		return table.Row{r.Name, "unreadable: " + r.Error}
	}
	alpha, trained := "-", "-"
	if r.Alpha != nil {
		alpha = fmt.Sprint(*r.Alpha)
	}
	if r.Trained != nil {
		trained = yesNo(*r.Trained)
	}
	return table.Row{r.Name, r.Digest[:12], r.Backbone, r.Keying, r.Parameters, alpha, len(r.Keys), trained}
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
