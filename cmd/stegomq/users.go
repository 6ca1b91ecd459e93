package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"stegomq/internal/keyring"
	"stegomq/internal/users"
	"stegomq/pipeline"
)

func (a *app) usersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "users", Short: "Give users tokens for the HTTP API, list them, and take them back",
		Long: `A user of the HTTP API (stegomq serve, stegomq up --http) has a token, scopes, and keys (docs/http.md). Users are in the state folder; a
service on the same folder knows of a change at once.`,
	}
	cmd.PersistentFlags().StringVar(&a.at.State, "state", pipeline.DefaultState(), stateUsage)
	cmd.AddCommand(a.usersAddCommand(), a.usersListCommand(), a.usersRevokeCommand())
	return cmd
}

func (a *app) usersAddCommand() *cobra.Command {
	var u users.User
	var scopes []string
	var expires time.Duration
	cmd := &cobra.Command{
		Use: "add NAME --key ID", Short: "Make a user, and print the user's token, once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u.Name = args[0]
			for _, s := range scopes {
				u.Scopes = append(u.Scopes, users.Scope(s))
			}
			known, err := a.keyNames(cmd.Context(), cmd)
			if err != nil {
				return err
			}
			for _, id := range slices.Concat(u.Keys, u.EmbedFor) {
				// A mistyped id would otherwise show at the user's first request. Add says what is wrong with a derived key.
				if !slices.Contains(known, id) && !keyring.Derived(id) {
					return fmt.Errorf("%w: %q: make it with stegomq keys new %[2]s, or name the service's keyring with --keyring", keyring.ErrUnknownKey, id)
				}
			}
			if cmd.Flags().Changed("expires") {
				if expires <= 0 {
					return fmt.Errorf("%w: --expires %v is over already: give a time such as 720h", users.ErrUser, expires)
				}
				u.Expires = time.Now().UTC().Add(expires).Truncate(time.Second)
			}
			token, err := users.In(a.at.State).Add(u)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&u.Keys, "key", nil, "id of a key that is the user's own")
	f.StringSliceVar(&u.EmbedFor, "embed-for", nil, "id of another's key that the user may embed with")
	f.StringSliceVar(&scopes, "scope", []string{string(users.Embed), string(users.Recover)}, "what the user may do: embed, recover, evaluate, admin")
	f.DurationVar(&expires, "expires", 0, "how long the token is valid, such as 720h (default: for ever)")
	a.modelFlags(f)
	return cmd
}

func (a *app) usersListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the users", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := users.In(a.at.State).Users()
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				for _, u := range all {
					u.Hash = "" // it lets nobody in, and is nobody's business
					if err := enc.Encode(u); err != nil {
						return err
					}
				}
				return nil
			}
			w := newTable(cmd, "user", "scopes", "keys", "embeds for", "created", "expires")
			for _, u := range all {
				w.AppendRow(table.Row{u.Name, joined(u.Scopes), joined(u.Keys), joined(u.EmbedFor), u.Created.Format(time.RFC3339), orDash(u.Expires.IsZero(), u.Expires.Format(time.RFC3339))})
			}
			w.Render()
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line")
	return cmd
}

func joined[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, one := range list {
		words[i] = string(one)
	}
	return orDash(len(words) == 0, strings.Join(words, ", "))
}

func (a *app) usersRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke NAME", Short: "Refuse a user's token from now on", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := users.In(a.at.State).Revoke(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is refused from now on\n", args[0])
			return err
		},
	}
}
