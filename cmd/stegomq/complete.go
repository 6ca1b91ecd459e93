package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stegomq/internal/contexts"
	"stegomq/internal/model"
	"stegomq/internal/users"
	"stegomq/pipeline"
)

// lookup returns the words that an argument may be completed to.
type lookup func(ctx context.Context, cmd *cobra.Command) ([]string, error)

// completeTimeout bounds how long a shell waits for the words.
const completeTimeout = 3 * time.Second

// complete has shells complete the names of runs, models, keys, users and contexts: in the arguments of the commands, and in flags, listed here.
func (a *app) complete(root *cobra.Command) {
	arguments := map[string]lookup{
		"runs show": a.runNames, "runs cancel": a.runNames, "runs rm": a.runNames, "report": a.runNames, "report compare": a.runNames, "watch": a.runNames,
		"keys show": a.keyNames, "keys public": a.keyNames, "keys export": a.keyNames, "keys delete": a.keyNames,
		"models verify": a.modelNames, "users revoke": a.userNames, "context use": a.contextNames, "context remove": a.contextNames,
	}
	flags := map[string]lookup{"key": a.keyNames, "embed-for": a.keyNames, "model": a.modelNames, "context": a.contextNames}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if find := arguments[strings.TrimPrefix(cmd.CommandPath(), "stegomq ")]; find != nil {
			cmd.ValidArgsFunction = a.words(find)
		}
		for name, find := range flags {
			if cmd.Flags().Lookup(name) != nil || cmd.PersistentFlags().Lookup(name) != nil {
				must(cmd.RegisterFlagCompletionFunc(name, a.words(find)))
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// words completes with the words that find returns. Flags, environment and configuration count as they do when the command runs.
func (a *app) words(find lookup) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
		defer cancel()
		cmd.SetContext(ctx)
		if err := a.prepare(cmd); err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		all, err := find(ctx, cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var fit []cobra.Completion
		for _, word := range all {
			if strings.HasPrefix(word, begun) && (len(args) == 0 || args[len(args)-1] != word) {
				fit = append(fit, word)
			}
		}
		return fit, cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) runNames(ctx context.Context, _ *cobra.Command) (names []string, err error) {
	if a.at.Redis == "" {
		if _, err := os.Stat(filepath.Join(a.at.State, "redis")); err != nil {
			return nil, err // opening the embedded Redis would make its folder
		}
	}
	err = a.withCache(ctx, func(s *pipeline.Services) error {
		runs, err := s.Runs(ctx, false)
		for _, run := range runs {
			names = append(names, run.Run)
		}
		return err
	})
	return names, err
}

// keyNames are the user's keys, and those that ship with models.
func (a *app) keyNames(_ context.Context, cmd *cobra.Command) (names []string, err error) {
	ring, err := a.library().Keys()
	if err != nil {
		return nil, err
	}
	for _, pair := range ring.List() {
		names = append(names, pair.ID)
	}
	var models []model.Entry
	if cmd.Flags().Lookup("models") != nil {
		models, err = model.List(a.models...)
	}
	for _, m := range models {
		for _, k := range m.Manifest.Keys {
			names = append(names, k.ID)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

func (a *app) modelNames(context.Context, *cobra.Command) (names []string, err error) {
	models, err := model.List(a.models...)
	for _, m := range models {
		names = append(names, m.Name)
	}
	return names, err
}

func (a *app) userNames(context.Context, *cobra.Command) (names []string, err error) {
	all, err := users.In(a.at.State).Users()
	for _, u := range all {
		names = append(names, u.Name)
	}
	return names, err
}

func (a *app) contextNames(context.Context, *cobra.Command) ([]string, error) {
	set, err := contexts.Read(pipeline.DefaultContexts())
	if err != nil {
		return nil, err
	}
	return set.Names(), nil
}
