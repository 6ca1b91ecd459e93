package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// write has the reference written anew: make generate.
var write = flag.Bool("write", false, "write docs/commands.md")

// commands are those of a program that is started where no models, no keys and no folders of a user are found, by their paths.
func commands(t *testing.T) map[string]*cobra.Command {
	t.Helper()
	t.Setenv("HOME", "~")
	for _, name := range []string{"XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"} {
		t.Setenv(name, "")
	}
	t.Chdir(t.TempDir())
	all := make(map[string]*cobra.Command)
	root := newRoot()
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		all[cmd.CommandPath()] = cmd
		for _, sub := range cmd.Commands() {
			if sub.Name() != "completion" && sub.Name() != "help" && !sub.Hidden {
				walk(sub)
			}
		}
	}
	walk(root)
	return all
}

func TestReference(t *testing.T) {
	path, err := filepath.Abs("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	all := commands(t)
	seen := make(map[string]string) // groups of flags, and the first command that has them
	once := func(text, name string) string {
		parts := strings.Split(text, "\n\n")
		for i, part := range parts {
			title, _, _ := strings.Cut(part, ":\n")
			if !slices.Contains(groupTitles, title) {
				continue
			}
			if first := seen[part]; first != "" {
				parts[i] = title + ": as of " + first
			} else {
				seen[part] = name
			}
		}
		return strings.Join(parts, "\n\n")
	}
	var b bytes.Buffer
	b.WriteString("# Commands\n\nWhat --help says, of every command. `make generate` writes this file; a test fails when it is stale.\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		cmd := all[name]
		fmt.Fprintf(&b, "\n## %s\n\n", name)
		var help bytes.Buffer
		cmd.InitDefaultHelpFlag()
		cmd.SetOut(&help)
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		// What every command has stands once.
		text, _, _ := strings.Cut(help.String(), "\n"+groupGlobal+":\n")
		if cmd.Parent() == nil {
			text = help.String()
		}
		fmt.Fprintf(&b, "```text\n%s\n```\n", strings.TrimSpace(once(text, name)))
	}
	if *write {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if committed, err := os.ReadFile(path); err != nil || !bytes.Equal(committed, b.Bytes()) {
		t.Errorf("docs/commands.md is stale: run make generate (%v)", err)
	}
}

// Every command has an example, whose flags and arguments it takes.
func TestExamples(t *testing.T) {
	all := commands(t)
	shell := regexp.MustCompile(`^(STEGOMQ_[A-Z]+=\S+ )*stegomq (.*)$`)
	for name, cmd := range all {
		if _, only := cmd.Annotations[onlyGroup]; only || cmd.Parent() == nil {
			continue
		}
		if !cmd.HasExample() {
			t.Errorf("%s has no example", name)
		}
		for line := range strings.Lines(cmd.Example) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " | ")
			line, _, _ = strings.Cut(line, "  #")
			line, _, _ = strings.Cut(line, " > ")
			line, _, _ = strings.Cut(line, " < ")
			line = strings.Replace(line, "$(stegomq producer --data photos/ --context prod)", "run-1", 1)
			found := shell.FindStringSubmatch(line)
			if found == nil {
				t.Errorf("%s: %q is no command", name, line)
				continue
			}
			meant, args, err := newRoot().Find(strings.Fields(found[2]))
			if err != nil || meant.CommandPath() != name {
				t.Errorf("%s: %q is another command: %v", name, line, err)
				continue
			}
			meant.InitDefaultHelpFlag()
			err = meant.ParseFlags(args)
			if err == nil {
				err = meant.ValidateRequiredFlags()
			}
			if err == nil {
				err = meant.ValidateArgs(meant.Flags().Args())
			}
			if err != nil {
				t.Errorf("%s: %q: %v", name, line, err)
			}
		}
	}
}

// Every group of flags is one that help has a place for.
func TestGroups(t *testing.T) {
	seen := make(map[string]bool)
	for name, cmd := range commands(t) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			for _, title := range f.Annotations[inGroup] {
				if seen[title] = true; !slices.Contains(groupTitles, title) {
					t.Errorf("%s: --%s is in the group %q, which help does not show", name, f.Name, title)
				}
			}
		})
	}
	for _, title := range groupTitles {
		if !seen[title] {
			t.Errorf("no flag is in the group %q", title)
		}
	}
}
