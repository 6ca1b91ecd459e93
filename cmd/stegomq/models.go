package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"stegomq/internal/model"
	"stegomq/internal/pusnet"
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

// defaultPUSNet is the model whose graphs an imported checkpoint gets.
const defaultPUSNet = "pusnet-mk"

func (a *app) modelsImportCommand() *cobra.Command {
	options := pusnet.Defaults()
	var out, like string
	cmd := &cobra.Command{
		Use:   "import CHECKPOINT --out DIR",
		Short: "Make a model of a checkpoint of the public PUSNet code",
		Long: `Make a model of a checkpoint of the public PUSNet code (github.com/albblgb/PUSNet): a state dict in a .pt or
.pth file. Nothing in the file is executed. The model computes what the public code computes with the same integer
keys; they become one public key pair, imported-<embed seed>-<recover seed>.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return errors.New("--out is missing: name the model directory to make")
			}
			if options.Name == "" {
				options.Name = filepath.Base(filepath.Clean(out))
			}
			graphs, err := model.Open(like, a.models...)
			if err != nil {
				return fmt.Errorf("--like: %w", err)
			}
			m, err := pusnet.Import(args[0], graphs, out, options)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: imported as %s, %s\nkey %s\n", args[0], m.Name, m.Digest, m.Keys()[0].ID)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "", "the model directory to make (required)")
	f.StringVar(&options.Name, "name", "", "name of the model (default: that of the directory)")
	f.StringVar(&like, "like", defaultPUSNet, "model of the same network, whose graphs are used")
	f.Float64Var(&options.Alpha, "alpha", options.Alpha, "share of the weights that are shared, the public code's sparse_ratio")
	f.Uint64Var(&options.MaskSeed, "mask-seed", options.MaskSeed, "seed of the mask")
	f.Uint64Var(&options.EmbedSeed, "embed-seed", options.EmbedSeed, "the key that hides")
	f.Uint64Var(&options.RecoverSeed, "recover-seed", options.RecoverSeed, "the key that reveals")
	return cmd
}
