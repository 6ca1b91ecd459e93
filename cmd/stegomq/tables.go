package main

import (
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
)

// newTable makes a table that Render writes to the command's output.
func newTable(cmd *cobra.Command, head ...any) table.Writer {
	w := table.NewWriter()
	w.SetOutputMirror(cmd.OutOrStdout())
	style := table.StyleLight
	style.Format.Header = text.FormatDefault
	w.SetStyle(style)
	w.AppendHeader(table.Row(head))
	return w
}
