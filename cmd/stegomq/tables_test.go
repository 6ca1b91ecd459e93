package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"stegomq/schemas"
)

// A tenant's message cannot command the operator's terminal.
func TestControlCharactersAreShown(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetOut(&out)
	evil := "job.interactive.mallory.m.embed.mallory.\x1b[2J\u009b2J\x07\r"
	if err := printRows(cmd, []string{evil}, false, func(s string) table.Row { return table.Row{1, s, "two\nlines"} }, "n", "subject", "detail"); err != nil {
		t.Fatal(err)
	}
	// dead show, and tail
	letter := &schemas.DeadLetter{Reason: "bad_message", Subject: evil, Detail: evil}
	if err := printMessage(cmd, protojson.MarshalOptions{Multiline: true}, "", letter, nil); err != nil {
		t.Fatal(err)
	}
	if err := printMessage(cmd, protojson.MarshalOptions{}, evil+" ", nil, []byte(evil)); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsFunc(out.String(), controls) || strings.Count(out.String(), `[2J\u009b2J`) != 5 {
		t.Errorf("%q", &out)
	}
}
