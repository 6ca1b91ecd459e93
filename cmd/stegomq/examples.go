package main

import (
	_ "embed"
	"strings"

	"github.com/spf13/cobra"
)

// examples are what the help of the commands shows, a line each. A test parses every line.
//
//go:embed examples.txt
var examples string

// addExamples gives every command its examples.
func addExamples(root *cobra.Command) {
	for line := range strings.SplitSeq(strings.TrimSpace(examples), "\n") {
		_, words, _ := strings.Cut(line, "stegomq ")
		cmd, _, err := root.Find(strings.Fields(words))
		must(err)
		cmd.Example = strings.TrimPrefix(cmd.Example+"\n  "+line, "\n")
	}
}
