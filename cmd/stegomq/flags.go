package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// groupTitles are the groups of flags in a command's help, in their order. Flags without a group come first.
var groupTitles = []string{
	groupMeasured, groupLoad, groupWhere, groupData, groupTrials, groupMade, groupWait, groupHTTP, groupServers, groupModels, groupEngine, groupImages,
}

const (
	groupMeasured = "What is measured"
	groupLoad     = "The load"
	groupWhere    = "Workers"
	groupData     = "Data set"
	groupTrials   = "Wrong keys, attacks and metrics"
	groupMade     = "Output"
	groupWait     = "Waiting"
	groupHTTP     = "HTTP"
	groupServers  = "Servers"
	groupModels   = "Models and keys"
	groupEngine   = "Engine"
	groupImages   = "Limits of images"
	groupGlobal   = "Every command"
)

// inGroup is an annotation of flags.
const inGroup = "group"

// group registers flags in a group.
func group(title string, f *pflag.FlagSet, register func(*pflag.FlagSet)) {
	part := pflag.NewFlagSet(title, pflag.ContinueOnError)
	register(part)
	part.VisitAll(func(flag *pflag.Flag) {
		if flag.Annotations == nil {
			flag.Annotations = make(map[string][]string)
		}
		if flag.Annotations[inGroup] == nil { // flags of an inner group stay in that
			flag.Annotations[inGroup] = []string{title}
		}
	})
	f.AddFlagSet(part)
}

// flagGroup is a part of a command's help.
type flagGroup struct {
	title string
	flags *pflag.FlagSet
}

// groupsOf are the flags of a command in their groups, the global ones last.
func groupsOf(cmd *cobra.Command) []flagGroup {
	sets := make(map[string]*pflag.FlagSet)
	global := cmd.Root().PersistentFlags()
	add := func(flag *pflag.Flag) {
		title := ""
		if given := flag.Annotations[inGroup]; len(given) == 1 {
			title = given[0]
		}
		if flag.Name == "help" || global.Lookup(flag.Name) == flag {
			title = groupGlobal
		}
		if flag.Hidden {
			return
		}
		if sets[title] == nil {
			sets[title] = pflag.NewFlagSet(title, pflag.ContinueOnError)
		}
		sets[title].AddFlag(flag)
	}
	cmd.LocalFlags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	var all []flagGroup
	for _, title := range slices.Concat([]string{""}, groupTitles, []string{groupGlobal}) {
		if sets[title] != nil {
			all = append(all, flagGroup{title, sets[title]})
		}
	}
	return all
}

// printUsage is what the help of every command ends with.
func printUsage(cmd *cobra.Command) error {
	var b strings.Builder
	b.WriteString("Usage:\n")
	if _, only := cmd.Annotations[onlyGroup]; cmd.Runnable() && !only {
		fmt.Fprintf(&b, "  %s\n", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s COMMAND\n", cmd.CommandPath())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	printCommands(&b, cmd)
	for _, g := range groupsOf(cmd) {
		title := g.title
		if title == "" {
			title = "Flags"
		}
		fmt.Fprintf(&b, "\n%s:\n%s", title, g.flags.FlagUsages())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n%s COMMAND --help describes a command.\n", cmd.CommandPath())
	}
	_, err := io.WriteString(cmd.OutOrStderr(), b.String())
	return err
}

// printCommands prints the commands below one, in their groups.
func printCommands(b *strings.Builder, cmd *cobra.Command) {
	parts := append([]*cobra.Group{{Title: "Commands"}}, cmd.Groups()...)
	for _, part := range parts {
		title := "\n" + part.Title + ":\n"
		for _, sub := range cmd.Commands() {
			if sub.GroupID == part.ID && (sub.IsAvailableCommand() || sub.Name() == "help") {
				fmt.Fprintf(b, "%s  %-*s %s\n", title, sub.NamePadding(), sub.Name(), sub.Short)
				title = ""
			}
		}
	}
}
