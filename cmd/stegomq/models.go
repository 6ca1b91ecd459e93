package main

import (
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"stegomq/internal/model"
	"stegomq/pipeline"
)

func (a *app) modelsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "models", Short: "List and verify models, import checkpoints, add users to a network"}
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
	cmd.AddCommand(list, verify, importCommand(), a.enrollCommand())
	return cmd
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

