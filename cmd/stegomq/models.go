package main

import (
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"stegomq/internal/model"
)

func (a *app) modelsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "models", Short: "List and verify models, import checkpoints, add users to a network"}
	a.foldersFlag(cmd.PersistentFlags())
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
	cmd.AddCommand(list, verify, importCommand(), a.enrollCommand())
	return cmd
}

// modelRow is a model in a list.
type modelRow struct {
	Name       string   `json:"name"`
	Error      string   `json:"error,omitempty"` // why the model cannot be read; the other fields are then empty
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
