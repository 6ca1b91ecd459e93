package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"stegomq/internal/model"
	"stegomq/internal/pusnet"
)

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
				return fmt.Errorf("--out is missing: name the model directory to make")
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
	f.StringVar(&out, "out", "", "the model directory to make")
	f.StringVar(&options.Name, "name", "", "name of the model (default: that of the directory)")
	f.StringVar(&like, "like", defaultPUSNet, "model of the same network, whose graphs are used")
	f.Float64Var(&options.Alpha, "alpha", options.Alpha, "share of the weights that are shared, the public code's sparse_ratio")
	f.Uint64Var(&options.MaskSeed, "mask-seed", options.MaskSeed, "seed of the mask")
	f.Uint64Var(&options.EmbedSeed, "embed-seed", options.EmbedSeed, "the key that hides")
	f.Uint64Var(&options.RecoverSeed, "recover-seed", options.RecoverSeed, "the key that reveals")
	return cmd
}
