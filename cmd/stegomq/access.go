package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"stegomq/internal/access"
	"stegomq/internal/streams"
	"stegomq/pipeline"
)

// accessCommand is for the operator, who says what a user may do.
func (a *app) accessCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "access", Short: "Give users access to keys and models on a shared server, show it, and take it back",
		Long: `A user of a shared NATS server has an account there. Through it the user publishes jobs for certain keys and models, reads the user's own
images and results, and does nothing else (docs/access.md). These commands are for the operator. They make the user's streams on the server that
--nats names, and print the account for the server's configuration. The user then works with embed and recover --tenant USER.`,
	}
	a.busFlags(cmd.PersistentFlags())
	cmd.AddCommand(a.grantCommand(), a.showCommand(), a.revokeCommand())
	return cmd
}

// errOneAccount: an embedded server has one account.
var errOneAccount = errors.New("access is given on a nats-server with accounts, which stegomq up is not: name the server with --nats (ops/nats/tenants.conf is an example)")

// withAccounts is withBus for servers that can have accounts.
func (a *app) withAccounts(ctx context.Context, f func(*streams.Streams) error) error {
	if a.at.Local() {
		return errOneAccount
	}
	return a.withBus(ctx, func(s *pipeline.Services) error { return f(s.Streams) })
}

func (a *app) grantCommand() *cobra.Command {
	var g access.Grant
	var names []string
	var nsc bool
	var images int64
	cmd := &cobra.Command{
		Use: "grant USER --key ID", Short: "Let a user publish jobs for keys and models; prints the user's NATS account", Args: cobra.ExactArgs(1),
		Long: `Makes the user's streams on the server and prints the user's account for the server's configuration, where it is included in the accounts
block. Granting again replaces what was granted before, once the server has the new account.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			g.Tenant = args[0]
			for _, name := range names {
				m, err := a.loadModel(name)
				if err != nil {
					return err
				}
				g.Models = append(g.Models, m.Digest)
			}
			if err := g.Validate(); err != nil {
				return err
			}
			return a.withAccounts(cmd.Context(), func(s *streams.Streams) error {
				if err := pipeline.GrantAccess(cmd.Context(), s, g, images<<20); err != nil {
					return err
				}
				_, err := fmt.Fprint(cmd.OutOrStdout(), g.Account(nsc))
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&g.Keys, "key", nil, "id of a key whose jobs the user may publish; several times for several keys")
	f.StringArrayVar(&names, "model", []string{sealedModel}, "model that the keys may be used with, by name or directory; several times for several models")
	f.BoolVar(&g.EmbedOnly, "embed-only", false, "embed, do not recover")
	f.BoolVar(&nsc, "nsc", false, "print nsc's commands, for a server with operator, accounts and users as JWTs")
	f.Int64Var(&images, "max-images", 0, "bound of the user's images on the server, MiB (0: as it is, at first 1024)")
	a.foldersFlag(f)
	must(cmd.MarkFlagRequired("key"))
	return cmd
}

func (a *app) showCommand() *cobra.Command {
	var nsc, asJSON bool
	cmd := &cobra.Command{
		Use: "show USER", Short: "Print what a user was granted, and what the server holds for the user", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withAccounts(cmd.Context(), func(s *streams.Streams) error {
				g, held, err := pipeline.Access(cmd.Context(), s, args[0])
				if err != nil {
					return err
				}
				out := cmd.OutOrStdout()
				if asJSON {
					return printJSON(out, struct {
						access.Grant
						*streams.TenantStatus
					}{g, held})
				}
				_, _ = fmt.Fprintf(out, "# %s since %s\n", g.Tenant, held.Created.Format(time.DateTime))
				for _, s := range held.Streams {
					_, _ = fmt.Fprintf(out, "# %s: %d messages, %d bytes of %d\n", s.Name, s.Messages, s.Bytes, s.MaxBytes)
				}
				_, err = fmt.Fprint(out, g.Account(nsc))
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&nsc, "nsc", false, "print nsc's commands")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) revokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke USER", Short: "Delete a user's images, results, waiting jobs and dead letters from the server", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			user := args[0]
			err := a.withAccounts(cmd.Context(), func(s *streams.Streams) error { return pipeline.RevokeAccess(cmd.Context(), s, user) })
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), `The images, results and waiting jobs of %[1]s are deleted. The server still lets %[1]s in: take the account %[1]s out of its configuration and reload it
(nats-server --signal reload), or with nsc: nsc delete account %[1]s && nsc push --prune
`, user)
			return err
		},
	}
}
