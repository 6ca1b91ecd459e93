package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"stegomq/report"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newTable makes a table that Render writes to the command's output.
func newTable(cmd *cobra.Command, head ...any) table.Writer {
	w := table.NewWriter()
	w.SetOutputMirror(cmd.OutOrStdout())
	style := table.StyleLight
	style.Format.Header, style.Format.Footer = text.FormatDefault, text.FormatDefault
	w.SetStyle(style)
	w.AppendHeader(table.Row(head))
	return w
}

// printRows prints rows as JSON, or as a table with the cells of each.
func printRows[R any](cmd *cobra.Command, rows []R, asJSON bool, cells func(R) table.Row, head ...any) error {
	if asJSON {
		return printJSON(cmd.OutOrStdout(), rows)
	}
	w := newTable(cmd, head...)
	for _, r := range rows {
		row := cells(r)
		for i, cell := range row {
			if text, ok := cell.(string); ok {
				row[i] = shown(text)
			}
		}
		w.AppendRow(row)
	}
	w.Render()
	return nil
}

// shown is a text for a terminal, which would obey control characters: those that others have sent are written as JSON writes them.
func shown(text string) string {
	if !strings.ContainsFunc(text, controls) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if controls(r) {
			_, _ = fmt.Fprintf(&b, `\u%04x`, r) // a Builder takes everything
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func controls(r rune) bool { return unicode.IsControl(r) && r != '\n' }

// jsonFlag registers --json, for a command that prints a table.
func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	group(groupMade, cmd.Flags(), func(f *pflag.FlagSet) {
		f.BoolVar(asJSON, "json", false, "print JSON instead of a table")
	})
}

// orDash is the text of a cell; "-" for an empty one.
func orDash(empty bool, text string) string {
	if empty {
		return "-"
	}
	return text
}

// printReport prints a report as text, or the value that it is made of as JSON.
func printReport(w io.Writer, d *report.Document, value any, asJSON bool) error {
	if asJSON {
		data, err := report.JSON(value)
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	}
	_, err := io.WriteString(w, d.Text())
	return err
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
