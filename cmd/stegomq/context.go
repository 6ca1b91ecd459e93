package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stegomq/internal/contexts"
	"stegomq/internal/flagfile"
	"stegomq/pipeline"
)

// serverFlags are the flags that a context holds. serverNames name servers; serverFiles are files, whose absolute paths are kept.
var (
	serverNames = []string{"nats", "redis", "state"}
	serverFiles = []string{"state", "blobs", "nats-creds", "nats-ca", "nats-cert", "nats-key", "redis-password-file", "redis-ca", "redis-cert", "redis-key"}
	serverFlags = slices.Concat([]string{"nats", "redis", "tenant", "insecure"}, serverFiles)
)

func (a *app) contextCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "context", Short: "Give servers a name, and use them by it",
		Long: `A context is a named set of the flags that say where the servers are and how they let you in. Commands take the context that --context (or
STEGOMQ_CONTEXT) names; it replaces what the environment and the configuration say of servers. Where no context and no server is named, commands take
the context in use. Contexts are in the user's configuration folder, in a file of mode 0600.`,
	}
	cmd.AddCommand(a.contextAddCommand(), a.contextUseCommand(), a.contextListCommand(), a.contextRemoveCommand())
	return cmd
}

func (a *app) contextAddCommand() *cobra.Command {
	var use bool
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Keep the servers that flags, or the environment, name", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			values := make(contexts.Values)
			for _, name := range serverFlags {
				flag := cmd.Flags().Lookup(name)
				if !flag.Changed {
					continue
				}
				values[name] = flag.Value.String()
				if slices.Contains(serverFiles, name) && values[name] != "" {
					whole, err := filepath.Abs(values[name])
					if err != nil {
						return err
					}
					values[name] = whole
				}
			}
			if !slices.ContainsFunc(serverNames, func(name string) bool { return values[name] != "" }) {
				return errors.New("no server is named: give --nats and --redis, or --state of a stegomq up; passwords go into STEGOMQ_NATS and STEGOMQ_REDIS")
			}
			return contexts.Change(pipeline.DefaultContexts(), func(s *contexts.Set) error {
				if use {
					s.Use = args[0]
				}
				return s.Add(args[0], values)
			})
		},
		Annotations: map[string]string{ownServers: ""},
	}
	cmd.Flags().BoolVar(&use, "use", false, "use it from now on")
	a.busFlags(cmd.Flags())
	a.redisFlags(cmd.Flags())
	a.tenantFlag(cmd.Flags())
	group(groupServers, cmd.Flags(), func(f *pflag.FlagSet) {
		f.StringVar(&a.at.Blobs, "blobs", "", "folder for images that all processes share")
	})
	return cmd
}

func (a *app) contextUseCommand() *cobra.Command {
	var none bool
	cmd := &cobra.Command{
		Use: "use NAME | --none", Short: "Use a context from now on, where no other server is named", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if none == (len(args) == 1) {
				return errors.New("name a context (stegomq context list shows them), or give --none")
			}
			return contexts.Change(pipeline.DefaultContexts(), func(s *contexts.Set) error {
				s.Use = ""
				if none {
					return nil
				}
				s.Use = args[0]
				_, err := s.Get(s.Use)
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&none, "none", false, "use none")
	return cmd
}

func (a *app) contextRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "Forget a context; its servers stay as they are", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return contexts.Change(pipeline.DefaultContexts(), func(s *contexts.Set) error { return s.Remove(args[0]) })
		},
	}
}

// contextRow is a context in a list. Addresses are without user and password.
type contextRow struct {
	Name  string          `json:"name"`
	InUse bool            `json:"in_use"`
	Flags contexts.Values `json:"flags"`
}

func (a *app) contextListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the contexts, without passwords", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := contexts.Read(pipeline.DefaultContexts())
			if err != nil {
				return err
			}
			rows := []contextRow{}
			for _, name := range set.Names() {
				row := contextRow{name, name == set.Use, set.Contexts[name]}
				for _, address := range []string{"nats", "redis"} {
					if row.Flags[address] != "" {
						row.Flags[address] = pipeline.WithoutSecret(row.Flags[address])
					}
				}
				rows = append(rows, row)
			}
			return printRows(cmd, rows, asJSON, func(r contextRow) table.Row {
				use := ""
				if r.InUse {
					use = "*"
				}
				more := ""
				for _, name := range serverFlags[2:] {
					if v := r.Flags[name]; v != "" {
						more += " --" + name + "=" + v
					}
				}
				return table.Row{use, r.Name, cmp.Or(r.Flags["nats"], "-"), cmp.Or(r.Flags["redis"], "-"), cmp.Or(more, " -")[1:]}
			}, "", "context", "nats", "redis", "more")
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// takeContext sets the flags of servers from the context that is named. Where neither a context nor a server is named, it takes the context in use.
// A context is taken whole: a flag that it does not have gets its default.
func (a *app) takeContext(cmd *cobra.Command, fromFile map[string]string) error {
	f := cmd.Flags()
	if !slices.ContainsFunc(serverNames, func(n string) bool { return f.Lookup(n) != nil }) {
		return nil
	}
	given := func(name string) string {
		if flag := f.Lookup(name); flag != nil && flag.Changed {
			return flag.Value.String()
		}
		return cmp.Or(os.Getenv(flagfile.Variable(envPrefix, name)), fromFile[name])
	}
	name := given("context")
	if _, own := cmd.Annotations[ownServers]; name == "" && own {
		return nil
	}
	named := name != ""
	if !named && slices.ContainsFunc(serverNames, func(n string) bool { return given(n) != "" }) {
		return nil
	}
	for _, n := range serverNames {
		if flag := f.Lookup(n); named && flag != nil && flag.Changed {
			return fmt.Errorf("--context and --%s exclude each other: leave one out", n)
		}
	}
	set, err := contexts.Read(pipeline.DefaultContexts())
	if err != nil {
		return err
	}
	if name = cmp.Or(name, set.Use); name == "" {
		return nil
	}
	values, err := set.Get(name)
	if err != nil {
		return err
	}
	a.context = name
	for _, n := range serverFlags {
		flag := f.Lookup(n)
		if flag == nil || flag.Changed {
			continue
		}
		if err := f.Set(n, cmp.Or(values[n], flag.DefValue)); err != nil {
			return fmt.Errorf("context %s: %s: %w", name, n, err)
		}
	}
	return nil
}
